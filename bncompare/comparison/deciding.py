"""The test that decides about a pair of variants, and its correction for the other pairs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bncompare.comparison.measures import SeedOutcome
from bncompare.comparison.statistics import Adjusted, difference, sign_test_p, summarize, t_test_p, tarone_holm

ALPHA = 0.05
Outcomes = Mapping[int, tuple[float, float]]
"""of both variants by seed; ±inf for a run that diverged or never got there"""


@dataclass(frozen=True)
class SeedTest:
    """The test that decides about a pair, with two seeds or more."""

    kind: Literal["t-test", "sign test"]
    n: int
    wins: int
    losses: int
    """the seeds with which a is better, and worse"""
    is_ahead: bool
    """whether a is the better one, if they differ"""
    p: float

    def p_with(self, n: int) -> float:
        """That of a t-test as it is; of a sign test with n seeds, of which the same share is on each side."""
        return self.p if self.kind == "t-test" else sign_test_p(*self._sides(n))

    def least_p_with(self, n: int) -> float:
        """The smallest p that the test can give with n seeds."""
        return 0.0 if self.kind == "t-test" else sign_test_p(sum(self._sides(n)), 0)

    def _sides(self, n: int) -> tuple[int, int]:
        """Wins and losses."""
        return round(n * self.wins / self.n), round(n * self.losses / self.n)


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
    gaps = [difference(*both) for both in outcomes.values()]
    above, below = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    return (above, below) if higher_is_better else (below, above)


def deciding_test(outcomes: Outcomes, *, higher_is_better: bool) -> SeedTest:
    """Of two seeds or more: a t-test where all have values and these differences a spread, else a sign test."""
    n, (wins, losses) = len(outcomes), wins_and_losses(outcomes, higher_is_better=higher_is_better)
    gaps = list(differences_of(outcomes).values())
    if len(gaps) == n and (summary := summarize(gaps)).has_spread:
        is_ahead = (summary.mean > 0) == higher_is_better
        return SeedTest("t-test", n, wins, losses, is_ahead, t_test_p(summary))
    return SeedTest("sign test", n, wins, losses, wins > losses, sign_test_p(wins, losses))


def corrected(tests: Sequence[SeedTest], n: int | None = None) -> list[Adjusted]:
    """The p of each test among the others, with the seeds there are or with n."""
    numbers = [(test, n or test.n) for test in tests]
    return tarone_holm([test.p_with(m) for test, m in numbers], [test.least_p_with(m) for test, m in numbers], ALPHA)
