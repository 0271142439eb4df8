"""Figures of diagnostics: runs in, one figure out for each question that what was measured in them answers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bncompare.comparison import Sensitivity
from bncompare.figures.choice import shown_of
from bncompare.figures.looks import Look, looks
from bncompare.figures.questions import Key, Panel, Question, Row, questions
from bncompare.figures.style import (
    GREY,
    WIDTH,
    NamedFigure,
    add_fixed_head,
    add_legend_below,
    by_variant,
    format_decades,
    format_percent,
    head,
    is_wide,
    legend_shape,
    styled,
    wrapped,
)
from bncompare.runs import LoadedRun

MAX_UNMEASURED = 6  # variants without a measurement that are named

Series = dict[Key, dict[float, float]]
"""what was measured in a run, by step"""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredVariant:
    """What was measured in the runs of one variant, and how it looks in every figure."""

    name: str
    runs: Sequence[tuple[int, Series]]
    """the seed of each, and its series: none if it diverged before anything was measured"""
    look: Look

    def having(self, *keys: Key) -> list[Series]:
        """Of the runs in which all of these were measured."""
        return [series for _, series in self.runs if all(key in series for key in keys)]

    def label(self, keys: Sequence[Key]) -> str:
        """The variant, and in how many of its runs any of these was measured."""
        number = sum(any(key in series for key in keys) for _, series in self.runs)
        return self.name if number == len(self.runs) else f"{self.name} ({number} of {len(self.runs)} runs)"

    def means(self, keys: Sequence[Key], *, is_of_first_seed: bool) -> tuple[Values, list[Values]]:
        """Steps at which every run was measured, and the means of each key there; of the first run if there is none.

        So no mean is over other runs at one step than at the next.
        """
        runs = self.having(*keys)
        if is_of_first_seed or not (steps := _shared_steps(runs, keys)):
            runs = runs[:1]
            steps = _shared_steps(runs, keys)
        values = [[[series[key][step] for step in steps] for series in runs] for key in keys]
        return np.array(steps), [np.mean(of_key, axis=0) if runs else np.array([]) for of_key in values]


def _shared_steps(runs: Sequence[Series], keys: Sequence[Key]) -> list[float]:
    steps = [set(series[key]) for series in runs for key in keys]
    return sorted(set.intersection(*steps)) if steps else []


def _series(run: LoadedRun) -> Series:
    found: Series = {}
    for row in run.diagnostics:
        found.setdefault((row.layer, row.quantity), {})[row.step] = row.value
    return found


def diagnostic_figures(
    runs: Sequence[LoadedRun], *, title: str, sensitivity: Sensitivity | None = None
) -> Iterator[NamedFigure]:
    """A figure for each question that the diagnostics of an experiment answer, of the variants that fit.

    `runs` are all runs of the experiment: what has not been measured is counted.
    """
    chosen = shown_of(runs, sensitivity)
    own = looks(chosen.runs)
    variants = [
        MeasuredVariant(name, [(run.seed, _series(run)) for run in members], own[name])
        for name, members in by_variant(chosen.runs).items()
    ]
    measured = list(dict.fromkeys(key for variant in variants for _, series in variant.runs for key in series))
    for question in questions(measured):
        yield _draw(question, variants, ": ".join(part for part in (title, chosen.words) if part))


# Inches: margins and panels are fixed, for speed.
LEFT, RIGHT, BETWEEN, OWN, HEIGHT, EACH, STEPS, BELOW = 0.75, 0.12, 0.12, 0.62, 1.15, 1.52, 0.3, 0.5


@styled
def _draw(question: Question, variants: Sequence[MeasuredVariant], title: str) -> NamedFigure:
    """A row of panels below each other for each row of the question, a colour a variant."""
    keys = [key for row in question.rows for panel in row.panels for key in panel.keys]
    has_any = [variant for variant in variants if any(variant.having(key) for key in keys)]
    lost = [variant.name for variant in variants if not any(series for _, series in variant.runs)]
    if len(lost) > MAX_UNMEASURED:
        lost = [*lost[:MAX_UNMEASURED], f"{len(lost) - MAX_UNMEASURED} more"]
    caption = "; ".join(row.caption for row in question.rows)
    note = f"means over seeds: {caption}" + (f"; without a measurement: {', '.join(lost)}" if lost else "")
    legend: list[tuple[Artist, str]] = [(v.look.handle(marker="", label=v.name), v.label(keys)) for v in has_any]
    title, rows = f"{title}: {question.title}", question.rows
    # Steps are named below the last of the rows that are over steps.
    last = max((i for i, row in enumerate(rows) if not row.panels[0].units), default=None)
    top, bottom = head(title, note, WIDTH)[2], BELOW + legend_shape(legend, WIDTH)[1]
    low = bottom + len(rows) * EACH + (STEPS if last is not None and last < len(rows) - 1 else 0.0)
    figure = Figure(figsize=(WIDTH, low + top))
    for i, row in enumerate(rows):
        low -= EACH
        panels = _row_axes(figure, row, low)
        _draw_row(panels, row, has_any)
        if i == last:
            for axes in panels:
                axes.set_xlabel("step", labelpad=1)
                axes.tick_params(labelbottom=True)
            low -= STEPS
    add_fixed_head(figure, title, note)
    add_legend_below(figure, legend, loc="lower left", bbox_to_anchor=(0.01, 0.0), borderaxespad=0.2)
    return NamedFigure(f"diagnostics-{question.name}", f"{question.title.capitalize()} {caption}.", figure)


def _row_axes(figure: Figure, row: Row, low: float) -> list[Axes]:
    """Side by side, on one y axis unless each has a label of its own."""
    width, height = figure.get_size_inches()
    is_shared = not row.panels[0].label
    between, number = BETWEEN if is_shared else OWN, len(row.panels)
    own = (width - LEFT - RIGHT - between * (number - 1)) / number
    found = list[Axes]()
    for i, panel in enumerate(row.panels):
        left = LEFT + i * (own + between)
        place = (left / width, low / height, own / width, HEIGHT / height)
        axes = figure.add_axes(place, sharey=found[0] if found and is_shared else None)
        axes.set_title(wrapped(panel.title, max(10, round(14 * own)), max_lines=1), fontsize=8, fontweight="normal")
        axes.tick_params(labelbottom=False, labelleft=i == 0 or not is_shared)
        axes.set_ylabel(panel.label if not is_shared else row.label if i == 0 else "")
        found.append(axes)
    return found


def _draw_row(panels: Sequence[Axes], row: Row, variants: Sequence[MeasuredVariant]) -> None:
    values = [
        _draw_units(axes, panel, variants) if panel.units else _draw_lines(axes, panel, variants)
        for axes, panel in zip(panels, row.panels, strict=True)
    ]
    shared = [value for of_panel in values for value in of_panel]
    for axes, panel, own in zip(panels, row.panels, values, strict=True):
        if row.neutral is not None:
            axes.axhline(row.neutral, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1, gid="neutral")
        if row.limits:
            low, high = row.limits
            axes.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
            if row.limits == (0.0, 1.0):
                format_percent(axes.yaxis)
        else:
            _scale(axes, own if panel.label else shared)


def _draw_lines(axes: Axes, panel: Panel, variants: Sequence[MeasuredVariant]) -> list[float]:
    """A line, a band, or both for each variant, over steps; returns what is drawn."""
    drawn: list[float] = []
    for variant in variants:
        keys = [*([panel.line] if panel.line else []), *(panel.band or ())]
        if not variant.having(*keys):  # of a folder that others made, what there is
            keys = [panel.line] if panel.line else []
        steps, values = variant.means(keys, is_of_first_seed=panel.is_of_first_seed)
        color, stroke, marker = variant.look
        if len(keys) >= 2 and len(steps):
            _band(axes, steps, values[-2], values[-1], variant, 0.3 / max(1.5, 0.6 * len(variants)))
        if panel.line and len(steps):
            axes.plot(
                steps, values[0], linestyle=stroke, color=color, linewidth=1.4, gid="mean", label=variant.name,
                marker=marker if len(steps) == 1 else "", markersize=4,
            )  # fmt: skip
        drawn += [float(value) for of_key in values for value in of_key]
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    low, high = axes.dataLim.intervalx
    if low == high:  # a single step
        axes.set_xticks([low])
    return drawn


def _band(axes: Axes, steps: Values, low: Values, high: Values, variant: MeasuredVariant, alpha: float) -> None:
    """Between two lines; of a single step an upright stroke."""
    if len(steps) == 1:
        axes.plot(
            [steps[0]] * 2,
            [low[0], high[0]],
            color=variant.look.color,
            alpha=0.5,
            linewidth=4,
            solid_capstyle="butt",
            gid="band",
            label=variant.name,
        )
    else:
        axes.fill_between(
            steps,
            low,
            high,
            color=variant.look.color,
            alpha=alpha,
            linewidth=0.8,
            linestyle=variant.look.line,
            gid="band",
            label=variant.name,
        )


def _draw_units(axes: Axes, panel: Panel, variants: Sequence[MeasuredVariant]) -> list[float]:
    """The last values of the units of one layer, variants beside each other; returns them."""
    drawn: list[float] = []
    for i, variant in enumerate(variants):
        found = [series[key] for _, series in variant.runs for key in panel.units if key in series]
        dots = [by_step[max(by_step)] for by_step in found]
        if dots:
            # Side by side, as evenly as any number of them can be.
            spread = np.arange(len(dots)) * 0.618 % 1 - 0.5
            axes.plot(
                i + 0.8 * spread, dots, variant.look.marker, color=variant.look.color, markersize=2.5,
                markeredgewidth=0, alpha=0.6, rasterized=len(dots) > 1000, gid="units", label=variant.name,
            )  # fmt: skip
        drawn += dots
    axes.set_xlim(-0.6, len(variants) - 0.4)
    axes.set_xticks([])
    return drawn


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """A log scale for the y axis where its values span decades."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if is_wide(low, high):
        axes.set_yscale("log")
        format_decades(axes.yaxis, math.log10(high / low))
        axes.set_ylim(low / 1.2, high * 1.2)
    else:
        margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(4))
