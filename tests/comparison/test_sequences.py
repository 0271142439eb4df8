"""What holds at every look: closed forms, and how often it is wrong, and late, in simulated experiments."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from bncompare.comparison.sequences import (
    seeds_needed_at_every_look,
    share_interval,
    share_log_evidence,
    share_sequence,
    sign_least_p,
    sign_sequence,
    t_half_width,
    t_least_p,
    t_log_evidence,
    t_sequence,
)


@pytest.mark.parametrize(("n", "t"), [(2, 1.0), (5, 0.0), (5, 2.5), (12, -4.0), (40, 3.0)])
@pytest.mark.parametrize("g", [1.0, 4.0])
def test_the_evidence_of_a_mean_is_a_mixture_of_likelihoods(n: int, t: float, g: float) -> None:
    """E is the density of the noncentral t, its effect size drawn from N(0, g), over that of the central one."""

    def mixed(effect: float) -> float:
        return float(stats.nct.pdf(t, n - 1, effect * math.sqrt(n)) * stats.norm.pdf(effect, 0, math.sqrt(g)))

    reach = 8 * math.sqrt(g)
    expected = integrate.quad(mixed, -reach, reach, points=[t / math.sqrt(n)], limit=400)[0] / stats.t.pdf(t, n - 1)
    assert math.exp(t_log_evidence(np.float64(n), np.float64(t), g)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_half_width_is_where_the_evidence_is_enough(alpha: float) -> None:
    """At the ends of the interval, in closed form, E = 1/α; at α = .05 there is none below four values."""
    n, sd = np.arange(2.0, 60), np.linspace(0.1, 5, 58)
    half = t_half_width(n, sd, alpha)
    assert (np.isinf(half) == (n < (4 if alpha == 0.05 else 5))).all()
    there = np.isfinite(half)
    evidence = t_log_evidence(n[there], half[there] / sd[there] * np.sqrt(n[there]))
    assert evidence == pytest.approx(np.full(there.sum(), -math.log(alpha)))
    assert t_half_width(np.float64(4), np.float64(1)) == pytest.approx(3.6069918)


def test_least_p() -> None:
    """An infinite t, and seeds that all agree: what Holm's correction counts."""
    for n in (2, 4, 10, 1000):
        assert t_least_p(n) == pytest.approx(math.exp(-t_log_evidence(np.float64(n), np.float64(1e12))), rel=1e-6)
    assert [sign_least_p(n) for n in (6, 7)] == pytest.approx([0.06926407, 0.03729604])
    assert sign_least_p(6000) == 0.0  # no overflow on the way


@pytest.mark.parametrize(("k", "n"), [(0, 1), (3, 3), (5, 12), (40, 41)])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_evidence_of_a_share_is_a_mixture_of_likelihoods(k: int, n: int, share: float) -> None:
    """E is the likelihood with the share drawn from Beta(½, ½), divided by that of the share."""

    def mixed(angle: float) -> float:  # share = sin², whose density is then constant
        return float(math.sin(angle) ** (2 * k) * math.cos(angle) ** (2 * (n - k)) * 2 / math.pi)

    expected = integrate.quad(mixed, 0, math.pi / 2)[0] / (share**k * (1 - share) ** (n - k))
    assert math.exp(share_log_evidence(np.float64(k), np.float64(n), share)) == pytest.approx(expected, rel=1e-6)


def test_share_interval() -> None:
    """At its ends E = 1/α, or it goes to the end of what there is; seven seeds that agree leave out ½, six do not."""
    k, n = np.array([0.0, 3.0, 6.0, 7.0, 5.0]), np.array([6.0, 6.0, 6.0, 7.0, 40.0])
    low, high = share_interval(k, n)
    assert (low[0], high[2], high[3]) == (0.0, 1.0, 1.0)
    for ends, inner in ((low, k > 0), (high, k < n)):
        at_ends = share_log_evidence(k[inner], n[inner], ends[inner])
        assert at_ends == pytest.approx(np.full(inner.sum(), math.log(20)), rel=1e-6)
    assert low[2] < 0.5 < low[3]


