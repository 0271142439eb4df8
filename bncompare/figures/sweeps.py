"""A metric against hyperparameters: lines with intervals, and heat maps."""

import json
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from bncompare.comparison import Candidate, Missing, Sensitivity, VariantSummary
from bncompare.config import Metric, setting_label
from bncompare.errors import printable
from bncompare.figures.looks import Look, looks
from bncompare.figures.style import (
    GREY,
    WIDTH,
    WRAP,
    NamedFigure,
    add_colour_bar,
    add_head,
    add_legend,
    choose_limits,
    colour_scale,
    file_name,
    format_percent,
    listed,
    styled,
    wrapped,
)
from bncompare.runs import LoadedRun

MAX_SERIES = 12  # variants in one figure of a sweep

WORDS = {"lr": "learning rate", "batch_size": "batch size"}

Value = float | str
Cells = dict[str, dict[Value, Candidate]]
"""by row (the norm, and what else tells variants apart), then by the value of the hyperparameter that is swept"""


def sweep_figures(table: Sensitivity, runs: Sequence[LoadedRun], *, title: str) -> Iterator[NamedFigure]:
    """The metric against the hyperparameter with the most values: as lines and, of several rows, as a heat map."""
    metric = table.metric
    values = {key: {json.dumps(c.setting[key], default=str) for c in table.candidates} for key in table.keys}
    swept = max(table.keys, key=lambda key: len(values[key]))
    if len(values[swept]) < 2:
        return
    cells = _cells(table, swept)
    key = swept.removeprefix("training.").removeprefix("optimizer.")
    hyperparameter, name = WORDS.get(key, key), file_name(metric.name, "by", key)
    chosen = [candidate.variant for candidate in table.candidates if candidate.is_chosen]
    diverged = sum(_diverged(candidate.result) for row in cells.values() for candidate in row.values())
    caption = f"{metric.words.capitalize()} of {listed(list(cells))} by {hyperparameter}"
    caption += f"; chosen on the validation set: {listed(chosen)}" if chosen else ""
    caption += f"; {diverged} runs diverged" if diverged else ""
    if len(cells) <= MAX_SERIES:
        note = f"{table.measure}: mean, 95 % t-interval, a dot a seed"
        figure = sensitivity(cells, looks(runs), metric, hyperparameter, title=title, note=note)
        yield NamedFigure(f"sensitivity-{name}", f"{caption}.", figure)
    if len(cells) >= 2:
        figure = heat_map(cells, metric, hyperparameter, title=title, note=f"{table.measure}: mean over seeds")
        yield NamedFigure(f"heat-map-{name}", f"{caption}; as a heat map.", figure)


def _cells(table: Sensitivity, swept: str) -> Cells:
    cells: Cells = {}
    for candidate in table.candidates:
        others = (setting_label(key, candidate.setting[key]) for key in table.keys if key != swept)
        row = " ".join(part for part in (candidate.norm, *others) if part) or "all variants"
        cells.setdefault(row, {}).setdefault(_value(candidate.setting[swept]), candidate)
    return cells


def _value(setting: object) -> Value:
    """A number as such, anything else as text."""
    if isinstance(setting, int | float) and not isinstance(setting, bool) and abs(setting) < 1e300:
        return setting
    return setting if isinstance(setting, str) else json.dumps(setting, default=str)


def _diverged(result: VariantSummary) -> int:
    return result.missing.get(Missing.DIVERGED, 0)


def _counted(result: VariantSummary) -> str:
    return f"✕ {_diverged(result)}/{len(result.values) + _diverged(result)}"


# ---------------------------------------------------------------- lines


