"""What diagnostics answer: of what was measured, the rows of panels that belong to each question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bncompare.probes import PROBES

MAX_COLUMNS = 5

Key = tuple[str, str]
"""layer and quantity"""


@dataclass(frozen=True)
class Panel:
    """What is drawn of each variant in one set of axes."""

    title: str
    line: Key | None = None
    """over steps, the mean over the seeds"""
    band: tuple[Key, Key] | None = None
    """between two quantities"""
    units: tuple[Key, ...] = ()
    """in place of both: the values at the end of training, a dot each, of all seeds"""
    is_of_first_seed: bool = False
    """which units are which is another matter with every seed"""
    label: str = ""
    """of its y axis, where it has one of its own"""

    @property
    def keys(self) -> list[Key]:
        """All that is drawn."""
        return [*([self.line] if self.line else []), *(self.band or ()), *self.units]


@dataclass(frozen=True)
class Row:
    """Panels with one y axis, unless they have labels of their own."""

    label: str
    caption: str
    panels: Sequence[Panel]
    limits: tuple[float, float] | None = None
    """where there are natural ones: 0 to 1 for fractions, which are shown in percent"""
    neutral: float | None = None
    """where a line helps to see on which side values are"""


@dataclass(frozen=True)
class Question:
    """A figure."""

    name: str
    title: str
    rows: Sequence[Row]


# label, natural limits and neutral value of quantities of layers
_ROWS: dict[str, tuple[str, tuple[float, float] | None, float | None]] = {
    "gradient norm": ("gradient norm", None, None),
    "update ratio": ("step / weight", None, None),
    "input std": ("sd of input", None, None),
    "saturated": ("saturated (%)", (0.0, 1.0), None),
    "dead": ("dead units (%)", (0.0, 1.0), None),
    "covariate shift": ("covariate shift", None, None),
    "covariate shift cosine": ("cosine", (-1.0, 1.0), 0.0),
    "running mean distance": ("mean off by (sd)", None, 0.0),
    "running variance ratio": ("variance ratio", None, 1.0),
}
_SHARES = [f"{of} weight {norm}" for of in ("mean", "var") for norm in ("instance", "layer", "batch")]
_ROWS |= {name: (f"{name.replace(' weight', '')} (%)", (0.0, 1.0), None) for name in _SHARES}
_SYMBOLS = {"gamma": ("γ", 1.0), "beta": ("β", 0.0)}


def questions(measured: Sequence[Key]) -> Iterator[Question]:
    """Those that something was measured for."""
    captions = {name: caption for probe in PROBES for name, caption in probe.captions.items()}

    def of(*names: str) -> list[Row]:
        return [row for name in names for row in _of_layers(measured, name, captions[name])]

    known = {*_ROWS, *(f"{symbol} mean" for symbol in _SYMBOLS)}
    drift = ("input std", "saturated", "dead", "covariate shift", "covariate shift cosine")
    agreement = [*of("running mean distance", "running variance ratio"), *_modes(measured), *_statistics(measured)]
    for question in (
        Question("gradients", "do gradients vanish?", of("gradient norm", "update ratio")),
        Question("inputs", "do the inputs of layers drift?", [*_percentiles(measured), *of(*drift)]),
        Question("norm-parameters", "what do the norms learn?", [*_parameters(measured), *of(*_SHARES)]),
        Question("landscape", "is the loss landscape smoother?", list(_landscape(measured))),
        Question("evaluation", "do training and evaluation agree?", agreement),
        Question("others", "what else was measured", of(*(name for name in captions if name not in known))),
    ):
        if question.rows:
            yield question


def _of_layers(measured: Sequence[Key], name: str, caption: str) -> Iterator[Row]:
    """A panel a layer; of many layers some, from the first to the last."""
    keys = _spread([key for key in measured if key[1] == name])
    label, limits, neutral = _ROWS.get(name, (name, None, None))
    if keys:
        yield Row(label, caption, [Panel(key[0], key) for key in keys], limits, neutral)


def _spread(keys: Sequence[Key]) -> list[Key]:
    if len(keys) <= MAX_COLUMNS:
        return list(keys)
    return [keys[round(i * (len(keys) - 1) / (MAX_COLUMNS - 1))] for i in range(MAX_COLUMNS)]


def _percentiles(measured: Sequence[Key]) -> Iterator[Row]:
    """Of the inputs of layers, or of chosen units if there are some (Ioffe & Szegedy 2015, Fig. 1b, c)."""
    medians = [key for key in measured if key[1].startswith("input p50")]
    medians = _spread([key for key in medians if "unit" in key[1]] or medians)
    panels = [
        Panel(
            layer + median.removeprefix("input p50").replace(" of", ","),
            (layer, median),
            ((layer, median.replace("p50", "p15")), (layer, median.replace("p50", "p85"))),
            is_of_first_seed=True,
        )
        for layer, median in medians
    ]
    if panels:
        yield Row(
            "input", "median of a layer's input, from its 15th to its 85th percentile, of the first seed", panels
        )


def _parameters(measured: Sequence[Key]) -> Iterator[Row]:
    """On the way their mean, from the smallest to the largest; at the end each of them."""
    for name, (symbol, neutral) in _SYMBOLS.items():
        layers = _spread([key for key in measured if key[1] == f"{name} mean"])
        panels = [Panel(key[0], key, ((key[0], f"{name} min"), (key[0], f"{name} max"))) for key in layers]
        if panels:
            yield Row(symbol, f"mean {symbol} of each norm layer, in the band of all", panels, None, neutral)
    for name, (symbol, neutral) in _SYMBOLS.items():
        units: dict[str, list[Key]] = {}
        for key in measured:
            if key[1].startswith(f"{name}["):
                units.setdefault(key[0], []).append(key)
        ends = [Panel(layer, units=tuple(units[layer])) for layer, _ in _spread([(layer, "") for layer in units])]
        if ends:
            yield Row(f"{symbol} at the end", f"{symbol} of each unit at the end, all seeds", ends, None, neutral)


def _landscape(measured: Sequence[Key]) -> Iterator[Row]:
    """Santurkar et al. 2018, Fig. 4."""

    def band(name: str) -> tuple[Key, Key]:
        return ("model", f"{name} min"), ("model", f"{name} max")

    if ("model", "landscape loss max") in measured:
        panels = [
            Panel("loss, lowest to highest", band=band("landscape loss"), label="loss"),
            Panel("change of the gradient", band=band("gradient change"), label="distance"),
            Panel("effective β-smoothness", ("model", "beta smoothness"), label="β"),
        ]
        yield Row("", "along the negative gradient, from a small step to a large one", panels)


def _modes(measured: Sequence[Key]) -> Iterator[Row]:
    """What dropout and norms do to the loss of the same examples."""
    keys = [("model", f"loss in {name} mode") for name in ("training", "evaluation")]
    panels = [Panel(key[1].removeprefix("loss "), key) for key in keys if key in measured]
    if panels:
        yield Row("loss", "loss of the same examples in training and in evaluation mode", panels)


def _statistics(measured: Sequence[Key]) -> Iterator[Row]:
    """The metrics of validation, evaluated with other statistics than those of training."""
    for metric, label, limits in (("loss", "loss", None), ("accuracy", "accuracy (%)", (0.0, 1.0))):
        keys = sorted(key for key in measured if key[0] == "model" and key[1].startswith(f"val/{metric} "))
        panels = [Panel(key[1].removeprefix(f"val/{metric} "), key) for key in keys[:MAX_COLUMNS]]
        if panels:
            yield Row(label, f"validation {metric} by the statistics it is evaluated with", panels, limits)
