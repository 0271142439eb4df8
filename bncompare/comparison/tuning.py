"""What was chosen on some seeds and is judged on others: the runs on which verdicts rest, and the tuning curve."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bncompare.comparison.grid import Sensitivity, sensitivity_of
from bncompare.comparison.measures import metric_at
from bncompare.config import Metric
from bncompare.runs import ExperimentRuns, LoadedRun, tuning_seeds

BAND = (0.25, 0.75)  # of all draws of so many trials
NOT_JUDGED = "not judged yet: the chosen settings have no run with a fresh seed"


def trials_of(runs: Sequence[LoadedRun]) -> list[LoadedRun]:
    """The runs that chose; all where none is said to be for that."""
    seeds = tuning_seeds(runs)
    return [run for run in runs if run.seed in seeds] or list(runs)


def chosen_in(runs: Sequence[LoadedRun]) -> set[str]:
    """The variants of an experiment that were chosen by its trials; all variants where nothing was to be chosen."""
    trials = trials_of(runs)
    found = ExperimentRuns(runs[0].experiment, runs[0].path.parent, trials)
    grid = sensitivity_of(found, metric_at(Metric("val/loss"), "best"))
    chosen = {candidate.variant for candidate in grid.candidates if candidate.is_chosen} if grid else set()
    return chosen or {run.variant for run in runs}


def evidence(runs: Sequence[LoadedRun]) -> list[LoadedRun]:
    """The runs of an experiment on which verdicts rest: all; where settings were chosen on some seeds, those of the
    chosen with the other seeds, of which there may be none yet."""
    seeds = tuning_seeds(runs)
    if not seeds:
        return list(runs)
    chosen = chosen_in(runs)
    return [run for run in runs if run.seed not in seeds and run.variant in chosen]


# ---------------------------------------------------------------- the tuning curve


@dataclass(frozen=True)
class TuningCurve:
    """The best validation value of a norm against the number of trials: what fewer of the same trials would give.

    The best of k of the n trials, drawn without replacement (Dodge et al. 2019, "Show Your Work", there with
    replacement): all C(n, k) draws, exactly, from order statistics. The i-th best is the best of
    C(n − i, k − 1) of them.
    """

    norm: str
    values: list[float]
    """of the trials, the best first; ±inf, the bad end, of one with a run without a value, as it diverged"""

    @cached_property
    def expected(self) -> list[float]:
        """The mean over the draws of 1, 2, …, n trials; infinite where one of them may hold no value."""
        return [self._expected(k) for k in range(1, len(self.values) + 1)]

    def _expected(self, k: int) -> float:
        n = len(self.values)
        weights = [math.comb(n - i, k - 1) / math.comb(n, k) for i in range(1, n + 1)]
        return sum(weight * value for weight, value in zip(weights, self.values, strict=True) if weight)

    @cached_property
    def band(self) -> list[tuple[float, float]]:
        """Between which ends, the better first, the best of k lies in the middle half of the draws, at each k.

        It is of draws from these trials, and narrows to nothing at all n of them. It is not an interval for other
        trials, which would be wider (Lourie et al. 2024, "Show Your Work with Confidence").
        """
        return [(self.quantile(k, BAND[0]), self.quantile(k, BAND[1])) for k in range(1, len(self.values) + 1)]

    def quantile(self, k: int, share: float) -> float:
        """The value as good as which, or better, the best of k trials is in this share of the draws at least."""
        n, draws = len(self.values), math.comb(len(self.values), k)
        # None of the best i is drawn in C(n − i, k) of them.
        rank = next(i for i in range(1, n + 1) if draws - math.comb(n - i, k) >= share * draws)
        return self.values[rank - 1]


@dataclass(frozen=True)
class Tuning:
    """How an experiment's settings were chosen: the trials of each norm, and the seeds of both parts."""

    measure: str
    """in words"""
    metric: Metric
    seeds: list[int]
    """of a trial"""
    judge_seeds: list[int]
    """of the chosen, on which verdicts rest"""
    curves: list[TuningCurve]
    """a norm each"""

    @property
    def trials(self) -> dict[str, int]:
        """How many there are, by norm."""
        return {curve.norm: len(curve.values) for curve in self.curves}

    @property
    def is_equal(self) -> bool:
        """Whether all norms had the same budget."""
        return len(set(self.trials.values())) == 1

    @property
    def budget(self) -> str:
        """What was spent on each norm, in words."""
        numbers, seeds = self.trials, f"{len(self.seeds)} seed{'' if len(self.seeds) == 1 else 's'}"
        each = f"{next(iter(numbers.values()))} trials × {seeds} for each norm"
        if not self.is_equal:
            each = "not the same: " + ", ".join(f"{norm} {number} trials" for norm, number in numbers.items())
        fresh = len(self.judge_seeds)
        judged = f"verdicts rest on {fresh} fresh seed{'' if fresh == 1 else 's'} alone" if fresh else NOT_JUDGED
        return f"tuning budget {each}; {judged}"

    @property
    def leaders(self) -> list[tuple[int, str]]:
        """Which norm is ahead by its expected best, from each number of trials on at which that changes."""
        sign = -1 if self.metric.higher_is_better else 1
        found: list[tuple[int, str]] = []
        for k in range(1, min(self.trials.values()) + 1):
            best = min(self.curves, key=lambda curve: sign * curve.expected[k - 1])
            if math.isfinite(best.expected[k - 1]) and (not found or found[-1][1] != best.norm):
                found.append((k, best.norm))
        return found

    @property
    def order(self) -> str:
        """The same in words: where curves cross."""
        leaders = self.leaders
        if not leaders:
            return f"by {self.measure}, no norm is sure to have a value with so few trials"
        parts = [_span(norm, start, after) for (start, norm), (after, _) in itertools.pairwise(leaders)]
        start, last = leaders[-1]
        parts.append(f"{last} {f'from {start} trials on' if start > 1 else 'at every number of trials'}")
        return f"ahead by the expected best {self.measure}: {', '.join(parts)}"


def _span(norm: str, start: int, after: int) -> str:
    """`BatchNorm below 6 trials`"""
    if start == 1:
        return f"{norm} below {after} trials"
    return f"{norm} at {start} trials" if after == start + 1 else f"{norm} at {start} to {after - 1} trials"


def tuning_of(runs: Sequence[LoadedRun], grid: Sensitivity | None) -> Tuning | None:
    """How the settings of an experiment were chosen, if some seeds were for that alone."""
    seeds = tuning_seeds(runs)
    if not seeds or grid is None or not grid.is_fair:
        return None
    values: dict[str, list[float]] = {}
    for candidate in grid.candidates:
        result, of_norm = candidate.result, values.setdefault(candidate.norm, [])
        of_norm.append(result.summary.mean if result.summary and not result.missing else grid.metric.worst)
    curves = [TuningCurve(norm, sorted(of, reverse=grid.metric.higher_is_better)) for norm, of in values.items()]
    used, fresh = {run.seed for run in trials_of(runs)}, {run.seed for run in evidence(runs)}
    return Tuning(grid.measure, grid.metric, sorted(used), sorted(fresh), curves)
