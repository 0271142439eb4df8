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
from functools import cached_property
from typing import Literal

import numpy as np

from bncompare.comparison.deciding import (
    ALPHA,
    Outcomes,
    SeedTest,
    corrected,
    deciding_test,
    differences_of,
    shared_outcomes,
    wins_and_losses,
)
from bncompare.comparison.measures import Measure, Missing, Outcome
from bncompare.comparison.statistics import (
    Adjusted,
    Paired,
    Summary,
    compare_paired,
    probability_better,
    seeds_needed,
    smallest_n,
    summarize,
)
from bncompare.config import Metric
from bncompare.runs import LoadedRun

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
    missing: dict[Missing, int]
    """how many runs have none, and why"""

    @property
    def num_at_bad_end(self) -> int:
        """How many diverged or never got there."""
        return self.missing.get(Missing.DIVERGED, 0) + self.missing.get(Missing.NEVER_REACHED, 0)


@dataclass(frozen=True)
class Pair:
    """Two variants by a measure, over the seeds they share; differences are a − b."""

    measure: Measure
    a: str
    b: str
    outcomes: Outcomes
    """with the seeds that have one of both"""
    test: SeedTest | None
    """None with fewer than two seeds"""
    adjusted: Adjusted | None
    """what the correction for the pairs of this measure leaves of its p"""
    among: list[SeedTest]
    """the tests of all these pairs"""

    @property
    def n(self) -> int:
        """Shared seeds with an outcome on both sides."""
        return len(self.outcomes)

    @cached_property
    def differences(self) -> dict[int, float]:
        """By seed, where both have a value."""
        return differences_of(self.outcomes)

    @cached_property
    def paired(self) -> Paired | None:
        """What statistics say of these differences; None if there are none."""
        if not self.differences:
            return None
        a, b = zip(*(self.outcomes[seed] for seed in self.differences), strict=True)
        higher, random = self.measure.higher_is_better, np.random.default_rng(0)
        return compare_paired(a, b, higher_is_better=higher, random=random)

    @property
    def probability_better(self) -> float | None:
        """Of a over b, ties as half; a run that diverged or never got there is worse than any other."""
        wins, losses = wins_and_losses(self.outcomes, higher_is_better=self.measure.higher_is_better)
        return probability_better(wins, self.n - wins - losses, self.n) if self.n else None

    @property
    def decided_by(self) -> Literal["t-test", "sign test"] | None:
        """None with fewer than two seeds."""
        return self.test.kind if self.test else None

    @property
    def p(self) -> float | None:
        """Of the test that decides."""
        return self.test.p if self.test else None

    @property
    def holm_p(self) -> float | None:
        """That p, corrected for the pairs that so many seeds could decide; None if it is none of them."""
        return self.adjusted.p if self.adjusted and self.adjusted.could_decide else None

    @property
    def verdict(self) -> Verdict:
        """Of a against b."""
        if self.test is None or self.adjusted is None:
            return "not judged"
        if self.adjusted.p >= ALPHA:
            return "undecided"
        return "better" if self.test.is_ahead else "worse"

    @property
    def is_told(self) -> bool:
        """Whether one of them is better."""
        return self.verdict in ("better", "worse")

    @cached_property
    def seeds_needed(self) -> int | None:
        """With which the test would decide; None where the verdict stands or no number would do.

        A t-test for a difference of the observed size and spread, with power 0.8; a sign test if the share of the
        seeds on each side stays.
        """
        if self.verdict != "undecided" or self.test is None or self.adjusted is None:
            return None
        if self.test.kind == "t-test" and self.paired:
            gap = self.paired.difference
            needed = seeds_needed(gap.mean, gap.sd, alpha=ALPHA / self.adjusted.family)
            return needed and max(needed, self.n + 1)
        if self.test.wins == self.test.losses:
            return None
        place = self.among.index(self.test)
        return smallest_n(lambda n: corrected(self.among, n)[place].p < ALPHA, above=self.n)

    # ------------------------------------------------ in words

    @property
    def statement(self) -> str:
        """The verdict in plain words."""
        return self._words[0]

    @property
    def evidence(self) -> str:
        """The numbers that decide it, and what would where they do not."""
        return self._words[1]

    @property
    def sentence(self) -> str:
        """Both in one."""
        return f"{self.statement} ({self.evidence})" if self.evidence else self.statement

    @cached_property
    def _words(self) -> tuple[str, str]:
        a, b, n = self.a, self.b, self.n
        if n == 0:
            return f"{a} and {b} cannot be compared: no seed has a value for both", ""
        if self.test is None:
            gaps = [f"{a} − {b} is {gap:.3g} with it" for gap in self.differences.values()]
            return f"{a} and {b} share one seed: no interval, so no verdict", "".join(gaps)
        if self.test.wins == self.test.losses == 0 and len(self.differences) == n:
            return f"{a} and {b} are equal with all {n} seeds", ""
        by, seen, evidence, more = (
            self._measured(self.paired) if self.paired and self.test.kind == "t-test" else self._counted(self.test)
        )
        if len(self.among) > 1 and self.holm_p is not None:
            evidence += f", Holm p = {self.holm_p:.2g} of {len(self.among)} pairs"
        if self.is_told:
            winner, loser = (a, b) if self.verdict == "better" else (b, a)
            return f"{winner} is {self.measure.better} than {loser} {by}", evidence
        among = f" among {len(self.among)} pairs" if self.test.p < ALPHA else ""
        return f"no difference between {a} and {b} can be told{among}: {seen}", evidence + more

    def _counted(self, test: SeedTest) -> tuple[str, str, str, str]:
        """Of a sign test: how often one is better, and the other; the numbers; what would decide."""
        wins, losses = sorted((test.wins, test.losses), reverse=True)
        lost = [
            f"{name} {self.measure.at_bad_end} with {number}"
            for i, name in enumerate((self.a, self.b))
            if (number := sum(math.isinf(both[i]) for both in self.outcomes.values()))
        ]
        why = ", ".join(lost) or f"{self.a} − {self.b} is {next(iter(self.differences.values())):.4g} with each"
        needed = self.seeds_needed
        more = "" if needed is None else f"; {needed} seeds would decide it, if the share stays"
        if len(self.among) > 1 and self.holm_p is None:
            more = f"; {self.n} seeds are too few for {len(self.among)} pairs{more}"
        share = f"{wins} of {self.n} seeds"
        return f"with {share}", f"{share} to {losses}", f"{why}; n = {self.n}, exact sign test p = {test.p:.2g}", more

    def _measured(self, paired: Paired) -> tuple[str, str, str, str]:
        """Of a t-test: by how much one is better, and the difference; the numbers; what would decide."""
        gap = paired.difference
        sign = math.copysign(1, gap.mean) if self.is_told else 1  # better by a positive amount
        low, high = sorted((sign * gap.low, sign * gap.high))
        mean, low_text, high_text = (rounded(value, (high - low) / 2) for value in (sign * gap.mean, low, high))
        p = paired.sign_flip_p
        floor = f", the least that {self.n} seeds can give" if p == paired.smallest_p > ALPHA else ""
        needed = self.seeds_needed
        more = "" if needed is None else f"; about {needed} seeds would tell a difference of this size"
        evidence = f"95 % interval {low_text} to {high_text}, n = {self.n}, sign-flip p = {p:.2g}{floor}"
        return f"by {mean}", f"{self.a} − {self.b} is {mean}", evidence, more


