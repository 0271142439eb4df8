"""Times to a threshold, a dot a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bncompare.figures.style import (
    COLORS,
    GREY,
    LOG_SCALE_FROM,
    MARKERS,
    WIDTH,
    add_head,
    add_legend,
    format_numbers,
    row_labels,
    styled,
)


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
        row_labels(
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
