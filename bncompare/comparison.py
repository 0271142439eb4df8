"""The comparison: what the runs of an experiment say about its variants, as numbers and in plain words.

The rules of a verdict, for a pair of variants and a measure:

- Variants are compared seed by seed. A variant is *better* where the paired t-test, corrected for the number of pairs
  shown (Holm), gives p < 0.05; for a single pair that is where the 95 % t-interval of the mean difference leaves
  out 0. Else *no difference can be told*, which is not a proof that there is none.
- Where a run diverged, or never reached a threshold, there is no mean to compare: it counts as worse than any value,
  and the exact sign test over the seeds decides in place of the t-test. It cannot decide with fewer than six seeds.
  It also decides where all differences are the same number, as whole epochs may be: that is no spread to judge by.
- A run that failed or is not finished says nothing; the others decide, and its absence is said.
- One seed has no interval, so there is no verdict.
- The exact sign-flip p, which assumes no normal distribution, stands beside it with the least that so many seeds can
  give; Holm's correction is not on it, because with few seeds no correction could leave it below 0.05.
- Measures are not corrected for one another: each answers a question of its own.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bncompare.claims import claims_of
from bncompare.config.expansion import setting_label
from bncompare.config.schema import is_better_high
from bncompare.errors import UserError
from bncompare.measures import Measure, area, at_evaluation, spread, time_to
from bncompare.results import LoadedRun
from bncompare.statistics import (
    Paired,
    Summary,
    compare_paired,
    holm,
    probability_better,
    seeds_needed,
    sign_test_p,
    summarize,
)

ALPHA = 0.05
MAX_VARIANTS_IN_ALL_PAIRS = 4  # 6 pairs; more variants are compared with the baseline alone

MAX_SENTENCES = 6  # of pairs, one by one

Verdict = Literal["better", "worse", "undecided", "not judged"]


@dataclass(frozen=True)
class VariantSummary:
    """A measure over the seeds of one variant."""

    variant: str
    num_runs: int
    values: dict[int, float]
    """by seed, of the runs that have one"""
    summary: Summary | None
    """of these values; None if there are none"""
    missing: dict[str, int]
    """how many runs have none, by the reason: diverged, never reached, failed, unfinished, no value"""


@dataclass(frozen=True)
class Pair:
    """Two variants by a measure, over the seeds they share; differences are a − b."""

    a: str
    b: str
    n: int
    """shared seeds with an outcome on both sides: a value, or a run that diverged or never got there"""
    differences: dict[int, float]
    """by seed, where both have a value"""
    paired: Paired | None
    """what statistics say of these differences; None if there are none"""
    probability_better: float | None
    """of a over b, ties as half; a run that diverged or never got there is worse than any other"""
    decided_by: Literal["t-test", "sign test"] | None
    """None with fewer than two seeds"""
    p: float | None
    """of the test that decides"""
    holm_p: float | None
    """that p, corrected for the number of pairs of this measure"""
    seeds_needed: int | None
    """with which a t-test would tell a difference of the observed size and spread, with power 0.8; None where the
    verdict stands, the sign test decides, or no number would do"""
    verdict: Verdict
    """of a against b"""
    statement: str
    """the verdict in plain words"""
    evidence: str
    """the numbers that decide it, and what would where they do not"""

    @property
    def sentence(self) -> str:
        """Both in one."""
        return f"{self.statement} ({self.evidence})" if self.evidence else self.statement


@dataclass(frozen=True)
class MeasureComparison:
    """All variants by one measure."""

    name: str
    """such as `val/loss at the best evaluation`"""
    metric: str
    higher_is_better: bool
    variants: list[VariantSummary]
    pairs: list[Pair]


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


# ---------------------------------------------------------------- experiments


@dataclass(frozen=True)
class ExperimentRuns:
    """Runs that belong together: one folder, one name, and all settings equal but those that are compared."""

    name: str
    folder: Path
    runs: list[LoadedRun]
    apart: dict[str, Any] = field(default_factory=dict)
    """dotted keys that tell it from others of that name in that folder, trained with other settings"""

    @property
    def title(self) -> str:
        """The name, with what sets it apart."""
        return self.name + self._suffix

    @property
    def place(self) -> str:
        """The folder, likewise."""
        return str(self.folder) + self._suffix

    @property
    def _suffix(self) -> str:
        more = ", ".join(
            f"{key}={json.dumps(value, default=str, ensure_ascii=False)}" for key, value in self.apart.items()
        )
        return f" ({more})" if more else ""


def experiments(runs: Sequence[LoadedRun]) -> list[ExperimentRuns]:
    """The experiments that runs belong to, in the order of the runs."""
    found = []
    for name, folder in dict.fromkeys((run.experiment, run.path.parent) for run in runs):
        members = [run for run in runs if (run.experiment, run.path.parent) == (name, folder)]
        compared = {key for run in members for key in settings_of(run)}
        groups: dict[str, list[LoadedRun]] = {}
        setups: dict[str, dict[str, Any]] = {}
        for run in members:
            setup = _shared_setup(run.config, compared)
            digest = json.dumps(setup, sort_keys=True, default=str)
            groups.setdefault(digest, []).append(run)
            setups[digest] = setup
        differing = {
            key
            for setup in setups.values()
            for key in setup
            if any(key not in other or other[key] != setup[key] for other in setups.values())
        }
        for digest, group in groups.items():
            apart = {key: value for key, value in setups[digest].items() if key in differing}
            found.append(ExperimentRuns(name, folder, group, apart))
    return found


def settings_of(run: LoadedRun) -> dict[str, Any]:
    """The dotted keys that a run's variant sets."""
    settings: dict[str, Any] = run.config["variant"].get("settings", {})
    return settings


