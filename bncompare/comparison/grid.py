"""A grid of norms and hyperparameters: what validation chooses in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bncompare.comparison.measures import Measure, at_evaluation
from bncompare.comparison.verdicts import VariantSummary, compare_by
from bncompare.config import Metric, flatten, setting_label
from bncompare.runs import LoadedRun, baseline, settings_of, validates_on_test

MAX_VARIANTS_IN_ALL_PAIRS = 4  # 6 pairs; more variants are compared with the baseline alone


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
    """what was chosen of how many, and by what"""
    warnings: list[str]
    """why nothing could be chosen, or may be so with a wider grid"""

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
    notes, warnings, is_fair = [], [], False
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
            warnings.append(f"no fair choice is possible: {why_not}; norms are compared at equal hyperparameters")
    results = {result.variant: result for result in compare_by(measure, runs, []).variants}
    chosen = []
    for norm in dict.fromkeys(norms.values()) if is_fair else ():
        members = [variant for variant in norms if norms[variant] == norm]
        best = min(members, key=lambda variant: _rank(results[variant], Metric(measure.metric).higher_is_better))
        chosen.append(best)
        words = ", ".join(setting_label(key, settings[best][key]) for key in others)
        notes.append(f"{norm}: {words} chosen of {len(members)} by {measure.name}")
        values = [settings[variant][others[0]] for variant in members]
        if len(others) == 1 and _is_end(settings[best][others[0]], values):
            warnings.append(f"{norm}: {words} is the end of the grid, so a wider one may do better")
    candidates = [
        Candidate(variant, norms[variant], {key: of[key] for key in others}, results[variant], variant in chosen)
        for variant, of in settings.items()
    ]
    return Sensitivity(others, measure.name, measure.metric, candidates, is_fair, notes, warnings)


def _rank(result: VariantSummary, higher_is_better: bool) -> tuple[int, float]:
    """For sorting, best first."""
    mean = result.summary.mean if result.summary else math.inf
    return sum(result.missing.values()), -mean if higher_is_better else mean


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
