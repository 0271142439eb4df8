"""Numbers in, a matplotlib Figure out; reads no file."""

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, Literal, ParamSpec

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
)
from matplotlib.transforms import ScaledTranslation

from bncompare.statistics import summarize

# Okabe & Ito's palette without its yellow: told apart by the colour-blind, dark enough on white. Neighbours differ in
# line style and marker as well, for print in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444")
LINE_STYLES: Final[tuple[Literal["-", "--", ":", "-."], ...]] = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "P", "v", "<", ">")
GREY = "#666666"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#333333",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # names are shown as they are, $ and _ included
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.hashsalt": "bncompare",
}
WIDTH = 7.2  # inches
LOG_SCALE_FROM = 30.0  # ratio of the largest to the smallest value
MAX_OVERLAID = 6  # variants in one set of axes; up to MAX_PANELS have one each, more are their means alone
MAX_PANELS = 25
MAX_LEGEND = 28
MAX_SEED_LABELS = 12
WRAP = 34  # characters of a name in a line

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_MARKS = {"stopped_early": ("v", "stopped early"), "diverged": ("X", "diverged")}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A decorator of what draws a figure: in the style of this package."""

    @wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> Figure:
        with rc_context(STYLE):
            return draw(*arguments, **options)

    return drawn


def metric_label(metric: str, is_classification: bool) -> str:
    """`val/loss` as an axis label, with its unit."""
    if metric == "lr":
        return "learning rate"
    split, _, quantity = metric.partition("/")
    if quantity == "accuracy":
        return f"{_SPLITS.get(split, split)} accuracy (%)"
    unit = "cross-entropy, nats" if is_classification else "mean squared error"
    return f"{_SPLITS.get(split, split)} {quantity} ({unit})"


# ---------------------------------------------------------------- curves


@dataclass(frozen=True)
class Curve:
    """A metric of one run over its evaluations."""

    variant: str
    seed: int
    x: Sequence[float]
    y: Sequence[float]
    status: str


@styled
def experiment_curves(
    curves: Sequence[Curve], *, title: str, metric: str, x_label: str, is_classification: bool
) -> Figure:
    """One colour and line style a variant: its mean over the seeds, its 95 % t-interval as a band, its seeds thin.

    The mean is that of the runs that did not diverge, over the evaluations that all of them reached: where one
    stopped early, it ends. Marks show where runs stopped early (▼) and diverged (✕); where runs end at different
    times, a strip below shows how many go on. More than 6 variants have a panel each, with the others' means in grey;
    of more than 25 only the means are drawn.
    """
    groups = _by_variant(curves)
    seeds = len({curve.seed for curve in curves})
    note = f"{seeds} seed{'' if seeds == 1 else 's'}"
    if any(len(_kept(runs)) >= 2 for runs in groups.values()):
        note += ": mean, 95 % t-interval, single seeds thin" if len(groups) <= MAX_PANELS else ": means"
        if any(_ends_differ(_kept(runs)) for runs in groups.values()):
            note += "; a mean ends where the first of its runs does"
    y_label = metric_label(metric, is_classification)
    if MAX_OVERLAID < len(groups) <= MAX_PANELS:
        return _panels(groups, title, note, metric, x_label, y_label)
    has_strip = len(groups) <= MAX_OVERLAID and any(map(_ends_differ, groups.values()))
    figure = Figure(figsize=(WIDTH, 4.8 if has_strip else 4.2), layout="constrained")
    grid = figure.add_gridspec(2 if has_strip else 1, 1, height_ratios=[6, 1] if has_strip else [1])
    axes = figure.add_subplot(grid[0])
    top = _scale_y(axes, curves, metric)
    legend: list[tuple[Artist, str]] = []
    for i, (variant, runs) in enumerate(groups.items()):
        mean = _draw_variant(axes, runs, i, top, is_mean_only=len(groups) > MAX_PANELS)
        legend.append((mean, variant + _counted(runs)))
    legend += _explain_marks(curves)
    axes.set_ylabel(y_label)
    lowest = axes
    if has_strip:
        lowest = figure.add_subplot(grid[1], sharex=axes)
        for i, runs in enumerate(groups.values()):
            _draw_numbers(lowest, runs, i)
        lowest.set_ylabel("runs")
        lowest.set_ylim(0, 1.15 * max(map(len, groups.values())))
        lowest.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
        axes.tick_params(labelbottom=False)
    lowest.set_xlabel(x_label)
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(legend) > MAX_LEGEND:
        legend = [*legend[:MAX_LEGEND], (Line2D([], [], alpha=0), f"and {len(legend) - MAX_LEGEND} more")]
    add_head(figure, title, note)
    add_legend(axes, legend)
    return figure


def _panels(groups: dict[str, list[Curve]], title: str, note: str, metric: str, x_label: str, y_label: str) -> Figure:
    """A variant a panel on shared axes, the means of the others behind it in grey."""
    # The fewest empty places, in at most six columns.
    num_columns = min(range(math.ceil(math.sqrt(len(groups))), 7), key=lambda number: (-len(groups) % number, number))
    num_rows = math.ceil(len(groups) / num_columns)
    figure = Figure(figsize=(1.75 * num_columns + 0.5, 1.5 * num_rows + 0.9), layout="constrained")
    add_head(figure, title, note)
    means = [_mean(_kept(runs)) for runs in groups.values()]
    curves = [curve for runs in groups.values() for curve in runs]
    first = figure.add_subplot(num_rows, num_columns, 1)
    top = _scale_y(first, curves, metric)
    for i, (variant, runs) in enumerate(groups.items()):
        axes = first if i == 0 else figure.add_subplot(num_rows, num_columns, i + 1, sharex=first, sharey=first)
        others = [list(zip(x, ys, strict=True)) for j, (x, ys, _, _) in enumerate(means) if j != i and x]
        axes.add_collection(
            LineCollection(others, colors="#cccccc", linewidths=0.7, zorder=1, gid="others"), autolim=False
        )
        _draw_variant(axes, runs, 0, top)
        axes.set_title(_wrapped(variant, 22) + _counted(runs, "\n"), fontsize=8, fontweight="normal")
        axes.tick_params(labelleft=i % num_columns == 0, labelbottom=i + num_columns >= len(groups))
    first.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    figure.supxlabel(x_label, fontsize=9)
    figure.supylabel(y_label, fontsize=9)
    marks = _explain_marks(curves)
    if marks:
        handles, labels = zip(*marks, strict=True)
        figure.legend(handles, labels, loc="outside lower right", ncols=len(marks))
    return figure


def _draw_variant(axes: Axes, runs: Sequence[Curve], i: int, top: float, *, is_mean_only: bool = False) -> Line2D:
    """Single runs, band, marks and mean of variant number i; returns the line of the mean."""
    color = COLORS[i % len(COLORS)]
    if not is_mean_only:
        segments = [list(zip(run.x, run.y, strict=True)) for run in runs]
        axes.add_collection(
            LineCollection(
                segments,
                colors=color,
                linewidths=0.7,
                alpha=max(0.015, min(0.35, 8 / len(runs))),
                zorder=1.5,
                rasterized=len(runs) > 40,
                gid="seeds",
            )
        )
        for status, (marker, _) in _MARKS.items():
            ends = [_end(run, top) for run in runs if run.status == status and run.x]
            if ends:
                axes.plot(
                    *zip(*ends, strict=True),
                    marker,
                    color=color,
                    markersize=6 if len(ends) <= 40 else 3,
                    markeredgecolor="white",
                    markeredgewidth=0.6,
                    zorder=4,
                    clip_on=False,
                    gid=status,
                )
    x, means, low, high = _mean(_kept(runs))
    style = LINE_STYLES[i % len(LINE_STYLES)]
    (mean,) = axes.plot(x, means, style, color=color, zorder=3, gid="mean")
    if x and len(_kept(runs)) >= 2 and not is_mean_only:
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, zorder=2)
    return mean


def _draw_numbers(axes: Axes, runs: Sequence[Curve], i: int) -> None:
    """How many runs have an evaluation at, or after, each x."""
    x = sorted({value for run in runs for value in run.x})
    ends = sorted(run.x[-1] for run in runs if run.x)
    numbers = len(ends) - np.searchsorted(ends, x)
    style = LINE_STYLES[i % len(LINE_STYLES)]
    axes.plot(
        x, numbers, style, color=COLORS[i % len(COLORS)], drawstyle="steps-pre", linewidth=1.3, gid="number"
    )  # fmt: skip


def curve_means(curves: Sequence[Curve]) -> dict[str, tuple[list[float], list[float]]]:
    """The line of the mean of each variant: x and y, empty where all runs diverged."""
    return {variant: _mean(_kept(runs))[:2] for variant, runs in _by_variant(curves).items()}


def _by_variant(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.variant, []).append(curve)
    return groups


def _kept(runs: Sequence[Curve]) -> list[Curve]:
    return [run for run in runs if run.status != "diverged"]


def _ends_differ(runs: Sequence[Curve]) -> bool:
    return len({run.x[-1] for run in runs if run.x}) > 1


def _mean(runs: Sequence[Curve]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Where all runs have an evaluation; mean and both ends of the interval there."""
    if not runs:
        return [], [], [], []
    shared = sorted(set.intersection(*(set(run.x) for run in runs)))
    rows = [run.y if list(run.x) == shared else _at(run, shared) for run in runs]
    columns = np.asarray(rows, dtype=np.float64).reshape(len(runs), len(shared)).T.tolist()
    found = [
        (x, summarize(values)) for x, values in zip(shared, columns, strict=True) if all(map(math.isfinite, values))
    ]
    summaries = [summary for _, summary in found]
    return [x for x, _ in found], [s.mean for s in summaries], [s.low for s in summaries], [s.high for s in summaries]


