"""Curves over epochs or steps: runs in, a figure out; reads no file."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bncompare.comparison import Summary, summarize
from bncompare.config import SPLITS, Metric, Status
from bncompare.errors import printable
from bncompare.figures.style import (
    GREY,
    MAX_NAMED,
    WIDTH,
    Look,
    NamedFigure,
    add_head,
    add_legend,
    by_variant,
    choose_limits,
    file_name,
    look,
    styled,
    wrapped,
)
from bncompare.runs import LoadedRun

MAX_OVERLAID = 6  # variants in one set of axes; up to MAX_PANELS have one each, more are their means alone
MAX_PANELS = 25
MAX_LEGEND = 28

_MARKS = {Status.STOPPED_EARLY: ("v", "stopped early"), Status.DIVERGED: ("X", "diverged")}

Runs = Sequence[LoadedRun]
Points = list[tuple[float, float]]
Series = Callable[[LoadedRun], Points]
"""what is drawn of a run: (x, y) of each evaluation"""
Mean = list[tuple[float, Summary]]
"""over the seeds of a variant, at each x"""


@styled
def experiment_curves(runs: Runs, metric: Metric, *, x: str, title: str) -> NamedFigure:
    """One colour and line style a variant: its mean over the seeds, its 95 % t-interval as a band, its seeds thin.

    The mean is that of the runs that did not diverge, over the evaluations that all of them reached: where one
    stopped early, it ends. Marks show where runs stopped early (▼) and diverged (✕); where runs end at different
    times, a strip below shows how many go on. More than 6 variants have a panel each, with the others' means in grey;
    of more than 25 only the means are drawn. All runs have the metric.
    """
    of = partial(_points, x=x, y=metric.name)
    groups = by_variant(runs)
    means = {variant: _mean(members, of) for variant, members in groups.items()}
    seeds = len({run.seed for run in runs})
    note = f"{seeds} seed{'' if seeds == 1 else 's'}"
    if any(len(_kept(members)) >= 2 for members in groups.values()):
        note += ": mean, 95 % t-interval, single seeds thin" if len(groups) <= MAX_PANELS else ": means"
        if any(_ends_differ(_kept(members), of) for members in groups.values()):
            note += "; a mean ends where the first of its runs does"
    draw = _panels if MAX_OVERLAID < len(groups) <= MAX_PANELS else _overlaid
    figure = draw(groups, means, of, metric, x)
    add_head(figure, title, note)
    return NamedFigure(file_name(metric.name), _caption(runs, means, metric, x), figure)


def _caption(runs: Runs, means: dict[str, Mean], metric: Metric, x: str) -> str:
    ends = {variant: (mean[-1][0], mean[-1][1].mean) for variant, mean in means.items() if mean}
    told = {variant: metric.shown(end) + " %" * metric.is_accuracy for variant, (_, end) in ends.items()}
    shown = [f"{variant} ends at {told[variant]} ({x} {at:g})" for variant, (at, _) in ends.items()]
    if len(ends) > MAX_NAMED:
        lowest, highest = (pick(ends, key=lambda variant: ends[variant][1]) for pick in (min, max))
        shown = [f"of {len(ends)} variants {lowest} ends lowest, at {told[lowest]}"]
        shown.append(f"{highest} highest, at {told[highest]}")
    for status, (_, words) in _MARKS.items():
        if number := sum(run.status is status for run in runs):
            shown.append(f"{number} of {len(runs)} runs {words}")
    return f"{metric.words.capitalize()} over {x}s, mean over seeds: {'; '.join(shown)}."


def _overlaid(
    groups: dict[str, list[LoadedRun]], means: dict[str, Mean], of: Series, metric: Metric, x: str
) -> Figure:
    """All variants in one set of axes; of very many the means alone."""
    has_strip = len(groups) <= MAX_OVERLAID and any(_ends_differ(runs, of) for runs in groups.values())
    figure = Figure(figsize=(WIDTH, 4.8 if has_strip else 4.2), layout="constrained")
    grid = figure.add_gridspec(2 if has_strip else 1, 1, height_ratios=[6, 1] if has_strip else [1])
    axes = lowest = figure.add_subplot(grid[0])
    top = _scale_runs(axes, [run for runs in groups.values() for run in runs], of, metric)
    legend: list[tuple[Artist, str]] = []
    for i, (variant, runs) in enumerate(groups.items()):
        if len(groups) <= MAX_PANELS:
            _draw_seeds(axes, variant, runs, of, look(i), top)
        mean = _draw_mean(axes, variant, means[variant], look(i), has_band=len(groups) <= MAX_PANELS)
        legend.append((mean, variant + _counted(runs)))
    legend += _explain_marks(groups)
    axes.set_ylabel(metric.label)
    if has_strip:
        lowest = figure.add_subplot(grid[1], sharex=axes)
        for i, (variant, runs) in enumerate(groups.items()):
            _draw_numbers(lowest, variant, runs, of, look(i))
        lowest.set_ylabel("runs")
        lowest.set_ylim(0, 1.15 * max(map(len, groups.values())))
        lowest.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
        axes.tick_params(labelbottom=False)
    lowest.set_xlabel(x)
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(legend) > MAX_LEGEND:
        legend = [*legend[:MAX_LEGEND], (Line2D([], [], alpha=0), f"and {len(legend) - MAX_LEGEND} more")]
    add_legend(axes, legend)
    return figure


def _panels(groups: dict[str, list[LoadedRun]], means: dict[str, Mean], of: Series, metric: Metric, x: str) -> Figure:
    """A variant a panel on shared axes, the means of the others behind it in grey."""
    # The fewest empty places, in at most six columns.
    num_columns = min(range(math.ceil(math.sqrt(len(groups))), 7), key=lambda number: (-len(groups) % number, number))
    num_rows = math.ceil(len(groups) / num_columns)
    figure = Figure(figsize=(1.75 * num_columns + 0.5, 1.5 * num_rows + 0.9), layout="constrained")
    first = figure.add_subplot(num_rows, num_columns, 1)
    top = _scale_runs(first, [run for runs in groups.values() for run in runs], of, metric)
    for i, (variant, runs) in enumerate(groups.items()):
        axes = first if i == 0 else figure.add_subplot(num_rows, num_columns, i + 1, sharex=first, sharey=first)
        others = [[(at, s.mean) for at, s in mean] for other, mean in means.items() if other != variant and mean]
        behind = LineCollection(others, colors="#cccccc", linewidths=0.7, zorder=1, gid="others")
        axes.add_collection(behind, autolim=False)
        _draw_seeds(axes, variant, runs, of, look(0), top)
        _draw_mean(axes, variant, means[variant], look(0))
        axes.set_title(wrapped(variant, 22) + _counted(runs, "\n"), fontsize=8, fontweight="normal")
        axes.tick_params(labelleft=i % num_columns == 0, labelbottom=i + num_columns >= len(groups))
    first.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    figure.supxlabel(x, fontsize=9)
    figure.supylabel(metric.label, fontsize=9)
    if marks := _explain_marks(groups):
        handles, labels = zip(*marks, strict=True)
        figure.legend(handles, labels, loc="outside lower right", ncols=len(marks))
    return figure


def _draw_seeds(axes: Axes, variant: str, runs: Runs, of: Series, look: Look, top: float) -> None:
    """Single runs as thin lines, with marks where they ended."""
    axes.add_collection(
        LineCollection(
            [of(run) for run in runs], colors=look.color, linewidths=0.7, alpha=max(0.015, min(0.35, 8 / len(runs))),
            zorder=1.5, rasterized=len(runs) > 40, gid="seeds", label=variant,
        )
    )  # fmt: skip
    for status, (marker, _) in _MARKS.items():
        ends = [_end(of(run), top) for run in runs if run.status is status and of(run)]
        if ends:
            axes.plot(
                *zip(*ends, strict=True), marker, color=look.color, markersize=6 if len(ends) <= 40 else 3,
                markeredgecolor="white", markeredgewidth=0.6, zorder=4, clip_on=False, gid=status.value,
                label=variant,
            )  # fmt: skip


def _draw_mean(axes: Axes, variant: str, mean: Mean, look: Look, *, has_band: bool = True) -> Line2D:
    """The mean of a variant in its interval; returns the line."""
    x = [at for at, _ in mean]
    (line,) = axes.plot(
        x, [summary.mean for _, summary in mean], linestyle=look.line, color=look.color, zorder=3, gid="mean",
        label=variant,
    )  # fmt: skip
    if has_band and mean and mean[0][1].n >= 2:
        low, high = zip(*((summary.low, summary.high) for _, summary in mean), strict=True)
        axes.fill_between(x, low, high, color=look.color, alpha=0.15, linewidth=0, zorder=2, label=variant)
    return line


def _draw_numbers(axes: Axes, variant: str, runs: Runs, of: Series, look: Look) -> None:
    """How many runs have an evaluation at, or after, each x."""
    x = sorted({at for run in runs for at, _ in of(run)})
    ends = sorted(of(run)[-1][0] for run in runs if of(run))
    axes.plot(
        x, len(ends) - np.searchsorted(ends, x), linestyle=look.line, color=look.color, drawstyle="steps-pre",
        linewidth=1.3, gid="number", label=variant,
    )  # fmt: skip


def _points(run: LoadedRun, x: str, y: str) -> Points:
    return list(zip(run.metrics[x], run.metrics[y], strict=True))


def _kept(runs: Runs) -> list[LoadedRun]:
    return [run for run in runs if run.status is not Status.DIVERGED]


def _ends_differ(runs: Runs, of: Series) -> bool:
    return len({of(run)[-1][0] for run in runs if of(run)}) > 1


def _mean(runs: Runs, of: Series) -> Mean:
    """Where all runs that did not diverge have an evaluation, and all are finite."""
    series = [dict(of(run)) for run in _kept(runs)]
    shared = sorted(set(series[0]).intersection(*series[1:])) if series else []
    found = ((x, [values[x] for values in series]) for x in shared)
    return [(x, summarize(values)) for x, values in found if all(map(math.isfinite, values))]


def _end(points: Points, top: float) -> tuple[float, float]:
    """Where a run ended, at its last value that can be drawn."""
    finite = [y for _, y in points if math.isfinite(y)]
    return points[-1][0], min(finite[-1], top) if finite else top


def _counted(runs: Runs, separator: str = " ") -> str:
    """` (mean of 2; 1 diverged)`: what a variant's mean leaves out, or counts in that has not come to its end."""
    parts = [
        f"{number} {status.value}"
        for status in (Status.DIVERGED, Status.FAILED, Status.UNFINISHED)
        if (number := sum(run.status is status for run in runs))
    ]
    kept = len(_kept(runs))
    if 0 < kept < len(runs):
        parts.insert(0, f"mean of {kept}")
    return f"{separator}({'; '.join(parts)})" if parts else ""


