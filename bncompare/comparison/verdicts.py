"""Variants by a measure: their values over the seeds, and for each pair a verdict, in numbers and in plain words.

The rules of a verdict, for a pair of variants and a measure:

- Variants are compared seed by seed. A variant is *better* where the paired t-test, corrected for the number of pairs
  shown (Holm), gives p < 0.05 (for a single pair that is where the 95 % CI of the mean difference, Student's, leaves
  out 0), and the exact sign-flip test, which assumes no normal distribution, does not contradict it: by a p > 0.10.
  Else there is *no clear difference*, which is not a proof that there is none.
- The verdict of a t-test is *preliminary* where it rests on normal differences alone, as that may be wrong far more
  often than in 5 %. So it is with fewer than 6 seeds, as the sign-flip p cannot be below 2/2ⁿ, and among several
  pairs where the sign-flip p, corrected for them likewise, is above 0.05 (it can be less from 7 seeds of three pairs,
  8 of six, 10 of sixteen). Seeds with no difference at all do not count.
- Where a run diverged, or never reached a threshold, there is no mean to compare: it counts as worse than any value,
  and the exact sign test over the seeds decides in place of the t-test. It cannot decide with fewer than six seeds.
  It also decides where all differences are the same number, as whole epochs may be: that is no spread to judge by.
- A sign test of few seeds cannot give a small p, so the correction counts the pairs that could (Tarone; Hommel &
  Krummenauer). One that could decide nothing among the others has no corrected p: its sentence says that the seeds
  are too few for so many pairs, and how many would do.
- A run that failed or is not finished says nothing; the others decide, and its absence is said.
- One seed has no interval, so there is no verdict.
- Where seeds were added after others had been looked at (`until: decided`, or by hand), a p that holds for one number
  of seeds says little. Then the t confidence sequence decides in place of the t-test, and the sign e-process in place
  of the sign test (`sequences.py`): the interval shown is the 95 % CI, valid at every look, and p is anytime-valid,
  on which Holm's correction is as valid as on any other.
- The sign-flip p that is shown is not corrected; with it stands the least that so many seeds can give.
- Intervals and p are about other seeds of the same experiment, not about other data sets or models.
- Measures are not corrected for one another: each answers a question of its own.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from bncompare.comparison.deciding import (
    ALPHA,
    Decision,
    Outcomes,
    SeedTest,
    corrected,
    decided,
    deciding_test,
    differences_of,
    shared_outcomes,
    wins_and_losses,
)
from bncompare.comparison.measures import Measure, Missing, SeedOutcome
from bncompare.comparison.sequences import VALID, at_every_look, seeds_needed_at_every_look
from bncompare.comparison.statistics import (
    Paired,
    Summary,
    compare_paired,
    probability_better,
    seeds_needed,
    smallest_n,
    summarize,
)
from bncompare.config import Metric, Sign
from bncompare.runs import LoadedRun

SIGNS: tuple[Sign, Sign] = ("", "+")

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
    decision: Decision | None
    """of its test among those of the other pairs of this measure; None with fewer than two seeds"""
    among: list[SeedTest]
    """the tests of all these pairs"""
    is_sequential: bool = False
    """whether it is judged by what holds at every look"""

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
        paired = compare_paired(a, b, higher_is_better=higher, random=random)
        if self.is_sequential:  # these hold for one number of seeds, chosen before
            paired = replace(paired, t_test_p=math.nan, sign_flip_p=math.nan, smallest_p=math.nan)
        difference = at_every_look(paired.difference, list(self.differences.values()), self.is_sequential)
        return replace(paired, difference=self.measure.clipped(difference, of_differences=True))

    @property
    def probability_better(self) -> float | None:
        """Of a over b, ties as half; a run that diverged or never got there is worse than any other."""
        wins, losses = wins_and_losses(self.outcomes, higher_is_better=self.measure.higher_is_better)
        return probability_better(wins, self.n - wins - losses, self.n) if self.n else None

    @property
    def test(self) -> SeedTest | None:
        """The one that decides; None with fewer than two seeds."""
        return self.decision.test if self.decision else None

    @property
    def decided_by(self) -> str | None:
        """The kind of its test."""
        return self.test.kind if self.test else None

    @property
    def p(self) -> float | None:
        """Of the test that decides."""
        return self.test.p if self.test else None

    @property
    def holm_p(self) -> float | None:
        """That p, corrected for the pairs that so many seeds could decide; None if it is none of them."""
        return self.decision.adjusted.p if self.decision and self.decision.adjusted.could_decide else None

    @property
    def verdict(self) -> Verdict:
        """Of a against b."""
        if self.decision is None:
            return "not judged"
        if not self.decision.is_made:
            return "undecided"
        return "better" if self.decision.test.is_ahead else "worse"

    @property
    def is_told(self) -> bool:
        """Whether one of them is better."""
        return self.verdict in ("better", "worse")

    @property
    def is_preliminary(self) -> bool:
        """Whether one is better by too few seeds to rely on it."""
        return self.decision is not None and self.decision.is_preliminary

    @cached_property
    def seeds_needed(self) -> int | None:
        """With which the test would decide; None where the verdict stands or no number would do.

        A t-test for a difference of the observed size and spread, with power 0.8; others if these stay, as the share
        of the seeds on each side.
        """
        if self.verdict != "undecided" or self.decision is None:
            return None
        test, alpha = self.decision.test, ALPHA / max(1, self.decision.adjusted.family)
        if test.is_of_means and self.paired:
            gap = self.paired.difference
            find = seeds_needed_at_every_look if self.is_sequential else seeds_needed
            needed = find(gap.mean, gap.sd, alpha=alpha)
            return needed and max(needed, self.n + 1)
        if test.wins == test.losses:
            return None
        place = self.among.index(test)
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
        if self.is_preliminary:
            return f"{self.statement[:-1]}; {self.evidence})"
        return f"{self.statement} ({self.evidence})" if self.evidence else self.statement

    @cached_property
    def _words(self) -> tuple[str, str]:
        a, b, n = self.a, self.b, self.n
        if n == 0:
            return f"{a} and {b} cannot be compared: no seed has a value for both", ""
        if self.test is None:
            gap = f"{a} − {b} is {self._first_gap} with it" if self.differences else ""
            return f"{a} and {b} share one seed: no CI, so no verdict", gap
        if self.test.wins == self.test.losses == 0 and len(self.differences) == n:
            return f"{a} and {b} are equal with all {n} seeds", ""
        if self.test.wins == self.test.losses == 0 and not self.differences:
            return f"{a} and {b} cannot be compared: both {self.measure.at_bad_end} with all {n} seeds", ""
        by, seen, evidence, more = (
            self._measured(self.paired) if self.paired and self.test.is_of_means else self._counted(self.test)
        )
        if len(self.among) > 1 and self.holm_p is not None:
            evidence += f", Holm p = {self.holm_p:.2g} of {len(self.among)} pairs"
        if self.is_told:
            winner, loser = (a, b) if self.verdict == "better" else (b, a)
            if self.is_preliminary:
                pairs = f" for {len(self.among)} pairs" if len(self.among) > 1 else ""
                return f"{winner} is ahead of {loser} {by} (preliminary: {n} seeds{pairs})", evidence
            return f"{winner} is {self.measure.better} than {loser} {by}", evidence
        among = f" among {len(self.among)} pairs" if self.test.p < ALPHA else ""
        return f"no clear difference between {a} and {b}{among}: {seen}", evidence + more

    def _counted(self, test: SeedTest) -> tuple[str, str, str, str]:
        """Of a sign test: how often one is better, and the other; the numbers; what would decide."""
        wins, losses = sorted((test.wins, test.losses), reverse=True)
        lost = [
            f"{name} {self.measure.at_bad_end} with {number}"
            for i, name in enumerate((self.a, self.b))
            if (number := sum(math.isinf(both[i]) for both in self.outcomes.values()))
        ]
        why = ", ".join(lost) or f"{self.a} − {self.b} is {self._first_gap} with each"
        needed = self.seeds_needed
        more = "" if needed is None else f"; {needed} seeds would be needed, if the share stays"
        if len(self.among) > 1 and self.holm_p is None:
            more = f"; {self.n} seeds are too few for {len(self.among)} pairs{more}"
        share = f"{wins} of {self.n} seeds"
        name = f"anytime-valid p of a {test.kind} =" if self.is_sequential else "exact sign test p ="
        return f"with {share}", f"{share} to {losses}", f"{why}; n = {self.n}, {name} {test.p:.2g}", more

    def _measured(self, paired: Paired) -> tuple[str, str, str, str]:
        """Of a t-test: by how much one is better, and the difference; the numbers; what would decide."""
        gap = paired.difference
        sign = math.copysign(1, gap.mean) if self.is_told else 1  # better by a positive amount
        low, high = sorted((sign * gap.low, sign * gap.high))
        half = (high - low) / 2
        low_text, high_text = self.measure.shown(low, half), self.measure.shown(high, half)
        by, seen = (self.measure.difference(sign * gap.mean, half, a_sign) for a_sign in SIGNS)
        needed = self.seeds_needed
        more = "" if needed is None else f"; about {needed} seeds would be needed"
        interval = f"{low_text} to {high_text}" if gap.has_interval else "not yet"
        if self.is_sequential:
            evidence = f"95 % CI, {VALID}: {interval}; n = {self.n}, anytime-valid p = {self.p:.2g}"
        else:
            evidence = f"95 % CI {interval}; n = {self.n}, {self._sign_flip(paired)}"
        return f"by {by}", f"{self.a} − {self.b} is {seen}", evidence, more

    def _sign_flip(self, paired: Paired) -> str:
        """Its p, and what that does to the t-test's."""
        text = f"sign-flip p = {paired.sign_flip_p:.2g}"
        if self.decision and self.decision.is_contradicted:
            return f"{text} contradicts that of the t-test, {self.p:.2g}"
        least = paired.sign_flip_p == paired.smallest_p > ALPHA
        return f"{text}, the least that {self.n} seeds can give" if least else text

    @property
    def _first_gap(self) -> str:
        """The difference with the first seed, where there is one seed or all have the same."""
        return self.measure.difference(next(iter(self.differences.values())), sign="+")


