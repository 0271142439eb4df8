"""A metric over epochs or steps: runs in, a figure out; reads no file."""

import math
from collections.abc import Sequence
from dataclasses import replace

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bncompare.comparison import Sensitivity
from bncompare.config import Metric, Status
from bncompare.figures.choice import MAX_LINES, Shown, norm_looks, shown_of
from bncompare.figures.lines import (
    MARKS,
    Curve,
    are_few,
    curves_of,
    draw_curves,
    draw_numbers,
    explain_marks,
    said,
)
from bncompare.figures.settings import by_setting, norms_left_out, settings_in_words, swept_key
from bncompare.figures.style import (
    MAX_NAMED,
    WIDTH,
    NamedFigure,
    add_fixed_head,
    add_head,
    add_legend_below,
    by_variant,
    file_name,
    head,
    legend_shape,
    listed,
    spread_words,
    styled,
    wrapped,
)
from bncompare.runs import LoadedRun, baseline

MAX_PANELS = 25

Runs = Sequence[LoadedRun]


@styled
def experiment_curves(
    runs: Runs, metric: Metric, *, x: str, title: str, sensitivity: Sensitivity | None = None
) -> NamedFigure:
    """A metric of each variant: its mean over the seeds, their spread as a band, single seeds thin.

    The mean is that of the runs that did not diverge, over the evaluations that all of them reached: where one
    stopped early, it ends. Marks show where runs stopped early (▼) and diverged (✕); where runs end at different
    times, a strip below shows how many go on. In a sweep each norm is shown with its chosen setting; else nine and
    more variants have a panel each, with the baseline's mean behind. All runs have the metric.
    """
    number = len(by_variant(runs))
    has_panels = MAX_LINES < number <= MAX_PANELS and not (sensitivity and sensitivity.is_fair)
    chosen = Shown(runs, "") if has_panels else shown_of(runs, sensitivity)
    curves = curves_of(chosen.runs, metric, x)
    title = f"{title}: {chosen.words}" if chosen.words else title
    figure = _panels(curves, title) if has_panels else _overlaid(curves, title)
    return NamedFigure(file_name(metric.name), _caption(curves), figure)


def _note(curves: Sequence[Curve]) -> str:
    seeds = len({run.seed for curve in curves for run in curve.runs})
    note = f"{seeds} seed{'' if seeds == 1 else 's'}"
    if any(len(curve.kept) >= 2 for curve in curves):
        note = f"mean of {note}, shaded: {spread_words(are_few(curves))}, thin: single seeds"
        if any(curve.ends_differ for curve in curves):
            note += "; a mean ends where the first of its runs does"
    return note


def _caption(curves: Sequence[Curve]) -> str:
    metric, x = said(curves[0].metric, curves[0].runs), curves[0].x
    ends = {curve.variant: curve.end for curve in curves if curve.end}
    told = {variant: metric.shown(end) + " %" * metric.is_accuracy for variant, (_, end) in ends.items()}
    parts = [f"{variant} ends at {told[variant]} ({x} {at:.4g})" for variant, (at, _) in ends.items()]
    if len(ends) > MAX_NAMED:
        lowest, highest = (pick(ends, key=lambda variant: ends[variant][1]) for pick in (min, max))
        parts = [f"of {len(ends)} variants {lowest} ends lowest, at {told[lowest]}"]
        parts.append(f"{highest} highest, at {told[highest]}")
    runs = [run for curve in curves for run in curve.runs]
    for status, (_, words) in MARKS.items():
        if number := sum(run.status is status for run in runs):
            parts.append(f"{number} of {len(runs)} runs {words}")
    return f"{metric.words.capitalize()} over {x}s, mean over seeds: {'; '.join(parts)}."


def _overlaid(curves: Sequence[Curve], title: str) -> Figure:
    """All variants in one set of axes."""
    has_strip = any(curve.ends_differ for curve in curves)
    figure = Figure(figsize=(WIDTH, 4.8 if has_strip else 4.2), layout="constrained")
    grid = figure.add_gridspec(2 if has_strip else 1, 1, height_ratios=[6, 1] if has_strip else [1])
    axes = lowest = figure.add_subplot(grid[0])
    draw_curves(axes, curves, curves)
    axes.set_ylabel(said(curves[0].metric, curves[0].runs).label)
    if has_strip:
        lowest = figure.add_subplot(grid[1], sharex=axes)
        for curve in curves:
            draw_numbers(lowest, curve)
        lowest.set_ylabel("runs")
        lowest.set_ylim(0, 1.15 * max(len(curve.runs) for curve in curves))
        lowest.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
        axes.tick_params(labelbottom=False)
    lowest.set_xlabel(curves[0].x)
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_head(figure, title, _note(curves))
    add_legend_below(figure, _legend(curves))
    return figure


def _legend(curves: Sequence[Curve]) -> list[tuple[Artist, str]]:
    return [
        *((curve.look.handle(marker="", label=curve.variant), curve.label) for curve in curves),
        *explain_marks(curves),
    ]


