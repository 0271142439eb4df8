"""Figures of diagnostics: rows in, matplotlib Figures out, one for each kind that was measured; reads no file."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bncompare.figures.style import (
    COLORS,
    GREY,
    LINE_STYLES,
    LOG_SCALE_FROM,
    MARKERS,
    add_head,
    add_legend,
    format_numbers,
    styled,
    wrapped,
)
from bncompare.probes import PROBES
from bncompare.runs import Diagnostic

MAX_ROWS = 6  # of panels in a figure of percentiles
MAX_COLUMNS = 4  # of panels
MAX_VARIANTS = 12  # in one figure
MAX_NAMED = 6  # variants without a measurement

MODES = {"loss in training mode": "training mode", "loss in evaluation mode": "evaluation mode"}
SYMBOLS = {"gamma": "γ", "beta": "β"}
STYLES: tuple[Any, ...] = (*LINE_STYLES, (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))

Key = tuple[str, str]
"""layer and quantity"""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredRun:
    """The diagnostics of one run; no rows if it diverged before any were measured."""

    variant: str
    seed: int
    rows: Sequence[Diagnostic]

    @cached_property
    def series(self) -> dict[Key, dict[float, float]]:
        """The values of each quantity of each layer by step."""
        found: dict[Key, dict[float, float]] = {}
        for row in self.rows:
            found.setdefault((row.layer, row.quantity), {})[row.step] = row.value
        return found


@dataclass(frozen=True)
class VariantRuns:
    """The runs of one variant, and how it looks in every figure."""

    variant: str
    runs: Sequence[MeasuredRun]
    number: int
    """its place among the variants"""

    @property
    def color(self) -> str:
        """Of its lines, bands and dots."""
        return COLORS[self.number % len(COLORS)]

    @property
    def style(self) -> Any:
        """Of its lines, where these are of one quantity."""
        return STYLES[self.number % len(STYLES)]

    @property
    def marker(self) -> str:
        """Of its dots."""
        return MARKERS[self.number % len(MARKERS)]

    def having(self, *keys: Key) -> "list[MeasuredRun]":
        """The runs in which all of these were measured."""
        return [run for run in self.runs if all(key in run.series for key in keys)]

    def label(self, *keys: Key) -> str:
        """The variant, and of how many of its runs there is something to see."""
        number = len(self.having(*keys))
        return self.variant if number == len(self.runs) else f"{self.variant} ({number} of {len(self.runs)} runs)"

    def means(self, *keys: Key) -> tuple[Values, list[Values]]:
        """Steps at which every run was measured, and the means of each key there; of the first run if there is none.

        So no mean is over other runs at one step than at the next.
        """
        runs = self.having(*keys)
        if not runs:
            return np.array([]), [np.array([]) for _ in keys]
        steps = _shared_steps(runs, keys)
        if not steps:
            runs = runs[:1]
            steps = _shared_steps(runs, keys)
        values = [[[run.series[key][step] for step in steps] for run in runs] for key in keys]
        return np.array(steps), [np.mean(of_key, axis=0) for of_key in values]


def _shared_steps(runs: Sequence[MeasuredRun], keys: Sequence[Key]) -> list[float]:
    return sorted(set.intersection(*(set(run.series[key]) for run in runs for key in keys)))


def diagnostic_figures(runs: Sequence[MeasuredRun], title: str) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, figure) for each kind of diagnostics that the runs of an experiment have.

    `runs` are all runs of the experiment, so that a variant looks the same in every figure and what has not been
    measured is counted.
    """
    everything = [
        VariantRuns(variant, [run for run in runs if run.variant == variant], i)
        for i, variant in enumerate(dict.fromkeys(run.variant for run in runs))
    ]
    measured = list(dict.fromkeys(key for run in runs for key in run.series))
    quantities = {quantity for _, quantity in measured}

    def groups(*keys: Key) -> list[VariantRuns]:
        return [group for group in everything if any(group.having(key) for key in keys)]

    def note(caption: str, shown: Sequence[VariantRuns]) -> str:
        lost = [group.variant for group in everything if not any(run.rows for run in group.runs)]
        caption += f"; the first {MAX_VARIANTS} of {len(shown)} variants" if len(shown) > MAX_VARIANTS else ""
        names = ", ".join(lost if len(lost) <= MAX_NAMED else [*lost[:MAX_NAMED], f"{len(lost) - MAX_NAMED} more"])
        return caption + (f"; without a measurement: {names}" if lost else "")

    captions = {quantity: caption for probe in PROBES for quantity, caption in probe.captions.items()}
    percentiles = [key for key in measured if key[1].startswith("input p50")]
    percentiles = [key for key in percentiles if "unit" in key[1]] or percentiles
    if shown := groups(*percentiles):
        caption = "15th, 50th and 85th percentile of the input of an activation, of the first seed"
        yield "percentiles", caption, percentile_bands(shown, percentiles, title, note(caption, shown))
    for quantity, caption in captions.items():
        layers = [layer for layer, name in measured if name == quantity]
        shown = groups(*((layer, quantity) for layer in layers))
        if len(layers) == 1:
            label = f"{quantity} of {layers[0]}"
            figure = lines(shown, {(layers[0], quantity): ""}, label, title, note(caption, shown))
            yield quantity.replace(" ", "-"), caption, figure
        elif layers:
            figure = layer_map(shown, layers, quantity, title, note(caption, shown))
            yield quantity.replace(" ", "-"), caption, figure
    parameters = [key for key in measured if key[1].startswith(("gamma[", "beta["))]
    if shown := groups(*parameters):
        caption = "γ and β of each norm layer at the end: a dot a unit (channel), all seeds"
        yield "norm-parameters", caption, norm_parameters(shown, parameters, title, note(caption, shown))
    if shown := groups(("model", "landscape loss max")):
        caption = "along the negative gradient: range of the loss, change of the gradient, effective β-smoothness"
        yield "landscape", caption, landscape_bands(shown, title, note(caption, shown))
    if MODES.keys() & quantities:
        caption = "loss of the same examples in training and in evaluation mode"
        modes = {("model", quantity): name for quantity, name in MODES.items()}
        shown = groups(*modes)
        yield "train-eval-gap", caption, lines(shown, modes, "loss", title, note(caption, shown))
    for metric in ("loss", "accuracy"):
        names = {
            ("model", name): name.removeprefix(f"val/{metric} ").removeprefix("with ")
            for name in sorted(quantities)
            if name.startswith(f"val/{metric} ")
        }
        if shown := groups(*names):
            caption = f"validation {metric} by the statistics it is evaluated with"
            figure = lines(shown, names, f"validation {metric}", title, note(caption, shown))
            yield f"statistics-{metric}", caption, figure


