"""The figures of one experiment: those that fit what its runs contain, each with a sentence on what it shows."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from bncompare.comparison import (
    Comparison,
    Convergence,
    MeasureComparison,
    Missing,
    Sensitivity,
    VariantSummary,
    compare,
    verdict_lines,
)
from bncompare.config import setting_label
from bncompare.figures.curves import Curve, curve_means, experiment_curves
from bncompare.figures.diagnostics import MeasuredRun, diagnostic_figures
from bncompare.figures.differences import PairedDifferences, paired_differences
from bncompare.figures.style import metric_label
from bncompare.figures.sweeps import Cell, Sweep, Value, heat_map, sensitivity
from bncompare.figures.times import TimeTo, times_to_threshold
from bncompare.runs import LoadedRun

MAX_ROWS = 30  # pairs or variants in a figure with a row each
MAX_SERIES = 12  # variants in one figure of a sweep
MAX_NAMED = 4  # variants that a caption goes through one by one


@dataclass(frozen=True)
class NamedFigure:
    """A figure to be put into a file or a page."""

    name: str
    """a file name without its ending, such as `val-loss`"""
    caption: str
    """what is to be seen, in one sentence; serves as the text for who cannot see it"""
    figure: Figure

    @property
    def has_colour_scale(self) -> bool:
        """Whether colours stand for numbers, which a dark page must not turn around."""
        artists = (artist for axes in self.figure.axes for artist in (*axes.images, *axes.collections))
        return any(artist.get_array() is not None for artist in artists)


def experiment_figures(
    runs: Sequence[LoadedRun],
    *,
    metrics: Sequence[str] | None = None,
    x: Literal["epoch", "step"] = "epoch",
    title: str | None = None,
    comparison: Comparison | None = None,
) -> Iterator[NamedFigure]:
    """The figures that fit the runs of one experiment, one at a time, as each takes some memory.

    Always the curves of each metric (by default all but the learning rate). With two variants that share two seeds or
    more, their differences seed by seed; where the variants sweep a hyperparameter, the metric against it, and a heat
    map if there are several norms; where variants took different times to a threshold, these times.

    `metrics` leaves all else out; `title` is by default the experiment's name; `comparison` that of `compare`.
    Raises UserError for a metric that no run has, and for runs of several experiments.
    """
    title = runs[0].experiment if title is None else title
    is_classification = any("train/accuracy" in run.metrics for run in runs)
    columns = list(dict.fromkeys(name for run in runs for name in run.metrics if name not in ("epoch", "step")))
    for metric in columns:
        has_values = any(run.metrics.get(metric) for run in runs)
        if has_values and (metric in metrics if metrics is not None else metric != "lr"):
            yield _curves(runs, metric, x, title, is_classification)
    compared = None if metrics is None else [metric for metric in metrics if metric != "lr"]
    if compared != [] and len({run.variant for run in runs}) >= 2:
        yield from _compared(comparison or compare(runs, compared), compared, x, title, is_classification)
    if metrics is None:
        measured = [MeasuredRun(run.variant, run.seed, run.diagnostics) for run in runs]
        for name, caption, figure in diagnostic_figures(measured, title):
            yield NamedFigure(f"diagnostics-{name}", f"{caption[0].upper()}{caption[1:]}.", figure)


def _compared(
    comparison: Comparison, metrics: Sequence[str] | None, x: str, title: str, is_classification: bool
) -> Iterator[NamedFigure]:
    for measure in comparison.measures:
        if any(len(pair.differences) >= 2 for pair in measure.pairs):
            yield _differences(measure, title, is_classification)
    if comparison.sensitivity is not None and (metrics is None or comparison.sensitivity.metric.name in metrics):
        yield from _sweeps(comparison.sensitivity, title, is_classification)
    if comparison.convergence is not None and _times_differ(comparison.convergence):
        yield _times(comparison, comparison.convergence, x, title)


def _curves(runs: Sequence[LoadedRun], metric: str, x: str, title: str, is_classification: bool) -> NamedFigure:
    curves = [
        Curve(run.variant, run.seed, run.metrics[x], run.metrics[metric], run.status)
        for run in runs
        if run.metrics.get(metric)
    ]
    figure = experiment_curves(
        curves, title=title, metric=metric, x_label=x, is_classification=is_classification
    )  # fmt: skip
    ends = {
        variant: (positions[-1], means[-1])
        for variant, (positions, means) in curve_means(curves).items()
        if positions
    }
    shown = [f"{variant} ends at {_number(mean, metric)} ({x} {at:g})" for variant, (at, mean) in ends.items()]
    if len(ends) > MAX_NAMED:
        lowest, highest = (pick(ends, key=lambda variant: ends[variant][1]) for pick in (min, max))
        shown = [f"of {len(ends)} variants {lowest} ends lowest, at {_number(ends[lowest][1], metric)}"]
        shown.append(f"{highest} highest, at {_number(ends[highest][1], metric)}")
    for status, words in (("stopped_early", "stopped early"), ("diverged", "diverged")):
        number = sum(curve.status == status for curve in curves)
        if number:
            shown.append(f"{number} of {len(curves)} runs {words}")
    caption = f"{_quantity(metric, is_classification)} over {x}s, mean over seeds: {'; '.join(shown)}."
    return NamedFigure(_slug(metric), caption, figure)


def _differences(measure: MeasureComparison, title: str, is_classification: bool) -> NamedFigure:
    pairs = [pair for pair in measure.pairs if len(pair.differences) >= 2]
    note = f"{measure.title}: a dot a seed, the mean and its 95 % t-interval below"
    note += f"; {MAX_ROWS} of {len(pairs)} pairs" if len(pairs) > MAX_ROWS else ""
    figure = paired_differences(
        [PairedDifferences(f"{p.a} − {p.b}", p.differences, p.n - len(p.differences)) for p in pairs[:MAX_ROWS]],
        title=title,
        note=note,
        metric=measure.metric.name,
        is_classification=is_classification,
        higher_is_better=measure.higher_is_better,
    )
    verdicts = "; ".join(statement for statement, _ in verdict_lines(measure))
    return NamedFigure(
        f"differences-{_slug(measure.name.removesuffix(' evaluation').replace(' at the ', ' '))}",
        f"Differences in {measure.title}, a dot a seed: {verdicts}.",
        figure,
    )


def _sweeps(table: Sensitivity, title: str, is_classification: bool) -> Iterator[NamedFigure]:
    """The metric against the hyperparameter with the most values; others tell the variants apart, beside the norm."""
    values = {key: {json.dumps(c.setting[key], default=str) for c in table.candidates} for key in table.keys}
    swept = max(table.keys, key=lambda key: len(values[key]))
    others = [key for key in table.keys if key != swept]
    cells: dict[tuple[Value, Value], Cell] = {}
    for candidate in table.candidates:
        parts = [candidate.norm, *(setting_label(key, candidate.setting[key]) for key in others)]
        row = " ".join(part for part in parts if part) or "all variants"
        value = _value(candidate.setting[swept])
        if (row, value) not in cells:
            result = candidate.result
            diverged = result.missing.get(Missing.DIVERGED, 0)
            cells[row, value] = Cell(list(result.values.values()), diverged, candidate.is_chosen)
    rows = list(dict.fromkeys(str(row) for row, _ in cells))
    if len(values[swept]) < 2:
        return
    hyperparameter = swept.removeprefix("training.").removeprefix("optimizer.")
    name = f"{_slug(table.metric.name)}-by-{_slug(hyperparameter)}"
    hyperparameter = {"lr": "learning rate", "batch_size": "batch size"}.get(hyperparameter, hyperparameter)
    quantity = _quantity(table.metric.name, is_classification)
    chosen = [candidate.variant for candidate in table.candidates if candidate.is_chosen]
    diverged = sum(cell.diverged for cell in cells.values())
    caption = f"{quantity} of {_listed(rows)} by {hyperparameter}"
    caption += f"; chosen on the validation set: {_listed(chosen)}" if chosen else ""
    caption += f"; {diverged} runs diverged" if diverged else ""
    if len(rows) <= MAX_SERIES:
        sweeps = []
        for row in rows:
            of_row = {value: cell for (name_of_row, value), cell in cells.items() if name_of_row == row}
            sweeps.append(
                Sweep(row, {v: c.values for v, c in of_row.items()}, {v: c.diverged for v, c in of_row.items()})
            )
        note = f"{table.measure}: mean, 95 % t-interval, a dot a seed"
        figure = sensitivity(
            sweeps,
            title=title,
            note=note,
            hyperparameter=hyperparameter,
            metric=table.metric.name,
            is_classification=is_classification,
        )
        yield NamedFigure(f"sensitivity-{name}", f"{caption}.", figure)
    if len(rows) >= 2:
        note = f"{table.measure}: mean over seeds"
        figure = heat_map(
            cells,
            title=title,
            note=note,
            columns=hyperparameter,
            metric=table.metric.name,
            is_classification=is_classification,
        )
        yield NamedFigure(f"heat-map-{name}", f"{caption}; as a heat map.", figure)


def _times_differ(convergence: Convergence) -> bool:
    """Whether there is something to tell: times that are not all the same, or runs that never got there."""
    results = convergence.epochs.variants
    times = {time for result in results for time in result.values.values()}
    return len(times) > 1 or (len(times) == 1 and any(_never(result) for result in results))


def _never(result: VariantSummary) -> int:
    return result.num_at_bad_end


def _times(comparison: Comparison, convergence: Convergence, x: str, title: str) -> NamedFigure:
    by_unit = {f"{x}s": convergence.epochs if x == "epoch" else convergence.steps, "seconds": convergence.seconds}
    panels: dict[str, Sequence[TimeTo]] = {
        unit: [
            TimeTo(result.variant, list(result.values.values()), _never(result))
            for result in measure.variants[:MAX_ROWS]
        ]
        for unit, measure in by_unit.items()
    }
    sign = "≥" if convergence.metric.higher_is_better else "≤"
    goal = f"{convergence.metric.name} {sign} {convergence.threshold:.4g}"
    given = "" if convergence.threshold_is_given else ", which every run reached that did not diverge"
    figure = times_to_threshold(panels, title=title, note=f"time to {goal}{given}: a dot a run, the median as a bar")
    told = []
    for entry in panels[f"{x}s"]:
        total = len(entry.reached) + entry.never
        median = entry.median
        words = f"{entry.variant} in {median:g} {x}s" if math.isfinite(median) else f"{entry.variant} without one"
        told.append(words + (f", never in {entry.never} of {total} runs" if entry.never else ""))
    if len(told) > MAX_NAMED:
        told = [f"{len(told)} variants"]
    return NamedFigure(
        f"{x}s-to-{_slug(convergence.metric.name)}", f"Time to {goal}, median: {'; '.join(told)}.", figure
    )


def _value(setting: object) -> Value:
    """A number as such, anything else as text."""
    if isinstance(setting, int | float) and not isinstance(setting, bool) and abs(setting) < 1e300:
        return setting
    return setting if isinstance(setting, str) else json.dumps(setting, default=str)


def _quantity(metric: str, is_classification: bool) -> str:
    return metric_label(metric, is_classification).partition(" (")[0].capitalize()


def _number(value: float, metric: str) -> str:
    return f"{100 * value:.1f} %" if metric.endswith("accuracy") else f"{value:.4g}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MAX_NAMED else f"{len(names)} variants"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
