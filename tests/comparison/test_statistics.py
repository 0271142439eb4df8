"""The numbers of a summary: closed forms, coverage by simulation, and how they change with the unit."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bncompare.comparison.statistics import (
    Summary,
    compare_paired,
    difference,
    effect_size,
    equivalence_power,
    probability_better,
    proportion_interval,
    seeds_needed,
    seeds_needed_within,
    sign_flip_p,
    sign_test_p,
    smallest_n,
    summarize,
    t_test_p,
    t_test_power,
    tarone_holm,
)

VALUES = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 6)), min_size=2, max_size=8)


@pytest.mark.parametrize("values", [[1.0, 3.0], [0.25, 0.5, 1.5], [2.0, -1.0, 0.5, 4.0, 10.0], [7.0, 7.0, 7.0]])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_interval_is_students(values: list[float], confidence: float) -> None:
    """Mean, sd (n − 1) and interval are the textbook's, with the quantile from scipy.stats."""
    n = len(values)
    mean = sum(values) / n
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = stats.t.ppf(0.5 + confidence / 2, n - 1) * sd / math.sqrt(n)
    summary = summarize(values, confidence)
    assert summary.n == n
    numbers = (summary.mean, summary.sd, summary.low, summary.high)
    assert numbers == pytest.approx((mean, sd, mean - half, mean + half), rel=1e-12)
    assert summarize(values) == summarize(values, 0.95)


def test_two_values_by_hand() -> None:
    """For n = 2, t is a Cauchy quantile: the 95 % interval of 1 and 3 is 2 ± tan(0.475 π)."""
    summary = summarize([1.0, 3.0])
    half = math.tan(0.475 * math.pi)  # t = tan(0.475 π), sd = √2, √n = √2
    assert (summary.mean, summary.sd) == (2.0, pytest.approx(math.sqrt(2)))
    assert (summary.low, summary.high) == pytest.approx((2 - half, 2 + half), rel=1e-9)
    assert half == pytest.approx(12.7062, abs=1e-4)


def test_equal_values_have_an_interval_of_no_width() -> None:
    """n equal values leave no doubt: sd 0 and both ends at the value."""
    assert summarize([0.1] * 6) == Summary(6, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1)  # whose sum is not 0.6


def test_one_value_has_no_interval() -> None:
    """One seed says nothing about the spread: sd and interval are NaN, not 0."""
    summary = summarize([0.75])
    assert (summary.n, summary.mean) == (1, 0.75)
    assert all(math.isnan(number) for number in (summary.sd, summary.low, summary.high))
    assert (summary.median, summary.min, summary.max) == (0.75, 0.75, 0.75)


def test_median_and_range() -> None:
    """The median of an even number of values is the middle of the two in the middle."""
    summary = summarize([3.0, 1.0, 10.0, 2.0])
    assert (summary.median, summary.min, summary.max) == (2.5, 1.0, 10.0)
    assert summarize([3.0, 1.0, 10.0]).median == 3.0


def test_no_values_is_an_error() -> None:
    """There is no mean of nothing."""
    with pytest.raises(ValueError, match="no values"):
        summarize([])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_interval_covers_the_mean(n: int) -> None:
    """In 4000 experiments of n normal values the 95 % interval holds the true mean in 94 to 96 % (sd 0.34 %)."""
    rng = np.random.default_rng(n)
    samples = rng.normal(loc=3.0, scale=2.0, size=(4000, n))
    summaries = [summarize(row) for row in samples]
    coverage = sum(summary.low <= 3.0 <= summary.high for summary in summaries) / len(summaries)
    assert 0.94 <= coverage <= 0.96


@given(VALUES, st.integers(-1000, 1000))
def test_shift(values: list[float], shift: int) -> None:
    """Adding a constant to all values moves mean and interval by it and leaves the sd."""
    before, after = summarize(values), summarize([value + shift for value in values])
    assert after.sd == pytest.approx(before.sd, abs=1e-8)
    moved = [number + shift for number in (before.mean, before.low, before.high)]
    assert [after.mean, after.low, after.high] == pytest.approx(moved, rel=1e-9, abs=1e-6)


