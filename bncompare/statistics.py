"""Numbers about runs: plain arrays in, plain numbers out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import nctdtr, stdtrit  # scipy.stats would cost a second to import


@dataclass(frozen=True)
class Summary:
    """A metric over n seeds."""

    n: int
    mean: float
    sd: float
    """sample standard deviation (n − 1); NaN for n = 1"""
    low: float
    high: float
    """95 % t-interval of the mean; NaN for n = 1"""


def summarize(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Mean, standard deviation and Student's t-interval: mean ± t(n−1)·sd/√n. Raises ValueError for no values."""
    n = len(values)
    if n == 0:
        raise ValueError("no values to summarize")
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if n == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan)
    sd = float(array.std(ddof=1))
    half = _half_width(n, sd, confidence)
    return Summary(n, mean, sd, mean - half, mean + half)


def _half_width(n: int, sd: float, confidence: float) -> float:
    return float(stdtrit(n - 1, 0.5 + confidence / 2)) * sd / math.sqrt(n)


@dataclass(frozen=True)
class Paired:
    """Differences of two variants over the seeds they share."""

    difference: Summary
    """of the differences a − b, seed by seed"""
    sign_flip_p: float
    """two-sided exact p of no difference; see `sign_flip_p`"""
    smallest_p: float
    """the least that n seeds can give: 2/2ⁿ"""
    probability_better: float
    """share of the seeds in which a is greater than b; ties count half"""


MAX_EXACT_SEEDS = 20  # 2²⁰ sign patterns


def compare_paired(a: Sequence[float], b: Sequence[float]) -> Paired:
    """Compare two variants seed by seed; raises ValueError for unequal or no numbers of seeds."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values cannot be paired")
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    better = (np.count_nonzero(differences > 0) + 0.5 * np.count_nonzero(differences == 0)) / len(differences)
    n = len(differences)
    return Paired(
        summarize(differences.tolist()), sign_flip_p(differences.tolist()), min(1.0, 2 / 2**n), float(better)
    )


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided exact sign-flip p (Fisher's randomization test) of mean 0.

    The share of the 2ⁿ sign patterns whose mean is as far from 0 as the one observed. Raises ValueError beyond 20
    differences.
    """
    if len(differences) > MAX_EXACT_SEEDS:
        raise ValueError(f"{len(differences)} differences have too many sign patterns; at most {MAX_EXACT_SEEDS}")
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    observed = abs(float(np.sum(differences)))
    # Rounding must not part sums that are equal on paper.
    return float(np.mean(np.abs(sums) >= observed - 1e-12 * max(1.0, float(np.abs(sums).max()))))


def t_interval(summary: Summary, confidence: float) -> tuple[float, float]:
    """The t-interval of a mean at another confidence; (NaN, NaN) for n = 1."""
    if summary.n == 1:
        return math.nan, math.nan
    half = _half_width(summary.n, summary.sd, confidence)
    return summary.mean - half, summary.mean + half


MAX_SEEDS_NEEDED = 10_000


def seeds_needed(distance: float, sd: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Seeds with which a two-sided t-test tells a mean from a threshold at `distance`, at a standard deviation `sd`.

    The smallest n whose noncentral t distribution has the power asked for (Cohen 1988, ch. 2); None above 10,000.
    """
    if distance == 0 or not math.isfinite(distance / sd if sd else math.inf):
        return None if distance == 0 else 2
    for n in range(2, MAX_SEEDS_NEEDED + 1):
        critical = float(stdtrit(n - 1, 1 - alpha / 2))
        noncentrality = abs(distance) / sd * math.sqrt(n)
        if 1 - float(nctdtr(n - 1, noncentrality, critical)) >= power:
            return n
    return None
