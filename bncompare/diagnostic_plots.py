"""Figures of diagnostics: rows in, matplotlib Figures out, one for each kind that was measured; reads no file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bncompare.plotting import COLORS, LINE_STYLES
from bncompare.results import Diagnostic

MAX_PANELS = 6  # rows of panels in a figure of percentiles
LOG_SCALE_FROM = 30.0  # ratio of the largest to the smallest value

MAPS = {
    "gradient norm": "norm of the gradient of each layer's weight",
    "update ratio": "norm of a step over the norm of each layer's weight",
    "input std": "standard deviation of the input of each activation",
    "saturated": "fraction of saturated values in each layer",
    "dead": "fraction of dead units in each layer",
    "gamma mean": "mean γ of each norm layer",
    "beta mean": "mean β of each norm layer",
    "running mean distance": "running mean against batch mean, in batch standard deviations",
    "running variance ratio": "running variance over batch variance",
    "covariate shift": "internal covariate shift: change of each layer's gradient, Euclidean norm",
    "covariate shift cosine": "internal covariate shift: cosine of each layer's gradient before and after",
}


@dataclass(frozen=True)
class MeasuredRun:
    """The diagnostics of one run."""

    variant: str
    seed: int
    rows: Sequence[Diagnostic]


def diagnostic_figures(runs: Sequence[MeasuredRun]) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, figure) for each kind of diagnostics that the runs of an experiment have."""
    quantities = {row.quantity for run in runs for row in run.rows}
    if any(name.startswith("input p50") for name in quantities):
        seed = min(run.seed for run in runs)
        caption = f"15th, 50th and 85th percentile of the input of an activation, seed {seed}"
        yield "percentiles", caption, percentile_bands([run for run in runs if run.seed == seed], caption)
    for quantity, caption in MAPS.items():
        if quantity in quantities:
            yield quantity.replace(" ", "-"), caption, layer_map(runs, quantity, caption)
    if "landscape loss max" in quantities:
        caption = "along the negative gradient: range of the loss, change of the gradient, effective β-smoothness"
        yield "landscape", caption, landscape_bands(runs, caption)
    if "loss in training mode" in quantities:
        names = {"loss in training mode": "training mode", "loss in evaluation mode": "evaluation mode"}
        caption = "loss of the same examples in training and in evaluation mode"
        yield "train-eval-gap", caption, lines(runs, names, "loss", caption)
    for metric in ("loss", "accuracy"):
        names = {
            name: name.removeprefix(f"val/{metric} ").removeprefix("with ")
            for name in sorted(quantities)
            if name.startswith(f"val/{metric} ")
        }
        if names:
            caption = f"validation {metric} by the statistics it is evaluated with"
            yield f"statistics-{metric}", caption, lines(runs, names, f"validation {metric}", caption)


def percentile_bands(runs: Sequence[MeasuredRun], title: str) -> Figure:
    """A panel for each layer (and unit) and variant: the median over steps in a band of the other two percentiles.

    As in Ioffe & Szegedy 2015, Fig. 1(b, c). Units have panels of their own; without them, layers have.
    """
    places = list(dict.fromkeys((row.layer, row.quantity) for run in runs for row in run.rows))
    medians = [(layer, name) for layer, name in places if name.startswith("input p50")]
    units = [(layer, name) for layer, name in medians if "unit" in name]
    shown = (units or medians)[-MAX_PANELS:]
    figure, panels = _panels(len(shown), len(runs), title, share_y="row")
    for row, (layer, median) in zip(panels, shown, strict=True):
        for axes, run, color in zip(row, runs, _colors(runs), strict=True):
            steps, middle = _series(run, layer, median)
            _, low = _series(run, layer, median.replace("p50", "p15"))
            _, high = _series(run, layer, median.replace("p50", "p85"))
            axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
            axes.plot(steps, middle, color=color, linewidth=1.2)
        row[0].set_ylabel(f"{layer}{median.removeprefix('input p50').replace(' of', ',')}")
    _finish(panels, [run.variant for run in runs])
    return figure


