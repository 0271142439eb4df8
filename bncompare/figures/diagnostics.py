"""Figures of diagnostics: runs in, one figure out for each kind that was measured in any of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bncompare.figures.looks import Look, looks, stroke
from bncompare.figures.style import (
    GREY,
    WIDTH,
    NamedFigure,
    add_colour_bar,
    add_head,
    add_legend,
    by_variant,
    colour_scale,
    format_decades,
    is_wide,
    styled,
    wrapped,
)
from bncompare.probes import PROBES
from bncompare.runs import LoadedRun

MAX_PANELS = 6  # below each other, in a figure of percentiles
MAX_COLUMNS = 4  # of panels
MAX_VARIANTS = 12  # in one figure
MAX_UNMEASURED = 6  # variants without a measurement that are named

SYMBOLS = {"gamma": "γ", "beta": "β"}

Key = tuple[str, str]
"""layer and quantity"""
Series = dict[Key, dict[float, float]]
"""what was measured in a run, by step"""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredVariant:
    """What was measured in the runs of one variant, and how it looks in every figure."""

    name: str
    runs: Sequence[tuple[int, Series]]
    """the seed of each, and its series: none if it diverged before anything was measured"""
    look: Look

    def having(self, *keys: Key) -> list[Series]:
        """Of the runs in which all of these were measured."""
        return [series for _, series in self.runs if all(key in series for key in keys)]

    def label(self, *keys: Key) -> str:
        """The variant, and of how many of its runs there is something to see."""
        number = len(self.having(*keys))
        return self.name if number == len(self.runs) else f"{self.name} ({number} of {len(self.runs)} runs)"

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
        values = [[[series[key][step] for step in steps] for series in runs] for key in keys]
        return np.array(steps), [np.mean(of_key, axis=0) for of_key in values]


def _shared_steps(runs: Sequence[Series], keys: Sequence[Key]) -> list[float]:
    return sorted(set.intersection(*(set(series[key]) for series in runs for key in keys)))


def _series(run: LoadedRun) -> Series:
    found: Series = {}
    for row in run.diagnostics:
        found.setdefault((row.layer, row.quantity), {})[row.step] = row.value
    return found


class Kind(NamedTuple):
    """A kind of figure, for what was measured."""

    name: str
    caption: str
    keys: Sequence[Key]
    """a variant in which any of them was measured is in it"""
    draw: Callable[[Sequence[MeasuredVariant], Sequence[Key]], Figure]
    """takes at most `MAX_VARIANTS` of these variants, and the keys"""


def diagnostic_figures(runs: Sequence[LoadedRun], *, title: str) -> Iterator[NamedFigure]:
    """A figure for each kind of diagnostics that the runs of an experiment have.

    `runs` are all runs of the experiment, so that a variant looks the same in every figure and what has not been
    measured is counted.
    """
    own = looks(runs)
    variants = [
        MeasuredVariant(name, [(run.seed, _series(run)) for run in members], own[name])
        for name, members in by_variant(runs).items()
    ]
    measured = list(dict.fromkeys(key for variant in variants for _, series in variant.runs for key in series))
    for kinds in (percentiles, quantities, parameters, landscape, modes, statistics):
        for kind in kinds(measured):
            if any(variant.having(key) for variant in variants for key in kind.keys):
                yield _draw(kind, variants, title)


@styled
def _draw(kind: Kind, variants: Sequence[MeasuredVariant], title: str) -> NamedFigure:
    shown = [variant for variant in variants if any(variant.having(key) for key in kind.keys)]
    lost = [variant.name for variant in variants if not any(series for _, series in variant.runs)]
    note = kind.caption
    note += f"; the first {MAX_VARIANTS} of {len(shown)} variants" if len(shown) > MAX_VARIANTS else ""
    if len(lost) > MAX_UNMEASURED:
        lost = [*lost[:MAX_UNMEASURED], f"{len(lost) - MAX_UNMEASURED} more"]
    note += f"; without a measurement: {', '.join(lost)}" if lost else ""
    figure = kind.draw(shown[:MAX_VARIANTS], kind.keys)
    add_head(figure, title, note)
    return NamedFigure(f"diagnostics-{kind.name}", f"{kind.caption[0].upper()}{kind.caption[1:]}.", figure)


# ---------------------------------------------------------------- percentiles


def percentiles(measured: Sequence[Key]) -> Iterator[Kind]:
    """Of the inputs of layers, or of chosen units if there are some."""
    medians = [key for key in measured if key[1].startswith("input p50")]
    medians = [key for key in medians if "unit" in key[1]] or medians
    caption = "15th, 50th and 85th percentile of the input of an activation, of the first seed"
    yield Kind("percentiles", caption, medians, percentile_bands)


def percentile_bands(variants: Sequence[MeasuredVariant], medians: Sequence[Key]) -> Figure:
    """A panel for each layer (or unit) and variant: the median over steps in a band of the other two percentiles.

    As in Ioffe & Szegedy 2015, Fig. 1(b, c); of the first seed of each variant that was measured.
    """
    medians = medians[-MAX_PANELS:]
    size = (max(6.0, 1.2 + min(2.9, 12 / len(variants)) * len(variants)), 1.2 + 1.4 * len(medians))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(medians), len(variants), squeeze=False, sharex=True, sharey="row")
    for row, (layer, median) in zip(panels, medians, strict=True):
        keys = [(layer, median.replace("p50", end)) for end in ("p15", "p50", "p85")]
        for axes, variant in zip(row, variants, strict=True):
            for series in variant.having(*keys)[:1]:
                steps = _shared_steps([series], keys)
                low, middle, high = ([series[key][step] for step in steps] for key in keys)
                _band(axes, steps, low, high, variant.look._replace(line="-"))
                axes.plot(steps, middle, marker=_dot(steps), color=variant.look.color, linewidth=1.2)
        row[0].set_ylabel(f"{layer}{median.removeprefix('input p50').replace(' of', ',')}")
    for axes, variant in zip(panels[0], variants, strict=True):
        seed = next(seed for seed, series in variant.runs if series)
        _name(axes, f"{variant.name}, seed {seed}", 18 if len(variants) > MAX_COLUMNS else 34)
    for axes in panels[-1]:
        _label_steps(axes)
    return figure


# ---------------------------------------------------------------- a quantity of layers


def quantities(measured: Sequence[Key]) -> Iterator[Kind]:
    """Each that its probe has a caption for: a map of layers over steps; of a single layer lines."""
    for probe in PROBES:
        for quantity, caption in probe.captions.items():
            keys = [key for key in measured if key[1] == quantity]
            draw = partial(layer_map, label=quantity)
            if len(keys) == 1:
                draw = partial(lines, names=[""], label=f"{quantity} of {keys[0][0]}")
            yield Kind(quantity.replace(" ", "-"), caption, keys, draw)


def layer_map(variants: Sequence[MeasuredVariant], keys: Sequence[Key], label: str) -> Figure:
    """A panel for each variant: layers from top to bottom, steps from left to right, the mean over the seeds."""
    found = [_layers_by_steps(variant, keys) for variant in variants]
    scale = colour_scale(np.concatenate([values.ravel() for _, _, values in found]))
    num_columns = min(len(found), MAX_COLUMNS)
    num_rows = math.ceil(len(found) / num_columns)
    height = 1.1 + num_rows * (0.5 + 0.2 * max(len(own) for own, _, _ in found))
    figure = Figure(figsize=(max(6.0, 2.0 + 2.4 * num_columns), height), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True).ravel()
    for i, (axes, variant, (own, steps, values)) in enumerate(zip(panels, variants, found, strict=False)):
        edges = np.concatenate([[max(0.0, 2 * steps[0] - steps[1]) if len(steps) > 1 else 0.0], steps])
        image = axes.pcolormesh(edges, np.arange(len(own) + 1), values, norm=scale, cmap="viridis")
        has_names = i % num_columns == 0 or own != found[0][0]
        names = [layer if has_names else "" for layer, _ in own]
        axes.set_yticks(np.arange(len(own)) + 0.5, names, fontsize=7)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(visible=False)
        _name(axes, variant.label(*own), 34)
        if i + num_columns >= len(found):
            _label_steps(axes)
            axes.tick_params(labelbottom=True)
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    add_colour_bar(figure, image, list(panels), label)
    return figure


def _layers_by_steps(variant: MeasuredVariant, keys: Sequence[Key]) -> tuple[list[Key], Values, Values]:
    """The keys that a variant has, the steps of any of them, the means (keys × steps; NaN: none)."""
    own = [key for key in keys if variant.having(key)]
    means = [variant.means(key) for key in own]
    steps = np.unique(np.concatenate([steps for steps, _ in means]))
    values = np.full((len(own), len(steps)), np.nan)
    for i, (places, (of_layer,)) in enumerate(means):
        values[i, np.searchsorted(steps, places)] = of_layer
    return own, steps, values


# ---------------------------------------------------------------- γ and β


def parameters(measured: Sequence[Key]) -> Iterator[Kind]:
    """γ and β, unit by unit."""
    keys = [key for key in measured if key[1].startswith(("gamma[", "beta["))]
    caption = "final γ and β of each norm layer: a dot a unit (channel), all seeds"
    yield Kind("norm-parameters", caption, keys, norm_parameters)


def norm_parameters(variants: Sequence[MeasuredVariant], keys: Sequence[Key]) -> Figure:
    """A panel for γ and one for β: for each norm layer and variant the values at the end, a dot each."""
    layers = list(dict.fromkeys(layer for layer, _ in keys))
    symbols = [symbol for symbol in SYMBOLS if any(name.startswith(f"{symbol}[") for _, name in keys)]
    size = (min(14.0, max(6.0, 1.5 + 0.25 * len(layers) * len(variants))), 1.2 + 2.0 * len(symbols))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(symbols), 1, squeeze=False, sharex=True)[:, 0]
    for axes, symbol in zip(panels, symbols, strict=True):
        for place, layer in enumerate(layers):
            own = [key for key in keys if key[0] == layer and key[1].startswith(f"{symbol}[")]
            _draw_units(axes, place, variants, own)
        axes.set_ylabel(SYMBOLS[symbol])
        axes.grid(visible=False, axis="x")
    panels[-1].set_xticks(range(len(layers)), [wrapped(layer) for layer in layers])
    panels[-1].tick_params(axis="x", length=0)
    legend: list[tuple[Artist, str]] = []
    for variant in variants:
        first = next(key for key in keys if variant.having(key))
        legend.append((variant.look.handle(linestyle=""), variant.label(first)))
    add_legend(panels[0], legend)
    return figure


def _draw_units(axes: Axes, place: int, variants: Sequence[MeasuredVariant], keys: Sequence[Key]) -> None:
    """The last values of the units of one layer: variants beside each other around its place."""
    width = 0.8 / len(variants)
    for i, variant in enumerate(variants):
        found = [series[key] for _, series in variant.runs for key in keys if key in series]
        dots = [by_step[max(by_step)] for by_step in found]
        if dots:
            # Side by side, as evenly as any number of them can be.
            spread = np.arange(len(dots)) * 0.618 % 1 - 0.5
            axes.plot(
                place + (i + 0.5) * width - 0.4 + 0.8 * width * spread, dots, variant.look.marker,
                color=variant.look.color, markersize=2.5, markeredgewidth=0, alpha=0.6, rasterized=len(dots) > 1000,
                gid=f"{variant.name} {keys[0][0]}",
            )  # fmt: skip


# ---------------------------------------------------------------- of the whole model


def landscape(measured: Sequence[Key]) -> Iterator[Kind]:
    """The loss along the gradient."""
    caption = "along the negative gradient: range of the loss, change of the gradient, effective β-smoothness"
    yield Kind("landscape", caption, [("model", "landscape loss max")], landscape_bands)


def landscape_bands(variants: Sequence[MeasuredVariant], keys: Sequence[Key]) -> Figure:
    """Three panels over steps, a colour a variant, means over the seeds (Santurkar et al. 2018, Fig. 4)."""
    figure = Figure(figsize=(9.0, 3.6 + 0.2 * math.ceil(len(variants) / 4)), layout="constrained")
    loss, change, smoothness = figure.subplots(1, 3, sharex=True)
    legend: dict[str, Artist] = {}
    for variant in variants:
        for axes, quantity in ((loss, "landscape loss"), (change, "gradient change")):
            steps, (low, high) = variant.means(("model", f"{quantity} min"), ("model", f"{quantity} max"))
            _band(axes, steps.tolist(), low.tolist(), high.tolist(), variant.look)
        steps, (values,) = variant.means(("model", "beta smoothness"))
        color, line, _ = variant.look
        (legend[variant.label(*keys)],) = smoothness.plot(
            steps, values, linestyle=line, marker=_dot(steps), color=color, linewidth=1.2
        )
    loss.set_ylabel("loss")
    change.set_ylabel("change of the gradient")
    smoothness.set_ylabel("effective β-smoothness")
    for axes in (loss, change, smoothness):
        _scale(axes)
        _label_steps(axes)
    box = figure.legend(list(legend.values()), [""] * len(legend), loc="outside lower left", ncols=4)
    for text, label in zip(box.get_texts(), legend, strict=True):
        text.set_text(wrapped(label))  # a name may begin with an underscore
    return figure


def modes(measured: Sequence[Key]) -> Iterator[Kind]:
    """What dropout and norms do to the loss of the same examples."""
    names = ["training mode", "evaluation mode"]
    keys = [("model", f"loss in {name}") for name in names]
    caption = "loss of the same examples in training and in evaluation mode"
    yield Kind("train-eval-gap", caption, keys, partial(lines, names=names, label="loss"))


def statistics(measured: Sequence[Key]) -> Iterator[Kind]:
    """The metrics of validation, evaluated with other statistics than those of training."""
    for metric in ("loss", "accuracy"):
        keys = sorted(key for key in measured if key[0] == "model" and key[1].startswith(f"val/{metric} "))
        names = [name.removeprefix(f"val/{metric} ").removeprefix("with ") for _, name in keys]
        caption = f"validation {metric} by the statistics it is evaluated with"
        yield Kind(f"statistics-{metric}", caption, keys, partial(lines, names=names, label=f"validation {metric}"))


def lines(variants: Sequence[MeasuredVariant], keys: Sequence[Key], names: Sequence[str], label: str) -> Figure:
    """A colour and marker a variant, a line style a quantity, means over the seeds; `names`: those of the keys.

    Of a single quantity variants have the line styles.
    """
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.subplots()
    is_only = len(keys) == 1
    legend: list[tuple[Artist, str]] = []
    for variant in variants:
        for j, key in enumerate(keys):
            steps, (values,) = variant.means(key)
            axes.plot(
                steps, values, linestyle=variant.look.line if is_only else stroke(j), color=variant.look.color,
                marker=_dot(steps, variant.look.marker) if is_only else variant.look.marker, markersize=4,
                markevery=max(1, len(steps) // 6), linewidth=1.4,
            )  # fmt: skip
        measured = [key for key in keys if variant.having(key)]
        hidden = {"marker": ""} if is_only else {"linestyle": ""}
        legend.append((variant.look.handle(**hidden), variant.label(*measured)))
    if not is_only:
        legend += [(Look(GREY, stroke(j), "").handle(), name) for j, name in enumerate(names)]
    axes.set_ylabel(label)
    _scale(axes)
    _label_steps(axes)
    add_legend(axes, legend)
    return figure


# ---------------------------------------------------------------- parts of all of them


def _dot(steps: Sequence[float] | Values, marker: str = "o") -> str:
    """A marker for a single step, of which there is no line to see."""
    return marker if len(steps) == 1 else ""


def _band(axes: Axes, steps: Sequence[float], low: Sequence[float], high: Sequence[float], look: Look) -> None:
    """Between two lines; of a single step an upright stroke."""
    color, line, _ = look
    if len(steps) == 1:
        axes.plot([steps[0]] * 2, [low[0], high[0]], color=color, alpha=0.5, linewidth=4, solid_capstyle="butt")
    else:
        axes.fill_between(steps, low, high, color=color, alpha=0.25, linewidth=1.0, linestyle=line)


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
    if is_wide(low, high):
        axes.set_yscale("log")
        format_decades(axes.yaxis, math.log10(high / low))
