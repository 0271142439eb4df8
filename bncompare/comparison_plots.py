"""Figures that compare variants: numbers in, a matplotlib Figure out; reads no file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter

from bncompare.errors import printable
from bncompare.plotting import (
    COLORS,
    GREY,
    LINE_STYLES,
    LOG_SCALE_FROM,
    MARKERS,
    WIDTH,
    WRAP,
    add_head,
    add_legend,
    choose_limits,
    format_numbers,
    metric_label,
    styled,
    wrapped,
)
from bncompare.statistics import summarize

MAX_SEED_LABELS = 12


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
    low, high = choose_limits(axes.yaxis, shown, metric)
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
            _write_above(axes, -0.005, height, color, f"{printable(name)} diverged:", is_fraction=True)
            for value, number in sweep.diverged.items():
                if number:
                    total = number + len(sweep.values.get(value, ()))
                    _write_above(axes, positions[value] + offset, height, color, f"✕ {number}/{total}")
    if height:
        hollow_mark = Line2D([], [], color=GREY, marker="o", markersize=6, markerfacecolor="white", linestyle="")
        legend.append((hollow_mark, "mean of the others"))
    _name_positions(axes.xaxis, positions, 12)
    axes.set_xlim(min(positions.values()) - 0.6 * step, max(positions.values()) + 0.6 * step)
    axes.set_xlabel(printable(hyperparameter) + (" (log scale)" if is_log else ""))
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
    axis.set_ticklabels([wrapped(label, width, max_lines=3) for label in labels])
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
    axes.set_xlabel(printable(columns))
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


# ---------------------------------------------------------------- parts


def _row_labels(axes: Axes, left: Sequence[str], right: Sequence[str]) -> None:
    """Names of the rows at the left of the axes, numbers at their right."""
    axes.set_yticks(range(len(left)), [wrapped(label, max_lines=3) for label in left])
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


def _number(value: float, metric: str, sign: Literal["", "+"] = "") -> str:
    """Three digits; an accuracy in percent."""
    text = f"{100 * value:{sign}.{2 if sign else 1}f}" if metric.endswith("accuracy") else f"{value:{sign}.3g}"
    return text.replace("-", "−")