def _explain_marks(groups: dict[str, list[LoadedRun]]) -> list[tuple[Artist, str]]:
    statuses = {run.status for runs in groups.values() for run in runs}
    return [
        (Look(GREY, "", marker).handle(markersize=6), words)
        for status, (marker, words) in _MARKS.items()
        if status in statuses
    ]


def _scale_runs(axes: Axes, runs: Runs, of: Series, metric: Metric) -> float:
    """Choose the y axis, leaving out what diverged runs reached; returns its upper end."""
    return _scale(axes, [y for run in _kept(runs) or runs for _, y in of(run)], metric)


def _scale(axes: Axes, values: Sequence[float], metric: Metric) -> float:
    low, high = choose_limits(axes.yaxis, [value for value in values if math.isfinite(value)], metric)
    axes.set_ylim(low, high)
    return high


@styled
def run_curves(metrics: dict[str, list[float]], title: str) -> Figure:
    """The curves of one run over epochs: loss, and accuracy where there is one; training and validation."""
    is_classification = "train/accuracy" in metrics
    quantities = ["loss", "accuracy"] if is_classification else ["loss"]
    # Fixed margins: working out a layout would double the time, which counts where runs are short and many.
    figure = Figure(figsize=(4.2 * len(quantities), 3.2))
    figure.subplots_adjust(left=0.16 / len(quantities), right=0.98, bottom=0.15, top=0.9, wspace=0.28)
    figure.suptitle(printable(title), fontsize=9)
    for i, quantity in enumerate(quantities):
        axes = figure.add_subplot(1, len(quantities), i + 1)
        columns = [column for column in map(Metric, metrics) if column.split and column.quantity == quantity]
        metric = Metric(quantity, is_classification)
        _scale(axes, [value for column in columns for value in metrics[column.name]], metric)
        for j, column in enumerate(columns):
            color, line, _ = look(j)
            label = SPLITS[column.split]
            axes.plot(metrics["epoch"], metrics[column.name], linestyle=line, color=color, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(metric.label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure
