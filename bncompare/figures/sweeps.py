"""A metric against hyperparameters: lines in facets, and heat maps."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from bncompare.comparison import Candidate, Missing, Sensitivity, VariantSummary
from bncompare.config import Metric, setting_words
from bncompare.errors import printable
from bncompare.figures.choice import norm_looks
from bncompare.figures.looks import Look
from bncompare.figures.style import (
    GREY,
    WIDTH,
    WRAP,
    NamedFigure,
    add_colour_bar,
    add_fixed_head,
    add_head,
    add_legend_below,
    choose_limits,
    colour_scale,
    file_name,
    format_percent,
    head,
    legend_shape,
    listed,
    styled,
    wrapped,
)
from bncompare.runs import LoadedRun

MAX_FACETS = 12
LOG_FROM = 8.0  # ratio of the largest to the smallest value of a hyperparameter

ALL_VARIANTS = "all variants"  # where the norm is none of the settings that differ
WORDS = {"lr": "learning rate", "batch_size": "batch size"}

Value = float | str
Cells = dict[str, dict[Value, Candidate]]
"""by row (the norm, and in a heat map what else tells variants apart), then by the value that is swept"""
Facets = dict[str, Cells]
"""by the values of the other hyperparameters, in words"""


def sweep_figures(table: Sensitivity, runs: Sequence[LoadedRun], *, title: str) -> Iterator[NamedFigure]:
    """The metric against the hyperparameter with the most values: as lines and, of several rows, as a heat map."""
    metric = table.metric
    if _is_scattered(table):
        yield from _scattered(table, runs, title=title)
        return
    swept = swept_key(table)
    if len({_value(candidate.setting[swept]) for candidate in table.candidates}) < 2:
        return
    cells = _cells(table, swept)
    hyperparameter, name = hyperparameter_words(swept), file_name(metric.name, "by", _last(swept))
    chosen = [candidate.variant for candidate in table.candidates if candidate.is_chosen]
    diverged = sum(_diverged(candidate.result) for row in cells.values() for candidate in row.values())
    caption = f"{metric.words.capitalize()} of {listed(list(cells))} by {hyperparameter}"
    caption += f"; chosen on the validation set: {listed(chosen)}" if chosen else ""
    caption += f"; {diverged} runs diverged" if diverged else ""
    facets, looks = _facets(table, swept), norm_looks(table, runs)
    if len(facets) <= MAX_FACETS:
        norms = {norm or ALL_VARIANTS: look for norm, look in looks.items()}
        note = f"{table.measure}: mean, a dot a seed; ring: best of each norm{norms_left_out(table, looks)}"
        figure = sensitivity(
            facets, norms, metric, hyperparameter, title=f"{title}: {metric.words} by {hyperparameter}", note=note
        )
        yield NamedFigure(f"sensitivity-{name}", f"{caption}.", figure)
    if len(cells) >= 2:
        figure = heat_map(cells, metric, hyperparameter, title=title, note=f"{table.measure}: mean over seeds")
        yield NamedFigure(f"heat-map-{name}", f"{caption}; as a heat map.", figure)


def _is_scattered(table: Sensitivity) -> bool:
    """Whether the settings are points, not all combinations of some values."""
    numbers = (len({_value(candidate.setting[key]) for candidate in table.candidates}) for key in table.keys)
    points = {tuple(_value(candidate.setting[key]) for key in table.keys) for candidate in table.candidates}
    return len(points) < math.prod(numbers)


def _scattered(table: Sensitivity, runs: Sequence[LoadedRun], *, title: str) -> Iterator[NamedFigure]:
    """The metric against each hyperparameter that no two points share, whatever the others are: no line leads on."""
    metric, looks = table.metric, norm_looks(table, runs)
    for key in table.keys:
        cells: Cells = {}
        for candidate in table.candidates:
            cells.setdefault(candidate.norm or "all variants", {})[_value(candidate.setting[key])] = candidate
        if sum(map(len, cells.values())) < len(table.candidates):
            continue
        hyperparameter = hyperparameter_words(key)
        others = listed([hyperparameter_words(other) for other in table.keys if other != key])
        note = f"{table.measure}: mean, a dot a seed; ring: best of each norm; {others} differ from point to point"
        norms = {norm or "all variants": look._replace(line="") for norm, look in looks.items()}
        words = f"{title}: {metric.words} by {hyperparameter}"
        figure = sensitivity({"": cells}, norms, metric, hyperparameter, title=words, note=note)
        caption = f"{metric.words.capitalize()} of {listed(list(cells))} by {hyperparameter}, at points that differ"
        yield NamedFigure(
            f"sensitivity-{file_name(metric.name, 'by', _last(key))}", f"{caption} in {others}.", figure
        )


def swept_key(table: Sensitivity) -> str:
    """The hyperparameter with the most values."""
    return max(table.keys, key=lambda key: len({_value(candidate.setting[key]) for candidate in table.candidates}))


def by_setting(table: Sensitivity) -> list[Candidate]:
    """The candidates in the order of their hyperparameters, that with the most values last."""
    keys = sorted(table.keys, key=lambda key: key == swept_key(table))
    values = {key: _ordered([{_value(c.setting[key]): c for c in table.candidates}]) for key in keys}
    return sorted(table.candidates, key=lambda c: [values[key].index(_value(c.setting[key])) for key in keys])


def norms_left_out(table: Sensitivity, looks: dict[str, Look]) -> str:
    """What a note adds where not all norms are shown."""
    number = len({candidate.norm for candidate in table.candidates})
    return f"; the {len(looks)} best of {number} norms, the baseline among them" if len(looks) < number else ""


def hyperparameter_words(key: str) -> str:
    """`learning rate` of `training.optimizer.lr`."""
    return WORDS.get(_last(key), _last(key))


def _last(key: str) -> str:
    return key.removeprefix("training.").removeprefix("optimizer.")


def settings_in_words(keys: Sequence[str], setting: dict[str, Any]) -> str:
    """`lr 0.1, batch size 16`."""
    return ", ".join(setting_words(key, setting[key]) for key in keys)


def _cells(table: Sensitivity, swept: str) -> Cells:
    cells: Cells = {}
    for candidate in table.candidates:
        others = (setting_words(key, candidate.setting[key]) for key in table.keys if key != swept)
        row = ", ".join(part for part in (candidate.norm, *others) if part) or ALL_VARIANTS
        cells.setdefault(row, {}).setdefault(_value(candidate.setting[swept]), candidate)
    return cells


def _facets(table: Sensitivity, swept: str) -> Facets:
    facets: Facets = {}
    others = [key for key in table.keys if key != swept]
    for candidate in table.candidates:
        cells = facets.setdefault(settings_in_words(others, candidate.setting), {})
        cells.setdefault(candidate.norm or ALL_VARIANTS, {})[_value(candidate.setting[swept])] = candidate
    return facets


def _value(setting: object) -> Value:
    """A number as such, anything else as text."""
    if isinstance(setting, int | float) and not isinstance(setting, bool) and abs(setting) < 1e300:
        return setting
    return setting if isinstance(setting, str) else json.dumps(setting, default=str)


def _diverged(result: VariantSummary) -> int:
    return result.missing.get(Missing.DIVERGED, 0)


def _counted(result: VariantSummary) -> str:
    return f"✕ {_diverged(result)}/{len(result.values) + _diverged(result)}"


def _ordered(rows: Sequence[dict[Value, Candidate]]) -> list[Value]:
    """The values of the hyperparameter: numbers by size, then names."""
    values = {value for row in rows for value in row}
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [*numbers, *sorted(value for value in values if isinstance(value, str))]


def _positions(values: Sequence[Value]) -> dict[Value, float]:
    """Where values stand: where they are, or side by side if some are names."""
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


# ---------------------------------------------------------------- lines

# Inches: margins and panels are fixed, for speed.
LEFT, RIGHT, BETWEEN, ABOVE, TICKS, BELOW, LEVEL = 0.75, 0.12, 0.15, 0.28, 0.28, 0.5, 0.13
_RING: dict[str, Any] = {"markersize": 10, "markerfacecolor": "none", "markeredgewidth": 1.4}


@styled
def sensitivity(
    facets: Facets, norms: dict[str, Look], metric: Metric, hyperparameter: str, *, title: str, note: str
) -> Figure:
    """The metric against a swept hyperparameter, a facet for each value of the others: means, and seeds as dots.

    Each mean stands at its value, its seeds a little beside it; a ring is at the best of each norm. A mean that lacks
    diverged runs is hollow and no line leads to it; in a rail below the axes ✕ counts them.
    """
    facets = {name: {norm: cells[norm] for norm in norms if norm in cells} for name, cells in facets.items()}
    rows = [row for cells in facets.values() for row in cells.values()]
    results = [candidate.result for row in rows for candidate in row.values()]
    lost = {norm for cells in facets.values() for norm, row in cells.items() if _num_lost(row)}
    legend = [
        *((look.handle(markersize=5, label=norm), norm) for norm, look in norms.items()),
        *_explained(bool(lost)),
    ]
    positions = _positions(_ordered(rows))
    places = sorted(positions.values())
    is_log = places[0] > 0 and places[-1] / places[0] >= LOG_FROM and float(0) not in places
    label = printable(hyperparameter) + (" (log scale)" if is_log else "")
    figure, panels = _facet_axes(list(facets), len(positions), len(lost), legend, title, note)
    panels[0][0].set_ylim(*choose_limits(panels[0][0].yaxis, [v for r in results for v in r.values.values()], metric))
    panels[0][0].figure.supylabel(metric.label, x=0.06 / figure.get_figwidth(), ha="left", fontsize=9)
    for (axes, rail), cells in zip(panels, facets.values(), strict=True):
        for i, (norm, row) in enumerate(cells.items()):
            by_place = {positions[value]: candidate.result for value, candidate in row.items()}
            _draw_row(axes, by_place, norm, norms[norm], metric, 2.2 * (i - (len(cells) - 1) / 2))
        for level, norm in enumerate(norm for norm in norms if norm in lost and norm in cells):
            by_place = {positions[value]: candidate.result for value, candidate in cells[norm].items()}
            _count_diverged(rail, by_place, level, norm, norms[norm])
        _scale_places(axes, places, is_log=is_log)
        _name_positions(rail.xaxis, positions, 12)
        _thin_out(rail)
        rail.set_xlabel(label)
    return figure


def _explained(has_lost: bool) -> list[tuple[Artist, str]]:
    ring: list[tuple[Artist, str]] = [(Look(GREY, "", "o").handle(**_RING), "best of a norm")]
    hollow = Look(GREY, "", "o").handle(markersize=6, markerfacecolor="white")
    return [*ring, (hollow, "mean of those that did not diverge")] if has_lost else ring


def _facet_axes(
    names: Sequence[str], num_values: int, num_lost: int, legend: Sequence[tuple[Artist, str]], title: str, note: str
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure with a pair of axes for each facet, for the metric and below it the rail of the diverged."""
    num_columns = min(len(names), 2 if num_values > 4 else 3)
    num_rows = math.ceil(len(names) / num_columns)
    tall, rail = 2.9 if len(names) == 1 else 2.0, LEVEL * num_lost + 0.06
    above = ABOVE if any(names) else 0.06
    top, bottom = head(title, note, WIDTH)[2], BELOW + legend_shape(legend, WIDTH)[1]
    height = top + num_rows * (above + tall + rail) + (num_rows - 1) * BELOW + bottom
    width = (WIDTH - LEFT - RIGHT - BETWEEN * (num_columns - 1)) / num_columns
    figure = Figure(figsize=(WIDTH, height))
    panels = list[tuple[Axes, Axes]]()
    for i, name in enumerate(names):
        row, column = divmod(i, num_columns)
        left = LEFT + column * (width + BETWEEN)
        low = bottom + (num_rows - 1 - row) * (above + tall + rail + BELOW)
        first = panels[0][0] if panels else None
        axes = figure.add_axes((left / WIDTH, (low + rail) / height, width / WIDTH, tall / height), sharey=first)
        below = figure.add_axes((left / WIDTH, low / height, width / WIDTH, rail / height), sharex=axes)
        axes.set_title(wrapped(name, 40, max_lines=2), fontsize=9, fontweight="normal")
        axes.tick_params(labelbottom=False, labelleft=column == 0, bottom=False)
        below.set_ylim(num_lost - 0.3, -0.8)
        below.set_yticks(
            [(num_lost - 1) / 2] if num_lost else [], ["diverged" if column == 0 else ""] * bool(num_lost), fontsize=7
        )
        below.tick_params(axis="y", length=0)
        axes.spines["bottom"].set_visible(num_lost > 0)
        below.grid(visible=False, axis="y")
        panels.append((axes, below))
    add_fixed_head(figure, title, note)
    add_legend_below(figure, legend, loc="lower left", bbox_to_anchor=(0.01, 0.0), borderaxespad=0.2)
    return figure, panels