def layer_map(runs: Sequence[MeasuredRun], quantity: str, title: str) -> Figure:
    """A panel for each variant: layers from top to bottom, steps from left to right, the mean over the seeds."""
    found: dict[str, tuple[list[str], NDArray[np.float64], NDArray[np.float64]]] = {}
    for variant, members in _by_variant(runs).items():
        layers = list(dict.fromkeys(row.layer for run in members for row in run.rows if row.quantity == quantity))
        means = [_mean(members, layer, quantity) for layer in layers]
        if layers:
            shortest = min(len(steps) for steps, _ in means)
            found[variant] = (layers, means[0][0][:shortest], np.array([values[:shortest] for _, values in means]))
    everything = np.concatenate([values.ravel() for _, _, values in found.values()])
    finite = everything[np.isfinite(everything)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    logarithmic = low > 0 and high / low > LOG_SCALE_FROM
    norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
    height = 1.4 + 0.22 * max(len(layers) for layers, _, _ in found.values())
    figure, panels = _panels(1, len(found), title, height=height)
    image = None
    for axes, (layers, steps, values) in zip(panels[0], found.values(), strict=True):
        edges = np.concatenate([[2 * steps[0] - steps[1] if len(steps) > 1 else steps[0] - 1], steps])
        image = axes.pcolormesh(edges, np.arange(len(layers) + 1), values, norm=norm, cmap="viridis")
        axes.set_yticks(np.arange(len(layers)) + 0.5, layers, fontsize=7)
        axes.invert_yaxis()
    assert image is not None
    figure.colorbar(image, ax=list(panels[0]), pad=0.02)
    _finish(panels, list(found), grid=False)
    return figure


def landscape_bands(runs: Sequence[MeasuredRun], title: str) -> Figure:
    """Three panels over steps, a colour a variant, means over the seeds (Santurkar et al. 2018, Fig. 4)."""
    figure, panels = _panels(1, 3, title, share_y=False)
    bands = (("loss", "landscape loss"), ("change of the gradient", "gradient change"))
    for axes, (label, quantity) in zip(panels[0], bands, strict=False):
        for (variant, members), color in zip(_by_variant(runs).items(), _colors(_by_variant(runs)), strict=True):
            steps, low = _mean(members, "model", f"{quantity} min")
            _, high = _mean(members, "model", f"{quantity} max")
            axes.fill_between(steps, low, high, color=color, alpha=0.35, linewidth=0.8, label=variant)
        axes.set_ylabel(label)
        _log_scale(axes)
    for (variant, members), color in zip(_by_variant(runs).items(), _colors(_by_variant(runs)), strict=True):
        panels[0][2].plot(*_mean(members, "model", "beta smoothness"), color=color, linewidth=1.2, label=variant)
    panels[0][2].set_ylabel("effective β-smoothness")
    _log_scale(panels[0][2])
    _legend(panels[0][0])
    _finish(panels, [])
    return figure


def lines(runs: Sequence[MeasuredRun], quantities: dict[str, str], label: str, title: str) -> Figure:
    """A colour a variant, a style a quantity of the model, means over the seeds; `quantities` to their labels."""
    figure, panels = _panels(1, 1, title)
    axes = panels[0][0]
    for (variant, members), color in zip(_by_variant(runs).items(), _colors(_by_variant(runs)), strict=True):
        for i, (quantity, name) in enumerate(quantities.items()):
            steps, values = _mean(members, "model", quantity)
            if len(steps):
                style = LINE_STYLES[i % len(LINE_STYLES)]
                axes.plot(steps, values, style, color=color, linewidth=1.4, label=f"{variant}, {name}")
    axes.set_ylabel(label)
    _legend(axes)
    _finish(panels, [])
    return figure


# ---------------------------------------------------------------- numbers


def _by_variant(runs: Sequence[MeasuredRun]) -> dict[str, list[MeasuredRun]]:
    found: dict[str, list[MeasuredRun]] = {}
    for run in runs:
        found.setdefault(run.variant, []).append(run)
    return found


def _series(run: MeasuredRun, layer: str, quantity: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of a quantity in a run."""
    rows = [(row.step, row.value) for row in run.rows if (row.layer, row.quantity) == (layer, quantity)]
    steps, values = zip(*rows, strict=True) if rows else ((), ())
    return np.array(steps), np.array(values)


def _mean(runs: Sequence[MeasuredRun], layer: str, quantity: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and means over the runs that have the quantity, up to where the first of them ends."""
    series = [found for run in runs if len((found := _series(run, layer, quantity))[0])]
    if not series:
        return np.array([]), np.array([])
    shortest = min(len(steps) for steps, _ in series)
    return series[0][0][:shortest], np.mean([values[:shortest] for _, values in series], axis=0)


# ---------------------------------------------------------------- panels


def _colors(variants: Sequence[object] | dict[str, list[MeasuredRun]]) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(variants))]


def _panels(
    rows: int, columns: int, title: str, *, share_y: bool | str = True, height: float = 0.0
) -> tuple[Figure, list[list[Axes]]]:
    size = (max(6.0, 1.2 + 2.9 * columns), height or (3.6 if rows == 1 else 0.8 + 1.5 * rows))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", parse_math=False)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=share_y)  # type: ignore[arg-type]
    return figure, [list(row) for row in grid]


def _finish(panels: list[list[Axes]], columns: Sequence[str], *, grid: bool = True) -> None:
    for axes, name in zip(panels[0], columns, strict=False):
        axes.set_title(name, fontsize=9, parse_math=False)
    for axes in panels[-1]:
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes in (axes for row in panels for axes in row):
        axes.spines[["top", "right"]].set_visible(False)
        if grid:
            axes.grid(color="#dddddd", linewidth=0.5)
            axes.set_axisbelow(True)


def _log_scale(axes: Axes) -> None:
    low, high = axes.dataLim.intervaly
    if low > 0 and high / low > LOG_SCALE_FROM:
        axes.set_yscale("log")


def _legend(axes: Axes) -> None:
    for text in axes.legend(fontsize=8, frameon=False).get_texts():
        text.set_parse_math(False)
