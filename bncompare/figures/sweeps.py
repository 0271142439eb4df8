"""A metric against hyperparameters: lines with intervals, and heat maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from bncompare.comparison import summarize
from bncompare.errors import printable
from bncompare.figures.style import (
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
    shown_number,
    styled,
    wrapped,
)

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
        lines = [shown_number(float(means[i, j]), metric)] if cell.values else []
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
