"""The answer in one look: loss and accuracy, in training and held out, of every norm."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bncompare.comparison import Ask, Comparison, compare_experiment, one_experiment
from bncompare.config import Metric, dataset_of, lookup, proper_name
from bncompare.figures.choice import Shown, named, shown_of
from bncompare.figures.lines import Curve, are_few, curves_of, draw_curves, explain_marks, said
from bncompare.figures.style import (
    GREY,
    MAX_NAMED,
    WIDTH,
    NamedFigure,
    add_fixed_head,
    add_legend_below,
    head,
    legend_shape,
    spread_words,
    styled,
)
from bncompare.runs import LoadedRun

# Inches: margins and panels are fixed, as working out a layout would double the time.
LEFT, RIGHT, BETWEEN, HEIGHT, ABOVE, BELOW = 0.55, 0.52, 1.0, 1.6, 0.3, 0.42
FONT, LINE_HEIGHT = 7.5, 9.0  # points, of the values at the ends of lines

Panels = Sequence[Sequence[Sequence[Curve]]]
"""rows of panels, each with a curve a variant"""


@styled
def overview(
    runs: Sequence[LoadedRun],
    *,
    x: Literal["epoch", "step"] = "epoch",
    title: str | None = None,
    comparison: Comparison | None = None,
) -> NamedFigure:
    """Loss and accuracy of the runs of one experiment, in training and on the held-out examples, in one figure.

    Each variant's mean over the seeds with its spread, its value at the end beside it, a ring at its mean best epoch.
    In a sweep it is each norm with its chosen setting, of more than eight variants the best seven and the baseline.
    `title` is by default the experiment's name, `comparison` by default that of the runs. Raises UserError for
    runs of several experiments or none.
    """
    runs = runs if comparison else named(runs)
    comparison = comparison or compare_experiment(one_experiment(runs), Ask())
    chosen = shown_of(runs, comparison.sensitivity)
    panels = _panels(chosen.runs, x)
    parts = (_setup(chosen.runs), chosen.words)
    title = ": ".join(
        [runs[0].experiment if title is None else title, *[", ".join(filter(None, parts))] * any(parts)]
    )
    figure = _draw(panels, title, _note(panels[-1][-1]), x)
    return NamedFigure("overview", _caption(panels[-1][-1], chosen), figure)


def _panels(runs: Sequence[LoadedRun], x: str) -> Panels:
    """Loss and accuracy by training and validation; without a validation set the test's at the end."""
    columns = {name for run in runs for name in run.metrics}
    ends = {name for run in runs if run.result for name in run.result.last or {}}
    is_classification = "train/accuracy" in columns
    held_out = "val" if columns & {"val/loss", "val/accuracy"} else "test"
    names = [
        [f"{split}/{quantity}" for split in ("train", held_out) if f"{split}/{quantity}" in columns | ends]
        for quantity in ("loss", "accuracy")
    ]
    rows = [row for row in names if row] or [["train/loss"]]
    return [[curves_of(runs, Metric(name, is_classification), x) for name in row] for row in rows]


def _setup(runs: Sequence[LoadedRun]) -> str:
    """`MLP (sigmoid) on digits, SGD 0.1, batch size 64`, as far as all runs have it in common."""

    def common(key: str, form: str = "{}") -> str:
        values = [lookup(run.config, key) for run in runs]
        value = values[0] if all(value == values[0] for value in values) else None
        shown = proper_name(value) if isinstance(value, str) else f"{value:g}" if value else ""
        return form.format(shown) if shown else ""

    model = common("model.name") + common("model.activation", " ({})") + _dataset(runs)
    optimizer = common("training.optimizer.name") + common("training.optimizer.lr", " {}")
    batch = common("training.batch_size", "batch size {}").replace("batch size full", "full batches")
    parts = (model.strip(), optimizer.strip(), batch)
    return ", ".join(part for part in parts if part)


def _dataset(runs: Sequence[LoadedRun]) -> str:
    """` on digits`, if they are all on the same one."""
    titles = {found.title if (found := dataset_of(run.config)) else "" for run in runs}
    return f" on {title}" if len(titles) == 1 and (title := titles.pop()) else ""


def _chance(curves: Sequence[Curve]) -> float | None:
    """The accuracy of what knows nothing, of a panel of accuracies, if it is the same for all runs."""
    known = [dataset_of(run.config) for curve in curves for run in curve.runs]
    found = {data.chance if data else None for data in known}
    return found.pop() if len(found) == 1 and curves[0].metric.is_accuracy else None


def _note(curves: Sequence[Curve]) -> str:
    seeds = len({run.seed for curve in curves for run in curve.runs})
    note = f"{seeds} seed{'' if seeds == 1 else 's'}"
    if any(len(curve.kept) >= 2 for curve in curves):
        note = f"mean of {note}, shaded: {spread_words(are_few(curves))}, thin: single seeds"
    return note + ", dotted: chance" * (_chance(curves) is not None)


def _caption(curves: Sequence[Curve], chosen: Shown) -> str:
    metric = said(curves[0].metric, curves[0].runs)
    ends = {curve.variant: curve.end[1] for curve in curves if curve.end}
    told = {variant: metric.shown(end) + " %" * metric.is_accuracy for variant, end in ends.items()}
    if len(ends) > MAX_NAMED:
        ranked = sorted(ends, key=lambda variant: ends[variant])
        told = {variant: told[variant] for variant in (ranked[0], ranked[-1])}
    values = "; ".join(f"{variant} {value}" for variant, value in told.items()) or "none"
    which = f" ({chosen.words})" if chosen.words else ""
    return f"Loss and accuracy over {curves[0].x}s{which}; {metric.words} at the end, mean over seeds: {values}."


# ---------------------------------------------------------------- drawing


def _draw(panels: Panels, title: str, note: str, x: str) -> Figure:
    legend = _legend(panels)
    num_rows, num_columns = len(panels), max(map(len, panels))
    top, bottom = head(title, note, WIDTH)[2], BELOW + legend_shape(legend, WIDTH)[1]
    height = top + num_rows * (ABOVE + HEIGHT) + bottom
    width = (WIDTH - LEFT - RIGHT - BETWEEN * (num_columns - 1)) / num_columns
    figure = Figure(figsize=(WIDTH, height))
    for i, row in enumerate(panels):
        for j, curves in enumerate(row):
            low = bottom + (num_rows - 1 - i) * (ABOVE + HEIGHT)
            left = LEFT + j * (width + BETWEEN)
            axes = figure.add_axes((left / WIDTH, low / height, width / WIDTH, HEIGHT / height))
            _draw_panel(axes, curves)
            axes.set_xlim(figure.axes[0].get_xlim())
            axes.set_title(said(curves[0].metric, curves[0].runs).label, fontsize=9, fontweight="normal")
            axes.tick_params(labelbottom=i == num_rows - 1)
            if i == num_rows - 1:
                axes.set_xlabel(x)
    add_fixed_head(figure, title, note)
    add_legend_below(figure, legend, loc="lower left", bbox_to_anchor=(0.01, 0.0), borderaxespad=0.2)
    return figure


def _legend(panels: Panels) -> list[tuple[Artist, str]]:
    curves = panels[-1][-1]
    entries: list[tuple[Artist, str]] = [
        (curve.look.handle(marker="", label=curve.variant), curve.label) for curve in curves
    ]
    entries += explain_marks(curves)
    if any(_best(curve) for curve in curves):
        ring = curves[0].look._replace(color=GREY, line="", marker="o").handle(**_RING)
        entries.append((ring, f"best {curves[0].x}, mean"))
    return entries


_RING: dict[str, Any] = {"markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1.3}


def _draw_panel(axes: Axes, curves: Sequence[Curve]) -> None:
    metric, chance = curves[0].metric, _chance(curves)
    draw_curves(axes, curves, curves)
    low, high = axes.get_ylim()
    if chance is not None and low <= chance <= high:
        axes.axhline(chance, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1, gid="chance")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if metric.split != "train":
        for curve in curves:
            if (at := _best(curve)) is not None:
                axes.plot(
                    *zip(at, strict=True),
                    "o",
                    color=curve.look.color,
                    zorder=4,
                    gid="best",
                    label=curve.variant,
                    **_RING,
                )
    if not any(curve.mean for curve in curves):
        axes.text(0.5, 0.5, "no run has a value", transform=axes.transAxes, color=GREY, ha="center", gid="nothing")
    _write_ends(axes, curves)


def _best(curve: Curve) -> tuple[float, float] | None:
    """Where the mean best epoch is on the curve of the mean, if it goes that far."""
    epochs = [epoch for run in curve.kept if (epoch := run.best(curve.x)) is not None]
    if not epochs or len(curve.mean) < 2:
        return None
    x, y = zip(*((at, summary.mean) for at, summary in curve.mean), strict=True)
    epoch = sum(epochs) / len(epochs)
    return (epoch, float(np.interp(epoch, x, y))) if x[0] <= epoch <= x[-1] else None


def _write_ends(axes: Axes, curves: Sequence[Curve]) -> None:
    """The value of each mean at its end, at the right of the axes; moved apart where they would overlap."""
    ends = [(curve, curve.end) for curve in curves if curve.end]
    to_axes = axes.transData + axes.transAxes.inverted()
    places = [float(to_axes.transform(end)[1]) for _, end in ends]
    for (curve, (_, value)), y in zip(ends, moved_apart(places, LINE_HEIGHT / (72 * HEIGHT)), strict=True):
        axes.annotate(
            curve.metric.shown(value), (1, y), (4, 0), xycoords="axes fraction", textcoords="offset points",
            color=curve.look.color, fontsize=FONT, fontweight="bold", va="center", annotation_clip=False, gid="end",
            label=curve.variant,
        )  # fmt: skip


def moved_apart(places: Sequence[float], gap: float) -> list[float]:
    """Places on the line from 0 to 1, as near as can be to those given, in their order, no two nearer than the gap.

    The least squares of the moves: neighbours that are too near share theirs (pool adjacent violators).
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    blocks: list[list[float]] = []
    for rank, i in enumerate(order):
        block = [places[i] - rank * gap]
        while blocks and _mean(blocks[-1]) > _mean(block):
            block = blocks.pop() + block
        blocks.append(block)
    flat = [_mean(block) for block in blocks for _ in block]
    highest = 1 - gap * (len(places) - 1)
    found = [math.nan] * len(places)
    for rank, (i, place) in enumerate(zip(order, flat, strict=True)):
        found[i] = min(max(place, 0.0), highest) + rank * gap
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
