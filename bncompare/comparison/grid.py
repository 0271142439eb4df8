"""A grid of norms and hyperparameters: what validation chooses in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bncompare.comparison.measures import Measure, metric_at
from bncompare.comparison.verdicts import VariantSummary, compare_by
from bncompare.config import Metric, flatten, made_label, norm_name, setting_words
from bncompare.runs import ExperimentRuns, LoadedRun, baseline, settings_of, validates_on_test

MAX_VARIANTS_IN_ALL_PAIRS = 4  # 6 pairs; more variants are compared with the baseline alone
AT_EQUAL = "norms are compared at equal hyperparameters"


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
    """in words"""
    by: Measure
    metric: Metric
    candidates: list[Candidate]
    is_fair: bool
    """whether the validation set could choose; if not, norms are compared at equal hyperparameters"""
    notes: list[str]
    """what was chosen of how many, and by what"""
    warnings: list[str]
    """why nothing could be chosen, or may be so with a wider grid"""

    labels: dict[str, str]
    """of the norms, as made from their settings, by the names that people use"""

    @property
    def has_norms(self) -> bool:
        """Whether it is of several norms, among which to choose for each."""
        return len({candidate.norm for candidate in self.candidates}) > 1


def pairs_of(variants: Sequence[str], runs: Sequence[LoadedRun], versus: str | None) -> list[tuple[str, str]]:
    """(a, b): all of them, the baseline as b, or with many variants each with the baseline alone."""
    base = versus or baseline(runs, variants)
    others = [variant for variant in variants if variant != base]
    pairs = [(other, base) for other in others]
    if versus is None and len(variants) <= MAX_VARIANTS_IN_ALL_PAIRS:
        pairs += [(later, earlier) for i, earlier in enumerate(others) for later in others[i + 1 :]]
    return pairs


def sensitivity_of(found: ExperimentRuns, measure: Measure) -> Sensitivity | None:
    """The grid of hyperparameters, if the variants are one: all set the same keys, some of them not of the norm.

    The choice, among the variants of equal norm, is of the one with the best mean over the seeds on the validation
    set at the best evaluation, where a run without a value (diverged, unfinished) counts as worse than any. Without
    a validation set of its own, or with a single norm, the table is of `measure` and nothing is chosen.
    """
    runs = found.runs
    settings = {run.variant: settings_of(run) for run in runs}
    keys = list(next(iter(settings.values())))
    if any(set(of_variant) != set(keys) for of_variant in settings.values()):
        return None
    norm_keys = [key for key in keys if key == "model.norm" or key.startswith("model.norm.")]
    others = [key for key in keys if key not in norm_keys]
    norms = {run.variant: norm_name(run.config, settings[run.variant]) for run in runs}
    labels = {norms[v]: made_label({key: of[key] for key in norm_keys}) for v, of in settings.items()}
    if not others or len(set(norms.values())) == len(norms):
        return None
    hyperparameters = {variant: {key: of[key] for key in others} for variant, of in settings.items()}
    several = len(set(norms.values())) > 1
    why_not = _why_unfair(found) if several else None
    is_fair = several and why_not is None
    warnings = [] if why_not is None else [f"no fair choice is possible: {why_not}; {AT_EQUAL}"]
    if is_fair:
        measure = metric_at(_monitored(found), "best")
    results = {result.variant: result for result in compare_by(measure, runs, []).variants}
    chosen, notes = [], []
    for norm in dict.fromkeys(norms.values()) if is_fair else ():
        members = [variant for variant in norms if norms[variant] == norm]
        best = min(members, key=lambda variant: _rank(results[variant], measure))
        chosen.append(best)
        words = ", ".join(setting_words(key, value) for key, value in hyperparameters[best].items())
        notes.append(f"{norm}: {words} chosen of {len(members)} by {measure.words}")
        values = [settings[variant][others[0]] for variant in members]
        if len(others) == 1 and _is_end(settings[best][others[0]], values):
            warnings.append(f"{norm}: {words} is the end of the grid, so a wider one may do better")
    candidates = [
        Candidate(variant, norms[variant], of, results[variant], variant in chosen)
        for variant, of in hyperparameters.items()
    ]
    return Sensitivity(others, measure.words, measure, measure.metric, candidates, is_fair, notes, warnings, labels)


def _why_unfair(found: ExperimentRuns) -> str | None:
    """Why the validation set cannot choose."""
    if validates_on_test(found.runs):
        return "the validation set is the test set, on which nothing may be chosen"
    return None if "val/loss" in found.columns else "there is no validation set to choose on"


def _monitored(found: ExperimentRuns) -> Metric:
    """The metric of the validation set that training monitors, by default the loss."""
    monitor = flatten(found.runs[0].config).get("training.monitor")
    is_accuracy = monitor == "val/accuracy" and monitor in found.columns
    return found.metric("val/accuracy" if is_accuracy else "val/loss")


def _rank(result: VariantSummary, measure: Measure) -> tuple[int, float]:
    """For sorting, best first."""
    mean = result.summary.mean if result.summary else math.inf
    return sum(result.missing.values()), -mean if measure.higher_is_better else mean


def _is_end(value: Any, values: Sequence[Any]) -> bool:
    """Whether a value is the least or the greatest of a range of numbers."""
    return all(isinstance(x, int | float) for x in values) and value in (min(values), max(values))


def pairs_at_equal_settings(
    sensitivity: Sensitivity, runs: Sequence[LoadedRun], versus: str | None
) -> list[tuple[str, str]]:
    """Pairs of norms at the same hyperparameters."""
    by_setting: dict[str, list[str]] = {}
    for candidate in sensitivity.candidates:
        by_setting.setdefault(repr(candidate.setting), []).append(candidate.variant)
    groups = [group for group in by_setting.values() if versus is None or versus in group]
    return [pair for group in groups for pair in pairs_of(group, runs, versus)]