def _at(run: Curve, x: Sequence[float]) -> list[float]:
    values = dict(zip(run.x, run.y, strict=True))
    return [values[position] for position in x]


def _end(run: Curve, top: float) -> tuple[float, float]:
    """Where a run ended, at its last value that can be drawn."""
    finite = [y for y in run.y if math.isfinite(y)]
    return run.x[-1], min(finite[-1], top) if finite else top


def _counted(runs: Sequence[Curve], separator: str = " ") -> str:
    """` (mean of 2; 1 diverged)`: what a variant's mean leaves out, or counts in that has not come to its end."""
    parts = [
        f"{number} {status}"
        for status in ("diverged", "failed", "unfinished")
        if (number := sum(run.status == status for run in runs))
    ]
    kept = len(_kept(runs))
    if 0 < kept < len(runs):
        parts.insert(0, f"mean of {kept}")
    return f"{separator}({'; '.join(parts)})" if parts else ""


def _explain_marks(curves: Sequence[Curve]) -> list[tuple[Artist, str]]:
    statuses = {curve.status for curve in curves}
    return [
        (Line2D([], [], marker=marker, color=GREY, linestyle="", markersize=6), text)
        for status, (marker, text) in _MARKS.items()
        if status in statuses
    ]


def _scale_y(axes: Axes, curves: Sequence[Curve], metric: str) -> float:
    """Choose the y axis, leaving out what diverged runs reached; returns its upper end."""
    values = [y for curve in _kept(curves) or curves for y in curve.y if math.isfinite(y)]
    low, high = _limits(axes.yaxis, values, metric)
    axes.set_ylim(low, high)
    return high


