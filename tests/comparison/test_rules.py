"""How often the rules are wrong: the small version of the tables that tests/benchmarks/rules.py prints."""

import math
from typing import Any

import numpy as np
import pytest
from benchmarks import rules

from bncompare.comparison.statistics import summarize, t_test_p


@pytest.mark.parametrize("make", rules.EXCHANGEABLE.values(), ids=rules.EXCHANGEABLE.keys())
@pytest.mark.parametrize(("n", "pairs"), [(3, 1), (6, 1), (10, 6)])
def test_rules_hold_beyond_normal_noise(make: Any, n: int, pairs: int) -> None:
    """Where variants are the same but for noise, of whatever kind, at most 5 % have a false verdict."""
    told, preliminary = rules.false_verdicts(make, n, pairs, 300, np.random.default_rng(n))
    assert told < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert n > 3 or told == 0
    assert n > 3 or make is not rules.plus_or_minus or preliminary > 0.15  # which a t-test alone would call better


@pytest.mark.parametrize("diverged", [0.0, 0.1])
@pytest.mark.parametrize("name", ["normal", "t with 3 degrees of freedom", "Laplace", "trains or not"])
def test_false_decisions_under_optional_stopping_are_rare(name: str, diverged: float) -> None:
    """Whoever looks after each of 40 seeds, and stops at a verdict, is wrong in at most 5 % of experiments."""
    random = np.random.default_rng(3)
    made = [rules.outcomes_of(rules.NULLS[name](random, rules.MAX_SEEDS), random, diverged) for _ in range(100)]
    false = sum(math.isfinite(rules.seeds_until_decided(outcomes)) for outcomes in made)
    assert false / 100 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)


def test_looking_at_a_t_test_after_every_seed_is_not_safe() -> None:
    """What the sequences are for: stopped at p < .05, up to 40 seeds, the t-test finds a difference where none is."""
    random = np.random.default_rng(3)
    values = random.normal(size=(300, 40))
    p = [[t_test_p(summarize(row[:n].tolist())) for n in range(3, 41)] for row in values[:100]]
    assert 0.2 < np.mean([min(of) < 0.05 for of in p]) < 0.5