@styled
def percentile_bands(groups: Sequence[VariantRuns], medians: Sequence[Key], title: str, note: str) -> Figure:
    """A panel for each layer (or unit) and variant: the median over steps in a band of the other two percentiles.

    As in Ioffe & Szegedy 2015, Fig. 1(b, c); of the first seed of each variant that was measured.
    """
    groups, medians = groups[:MAX_VARIANTS], medians[-MAX_ROWS:]
    size = (max(6.0, 1.2 + min(2.9, 12 / len(groups)) * len(groups)), 1.2 + 1.4 * len(medians))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(medians), len(groups), squeeze=False, sharex=True, sharey="row")
    for row, (layer, median) in zip(panels, medians, strict=True):
        keys = [(layer, median.replace("p50", end)) for end in ("p15", "p50", "p85")]
        for axes, group in zip(row, groups, strict=True):
            for run in group.having(*keys)[:1]:
                steps = _shared_steps([run], keys)
                low, middle, high = ([run.series[key][step] for step in steps] for key in keys)
                _band(axes, steps, low, high, group.color)
                axes.plot(steps, middle, marker="o" if len(steps) == 1 else "", color=group.color, linewidth=1.2)
        row[0].set_ylabel(f"{layer}{median.removeprefix('input p50').replace(' of', ',')}")
    for axes, group in zip(panels[0], groups, strict=True):
        seed = next(run.seed for run in group.runs if run.rows)
        _name(axes, f"{group.variant}, seed {seed}", 18 if len(groups) > MAX_COLUMNS else 34)
    for axes in panels[-1]:
        _label_steps(axes)
    add_head(figure, title, note)
    return figure


