"""Curves over epochs or steps: numbers in, a matplotlib Figure out; reads no file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bncompare.comparison import summarize
from bncompare.errors import printable
from bncompare.figures.style import (
    COLORS,
    GREY,
    LINE_STYLES,
    SPLITS,
    WIDTH,
    add_head,
    add_legend,
    choose_limits,
    metric_label,
    styled,
    wrapped,
)

MAX_OVERLAID = 6  # variants in one set of axes; up to MAX_PANELS have one each, more are their means alone
MAX_PANELS = 25
MAX_LEGEND = 28

_MARKS = {"stopped_early": ("v", "stopped early"), "diverged": ("X", "diverged")}


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
        axes.set_title(wrapped(variant, 22) + _counted(runs, "\n"), fontsize=8, fontweight="normal")
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
    low, high = choose_limits(axes.yaxis, values, metric)
    axes.set_ylim(low, high)
    return high


@styled
def run_curves(metrics: dict[str, list[float]], title: str, is_classification: bool) -> Figure:
    """The curves of one run over epochs: loss, and accuracy where there is one; training and validation."""
    quantities = ["loss", "accuracy"] if is_classification else ["loss"]
    # Fixed margins: working out a layout would double the time, which counts where runs are short and many.
    figure = Figure(figsize=(4.2 * len(quantities), 3.2))
    figure.subplots_adjust(left=0.16 / len(quantities), right=0.98, bottom=0.15, top=0.9, wspace=0.28)
    figure.suptitle(printable(title), fontsize=9)
    for i, quantity in enumerate(quantities):
        axes = figure.add_subplot(1, len(quantities), i + 1)
        names = [name for name in metrics if name.endswith(f"/{quantity}")]
        _scale_y(axes, [Curve(name, 0, metrics["epoch"], metrics[name], "completed") for name in names], quantity)
        for color, style, name in zip(COLORS, LINE_STYLES, names, strict=False):
            axes.plot(metrics["epoch"], metrics[name], style, color=color, label=SPLITS[name.split("/")[0]])
        axes.set_xlabel("epoch")
        axes.set_ylabel(metric_label(f"/{quantity}", is_classification).strip())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure
