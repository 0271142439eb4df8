"""The comparison: what the runs of an experiment say about its variants, as numbers and in plain words."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bncompare.comparison.ask import Ask
from bncompare.comparison.claims import claims_of
from bncompare.comparison.grid import Sensitivity, pairs_in, pairs_of, sensitivity_of
from bncompare.comparison.measures import Measure, area, metric_at, spread, time_to
from bncompare.comparison.named import finite_values, shared_epochs, spread_window
from bncompare.comparison.tuning import Tuning, trials_of, tuning_of
from bncompare.comparison.verdicts import MeasureComparison, compare_by
from bncompare.config import Metric
from bncompare.errors import UserError
from bncompare.runs import ExperimentRuns, LoadedRun, experiments, tuning_seeds, validates_on_test

LOSSES, TESTS = ("val/loss", "train/loss"), ("test/accuracy", "test/loss")  # of which the first there is counts
ENDS: tuple[Literal["best", "last"], ...] = ("best", "last")
FINALS = (*TESTS, "train/accuracy", "train/loss")


@dataclass(frozen=True)
class Convergence:
    """How soon each variant got to a value of a metric, and how it did on the way."""

    metric: Metric
    threshold: float
    leader: str | None
    """the variant that sets the threshold, half-way from its first evaluation to its best; None if it is given"""
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
    finals: list[MeasureComparison]
    """the test metrics and those of training, each at the best and at the last evaluation, without verdicts"""
    convergence: Convergence | None
    stability: MeasureComparison | None
    sensitivity: Sensitivity | None
    labels: dict[str, str]
    """the machine names of the variants, and of the norms of a grid, by the names that people use"""
    tuning: Tuning | None = None
    """how they were chosen, if on seeds that judge nothing"""

    @property
    def main(self) -> MeasureComparison:
        """What the answer is about: the first measure of the test set, else the first there is."""
        return next((measure for measure in self.measures if measure.metric.split == "test"), self.measures[0])


def one_experiment(runs: Sequence[LoadedRun]) -> ExperimentRuns:
    """The experiment that runs are of. Raises UserError for those of several or none, and for what is no run."""
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
    return found[0]


def compare_experiment(found: ExperimentRuns, ask: Ask) -> Comparison:
    """Compare the variants of an experiment, seed by seed.

    With more than four variants each is compared with a baseline alone. In a grid of norms and hyperparameters each
    norm stands with the hyperparameters that the validation set chooses; test metrics then come first. Raises
    UserError for a metric or variant that no run has.
    """
    measures = _measures(found, ask)
    trials = replace(found, runs=trials_of(found.runs))
    sensitivity = None if found.against else sensitivity_of(trials, measures[0], ask.within)
    variants = list(dict.fromkeys(run.variant for run in found.runs))
    chosen = [candidate.variant for candidate in sensitivity.candidates if candidate.is_chosen] if sensitivity else []
    if chosen:
        variants = chosen
        measures.sort(key=lambda measure: measure.metric.split != "test")
    ask = replace(ask, versus=_called(ask.versus, found.runs, variants))
    if found.against:
        pairs = list(found.against.items())
    elif sensitivity is not None and sensitivity.has_norms:
        pairs = pairs_in(sensitivity, found.runs, ask.versus)
    else:
        pairs = pairs_of(variants, found.runs, ask.versus)
    compared = replace(found, runs=[run for run in found.runs if run.variant in variants])
    is_judged = False
    if not found.against and (chose := tuning_seeds(found.runs)):
        fresh = [run for run in compared.runs if run.seed not in chose]
        is_judged = bool(fresh)
        # Without one there are numbers, and no verdict.
        compared, pairs = (replace(found, runs=fresh), pairs) if fresh else (compared, [])

    def by(measure: Measure) -> MeasureComparison:
        chosen_on = bool(chosen) and not is_judged and measure.metric.split == "val"
        found_by = compare_by(measure, compared.runs, pairs, is_sequential=found.is_sequential)
        return replace(found_by, chosen_on=chosen_on)

    return Comparison(
        found.name,
        variants,
        [by(measure) for measure in measures],
        [compare_by(measure, compared.runs, [], is_sequential=found.is_sequential) for measure in _finals(found)],
        _convergence(compared, by, ask.metrics or [measure.metric.name for measure in measures], ask.threshold),
        _stability(compared, by, ask.window),
        sensitivity,
        {run.variant: run.label for run in found.runs} | (sensitivity.labels if sensitivity else {}),
        tuning_of(found.runs, sensitivity),
    )


def _called(versus: str | None, runs: Sequence[LoadedRun], variants: Collection[str]) -> str | None:
    """The variant of a name or label; raises UserError if it is none of these variants."""
    names = {run.label: run.variant for run in runs} | {name: name for name in variants}
    if versus is not None and names.get(versus) not in variants:
        raise UserError(f"{versus or repr(versus)}: no such variant; valid: {', '.join(variants)}")
    return None if versus is None else names[versus]


def _first(names: Sequence[str], there: Collection[str]) -> str | None:
    return next((name for name in names if name in there), None)


def _measures(found: ExperimentRuns, ask: Ask) -> list[Measure]:
    """What the experiment is about, or the metrics asked for."""
    available = found.metric_names
    default: Literal["best", "last"] = ask.at or ("last" if validates_on_test(found.runs) else "best")
    if ask.metrics is not None:
        names = _checked(ask.metrics, available)
        return [metric_at(found.metric(name), default) for name in dict.fromkeys(names)]
    test = _first(TESTS, available)
    tests = [metric_at(found.metric(test), default)] if test else []
    claims = [claim for claim in claims_of(found.runs) if claim.measure.metric in available]
    places = [ask.at or (claim.at if claim.measure.kind == "value" else default) for claim in claims]
    measures = [metric_at(found.metric(claim.measure.metric), at) for claim, at in zip(claims, places, strict=True)]
    if not measures:
        measures = [metric_at(found.metric(_first(LOSSES, available) or LOSSES[-1]), default)]
    if not any(measure.metric.split == "test" for measure in measures):
        measures += tests
    return list({measure.name: measure for measure in measures}.values())


def _finals(found: ExperimentRuns) -> list[Measure]:
    names = [name for name in FINALS if name in found.metric_names]
    return [metric_at(found.metric(name), at) for name in names for at in ENDS]


def _checked(metrics: object, available: Sequence[str]) -> Sequence[str]:
    """The metrics asked for. Raises UserError if they are none, or not there."""
    if not isinstance(metrics, Sequence) or isinstance(metrics, bytes) or not metrics:
        raise UserError(f"metric={metrics!r}: must be a metric or several; valid: {', '.join(available)}")
    for name in metrics:
        if name not in available:
            raise UserError(f"{name or repr(name)}: no run has this metric; valid: {', '.join(available)}")
    return metrics


def _convergence(
    found: ExperimentRuns,
    by: Callable[[Measure], MeasureComparison],
    metrics: Sequence[str],
    threshold: float | None,
) -> Convergence | None:
    name = _first((*metrics, *LOSSES), found.columns)
    if name is None:
        return None
    metric, leader = found.metric(name), None
    ended = [run for run in found.runs if run.status.has_value and finite_values(run, metric)]
    if not ended:
        return None
    if threshold is None:
        threshold = _claimed_threshold(found, name)
    if threshold is None:
        leader, threshold = _half_way(metric, ended)
    ends = shared_epochs(found.runs, metric)
    return Convergence(
        metric,
        threshold,
        leader,
        by(time_to(metric, threshold, "epoch")),
        by(time_to(metric, threshold, "step")),
        by(time_to(metric, threshold, "second")),
        by(area(metric, *ends)) if ends else None,
    )


def _claimed_threshold(found: ExperimentRuns, metric: str) -> float | None:
    """That of the first claim about the time to reach one."""
    named = [claim.measure for claim in claims_of(found.runs)]
    return next((of.threshold for of in named if of.kind == "time" and of.metric == metric), None)


def _half_way(metric: Metric, ended: Sequence[LoadedRun]) -> tuple[str, float]:
    """The variant with the best mean of its seeds' best values, and half-way to it from that of their first ones.

    One variant sets it, so that others that learn nothing cannot make it chance; half-way, so that those of its
    seeds that end a little worse get there as well.
    """
    best = max if metric.higher_is_better else min
    values: dict[str, list[list[float]]] = {}
    for run in ended:
        values.setdefault(run.variant, []).append(finite_values(run, metric))
    reached = {variant: float(np.mean([best(of) for of in seeds])) for variant, seeds in values.items()}
    leader = best(reached, key=lambda variant: reached[variant])
    first = float(np.mean([of[0] for of in values[leader]]))
    return leader, (first + reached[leader]) / 2


def _stability(
    found: ExperimentRuns, by: Callable[[Measure], MeasureComparison], window: int
) -> MeasureComparison | None:
    name, over = _first(("val/accuracy", *LOSSES), found.columns), spread_window(found.runs, window)
    return by(spread(found.metric(name), over)) if name and over else None