def _panels(curves: Sequence[Curve], title: str) -> Figure:
    """A variant a panel on shared axes, the mean of the baseline behind it."""
    base = baseline([run for curve in curves for run in curve.runs], [curve.variant for curve in curves])
    behind = next(curve for curve in curves if curve.variant == base)
    dashed = behind.look._replace(line="--").handle(marker="", linewidth=1)
    legend = [(dashed, f"{base}, mean"), *explain_marks(curves)]
    titles = [wrapped(curve.variant, 22, max_lines=3) + curve.counted("\n") for curve in curves]
    # The fewest empty places, in at most six columns.
    num_columns = min(range(math.ceil(math.sqrt(len(curves))), 7), key=lambda number: (-len(curves) % number, number))
    figure, panels = small_multiples(titles, num_columns, legend, title, _note(curves))
    for axes, curve in zip(panels, curves, strict=True):
        solid = replace(curve, look=curve.look._replace(line="-"))  # alone, it needs no stroke of its own
        draw_curves(axes, [solid], curves)
        if curve is not behind:
            line = [at for at, _ in behind.mean], [summary.mean for _, summary in behind.mean]
            axes.plot(
                *line, color=behind.look.color, linewidth=1, linestyle="--", zorder=1.2, gid="baseline", label=base
            )
    _label_multiples(figure, panels, curves)
    return figure


def small_multiples(
    titles: Sequence[str], num_columns: int, legend: Sequence[tuple[Artist, str]], title: str, note: str
) -> tuple[Figure, list[Axes]]:
    """Panels with shared axes, each with a title, below a head and above a legend; margins are fixed, for speed."""
    num_rows = math.ceil(len(titles) / num_columns)
    lines = 1 + max(name.count("\n") for name in titles)
    width, above = max(WIDTH, 1.6 * num_columns + 0.8), 0.08 + 0.15 * lines
    top, bottom = head(title, note, width)[2] + above, 0.48 + legend_shape(legend, width)[1]
    height = top + bottom + 1.1 * num_rows + (above + 0.08) * (num_rows - 1)
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(
        num_rows, num_columns, sharex=True, sharey=True, squeeze=False,
        gridspec_kw={
            "left": 0.72 / width, "right": 1 - 0.1 / width, "top": 1 - top / height, "bottom": bottom / height,
            "wspace": 0.1, "hspace": (above + 0.08) / 1.1,
        },
    ).ravel()  # fmt: skip
    for i, (axes, name) in enumerate(zip(panels, titles, strict=False)):
        axes.set_title(name, fontsize=8, fontweight="normal")
        axes.tick_params(labelbottom=i + num_columns >= len(titles))
    for axes in panels[len(titles) :]:
        axes.set_visible(False)
    add_fixed_head(figure, title, note)
    add_legend_below(figure, legend, loc="lower left", bbox_to_anchor=(0.01, 0.0), borderaxespad=0.2)
    return figure, list(panels[: len(titles)])


def _label_multiples(figure: Figure, panels: Sequence[Axes], curves: Sequence[Curve]) -> None:
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    for axes in panels:
        if axes.xaxis.get_tick_params()["labelbottom"]:
            axes.set_xlabel(curves[0].x)
    figure.supylabel(
        said(curves[0].metric, curves[0].runs).label, fontsize=9, x=0.06 / figure.get_figwidth(), ha="left"
    )


@styled
def curves_by_setting(runs: Runs, metric: Metric, table: Sensitivity, *, x: str, title: str) -> list[NamedFigure]:
    """In a sweep, a panel for each setting of the hyperparameters, with the curve of each norm; none if too many."""
    by_name, norms = by_variant(runs), norm_looks(table, runs)
    panels: dict[str, list[Curve]] = {}
    for candidate in by_setting(table):
        if candidate.norm in norms and candidate.variant in by_name:
            curve = Curve(candidate.norm, norms[candidate.norm], by_name[candidate.variant], metric, x)
            panels.setdefault(settings_in_words(table.keys, candidate.setting), []).append(curve)
    curves = [curve for of_panel in panels.values() for curve in of_panel]
    if not 1 < len(panels) <= MAX_PANELS:
        return []
    num_values = len({settings_in_words([swept_key(table)], candidate.setting) for candidate in table.candidates})
    legend: list[tuple[Artist, str]] = [(look.handle(marker="", label=norm), norm) for norm, look in norms.items()]
    title = f"{title}: {metric.words} of each norm by setting"
    titles = [name.replace(", ", "\n") + _num_diverged(of_panel) for name, of_panel in panels.items()]
    figure, all_axes = small_multiples(
        titles,
        num_values if num_values <= 6 else 5,
        [*legend, *explain_marks(curves)],
        title,
        _note(curves) + norms_left_out(table, norms),
    )
    for axes, of_panel in zip(all_axes, panels.values(), strict=True):
        draw_curves(axes, of_panel, curves)
    _label_multiples(figure, all_axes, curves)
    caption = (
        f"{metric.words.capitalize()} over {x}s of {listed(list(norms))}, a panel for each of {len(panels)} settings."
    )
    return [NamedFigure(file_name(metric.name, "by setting"), caption, figure)]


def _num_diverged(curves: Sequence[Curve]) -> str:
    statuses = [run.status for curve in curves for run in curve.runs]
    number = statuses.count(Status.DIVERGED)
    return f"\n{number} of {len(statuses)} diverged" if number else ""
