"""Times to a threshold, a dot a run."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bncompare.comparison import Convergence, VariantSummary
from bncompare.figures.looks import Look, looks
from bncompare.figures.style import (
    GREY,
    MAX_NAMED,
    MAX_ROWS,
    WIDTH,
    NamedFigure,
    add_head,
    add_legend,
    file_name,
    format_decades,
    is_wide,
    row_labels,
    styled,
)
from bncompare.runs import LoadedRun


def times_differ(convergence: Convergence) -> bool:
    """Whether there is something to tell: times that are not all the same, or runs that never got there."""
    results = convergence.epochs.variants
    times = {time for result in results for time in result.values.values()}
    return len(times) > 1 or (len(times) == 1 and any(map(never, results)))


def never(result: VariantSummary) -> int:
    """How many runs of a variant did not get there."""
    return result.num_at_bad_end


def median_time(result: VariantSummary) -> float:
    """Over all runs, those that never got there as later than any other; infinite if it would be one of those."""
    times = sorted([*result.values.values(), *[math.inf] * never(result)])
    middle = times[(len(times) - 1) // 2 : len(times) // 2 + 1]
    return sum(middle) / len(middle) if times else math.inf


@styled
def times_to_threshold(convergence: Convergence, runs: Sequence[LoadedRun], *, x: str, title: str) -> NamedFigure:
    """One row a variant, a dot a run, the median as a bar; runs that never got there are ✕ at the right end.

    A panel for epochs (or steps, if `x` is `step`), one for seconds. The median counts a run that never got there as
    later than all others, and is not drawn where it would be one of those.
    """
    metric = convergence.metric
    first, seconds = convergence.epochs if x == "epoch" else convergence.steps, convergence.seconds
    rows, last = first.variants[:MAX_ROWS], seconds.variants[:MAX_ROWS]
    figure = Figure(figsize=(WIDTH, 1.25 + 0.5 * len(rows)), layout="constrained")
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    timed = {row.variant for row in rows}
    own = looks([run for run in runs if run.variant in timed])
    _draw_times(left, rows, own, f"{x}s")
    _draw_times(right, last, own, "seconds")
    row_labels(left, [row.variant for row in rows], [])
    row_labels(right, [""] * len(last), [_counted(row) for row in last])
    legend: list[tuple[Artist, str]] = [(Look(GREY, "-", "|").handle(linewidth=2.2, markersize=0), "median")]
    if any(map(never, rows)):
        legend.append((Look(GREY, "", "X").handle(markersize=6), "never"))
    add_legend(left, legend)
    threshold = f"{100 * convergence.threshold:.4g} %" if metric.is_accuracy else f"{convergence.threshold:.4g}"
    goal = f"{metric.words} {'≥' if metric.higher_is_better else '≤'} {threshold}"
    leader = convergence.leader
    why = "" if leader is None else f", half-way from {leader}'s first to its best"
    add_head(figure, title, f"time to {goal}{why}: a dot a run, the median as a bar")
    told = [_sentence(row, x) for row in rows] if len(rows) <= MAX_NAMED else [f"{len(rows)} variants"]
    return NamedFigure(file_name(f"{x}s-to", metric.name), f"Time to {goal}, median: {'; '.join(told)}.", figure)


def _draw_times(axes: Axes, rows: Sequence[VariantSummary], own: dict[str, Look], unit: str) -> None:
    """A panel: dots, medians, ✕, and the axis."""
    times = [time for row in rows for time in row.values.values()]
    first, last = min(times, default=0.0), max(times, default=1.0)
    is_log = is_wide(first, last)
    left, right = 0.0, 1.12 * last
    if is_log:
        axes.set_xscale("log")
        format_decades(axes.xaxis, 2 * math.log10(last / first))  # half as wide as others
        left, right = first / (last / first) ** 0.05, last * (last / first) ** 0.12
    for i, row in enumerate(rows):
        _draw_row(axes, i, row, own[row.variant], right)
    if any(map(never, rows)):
        axes.axvline(right, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xlim(left, right)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlabel(unit + (" (log scale)" if is_log else ""))
    if not is_log:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=all(float(time).is_integer() for time in times)))


def _draw_row(axes: Axes, i: int, row: VariantSummary, look: Look, right: float) -> None:
    color, _, marker = look
    reached, num_never, median = sorted(row.values.values()), never(row), median_time(row)
    total = len(reached) + num_never
    heights = i + np.linspace(-0.22, 0.22, total) if total > 1 else np.array([float(i)])
    axes.plot(
        reached, heights[: len(reached)], marker, color=color, markersize=5 if total <= 40 else 2.5, alpha=0.75,
        markeredgewidth=0, zorder=2, gid="reached",
    )  # fmt: skip
    if num_never:
        axes.plot(
            [right] * num_never, heights[len(reached) :], "X", color=color, markersize=6 if total <= 40 else 3,
            markeredgecolor="white", markeredgewidth=0.5, clip_on=False, zorder=3, gid="never",
        )  # fmt: skip
    if math.isfinite(median):
        axes.plot([median] * 2, [i - 0.34, i + 0.34], color=color, linewidth=2.2, zorder=2.5, gid="median")


def _counted(row: VariantSummary) -> str:
    total = len(row.values) + never(row)
    return f"{never(row)} of {total} never" if never(row) else f"n = {total}"


def _sentence(row: VariantSummary, x: str) -> str:
    median = median_time(row)
    told = f"in {median:.4g} {x}{'' if median == 1 else 's'}" if math.isfinite(median) else "without one"
    total = len(row.values) + never(row)
    return f"{row.variant} {told}" + (f", never in {never(row)} of {total} runs" if never(row) else "")
