"""The comparison: what the runs of an experiment say about its variants, as numbers and in plain words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal

from bncompare.claims import claims_of
from bncompare.config.expansion import setting_label
from bncompare.config.schema import is_better_high
from bncompare.errors import UserError
from bncompare.grouping import ExperimentRuns, baseline, experiments, flatten, settings_of, validates_on_test
from bncompare.measures import Measure, area, at_evaluation, spread, time_to
from bncompare.results import LoadedRun
from bncompare.verdicts import MeasureComparison, VariantSummary, compare_by

MAX_VARIANTS_IN_ALL_PAIRS = 4  # 6 pairs; more variants are compared with the baseline alone


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
class Candidate:
    """One variant of a grid of norms and hyperparameters, by the metric that chooses."""

    variant: str
    norm: str
    """what it is a candidate for: the norm settings it shares with others; empty if the grid sets none"""
    setting: dict[str, Any]
    """the hyperparameters, by dotted key"""
    result: VariantSummary
    is_chosen: bool


@dataclass(frozen=True)
class Sensitivity:
    """A grid of norms and hyperparameters, and what was chosen in it on the validation set."""

    keys: list[str]
    """the hyperparameters, as dotted keys"""
    measure: str
    metric: str
    candidates: list[Candidate]
    is_fair: bool
    """whether the validation set could choose; if not, norms are compared at equal hyperparameters"""
    notes: list[str]
    """how it was chosen, or why it was not"""


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


# ---------------------------------------------------------------- comparing


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
        raise UserError(f"{versus}: no such variant; valid: {', '.join(variants)}")
    if sensitivity is not None and sensitivity.notes and not sensitivity.is_fair:
        pairs = _at_equal_settings(sensitivity, runs, versus)
    else:
        pairs = _pairs(variants, runs, versus)
    runs = [run for run in runs if run.variant in variants]
    return Comparison(
        experiment.name,
        variants,
        [
            replace(compare_by(measure, runs, pairs), chosen_on=bool(chosen) and "val/" in measure.metric)
            for measure in measures
        ],
        _convergence(runs, pairs, metrics or [measure.metric for measure in measures], threshold),
        _stability(runs, pairs, window),
        sensitivity,
    )


def _check_options(at: Any, threshold: Any, window: Any) -> None:
    """Raise UserError for what is none of the choices."""
    problems = []
    if at not in (None, "best", "last"):
        problems.append(f"at={at!r}: no such evaluation; valid: best, last")
    if threshold is not None and (
        isinstance(threshold, bool) or not isinstance(threshold, Real) or not math.isfinite(threshold)
    ):
        problems.append(f"threshold={threshold!r}: must be a finite number")
    if isinstance(window, bool) or not isinstance(window, Integral) or window < 2:
        problems.append(f"window={window!r}: must be a whole number of evaluations, at least 2")
    if problems:
        raise UserError(*problems)


# ---------------------------------------------------------------- what to compare


def _measures(
    runs: Sequence[LoadedRun], metrics: Sequence[str] | None, at: Literal["best", "last"] | None
) -> list[Measure]:
    """What the experiment is about, or the metrics asked for."""
    available = list(dict.fromkeys(name for run in runs for name in available_metrics(run)))
    default = at or ("last" if validates_on_test(runs) else "best")
    if metrics is not None:
        if not isinstance(metrics, Sequence) or not metrics:
            raise UserError(f"metric={metrics!r}: must be a metric or several; valid: {', '.join(available)}")
        for name in metrics:
            if name not in available:
                raise UserError(f"{name}: no run has this metric; valid: {', '.join(available)}")
        return [at_evaluation(name, default) for name in metrics]
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


def available_metrics(run: LoadedRun) -> list[str]:
    """The metrics a run has: columns of metrics.csv, and those of the test."""
    columns = [name for name in run.metrics if name not in ("epoch", "step", "lr")]
    ends = [(run.result or {}).get(key) or {} for key in ("best", "last")]
    tests = sorted({name for end in ends for name in end if name.startswith("test/")})
    return [*columns, *tests]


def _pairs(variants: Sequence[str], runs: Sequence[LoadedRun], versus: str | None) -> list[tuple[str, str]]:
    """(a, b): all of them, the baseline as b, or with many variants each with the baseline alone."""
    base = versus or baseline(runs, variants)
    others = [variant for variant in variants if variant != base]
    pairs = [(other, base) for other in others]
    if versus is None and len(variants) <= MAX_VARIANTS_IN_ALL_PAIRS:
        pairs += [(later, earlier) for i, earlier in enumerate(others) for later in others[i + 1 :]]
    return pairs


# ---------------------------------------------------------------- hyperparameters


def sensitivity_of(runs: Sequence[LoadedRun], measure: Measure) -> Sensitivity | None:
    """The grid of hyperparameters, if the variants are one: all set the same keys, some of them not of the norm.

    The choice, among the variants of equal norm, is of the one with the best mean over the seeds on the validation
    set at the best evaluation, where a run without a value (diverged, unfinished) counts as worse than any. Without
    a validation set of its own, or with a single norm, the table is of `measure` and nothing is chosen.
    """
    settings = {run.variant: settings_of(run) for run in runs}
    keys = list(next(iter(settings.values())))
    if any(set(of_variant) != set(keys) for of_variant in settings.values()):
        return None
    norm_keys = [key for key in keys if key == "model.norm" or key.startswith("model.norm.")]
    others = [key for key in keys if key not in norm_keys]
    norms = {variant: " ".join(setting_label(key, of[key]) for key in norm_keys) for variant, of in settings.items()}
    if not others or len(set(norms.values())) == len(norms):
        return None
    columns = {name for run in runs for name in run.metrics}
    notes, is_fair = [], False
    if len(set(norms.values())) > 1:
        why_not = "there is no validation set to choose on" if "val/loss" not in columns else None
        if validates_on_test(runs):
            why_not = "the validation set is the test set, on which nothing may be chosen"
        if why_not is None:
            is_fair = True
            monitor = flatten(runs[0].config).get("training.monitor")
            measure = at_evaluation(
                monitor if monitor in columns & {"val/loss", "val/accuracy"} else "val/loss", "best"
            )
        else:
            notes.append(f"no fair choice is possible: {why_not}; norms are compared at equal hyperparameters")
    results = {result.variant: result for result in compare_by(measure, runs, []).variants}
    chosen = []
    for norm in dict.fromkeys(norms.values()) if is_fair else ():
        members = [variant for variant in norms if norms[variant] == norm]
        best = min(members, key=lambda variant: _rank(results[variant], is_better_high(measure.metric)))
        chosen.append(best)
        words = ", ".join(setting_label(key, settings[best][key]) for key in others)
        edge = _edge([settings[variant][others[0]] for variant in members], settings[best][others[0]])
        edge = edge if len(others) == 1 else ""
        notes.append(f"{norm}: {words} chosen of {len(members)} by {measure.name}{edge}")
    candidates = [
        Candidate(variant, norms[variant], {key: of[key] for key in others}, results[variant], variant in chosen)
        for variant, of in settings.items()
    ]
    return Sensitivity(others, measure.name, measure.metric, candidates, is_fair, notes)


def _rank(result: VariantSummary, higher_is_better: bool) -> tuple[int, float]:
    """For sorting, best first."""
    mean = result.summary.mean if result.summary else math.inf
    return sum(result.missing.values()), -mean if higher_is_better else mean


def _edge(values: Sequence[Any], chosen: Any) -> str:
    """A warning where the value chosen is the end of a range of numbers."""
    if all(isinstance(value, int | float) for value in values) and chosen in (min(values), max(values)):
        return "; the end of the grid, so a wider one may do better"
    return ""


def _at_equal_settings(
    sensitivity: Sensitivity, runs: Sequence[LoadedRun], versus: str | None
) -> list[tuple[str, str]]:
    """Pairs of norms at the same hyperparameters."""
    by_setting: dict[str, list[str]] = {}
    for candidate in sensitivity.candidates:
        by_setting.setdefault(repr(candidate.setting), []).append(candidate.variant)
    groups = [group for group in by_setting.values() if versus is None or versus in group]
    return [pair for group in groups for pair in _pairs(group, runs, versus)]


# ---------------------------------------------------------------- convergence and stability


def _convergence(
    runs: Sequence[LoadedRun], pairs: Sequence[tuple[str, str]], metrics: Sequence[str], threshold: float | None
) -> Convergence | None:
    columns = {name for run in runs for name in run.metrics}
    metric = next((name for name in (*metrics, "val/loss", "train/loss") if name in columns), None)
    ended = [run for run in runs if run.status in ("completed", "stopped_early") and _finite(run, metric or "")]
    if metric is None or not ended:
        return None
    is_given = threshold is not None
    best, worst = (max, min) if is_better_high(metric) else (min, max)
    if threshold is None:
        threshold = worst(best(_finite(run, metric)) for run in ended)
    first, last = max(run.metrics["epoch"][0] for run in ended), min(run.metrics["epoch"][-1] for run in ended)
    return Convergence(
        metric,
        threshold,
        is_given,
        compare_by(time_to(metric, threshold, "epoch"), runs, pairs),
        compare_by(time_to(metric, threshold, "step"), runs, pairs),
        compare_by(time_to(metric, threshold, "second"), runs, pairs),
        compare_by(area(metric, first, last), runs, pairs) if first < last else None,
    )


def _finite(run: LoadedRun, metric: str) -> list[float]:
    return [value for value in run.metrics.get(metric, []) if math.isfinite(value)]


def _stability(
    runs: Sequence[LoadedRun], pairs: Sequence[tuple[str, str]], window: int
) -> MeasureComparison | None:  # fmt: skip
    """Over the last `window` evaluations, but no more than the second half of the shortest run; of 2 at least."""
    columns = {name for run in runs for name in run.metrics}
    metric = next((name for name in ("val/accuracy", "val/loss", "train/loss") if name in columns), None)
    lengths = [len(run.metrics["step"]) for run in runs if run.status in ("completed", "stopped_early")]
    window = min([window, *(length // 2 for length in lengths)])
    if metric is None or not lengths or window < 2:
        return None
    return compare_by(spread(metric, window), runs, pairs)
