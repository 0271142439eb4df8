"""The comparison: what the runs of an experiment say about its variants, as numbers and in plain words."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal

from bncompare.comparison.claims import claims_of
from bncompare.comparison.grid import Sensitivity, pairs_at_equal_settings, pairs_of, sensitivity_of
from bncompare.comparison.measures import Measure, area, at_evaluation, spread, time_to
from bncompare.comparison.verdicts import MeasureComparison, compare_by
from bncompare.config import Metric
from bncompare.errors import UserError
from bncompare.runs import ExperimentRuns, LoadedRun, available_metrics, experiments, validates_on_test


@dataclass(frozen=True)
class Convergence:
    """How soon each variant got to a value of a metric, and how it did on the way."""

    metric: str
    threshold: float
    threshold_is_given: bool
    """else it is the best value that every run reached that did not diverge"""
    epochs: MeasureComparison
    steps: MeasureComparison
    seconds: MeasureComparison
    """wall-clock, as the machine was"""
    area: MeasureComparison | None
    """mean of the metric over the epochs that all runs have; None if they share fewer than two"""


@dataclass(frozen=True)
class Comparison:
    """What the runs of one experiment say about its variants."""

    experiment: str
    variants: list[str]
    """those compared: of a grid of hyperparameters the chosen ones"""
    measures: list[MeasureComparison]
    convergence: Convergence | None
    stability: MeasureComparison | None
    sensitivity: Sensitivity | None


def compare(
    runs: Sequence[LoadedRun],
    metric: str | Sequence[str] | None = None,
    *,
    at: Literal["best", "last"] | None = None,
    versus: str | None = None,
    threshold: float | None = None,
    window: int = 5,
) -> Comparison:
    """Compare the variants of one experiment, seed by seed.

    By default the metrics are those of the experiment's claims; without claims val/loss (or train/loss) and
    test/accuracy (or test/loss). `at` is best, or last where the best is chosen on the test set. With more than four
    variants each is compared with a baseline alone: `versus`, by default the first without a norm. `threshold` is for
    the time to reach it, `window` the evaluations over which stability is taken. In a grid of norms and
    hyperparameters each norm stands with the hyperparameters that the validation set chooses; test metrics then come
    first.

    Raises UserError for runs of several experiments or none, for a metric or variant that no run has, and for any
    other argument that is not as said.
    """
    if isinstance(runs, LoadedRun):
        raise UserError(f"{runs.path}: is a single run; compare takes several, as load_runs gives")
    strangers = [runs] if isinstance(runs, str) or not isinstance(runs, Sequence) else runs
    for item in strangers:
        if not isinstance(item, LoadedRun):
            raise UserError(f"{item!r}: is no run; compare takes what load_runs gives")
    found = experiments(runs)
    if not found:
        raise UserError("there are no runs to compare")
    if len(found) != 1:
        titles = ", ".join(experiment.title for experiment in found)
        raise UserError(f"the runs are of {len(found)} experiments, not one: {titles}")
    return compare_experiment(found[0], metric, at=at, versus=versus, threshold=threshold, window=window)


def compare_experiment(
    experiment: ExperimentRuns,
    metric: str | Sequence[str] | None = None,
    *,
    at: Literal["best", "last"] | None = None,
    versus: str | None = None,
    threshold: float | None = None,
    window: int = 5,
) -> Comparison:
    """`compare` for runs that are known to be of one experiment."""
    runs = experiment.runs
    _check_options(at, threshold, window)
    metrics = [metric] if isinstance(metric, str) else metric
    measures = _measures(runs, metrics, at)
    sensitivity = sensitivity_of(runs, measures[0])
    variants = list(dict.fromkeys(run.variant for run in runs))
    chosen = [candidate.variant for candidate in sensitivity.candidates if candidate.is_chosen] if sensitivity else []
    if chosen:
        variants = chosen
        measures = _test_first(measures, runs, at, adds_test=metrics is None)
    if versus is not None and versus not in variants:
        raise UserError(f"{versus or repr(versus)}: no such variant; valid: {', '.join(variants)}")
    if sensitivity is not None and sensitivity.has_norms and not sensitivity.is_fair:
        pairs = pairs_at_equal_settings(sensitivity, runs, versus)
    else:
        pairs = pairs_of(variants, runs, versus)
    runs = [run for run in runs if run.variant in variants]

    def by(measure: Measure) -> MeasureComparison:
        return replace(compare_by(measure, runs, pairs), chosen_on=bool(chosen) and "val/" in measure.metric)

    return Comparison(
        experiment.name,
        variants,
        [by(measure) for measure in measures],
        _convergence(runs, by, metrics or [measure.metric for measure in measures], threshold),
        _stability(runs, by, window),
        sensitivity,
    )


def _check_options(at: Any, threshold: Any, window: Any) -> None:
    """Raise UserError for what is none of the choices."""
    problems = []
    if at not in (None, "best", "last"):
        problems.append(f"at={at!r}: no such evaluation; valid: best, last")
    if isinstance(threshold, int) and abs(threshold) > sys.float_info.max:
        problems.append(f"threshold: must be a finite number, at most {sys.float_info.max:.2g} in size")
    elif threshold is not None and (
        isinstance(threshold, bool) or not isinstance(threshold, Real) or not math.isfinite(threshold)
    ):
        problems.append(f"threshold={threshold!r}: must be a finite number")
    if isinstance(window, bool) or not isinstance(window, Integral) or window < 2:
        problems.append(f"window={window!r}: must be a whole number of evaluations, at least 2")
    if problems:
        raise UserError(*problems)


def _measures(
    runs: Sequence[LoadedRun], metrics: Sequence[str] | None, at: Literal["best", "last"] | None
) -> list[Measure]:
    """What the experiment is about, or the metrics asked for."""
    available = list(dict.fromkeys(name for run in runs for name in available_metrics(run)))
    default = at or ("last" if validates_on_test(runs) else "best")
    if metrics is not None:
        if not isinstance(metrics, Sequence) or isinstance(metrics, bytes) or not metrics:
            raise UserError(f"metric={metrics!r}: must be a metric or several; valid: {', '.join(available)}")
        for name in metrics:
            if name not in available:
                raise UserError(f"{name or repr(name)}: no run has this metric; valid: {', '.join(available)}")
        return [at_evaluation(name, default) for name in dict.fromkeys(metrics)]
    claims = [claim for claim in claims_of(runs) if claim.metric in available]
    if claims:
        measures = [at_evaluation(claim.metric, at or claim.at) for claim in claims]
        return list({measure.name: measure for measure in measures}.values())
    loss = "val/loss" if "val/loss" in available else "train/loss"
    test = "test/accuracy" if "test/accuracy" in available else "test/loss"
    return [at_evaluation(name, default) for name in (loss, test) if name in (*available, "train/loss")]


def _test_first(
    measures: Sequence[Measure], runs: Sequence[LoadedRun], at: Literal["best", "last"] | None, *, adds_test: bool
) -> list[Measure]:
    """Measures of the test set before the others; one is added where the claims are about others alone."""
    tests = [measure for measure in measures if measure.metric.startswith("test/")]
    others = [measure for measure in measures if measure not in tests]
    if adds_test and not tests:
        available = {name for run in runs for name in available_metrics(run)}
        names = [name for name in ("test/accuracy", "test/loss") if name in available]
        tests = [at_evaluation(name, at or "best") for name in names[:1]]
    return [*tests, *others]


def _convergence(
    runs: Sequence[LoadedRun],
    by: Callable[[Measure], MeasureComparison],
    metrics: Sequence[str],
    threshold: float | None,
) -> Convergence | None:
    columns = {name for run in runs for name in run.metrics}
    metric = next((name for name in (*metrics, "val/loss", "train/loss") if name in columns), None)
    ended = [run for run in runs if run.status in ("completed", "stopped_early") and _finite(run, metric or "")]
    if metric is None or not ended:
        return None
    is_given = threshold is not None
    best, worst = (max, min) if Metric(metric).higher_is_better else (min, max)
    if threshold is None:
        threshold = worst(best(_finite(run, metric)) for run in ended)
    first, last = max(run.metrics["epoch"][0] for run in ended), min(run.metrics["epoch"][-1] for run in ended)
    return Convergence(
        metric,
        threshold,
        is_given,
        by(time_to(metric, threshold, "epoch")),
        by(time_to(metric, threshold, "step")),
        by(time_to(metric, threshold, "second")),
        by(area(metric, first, last)) if first < last else None,
    )


def _finite(run: LoadedRun, metric: str) -> list[float]:
    return [value for value in run.metrics.get(metric, []) if math.isfinite(value)]


def _stability(
    runs: Sequence[LoadedRun], by: Callable[[Measure], MeasureComparison], window: int
) -> MeasureComparison | None:
    """Over the last `window` evaluations, but no more than the second half of the shortest run; of 2 at least."""
    columns = {name for run in runs for name in run.metrics}
    metric = next((name for name in ("val/accuracy", "val/loss", "train/loss") if name in columns), None)
    lengths = [len(run.metrics["step"]) for run in runs if run.status in ("completed", "stopped_early")]
    window = min([window, *(length // 2 for length in lengths)])
    if metric is None or not lengths or window < 2:
        return None
    return by(spread(metric, window))
