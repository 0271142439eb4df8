"""Differences of paired runs, a dot a seed."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bncompare.comparison import MeasureComparison, Pair, verdict_lines
from bncompare.config import Metric
from bncompare.figures.style import (
    GREY,
    MAX_ROWS,
    WIDTH,
    NamedFigure,
    add_head,
    file_name,
    format_percent,
    row_labels,
    styled,
)

MAX_SEED_LABELS = 12
COLOR = "#0072B2"


@styled
def paired_differences(measure: MeasureComparison, *, title: str) -> NamedFigure:
    """One row a pair: a dot a seed, from the first seed at the top; below them the mean and its 95 % t-interval.

    Of the pairs with two differences or more, of which there is one at least.
    """
    metric = measure.metric
    pairs = [pair for pair in measure.pairs if len(pair.differences) >= 2]
    shown = pairs[:MAX_ROWS]
    longest = max(len(pair.differences) for pair in shown)
    row_height = 0.42 + 0.09 * min(longest, MAX_SEED_LABELS)
    figure = Figure(figsize=(WIDTH, 1.2 + row_height * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="#333333", linewidth=1, zorder=1)
    for row, pair in enumerate(shown):
        _draw_pair(axes, row, pair, 4.5 if longest <= 40 else 2)
    axes.set_ylim(len(shown) - 0.45, -0.55)
    row_labels(axes, [f"{pair.a} − {pair.b}" for pair in shown], [_told(pair, metric) for pair in shown])
    unit = f" ({metric.unit_of_differences})" if metric.unit_of_differences else ""
    sign = "positive" if measure.higher_is_better else "negative"
    axes.set_xlabel(f"difference in {metric.words}{unit}; {sign}: the first is better")
    if metric.is_accuracy:
        format_percent(axes.xaxis)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    note = f"{measure.title}: a dot a seed, the mean and its 95 % CI below"
    add_head(figure, title, note + (f"; {MAX_ROWS} of {len(pairs)} pairs" if len(pairs) > MAX_ROWS else ""))
    verdicts = "; ".join(statement for statement, _ in verdict_lines(measure))
    name = file_name("differences", measure.name.replace(" at ", " "))
    return NamedFigure(name, f"Differences in {measure.title}, a dot a seed: {verdicts}.", figure)


def _draw_pair(axes: Axes, row: int, pair: Pair, size: float) -> None:
    values = list(pair.differences.values())
    heights = np.linspace(row - 0.36, row + 0.14, len(values))
    axes.plot(values, heights, "o", color=COLOR, markersize=size, alpha=0.6, markeredgewidth=0, zorder=2, gid="seeds")
    if len(values) <= MAX_SEED_LABELS:
        for seed, value, height in zip(pair.differences, values, heights, strict=True):
            axes.annotate(
                str(seed), (value, height), (5, 0), textcoords="offset points", fontsize=6, color=GREY, va="center"
            )
    assert pair.paired is not None
    mean = pair.paired.difference
    axes.plot(
        [mean.low, mean.high], [row + 0.32] * 2, color=COLOR, linewidth=2.2, gid="interval",
        solid_capstyle="butt", zorder=2,
    )  # fmt: skip
    axes.plot([mean.mean], [row + 0.32], "D", color=COLOR, markersize=6, zorder=3, gid="mean")


def _told(pair: Pair, metric: Metric) -> str:
    """Mean and n, and in how many shared seeds one of the two has no value, as it diverged."""
    assert pair.paired is not None
    difference = pair.paired.difference
    mean = metric.shown(difference.mean, "+", (difference.high - difference.low) / 2)
    lines = [f"mean {mean}", f"n = {len(pair.differences)}"]
    without = pair.n - len(pair.differences)
    return "\n".join(lines + [f"{without} without a value"] * bool(without))