_NOT_DECISIVE = ("name", "variant", "seeds", "claims", "data.dir", "training.device")


def _shared_setup(config: dict[str, Any], compared: set[str]) -> dict[str, Any]:
    """What decides the numbers beside the seed and the settings that are compared, by dotted key."""
    left_out = {*_NOT_DECISIVE, *compared}
    return {
        key: value
        for key, value in flatten(config).items()
        if not any(key == part or key.startswith(f"{part}.") for part in left_out)
    }


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat


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
    hyperparameters each norm stands with the hyperparameters that the validation set chooses.

    Raises UserError for runs of several experiments, and for a metric or variant that no run has.
    """
    found = experiments(runs)
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
    metrics = [metric] if isinstance(metric, str) else metric
    measures = _measures(runs, metrics, at)
    sensitivity = sensitivity_of(runs, measures[0])
    variants = list(dict.fromkeys(run.variant for run in runs))
    if sensitivity is not None and sensitivity.is_fair:
        variants = [candidate.variant for candidate in sensitivity.candidates if candidate.is_chosen]
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
        [compare_by(measure, runs, pairs) for measure in measures],
        _convergence(runs, pairs, metrics or [measure.metric for measure in measures], threshold),
        _stability(runs, pairs, window),
        sensitivity,
    )


def compare_by(measure: Measure, runs: Sequence[LoadedRun], pairs: Sequence[tuple[str, str]]) -> MeasureComparison:
    """Summaries of a measure for every variant among the runs, and the pairs (a, b) of them."""
    outcomes: dict[str, dict[int, float | None]] = {}
    for run in runs:
        outcomes.setdefault(run.variant, {}).setdefault(run.seed, measure.value(run))
    variants = []
    for variant, by_seed in outcomes.items():
        values = {seed: value for seed, value in by_seed.items() if value is not None and math.isfinite(value)}
        missing: dict[str, int] = {}
        for run in runs:
            if run.variant == variant and run.seed not in values:
                reason = _why_missing(run, by_seed[run.seed])
                missing[reason] = missing.get(reason, 0) + 1
        summary = summarize(list(values.values())) if values else None
        variants.append(VariantSummary(variant, len(by_seed), values, summary, missing))
    drafts = [_draft(measure, a, b, outcomes[a], outcomes[b]) for a, b in pairs]
    corrected = iter(holm([draft.p for draft in drafts if draft.p is not None]))
    family = sum(draft.p is not None for draft in drafts)
    judged = [_judge(draft, measure, None if draft.p is None else next(corrected), family) for draft in drafts]
    return MeasureComparison(measure.name, measure.metric, measure.higher_is_better, variants, judged)


def _why_missing(run: LoadedRun, value: float | None) -> str:
    if run.status in ("diverged", "failed", "unfinished"):
        return run.status
    return "no value" if value is None else "never reached"


@dataclass(frozen=True)
class _Draft:
    """A pair before the correction for the number of pairs."""

    a: str
    b: str
    shared: list[int]
    """seeds with an outcome on both sides"""
    differences: dict[int, float]
    paired: Paired | None
    wins: int
    losses: int
    lost_a: int
    lost_b: int
    """runs of a and of b, among those seeds, that diverged or never got there"""
    p: float | None
    uses_t_test: bool


def _draft(measure: Measure, a: str, b: str, of_a: dict[int, float | None], of_b: dict[int, float | None]) -> _Draft:
    outcomes = {
        seed: (x, y) for seed, x in sorted(of_a.items()) if x is not None and (y := of_b.get(seed)) is not None
    }
    finite = {seed: both for seed, both in outcomes.items() if all(map(math.isfinite, both))}
    paired = None
    if finite:
        first, second = zip(*finite.values(), strict=True)
        random = np.random.default_rng(0)
        paired = compare_paired(first, second, higher_is_better=measure.higher_is_better, random=random)
    wins, losses = sum(x > y for x, y in outcomes.values()), sum(x < y for x, y in outcomes.values())
    if not measure.higher_is_better:
        wins, losses = losses, wins
    lost_a, lost_b = (sum(math.isinf(both[i]) for both in outcomes.values()) for i in (0, 1))
    p, uses_t_test = None, False
    if len(outcomes) >= 2:
        uses_t_test = paired is not None and not lost_a + lost_b and _has_spread(paired.difference)
        p = paired.t_test_p if paired and uses_t_test else sign_test_p(wins, losses)
    differences = {seed: x - y for seed, (x, y) in finite.items()}
    return _Draft(a, b, list(outcomes), differences, paired, wins, losses, lost_a, lost_b, p, uses_t_test)


def _has_spread(differences: Summary) -> bool:
    """Whether they differ by more than rounding."""
    return differences.sd > 1e-9 * abs(differences.mean)


def _judge(draft: _Draft, measure: Measure, holm_p: float | None, family: int) -> Pair:
    """Verdict and sentence of a pair, by the rules at the top of this module."""
    a, b, n, paired = draft.a, draft.b, len(draft.shared), draft.paired
    ties = n - draft.wins - draft.losses
    decided_by: Literal["t-test", "sign test"] | None = None
    verdict: Verdict = "not judged"
    needed = None
    if holm_p is not None:
        decided_by = "t-test" if draft.uses_t_test else "sign test"
        verdict = "undecided"
        if holm_p < ALPHA:
            mean = paired.difference.mean if paired and draft.uses_t_test else 0.0
            ahead = (mean > 0) == measure.higher_is_better if mean else draft.wins > draft.losses
            verdict = "better" if ahead else "worse"
        elif paired and draft.uses_t_test:
            needed = seeds_needed(paired.difference.mean, paired.difference.sd, alpha=ALPHA / family)
            needed = needed and max(needed, n + 1)
    return Pair(
        a,
        b,
        n,
        draft.differences,
        paired,
        probability_better(draft.wins, ties, n) if n else None,
        decided_by,
        draft.p,
        holm_p,
        needed,
        verdict,
        *_words(draft, measure, verdict, decided_by, holm_p, family, needed),
    )


def _words(
    draft: _Draft,
    measure: Measure,
    verdict: Verdict,
    decided_by: Literal["t-test", "sign test"] | None,
    holm_p: float | None,
    family: int,
    needed: int | None,
) -> tuple[str, str]:
    """Statement and evidence."""
    a, b, n = draft.a, draft.b, len(draft.shared)
    if n == 0:
        return f"{a} and {b} cannot be compared: no seed has a value for both", ""
    if n == 1:
        gaps = [f"{a} − {b} is {difference:.3g} with it" for difference in draft.differences.values()]
        return f"{a} and {b} share one seed: no interval, so no verdict", "".join(gaps)
    if verdict == "worse":
        a, b = b, a
    corrected = f", Holm p = {holm_p:.2g} of {family} pairs" if family > 1 else ""
    if decided_by == "sign test":
        wins, losses = sorted((draft.wins, draft.losses), reverse=True)
        if wins == 0 and len(draft.differences) == n:
            return f"{a} and {b} are equal with all {n} seeds", ""
        lost = (
            ", ".join(
                f"{name} {'never got there' if measure.better == 'faster' else 'diverged'} with {number}"
                for name, number in ((draft.a, draft.lost_a), (draft.b, draft.lost_b))
                if number
            )
            or f"{draft.a} − {draft.b} is {draft.differences[draft.shared[0]]:.4g} with each"
        )
        evidence = f"{lost}; n = {n}, exact sign test p = {draft.p:.2g}{corrected}"
        if verdict != "undecided":
            return f"{a} is {measure.better} than {b} with {wins} of {n} seeds", evidence
        return f"no difference between {a} and {b} can be told: {wins} of {n} seeds to {losses}", evidence
    assert draft.paired is not None
    difference = draft.paired.difference
    sign = -1 if verdict == "worse" else 1
    if verdict != "undecided" and not measure.higher_is_better:
        sign = -sign  # better by a positive amount
    low, high = sorted((sign * difference.low, sign * difference.high))
    mean, low_text, high_text = (rounded(value, (high - low) / 2) for value in (sign * difference.mean, low, high))
    p, least = draft.paired.sign_flip_p, draft.paired.smallest_p
    floor = f", the least that {n} seeds can give" if p == least > ALPHA else ""
    evidence = f"95 % interval {low_text} to {high_text}, n = {n}, sign-flip p = {p:.2g}{floor}{corrected}"
    if verdict != "undecided":
        return f"{a} is {measure.better} than {b} by {mean}", evidence
    among = f" among {family} pairs" if low * high > 0 else ""
    more = "" if needed is None else f"; about {needed} seeds would tell a difference of this size"
    return f"no difference between {a} and {b} can be told{among}: {a} − {b} is {mean}", evidence + more


def rounded(value: float, spread: float) -> str:
    """A number with as many decimals as its spread has two significant digits; `g` where that makes no sense."""
    if not (math.isfinite(value) and math.isfinite(spread)) or spread <= 0 or not 1e-7 <= spread < 1e7:
        return f"{value:.4g}"
    return f"{value:.{max(0, 1 - math.floor(math.log10(spread)))}f}"


def verdict_lines(comparison: MeasureComparison) -> list[tuple[str, str]]:
    """Statement and evidence of each pair; of more than six pairs a line for each kind of verdict."""
    pairs = comparison.pairs
    if not pairs:
        return [("there is a single variant, and nothing to compare it with", "")]
    if len(pairs) <= MAX_SENTENCES:
        return [(pair.statement, pair.evidence) for pair in pairs]
    lines = []
    for base in dict.fromkeys(pair.b for pair in pairs):
        for verdict, words in (
            ("better", f"better than {base}"),
            ("worse", f"worse than {base}"),
            ("undecided", f"no difference from {base} can be told"),
            ("not judged", f"not to be compared with {base}"),
        ):
            names = [pair.a for pair in pairs if pair.b == base and pair.verdict == verdict]
            if names:
                lines.append((f"{words}: {', '.join(names)}", ""))
    return lines


# ---------------------------------------------------------------- what to compare


def _measures(
    runs: Sequence[LoadedRun], metrics: Sequence[str] | None, at: Literal["best", "last"] | None
) -> list[Measure]:
    """What the experiment is about, or the metrics asked for."""
    available = list(dict.fromkeys(name for run in runs for name in available_metrics(run)))
    default = at or ("last" if validates_on_test(runs) else "best")
    if metrics is not None:
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


def available_metrics(run: LoadedRun) -> list[str]:
    """The metrics a run has: columns of metrics.csv, and those of the test."""
    columns = [name for name in run.metrics if name not in ("epoch", "step", "lr")]
    ends = [(run.result or {}).get(key) or {} for key in ("best", "last")]
    tests = sorted({name for end in ends for name in end if name.startswith("test/")})
    return [*columns, *tests]


def validates_on_test(runs: Sequence[LoadedRun]) -> bool:
    """Whether the validation set is the test set."""
    return any(flatten(run.config).get("data.validation") == "test" for run in runs)


def baseline(runs: Sequence[LoadedRun], variants: Sequence[str]) -> str:
    """The first variant without a norm, else the first."""
    norms = {run.variant: flatten(run.config).get("model.norm.kind") for run in reversed(runs)}
    return next((variant for variant in variants if norms[variant] == "none"), variants[0])


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
