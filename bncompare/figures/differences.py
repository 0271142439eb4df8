"""Differences of paired runs, a dot a seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from bncompare.comparison import summarize
from bncompare.figures.style import COLORS, GREY, WIDTH, add_head, metric_label, row_labels, shown_number, styled

MAX_SEED_LABELS = 12


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
            text = f"mean {shown_number(summary.mean, metric, '+')}\nn = {len(values)}"
        if pair.without_value:
            text += f"\n{pair.without_value} without a value"
        texts.append(text)
    axes.set_ylim(len(pairs) - 0.45, -0.55)
    row_labels(axes, [pair.label for pair in pairs], texts)
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