@dataclass(frozen=True)
class MeasureComparison:
    """All variants by one measure."""

    measure: Measure
    variants: list[VariantSummary]
    pairs: list[Pair]
    chosen_on: bool = False
    """whether it is of the validation set on which the hyperparameters were chosen, and so too good"""
    is_sequential: bool = False
    """whether its intervals and p are those that hold at every look"""

    @property
    def name(self) -> str:
        """In files and JSON: `val/loss at best`."""
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
        """In words, with a mark if it was chosen on."""
        words = self.measure.words
        return f"{words} (the hyperparameters were chosen on it)" if self.chosen_on else words


def compare_by(
    measure: Measure, runs: Sequence[LoadedRun], pairs: Sequence[tuple[str, str]], *, is_sequential: bool = False
) -> MeasureComparison:
    """Summaries of a measure for every variant among the runs, and the pairs (a, b) of them.

    By what holds at every look where the experiment is sequential.
    """
    by_variant: dict[str, list[LoadedRun]] = {}
    for run in runs:
        by_variant.setdefault(run.variant, []).append(run)
    for name in itertools.chain.from_iterable(pairs):  # of which there may be no run yet
        by_variant.setdefault(name, [])
    outcomes = {variant: measure.outcomes(members) for variant, members in by_variant.items()}
    shared = [shared_outcomes(outcomes[a], outcomes[b]) for a, b in pairs]
    higher = measure.higher_is_better
    tests = [
        deciding_test(both, higher_is_better=higher, is_sequential=is_sequential) if len(both) >= 2 else None
        for both in shared
    ]
    among = [test for test in tests if test]
    decisions = iter(decided(among))
    judged = [
        Pair(measure, a, b, both, next(decisions) if test else None, among, is_sequential)
        for (a, b), both, test in zip(pairs, shared, tests, strict=True)
    ]
    summaries = [_summary(measure, name, of, is_sequential) for name, of in outcomes.items()]
    return MeasureComparison(measure, summaries, judged, is_sequential=is_sequential)


def _summary(measure: Measure, variant: str, outcomes: dict[int, SeedOutcome], is_sequential: bool) -> VariantSummary:
    values = {seed: of.value for seed, of in outcomes.items() if of.value is not None and of.is_finite}
    missing = Counter(of.missing for of in outcomes.values() if of.missing)
    summary = None
    if values:
        in_order = [values[seed] for seed in sorted(values)]
        summary = measure.clipped(at_every_look(summarize(list(values.values())), in_order, is_sequential))
    return VariantSummary(variant, len(outcomes), values, summary, dict(missing))