@styled
def run_curves(metrics: dict[str, list[float]], title: str, is_classification: bool) -> Figure:
    """The curves of one run over epochs: loss, and accuracy where there is one; training and validation."""
    quantities = ["loss", "accuracy"] if is_classification else ["loss"]
    # Fixed margins: working out a layout would double the time, which counts where runs are short and many.
    figure = Figure(figsize=(4.2 * len(quantities), 3.2))
    figure.subplots_adjust(left=0.16 / len(quantities), right=0.98, bottom=0.15, top=0.9, wspace=0.28)
    figure.suptitle(title, fontsize=9)
    for i, quantity in enumerate(quantities):
        axes = figure.add_subplot(1, len(quantities), i + 1)
        names = [name for name in metrics if name.endswith(f"/{quantity}")]
        _scale_y(axes, [Curve(name, 0, metrics["epoch"], metrics[name], "completed") for name in names], quantity)
        for color, style, name in zip(COLORS, LINE_STYLES, names, strict=False):
            axes.plot(metrics["epoch"], metrics[name], style, color=color, label=_SPLITS[name.split("/")[0]])
        axes.set_xlabel("epoch")
        axes.set_ylabel(metric_label(f"/{quantity}", is_classification).strip())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure


# ---------------------------------------------------------------- paired differences


