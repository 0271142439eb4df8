"""How often the rules of verdicts are wrong, and how many seeds they need: the tables of docs/statistics.md.

    python tests/benchmarks/rules.py [--experiments 4000] [fixed] [sequential]

Experiments without a difference, or with a known one, are random numbers, judged by the code that judges runs.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bncompare.comparison.deciding import Decision, Outcomes, decided, deciding_test
from bncompare.comparison.statistics import seeds_needed, t_test_power

Array = np.ndarray
Random = np.random.Generator
SEEDS, PAIRS, MAX_SEEDS = (3, 6, 10), (1, 6, 16), 40


# ---------------------------------------------------------------- a number of seeds that is fixed


def normal(random: Random, shape: tuple[int, int]) -> Array:
    return random.normal(size=shape)


def lognormal(random: Random, shape: tuple[int, int]) -> Array:
    return np.exp(1.5 * random.normal(size=shape))


def heavy(random: Random, shape: tuple[int, int]) -> Array:
    return random.standard_t(1.5, size=shape)


def trains_or_not(random: Random, shape: tuple[int, int]) -> Array:
    return np.where(random.uniform(size=shape) < 0.5, 0.1, 0.9) + random.normal(0, 0.01, shape)


def plus_or_minus(random: Random, shape: tuple[int, int]) -> Array:
    """The first, the baseline, always the same; the others 1 above it or below, but for a little."""
    values = random.choice([-1.0, 1.0], size=shape) + random.normal(0, 0.001, shape)
    values[0] = 0.0
    return values


def skewed(random: Random, shape: tuple[int, int]) -> Array:
    """All with mean 0; the first, the baseline, skewed and with most of the spread."""
    values = random.normal(0, 0.1, shape)
    values[0] = np.exp(random.normal(size=shape[1])) - math.exp(0.5)
    return values


EXCHANGEABLE: dict[str, Callable[[Random, tuple[int, int]], Array]] = {
    "normal": normal,
    "lognormal (σ = 1.5)": lognormal,
    "t with 1.5 degrees of freedom": heavy,
    "trains or not (half each)": trains_or_not,
    "difference ±1": plus_or_minus,
}
FIXED = EXCHANGEABLE | {"equal means, one side skewed": skewed}


def pairs_of(number: int, make: Callable[[Random, tuple[int, int]], Array]) -> list[tuple[int, int]]:
    """One pair, all six of four variants, or sixteen with one baseline; with one baseline where that is special."""
    if number == 6 and make not in (plus_or_minus, skewed):
        return [(b, a) for b in range(4) for a in range(b)]
    return [(i, 0) for i in range(1, number + 1)]


def decisions(values: Array, pairs: Sequence[tuple[int, int]]) -> list[Decision]:
    """On an experiment, variants × seeds."""
    outcomes = [dict(enumerate(zip(values[a].tolist(), values[b].tolist(), strict=True))) for a, b in pairs]
    return decided([deciding_test(both, higher_is_better=True) for both in outcomes])


def false_verdicts(
    make: Callable[[Random, tuple[int, int]], Array], n: int, num_pairs: int, experiments: int, random: Random
) -> tuple[float, float]:
    """The shares of experiments in which any pair has a verdict, and one at least that is preliminary."""
    pairs = pairs_of(num_pairs, make)
    counts = np.zeros(2)
    for _ in range(experiments):
        found = decisions(make(random, (1 + max(map(max, pairs)), n)), pairs)
        counts += [any(of.is_made and not of.is_preliminary for of in found), any(of.is_preliminary for of in found)]
    return counts[0] / experiments, counts[1] / experiments


# ---------------------------------------------------------------- seeds until it is decided

NULLS: dict[str, Callable[[Random, int], Array]] = {
    "normal": lambda random, n: random.normal(size=n),
    "t with 3 degrees of freedom": lambda random, n: random.standard_t(3, size=n),
    "Laplace": lambda random, n: random.laplace(size=n),
    "trains or not": lambda random, n: np.diff(trains_or_not(random, (2, n)), axis=0)[0],
    "exponential, less its mean": lambda random, n: random.exponential(size=n) - 1,
}


def outcomes_of(differences: Array, random: Random, diverged: float) -> Outcomes:
    """Of two variants that differ so, each of which diverges with a probability."""
    lost = random.uniform(size=(2, len(differences))) < diverged
    values = np.where(lost, -math.inf, np.stack([differences, np.zeros_like(differences)]))
    return dict(enumerate(zip(*values.tolist(), strict=True)))


def looks(outcomes: Outcomes) -> Iterator[Decision]:
    """The decisions with 2 seeds, 3, 4, …"""
    seen = list(outcomes.items())
    for n in range(2, len(seen) + 1):
        test = deciding_test(dict(seen[:n]), higher_is_better=True, is_sequential=True)
        yield decided([test])[0]


def seeds_until_decided(outcomes: Outcomes) -> float:
    """With how many there is a verdict; infinite if with none."""
    return next((float(found.test.n) for found in looks(outcomes) if found.is_made), math.inf)


@dataclass(frozen=True)
class Effect:
    """What it takes to find a difference of a number of standard deviations, normal."""

    size: float
    fixed: int
    """seeds of a fixed design with power 0.8"""
    until: Array
    """seeds until it was decided, of each experiment, at most 40"""

    @property
    def cells(self) -> list[str]:
        spent = np.minimum(self.until, MAX_SEEDS)
        by_then, at_all = (np.mean(self.until <= n) for n in (self.fixed, MAX_SEEDS))
        return [
            f"{self.size:g}",
            str(self.fixed),
            f"{100 * by_then:.0f} %",
            f"{100 * at_all:.0f} %",
            f"{100 * t_test_power(MAX_SEEDS, self.size):.0f} %",
            f"{np.median(spent):.0f}",
            f"{spent.mean():.1f}",
            f"{100 * (1 - spent.mean() / MAX_SEEDS):.0f} %",
        ]


def effect(size: float, experiments: int, random: Random) -> Effect:
    """Simulated."""
    until = [
        seeds_until_decided(outcomes_of(random.normal(size, 1, MAX_SEEDS), random, 0)) for _ in range(experiments)
    ]
    return Effect(size, seeds_needed(size, 1.0) or 0, np.array(until))


# ---------------------------------------------------------------- the tables


def percent(share: float, experiments: int) -> str:
    """With its standard error."""
    return f"{100 * share:.1f} ± {100 * math.sqrt(max(share, 1 / experiments) * (1 - share) / experiments):.1f}"


def row(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def head(cells: Sequence[str]) -> None:
    row(cells)
    row(["---", *["---:"] * (len(cells) - 1)])


def fixed_table(experiments: int) -> None:
    """False verdicts, and preliminary ones, in % of experiments."""
    head(["differences", "seeds", *(f"{k} pair{'s' * (k > 1)}" for k in PAIRS)])
    for name, make in FIXED.items():
        for n in SEEDS:
            random = np.random.default_rng(n)
            cells = []
            for k in PAIRS:
                told, preliminary = false_verdicts(make, n, k, experiments, random)
                cells.append(percent(told, experiments) + (f" ({100 * preliminary:.1f})" if preliminary else ""))
            row([name, str(n), *cells])


def sequential_tables(experiments: int) -> None:
    """False decisions within 40 seeds, in % of experiments; and what it takes to find an effect."""
    head(["differences", "none diverges", "each diverges with 10 %"])
    for name, make in NULLS.items():
        random, cells = np.random.default_rng(1), []
        for rate in (0.0, 0.1):
            decided_at = [
                seeds_until_decided(outcomes_of(make(random, MAX_SEEDS), random, rate)) for _ in range(experiments)
            ]
            cells.append(percent(float(np.mean(np.isfinite(decided_at))), experiments))
        row([name, *cells])
    print()
    head(
        ["effect (sd)", "seeds, fixed", "decided by then", "by 40", "fixed 40", "median seeds", "mean", "saved of 40"]
    )
    for size in (5, 2, 1, 0.5):
        row(effect(size, experiments, np.random.default_rng(2)).cells)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=4000)
    parser.add_argument("which", nargs="*", default=["fixed", "sequential"])
    options = parser.parse_args()
    if "fixed" in options.which:
        fixed_table(options.experiments)
        print()
    if "sequential" in options.which:
        sequential_tables(options.experiments)
