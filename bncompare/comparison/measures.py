"""Measures: what runs are compared by, a number of each run. A metric at an evaluation, how soon, how steady."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import numpy as np

from bncompare.comparison.statistics import Summary
from bncompare.config import DIAGNOSTIC, At, Metric, Sign, Status, rounded
from bncompare.runs import LoadedRun


class Missing(StrEnum):
    """Why a run has no number."""

    DIVERGED = Status.DIVERGED
    NEVER_REACHED = "never reached"
    FAILED = Status.FAILED
    UNFINISHED = Status.UNFINISHED
    NO_VALUE = "no value"


@dataclass(frozen=True)
class SeedOutcome:
    """What a measure says of the run of a seed."""

    value: float | None
    """that of `Measure.value`"""
    status: Status

    @property
    def is_finite(self) -> bool:
        """Whether there is a number to take a mean of."""
        return self.value is not None and math.isfinite(self.value)

    @property
    def missing(self) -> Missing | None:
        """Why there is no number; None if there is one."""
        if self.is_finite:
            return None
        if not self.status.has_value:
            return Missing(self.status)
        return Missing.NO_VALUE if self.value is None else Missing.NEVER_REACHED


@dataclass(frozen=True)
class Measure:
    """A number of each run, and which end of it is good."""

    name: str
    """in files and JSON: `val/loss at best`"""
    words: str
    """for people: `validation loss at the best epoch`"""
    metric: Metric
    """that it is made from"""
    kind: Literal["value", "time", "spread"]
    value: Callable[[LoadedRun], float | None]
    """finite; ±inf, the bad end, for a run that diverged or never got there; None where there is nothing to say"""
    range: tuple[float, float] = (-math.inf, math.inf)
    """of what is possible"""
    unit: str = ""
    """of its values as people read them: %, points, epochs, …"""

    @property
    def higher_is_better(self) -> bool:
        """Times and spreads are better low, whatever the metric."""
        return self.kind == "value" and self.metric.higher_is_better

    @property
    def better(self) -> str:
        """The comparative."""
        return {"value": "better", "time": "faster", "spread": "steadier"}[self.kind]

    @property
    def worse(self) -> str:
        """Its opposite."""
        return {"value": "worse", "time": "slower", "spread": "less steady"}[self.kind]

    @property
    def unit_of_differences(self) -> str:
        """Differences of percentages are in points."""
        return "points" if self.unit == "%" else self.unit

    def shown(self, value: float, half: float = math.nan, sign: Sign = "") -> str:
        """A value for people without its unit, or with a sign a difference; see `Metric.shown`."""
        if self.unit == "steps":
            return rounded(round(value), math.nan, sign)
        return rounded(value, half, sign) if self.kind == "time" else self.metric.shown(value, sign, half)

    def difference(self, value: float, half: float = math.nan, sign: Sign = "") -> str:
        """A difference for people with its unit."""
        return f"{self.shown(value, half, sign)} {self.unit_of_differences}".strip()

    def clipped(self, summary: Summary, *, of_differences: bool = False) -> Summary:
        """With an interval in the range of what is possible."""
        low, high = self.range
        low, high = (low - high, high - low) if of_differences else (low, high)
        if not (summary.has_spread and summary.has_interval):
            return summary
        return replace(summary, low=max(low, summary.low), high=min(high, summary.high))

    @property
    def at_bad_end(self) -> str:
        """What became of a run at the bad end."""
        return "never got there" if self.kind == "time" else "diverged"

    def outcomes(self, runs: Sequence[LoadedRun]) -> dict[int, SeedOutcome]:
        """Of runs of one variant, by seed; of copies of a run the first counts."""
        found: dict[int, SeedOutcome] = {}
        for run in runs:
            if run.seed not in found:
                found[run.seed] = SeedOutcome(self.value(run), run.status)
        return found


def metric_at(metric: Metric, at: Literal["best", "last", "mean"] | At) -> Measure:
    """A metric at the best or the last evaluation, at that of an epoch or a step, or its mean over all evaluations.

    The metric may be `diverged`, which is 1 or 0, or `diagnostics/LAYER/QUANTITY`, as in a claim.
    """
    name = metric.name
    if name == "diverged":
        return Measure("diverged", "diverged (1 or 0)", metric, "value", _has_diverged, (0, 1))

    def value(run: LoadedRun) -> float | None:
        if run.status is Status.DIVERGED:
            return metric.worst
        if run.status is Status.FAILED:
            return None
        if isinstance(at, str) and at != "mean" and not DIAGNOSTIC.fullmatch(name):
            return _finite(run.best(name) if at == "best" else run.last(name))
        series = _series(run, name)
        if isinstance(at, At):
            series = {place: v for place, v in series.items() if at.epoch in (None, place[0])}
            values = [v for (_, step), v in series.items() if at.step in (None, step)]
        elif at == "best":
            values = [v for (_, step), v in series.items() if step == run.best("step")]
        else:
            values = list(series.values()) if at == "mean" else [*series.values()][-1:]
        return _finite(sum(values) / len(values)) if values else None

    place = {"mean": "over all evaluations"}.get(at, f"at {at}") if isinstance(at, str) else _words(metric, at)
    words = f"{metric.words} {_words(metric, at)}"
    return Measure(f"{name} {place}", words, metric, "value", value, _range(metric), "%" * metric.is_accuracy)


def _has_diverged(run: LoadedRun) -> float | None:
    return float(run.status is Status.DIVERGED) if run.status.has_ended else None


def _series(run: LoadedRun, metric: str) -> dict[tuple[float, float], float]:
    """A column of metrics.csv, or a quantity of diagnostics.csv (the mean over layers for `*`), by epoch and step."""
    match = DIAGNOSTIC.fullmatch(metric)
    if match is None:
        places = zip(run.metrics["epoch"], run.metrics["step"], strict=True)
        return dict(zip(places, run.metrics.get(metric, []), strict=False))
    layer, quantity = match.groups()
    found: dict[tuple[float, float], list[float]] = {}
    for row in run.diagnostics:
        if row.quantity == quantity and layer in (row.layer, "*"):
            found.setdefault((row.epoch, row.step), []).append(row.value)
    return {place: sum(values) / len(values) for place, values in found.items()}


def time_to(metric: Metric, threshold: float, unit: Literal["epoch", "step", "second"]) -> Measure:
    """Epochs, steps or wall-clock to the first evaluation at which a metric is at least as good as the threshold.

    A run that diverged after it got there did not stay, and so never got there.
    """

    def value(run: LoadedRun) -> float | None:
        positions = run.elapsed if unit == "second" else run.metrics[unit]
        numbers = run.metrics.get(metric.name, []) if run.status is not Status.DIVERGED else []
        for position, number in zip(positions, numbers, strict=False):
            if number >= threshold if metric.higher_is_better else number <= threshold:
                return _finite(position)
        return math.inf if run.status.has_ended and metric.name in run.metrics else None

    return Measure(
        f"{unit}s to {metric.name} {threshold:.4g}",
        f"{unit}s to {metric.words} {level(metric, threshold)}",
        metric,
        "time",
        value,
        (0, math.inf),
        f"{unit}s",
    )


def area(metric: Metric, first: float, last: float) -> Measure:
    """Area under a metric's curve from one epoch to another over the distance between: its mean there.

    By the trapezoidal rule over the evaluations, so in the metric's own unit.
    """

    def value(run: LoadedRun) -> float | None:
        if run.status is Status.DIVERGED:
            return metric.worst
        rows = zip(run.metrics["epoch"], run.metrics.get(metric.name, []), strict=False)
        x, y = np.array([row for row in rows if first <= row[0] <= last], dtype=np.float64).reshape(-1, 2).T
        if len(x) < 2 or x[0] != first or x[-1] != last:
            return None
        return _finite(float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / (last - first)))

    name = f"mean {metric.name} over epochs {first:g} to {last:g}"
    words = f"mean {metric.words} over epochs {first:.3g} to {last:.3g}"
    return Measure(name, words, metric, "value", value, _range(metric), "%" * metric.is_accuracy)


def spread(metric: Metric, window: int) -> Measure:
    """Standard deviation of a metric over a run's last evaluations: how much it swings from one to the next."""

    def value(run: LoadedRun) -> float | None:
        if run.status is Status.DIVERGED:
            return math.inf
        numbers = run.metrics.get(metric.name, [])[-window:]
        if not run.status.has_value or len(numbers) < window:
            return None
        return _finite(float(np.std(numbers, ddof=1)))

    name, words = (f"sd of {of} over the last {window} evaluations" for of in (metric.name, metric.words))
    return Measure(name, words, metric, "spread", value, (0, math.inf), "points" * metric.is_accuracy)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def level(metric: Metric, value: float) -> str:
    """A value that a metric is to reach, in words: `95 %`, `0.25`."""
    return f"{100 * value:.4g} %" if metric.is_accuracy else f"{value:.4g}"


def _range(metric: Metric) -> tuple[float, float]:
    """Accuracies are fractions, losses not negative."""
    low = 0.0 if metric.is_accuracy or metric.quantity == "loss" else -math.inf
    return low, 1.0 if metric.is_accuracy else math.inf


def _words(metric: Metric, at: Literal["best", "last", "mean"] | At) -> str:
    if isinstance(at, At):
        return f"at epoch {at.epoch}" if at.epoch is not None else f"at step {at.step}"
    if at == "mean":
        return "over all evaluations"
    return f"({at} weights)" if metric.split == "test" else f"at the {at} epoch"