@styled
def layer_map(groups: Sequence[VariantRuns], layers: Sequence[str], quantity: str, title: str, note: str) -> Figure:
    """A panel for each variant: layers from top to bottom, steps from left to right, the mean over the seeds."""
    groups = groups[:MAX_VARIANTS]
    found: list[tuple[VariantRuns, list[str], Values, Values]] = []
    for group in groups:
        own = [layer for layer in layers if group.having((layer, quantity))]
        means = [group.means((layer, quantity)) for layer in own]
        steps = np.unique(np.concatenate([steps for steps, _ in means]))
        values = np.full((len(own), len(steps)), np.nan)
        for i, (places, (of_layer,)) in enumerate(means):
            values[i, np.searchsorted(steps, places)] = of_layer
        found.append((group, own, steps, values))
    everything = np.concatenate([values.ravel() for _, _, _, values in found])
    finite = everything[np.isfinite(everything)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    is_log = low > 0 and high / low > LOG_SCALE_FROM
    norm = LogNorm(low, high) if is_log else Normalize(low, high)
    num_columns = min(len(found), MAX_COLUMNS)
    num_rows = math.ceil(len(found) / num_columns)
    height = 1.1 + num_rows * (0.5 + 0.2 * max(len(own) for _, own, _, _ in found))
    figure = Figure(figsize=(max(6.0, 2.0 + 2.4 * num_columns), height), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True).ravel()
    image = None
    for i, (axes, (group, own, steps, values)) in enumerate(zip(panels, found, strict=False)):
        edges = np.concatenate([[max(0.0, 2 * steps[0] - steps[1]) if len(steps) > 1 else 0.0], steps])
        image = axes.pcolormesh(edges, np.arange(len(own) + 1), values, norm=norm, cmap="viridis")
        has_names = i % num_columns == 0 or own != found[0][1]
        axes.set_yticks(np.arange(len(own)) + 0.5, own if has_names else [""] * len(own), fontsize=7)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(visible=False)
        _name(axes, group.label(*((layer, quantity) for layer in own)), 34)
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
def norm_parameters(groups: Sequence[VariantRuns], keys: Sequence[Key], title: str, note: str) -> Figure:
    """A panel for γ and one for β: for each norm layer and variant the values at the end, a dot each."""
    groups = groups[:MAX_VARIANTS]
    layers = list(dict.fromkeys(layer for layer, _ in keys))
    symbols = [symbol for symbol in SYMBOLS if any(name.startswith(f"{symbol}[") for _, name in keys)]
    size = (min(14.0, max(6.0, 1.5 + 0.25 * len(layers) * len(groups))), 1.2 + 2.0 * len(symbols))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(symbols), 1, squeeze=False, sharex=True)[:, 0]
    width = 0.8 / len(groups)
    for axes, symbol in zip(panels, symbols, strict=True):
        for i, group in enumerate(groups):
            for place, layer in enumerate(layers):
                own = [key for key in keys if key[0] == layer and key[1].startswith(f"{symbol}[")]
                series = [run.series[key] for run in group.runs for key in own if key in run.series]
                dots = [of[max(of)] for of in series]
                if not dots:
                    continue
                # Side by side, as evenly as any number of them can be.
                spread = np.arange(len(dots)) * 0.618 % 1 - 0.5
                axes.plot(
                    place + (i + 0.5) * width - 0.4 + 0.8 * width * spread, dots, group.marker, color=group.color,
                    markersize=2.5, markeredgewidth=0, alpha=0.6, rasterized=len(dots) > 1000,
                    gid=f"{group.variant} {layer}",
                )  # fmt: skip
        axes.set_ylabel(SYMBOLS[symbol])
        axes.grid(visible=False, axis="x")
    panels[-1].set_xticks(range(len(layers)), [wrapped(layer) for layer in layers])
    panels[-1].tick_params(axis="x", length=0)
    add_head(figure, title, note)
    legend: list[tuple[Artist, str]] = []
    for group in groups:
        own = [key for key in keys if group.having(key)]
        legend.append((Line2D([], [], color=group.color, marker=group.marker, linestyle=""), group.label(own[0])))
    add_legend(panels[0], legend)
    return figure


