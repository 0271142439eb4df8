"""Numbers in, a matplotlib Figure out; reads no file."""

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from bncompare.statistics import summarize

# Okabe & Ito's palette without its yellow: told apart by the colour-blind, dark enough on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444")
LINE_STYLES = ("-", "--", ":")
LOG_SCALE_FROM = 30.0  # ratio of the largest to the smallest loss
FAINT = 0.3

_SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Curve:
    """A metric of one run over its evaluations."""

    variant: str
    seed: int
    x: Sequence[float]
    y: Sequence[float]
    status: str


def metric_label(metric: str, is_classification: bool) -> str:
    """`val/loss` as an axis label, with its unit."""
    if metric == "lr":
        return "learning rate"
    split, _, quantity = metric.partition("/")
    if quantity == "accuracy":
        return f"{_SPLITS.get(split, split)} accuracy (%)"
    unit = "cross-entropy, nats" if is_classification else "mean squared error"
    return f"{_SPLITS.get(split, split)} {quantity} ({unit})"


def experiment_curves(
    curves: Sequence[Curve], *, title: str, metric: str, x_label: str, is_classification: bool
) -> Figure:
    """One colour a variant: its mean over the seeds, its 95 % t-interval as a band, its seeds as faint lines.

    The mean is that of the runs that did not diverge, over the evaluations that all of them reached: where one
    stopped early, it ends. Marks show where runs stopped early (▼) and diverged (✕).
    """
    variants = list(dict.fromkeys(curve.variant for curve in curves))
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    top = _scale(axes, curves, metric)
    has_interval = False
    legend: list[tuple[Artist, str]] = []
    for i, variant in enumerate(variants):
        color, style = COLORS[i % len(COLORS)], LINE_STYLES[i // len(COLORS) % len(LINE_STYLES)]
        runs = [curve for curve in curves if curve.variant == variant]
        kept = [run for run in runs if run.status != "diverged"]
        label = variant + _counted(runs, "diverged") + _counted(runs, "unfinished")
        for run in runs:
            axes.plot(run.x, run.y, color=color, linewidth=0.7, alpha=FAINT, zorder=1, gid=f"seed {run.seed}")
            _mark_end(axes, run, color, top)
        x, summaries = _mean(kept)
        means = [summary.mean for summary in summaries]
        (mean,) = axes.plot(x, means, style, color=color, linewidth=1.8, zorder=3, gid="mean")
        legend.append((mean, label))
        if len(kept) >= 2 and x:
            has_interval = True
            low, high = [s.low for s in summaries], [s.high for s in summaries]
            axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, zorder=2)
    for status, marker, text in (("stopped_early", "v", "stopped early"), ("diverged", "X", "diverged")):
        if any(curve.status == status for curve in curves):
            (mark,) = axes.plot([], [], marker, color="#777777", markersize=6)
            legend.append((mark, text))
    _legend(axes, legend, outside=len(variants) > 4)
    seeds = len({curve.seed for curve in curves})
    note = f"{seeds} seed{'' if seeds == 1 else 's'}"
    note += ": mean, 95 % t-interval, single seeds faint" if has_interval else ""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", parse_math=False)
    axes.set_title(note, loc="right", fontsize=8, color="#555555")
    axes.set_xlabel(x_label)
    axes.set_ylabel(metric_label(metric, is_classification))
    _finish(axes)
    return figure


def run_curves(metrics: dict[str, list[float]], title: str, is_classification: bool) -> Figure:
    """The curves of one run over epochs: loss, and accuracy where there is one; training and validation."""
    quantities = ["loss", "accuracy"] if is_classification else ["loss"]
    figure = Figure(figsize=(4.2 * len(quantities), 3.2), layout="constrained")
    figure.suptitle(title, fontsize=9, parse_math=False)
    for i, quantity in enumerate(quantities):
        axes = figure.add_subplot(1, len(quantities), i + 1)
        names = [name for name in metrics if name.endswith(f"/{quantity}")]
        curves = [Curve(name, 0, metrics["epoch"], metrics[name], "completed") for name in names]
        _scale(axes, curves, quantity)
        for color, name in zip(COLORS, names, strict=False):
            axes.plot(metrics["epoch"], metrics[name], color=color, label=_SPLITS[name.split("/")[0]])
        label = metric_label(f"/{quantity}", is_classification).strip()
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.legend(fontsize=8, frameon=False)
        _finish(axes)
    return figure


def render(figure: Figure, format: str) -> bytes:
    """The figure as PNG, SVG or PDF; the same bytes for the same figure."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[
        format
    ]
    with rc_context({"svg.hashsalt": "bncompare"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a label in a script the font lacks: boxes
        figure.savefig(buffer, format=format, dpi=144, metadata=metadata)
    return buffer.getvalue()


def _mean(runs: Sequence[Curve]) -> tuple[list[float], list[Any]]:
    """Where all runs have an evaluation, and the summary of their values there."""
    if not runs:
        return [], []
    values = [dict(zip(run.x, run.y, strict=True)) for run in runs]
    shared = [x for x in runs[0].x if all(math.isfinite(v.get(x, math.nan)) for v in values)]
    return shared, [summarize([v[x] for v in values]) for x in shared]


def _mark_end(axes: Axes, run: Curve, color: str, top: float) -> None:
    finite = [(x, y) for x, y in zip(run.x, run.y, strict=True) if math.isfinite(y)]
    marker = {"stopped_early": "v", "diverged": "X"}.get(run.status)
    if marker is None or not run.x:
        return
    # A diverged run is marked where it ended, at its last value that can be drawn.
    x, y = (run.x[-1], min(finite[-1][1], top)) if finite else (run.x[-1], top)
    axes.plot(
        [x], [y], marker, color=color, markersize=6, markeredgecolor="white", markeredgewidth=0.6, zorder=4,
        clip_on=False, gid=run.status,
    )  # fmt: skip


def _scale(axes: Axes, curves: Sequence[Curve], metric: str) -> float:
    """Choose the y axis, leaving out what diverged runs reached; returns its upper end."""
    kept = [curve for curve in curves if curve.status != "diverged"] or list(curves)
    values = [y for curve in kept for y in curve.y if math.isfinite(y)]
    if not values:
        return 1.0
    low, high = min(values), max(values)
    if metric.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    if metric.endswith(("loss", "lr")) and low > 0 and high / low > LOG_SCALE_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        low, high = low / 1.15, high * 1.15
    else:
        margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
        low, high = low - margin, high + margin
    axes.set_ylim(low, high)
    return high


def _counted(runs: Sequence[Curve], status: str) -> str:
    number = sum(run.status == status for run in runs)
    return f" ({number} of {len(runs)} {status})" if number else ""


def _legend(axes: Axes, entries: Sequence[tuple[Artist, str]], *, outside: bool) -> None:
    place: dict[str, Any] = {"framealpha": 0.8, "edgecolor": "none"}
    if outside:
        place = {"frameon": False, "loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    handles = [handle for handle, _ in entries]
    legend = axes.legend(handles, [str(i) for i in range(len(entries))], fontsize=8, **place)
    # matplotlib leaves out labels that start with an underscore, and reads $…$ as a formula.
    for text, (_, label) in zip(legend.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