@styled
def sensitivity(
    cells: Cells, own: dict[str, Look], metric: Metric, hyperparameter: str, *, title: str, note: str
) -> Figure:
    """The metric against a swept hyperparameter: mean and 95 % t-interval of each variant, its seeds as dots.

    A mean that lacks diverged runs is hollow and no line leads to it; above the axes ✕ counts them.
    """
    values = _ordered(cells)
    is_log = _spans_decades(values)
    positions = _positions(values, is_log)
    places = sorted(positions.values())
    step = min((b - a for a, b in pairwise(places)), default=1.0)
    lost = [row for row, of in cells.items() if any(_diverged(candidate.result) for candidate in of.values())]
    figure = Figure(figsize=(WIDTH, 4.2 + 0.16 * len(lost)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylim(*choose_limits(axes.yaxis, _to_be_seen(cells), metric))
    legend: list[tuple[Artist, str]] = []
    for i, (row, of) in enumerate(cells.items()):
        offset = step * 0.5 * ((i + 0.5) / len(cells) - 0.5)
        results = {positions[value] + offset: of[value].result for value in values if value in of}
        look = own[next(iter(of.values())).variant]
        _draw_row(axes, results, look)
        legend.append((look.handle(markersize=6, linewidth=1.5), row))
        if row in lost:
            _count_above(axes, row, results, lost.index(row) + 1, look.color)
    if lost:
        hollow = Look(GREY, "", "o").handle(markersize=6, markerfacecolor="white")
        legend.append((hollow, "mean of the others"))
    _name_positions(axes.xaxis, positions, 12)
    axes.set_xlim(places[0] - 0.6 * step, places[-1] + 0.6 * step)
    axes.set_xlabel(printable(hyperparameter) + (" (log scale)" if is_log else ""))
    axes.set_ylabel(metric.label)
    add_head(figure, title, note)
    add_legend(axes, legend, rows_above=len(lost))
    return figure


def _to_be_seen(cells: Cells) -> list[float]:
    """All values, and the ends of the intervals but for those of two, which are too wide."""
    results = [candidate.result for row in cells.values() for candidate in row.values()]
    summaries = [result.summary for result in results if result.summary and result.summary.n > 2]
    ends = [end for summary in summaries for end in (summary.low, summary.high)]
    return [value for result in results for value in result.values.values()] + ends


def _draw_row(axes: Axes, results: dict[float, VariantSummary], look: Look) -> None:
    """Dots, intervals and means of one row, by their place on the x axis."""
    color, line, marker = look
    dots = [(x, y) for x, result in results.items() for y in result.values.values()]
    axes.plot(
        [x for x, _ in dots], [y for _, y in dots], marker, color=color, markersize=3, alpha=0.35, markeredgewidth=0,
        zorder=2, gid="seeds",
    )  # fmt: skip
    means = [(x, result.summary, _diverged(result)) for x, result in results.items() if result.summary]
    for x, summary, _ in means:
        if summary.n > 1:
            axes.plot([x, x], [summary.low, summary.high], color=color, linewidth=1.3, zorder=2.5, gid="interval")
    axes.plot(
        [x for x, _, _ in means], [math.nan if diverged else summary.mean for _, summary, diverged in means],
        linestyle=line, color=color, marker=marker, markersize=6, linewidth=1.5, zorder=3, gid="mean",
    )  # fmt: skip
    hollow = [(x, summary.mean) for x, summary, diverged in means if diverged]
    axes.plot(
        [x for x, _ in hollow], [y for _, y in hollow], marker, color=color, markersize=6, markerfacecolor="white",
        markeredgewidth=1.2, zorder=3, gid="mean of the rest",
    )  # fmt: skip


def _count_above(axes: Axes, row: str, results: dict[float, VariantSummary], line: int, color: str) -> None:
    """The diverged runs of a row in a line of small text above the axes, each number over its place."""
    name = row if len(row) <= 20 else f"{row[:19]}…"
    texts = [(-0.005, f"{printable(name)} diverged:", axes.transAxes, "right", "name")]
    places = axes.get_xaxis_transform()
    texts += [
        (x, _counted(result), places, "center", "diverged") for x, result in results.items() if _diverged(result)
    ]
    for x, text, coordinates, side, gid in texts:
        axes.annotate(
            text, (x, 1), (0, 10 * line - 6), xycoords=coordinates, textcoords="offset points", fontsize=6.5,
            color=color, ha=side, va="center", annotation_clip=False, gid=gid,
        )  # fmt: skip


def _ordered(cells: Cells) -> list[Value]:
    """The values of the hyperparameter: numbers by size, then names."""
    values = {value for row in cells.values() for value in row}
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [*numbers, *sorted(value for value in values if isinstance(value, str))]


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


# ---------------------------------------------------------------- heat maps


@styled
def heat_map(cells: Cells, metric: Metric, hyperparameter: str, *, title: str, note: str) -> Figure:
    """Mean of a metric for each row and value, written into its cell; ✕ where runs diverged; the chosen framed."""
    values = _ordered(cells)
    means = np.full((len(cells), len(values)), np.nan)
    found = [
        (i, j, row[value]) for i, row in enumerate(cells.values()) for j, value in enumerate(values) if value in row
    ]
    for i, j, candidate in found:
        if candidate.result.summary:
            means[i, j] = candidate.result.summary.mean
    width = min(WIDTH + max(0, len(values) - 8) * 0.6, 14)
    figure = Figure(figsize=(width, 1.5 + 0.42 * len(cells)), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=False)
    colors = colormaps["viridis" if metric.higher_is_better else "viridis_r"].with_extremes(bad="#eeeeee")
    scale = colour_scale(means.ravel())
    image = axes.imshow(np.ma.masked_invalid(means), norm=scale, cmap=colors, aspect="auto")
    for i, j, candidate in found:
        _write_cell(axes, i, j, candidate, metric, 8 if len(values) <= 12 else 6, colors(scale(means[i, j])))
    _name_positions(axes.xaxis, {value: float(j) for j, value in enumerate(values)}, 12)
    _name_positions(axes.yaxis, {row: float(i) for i, row in enumerate(cells)}, WRAP)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(printable(hyperparameter))
    bar = add_colour_bar(figure, image, axes, f"{metric.words}\n({metric.unit})" if metric.unit else metric.words)
    if metric.is_accuracy:
        format_percent(bar)
    note += "; ✕: diverged, not in the mean" if any(_diverged(c.result) for _, _, c in found) else ""
    note += "; framed: chosen on the validation set" if any(c.is_chosen for _, _, c in found) else ""
    add_head(figure, title, f"{note}; brighter is better")
    return figure


def _write_cell(
    axes: Axes, i: int, j: int, candidate: Candidate, metric: Metric, size: float, color: tuple[float, ...]
) -> None:
    """The mean and how many diverged, legible on the cell's colour; a frame if the candidate was chosen."""
    result = candidate.result
    lines = [metric.shown(result.summary.mean)] if result.summary else []
    lines += [_counted(result)] if _diverged(result) else []
    luminance = np.dot(color[:3], [0.299, 0.587, 0.114]) if result.summary else 1.0
    axes.text(
        j, i, "\n".join(lines), ha="center", va="center", fontsize=size, linespacing=1.1,
        color="black" if luminance > 0.5 else "white",
    )  # fmt: skip
    if candidate.is_chosen:
        axes.add_patch(Rectangle((j - 0.47, i - 0.45), 0.94, 0.9, fill=False, edgecolor="black", linewidth=1.6))
        axes.add_patch(Rectangle((j - 0.455, i - 0.42), 0.91, 0.84, fill=False, edgecolor="white", linewidth=0.8))
