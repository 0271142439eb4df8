"""A metric: its machine name, the words people use, its unit, and which end of it is good."""

import math
from dataclasses import dataclass
from typing import Literal

MonitorName = Literal["train/loss", "train/accuracy", "val/loss", "val/accuracy"]
Sign = Literal["", "+"]
SPLITS = {"train": "training", "val": "validation", "test": "test"}
PLACES = {"model": "", "*": " (mean of the layers)"}  # of a diagnostic, beside the layers


@dataclass(frozen=True)
class Metric:
    """A column of metrics.csv, or a metric of the test set."""

    name: str
    """as in files and configs: `val/loss`, `lr`"""
    is_classification: bool = True
    """else the loss is a squared error"""

    @property
    def split(self) -> str:
        """`val` of `val/loss`; empty for the learning rate."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def quantity(self) -> str:
        """`loss` of `val/loss`."""
        return self.name.partition("/")[2] or self.name

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a fraction, which people read in percent."""
        return self.quantity == "accuracy" or self.quantity.startswith("model/val/accuracy ")

    @property
    def higher_is_better(self) -> bool:
        """Accuracy is better high, a loss low."""
        return self.is_accuracy

    @property
    def worst(self) -> float:
        """The bad end, where a run that diverged is."""
        return -math.inf if self.higher_is_better else math.inf

    @property
    def words(self) -> str:
        """`validation loss`, `learning rate`, `gradient norm in hidden.0`."""
        if self.name == "lr":
            return "learning rate"
        if self.split == "diagnostics":
            layer, _, quantity = self.quantity.partition("/")
            return quantity.replace("val/", "validation ") + PLACES.get(layer, f" in {layer}")
        return f"{SPLITS.get(self.split, self.split)} {self.quantity}".strip()

    @property
    def unit(self) -> str:
        """Of its values as people read them; empty for the learning rate."""
        if self.is_accuracy:
            return "%"
        if self.quantity != "loss":
            return ""
        return "cross-entropy, nats" if self.is_classification else "mean squared error"

    @property
    def unit_of_differences(self) -> str:
        """Differences of percentages are in points."""
        return "percentage points" if self.is_accuracy else self.unit

    @property
    def label(self) -> str:
        """Words and unit, for an axis: `validation loss (cross-entropy, nats)`."""
        return f"{self.words} ({self.unit})" if self.unit else self.words

    def shown(self, value: float, sign: Sign = "", half: float = math.nan) -> str:
        """A value for people, or with a sign a difference; an accuracy in percent.

        With as many decimals as `half`, half the width of its confidence interval, has two digits; without one, three
        digits, the zeros at the end among them: values beside each other are to be equally exact.
        """
        if has_digits(half):
            scale = 100 if self.is_accuracy else 1
            return rounded(scale * value, scale * half, sign)
        if self.is_accuracy:
            return _signed(f"{100 * value:{sign}.{2 if sign else 1}f}")
        is_measured = self.split and 1e-4 <= abs(value) < 1e3  # else as it was set, or with an exponent
        return _signed(f"{value:{sign}{'#' if is_measured else ''}.3g}".removesuffix("."))


def has_digits(half: float) -> bool:
    """Whether half the width of an interval says how many decimals make sense."""
    return math.isfinite(half) and 1e-7 <= half < 1e7


def rounded(value: float, half: float, sign: Sign = "") -> str:
    """A number for people with as many decimals as half the width of its interval has two significant digits.

    Where that makes no sense a whole number as it is, any other with four digits.
    """
    if math.isfinite(value) and has_digits(half):
        text = f"{value:{sign}.{max(0, 1 - math.floor(math.log10(half)))}f}"
    elif math.isfinite(value) and value == round(value) and abs(value) < 1e15:
        text = f"{value:{sign}.0f}"
    else:
        text = f"{value:{sign}.4g}"
    return _signed(text)


def _signed(text: str) -> str:
    """With a true minus; a zero, which may be rounded, has no sign."""
    return text.strip("+-") if not text.strip("+-0.") else text.replace("-", "−")
