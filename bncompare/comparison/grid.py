"""A grid of norms and hyperparameters: what validation chooses in it."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bncompare.comparison.measures import Measure, metric_at
from bncompare.comparison.verdicts import VariantSummary, compare_by
from bncompare.config import Metric, flatten, made_label, norm_name, setting_words
from bncompare.errors import UserError
from bncompare.runs import ExperimentRuns, LoadedRun, baseline, settings_of, validates_on_test

MAX_VARIANTS_IN_ALL_PAIRS = 4  # 6 pairs; more variants are compared with the baseline alone
AT_EQUAL = "norms are compared at equal hyperparameters"

Edges = dict[str, Literal["lowest", "highest"]]  # by hyperparameter


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
    edges: Edges = field(default_factory=dict)
    """of the chosen: the hyperparameters of which it has an end of the grid, so that a wider one may do better"""


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
    """why nothing could be chosen"""
    labels: dict[str, str]
    """of the norms, as made from their settings, by the names that people use"""
    within: str | None = None
    """the hyperparameter at each value of which it was chosen"""

    @property
    def has_norms(self) -> bool:
        """Whether it is of several norms, among which to choose for each."""
        return len({candidate.norm for candidate in self.candidates}) > 1

    @property
    def conditions(self) -> dict[str, list[Candidate]]:
        """The chosen at each value of `within`, such as `batch size 4`; none without it."""
        found: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            if self.within is not None and candidate.is_chosen:
                label = setting_words(self.within, candidate.setting[self.within])
                found.setdefault(label, []).append(candidate)
        return found


def pairs_of(variants: Sequence[str], runs: Sequence[LoadedRun], versus: str | None) -> list[tuple[str, str]]:
    """(a, b): all of them, the baseline as b, or with many variants each with the baseline alone."""
    base = versus or baseline(runs, variants)
    others = [variant for variant in variants if variant != base]
    pairs = [(other, base) for other in others]
    if versus is None and len(variants) <= MAX_VARIANTS_IN_ALL_PAIRS:
        pairs += [(later, earlier) for i, earlier in enumerate(others) for later in others[i + 1 :]]
    return pairs


def sensitivity_of(found: ExperimentRuns, measure: Measure, within: str | None = None) -> Sensitivity | None:
    """The grid of hyperparameters, if the variants are one: all set the same keys, some of them not of the norm.

    The choice, among the variants of equal norm (and of an equal value of `within`), is of the one with the best mean
    over the seeds on the validation set at the best evaluation, where a run without a value (diverged, unfinished)
    counts as worse than any. Without a validation set of its own, or with a single norm, the table is of `measure`
    and nothing is chosen. Raises UserError where no grid of norms has `within`.
    """
    grid = _grid(found.runs)
    several = len(set(grid.norms.values())) > 1
    if within is not None and (within not in grid.keys or not several):
        valid = f"valid: {', '.join(grid.keys)}" if several and grid.keys else "the variants are no such grid"
        hint = (
            next((f"; did you mean {key}?" for key in grid.keys if key.endswith(f".{within}")), "") if several else ""
        )
        raise UserError(f"{within or repr(within)}: no hyperparameter of a grid of norms; {valid}{hint}")
    if not grid.keys or len(set(grid.norms.values())) == len(grid.norms):
        return None
    why_not = _why_unfair(found) if several else None
    is_fair = several and why_not is None
    if is_fair:
        measure = metric_at(_monitored(found), "best")
    results = {
        result.variant: result
        for result in compare_by(measure, found.runs, [], is_sequential=found.is_sequential).variants
    }
    chosen: dict[str, Edges] = {}
    notes = []
    for (norm, condition), members in grid.groups(within).items() if is_fair else ():
        best = min(members, key=lambda variant: _rank(results[variant], measure))
        setting = grid.settings[best]
        chosen[best] = _edges(setting, [grid.settings[variant] for variant in members])
        words = ", ".join(setting_words(key, value) for key, value in setting.items() if key != within)
        if words:
            where = f"{norm} at {condition}" if condition else norm
            notes.append(f"{where}: {words} chosen of {len(members)} by {measure.words}")
    candidates = [
        Candidate(variant, grid.norms[variant], of, results[variant], variant in chosen, chosen.get(variant, {}))
        for variant, of in grid.settings.items()
    ]
    warnings = [] if why_not is None else [f"no fair choice is possible: {why_not}; {AT_EQUAL}"]
    return Sensitivity(
        grid.keys, measure.words, measure, measure.metric, candidates, is_fair, notes, warnings, grid.labels, within
    )


@dataclass(frozen=True)
class _Grid:
    """Variants as norms and hyperparameters."""

    keys: list[str]
    """of the hyperparameters; none where not all variants set the same keys"""
    norms: dict[str, str]
    settings: dict[str, dict[str, Any]]
    """the hyperparameters of each variant"""
    labels: dict[str, str]
    """of the norms, as made from their settings"""

    def groups(self, within: str | None) -> dict[tuple[str, str], list[str]]:
        """Among which variants to choose: by norm, and by the value of `within` in words."""
        found: dict[tuple[str, str], list[str]] = {}
        for variant, norm in self.norms.items():
            condition = setting_words(within, self.settings[variant][within]) if within else ""
            found.setdefault((norm, condition), []).append(variant)
        return found


def _grid(runs: Sequence[LoadedRun]) -> _Grid:
    settings = {run.variant: settings_of(run) for run in runs}
    keys = list(next(iter(settings.values())))
    is_grid = all(set(of_variant) == set(keys) for of_variant in settings.values())
    norm_keys = [key for key in keys if key == "model.norm" or key.startswith("model.norm.")] if is_grid else []
    others = [key for key in keys if key not in norm_keys] if is_grid else []
    norms = {run.variant: norm_name(run.config, settings[run.variant]) for run in runs}
    labels = {norms[v]: made_label({key: of[key] for key in norm_keys}) for v, of in settings.items()}
    hyperparameters = {variant: {key: of[key] for key in others} for variant, of in settings.items()}
    return _Grid(others, norms, hyperparameters, labels)


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


def _edges(chosen: dict[str, Any], members: Collection[dict[str, Any]]) -> Edges:
    """The hyperparameters of which the chosen setting has the least or the greatest of several numbers."""
    found: Edges = {}
    for key, value in chosen.items():
        values = [of[key] for of in members]
        are_numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
        if are_numbers and min(values) < max(values) and value in (min(values), max(values)):
            found[key] = "lowest" if value == min(values) else "highest"
    return found


def pairs_in(sensitivity: Sensitivity, runs: Sequence[LoadedRun], versus: str | None) -> list[tuple[str, str]]:
    """Pairs of norms: of the chosen (at an equal value of `within`), else at equal hyperparameters."""
    groups: dict[str, list[str]] = {}
    for candidate in sensitivity.candidates:
        equal = candidate.setting if not sensitivity.is_fair else candidate.setting.get(sensitivity.within or "")
        if candidate.is_chosen or not sensitivity.is_fair:
            groups.setdefault(repr(equal), []).append(candidate.variant)
    return [
        pair
        for group in groups.values()
        if versus is None or versus in group
        for pair in pairs_of(group, runs, versus)
    ]
