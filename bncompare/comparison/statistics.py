"""Numbers about runs: plain arrays in, plain numbers out."""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bncompare.comparison.distributions import (
    beta_quantile,
    fair_binomial_cdf,
    normal_cdf,
    sample_deviations,
    t_quantile,
    t_tail,
)

ROUNDING = 1e-12  # relative: numbers no further apart are equal


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
    median: float
    min: float
    max: float

    @property
    def has_interval(self) -> bool:
        """Whether so few values have one."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def has_spread(self) -> bool:
        """Whether the values differ by more than rounding; without, no t-test or t-interval says anything."""
        return self.sd > 1e-9 * abs(self.mean)


def summarize(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Mean, spread and Student's t-interval of n values: mean ± t(n−1)·sd/√n. Raises ValueError for no values."""
    n = len(values)
    if n == 0:
        raise ValueError("no values to summarize")
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    order = float(np.median(array)), float(array.min()), float(array.max())
    if n == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan, *order)
    if order[1] == order[2]:  # whose mean may round to a neighbour
        return Summary(n, order[0], 0.0, order[0], order[0], *order)
    sd = float(array.std(ddof=1))
    half = _half_width(n, sd, confidence)
    return Summary(n, mean, sd, mean - half, mean + half, *order)


def _half_width(n: int, sd: float, confidence: float) -> float:
    return t_quantile(0.5 + confidence / 2, n - 1) * sd / math.sqrt(n)


@dataclass(frozen=True)
class Paired:
    """Differences of two variants over the n seeds they share."""

    difference: Summary
    """of the differences a − b, seed by seed"""
    effect_size: float
    """mean / sd of the differences, Cohen's d_z (Cohen 1988, ch. 2.3); ±inf without spread, NaN for n = 1"""
    t_test_p: float
    """two-sided p of the paired t-test, below 0.05 just where the 95 % interval leaves out 0; see `t_test_p`. This
    and the next two hold for one number of seeds, and are NaN where there were several looks"""
    sign_flip_p: float
    """two-sided p of no difference; see `sign_flip_p`"""
    smallest_p: float
    """the least sign-flip p that n seeds can give: 2/2ⁿ"""
    probability_better: float
    """share of the seeds in which a is better than b; ties count half"""


def difference(a: float, b: float) -> float:
    """a − b; 0 where the two differ by rounding alone, NaN where they are infinite and the same."""
    return 0.0 if math.isfinite(a) and math.isclose(a, b, rel_tol=ROUNDING) else a - b


def compare_paired(
    a: Sequence[float], b: Sequence[float], *, higher_is_better: bool, random: np.random.Generator | None = None
) -> Paired:
    """Compare two variants seed by seed, n values each; `random` is for more than 30 seeds (see `sign_flip_p`).

    Raises ValueError for unequal or no numbers of seeds.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values cannot be paired")
    differences = [difference(x, y) for x, y in zip(a, b, strict=True)]
    summary = summarize(differences)
    better = sum(gap > 0 if higher_is_better else gap < 0 for gap in differences)
    return Paired(
        summary,
        effect_size(summary),
        t_test_p(summary),
        sign_flip_p(differences, random),
        min(1.0, 2.0 ** (1 - summary.n)),
        probability_better(better, differences.count(0.0), summary.n),
    )


def probability_better(wins: int, ties: int, n: int) -> float:
    """P(A better than B) of n seeds (Bouthillier et al. 2021), ties as half."""
    return (wins + 0.5 * ties) / n


def effect_size(differences: Summary) -> float:
    """Cohen's d_z: the mean of the differences in units of their standard deviation."""
    if differences.n > 1 and not differences.has_spread:
        return math.copysign(math.inf, differences.mean) if differences.mean else 0.0
    return differences.mean / differences.sd


def t_test_p(differences: Summary) -> float:
    """Two-sided p of Student's t-test of mean 0; NaN without spread, as for n = 1."""
    if not differences.has_spread:
        return math.nan
    t = abs(differences.mean) / differences.sd * math.sqrt(differences.n)
    return 2 * t_tail(t, differences.n - 1)


MAX_EXACT_SEEDS = 30  # 2³⁰ sign patterns, of which two halves of 2¹⁵ are kept
DRAWN_PATTERNS = 20_000  # beyond that


