"""Differences of paired runs, a dot a seed."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bncompare.comparison import MeasureComparison, Pair
from bncompare.config import Metric
from bncompare.figures.looks import looks
from bncompare.figures.style import (
    FEW_SEEDS,
    GREY,
    MAX_NAMED,
    MAX_ROWS,
    WIDTH,
    NamedFigure,
    add_head,
    file_name,
    format_percent,
    row_labels,
    spread_words,
    styled,
    wrapped,
)
from bncompare.runs import LoadedRun

MAX_SEED_LABELS = 12


@styled
def paired_differences(measure: MeasureComparison, runs: Sequence[LoadedRun], *, title: str) -> NamedFigure:
    """One row a pair: a dot a seed, from the first seed at the top; below them the mean in its spread.

    Of the pairs with two differences or more, of which there is one at least; in the colour of the first variant.
    """
    metric = measure.metric
    pairs = [pair for pair in measure.pairs if len(pair.differences) >= 2]
    rows = pairs[:MAX_ROWS]
    longest = max(len(pair.differences) for pair in rows)
    is_few = min(len(pair.differences) for pair in rows) < FEW_SEEDS
    base = rows[0].b if len({pair.b for pair in rows}) == 1 else None
    row_height = 0.42 + 0.09 * min(longest, MAX_SEED_LABELS)
    figure = Figure(figsize=(WIDTH, 1.2 + row_height * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="#333333", linewidth=1, zorder=1)
    compared = {variant for pair in pairs for variant in (pair.a, pair.b)}
    own = looks([run for run in runs if run.variant in compared])
    for row, pair in enumerate(rows):
        _draw_pair(axes, row, pair, own[pair.a].color, 4.5 if longest <= 40 else 2, is_few=is_few)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    labels = [pair.a if base is not None else f"{pair.a} − {pair.b}" for pair in rows]
    row_labels(axes, labels, [_told(pair, metric) for pair in rows])
    unit = f" ({metric.unit_of_differences})" if metric.unit_of_differences else ""
    sign = "positive" if measure.higher_is_better else "negative"
    which = "the first is better" if base is None else f"better than {base}"
    axes.set_xlabel(wrapped(f"difference in {metric.words}{unit}; {sign}: {which}", 90))
    if metric.is_accuracy:
        format_percent(axes.xaxis)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    note = f"{measure.title}: a dot a seed, below them the mean, {spread_words(is_few)}"
    add_head(figure, title, note + (f"; {MAX_ROWS} of {len(pairs)} pairs" if len(pairs) > MAX_ROWS else ""))
    name = file_name("differences", measure.name.replace(" at ", " "))
    versus = f" from {base}" if base is not None else ""
    told = [f"{label} {_mean(pair, metric)}" for label, pair in zip(labels, rows, strict=True)]
    told = told if len(rows) <= MAX_NAMED else [f"{len(pairs)} pairs"]
    caption = f"Differences in {measure.title}{versus}, a dot a seed; means: {'; '.join(told)}."
    return NamedFigure(name, caption, figure)


def _draw_pair(axes: Axes, row: int, pair: Pair, color: str, size: float, *, is_few: bool) -> None:
    values = list(pair.differences.values())
    heights = np.linspace(row - 0.36, row + 0.14, len(values))
    axes.plot(
        values,
        heights,
        "o",
        color=color,
        markersize=size,
        alpha=0.6,
        markeredgewidth=0,
        zorder=2,
        gid="seeds",
        label=pair.a,
    )
    if len(values) <= MAX_SEED_LABELS:
        for seed, value, height in zip(pair.differences, values, heights, strict=True):
            axes.annotate(
                str(seed), (value, height), (5, 0), textcoords="offset points", fontsize=6, color=GREY, va="center"
            )
    assert pair.paired is not None
    mean = pair.paired.difference
    cut = pair.measure.clipped(mean, of_differences=True)
    ends = (cut.min, cut.max) if is_few else (cut.low, cut.high)
    axes.plot(
        ends,
        [row + 0.32] * 2,
        color=color,
        linewidth=2.2,
        gid="interval",
        solid_capstyle="butt",
        zorder=2,
        label=pair.a,
    )
    axes.plot([mean.mean], [row + 0.32], "D", color=color, markersize=6, zorder=3, gid="mean")


def _mean(pair: Pair, metric: Metric) -> str:
    assert pair.paired is not None
    difference = pair.paired.difference
    return metric.shown(difference.mean, "+", (difference.high - difference.low) / 2)


def _told(pair: Pair, metric: Metric) -> str:
    """Mean and n, and in how many shared seeds one of the two has no value, as it diverged."""
    lines = [f"mean {_mean(pair, metric)}", f"n = {len(pair.differences)}"]
    without = pair.n - len(pair.differences)
    return "\n".join(lines + [f"{without} without a value"] * bool(without))