@given(VALUES, st.floats(0.001, 1000), st.sampled_from([1, -1]))
def test_scale(values: list[float], factor: float, sign: int) -> None:
    """Another unit scales everything; a negative factor swaps the ends of the interval."""
    scale = sign * factor
    before, after = summarize(values), summarize([value * scale for value in values])
    ends = sorted([before.low * scale, before.high * scale])
    numbers = [before.mean * scale, before.sd * factor, *ends]
    assert [after.mean, after.sd, after.low, after.high] == pytest.approx(numbers, rel=1e-9, abs=1e-6 * factor)


@given(VALUES)
def test_order_does_not_matter(values: list[float]) -> None:
    """The seeds may come in any order."""
    before, after = summarize(values), summarize(sorted(values))
    assert [after.mean, after.sd] == pytest.approx([before.mean, before.sd], rel=1e-9, abs=1e-9)


@given(VALUES)
def test_interval_holds_the_sample_mean(values: list[float]) -> None:
    """The mean lies in the middle of its interval."""
    summary = summarize(values)
    assert summary.low <= summary.mean <= summary.high
    assert summary.mean - summary.low == pytest.approx(summary.high - summary.mean, rel=1e-6, abs=1e-9)


# ---------------------------------------------------------------- paired comparisons


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_sign_flip_is_exact(n: int) -> None:
    """The p-value is the share of all 2ⁿ sign patterns at least as extreme, by enumeration."""
    differences = np.random.default_rng(n).normal(0.5, 1, n)
    patterns = itertools.product([1, -1], repeat=n)
    extreme = [abs(np.dot(signs, differences)) >= abs(differences.sum()) - 1e-12 for signs in patterns]
    assert sign_flip_p(differences.tolist()) == pytest.approx(np.mean(extreme))


def test_sign_flip_by_hand() -> None:
    """All differences of one sign give the smallest p there is, 2/2ⁿ; differences of 0 give 1."""
    assert sign_flip_p([0.1, 0.2, 0.3]) == 0.25
    assert sign_flip_p([0.1] * 5) == 0.0625
    assert sign_flip_p([-0.1] * 6) == 0.03125
    assert sign_flip_p([0.0, 0.0]) == 1
    assert sign_flip_p([1.0, -1.0]) == 1
    assert sign_flip_p([3.0, -1.0, -1.0]) == 1  # the smallest of |±3 ±1 ±1| is the 1 observed
    assert sign_flip_p([3.0, 1.0, -1.0]) == 0.75  # 3 observed: 5, 3, 3 and 1, twice each


@pytest.mark.parametrize("unit", [1e-300, 1e-13, 1.0, 1e13, 1e300])
def test_sign_flip_in_any_unit(unit: float) -> None:
    """The p does not depend on the unit, however small: sums that rounding parts are equal relative to their size."""
    assert sign_flip_p([unit] * 6) == 0.03125
    assert sign_flip_p([0.1 * unit, 0.2 * unit, -0.3 * unit]) == 1.0
    assert sign_flip_p([3 * unit, unit, -unit]) == 0.75


def test_sign_flip_beyond_enumeration() -> None:
    """Beyond 30 differences patterns are drawn, from a generator one must give; the p is right within its error."""
    with pytest.raises(ValueError, match="31 differences have too many sign patterns; at most 30"):
        sign_flip_p([1.0] * 31)
    differences = np.random.default_rng(0).normal(0.3, 1, 31)
    drawn = sign_flip_p(differences.tolist(), np.random.default_rng(1))
    assert drawn == sign_flip_p(differences.tolist(), np.random.default_rng(1))
    reference = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=50_000, rng=np.random.default_rng(2)
    )
    assert drawn == pytest.approx(reference.pvalue, abs=0.01)
    assert sign_flip_p([1.0] * 31, np.random.default_rng(0)) == 1 / 20_001  # never 0: the observed one counts


@pytest.mark.parametrize(("n", "extreme"), [(30, 1), (30, 2), (21, 3)])
def test_sign_flip_of_many(n: int, extreme: int) -> None:
    """n equal differences with k of the other sign: a binomial tail in closed form."""
    tail = 2 * sum(math.comb(n, k) for k in range(extreme + 1)) / 2**n
    assert sign_flip_p([0.1] * (n - extreme) + [-0.1] * extreme) == pytest.approx(tail, rel=1e-9)
    assert sign_test_p(n - extreme, extreme) == pytest.approx(tail, rel=1e-9)


@pytest.mark.parametrize(("wins", "losses"), [(6, 0), (0, 6), (5, 1), (3, 3), (0, 0), (17, 4)])
def test_sign_test(wins: int, losses: int) -> None:
    """The sign test is the two-sided binomial test with probability ½."""
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test_p(wins, losses) == pytest.approx(expected)


@pytest.mark.parametrize(("k", "n"), [(0, 6), (6, 6), (5, 6), (1, 2), (40, 100)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_proportion_interval(k: int, n: int, confidence: float) -> None:
    """Clopper & Pearson's interval, as scipy.stats gives it."""
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    assert proportion_interval(k, n, confidence) == pytest.approx(tuple(expected))


def test_compare_paired() -> None:
    """Differences are a − b seed by seed; ties are half of a seed in P(better); a loss is better low."""
    a, b = [1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 5.0, 1.0]
    accuracy = compare_paired(a, b, higher_is_better=True)
    assert accuracy.difference.mean == pytest.approx(0.5)
    assert accuracy.probability_better == 0.625
    assert accuracy.smallest_p == 0.125
    loss = compare_paired(a, b, higher_is_better=False)
    assert (loss.difference, loss.probability_better) == (accuracy.difference, 0.375)
    assert [probability_better(3, 1, 4), probability_better(0, 5, 5)] == [0.875, 0.5]
    with pytest.raises(ValueError, match="cannot be paired"):
        compare_paired([1.0], [1.0, 2.0], higher_is_better=True)


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=8))
def test_comparing_the_other_way_round(pairs: list[tuple[float, float]]) -> None:
    """b against a is a against b with the signs turned: same p, P(better) from the other side."""
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    forth = compare_paired(a, b, higher_is_better=True)
    back = compare_paired(b, a, higher_is_better=True)
    assert back.difference.mean == -forth.difference.mean
    assert back.effect_size == -forth.effect_size
    assert (back.sign_flip_p, back.t_test_p) == (forth.sign_flip_p, forth.t_test_p)
    assert back.probability_better == pytest.approx(1 - forth.probability_better)


def test_effect_size_by_hand() -> None:
    """Cohen's d_z of 1, 2, 3 is 2/1; without spread it is infinite, or 0 where nothing differs."""
    assert effect_size(summarize([1.0, 2.0, 3.0])) == pytest.approx(2.0)
    assert effect_size(summarize([-0.5, -0.5])) == -math.inf
    assert effect_size(summarize([0.0, 0.0])) == 0.0
    assert math.isnan(effect_size(summarize([1.0])))


@pytest.mark.parametrize("n", [2, 3, 8, 40])
def test_t_test(n: int) -> None:
    """The p is that of scipy's one-sample t-test, and below 0.05 where the 95 % interval leaves out 0."""
    for seed in range(20):
        values = np.random.default_rng(seed).normal(0.5, 1, n)
        summary = summarize(values.tolist())
        assert t_test_p(summary) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9)
        assert (t_test_p(summary) < 0.05) == (summary.low > 0 or summary.high < 0)


def test_t_test_without_spread() -> None:
    """Equal differences, also but for rounding, are no spread to judge by; no more is a single one."""
    for values in ([0.1, 0.1], [0.0, 0.0], [0.1], [0.3 - 0.2, 0.4 - 0.3, 0.5 - 0.4]):
        summary = summarize(values)
        assert not summary.has_spread
        assert math.isnan(t_test_p(summary))
    assert summarize([0.1, 0.1001]).has_spread


def holm(p_values: list[float]) -> list[float]:
    """Of tests that can give any p."""
    return [adjusted.p for adjusted in tarone_holm(p_values, [0.0] * len(p_values))]


def test_holm_published() -> None:
    """Worked examples: Holm (1979) by hand, and R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.5, 0.9, 0.0001]) == pytest.approx([1.0, 1.0, 0.0003])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test(p_values: list[float]) -> None:
    """Adjusted p = the largest Bonferroni p over all sets of hypotheses that hold this one (Marcus et al. 1976)."""
    expected = [
        max(
            min(1.0, len(group) * min(p_values[j] for j in group))
            for size in range(1, len(p_values) + 1)
            for group in itertools.combinations(range(len(p_values)), size)
            if i in group
        )
        for i in range(len(p_values))
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_holm_keeps_the_familywise_level() -> None:
    """Of ten true hypotheses any is rejected at 0.05 in at most 5 % of experiments."""
    random = np.random.default_rng(11)
    hits = sum(min(holm(random.uniform(size=10).tolist())) <= 0.05 for _ in range(4000))
    assert hits / 4000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    assert hits / 4000 >= 0.03


@pytest.mark.parametrize(
    ("p_values", "least", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.0] * 3, [(0.03, 3, True), (0.06, 1, True), (0.06, 2, True)]),  # Holm's
        # K = 2: two sign tests of six pairs cannot give .025, of seven they can: K = 3
        ([0.02, 1 / 32, 1 / 32], [0.0, 1 / 32, 1 / 32], [(0.04, 2, True), (2 / 32, 2, False), (2 / 32, 1, False)]),
        ([0.4, 1 / 32, 1 / 32], [0.0, 1 / 32, 1 / 32], [(0.8, 2, True), (0.8, 2, False), (0.8, 1, False)]),
        ([0.4, 1 / 64, 1 / 64], [0.0, 1 / 64, 1 / 64], [(0.4, 1, True), (3 / 64, 3, True), (3 / 64, 2, True)]),
        # where all others are rejected, one sign test of six pairs has α for itself
        (
            [0.001, 0.002, 0.003, 1 / 32],
            [0, 0, 0, 1 / 32],
            [(0.003, 3, True), (0.004, 2, True), (0.006, 2, True), (1 / 32, 1, True)],
        ),
        ([1.0, 1 / 32], [1.0, 1 / 32], [(1.0, 1, False), (1 / 32, 1, True)]),  # one that can give 1 alone
        ([1 / 16], [1 / 16], [(1 / 16, 1, False)]),
        ([], [], []),
    ],
)
def test_tarone_holm(p_values: list[float], least: list[float], expected: list[tuple[float, int, bool]]) -> None:
    """Adjusted p, the number of tests it is adjusted for, and whether it could decide, by hand."""
    found = [(adjusted.family, adjusted.could_decide) for adjusted in tarone_holm(p_values, least)]
    assert found == [(family, could_decide) for _, family, could_decide in expected]
    assert [adjusted.p for adjusted in tarone_holm(p_values, least)] == pytest.approx([p for p, *_ in expected])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 6))
def test_tests_that_cannot_reach_alpha_cost_nothing(p_values: list[float], more: int) -> None:
    """Sign tests of five pairs beside t-tests change none of their p."""
    alone = holm(p_values)
    beside = tarone_holm([*p_values, *[1 / 16] * more], [*[0.0] * len(p_values), *[1 / 16] * more])
    assert [adjusted.p for adjusted in beside[: len(p_values)]] == alone
    assert all(adjusted.p > 0.05 and not adjusted.could_decide for adjusted in beside[len(p_values) :])


@given(st.lists(st.tuples(st.sampled_from([0.0, *(2.0**-k for k in range(11))]), st.floats(0, 1)), max_size=8))
def test_tarone_holm_never_loses_to_holm(tests: list[tuple[float, float]]) -> None:
    """What Holm's adjustment rejects it rejects, whatever the least p; and only a test that could decide."""
    least = [low for low, _ in tests]
    p_values = [max(low, p * p * p) for low, p in tests]
    found = tarone_holm(p_values, least)
    for adjusted, by_holm in zip(found, holm(p_values), strict=True):
        assert adjusted.p < 0.05 or by_holm >= 0.05
        assert adjusted.could_decide or adjusted.p > 0.05


@pytest.mark.parametrize("n", [6, 7, 8])
@pytest.mark.parametrize("num_false", [0, 1])
def test_tarone_holm_keeps_the_familywise_level(n: int, num_false: int) -> None:
    """Of true hypotheses, some by t-tests and some by sign tests of n pairs, any is rejected in at most 5 %."""
    random = np.random.default_rng(n)
    hits = 0
    least = [0.0] * 2 + [2.0 ** (1 - n)] * 4
    for _ in range(3000):
        p_values = random.uniform(size=2).tolist()
        p_values += [sign_test_p(wins, n - wins) for wins in random.binomial(n, 0.5, 4).tolist()]
        p_values[:num_false] = [0.0] * num_false
        hits += min(adjusted.p for adjusted in tarone_holm(p_values, least)[num_false:]) < 0.05
    assert hits / 3000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 3000)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (0.1 + 0.2, 0.3, 0.0),
        (1e9 + 1e-7, 1e9, 0.0),
        (0.0, 1e-300, -1e-300),
        (1.0, 1.0 + 1e-9, 1.0 - (1.0 + 1e-9)),
        (math.inf, 1.0, math.inf),
        (1.0, math.inf, -math.inf),
        (math.inf, math.inf, math.nan),
    ],
)
def test_difference(a: float, b: float, expected: float) -> None:
    """Rounding, relative to the values, is no difference; of two that diverged there is none to tell."""
    assert difference(a, b) == pytest.approx(expected, abs=0.0, nan_ok=True)