@dataclass(frozen=True)
class PairedDifferences:
    """One variant minus another, seed by seed."""

    label: str
    differences: dict[int, float]
    """by seed; finite"""
    without_value: int = 0
    """shared seeds in which one of the two has no value, as it diverged"""


@styled
def paired_differences(
    pairs: Sequence[PairedDifferences], *, title: str, note: str, metric: str, is_classification: bool,
    higher_is_better: bool,
) -> Figure:  # fmt: skip
    """One row a pair: a dot a seed, from the first seed at the top; below them the mean and its 95 % t-interval."""
    longest = max(max((len(pair.differences) for pair in pairs), default=1), 1)
    row_height = 0.42 + 0.09 * min(longest, MAX_SEED_LABELS)
    figure = Figure(figsize=(WIDTH, 1.2 + row_height * len(pairs)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="#333333", linewidth=1, zorder=1)
    is_accuracy = metric.endswith("accuracy")
    texts = []
    for row, pair in enumerate(pairs):
        values = list(pair.differences.values())
        heights = np.linspace(row - 0.36, row + 0.14, len(values)) if len(values) != 1 else [row - 0.11]
        axes.plot(
            values, heights, "o", color=COLORS[0], markersize=4.5 if longest <= 40 else 2, alpha=0.6,
            markeredgewidth=0, zorder=2, gid="seeds",
        )  # fmt: skip
        if len(values) <= MAX_SEED_LABELS:
            for seed, value, height in zip(pair.differences, values, heights, strict=True):
                axes.annotate(
                    str(seed),
                    (value, height),
                    (5, 0),
                    textcoords="offset points",
                    fontsize=6,
                    color=GREY,
                    va="center",
                )
        text = f"n = {len(values)}"
        if values:
            summary = summarize(values)
            axes.plot(
                [summary.low, summary.high], [row + 0.32] * 2, color=COLORS[0], linewidth=2.2, gid="interval",
                solid_capstyle="butt", zorder=2,
            )  # fmt: skip
            axes.plot([summary.mean], [row + 0.32], "D", color=COLORS[0], markersize=6, zorder=3, gid="mean")
            text = f"mean {_number(summary.mean, metric, '+')}\nn = {len(values)}"
        if pair.without_value:
            text += f"\n{pair.without_value} without a value"
        texts.append(text)
    axes.set_ylim(len(pairs) - 0.45, -0.55)
    _row_labels(axes, [pair.label for pair in pairs], texts)
    unit = (
        "percentage points" if is_accuracy else "cross-entropy, nats" if is_classification else "mean squared error"
    )
    quantity = metric_label(metric, is_classification).rpartition(" (")[0]
    sign = "positive" if higher_is_better else "negative"
    axes.set_xlabel(f"difference in {quantity} ({unit}); {sign}: the first is better")
    if is_accuracy:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    add_head(figure, title, note)
    return figure


# ---------------------------------------------------------------- sensitivity to a hyperparameter

Value = float | str


@dataclass(frozen=True)
class Sweep:
    """A metric of one variant over the values of a hyperparameter."""

    variant: str
    values: dict[Value, Sequence[float]]
    """hyperparameter → the metric of each seed that has one; finite"""
    diverged: dict[Value, int]
    """hyperparameter → number of runs that diverged"""


@styled
def sensitivity(
    sweeps: Sequence[Sweep], *, title: str, note: str, hyperparameter: str, metric: str, is_classification: bool
) -> Figure:
    """The metric against a swept hyperparameter: mean and 95 % t-interval of each variant, its seeds as dots.

    A mean that lacks diverged runs is hollow and no line leads to it; above the axes ✕ counts them.
    """
    swept = _ordered({value for sweep in sweeps for value in (*sweep.values, *sweep.diverged)})
    is_log = _spans_decades(swept)
    positions = _positions(swept, is_log)
    step = min(
        (b - a for a, b in zip(sorted(positions.values()), sorted(positions.values())[1:], strict=False)), default=1.0
    )
    num_diverged = sum(any(sweep.diverged.values()) for sweep in sweeps)
    figure = Figure(figsize=(WIDTH, 4.2 + 0.16 * num_diverged), layout="constrained")
    axes = figure.add_subplot()
    groups = [values for sweep in sweeps for values in sweep.values.values() if values]
    shown = [value for values in groups for value in values]
    for summary in (summarize(values) for values in groups if len(values) > 2):  # of two, the interval is too wide
        shown += [summary.low, summary.high]
    low, high = _limits(axes.yaxis, shown, metric)
    axes.set_ylim(low, high)
    legend: list[tuple[Artist, str]] = []
    height = 0
    for i, sweep in enumerate(sweeps):
        color, marker, style = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)], LINE_STYLES[i % len(LINE_STYLES)]
        offset = step * 0.5 * ((i + 0.5) / len(sweeps) - 0.5)
        points = [
            (positions[value] + offset, sweep.values[value], sweep.diverged.get(value, 0))
            for value in swept
            if sweep.values.get(value)
        ]
        dots = [(x, y) for x, ys, _ in points for y in ys]
        axes.plot(
            [x for x, _ in dots], [y for _, y in dots], marker, color=color, markersize=3, alpha=0.35,
            markeredgewidth=0, zorder=2, gid="seeds",
        )  # fmt: skip
        means = [(x, summarize(ys), diverged) for x, ys, diverged in points]
        for x, summary, _ in means:
            if summary.n > 1:
                axes.plot([x, x], [summary.low, summary.high], color=color, linewidth=1.3, zorder=2.5, gid="interval")
        axes.plot(
            [x for x, _, _ in means], [math.nan if diverged else s.mean for _, s, diverged in means], style,
            color=color, marker=marker, markersize=6, linewidth=1.5, zorder=3, gid="mean",
        )  # fmt: skip
        hollow = [(x, s.mean) for x, s, diverged in means if diverged]
        axes.plot(
            [x for x, _ in hollow], [y for _, y in hollow], marker, color=color, markersize=6,
            markerfacecolor="white", markeredgewidth=1.2, zorder=3, gid="mean of the rest",
        )  # fmt: skip
        legend.append(
            (Line2D([], [], color=color, linestyle=style, marker=marker, markersize=6, linewidth=1.5), sweep.variant)
        )
        if any(sweep.diverged.values()):
            height += 1
            name = sweep.variant if len(sweep.variant) <= 20 else f"{sweep.variant[:19]}…"
            _write_above(axes, -0.005, height, color, f"{name} diverged:", is_fraction=True)
            for value, number in sweep.diverged.items():
                if number:
                    total = number + len(sweep.values.get(value, ()))
                    _write_above(axes, positions[value] + offset, height, color, f"✕ {number}/{total}")
    if height:
        hollow_mark = Line2D([], [], color=GREY, marker="o", markersize=6, markerfacecolor="white", linestyle="")
        legend.append((hollow_mark, "mean of the others"))
    _name_positions(axes.xaxis, positions, 12)
    axes.set_xlim(min(positions.values()) - 0.6 * step, max(positions.values()) + 0.6 * step)
    axes.set_xlabel(hyperparameter + (" (log scale)" if is_log else ""))
    axes.set_ylabel(metric_label(metric, is_classification))
    add_head(figure, title, note)
    add_legend(axes, legend, rows_above=height)
    return figure


def _write_above(axes: Axes, x: float, row: int, color: str, text: str, *, is_fraction: bool = False) -> None:
    """A small text in a row above the axes, at x of the data, or ending at a fraction of the width."""
    axes.annotate(
        text, (x, 1), (0, 10 * row - 6), xycoords=axes.transAxes if is_fraction else axes.get_xaxis_transform(),
        textcoords="offset points", fontsize=6.5, color=color, ha="right" if is_fraction else "center", va="center",
        annotation_clip=False, gid="name" if is_fraction else "diverged",
    )  # fmt: skip


def _ordered(values: set[Value]) -> list[Value]:
    """Numbers by size, then names."""
    return sorted(
        values, key=lambda value: (isinstance(value, str), value if isinstance(value, str) else float(value))
    )


def _spans_decades(values: Sequence[Value]) -> bool:
    numbers = [value for value in values if not isinstance(value, str)]
    return len(numbers) == len(values) > 1 and min(numbers) > 0 and max(numbers) / min(numbers) >= 10


def _positions(values: Sequence[Value], is_log: bool) -> dict[Value, float]:
    """Where values stand on a linear axis: their logarithm, themselves, or their number if some are names."""
    if is_log:
        return {value: math.log10(float(value)) for value in values}
    if any(isinstance(value, str) for value in values):
        return {value: float(i) for i, value in enumerate(values)}
    return {value: float(value) for value in values}


def _name_positions(axis: Axis, positions: dict[Value, float], width: int) -> None:
    axis.set_major_locator(FixedLocator(list(positions.values())))
    axis.set_minor_locator(NullLocator())
    labels = [value if isinstance(value, str) else f"{value:g}" for value in positions]
    axis.set_ticklabels([_wrapped(label, width, max_lines=3) for label in labels])
    for text in axis.get_ticklabels():
        text.set_parse_math(False)


# ---------------------------------------------------------------- heat map


@dataclass(frozen=True)
class Cell:
    """The runs of one combination of two settings."""

    values: Sequence[float]
    """the metric of each seed that has one; finite"""
    diverged: int = 0
    is_chosen: bool = False
    """whether the norms are compared with this setting; gets a frame"""


@styled
def heat_map(
    cells: dict[tuple[Value, Value], Cell], *, title: str, note: str, columns: str, metric: str,
    is_classification: bool,
) -> Figure:  # fmt: skip
    """Mean of a metric for each pair of settings (row, column), written into its cell; ✕ where runs diverged."""
    row_values = list(dict.fromkeys(row for row, _ in cells))
    column_values = _ordered({column for _, column in cells})
    means = np.full((len(row_values), len(column_values)), np.nan)
    for i, row in enumerate(row_values):
        for j, column in enumerate(column_values):
            cell = cells.get((row, column))
            if cell and cell.values:
                means[i, j] = summarize(cell.values).mean
    known = means[np.isfinite(means)]
    norm: Normalize = Normalize(vmin=known.min() if known.size else 0.0, vmax=known.max() if known.size else 1.0)
    if known.size and known.min() > 0 and known.max() / known.min() > LOG_SCALE_FROM:
        norm = LogNorm(known.min(), known.max())
    width = min(WIDTH + max(0, len(column_values) - 8) * 0.6, 14)
    figure = Figure(figsize=(width, 1.5 + 0.42 * len(row_values)), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=False)
    is_accuracy = metric.endswith("accuracy")
    colors = colormaps["viridis" if is_accuracy else "viridis_r"].with_extremes(bad="#eeeeee")
    image = axes.imshow(np.ma.masked_invalid(means), norm=norm, cmap=colors, aspect="auto")
    for (row, column), cell in cells.items():
        i, j = row_values.index(row), column_values.index(column)
        total = len(cell.values) + cell.diverged
        lines = [_number(float(means[i, j]), metric)] if cell.values else []
        if cell.diverged:
            lines.append(f"✕ {cell.diverged}/{total}")
        luminance = np.dot(colors(norm(means[i, j]))[:3], [0.299, 0.587, 0.114]) if cell.values else 1.0
        axes.text(
            j, i, "\n".join(lines), ha="center", va="center", fontsize=8 if len(column_values) <= 12 else 6,
            color="black" if luminance > 0.5 else "white", linespacing=1.1,
        )  # fmt: skip
        if cell.is_chosen:
            axes.add_patch(Rectangle((j - 0.47, i - 0.45), 0.94, 0.9, fill=False, edgecolor="black", linewidth=1.6))
            axes.add_patch(Rectangle((j - 0.455, i - 0.42), 0.91, 0.84, fill=False, edgecolor="white", linewidth=0.8))
    _name_positions(axes.xaxis, {value: float(j) for j, value in enumerate(column_values)}, 12)
    _name_positions(axes.yaxis, {value: float(i) for i, value in enumerate(row_values)}, WRAP)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(columns)
    bar = figure.colorbar(
        image, ax=axes, label=metric_label(metric, is_classification).replace(" (", "\n("), pad=0.02
    )
    bar.outline.set_visible(False)
    is_log = isinstance(norm, LogNorm)
    format_numbers(bar.ax.yaxis, metric, math.log10(known.max() / known.min()) if is_log else 0)
    note += "; ✕: diverged, not in the mean" if any(cell.diverged for cell in cells.values()) else ""
    note += "; framed: chosen on the validation set" if any(cell.is_chosen for cell in cells.values()) else ""
    add_head(figure, title, f"{note}; brighter is better")
    return figure