@styled
def landscape_bands(groups: Sequence[VariantRuns], title: str, note: str) -> Figure:
    """Three panels over steps, a colour a variant, means over the seeds (Santurkar et al. 2018, Fig. 4)."""
    groups = groups[:MAX_VARIANTS]
    figure = Figure(figsize=(9.0, 3.6 + 0.2 * math.ceil(len(groups) / 4)), layout="constrained")
    loss, change, smoothness = figure.subplots(1, 3, sharex=True)
    legend: dict[str, Artist] = {}
    for group in groups:
        for axes, quantity in ((loss, "landscape loss"), (change, "gradient change")):
            steps, (low, high) = group.means(("model", f"{quantity} min"), ("model", f"{quantity} max"))
            _band(axes, steps.tolist(), low.tolist(), high.tolist(), group.color, group.style)
        steps, (values,) = group.means(("model", "beta smoothness"))
        marker = "o" if len(steps) == 1 else ""
        (line,) = smoothness.plot(steps, values, ls=group.style, marker=marker, color=group.color, linewidth=1.2)
        legend[group.label(("model", "landscape loss max"))] = line
    loss.set_ylabel("loss")
    change.set_ylabel("change of the gradient")
    smoothness.set_ylabel("effective β-smoothness")
    for axes in (loss, change, smoothness):
        _scale(axes)
        _label_steps(axes)
    add_head(figure, title, note)
    box = figure.legend(list(legend.values()), [""] * len(legend), loc="outside lower left", ncols=4)
    for text, label in zip(box.get_texts(), legend, strict=True):
        text.set_text(wrapped(label))  # a name may begin with an underscore
    return figure


@styled
def lines(groups: Sequence[VariantRuns], quantities: dict[Key, str], label: str, title: str, note: str) -> Figure:
    """A colour and marker a variant, a line style a quantity, means over the seeds; `quantities`: key to its label.

    Of a single quantity variants have the line styles.
    """
    groups = groups[:MAX_VARIANTS]
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    is_only = len(quantities) == 1
    legend: list[tuple[Artist, str]] = []
    for group in groups:
        for j, key in enumerate(quantities):
            steps, (values,) = group.means(key)
            axes.plot(
                steps, values, ls=group.style if is_only else STYLES[j % len(STYLES)], color=group.color,
                marker=group.marker if not is_only or len(steps) == 1 else "", markersize=4,
                markevery=max(1, len(steps) // 6), linewidth=1.4,
            )  # fmt: skip
        measured = [key for key in quantities if group.having(key)]
        style, marker = (group.style, "") if is_only else ("", group.marker)
        legend.append((Line2D([], [], color=group.color, ls=style, marker=marker), group.label(*measured)))
    if not is_only:
        legend += [
            (Line2D([], [], color=GREY, ls=STYLES[j % len(STYLES)]), name)
            for j, name in enumerate(quantities.values())
        ]
    axes.set_ylabel(label)
    _scale(axes)
    _label_steps(axes)
    add_head(figure, title, note)
    add_legend(axes, legend)
    return figure


def _band(
    axes: Axes, steps: Sequence[float], low: Sequence[float], high: Sequence[float], color: str, style: Any = "-"
) -> None:
    """Between two lines; of a single step an upright stroke."""
    if len(steps) == 1:
        axes.plot([steps[0]] * 2, [low[0], high[0]], color=color, alpha=0.5, linewidth=4, solid_capstyle="butt")
    else:
        axes.fill_between(steps, low, high, color=color, alpha=0.25, linewidth=1.0, linestyle=style)


def _name(axes: Axes, variant: str, width: int) -> None:
    axes.set_title(wrapped(variant, width, max_lines=3), fontsize=9, fontweight="normal")


def _label_steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    low, high = axes.dataLim.intervalx
    if low == high:  # a single step
        axes.set_xticks([low])


def _scale(axes: Axes) -> None:
    """A log scale for the y axis where its data span decades."""
    low, high = axes.dataLim.intervaly
    if 0 < low < high and high / low > LOG_SCALE_FROM:
        axes.set_yscale("log")
        format_numbers(axes.yaxis, "", math.log10(high / low))