def test_rounding_is_no_spread() -> None:
    """Values that are equal on paper leave no t-test, however the rounding of their differences scatters."""
    a, b = [0.1 + 0.2, 0.3, 0.1 + 0.2, 0.7], [0.3, 0.3, 0.3, 0.1 + 0.6]
    paired = compare_paired(a, b, higher_is_better=True)
    assert (paired.difference.sd, paired.probability_better) == (0.0, 0.5)


def test_sign_flip_has_its_level() -> None:
    """With no difference p ≤ 0.0625 comes up in at most 6.25 % of experiments of five seeds."""
    random = np.random.default_rng(3)
    hits = sum(sign_flip_p(random.normal(0, 1, 5).tolist()) <= 0.0625 for _ in range(4000))
    assert hits / 4000 == pytest.approx(0.0625, abs=4 * math.sqrt(0.0625 * 0.9375 / 4000))


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (1.5, 6)])
def test_seeds_needed(effect: float, n: int) -> None:
    """Sample sizes of the paired t-test at power .8 and α .05, as published (Cohen 1988; G*Power)."""
    assert seeds_needed(effect, 1.0) == n
    assert seeds_needed(-effect * 3, 3.0) == n


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_seeds_needed_is_the_first_number(alpha: float) -> None:
    """Searched one by one, whatever the effect: the power has a value everywhere, and grows with n."""
    for effect in np.arange(0.5, 12, 0.05):
        one_by_one = next(n for n in range(2, 60) if t_test_power(n, effect, alpha) >= 0.8)
        assert seeds_needed(effect, 1.0, alpha=alpha) == one_by_one
    assert not any(math.isnan(t_test_power(n, 3.0, alpha)) for n in range(2, 200))


def test_seeds_needed_at_the_ends() -> None:
    """Two seeds are the fewest; no distance, or next to none, has no answer."""
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1e-6, 1.0) is None
    assert seeds_needed(1e9, 1.0) == 2


@pytest.mark.parametrize(("n", "effect"), [(3, 2.0), (5, 1.0), (10, 1.0)])
def test_power_by_simulation(n: int, effect: float) -> None:
    """The power is the share of experiments in which the t-test finds an effect of that size."""
    samples = np.random.default_rng(n).normal(effect, 1, (4000, n))
    found = sum(summarize(row).low > 0 for row in samples) / len(samples)
    assert found == pytest.approx(t_test_power(n, effect), abs=0.025)


@pytest.mark.parametrize(("n", "effect", "bound"), [(5, 0.5, 3.0), (6, 0.0, 1.5), (10, 0.3, 1.0), (16, 0.0, 0.8)])
def test_equivalence_power_by_simulation(n: int, effect: float, bound: float) -> None:
    """The power is the share of experiments whose 95 % interval lies within the bound on both sides."""
    samples = np.random.default_rng(n).normal(effect, 1, (20_000, n))
    half = stats.t.ppf(0.975, n - 1) * samples.std(axis=1, ddof=1) / math.sqrt(n)
    found = np.mean(np.abs(samples.mean(axis=1)) + half <= bound)
    assert found == pytest.approx(equivalence_power(n, effect, bound), abs=0.012)


def test_seeds_needed_within() -> None:
    """Far from one bound it is the one-sided t-test's; a mean of 0 needs more; one on the bound has no answer."""
    assert seeds_needed_within(0.5, 1.0, 1.2) == seeds_needed(0.7, 1.0)
    assert seeds_needed_within(0.0, 1.0, 0.5) == 44  # (z.975 + z.90)² / .5² = 42.0, and t for z
    assert seeds_needed_within(-5.0, 10.0, 12.0) == seeds_needed_within(0.5, 1.0, 1.2)
    assert seeds_needed_within(1.0, 1.0, 1.0) is None


def test_smallest_n() -> None:
    """The first number above another that is enough."""
    assert smallest_n(lambda n: n >= 17) == 17
    assert smallest_n(lambda n: True, above=6) == 7
    assert smallest_n(lambda n: False) is None