def _scale_places(axes: Axes, places: Sequence[float], *, is_log: bool) -> None:
    """With as much room at the ends as between two values, about."""
    if is_log:
        axes.set_xscale("log")
        room = (places[-1] / places[0]) ** (0.4 / max(1, len(places) - 1))
        axes.set_xlim(places[0] / room, places[-1] * room)
    else:
        room = 0.4 * ((places[-1] - places[0]) / max(1, len(places) - 1) or 1.0)
        axes.set_xlim(places[0] - room, places[-1] + room)


def _thin_out(axes: Axes) -> None:
    """Leave out names of ticks that would overlap those before."""
    end = -math.inf
    for tick, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        place = 72 / axes.figure.dpi * float(axes.transData.transform((tick, 0))[0])  # points
        half = 2.6 * max(map(len, text.get_text().split("\n")))
        if place - half < end:
            text.set_visible(False)
        else:
            end = place + half + 3


def _draw_row(
    axes: Axes, results: dict[float, VariantSummary], norm: str, look: Look, metric: Metric, beside: float
) -> None:
    """Dots, some points beside their place, means and the ring of one norm, by place on the x axis."""
    color, line, marker = look
    figure = axes.get_figure(root=True)
    assert figure is not None
    dots = [(x, y) for x, result in results.items() for y in result.values.values()]
    axes.plot(
        [x for x, _ in dots], [y for _, y in dots], "o", color=color, markersize=3, alpha=0.5, markeredgewidth=0,
        zorder=2, gid="seeds", label=norm,
        transform=axes.transData + ScaledTranslation(beside / 72, 0, figure.dpi_scale_trans),
    )  # fmt: skip
    means = [(x, result.summary.mean, _diverged(result)) for x, result in sorted(results.items()) if result.summary]
    axes.plot(
        [x for x, _, _ in means], [math.nan if diverged else mean for _, mean, diverged in means],
        linestyle=line, color=color, marker=marker, markersize=5, linewidth=1.5, zorder=3, gid="mean", label=norm,
    )  # fmt: skip
    hollow = [(x, mean) for x, mean, diverged in means if diverged]
    axes.plot(
        [x for x, _ in hollow], [y for _, y in hollow], marker, color=color, markersize=5, markerfacecolor="white",
        linestyle="", markeredgewidth=1.2, zorder=3, gid="mean of the rest", label=norm,
    )  # fmt: skip
    if means:
        best = min(means, key=lambda at: (at[2], -at[1] if metric.higher_is_better else at[1]))
        axes.plot([best[0]], [best[1]], "o", color=color, zorder=4, clip_on=False, gid="best", label=norm, **_RING)


def _num_lost(row: dict[Value, Candidate]) -> int:
    return sum(_diverged(candidate.result) for candidate in row.values())


def _count_diverged(rail: Axes, results: dict[float, VariantSummary], level: int, norm: str, look: Look) -> None:
    """The diverged runs of a norm, each number below its place."""
    for x, result in results.items():
        if _diverged(result):
            rail.text(
                x, level, _counted(result), fontsize=6.5, color=look.color, ha="center", va="center", gid="diverged",
                label=norm,
            )  # fmt: skip


# ---------------------------------------------------------------- heat maps


@styled
def heat_map(cells: Cells, metric: Metric, hyperparameter: str, *, title: str, note: str) -> Figure:
    """Mean of a metric for each row and value, written into its cell; ✕ where runs diverged; the chosen framed."""
    values = _ordered(list(cells.values()))
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
    """The mean and how many diverged, legible on the cell's colour; a frame if the candidate was chosen.

    Its label, which a page shows under the pointer, says all that is known of it.
    """
    result = candidate.result
    seeds = list(map(metric.shown, sorted(result.values.values())))
    unit, diverged = " %" * metric.is_accuracy, _diverged(result)
    told = [f"{metric.words} {metric.shown(result.summary.mean)}{unit}"] if result.summary else []
    told += [f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}{unit}"] if len(seeds) > 1 else []
    told += [f"{diverged} of {len(seeds) + diverged} diverged"] if diverged else []
    lines = [metric.shown(result.summary.mean)] if result.summary else []
    lines += [_counted(result)] if _diverged(result) else []
    luminance = np.dot(color[:3], [0.299, 0.587, 0.114]) if result.summary else 1.0
    axes.text(
        j, i, "\n".join(lines), ha="center", va="center", fontsize=size, linespacing=1.1,
        color="black" if luminance > 0.5 else "white", gid="cell", label="\n".join([candidate.variant, *told]),
    )  # fmt: skip
    if candidate.is_chosen:
        axes.add_patch(Rectangle((j - 0.47, i - 0.45), 0.94, 0.9, fill=False, edgecolor="black", linewidth=1.6))
        axes.add_patch(Rectangle((j - 0.455, i - 0.42), 0.91, 0.84, fill=False, edgecolor="white", linewidth=0.8))
