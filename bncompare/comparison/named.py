"""The measure that a claim names, and what areas and spreads are taken over, in claims as in comparisons."""

import math
from collections.abc import Sequence
from typing import Literal

from bncompare.comparison.measures import Measure, area, metric_at, spread, time_to
from bncompare.config import At, Metric, NamedMeasure
from bncompare.runs import LoadedRun


def measure_named(
    named: NamedMeasure, at: Literal["best", "last", "mean"] | At, runs: Sequence[LoadedRun]
) -> Measure | None:
    """What a claim names. The epochs of an area, and the evaluations of a spread, are those of `compare`, of all runs
    of the experiment; None where these are too short for it."""
    metric = Metric(named.metric)
    if named.kind == "time":
        return time_to(metric, named.threshold, named.unit)
    if named.kind == "area":
        ends = shared_epochs(runs, metric)
        return area(metric, *ends) if ends else None
    if named.kind == "spread":
        window = spread_window(runs)
        return spread(metric, window) if window else None
    return metric_at(metric, at)


def finite_values(run: LoadedRun, metric: Metric) -> list[float]:
    """Of a metric in training, one an evaluation; without that at the start, which says nothing of training."""
    rows = zip(run.metrics["step"], run.metrics.get(metric.name, []), strict=False)
    return [value for step, value in rows if step > 0 and math.isfinite(value)]


def shared_epochs(runs: Sequence[LoadedRun], metric: Metric) -> tuple[float, float] | None:
    """The first and the last epoch that all runs with a value have; None if these are not two."""
    ended = [run.metrics["epoch"] for run in runs if run.status.has_value and finite_values(run, metric)]
    first, last = max((of[0] for of in ended), default=0.0), min((of[-1] for of in ended), default=0.0)
    return (first, last) if first < last else None


def spread_window(runs: Sequence[LoadedRun], most: int = 5) -> int | None:
    """The evaluations to take a spread over: `most`, but no more than the second half of the shortest run; None if
    that is fewer than 2."""
    lengths = [len(run.metrics["step"]) for run in runs if run.status.has_value]
    window = min([most, *(length // 2 for length in lengths)])
    return window if lengths and window >= 2 else None
