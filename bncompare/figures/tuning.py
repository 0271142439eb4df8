"""The tuning curve: the best validation value of each norm against the number of trials."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bncompare.comparison import Sensitivity, Tuning, TuningCurve
from bncompare.config import Metric
from bncompare.figures.choice import norm_looks
from bncompare.figures.looks import Look
from bncompare.figures.settings import norms_left_out
from bncompare.figures.style import (
    MAX_NAMED,
    WIDTH,
    NamedFigure,
    add_head,
    add_legend_below,
    choose_limits,
    file_name,
    styled,
)
from bncompare.runs import LoadedRun


@styled
def tuning_curves(tuning: Tuning, grid: Sensitivity, runs: Sequence[LoadedRun], *, title: str) -> NamedFigure:
    """What each norm may expect of so many trials, with the middle half of the draws as a band.

    A curve begins where every draw holds a trial with a value. Where trials diverged, a band goes to the edge.
    """
    looks, metric = norm_looks(grid, runs), tuning.metric
    curves = [curve for curve in tuning.curves if curve.norm in looks]
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.add_subplot()
    shown = [value for curve in curves for value in curve.values if math.isfinite(value)]
    axes.set_ylim(*choose_limits(axes.yaxis, shown, metric))
    for curve in curves:
        _draw(axes, curve, looks[curve.norm], metric)
    axes.set_xlim(0.8, max(len(curve.values) for curve in curves) + 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trials")
    axes.set_ylabel(f"best {metric.label}")
    note = f"expected best {tuning.measure} of so many of the trials, mean of {len(tuning.seeds)} seeds each"
    note += f"; shaded: the middle half of the draws{norms_left_out(grid, looks)}"
    add_head(figure, f"{title}: tuning curve", note)
    add_legend_below(figure, [(look.handle(marker=""), norm) for norm, look in looks.items()])
    return NamedFigure(file_name("tuning", metric.name), _caption(tuning, curves), figure)


def _draw(axes: Axes, curve: TuningCurve, look: Look, metric: Metric) -> None:
    trials = range(1, len(curve.values) + 1)
    expected = [value if math.isfinite(value) else math.nan for value in curve.expected]
    worst = axes.get_ylim()[0 if metric.higher_is_better else 1]
    better, worse = ([end if math.isfinite(end) else worst for end in ends] for ends in zip(*curve.band, strict=True))
    axes.fill_between(trials, better, worse, color=look.color, alpha=0.13, linewidth=0, gid="band")
    axes.plot(trials, expected, linestyle=look.line, color=look.color, linewidth=1.8, gid="expected")


def _caption(tuning: Tuning, curves: Sequence[TuningCurve]) -> str:
    metric = tuning.metric
    told = []
    for curve in curves[:MAX_NAMED]:
        lost = sum(math.isinf(value) for value in curve.values)
        best = metric.shown(curve.values[0]) + " %" * metric.is_accuracy if lost < len(curve.values) else "no value"
        diverged = f" ({lost} without a value)" if lost else ""
        told.append(f"{curve.norm} {best} after {len(curve.values)} trials{diverged}")
    if len(curves) > MAX_NAMED:
        told.append(f"and {len(curves) - MAX_NAMED} more norms")
    return f"Best {metric.words} by the number of trials: {'; '.join(told)}; {tuning.order}."
