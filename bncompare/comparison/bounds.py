"""One bound of a claim: which verdict an interval gives, on which side of it a seed is, and what would decide it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bncompare.comparison.deciding import ALPHA, CONTRADICTION
from bncompare.comparison.sequences import (
    VALID,
    seeds_needed_at_every_look,
    share_interval,
    share_sequence,
    t_sequence,
)
from bncompare.comparison.statistics import (
    MAX_SEEDS_NEEDED,
    Summary,
    difference,
    proportion_interval,
    seeds_needed,
    seeds_needed_within,
    sign_flip_p,
    smallest_flip_p,
    smallest_n,
    summarize,
)

Judgement = Literal["supported", "not supported", "inconclusive"]


@dataclass(frozen=True)
class Bound:
    """Such as `difference_at_most: -0.2`."""

    name: str
    value: float
    shown: Callable[[float], str] = field(default="{:g}".format, compare=False)
    """a difference or value for people"""
    is_sequential: bool = False
    """whether it is judged by intervals that hold at every look"""

    @property
    def is_within(self) -> bool:
        """Whether it bounds on both sides."""
        return self.name.endswith("within")

    @property
    def is_upper(self) -> bool:
        """Whether values below it are claimed."""
        return self.name.endswith("at_most")

    def claimed(self, judgement: Judgement, more: str) -> str:
        """The reason of a finding that is about it."""
        words = self.name.removeprefix("difference_").removeprefix("ratio_").replace("_", " ")
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

    def judge_mean(self, values: Sequence[float]) -> tuple[Judgement, str]:
        """By the interval of the mean of values, and what else is to be said.

        What the t-test says the sign-flip test about the same bound must not contradict.
        """
        judgement = self.judge(*mean_interval(values, is_sequential=self.is_sequential))
        if judgement == "inconclusive":
            return judgement, self._seeds_for_mean(summarize(values))
        if not self.is_sequential and self.has_exact_test(values):
            p = max(sign_flip_p(gaps, np.random.default_rng(0)) for gaps in self._gaps(values, judgement))
            if p > CONTRADICTION:
                return (
                    "inconclusive",
                    f"; the CI says {judgement}, which the sign-flip p of the bound, {p:.2g}, contradicts",
                )
        return judgement, ""

    def has_exact_test(self, values: Sequence[float]) -> bool:
        """Whether the sign-flip p about the bound could be small enough with so many values."""
        return all(smallest_flip_p(gaps) <= ALPHA for gaps in self._gaps(values, "supported"))

    def _gaps(self, values: Sequence[float], judgement: Judgement) -> list[list[float]]:
        """How far the values are from what the judgement parts their mean from."""
        places = [self.value]
        if self.is_within:
            mean = summarize(values).mean
            places = [-self.value, self.value] if judgement == "supported" else [math.copysign(self.value, mean)]
        return [[difference(value, place) for value in values] for place in places]

    def _seeds_for_mean(self, summary: Summary) -> str:
        """How many would decide it."""
        mean, sd = summary.mean, summary.sd
        distance = mean - self.value if not self.is_within else abs(mean) - self.value
        if self.is_sequential:
            needed = seeds_needed_at_every_look(distance, sd)
        elif self.is_within and distance < 0:
            needed = seeds_needed_within(mean, sd, self.value)
        else:
            needed = seeds_needed(distance, sd)
        return _would_decide(
            needed and max(needed, summary.n + 1), f"the spread stays ({self.shown(float(f'{sd:.2g}'))})"
        )

    def judge_share(self, hits: Sequence[bool], num_seeds: int | None = None) -> tuple[Judgement, str]:
        """By the interval of a proportion, which so many seeds gave; by default each of them one of the hits."""
        judgement = self.judge(*hits_interval(hits, is_sequential=self.is_sequential))
        if judgement != "inconclusive":
            return judgement, ""
        share, n = sum(hits) / len(hits), len(hits)

        def is_decided(more: int) -> bool:
            k = round(share * more)
            if self.is_sequential:
                low, high = share_interval(np.array([k]), np.array([more]))
                return self.judge(low[0], high[0]) != "inconclusive"
            return self.judge(*proportion_interval(k, more)) != "inconclusive"

        needed = smallest_n(is_decided, above=n)
        return judgement, _would_decide(needed and math.ceil(needed * (num_seeds or n) / n), "the proportion stays")

    def count(self, outcomes: Sequence[float], rounding: float) -> tuple[Judgement, str]:
        """By the share of the seeds that are on the claimed side, which is held against ½; and that share in words.

        Outcomes no further than `rounding` from the bound are on it.
        """
        on_side = [self._is_met_by(outcome, rounding) for outcome in outcomes]
        k, n = on_side.count(True), len(on_side) - on_side.count(None)
        if n == 0:
            return "inconclusive", "; no seed is on either side of it"
        hits = [is_met for is_met in on_side if is_met is not None]
        low, high = hits_interval(hits, is_sequential=self.is_sequential)
        left_out = f" ({len(on_side) - n} on neither side)" if n < len(on_side) else ""
        interval = f"{interval_name(self.is_sequential)} of that share {low:.2g} to {high:.2g}"
        judgement, more = Bound("at_least", 0.5, is_sequential=self.is_sequential).judge_share(hits, len(on_side))
        return judgement, f"; {k} of {n} seeds are{left_out}, {interval}{more}"

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


def mean_interval(values: Sequence[float], *, is_sequential: bool) -> tuple[float, float]:
    """The 95 % interval of a mean: Student's, or the confidence sequence's; NaN where there is none."""
    found = t_sequence(values) if is_sequential else summarize(values)
    return found.low, found.high


def hits_interval(hits: Sequence[bool], *, is_sequential: bool) -> tuple[float, float]:
    """The 95 % interval of a proportion: the exact one, or the confidence sequence's."""
    if not is_sequential:
        return proportion_interval(sum(hits), len(hits))
    looks = share_sequence(hits)
    return looks.low, looks.high


def interval_name(is_sequential: bool) -> str:
    """What these are called."""
    return f"95 % CI, {VALID}," if is_sequential else "95 % CI"


def _would_decide(needed: int | None, condition: str) -> str:
    """So many seeds."""
    if needed is None or needed > MAX_SEEDS_NEEDED:
        return f"; it would take more than {MAX_SEEDS_NEEDED:,} seeds to decide it, if {condition}"
    return f"; about {needed} seeds would decide it, if {condition}"
