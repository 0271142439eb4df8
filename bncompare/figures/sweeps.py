"""A metric against hyperparameters: lines in facets; and which figures there are of a sweep."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from bncompare.comparison import Candidate, Sensitivity, VariantSummary
from bncompare.config import Metric
from bncompare.errors import printable
from bncompare.figures.choice import norm_looks
from bncompare.figures.heat_map import heat_map
from bncompare.figures.looks import Look
from bncompare.figures.settings import (
    ALL_VARIANTS,
    Cells,
    Facets,
    Value,
    cells_of,
    counted,
    facets_of,
    hyperparameter_words,
    name_positions,
    norms_left_out,
    num_diverged,
    ordered,
    positions_of,
    short_key,
    swept_key,
    value_of,
)
from bncompare.figures.style import (
    GREY,
    WIDTH,
    NamedFigure,
    add_fixed_head,
    add_legend_below,
    choose_limits,
    file_name,
    head,
    legend_shape,
    listed,
    styled,
    wrapped,
)
from bncompare.runs import LoadedRun

MAX_FACETS = 12
LOG_FROM = 8.0  # ratio of the largest to the smallest value of a hyperparameter


def sweep_figures(table: Sensitivity, runs: Sequence[LoadedRun], *, title: str) -> Iterator[NamedFigure]:
    """The metric against the hyperparameter with the most values: as lines and, of several rows, as a heat map."""
    metric = table.metric
    if _is_scattered(table):
        yield from _scattered(table, runs, title=title)
        return
    swept = swept_key(table)
    if len({value_of(candidate.setting[swept]) for candidate in table.candidates}) < 2:
        return
    cells = cells_of(table, swept)
    hyperparameter, name = hyperparameter_words(swept), file_name(metric.name, "by", short_key(swept))
    chosen = [candidate.variant for candidate in table.candidates if candidate.is_chosen]
    diverged = sum(num_diverged(candidate.result) for row in cells.values() for candidate in row.values())
    caption = f"{metric.words.capitalize()} of {listed(list(cells))} by {hyperparameter}"
    caption += f"; chosen on the validation set: {listed(chosen)}" if chosen else ""
    caption += f"; {diverged} runs diverged" if diverged else ""
    facets, looks = facets_of(table, swept), norm_looks(table, runs)
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
    numbers = (len({value_of(candidate.setting[key]) for candidate in table.candidates}) for key in table.keys)
    points = {tuple(value_of(candidate.setting[key]) for key in table.keys) for candidate in table.candidates}
    return len(points) < math.prod(numbers)


def _scattered(table: Sensitivity, runs: Sequence[LoadedRun], *, title: str) -> Iterator[NamedFigure]:
    """The metric against each hyperparameter that no two points share, whatever the others are: no line leads on."""
    metric, looks = table.metric, norm_looks(table, runs)
    for key in table.keys:
        cells: Cells = {}
        for candidate in table.candidates:
            cells.setdefault(candidate.norm or ALL_VARIANTS, {})[value_of(candidate.setting[key])] = candidate
        if sum(map(len, cells.values())) < len(table.candidates):
            continue
        hyperparameter = hyperparameter_words(key)
        others = listed([hyperparameter_words(other) for other in table.keys if other != key])
        note = f"{table.measure}: mean, a dot a seed; ring: best of each norm; {others} differ from point to point"
        norms = {norm or ALL_VARIANTS: look._replace(line="") for norm, look in looks.items()}
        words = f"{title}: {metric.words} by {hyperparameter}"
        figure = sensitivity({"": cells}, norms, metric, hyperparameter, title=words, note=note)
        caption = f"{metric.words.capitalize()} of {listed(list(cells))} by {hyperparameter}, at points that differ"
        yield NamedFigure(
            f"sensitivity-{file_name(metric.name, 'by', short_key(key))}", f"{caption} in {others}.", figure
        )


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
    positions = positions_of(ordered(rows))
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
        name_positions(rail.xaxis, positions, 12)
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
    means = [
        (x, result.summary.mean, num_diverged(result)) for x, result in sorted(results.items()) if result.summary
    ]
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
    return sum(num_diverged(candidate.result) for candidate in row.values())


def _count_diverged(rail: Axes, results: dict[float, VariantSummary], level: int, norm: str, look: Look) -> None:
    """The diverged runs of a norm, each number below its place."""
    for x, result in results.items():
        if num_diverged(result):
            rail.text(
                x, level, counted(result), fontsize=6.5, color=look.color, ha="center", va="center", gid="diverged",
                label=norm,
            )  # fmt: skip
