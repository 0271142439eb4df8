"""Figures of diagnostics: rows in, matplotlib Figures out, one for each kind that was measured; reads no file."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bncompare.plotting import COLORS, LINE_STYLES, LOG_SCALE_FROM, add_head, add_legend, format_numbers, styled
from bncompare.results import Diagnostic

MAX_ROWS = 6  # of panels in a figure of percentiles
MAX_COLUMNS = 4  # of panels in a figure of layers

LAYER_QUANTITIES = {
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
MODES = {"loss in training mode": "training mode", "loss in evaluation mode": "evaluation mode"}
SYMBOLS = {"gamma": "γ", "beta": "β"}

Series = tuple[NDArray[np.float64], NDArray[np.float64]]
"""steps and values"""


@dataclass(frozen=True)
class MeasuredRun:
    """The diagnostics of one run."""

    variant: str
    seed: int
    rows: Sequence[Diagnostic]

    @cached_property
    def series(self) -> dict[tuple[str, str], Series]:
        """Steps and values of each quantity of each layer."""
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for row in self.rows:
            found.setdefault((row.layer, row.quantity), []).append((row.step, row.value))
        return {key: (np.array(points)[:, 0], np.array(points)[:, 1]) for key, points in found.items()}


def diagnostic_figures(runs: Sequence[MeasuredRun], title: str) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, figure) for each kind of diagnostics that the runs of an experiment have."""
    measured = list(dict.fromkeys(key for run in runs for key in run.series))
    quantities = {quantity for _, quantity in measured}
    if any(name.startswith("input p50") for name in quantities):
        seed = min(run.seed for run in runs)
        caption = f"15th, 50th and 85th percentile of the input of an activation, seed {seed}"
        yield "percentiles", caption, percentile_bands([run for run in runs if run.seed == seed], title, caption)
    for quantity, caption in LAYER_QUANTITIES.items():
        layers = [layer for layer, name in measured if name == quantity]
        if len(layers) == 1:
            figure = lines(runs, {(layers[0], quantity): ""}, f"{quantity} of {layers[0]}", title, caption)
            yield quantity.replace(" ", "-"), caption, figure
        elif layers:
            yield quantity.replace(" ", "-"), caption, layer_map(runs, quantity, title, caption)
    if any(name.startswith(("gamma[", "beta[")) for name in quantities):
        caption = "γ and β of each norm layer at the end: a dot a unit (channel), all seeds"
        yield "norm-parameters", caption, norm_parameters(runs, title, caption)
    if "landscape loss max" in quantities:
        caption = "along the negative gradient: range of the loss, change of the gradient, effective β-smoothness"
        yield "landscape", caption, landscape_bands(runs, title, caption)
    if MODES.keys() & quantities:
        caption = "loss of the same examples in training and in evaluation mode"
        modes = {("model", quantity): name for quantity, name in MODES.items()}
        yield "train-eval-gap", caption, lines(runs, modes, "loss", title, caption)
    for metric in ("loss", "accuracy"):
        names = {
            ("model", name): name.removeprefix(f"val/{metric} ").removeprefix("with ")
            for name in sorted(quantities)
            if name.startswith(f"val/{metric} ")
        }
        if names:
            caption = f"validation {metric} by the statistics it is evaluated with"
            yield f"statistics-{metric}", caption, lines(runs, names, f"validation {metric}", title, caption)


@styled
def percentile_bands(runs: Sequence[MeasuredRun], title: str, note: str) -> Figure:
    """A panel for each layer (and unit) and variant: the median over steps in a band of the other two percentiles.

    As in Ioffe & Szegedy 2015, Fig. 1(b, c). Units have panels of their own; without them, layers have.
    """
    medians = [key for key in dict.fromkeys(key for run in runs for key in run.series) if "input p50" in key[1]]
    units = [(layer, name) for layer, name in medians if "unit" in name]
    shown = (units or medians)[-MAX_ROWS:]
    size = (max(6.0, 1.2 + 2.9 * len(runs)), 1.2 + 1.4 * len(shown))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(shown), len(runs), squeeze=False, sharex=True, sharey="row")
    for row, (layer, median) in zip(panels, shown, strict=True):
        for i, (axes, run) in enumerate(zip(row, runs, strict=True)):
            if (layer, median) not in run.series:
                continue
            steps, middle = run.series[layer, median]
            low, high = (run.series[layer, median.replace("p50", end)][1] for end in ("p15", "p85"))
            axes.fill_between(steps, low, high, color=COLORS[i % len(COLORS)], alpha=0.2, linewidth=0)
            axes.plot(steps, middle, color=COLORS[i % len(COLORS)], linewidth=1.2)
        row[0].set_ylabel(f"{layer}{median.removeprefix('input p50').replace(' of', ',')}")
    for axes, run in zip(panels[0], runs, strict=True):
        _name(axes, run.variant)
    for axes in panels[-1]:
        _label_steps(axes)
    add_head(figure, title, note)
    return figure


@styled
def layer_map(runs: Sequence[MeasuredRun], quantity: str, title: str, note: str) -> Figure:
    """A panel for each variant: layers from top to bottom, steps from left to right, the mean over the seeds."""
    found: dict[str, tuple[list[str], NDArray[np.float64], NDArray[np.float64]]] = {}
    for variant, members in _by_variant(runs).items():
        layers = list(dict.fromkeys(layer for run in members for layer, name in run.series if name == quantity))
        means = [_mean(members, layer, quantity) for layer in layers]
        if layers:
            shortest = min(len(steps) for steps, _ in means)
            found[variant] = (layers, means[0][0][:shortest], np.array([values[:shortest] for _, values in means]))
    everything = np.concatenate([values.ravel() for _, _, values in found.values()])
    finite = everything[np.isfinite(everything)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    is_log = low > 0 and high / low > LOG_SCALE_FROM
    norm = LogNorm(low, high) if is_log else Normalize(low, high)
    num_columns = min(len(found), MAX_COLUMNS)
    num_rows = math.ceil(len(found) / num_columns)
    height = 1.1 + num_rows * (0.5 + 0.2 * max(len(layers) for layers, _, _ in found.values()))
    figure = Figure(figsize=(max(6.0, 2.0 + 2.4 * num_columns), height), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True).ravel()
    image = None
    for i, (axes, (variant, (layers, steps, values))) in enumerate(zip(panels, found.items(), strict=False)):
        edges = np.concatenate([[2 * steps[0] - steps[1] if len(steps) > 1 else steps[0] - 1], steps])
        image = axes.pcolormesh(edges, np.arange(len(layers) + 1), values, norm=norm, cmap="viridis")
        has_names = i % num_columns == 0 or layers != found[next(iter(found))][0]
        axes.set_yticks(np.arange(len(layers)) + 0.5, layers if has_names else [""] * len(layers), fontsize=7)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(visible=False)
        _name(axes, variant)
        if i + num_columns >= len(found):
            _label_steps(axes)
            axes.tick_params(labelbottom=True)
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    assert image is not None
    bar = figure.colorbar(image, ax=list(panels), pad=0.02, label=quantity)
    format_numbers(bar.ax.yaxis, "", math.log10(high / low) if is_log else 0)
    bar.outline.set_visible(False)
    add_head(figure, title, note)
    return figure


@styled
def norm_parameters(runs: Sequence[MeasuredRun], title: str, note: str) -> Figure:
    """A panel for γ and one for β: for each norm layer and variant the values at the end, a dot each."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}  # by symbol, variant and layer
    layers: dict[str, int] = {}
    for run in runs:
        for (layer, quantity), series in run.series.items():
            symbol, bracket, _ = quantity.partition("[")
            if bracket and symbol in SYMBOLS:
                layers.setdefault(layer, len(layers))
                of_layer = values.setdefault(symbol, {}).setdefault(run.variant, {}).setdefault(layer, [])
                of_layer.append(series[1][-1])
    variants = [variant for variant in _by_variant(runs) if any(variant in found for found in values.values())]
    size = (max(6.0, 1.5 + 0.25 * len(layers) * len(variants)), 1.2 + 2.0 * len(values))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(values), 1, squeeze=False, sharex=True)[:, 0]
    width = 0.8 / len(variants)
    legend: dict[str, Artist] = {}
    for axes, (symbol, found) in zip(panels, sorted(values.items(), reverse=True), strict=True):
        for i, variant in enumerate(variants):
            for layer, dots in found.get(variant, {}).items():
                spread = np.arange(len(dots)) * 0.618 % 1 - 0.5  # side by side as evenly as any number of them can be
                x = layers[layer] + (i + 0.5) * width - 0.4 + 0.8 * width * spread
                (legend[variant],) = axes.plot(
                    x, dots, "o", color=COLORS[i % len(COLORS)], markersize=2.5, markeredgewidth=0, alpha=0.6,
                    rasterized=len(dots) > 1000, gid=f"{variant} {layer}",
                )  # fmt: skip
        axes.set_ylabel(SYMBOLS[symbol])
        axes.grid(visible=False, axis="x")
    panels[-1].set_xticks(range(len(layers)), list(layers))
    panels[-1].tick_params(axis="x", length=0)
    add_head(figure, title, note)
    add_legend(panels[0], [(legend[variant], variant) for variant in variants])
    return figure


@styled
def landscape_bands(runs: Sequence[MeasuredRun], title: str, note: str) -> Figure:
    """Three panels over steps, a colour a variant, means over the seeds (Santurkar et al. 2018, Fig. 4)."""
    figure = Figure(figsize=(9.0, 3.5), layout="constrained")
    loss, change, smoothness = figure.subplots(1, 3, sharex=True)
    legend: list[tuple[Artist, str]] = []
    for i, (variant, members) in enumerate(_by_variant(runs).items()):
        if not any(("model", "landscape loss max") in run.series for run in members):
            continue
        color = COLORS[i % len(COLORS)]
        for axes, quantity in ((loss, "landscape loss"), (change, "gradient change")):
            steps, low = _mean(members, "model", f"{quantity} min")
            _, high = _mean(members, "model", f"{quantity} max")
            band = axes.fill_between(steps, low, high, color=color, alpha=0.35, linewidth=0.8)
        smoothness.plot(*_mean(members, "model", "beta smoothness"), color=color, linewidth=1.2)
        legend.append((band, variant))
    loss.set_ylabel("loss")
    change.set_ylabel("change of the gradient")
    smoothness.set_ylabel("effective β-smoothness")
    for axes in (loss, change, smoothness):
        _scale(axes)
        _label_steps(axes)
    add_head(figure, title, note)
    add_legend(loss, legend)
    return figure


@styled
def lines(
    runs: Sequence[MeasuredRun], quantities: dict[tuple[str, str], str], label: str, title: str, note: str
) -> Figure:
    """A colour a variant, a style a quantity, means over the seeds; `quantities`: (layer, quantity) to its label."""
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    legend: list[tuple[Artist, str]] = []
    for i, (variant, members) in enumerate(_by_variant(runs).items()):
        for j, (key, name) in enumerate(quantities.items()):
            steps, values = _mean(members, *key)
            if len(steps):
                style = LINE_STYLES[(i if len(quantities) == 1 else j) % len(LINE_STYLES)]
                marker = "o" if len(steps) == 1 else ""
                (line,) = axes.plot(steps, values, style, marker=marker, color=COLORS[i % len(COLORS)], linewidth=1.4)
                legend.append((line, f"{variant}, {name}" if name else variant))
    axes.set_ylabel(label)
    _scale(axes)
    _label_steps(axes)
    add_head(figure, title, note)
    add_legend(axes, legend)
    return figure


def _by_variant(runs: Sequence[MeasuredRun]) -> dict[str, list[MeasuredRun]]:
    found: dict[str, list[MeasuredRun]] = {}
    for run in runs:
        found.setdefault(run.variant, []).append(run)
    return found


def _mean(runs: Sequence[MeasuredRun], layer: str, quantity: str) -> Series:
    """Steps and means over the runs that have the quantity, up to where the first of them ends."""
    series = [run.series[layer, quantity] for run in runs if (layer, quantity) in run.series]
    if not series:
        return np.array([]), np.array([])
    shortest = min(len(steps) for steps, _ in series)
    return series[0][0][:shortest], np.mean([values[:shortest] for _, values in series], axis=0)


def _name(axes: Axes, variant: str) -> None:
    axes.set_title(variant, fontsize=9, fontweight="normal")


def _label_steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))


def _scale(axes: Axes) -> None:
    """A log scale for the y axis where its data span decades."""
    low, high = axes.dataLim.intervaly
    if 0 < low < high and high / low > LOG_SCALE_FROM:
        axes.set_yscale("log")
        format_numbers(axes.yaxis, "", math.log10(high / low))
