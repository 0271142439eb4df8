"""The curves of variants in one set of axes: seeds, mean, band, and the marks where runs ended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from bncompare.comparison import Summary, summarize
from bncompare.config import Metric, Status
from bncompare.figures.looks import Look, looks
from bncompare.figures.style import FEW_SEEDS, GREY, band_of, by_variant, choose_limits
from bncompare.runs import LoadedRun, validates_on_test

MARKS = {Status.STOPPED_EARLY: ("v", "stopped early"), Status.DIVERGED: ("X", "diverged")}

Points = list[tuple[float, float]]
Mean = list[tuple[float, Summary]]
"""over the seeds of a variant, at each x"""


@dataclass(frozen=True)
class Curve:
    """A metric of a variant over epochs or steps."""

    variant: str
    look: Look
    runs: Sequence[LoadedRun]
    metric: Metric
    x: str

    def points(self, run: LoadedRun) -> Points:
        """(x, y) of each evaluation of a run; of a metric of the test set that of its end."""
        if self.metric.name in run.metrics:
            return list(zip(run.metrics[self.x], run.metrics[self.metric.name], strict=True))
        end = run.last(self.x), run.last(self.metric.name)
        return [(end[0], end[1])] if end[0] is not None and end[1] is not None else []

    @cached_property
    def kept(self) -> list[LoadedRun]:
        """The runs that the mean is of: those that did not diverge."""
        return [run for run in self.runs if run.status is not Status.DIVERGED]

    @cached_property
    def mean(self) -> Mean:
        """Where all of them have an evaluation, and all are finite."""
        series = [dict(self.points(run)) for run in self.kept]
        shared = sorted(set(series[0]).intersection(*series[1:])) if series else []
        found = ((x, [values[x] for values in series]) for x in shared)
        return [(x, summarize(values)) for x, values in found if all(map(math.isfinite, values))]

    @property
    def end(self) -> tuple[float, float] | None:
        """Where the mean ends, and at what value."""
        return (self.mean[-1][0], self.mean[-1][1].mean) if self.mean else None

    @property
    def ends_differ(self) -> bool:
        """Whether the runs end at different times."""
        return len({points[-1][0] for run in self.runs if (points := self.points(run))}) > 1

    @property
    def label(self) -> str:
        """The variant, and what its mean leaves out or counts in that has not come to its end."""
        return self.variant + self.counted(" ")

    def counted(self, separator: str) -> str:
        """` (mean of 2; 1 diverged)`."""
        parts = [
            f"{number} {status.value}"
            for status in (Status.DIVERGED, Status.FAILED, Status.UNFINISHED)
            if (number := sum(run.status is status for run in self.runs))
        ]
        if 0 < len(self.kept) < len(self.runs):
            parts.insert(0, f"mean of {len(self.kept)}")
        return f"{separator}({'; '.join(parts)})" if parts else ""


def curves_of(runs: Sequence[LoadedRun], metric: Metric, x: str) -> list[Curve]:
    """One a variant, in the order of the runs."""
    own = looks(runs)
    return [Curve(variant, own[variant], members, metric, x) for variant, members in by_variant(runs).items()]


def said(metric: Metric, runs: Sequence[LoadedRun]) -> Metric:
    """What a metric is called: where the test set is the validation set, that of the test."""
    is_test = metric.split == "val" and validates_on_test(runs)
    return Metric(f"test/{metric.quantity}", metric.is_classification) if is_test else metric


def are_few(curves: Sequence[Curve]) -> bool:
    """Whether some mean of a figure is over too few seeds for an interval; then none is shown."""
    return min((len(curve.kept) for curve in curves if len(curve.kept) >= 2), default=1) < FEW_SEEDS


def draw_curves(axes: Axes, curves: Sequence[Curve], of_figure: Sequence[Curve]) -> None:
    """Draw some curves of a figure whose panels have one y axis, which what diverged runs reached does not set."""
    top, is_few = _scale(axes, of_figure), are_few(of_figure)
    for curve in curves:
        faint = min(1.0, 4 / len(curves))  # where many overlap
        _draw_seeds(axes, curve, top, faint)
        _draw_mean(axes, curve, is_few, faint)


def _scale(axes: Axes, curves: Sequence[Curve]) -> float:
    """Choose both axes, y without what diverged runs reached; returns its upper end.

    Left to matplotlib, the x axis would be chosen anew with every artist.
    """
    places = [x for curve in curves for run in curve.runs for x, _ in curve.points(run)]
    if places:
        first, last = min(places), max(places)
        margin = 0.05 * (last - first) or 0.05 * abs(first) or 0.05
        axes.set_xlim(first - margin, last + margin)
    has_kept = any(curve.kept for curve in curves)
    values = [y for curve in curves for run in (curve.kept if has_kept else curve.runs) for _, y in curve.points(run)]
    low, high = choose_limits(axes.yaxis, [value for value in values if math.isfinite(value)], curves[0].metric)
    axes.set_ylim(low, high)
    return high


def _draw_seeds(axes: Axes, curve: Curve, top: float, faint: float) -> None:
    """Single runs as thin lines, with marks where they ended."""
    color, number = curve.look.color, len(curve.runs)
    series = [points for run in curve.runs if (points := curve.points(run))]
    axes.add_collection(
        LineCollection(
            series, colors=color, linewidths=0.7, alpha=max(0.015, min(0.35, 8 / number)) * faint, zorder=1.5,
            rasterized=number > 40, gid="seeds",
            label=curve.variant,
        )
    )  # fmt: skip
    singles = [points[0] for points in series if len(points) == 1]
    if singles:
        axes.plot(
            *zip(*singles, strict=True),
            ".",
            color=color,
            markersize=4,
            alpha=0.5,
            zorder=2,
            gid="singles",
            label=curve.variant,
        )
    for status, (marker, _) in MARKS.items():
        ended = [curve.points(run) for run in curve.runs if run.status is status]
        ends = [_end(points, top) for points in ended if points]
        if ends:
            axes.plot(
                *zip(*ends, strict=True), marker, color=color, markersize=6 if len(ends) <= 40 else 3,
                markeredgecolor="white", markeredgewidth=0.6, zorder=4, clip_on=False, gid=status.value,
                label=curve.variant,
            )  # fmt: skip


def _draw_mean(axes: Axes, curve: Curve, is_few: bool, faint: float) -> None:
    """The mean of a variant in its band; of a single evaluation a mark."""
    color, line, marker = curve.look
    x = [at for at, _ in curve.mean]
    axes.plot(
        x, [summary.mean for _, summary in curve.mean], linestyle=line, color=color, zorder=3, gid="mean",
        marker=marker if len(x) == 1 else "", markersize=5,
        label=curve.variant,
    )  # fmt: skip
    if curve.mean and curve.mean[0][1].n >= 2:
        low, high = zip(*(band_of(summary, curve.metric, is_few) for _, summary in curve.mean), strict=True)
        axes.fill_between(x, low, high, color=color, alpha=0.15 * faint, linewidth=0, zorder=2, label=curve.variant)


def _end(points: Points, top: float) -> tuple[float, float]:
    """Where a run ended, at its last value that can be drawn."""
    finite = [y for _, y in points if math.isfinite(y)]
    return points[-1][0], min(finite[-1], top) if finite else top


def draw_numbers(axes: Axes, curve: Curve) -> None:
    """How many runs have an evaluation at, or after, each x."""
    series = [points for run in curve.runs if (points := curve.points(run))]
    x = sorted({at for points in series for at, _ in points})
    ends = sorted(points[-1][0] for points in series)
    axes.plot(
        x, len(ends) - np.searchsorted(ends, x), linestyle=curve.look.line, color=curve.look.color,
        drawstyle="steps-pre", linewidth=1.3, gid="number", label=curve.variant,
    )  # fmt: skip


def explain_marks(curves: Sequence[Curve]) -> list[tuple[Artist, str]]:
    """Entries for the legend."""
    statuses = {run.status for curve in curves for run in curve.runs}
    return [
        (Look(GREY, "", marker).handle(markersize=6), words)
        for status, (marker, words) in MARKS.items()
        if status in statuses
    ]
