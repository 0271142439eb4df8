"""The `claims` section: what an experiment is expected to show."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from bncompare.config.metrics import MonitorName
from bncompare.config.ranges import seeds_in
from bncompare.options import Count, Positive, Section, must_be


class At(Section):
    """An evaluation, by its epoch or its step."""

    epoch: Count | None = None
    """the epoch; 0 is before training, with `training.evaluate_at_start`"""
    step: Count | None = None
    """the step, likewise"""


DIAGNOSTIC = re.compile(r"diagnostics/([^/]+)/(.+)")
ClaimMetric = Literal[
    "train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy", "diverged"
]


@dataclass(frozen=True)
class NamedMeasure:
    """The measure of a run that a claim is about, as its `metric` names it."""

    kind: Literal["value", "time", "area", "spread"]
    metric: str
    """that it is made from: one of metrics.csv or of the test, `diverged`, or of diagnostics.csv"""
    unit: Literal["epoch", "step", "second"] = "epoch"
    """of a time"""
    threshold: float = 0.0
    """that the metric is to reach, of a time"""


_METRICS = get_args(MonitorName)  # which every evaluation has
_NUMBER = r"(?:[0-9]{1,12}(?:\.[0-9]{0,17})?|\.[0-9]{1,17})(?:[eE][-+]?[0-9]{1,2})?"
_TIME = re.compile(rf"(epoch|step|second)s to ({'|'.join(_METRICS)}) ({_NUMBER})")
_OF = re.compile(rf"(area|spread) of ({'|'.join(_METRICS)})")
_FORMS = {"epochs", "steps", "seconds", "area", "spread"}
_CHOICES = [
    *(*get_args(ClaimMetric), "diagnostics/LAYER/QUANTITY", "epochs to METRIC VALUE", "steps to METRIC VALUE"),
    *("seconds to METRIC VALUE", "area of METRIC", "spread of METRIC"),
]


def named_measure(text: str) -> NamedMeasure | None:
    """What the metric of a claim names; None if there is no such measure."""
    if text in get_args(ClaimMetric) or DIAGNOSTIC.fullmatch(text):
        return NamedMeasure("value", text)
    if match := _TIME.fullmatch(text):
        return NamedMeasure("time", match[2], match[1], float(match[3]))  # type: ignore[arg-type]
    match = _OF.fullmatch(text)
    return match and NamedMeasure(match[1], match[2])  # type: ignore[arg-type]


def _check_metric(value: Any) -> Any:
    if isinstance(value, str) and named_measure(value):
        return value
    first = value.split(" ")[0] if isinstance(value, str) else ""
    if first in _FORMS:
        form = next(choice for choice in _CHOICES if choice.startswith(f"{first} "))
        example = form.replace("METRIC", "val/accuracy").replace("VALUE", "0.95")
        expected = f"{form}, as {example}; METRIC is one of {', '.join(_METRICS)}"
        raise PydanticCustomError("must_be", "must be {expected}", {"expected": expected})
    raise PydanticCustomError("unknown_choice", "unknown metric", {"choices": _CHOICES})


class Side(NamedTuple):
    """One of the variants that a claim is about."""

    key: str
    """of the claim, which names it"""
    selector: dict[str, Any]
    sign: int
    """of its values in the number that is bounded"""


def _listed(value: Any) -> Any:
    return seeds_in(value) if isinstance(value, str) else value


ClaimSeeds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**63)]],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=str | list[int]),
    must_be("seeds such as 6-11, 0,3,7 or [0, 3, 7]"),
]


class Claim(Section):
    """A statement about one variant, or about the difference or ratio of two (variant − versus), or about how much
    greater that is than the one of two others."""

    statement: Annotated[str, Field(min_length=1, max_length=500)]
    """the claim in words"""
    published: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """what was published, as `0.984 against 0.978`"""
    metric: Annotated[str, BeforeValidator(_check_metric, json_schema_input_type=ClaimMetric | str)]
    """train/loss, train/accuracy, val/loss, val/accuracy, test/loss, test/accuracy; `diverged`, 1 or 0;
    `diagnostics/LAYER/QUANTITY` from diagnostics.csv, where LAYER may be `*` for the mean over the layers; or of a
    whole run `epochs to val/accuracy 0.95` (or steps, or seconds), the time to the first evaluation that is as good;
    `area of train/loss`, its mean over the epochs that all runs have; `spread of val/accuracy`, its standard
    deviation over the last evaluations"""
    at: Annotated[Literal["best", "last", "mean"] | At, must_be("best, last, mean, {epoch: N} or {step: N}")] = "best"
    """the evaluation it is about, or the mean over all of them"""
    variant: Annotated[dict[str, Any], Field(min_length=1)]
    """the settings that tell the variant from others, as `model.norm: batch`; or `label: …`"""
    versus: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    """the variant it is compared with"""
    than: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    """settings of a second pair, as `training.batch_size: 16`: variant and versus with these in place of their own.
    What is bounded is then the difference of the two differences, or the ratio of the two ratios"""
    seeds: ClaimSeeds | None = None
    """the seeds that speak for it, as `6-11`, where others were seen before it was stated; by default all"""
    at_least: float | None = None
    """least value"""
    at_most: float | None = None
    """greatest value"""
    difference_at_least: float | None = None
    """least difference"""
    difference_at_most: float | None = None
    """greatest difference"""
    difference_within: Annotated[float, Field(gt=0)] | None = None
    """greatest absolute difference"""
    ratio_at_least: Positive | None = None
    """least ratio variant / versus, of geometric means"""
    ratio_at_most: Positive | None = None
    """greatest ratio"""

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are given, by name."""
        names = [name for name in type(self).model_fields if name.endswith(("at_least", "at_most", "within"))]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @cached_property
    def decisive(self) -> str:
        """All that decides what is claimed, as text; a claim in other words is the same."""
        return json.dumps(self.model_dump(exclude={"statement", "published"}), sort_keys=True, default=str)

    def is_about(self, seed: int) -> bool:
        """Whether the runs of a seed speak for it or against it."""
        return self.seeds is None or seed in self.seeds

    @property
    def is_ratio(self) -> bool:
        """Whether ratios are bounded."""
        return any(name.startswith("ratio") for name in self.bounds)

    @property
    def statistic(self) -> str:
        """What is bounded: a mean, or a mean difference, ratio, difference of differences, ratio of ratios."""
        kind = "ratio" if self.is_ratio else "mean" if self.versus is None else "difference"
        return kind if self.than is None else f"{kind} of {kind}s"

    @property
    def sides(self) -> list[Side]:
        """The variants that it is about: one, two or four, the second pair in the order of the first."""
        pair = [Side("variant", self.variant, 1)]
        if self.versus is not None:
            pair.append(Side("versus", self.versus, -1))
        than = self.than
        return pair if than is None else pair + [Side("than", side.selector | than, -side.sign) for side in pair]

    @property
    def problem(self) -> str | None:
        """Why its bounds do not fit the number of variants that it is about."""
        plain = [name for name in self.bounds if name.startswith("at_")]
        others = sorted({name.partition("_")[0] for name in self.bounds} - {"at"})
        if not self.bounds:
            return "needs a bound: at_least, at_most, or difference_at_least, ratio_at_least, …"
        if self.versus is None and others:
            return f"{others[0]}_… is about two variants: name the other one in versus"
        if self.versus is None and self.than is not None:
            return "than is about a second pair: name the variant of the first one in versus"
        if self.versus is not None and plain:
            return f"{', '.join(plain)} is about one variant: leave out versus, or use difference_… or ratio_…"
        if len(others) > 1:
            return "bounds differences and ratios: make two claims of it"
        return None

    @property
    def diagnostic(self) -> tuple[str, str] | None:
        """Layer and quantity, if the metric is one of diagnostics.csv."""
        match = DIAGNOSTIC.fullmatch(self.metric)
        return match and (match[1], match[2])

    @property
    def measure(self) -> NamedMeasure:
        """What it is about."""
        named = named_measure(self.metric)
        assert named is not None, "checked with the config"
        return named
