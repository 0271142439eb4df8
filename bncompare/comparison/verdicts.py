"""Variants by a measure: their values over the seeds, and for each pair a verdict, in numbers and in plain words.

The rules of a verdict, for a pair of variants and a measure:

- Variants are compared seed by seed. A variant is *better* where the paired t-test, corrected for the number of pairs
  shown (Holm), gives p < 0.05; for a single pair that is where the 95 % t-interval of the mean difference leaves
  out 0. Else *no difference can be told*, which is not a proof that there is none.
- Where a run diverged, or never reached a threshold, there is no mean to compare: it counts as worse than any value,
  and the exact sign test over the seeds decides in place of the t-test. It cannot decide with fewer than six seeds.
  It also decides where all differences are the same number, as whole epochs may be: that is no spread to judge by.
- A sign test of few seeds cannot give a small p, so the correction counts the pairs that could (Tarone; Hommel &
  Krummenauer). One that could decide nothing among the others has no corrected p: its sentence says that the seeds
  are too few for so many pairs, and how many would do.
- A run that failed or is not finished says nothing; the others decide, and its absence is said.
- One seed has no interval, so there is no verdict.
- The exact sign-flip p, which assumes no normal distribution, stands beside it with the least that so many seeds can
  give; Holm's correction is not on it, because with few seeds no correction could leave it below 0.05.
- Measures are not corrected for one another: each answers a question of its own.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bncompare.comparison.measures import Measure, Outcome
from bncompare.comparison.statistics import (
    Adjusted,
    Paired,
    Summary,
    compare_paired,
    difference,
    probability_better,
    seeds_needed,
    sign_test_p,
    smallest_n,
    summarize,
    tarone_holm,
)
from bncompare.runs import LoadedRun

ALPHA = 0.05
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
    """that p, corrected for the pairs of this measure that so many seeds could decide; None if it is none of them"""
    seeds_needed: int | None
    """with which a t-test would tell a difference of the observed size and spread, with power 0.8, or the sign test
    would decide if as many of them are on each side; None where the verdict stands or no number would do"""
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
    chosen_on: bool = False
    """whether it is of the validation set on which the hyperparameters were chosen, and so too good"""

    @property
    def title(self) -> str:
        """The name, with a mark if it was chosen on."""
        return f"{self.name} (the hyperparameters were chosen on it)" if self.chosen_on else self.name


def compare_by(measure: Measure, runs: Sequence[LoadedRun], pairs: Sequence[tuple[str, str]]) -> MeasureComparison:
    """Summaries of a measure for every variant among the runs, and the pairs (a, b) of them."""
    by_variant: dict[str, list[LoadedRun]] = {}
    for run in runs:
        by_variant.setdefault(run.variant, []).append(run)
    outcomes = {variant: measure.outcomes(members) for variant, members in by_variant.items()}
    variants = []
    for variant, by_seed in outcomes.items():
        values = {seed: outcome.value for seed, outcome in by_seed.items() if outcome.value is not None}
        values = {seed: value for seed, value in values.items() if math.isfinite(value)}
        missing = Counter(_why_missing(measure, of) for of in by_seed.values() if not of.is_finite)
        summary = summarize(list(values.values())) if values else None
        variants.append(VariantSummary(variant, len(by_seed), values, summary, dict(missing)))
    drafts = [_draft(measure, a, b, outcomes[a], outcomes[b]) for a, b in pairs]
    tested = [draft for draft in drafts if draft.p is not None]
    corrected = iter(_corrected(tested))
    judged = [_judge(draft, measure, None if draft.p is None else next(corrected), tested) for draft in drafts]
    return MeasureComparison(measure.name, measure.metric, measure.higher_is_better, variants, judged)


def _why_missing(measure: Measure, outcome: Outcome) -> str:
    if outcome.status in ("diverged", "failed", "unfinished"):
        return outcome.status
    return "no value" if outcome.value is None else measure.at_bad_end[0]


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

    def p_with(self, n: int) -> float:
        """That of a t-test as it is; of a sign test with n seeds, of which the same share is on each side."""
        return self.p if self.uses_t_test and self.p is not None else sign_test_p(*self._sides(n))

    def least_p_with(self, n: int) -> float:
        """The smallest p that the test can give with n seeds."""
        return 0.0 if self.uses_t_test else sign_test_p(sum(self._sides(n)), 0)

    def _sides(self, n: int) -> tuple[int, int]:
        """Wins and losses."""
        return round(n * self.wins / len(self.shared)), round(n * self.losses / len(self.shared))


def _corrected(tested: Sequence[_Draft], n: int | None = None) -> list[Adjusted]:
    """The p of each pair among the others, with the seeds there are or with n."""
    numbers = [(draft, n or len(draft.shared)) for draft in tested]
    return tarone_holm(
        [draft.p_with(m) for draft, m in numbers], [draft.least_p_with(m) for draft, m in numbers], ALPHA
    )


def _draft(measure: Measure, a: str, b: str, of_a: dict[int, Outcome], of_b: dict[int, Outcome]) -> _Draft:
    outcomes = {
        seed: (x, y)
        for seed in sorted(of_a.keys() & of_b.keys())
        if (x := of_a[seed].value) is not None and (y := of_b[seed].value) is not None
    }
    gaps = {seed: difference(x, y) for seed, (x, y) in outcomes.items()}
    finite = {seed: both for seed, both in outcomes.items() if all(map(math.isfinite, both))}
    paired = None
    if finite:
        first, second = zip(*finite.values(), strict=True)
        random = np.random.default_rng(0)
        paired = compare_paired(first, second, higher_is_better=measure.higher_is_better, random=random)
    wins, losses = sum(gap > 0 for gap in gaps.values()), sum(gap < 0 for gap in gaps.values())
    if not measure.higher_is_better:
        wins, losses = losses, wins
    lost_a, lost_b = (sum(math.isinf(both[i]) for both in outcomes.values()) for i in (0, 1))
    p, uses_t_test = None, False
    if len(outcomes) >= 2:
        uses_t_test = paired is not None and not lost_a + lost_b and paired.difference.has_spread
        p = paired.t_test_p if paired and uses_t_test else sign_test_p(wins, losses)
    differences = {seed: gaps[seed] for seed in finite}
    return _Draft(a, b, list(outcomes), differences, paired, wins, losses, lost_a, lost_b, p, uses_t_test)


def _judge(draft: _Draft, measure: Measure, corrected: Adjusted | None, tested: Sequence[_Draft]) -> Pair:
    """Verdict and sentence of a pair, by the rules at the top of this module."""
    a, b, n, paired = draft.a, draft.b, len(draft.shared), draft.paired
    ties = n - draft.wins - draft.losses
    decided_by: Literal["t-test", "sign test"] | None = None
    verdict: Verdict = "not judged"
    needed = None
    if corrected is not None:
        decided_by = "t-test" if draft.uses_t_test else "sign test"
        verdict = "undecided"
        if corrected.p < ALPHA:
            mean = paired.difference.mean if paired and draft.uses_t_test else 0.0
            ahead = (mean > 0) == measure.higher_is_better if mean else draft.wins > draft.losses
            verdict = "better" if ahead else "worse"
        elif paired and draft.uses_t_test:
            needed = seeds_needed(paired.difference.mean, paired.difference.sd, alpha=ALPHA / corrected.family)
            needed = needed and max(needed, n + 1)
        else:
            needed = _seeds_for_sign_test(draft, tested)
    holm_p = corrected.p if corrected is not None and corrected.could_decide else None
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
        *_words(draft, measure, verdict, decided_by, holm_p, len(tested), needed),
    )


def _seeds_for_sign_test(draft: _Draft, tested: Sequence[_Draft]) -> int | None:
    """Seeds with which it decides among the pairs, if the same share of them is on each side; None above 10,000."""
    if draft.wins == draft.losses:
        return None
    place = tested.index(draft)
    return smallest_n(lambda n: _corrected(tested, n)[place].p < ALPHA, above=len(draft.shared))


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
        gaps = [f"{a} − {b} is {gap:.3g} with it" for gap in draft.differences.values()]
        return f"{a} and {b} share one seed: no interval, so no verdict", "".join(gaps)
    if verdict == "worse":
        a, b = b, a
    corrected = "" if family == 1 or holm_p is None else f", Holm p = {holm_p:.2g} of {family} pairs"
    if decided_by == "sign test":
        wins, losses = sorted((draft.wins, draft.losses), reverse=True)
        if wins == 0 and len(draft.differences) == n:
            return f"{a} and {b} are equal with all {n} seeds", ""
        lost = (
            ", ".join(
                f"{name} {measure.at_bad_end[1]} with {number}"
                for name, number in ((draft.a, draft.lost_a), (draft.b, draft.lost_b))
                if number
            )
            or f"{draft.a} − {draft.b} is {draft.differences[draft.shared[0]]:.4g} with each"
        )
        evidence = f"{lost}; n = {n}, exact sign test p = {draft.p:.2g}{corrected}"
        if verdict != "undecided":
            return f"{a} is {measure.better} than {b} with {wins} of {n} seeds", evidence
        among = f" among {family} pairs" if draft.p is not None and draft.p < ALPHA else ""
        more = "" if needed is None else f"; {needed} seeds would decide it, if the share stays"
        if family > 1 and holm_p is None:
            more = f"; {n} seeds are too few for {family} pairs{more}"
        return (
            f"no difference between {a} and {b} can be told{among}: {wins} of {n} seeds to {losses}",
            evidence + more,
        )
    assert draft.paired is not None
    summary = draft.paired.difference
    sign = -1 if verdict == "worse" else 1
    if verdict != "undecided" and not measure.higher_is_better:
        sign = -sign  # better by a positive amount
    low, high = sorted((sign * summary.low, sign * summary.high))
    mean, low_text, high_text = (rounded(value, (high - low) / 2) for value in (sign * summary.mean, low, high))
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