def sign_flip_p(differences: Sequence[float], random: np.random.Generator | None = None) -> float:
    """Two-sided sign-flip p (Fisher's randomization test) of mean 0, exact for up to 30 differences.

    The share of the 2ⁿ sign patterns whose mean is as far from 0 as the one observed. Beyond 30 differences it is
    estimated from 20,000 patterns drawn from `random`, the observed one counted in (Phipson & Smyth 2010); raises
    ValueError without a generator.
    """
    n = len(differences)
    # Rounding must not part sums that are equal on paper, in whatever unit.
    limit = abs(math.fsum(differences)) - 1e-12 * math.fsum(map(abs, differences))
    if limit <= 0:
        return 1.0
    if n <= MAX_EXACT_SEEDS:
        left, right = _signed_sums(differences[: n // 2]), np.sort(_signed_sums(differences[n // 2 :]))
        above = len(right) - np.searchsorted(right, limit - left)
        below = np.searchsorted(right, -limit - left, side="right")
        return float(np.sum(above + below)) / 2.0**n
    if random is None:
        raise ValueError(f"{n} differences have too many sign patterns; at most {MAX_EXACT_SEEDS} without `random`")
    values, extreme, block = np.asarray(differences, dtype=np.float64), 0, 1_000
    for _ in range(DRAWN_PATTERNS // block):
        signs = np.unpackbits(np.frombuffer(random.bytes(block * -(-n // 8)), np.uint8)).reshape(block, -1)[:, :n]
        extreme += int(np.count_nonzero(np.abs(2.0 * (signs @ values) - values.sum()) >= limit))
    return (extreme + 1) / (DRAWN_PATTERNS + 1)


def smallest_flip_p(differences: Sequence[float]) -> float:
    """The least p that the sign-flip test of so many differences other than 0 can give, 2/2ⁿ."""
    return min(1.0, 2.0 ** (1 - int(np.count_nonzero(differences))))


def _signed_sums(values: Sequence[float]) -> np.ndarray:
    """The sums of k values over all their signs, shape (2ᵏ,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def sign_test_p(wins: int, losses: int) -> float:
    """Two-sided exact sign test (ties left out): 2·P(Binomial(wins + losses, ½) ≤ the fewer), at most 1."""
    return min(1.0, 2 * fair_binomial_cdf(min(wins, losses), wins + losses))


@dataclass(frozen=True)
class Adjusted:
    """What is left of a test among others."""

    p: float
    """adjusted"""
    family: int
    """the number of tests that it was adjusted for"""
    could_decide: bool
    """whether the least p of the test, adjusted, is not above alpha"""


def tarone_holm(p_values: Sequence[float], least: Sequence[float], alpha: float = 0.05) -> list[Adjusted]:
    """Holm's adjusted p (1979) of a family of tests, of which those whose least possible p is large cost less.

    `least` is the smallest p that each test could give: 0 for a t-test, 2/2ⁿ for an exact sign test of n pairs. K is
    the least k such that at most k tests could give p ≤ alpha / k (Tarone 1990); the smallest p of those that could
    is taken times K, and K counted anew among the others (Hommel & Krummenauer 1998). It rejects whatever Holm's
    adjustment rejects at `alpha`, with the same familywise error rate.
    """
    adjusted, floor, failed_at = [Adjusted(1.0, 0, False)] * len(p_values), 0.0, 0
    remaining = list(range(len(p_values)))
    while remaining:
        k = next(k for k in range(1, len(remaining) + 1) if sum(least[i] <= alpha / k for i in remaining) <= k)
        candidates = [i for i in remaining if least[i] <= alpha / k] or remaining  # of which none can be rejected
        smallest = min(candidates, key=lambda i: p_values[i])
        floor = max(floor, min(1.0, k * p_values[smallest]))
        if floor > alpha and not failed_at:
            failed_at = k  # where it ends for all that remain
        could_decide = least[smallest] <= alpha / (failed_at or k)
        adjusted[smallest] = Adjusted(floor, k, could_decide)
        remaining.remove(smallest)
    return adjusted


def proportion_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a proportion of which k of n were seen (Clopper & Pearson 1934)."""
    tail = (1 - confidence) / 2
    low = beta_quantile(tail, k, n - k + 1) if k > 0 else 0.0
    high = beta_quantile(1 - tail, k + 1, n - k) if k < n else 1.0
    return low, high


MAX_SEEDS_NEEDED = 10_000
POWER = 0.8


def seeds_needed(distance: float, sd: float, alpha: float = 0.05) -> int | None:
    """Seeds with which a two-sided t-test tells a mean from a threshold at `distance`, at a standard deviation `sd`.

    The smallest n whose noncentral t distribution has the power `POWER` (Cohen 1988, ch. 2); None above 10,000.
    """
    return smallest_n(lambda n: t_test_power(n, abs(distance) / sd, alpha) >= POWER)


def seeds_needed_within(mean: float, sd: float, bound: float) -> int | None:
    """Seeds with which two one-sided t-tests at .025 show that a mean is within ± `bound`, if it is `mean`.

    The smallest n of the power `POWER`; None above 10,000.
    """
    return smallest_n(lambda n: equivalence_power(n, mean / sd, bound / sd) >= POWER)


def smallest_n(is_enough: Callable[[int], bool], above: int = 1) -> int | None:
    """The smallest number of seeds above another that is enough, if every larger one is; None above 10,000."""
    numbers = range(above + 1, MAX_SEEDS_NEEDED + 1)
    i = bisect.bisect_left(numbers, True, key=is_enough)
    return numbers[i] if i < len(numbers) else None


def t_test_power(n: int, effect: float, alpha: float = 0.05) -> float:
    """Power of a two-sided t-test of n values whose mean is `effect` standard deviations from 0.

    Of the side where the effect is: P(effect·√n + Z > t(n−1, 1 − alpha/2)·s), over the values of s.
    """
    s, shares = sample_deviations(n - 1)
    return float(shares @ normal_cdf(effect * math.sqrt(n) - t_quantile(1 - alpha / 2, n - 1) * s))


def equivalence_power(n: int, effect: float, bound: float, alpha: float = 0.025) -> float:
    """Power of two one-sided t-tests of n values for a mean within ± `bound`, in units of the standard deviation.

    P(|mean| ≤ bound − t(n−1, 1 − alpha)·s/√n), over the values of s.
    """
    s, shares = sample_deviations(n - 1)
    reach = bound * math.sqrt(n) - t_quantile(1 - alpha, n - 1) * s  # of the mean, in standard errors
    shift = effect * math.sqrt(n)
    return float(shares @ np.where(reach > 0, normal_cdf(reach - shift) - normal_cdf(-reach - shift), 0.0))