def test_all_looks_count() -> None:
    """The interval is the intersection of those of all looks, p the least; so what was decided stays so."""
    clear, noise = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0], [3.0, -2.0, 4.0, -3.0]
    first, later = t_sequence(clear), t_sequence([*clear, *noise])
    assert first.p < 0.05 < t_sequence(noise).p
    assert (later.low, later.high, later.p) == (first.low, first.high, first.p)
    signs = sign_sequence([True] * 8 + [False] * 8)
    assert (signs.p, signs.is_ahead) == (sign_sequence([True] * 8).p, True)


@pytest.mark.parametrize("values", [[], [1.0], [0.5] * 9, [1.0, 2.0, 3.0]])
def test_nothing_to_say_yet(values: list[float]) -> None:
    """Too few values, or none that differ, leave no interval."""
    looks = t_sequence(values)
    assert math.isnan(looks.low)
    assert looks.p > 0.05


def test_a_look_that_contradicts_the_others_is_left_out() -> None:
    """Where the values jump, no interval is turned inside out, and p and the interval agree."""
    looks = t_sequence([1.0, 1.1, 0.9, 1.05, 0.95, 1.0] + [-9.0, -9.1] * 20)
    assert looks.low <= looks.high
    assert (looks.p < 0.05) == (looks.low > 0 or looks.high < 0)
    shares = share_sequence([True] * 9 + [False] * 60)
    assert shares.low <= shares.high


@pytest.mark.parametrize("seed", range(5))
def test_p_and_interval_agree(seed: int) -> None:
    """p < .05 just where the interval leaves out 0, or ½."""
    random = np.random.default_rng(seed)
    for effect in (0.0, 0.3, 1.0):
        looks = t_sequence(random.normal(effect, 1, 25).tolist())
        assert (looks.p < 0.05) == (looks.low > 0 or looks.high < 0)
        hits = (random.uniform(size=25) < 0.5 + effect / 3).tolist()
        shares = share_sequence(hits)
        assert (shares.p < 0.05) == (shares.low > 0.5 or shares.high < 0.5)
        assert shares.p == pytest.approx(sign_sequence(hits).p)


@pytest.mark.parametrize("unit", [1e-150, 1.0, 1e150])
def test_in_any_unit(unit: float) -> None:
    """The p does not depend on the unit, and a large mean costs no digits."""
    values = np.random.default_rng(0).normal(1, 1, 12)
    looks, scaled = t_sequence(values.tolist()), t_sequence((unit * values).tolist())
    assert (scaled.p, scaled.low / unit) == pytest.approx((looks.p, looks.low))
    shifted = t_sequence((values + 1e6).tolist())
    assert shifted.low - 1e6 == pytest.approx(looks.low, abs=1e-6)


def decided_after(values: np.ndarray) -> float:
    """With how many values the sequence leaves out 0; infinite if with none."""
    return next((n for n in range(2, len(values) + 1) if t_sequence(values[:n].tolist()).p < 0.05), math.inf)


@pytest.mark.parametrize(("effect", "median"), [(5, 4), (2, 6), (1, 13), (0.5, 40)])
def test_seeds_to_decide(effect: float, median: int) -> None:
    """The larger the effect the fewer seeds, of at most 40."""
    random = np.random.default_rng(1)
    found = np.median([min(40.0, decided_after(random.normal(effect, 1, 40))) for _ in range(100)])
    assert found == pytest.approx(median, abs=1 if effect > 0.5 else 6)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
@pytest.mark.parametrize("effect", [0.3, 1.0, 5.0])
def test_seeds_needed_at_every_look(effect: float, alpha: float) -> None:
    """The first number with which the interval of such a mean and spread leaves out 0."""
    needed = seeds_needed_at_every_look(effect, 1.0, alpha)
    assert needed is not None
    before, with_it = t_half_width(np.array([needed - 1.0, needed]), np.ones(2), alpha)
    assert with_it < effect <= before


def test_no_number_of_seeds_would_do() -> None:
    """No difference, no answer."""
    assert seeds_needed_at_every_look(0.0, 1.0) is None
