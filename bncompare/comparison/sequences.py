"""Anytime-valid inference: intervals and p values that hold with every number of seeds at once.

Whoever adds seeds until p < .05 is wrong far more often than in 5 %. Here the evidence E against a hypothesis is the
gain of a bet on the seeds, one after the other, that is fair if it is true: so E ≥ 1/α ever happens with probability
α at most (Ville 1939), and one may look after every seed and stop when one likes. The interval holds the hypotheses
with E < 1/α, and p is 1/E; of several looks the intersection of the intervals and the smallest p hold as well
(Ramdas, Grünwald, Vovk & Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bncompare.comparison.distributions import log_beta
from bncompare.comparison.statistics import Summary, smallest_n

ALPHA = 0.05
VALID = "valid at every look"
MIXTURE_VARIANCE = 4.0  # g, of the normal mixture over the effect size (mean / sd)
PRIOR = 0.5  # of the beta mixture over a proportion: Beta(½, ½), Jeffreys'

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """What all looks up to now say together."""

    low: float
    high: float
    """95 % interval; NaN where there is none yet"""
    p: float
    """anytime-valid, of no difference: of a mean of 0, of a share of ½"""


# ---------------------------------------------------------------- a mean


def t_log_evidence(n: Array, t: Array, g: float = MIXTURE_VARIANCE) -> Array:
    """log E of n values whose t-statistic is t, against the hypothesis that it is about.

    E is the likelihood ratio of the t-statistic with the effect size mixed over N(0, g), √((1 + n g)⁻¹ Rⁿ) with
    R = (1 + t²/ν) / (1 + t²/(ν (1 + n g))), ν = n − 1 (Lai 1976; Wang & Ramdas 2023, "Anytime-valid t-tests and
    confidence sequences for Gaussian means with unknown variance").
    """
    share = t * t / (n - 1)
    return np.asarray(0.5 * (n * (np.log1p(share) - np.log1p(share / (1 + n * g))) - np.log1p(n * g)))


def t_half_width(
    n: Array | np.float64, sd: Array | np.float64, alpha: float = ALPHA, g: float = MIXTURE_VARIANCE
) -> Array:
    """Half the width of the confidence sequence of a mean, where `t_log_evidence` is log 1/α; infinite for few n.

    sd/√n · √(ν (K − 1) / (1 − K/(1 + n g))) with K = ((1 + n g)^½ / α)^(2/n), if K < 1 + n g: at α = .05 from n = 4.
    """
    log_k = (np.log1p(n * g) - 2 * math.log(alpha)) / n
    room = -np.expm1(log_k - np.log1p(n * g))  # 1 − K/(1 + n g)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        half = sd * np.sqrt((n - 1) / n * np.expm1(log_k) / room)
    return np.where(room > 0, half, np.inf)


def seeds_needed_at_every_look(distance: float, sd: float, alpha: float = ALPHA) -> int | None:
    """Seeds with which the confidence sequence leaves out a value at `distance` from the mean, if that and sd stay.

    None above 10,000.
    """
    return smallest_n(lambda n: bool(t_half_width(np.float64(n), np.float64(sd), alpha) < abs(distance)))


def t_least_p(n: int, g: float = MIXTURE_VARIANCE) -> float:
    """The smallest p that n values can give: (1 + n g)^(−(n − 1)/2), for an infinite t."""
    return math.exp(-(n - 1) / 2 * math.log1p(n * g))


def t_sequence(values: Sequence[float]) -> Looks:
    """The confidence sequence of the mean of values, in the order of their seeds, looked at after each.

    A look at values without spread says nothing.
    """
    array = np.asarray(values, dtype=np.float64)
    n = np.arange(2, len(array) + 1, dtype=np.float64)
    if len(n) == 0:
        return Looks(math.nan, math.nan, 1.0)
    shifted = array - array[0]  # so that little is lost to rounding
    means = (np.cumsum(shifted) / np.arange(1, len(array) + 1))[1:]
    squares = np.cumsum((shifted[1:] - means) * (shifted[1:] - np.concatenate([[0.0], means[:-1]])))  # Welford 1962
    sds = np.sqrt(np.maximum(squares, 0) / (n - 1))
    means = means + array[0]
    has_spread = sds > 1e-9 * np.abs(means)
    n, means, sds = n[has_spread], means[has_spread], sds[has_spread]
    half = t_half_width(n, sds)
    return _together(means - half, means + half, t_log_evidence(n, means / sds * np.sqrt(n)))


def at_every_look(summary: Summary, values: Sequence[float], is_sequential: bool) -> Summary:
    """With the interval that holds at every look, if that is asked for and there is a spread."""
    if not (is_sequential and summary.has_spread):
        return summary
    looks = t_sequence(values)
    return replace(summary, low=looks.low, high=looks.high)


# ---------------------------------------------------------------- a share


def share_log_evidence(k: Array, n: Array, share: Array | float) -> Array:
    """log E of k of n against a share: the likelihood mixed over Beta(½, ½), divided by that of the share.

    The beta-binomial mixture (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform, nonparametric,
    nonasymptotic confidence sequences").
    """
    mixed = log_beta(k + PRIOR, n - k + PRIOR) - log_beta(PRIOR, PRIOR)
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(k > 0, k * np.log(share), 0.0)
        misses = np.where(k < n, (n - k) * np.log1p(-np.asarray(share)), 0.0)
    return np.asarray(mixed - hits - misses)


def share_interval(k: Array, n: Array, alpha: float = ALPHA) -> tuple[Array, Array]:
    """The shares that k of n leave, at each of several looks: where `share_log_evidence` is below log 1/α."""

    def end(inside: Array, outside: Array) -> Array:
        """By bisection: E falls from an end to k/n, where it is below 1."""
        for _ in range(50):
            middle = (inside + outside) / 2
            is_inside = share_log_evidence(k, n, middle) < -math.log(alpha)
            inside, outside = np.where(is_inside, middle, inside), np.where(is_inside, outside, middle)
        return outside

    seen = k / n
    return np.where(k > 0, end(seen, np.zeros_like(seen)), 0.0), np.where(k < n, end(seen, np.ones_like(seen)), 1.0)


def share_sequence(hits: Sequence[bool]) -> Looks:
    """The confidence sequence of a proportion, in the order of the seeds, looked at after each."""
    if not hits:
        return Looks(math.nan, math.nan, 1.0)
    k, n = _counts(hits)
    return _together(*share_interval(k, n), share_log_evidence(k, n, 0.5))


@dataclass(frozen=True)
class Signs:
    """How often one of two is better, as all looks up to now say."""

    p: float
    """anytime-valid, of as often as the other"""
    is_ahead: bool
    """where the evidence was strongest"""


def sign_sequence(hits: Sequence[bool]) -> Signs:
    """The sign e-process: that of `share_sequence` against a share of ½, in the order of the seeds."""
    if not hits:
        return Signs(1.0, False)
    k, n = _counts(hits)
    evidence = share_log_evidence(k, n, 0.5)
    look = int(np.argmax(evidence))
    return Signs(math.exp(-max(0.0, evidence[look])), bool(2 * k[look] > n[look]))


def sign_least_p(n: int) -> float:
    """The smallest p that n hits or misses can give."""
    return sign_sequence([True] * n).p


def _counts(hits: Sequence[bool]) -> tuple[Array, Array]:
    return np.cumsum(np.asarray(hits, dtype=np.float64)), np.arange(1, len(hits) + 1, dtype=np.float64)


# ---------------------------------------------------------------- several looks


def _together(lows: Array, highs: Array, log_evidence: Array) -> Looks:
    """The intersection of the intervals, and the smallest p.

    A look that would leave nothing is left out, as is rare where the values are as the sequence assumes; so
    p < α just where 0 (or ½) is outside the interval.
    """
    low, high, most = -math.inf, math.inf, 0.0
    for its_low, its_high, evidence in zip(lows.tolist(), highs.tolist(), log_evidence.tolist(), strict=True):
        if max(low, its_low) <= min(high, its_high):
            low, high, most = max(low, its_low), min(high, its_high), max(most, evidence)
    if math.isinf(low):
        low = high = math.nan
    return Looks(low, high, math.exp(-most))
