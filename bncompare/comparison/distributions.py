"""Distributions of which tests and intervals are made, without SciPy: importing it takes longer than most reports.

Values are within 1e-11 of theirs, relative ones in the tails as well.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SMALLEST = 1e-300  # in place of a 0 that would be divided by


def beta_cdf(x: float, a: float, b: float) -> float:
    """Of Beta(a, b), the regularized incomplete beta function I_x(a, b): its continued fraction (DLMF 8.17.22)."""
    return _beta_cdf(x, 1 - x, a, b)


def _beta_cdf(x: float, y: float, a: float, b: float) -> float:
    """The same, with y = 1 − x, as it may be far smaller than what is left of it by rounding x."""
    if x <= 0 or y <= 0:
        return float(y <= 0)
    if x > (a + 1) / (a + b + 2):  # where the fraction of the other end is the one that converges
        return 1 - _beta_cdf(y, x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y)
    return math.exp(log_front) / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d₁/(1 + d₂/(1 + …)), by Lentz's method (Press et al. 2007, Numerical Recipes, ch. 5.2)."""
    value = upper = 1.0
    lower = 0.0
    for i in range(1, 10_000):
        m = i // 2
        if i % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + d * lower or SMALLEST)
        upper = 1 + d / upper or SMALLEST
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return value


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with `beta_cdf(x, a, b)` = p, by bisection."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if beta_cdf(middle, a, b) < p else (low, middle)
    return high


def t_tail(t: float, df: float) -> float:
    """P(T > t), t ≥ 0, of Student's t with `df` degrees of freedom: half of I_x(df/2, ½) at x = df/(df + t²)."""
    square = t * t
    return 0.5 * _beta_cdf(df / (df + square), square / (df + square), df / 2, 0.5)


@cache
def t_quantile(p: float, df: int) -> float:
    """The t with P(T ≤ t) = p, p ≥ ½, by Newton's method: the tail is convex, so that no step goes too far."""
    log_peak = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(math.pi * df) / 2
    t, step = 0.0, 1.0
    while step > 1e-14 * t:
        density = math.exp(log_peak - (df + 1) / 2 * math.log1p(t * t / df))
        step = (t_tail(t, df) - (1 - p)) / density
        t += step
    return t


def fair_binomial_cdf(k: int, n: int) -> float:
    """P(k heads at most in n throws)."""
    patterns = with_as_many = 1  # each binomial coefficient from the one before, in a thousandth of the time
    for heads in range(1, k + 1):
        with_as_many = with_as_many * (n - heads + 1) // heads
        patterns += with_as_many
    return patterns / (1 << n)


def normal_cdf(z: Array) -> Array:
    """P(Z ≤ z), value by value."""
    return np.array([0.5 * math.erfc(value) for value in (-z / math.sqrt(2)).tolist()])


def log_beta(a: Array | float, b: Array | float) -> Array:
    """The logarithm of the beta function, value by value."""
    return _log_gamma(a) + _log_gamma(b) - _log_gamma(np.add(a, b))


def _log_gamma(values: Array | float) -> Array:
    return np.array([math.lgamma(value) for value in np.ravel(values)]).reshape(np.shape(values))


def sample_deviations(df: int) -> tuple[Array, Array]:
    """Values of s/σ, χ(df)/√df, and their probabilities: 600 of them, evenly spaced in the logarithm.

    Sums over them are expected values to ten digits: the trapezoidal rule converges exponentially for what falls off
    so fast at both ends (Trefethen & Weideman 2014), which are where the density is e⁻²⁵ and e⁻³⁰ of its peak.
    """
    low, high = -25 / df - 5.7 / math.sqrt(df), 0.5 * math.log1p(70 / df + 11.3 / math.sqrt(df))
    x = np.linspace(low, high, 600)
    weights = np.exp(df * (x - np.expm1(2 * x) / 2))
    return np.exp(x), weights / weights.sum()
