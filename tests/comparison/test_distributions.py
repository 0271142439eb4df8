"""The distributions that are written out here are those of SciPy, tails as well."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import integrate, special, stats

from bncompare.comparison.distributions import (
    beta_cdf,
    beta_quantile,
    fair_binomial_cdf,
    log_beta,
    normal_cdf,
    t_quantile,
    t_tail,
)
from bncompare.comparison.statistics import equivalence_power, t_test_power

DEGREES = (1, 2, 3, 5, 19, 99, 9_999)


def test_beta() -> None:
    """Of its distribution all values, however close to 0, and the inverse."""
    for a, b, x in product((0.5, 1, 3, 40, 5_000), (0.5, 1, 7, 900), (0.0, 1e-60, 1e-3, 0.2, 0.5, 0.9, 0.999, 1.0)):
        assert beta_cdf(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=2e-11, abs=1e-300), (a, b, x)
    for n, p in product((1, 2, 6, 100), (0.025, 0.5, 0.975)):
        for k in range(1, n + 1):
            assert beta_quantile(p, k, n - k + 1) == pytest.approx(special.betaincinv(k, n - k + 1, p), rel=1e-11)


@pytest.mark.parametrize("df", DEGREES)
def test_student(df: int) -> None:
    """The tail, however far out, and quantiles, of few and many degrees of freedom."""
    for t in (0.0, 1e-3, 0.5, 1.0, 2.0, 5.0, 50.0, 1e6, math.inf):
        assert t_tail(t, df) == pytest.approx(special.stdtr(df, -t), rel=2e-11, abs=1e-300), t
    for p in (0.5, 0.55, 0.9, 0.975, 0.9999, 1 - 1e-9):
        assert t_quantile(p, df) == pytest.approx(special.stdtrit(df, p), rel=1e-9, abs=1e-15), p


def test_signs_and_normal_values() -> None:
    """The binomial of a fair coin, the normal and the beta function."""
    for n in (1, 2, 7, 100):
        for k in range(n + 1):
            assert fair_binomial_cdf(k, n) == pytest.approx(stats.binom.cdf(k, n, 0.5), rel=1e-12)
    z = np.linspace(-30, 8, 77)
    np.testing.assert_allclose(normal_cdf(z), special.ndtr(z), rtol=1e-12)
    k = np.arange(20.0)
    np.testing.assert_allclose(log_beta(k + 0.5, 19.5 - k), special.betaln(k + 0.5, 19.5 - k), rtol=1e-12)
    assert float(log_beta(0.5, 0.5)) == pytest.approx(math.log(math.pi))


@pytest.mark.parametrize("n", [2, 3, 6, 30, 1_000, 10_000])
def test_powers(n: int) -> None:
    """That of the t-test is that of SciPy's noncentral t; that of two one-sided tests an integral over s/σ."""
    for effect, alpha in product((0.0, 0.05, 0.3, 1.0, 5.0), (0.05, 0.003)):
        critical = special.stdtrit(n - 1, 1 - alpha / 2)
        expected = 1 - special.nctdtr(n - 1, effect * math.sqrt(n), critical)
        if math.isfinite(expected):
            assert t_test_power(n, effect, alpha) == pytest.approx(expected, abs=1e-9), effect
    critical = special.stdtrit(n - 1, 0.975)
    for effect, bound in ((0.0, 0.5), (0.1, 0.5), (0.0, 3.0), (1.0, 1.2)):

        def within(s: float, shift: float = effect * math.sqrt(n), bound: float = bound) -> float:
            reach = bound * math.sqrt(n) - critical * s
            density = stats.chi.pdf(s * math.sqrt(n - 1), n - 1) * math.sqrt(n - 1)
            return float(density * (special.ndtr(reach - shift) - special.ndtr(-reach - shift)))

        end, spread = bound * math.sqrt(n) / critical, 8 / math.sqrt(2 * (n - 1))
        expected, _ = integrate.quad(within, max(0.0, 1 - spread), min(end, 1 + spread), limit=500)
        assert equivalence_power(n, effect, bound) == pytest.approx(max(expected, 0.0), abs=1e-3)
