"""Measures: what runs are compared by, a number of each run. A metric at an evaluation, how soon, how steady."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bncompare.config import DIAGNOSTIC, At, Metric
from bncompare.runs import LoadedRun


@dataclass(frozen=True)
class Measure:
    """A number of each run, and which end of it is good."""

    name: str
    metric: str
    """the column of metrics.csv, or the test metric, that it is made from"""
    higher_is_better: bool
    value: Callable[[LoadedRun], float | None]
    """finite; ±inf, the bad end, for a run that diverged or never got there; None where there is nothing to say"""
    better: str = "better"
    """the comparative: better, faster, steadier"""
    at_bad_end: tuple[str, str] = ("diverged", "diverged")
    """what became of a run at the bad end: to count it, and as a verb"""

    def outcomes(self, runs: Sequence[LoadedRun]) -> dict[int, "Outcome"]:
        """Of runs of one variant, by seed; of copies of a run the first counts."""
        found: dict[int, Outcome] = {}
        for run in runs:
            if run.seed not in found:
                found[run.seed] = Outcome(self.value(run), run.status)
        return found


@dataclass(frozen=True)
class Outcome:
    """What a measure says of the run of a seed."""

    value: float | None
    """that of `Measure.value`"""
    status: str

    @property
    def is_finite(self) -> bool:
        """Whether there is a number to take a mean of."""
        return self.value is not None and math.isfinite(self.value)


def at_evaluation(metric: str, at: Literal["best", "last", "mean"] | At) -> Measure:
    """A metric at the best or the last evaluation, at that of an epoch or a step, or its mean over all evaluations.

    `metric` may be `diverged`, which is 1 or 0, or `diagnostics/LAYER/QUANTITY`, as in a claim.
    """
    if metric == "diverged":
        return Measure("diverged (1 or 0)", metric, False, _has_diverged)
    higher = Metric(metric).higher_is_better

    def value(run: LoadedRun) -> float | None:
        if run.status == "diverged":
            return -math.inf if higher else math.inf
        if run.status == "failed":
            return None
        if isinstance(at, str) and at != "mean" and not metric.startswith("diagnostics/"):
            return _finite(run.best(metric) if at == "best" else run.last(metric))
        series = _series(run, metric)
        if isinstance(at, At):
            series = {place: v for place, v in series.items() if at.epoch in (None, place[0])}
            values = [v for (_, step), v in series.items() if at.step in (None, step)]
        elif at == "best":
            values = [v for (_, step), v in series.items() if step == run.best("step")]
        else:
            values = list(series.values()) if at == "mean" else [*series.values()][-1:]
        return _finite(sum(values) / len(values)) if values else None

    return Measure(f"{metric} {_words(at)}", metric, higher, value)


def _has_diverged(run: LoadedRun) -> float | None:
    return None if run.status in ("failed", "unfinished") else float(run.status == "diverged")


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


def time_to(metric: str, threshold: float, unit: Literal["epoch", "step", "second"]) -> Measure:
    """Epochs, steps or wall-clock to the first evaluation at which a metric is at least as good as the threshold.

    A run that diverged after it got there did not stay, and so never got there.
    """
    higher = Metric(metric).higher_is_better

    def value(run: LoadedRun) -> float | None:
        positions = run.elapsed if unit == "second" else run.metrics[unit]
        numbers = run.metrics.get(metric, []) if run.status != "diverged" else []
        for position, number in zip(positions, numbers, strict=False):
            if number >= threshold if higher else number <= threshold:
                return _finite(position)
        return math.inf if run.status not in ("unfinished", "failed") and metric in run.metrics else None

    name = f"{unit}s to {metric} {threshold:.4g}"
    return Measure(name, metric, False, value, "faster", ("never reached", "never got there"))


def area(metric: str, first: float, last: float) -> Measure:
    """Area under a metric's curve from one epoch to another over the distance between: its mean there.

    By the trapezoidal rule over the evaluations, so in the metric's own unit.
    """
    higher = Metric(metric).higher_is_better

    def value(run: LoadedRun) -> float | None:
        if run.status == "diverged":
            return -math.inf if higher else math.inf
        rows = zip(run.metrics["epoch"], run.metrics.get(metric, []), strict=False)
        x, y = np.array([row for row in rows if first <= row[0] <= last], dtype=np.float64).reshape(-1, 2).T
        if len(x) < 2 or x[0] != first or x[-1] != last:
            return None
        return _finite(float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / (last - first)))

    return Measure(f"mean {metric} over epochs {first:g} to {last:g}", metric, higher, value)


def spread(metric: str, window: int) -> Measure:
    """Standard deviation of a metric over a run's last evaluations: how much it swings from one to the next."""

    def value(run: LoadedRun) -> float | None:
        if run.status == "diverged":
            return math.inf
        numbers = run.metrics.get(metric, [])[-window:]
        if run.status in ("unfinished", "failed") or len(numbers) < window:
            return None
        return _finite(float(np.std(numbers, ddof=1)))

    return Measure(f"sd of {metric} over the last {window} evaluations", metric, False, value, better="steadier")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _words(at: Literal["best", "last", "mean"] | At) -> str:
    if isinstance(at, str):
        return "over all evaluations" if at == "mean" else f"at the {at} evaluation"
    return f"at epoch {at.epoch}" if at.epoch is not None else f"at step {at.step}"
