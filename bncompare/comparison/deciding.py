"""The test that decides about a pair of variants, and its correction for the other pairs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bncompare.comparison.measures import SeedOutcome
from bncompare.comparison.sequences import sign_least_p, sign_sequence, t_least_p, t_sequence
from bncompare.comparison.statistics import (
    Adjusted,
    difference,
    sign_flip_p,
    sign_test_p,
    smallest_flip_p,
    summarize,
    t_test_p,
    tarone_holm,
)

ALPHA = 0.05
CONTRADICTION = 0.10  # a sign-flip p above it contradicts a t-test
Outcomes = Mapping[int, tuple[float, float]]
"""of both variants by seed; ±inf for a run that diverged or never got there"""


@dataclass(frozen=True)
class SeedTest:
    """The test that decides about a pair, with two seeds or more."""

    kind: Literal["t-test", "sign test", "t confidence sequence", "sign e-process"]
    n: int
    wins: int
    losses: int
    """the seeds with which a is better, and worse"""
    is_ahead: bool
    """whether a is the better one, if they differ"""
    p: float
    flip_p: float | None = None
    """of the sign-flip test beside a t-test"""
    least_flip_p: float | None = None
    """that there can be"""

    @property
    def exact_p(self) -> float:
        """The sign-flip p of a t-test; p itself where that is exact, or holds at every look."""
        return self.p if self.flip_p is None else self.flip_p

    @property
    def least_exact_p(self) -> float:
        """The smallest that there can be."""
        return self.least_p_with(self.n) if self.least_flip_p is None else self.least_flip_p

    @property
    def is_of_means(self) -> bool:
        """Whether it is about the mean difference; else about how often one is better."""
        return self.kind in ("t-test", "t confidence sequence")

    def p_with(self, n: int) -> float:
        """That of a mean as it is; of signs with n seeds, of which the same share is on each side."""
        if self.is_of_means or n == self.n:
            return self.p
        wins, losses = self._sides(n)
        if self.kind == "sign test":
            return sign_test_p(wins, losses)
        return sign_sequence([True] * max(wins, losses) + [False] * min(wins, losses)).p

    def least_p_with(self, n: int) -> float:
        """The smallest p that the test can give with n seeds."""
        if self.kind == "t-test":
            return 0.0
        if self.kind == "t confidence sequence":
            return t_least_p(n)
        number = sum(self._sides(n))
        return sign_test_p(number, 0) if self.kind == "sign test" else sign_least_p(number)

    def _sides(self, n: int) -> tuple[int, int]:
        """Wins and losses."""
        return round(n * self.wins / self.n), round(n * self.losses / self.n)


@dataclass(frozen=True)
class Decision:
    """What the test of a pair decides among those of others."""

    test: SeedTest
    adjusted: Adjusted
    """its p, corrected for the other pairs"""
    exact: Adjusted
    """its exact p, likewise"""
    num_pairs: int
    """it was corrected for"""

    @property
    def is_made(self) -> bool:
        """Whether one variant is better."""
        return self._is_significant and not self.is_contradicted

    @property
    def is_contradicted(self) -> bool:
        """Whether the t-test would decide, and the sign-flip test, which could, is far from it."""
        could_decide = self.test.least_exact_p <= ALPHA
        return self._is_significant and could_decide and self.test.exact_p > CONTRADICTION

    @property
    def is_preliminary(self) -> bool:
        """Whether it rests on normal differences: the sign-flip test could not decide, or of several pairs does not.

        Of one pair it is enough that the sign-flip test does not contradict; of several one is too often lucky.
        """
        exact_p = self.exact.p if self.num_pairs > 1 else self.test.least_exact_p
        return self.is_made and bool(exact_p > ALPHA)

    @property
    def _is_significant(self) -> bool:
        return self.adjusted.p < ALPHA


def shared_outcomes(of_a: dict[int, SeedOutcome], of_b: dict[int, SeedOutcome]) -> Outcomes:
    """The outcomes of both, by seed."""
    return {
        seed: (x, y)
        for seed in sorted(of_a.keys() & of_b.keys())
        if (x := of_a[seed].value) is not None and (y := of_b[seed].value) is not None
    }


def differences_of(outcomes: Outcomes) -> dict[int, float]:
    """a − b by seed, where both have a value."""
    return {seed: difference(*both) for seed, both in outcomes.items() if all(map(math.isfinite, both))}


def wins_and_losses(outcomes: Outcomes, *, higher_is_better: bool) -> tuple[int, int]:
    """With how many seeds a is better, and b."""
    hits = _hits(outcomes, higher_is_better=higher_is_better)
    return hits.count(True), hits.count(False)


def _hits(outcomes: Outcomes, *, higher_is_better: bool) -> list[bool]:
    """Whether a is better, of the seeds with which one of them is."""
    gaps = [difference(*both) for both in outcomes.values()]
    return [(gap > 0) == higher_is_better for gap in gaps if gap > 0 or gap < 0]


def deciding_test(outcomes: Outcomes, *, higher_is_better: bool, is_sequential: bool = False) -> SeedTest:
    """Of two seeds or more: of the mean where all have values and these differences a spread, else of signs."""
    hits, gaps = _hits(outcomes, higher_is_better=higher_is_better), list(differences_of(outcomes).values())
    counts = len(outcomes), hits.count(True), hits.count(False)
    is_of_means = len(gaps) == len(outcomes) and (summary := summarize(gaps)).has_spread
    if is_sequential and is_of_means:
        looks = t_sequence(gaps)
        is_above = looks.low > 0 or (summary.mean > 0 and not looks.high < 0)
        return SeedTest("t confidence sequence", *counts, is_above == higher_is_better, looks.p)
    if is_sequential:
        signs = sign_sequence(hits)
        return SeedTest("sign e-process", *counts, signs.is_ahead, signs.p)
    if is_of_means:
        flips = sign_flip_p(gaps, np.random.default_rng(0)), smallest_flip_p(gaps)
        return SeedTest("t-test", *counts, (summary.mean > 0) == higher_is_better, t_test_p(summary), *flips)
    wins, losses = counts[1:]
    return SeedTest("sign test", *counts, wins > losses, sign_test_p(wins, losses))


def corrected(tests: Sequence[SeedTest], n: int | None = None) -> list[Adjusted]:
    """The p of each test among the others, with the seeds there are or with n."""
    numbers = [(test, n or test.n) for test in tests]
    return tarone_holm([test.p_with(m) for test, m in numbers], [test.least_p_with(m) for test, m in numbers], ALPHA)


def decided(tests: Sequence[SeedTest]) -> list[Decision]:
    """Each among the others."""
    exact = tarone_holm([test.exact_p for test in tests], [test.least_exact_p for test in tests], ALPHA)
    return [Decision(*of, len(tests)) for of in zip(tests, corrected(tests), exact, strict=True)]