# ---------------------------------------------------------------- time to a threshold


@dataclass(frozen=True)
class TimeTo:
    """When the runs of one variant reached a threshold."""

    variant: str
    reached: Sequence[float]
    """epochs (steps, seconds) of each run that reached it"""
    never: int
    """runs that ended before"""

    @property
    def median(self) -> float:
        """Over all runs, those that never got there as later than any other; infinite if it would be one of those."""
        times = sorted([*self.reached, *[math.inf] * self.never])
        middle = times[(len(times) - 1) // 2 : len(times) // 2 + 1]
        return sum(middle) / len(middle) if times else math.inf


@styled
def times_to_threshold(panels: dict[str, Sequence[TimeTo]], *, title: str, note: str) -> Figure:
    """One row a variant, a dot a run, the median as a bar; runs that never got there are ✕ at the right end.

    `panels` maps the label of a horizontal axis, such as `epochs`, to the same variants. The median counts a run that
    never got there as later than all others, and is not drawn where it would be one of those.
    """
    num_rows = max(map(len, panels.values()))
    figure = Figure(figsize=(WIDTH, 1.25 + 0.5 * num_rows), layout="constrained")
    for i, (label, rows) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        times = [time for row in rows for time in row.reached]
        last = max(times, default=1.0)
        first = min(times, default=0.0)
        is_log = first > 0 and last / first > LOG_SCALE_FROM
        if is_log:
            axes.set_xscale("log")
            format_numbers(axes.xaxis, "", 2 * math.log10(last / first))  # half as wide as others
        right = last * (last / first) ** 0.12 if is_log else last + 0.12 * last
        texts = []
        for row, entry in enumerate(rows):
            color, marker = COLORS[row % len(COLORS)], MARKERS[row % len(MARKERS)]
            total = len(entry.reached) + entry.never
            heights = row + np.linspace(-0.22, 0.22, total) if total > 1 else np.array([float(row)])
            reached = sorted(entry.reached)
            axes.plot(
                reached, heights[: len(reached)], marker, color=color, markersize=5 if total <= 40 else 2.5,
                alpha=0.75, markeredgewidth=0, zorder=2, gid="reached",
            )  # fmt: skip
            if entry.never:
                axes.plot(
                    [right] * entry.never, heights[len(reached) :], "X", color=color,
                    markersize=6 if total <= 40 else 3, markeredgecolor="white", markeredgewidth=0.5, clip_on=False,
                    zorder=3, gid="never",
                )  # fmt: skip
            if math.isfinite(entry.median):
                axes.plot(
                    [entry.median] * 2, [row - 0.34, row + 0.34], color=color, linewidth=2.2, zorder=2.5, gid="median"
                )
            texts.append(f"{entry.never} of {total} never" if entry.never else f"n = {total}")
        axes.set_ylim(num_rows - 0.45, -0.55)
        if any(row.never for row in rows):
            axes.axvline(right, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        axes.set_xlim(first / (last / first) ** 0.05 if is_log else 0, right)
        _row_labels(
            axes, [row.variant for row in rows] if i == 0 else [""] * len(rows), texts if i == len(panels) - 1 else []
        )
        axes.set_xlabel(label + (" (log scale)" if is_log else ""))
        if not is_log:
            axes.xaxis.set_major_locator(
                MaxNLocator(nbins=6, integer=all(float(time).is_integer() for time in times))
            )
        if i == 0:
            marks: list[tuple[Artist, str]] = [
                (Line2D([], [], color=GREY, linewidth=2.2, marker="|", markersize=0), "median")
            ]
            if any(row.never for row in rows):
                marks.append((Line2D([], [], color=GREY, marker="X", linestyle="", markersize=6), "never"))
            add_legend(axes, marks)
    add_head(figure, title, note)
    return figure


# ---------------------------------------------------------------- parts of figures


def add_head(figure: Figure, title: str, note: str) -> None:
    """Title, and a line that says what is shown."""
    title = _wrapped(title, round(11 * figure.get_figwidth()))
    lines = textwrap.wrap(note, round(15.5 * figure.get_figwidth()))
    # The layout keeps room for a title alone: it gets empty lines for the note.
    figure.suptitle(title + "\n" * len(lines), x=0.01, ha="left", fontsize=11, fontweight="bold")
    below = 0.1 + 0.19 * (title.count("\n") + 1)  # inches
    figure.text(0.01, 1 - below / figure.get_figheight(), "\n".join(lines), fontsize=8, color=GREY, va="top")


def add_legend(axes: Axes, entries: Sequence[tuple[Artist, str]], rows_above: int = 0) -> None:
    """In a row above the axes, or at their right: it hides nothing."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    if sum(len(label) + 8 for _, label in entries) <= 84:
        figure = axes.get_figure(root=True)
        assert figure is not None
        offset = ScaledTranslation(0, (10 * rows_above + 4) / 72, figure.dpi_scale_trans)
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "bbox_transform": axes.transAxes + offset}
        place |= {"ncols": len(entries), "borderaxespad": 0, "borderpad": 0}
    box = axes.legend([handle for handle, _ in entries], [str(i) for i in range(len(entries))], **place)
    for text, (_, label) in zip(box.get_texts(), entries, strict=True):
        text.set_text(_wrapped(label))  # set here, as matplotlib leaves out labels that start with an underscore


def _row_labels(axes: Axes, left: Sequence[str], right: Sequence[str]) -> None:
    """Names of the rows at the left of the axes, numbers at their right."""
    axes.set_yticks(range(len(left)), [_wrapped(label, max_lines=3) for label in left])
    for name in axes.get_yticklabels():
        name.set_parse_math(False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    for row, text in enumerate(right):
        axes.annotate(
            text, (1, row), (6, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points", fontsize=8,
            color="#333333", va="center", annotation_clip=False,
        )  # fmt: skip


def _limits(axis: Axis, values: Sequence[float], metric: str) -> tuple[float, float]:
    """Set the scale and the number format of an axis for a metric; returns its ends, with a margin."""
    if not values:
        format_numbers(axis, metric)
        return 0.0, 1.0
    low, high = min(values), max(values)
    is_log = metric.endswith(("loss", "lr")) and low > 0 and high / low > LOG_SCALE_FROM
    if is_log:
        axis.axes.set_yscale("log")
        low, high = low / 1.15, high * 1.15
    else:
        margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
        low, high = low - margin, high + margin
    format_numbers(axis, metric, math.log10(high / low) if is_log else 0)
    return low, high


def format_numbers(axis: Axis, metric: str, decades: float = 0.0) -> None:
    """Percent, or on a log axis over so many decades plain numbers, 1, 2, 5, 10, … where there is room for them."""
    if metric.endswith("accuracy"):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    elif decades > 0:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades <= 3 else (1.0,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _number(value: float, metric: str, sign: Literal["", "+"] = "") -> str:
    text = f"{100 * value:{sign}.{2 if sign else 1}f}" if metric.endswith("accuracy") else f"{value:{sign}.3g}"
    return text.replace("-", "−")


def _wrapped(text: str, width: int = WRAP, max_lines: int | None = None) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=max_lines, placeholder="…")) or text


# ---------------------------------------------------------------- files


def render(figure: Figure, format: str) -> bytes:
    """The figure as PNG, SVG or PDF; the same bytes for the same figure."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[
        format
    ]
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a label in a script the font lacks: boxes
        figure.savefig(buffer, format=format, dpi=144, metadata=metadata)
    return buffer.getvalue()
