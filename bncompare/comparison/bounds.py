"""One bound of a claim: which verdict an interval gives, on which side of it a seed is, and what would decide it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bncompare.comparison.statistics import (
    MAX_SEEDS_NEEDED,
    Summary,
    proportion_interval,
    seeds_needed,
    seeds_needed_within,
    smallest_n,
)

Judgement = Literal["supported", "not supported", "inconclusive"]


@dataclass(frozen=True)
class Bound:
    """Such as `difference_at_most: -0.2`."""

    name: str
    value: float
    shown: Callable[[float], str] = field(default="{:g}".format, compare=False)
    """a difference or value for people"""

    @property
    def is_within(self) -> bool:
        """Whether it bounds on both sides."""
        return self.name.endswith("within")

    @property
    def is_upper(self) -> bool:
        """Whether values below it are claimed."""
        return self.name.endswith("at_most")

    @property
    def confidence(self) -> float:
        """Of the interval that decides: of `within` that of two one-sided tests."""
        return 0.90 if self.is_within else 0.95

    def claimed(self, judgement: Judgement, more: str) -> str:
        """The reason of a finding that is about it."""
        words = self.name.removeprefix("difference_").replace("_", " ")
        return f"claimed {words} {self.shown(self.value)}: {judgement}{more}"

    def judge(self, low: float, high: float) -> Judgement:
        """By an interval."""
        bound = self.value
        if self.is_within:
            if -bound <= low and high <= bound:
                return "supported"
            return "not supported" if low > bound or high < -bound else "inconclusive"
        if self.is_upper:
            low, high, bound = -high, -low, -bound
        return "supported" if low >= bound else "not supported" if high < bound else "inconclusive"

    def seeds_for_mean(self, summary: Summary) -> str:
        """How many would decide it."""
        mean, sd = summary.mean, summary.sd
        if not self.is_within:
            needed = seeds_needed(mean - self.value, sd)
        elif abs(mean) < self.value:
            needed = seeds_needed_within(mean, sd, self.value)
        else:
            needed = seeds_needed(abs(mean) - self.value, sd, alpha=0.10)
        return _would_decide(
            needed and max(needed, summary.n + 1), f"the spread stays ({self.shown(float(f'{sd:.2g}'))})"
        )

    def seeds_for_share(self, share: float, n: int, confidence: float) -> str:
        """How many, more than n, would decide it by the exact interval of a share."""

        def is_decided(more: int) -> bool:
            return self.judge(*proportion_interval(round(share * more), more, confidence)) != "inconclusive"

        return _would_decide(smallest_n(is_decided, above=n), "the proportion stays")

    def count(self, outcomes: Sequence[float], rounding: float) -> tuple[Judgement, str]:
        """By the share of the seeds that are on the claimed side, which is held against ½; and that share in words.

        Outcomes no further than `rounding` from the bound are on it.
        """
        on_side = [self._is_met_by(outcome, rounding) for outcome in outcomes]
        k, n = on_side.count(True), len(on_side) - on_side.count(None)
        if n == 0:
            return "inconclusive", "; no seed is on either side of it"
        low, high = proportion_interval(k, n, self.confidence)
        left_out = f" ({len(on_side) - n} on neither side)" if n < len(on_side) else ""
        level = percent(self.confidence)
        words = f"; {k} of {n} seeds are{left_out}, {level} CI of that share {low:.2g} to {high:.2g}"
        half = Bound("at_least", 0.5)
        judgement = half.judge(low, high)
        if judgement == "inconclusive":
            words += half.seeds_for_share(k / n, n, self.confidence)
        return judgement, words

    def _is_met_by(self, outcome: float, rounding: float) -> bool | None:
        """Whether an outcome is on the claimed side; None on the bound, and where both runs diverged."""
        value = abs(outcome) if self.is_within else outcome
        if math.isnan(value) or math.isclose(value, self.value, rel_tol=1e-9, abs_tol=rounding):
            return None
        return value < self.value if self.is_within or self.is_upper else value > self.value


def judge_all(
    bounds: Sequence[Bound], judge: Callable[[Bound], tuple[Judgement, str]]
) -> tuple[Judgement, list[str]]:
    """Of a claim with these bounds, and a reason of each; `judge` gives the judgement on one, with more words."""
    found = [judge(bound) for bound in bounds]
    reasons = [bound.claimed(*judged) for bound, judged in zip(bounds, found, strict=True)]
    judgements = {judgement for judgement, _ in found}
    if "not supported" in judgements:
        return "not supported", reasons
    return "supported" if judgements == {"supported"} else "inconclusive", reasons


def percent(confidence: float) -> str:
    """Such as `95 %`."""
    return f"{100 * confidence:.0f} %"


def _would_decide(needed: int | None, condition: str) -> str:
    """So many seeds."""
    if needed is None:
        return f"; it would take more than {MAX_SEEDS_NEEDED:,} seeds to decide it, if {condition}"
    return f"; about {needed} seeds would decide it, if {condition}"
