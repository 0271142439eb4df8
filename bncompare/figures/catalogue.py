"""The figures of one experiment: those that fit what its runs contain."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

from bncompare.comparison import Ask, Comparison, compare_experiment, one_experiment, trials_of
from bncompare.config import Metric
from bncompare.figures.choice import named
from bncompare.figures.curves import curves_by_setting, experiment_curves
from bncompare.figures.diagnostics import diagnostic_figures
from bncompare.figures.differences import paired_differences
from bncompare.figures.overview import overview
from bncompare.figures.style import NamedFigure
from bncompare.figures.sweeps import sweep_figures
from bncompare.figures.times import times_differ, times_to_threshold
from bncompare.figures.tuning import tuning_curves
from bncompare.runs import LoadedRun


def experiment_figures(
    runs: Sequence[LoadedRun],
    *,
    metrics: Sequence[str] | None = None,
    x: Literal["epoch", "step"] = "epoch",
    title: str | None = None,
    comparison: Comparison | None = None,
) -> Iterator[NamedFigure]:
    """The figures that fit the runs of one experiment, one at a time, as each takes some memory.

    First the overview, then the curves of each metric (by default all but the learning rate). With two variants that
    share two seeds or more, their differences seed by seed; where the variants sweep a hyperparameter, the metric
    against it, and a heat map if there are several norms; where seeds were for the choice alone, what so many trials
    bring; where variants took different times to a threshold, these times.

    `metrics` leaves all else out; `title` is by default the experiment's name; `comparison` by default that of
    the runs. Raises UserError for a metric that no run has, and for runs of several experiments.
    """
    runs = runs if comparison else named(runs)
    title = runs[0].experiment if title is None else title
    compared = None if metrics is None else [name for name in metrics if name != "lr"]
    if compared != []:
        comparison = comparison or compare_experiment(one_experiment(runs), Ask(compared))
    sensitivity = comparison.sensitivity if comparison else None
    if metrics is None and any(run.metrics["step"] for run in runs):
        yield overview(runs, x=x, title=title, comparison=comparison)
    metric_of = partial(Metric, is_classification=any("train/accuracy" in run.metrics for run in runs))
    for name in dict.fromkeys(name for run in runs for name in run.metrics if name not in ("epoch", "step")):
        having = [run for run in runs if run.metrics.get(name)]
        if having and (name in metrics if metrics is not None else name != "lr"):
            yield experiment_curves(having, metric_of(name), x=x, title=title, sensitivity=sensitivity)
            if sensitivity and sensitivity.has_norms:
                yield from curves_by_setting(trials_of(having), metric_of(name), sensitivity, x=x, title=title)
    if compared != [] and comparison and len({run.variant for run in runs}) >= 2:
        for measure in comparison.measures:
            if any(len(pair.differences) >= 2 for pair in measure.pairs):
                yield paired_differences(measure, runs, title=title)
        table, convergence = sensitivity, comparison.convergence
        if table is not None and (compared is None or table.metric.name in compared):
            yield from sweep_figures(table, runs, title=title)
        if comparison.tuning is not None and table is not None and metrics is None:
            yield tuning_curves(comparison.tuning, table, runs, title=title)
        if convergence is not None and times_differ(convergence):
            yield times_to_threshold(convergence, runs, x=x, title=title)
    if metrics is None:
        yield from diagnostic_figures(runs, title=title, sensitivity=sensitivity)