@dataclass(frozen=True)
class MeasureComparison:
    """All variants by one measure."""

    measure: Measure
    variants: list[VariantSummary]
    pairs: list[Pair]
    chosen_on: bool = False
    """whether it is of the validation set on which the hyperparameters were chosen, and so too good"""

    @property
    def name(self) -> str:
        """Such as `val/loss at the best evaluation`."""
        return self.measure.name

    @property
    def metric(self) -> Metric:
        """What it is made from."""
        return self.measure.metric

    @property
    def higher_is_better(self) -> bool:
        """Of the measure: of times and spreads low is good, whatever the metric."""
        return self.measure.higher_is_better

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
    shared = [shared_outcomes(outcomes[a], outcomes[b]) for a, b in pairs]
    tests = [
        deciding_test(both, higher_is_better=measure.higher_is_better) if len(both) >= 2 else None for both in shared
    ]
    among = [test for test in tests if test]
    adjusted = iter(corrected(among))
    judged = [
        Pair(measure, a, b, both, test, next(adjusted) if test else None, among)
        for (a, b), both, test in zip(pairs, shared, tests, strict=True)
    ]
    return MeasureComparison(measure, [_summary(name, of) for name, of in outcomes.items()], judged)


def _summary(variant: str, outcomes: dict[int, Outcome]) -> VariantSummary:
    values = {seed: of.value for seed, of in outcomes.items() if of.value is not None and of.is_finite}
    missing = Counter(of.missing for of in outcomes.values() if of.missing)
    return VariantSummary(
        variant, len(outcomes), values, summarize(list(values.values())) if values else None, dict(missing)
    )


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
