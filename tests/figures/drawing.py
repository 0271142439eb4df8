"""What the tests of figures share: runs to draw, and what is drawn read back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import compare
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bncompare.config import Metric
from bncompare.figures import colour_mapped
from bncompare.figures.catalogue import experiment_figures
from bncompare.figures.choice import named
from bncompare.figures.style import NamedFigure
from bncompare.figures.sweeps import sweep_figures
from bncompare.runs import Diagnostic, LoadedRun, Result

NAN, INF = math.nan, math.inf
MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}
STEPS = (10.0, 20.0, 30.0)

Point = tuple[float, float]


@dataclass(frozen=True)
class MeasuredRun(LoadedRun):
    """A run whose diagnostics are given, not read."""

    diagnostics: Sequence[Diagnostic] = ()  # type: ignore[assignment]


def run(
    variant: str,
    seed: int,
    values: Sequence[float],
    *,
    metric: str = "val/loss",
    x: Sequence[float] | None = None,
    status: str = "completed",
    settings: dict[str, Any] | None = None,
    experiment: str = "e",
    **more: Any,
) -> LoadedRun:
    """A run with a metric an epoch (or at `x`), two steps and half a second long each; `more`: other columns."""
    epochs = [float(i + 1) for i in range(len(values))] if x is None else list(x)
    columns = {"epoch": epochs, "step": [2 * epoch for epoch in epochs], metric: list(values)}
    columns |= {"lr": [0.1] * len(values), **more}
    ordered = sorted(range(len(values)), key=lambda i: (not math.isfinite(values[i]), values[i]))
    best = ordered[-1 if Metric(metric).higher_is_better else 0] if values else 0
    result = None
    if status != "unfinished":
        ends = {"best": best, "last": -1}
        values_at = {end: {name: of[i] for name, of in columns.items()} for end, i in ends.items()}
        result = Result.model_validate({"status": status, **values_at})
    settings = {"model.norm": variant} if settings is None else settings
    norm = settings.get("model.norm", "none")
    config: dict[str, Any] = {
        "variant": {"label": variant, "settings": settings},
        "data": {"validation": 0.2},
        "model": {"norm": norm if isinstance(norm, dict) else {"kind": norm}},
    }
    elapsed = [0.5 * epoch for epoch in epochs]
    path = Path("runs") / experiment / f"{variant}-{seed}"
    return LoadedRun(path, experiment, variant, 0, seed, config, columns, sum(elapsed[-1:]), result, elapsed)


def seeds(*values: Sequence[float], variant: str = "batch", **options: Any) -> list[LoadedRun]:
    """A run a seed, from 0."""
    return [run(variant, seed, of_seed, **options) for seed, of_seed in enumerate(values)]


def ending(of: Mapping[str, Mapping[int, float | None]], metric: str = "val/loss") -> list[LoadedRun]:
    """Runs of a single evaluation: variant → seed → its value, None for a run that diverged."""
    return [_ended(variant, seed, value, metric=metric) for variant in of for seed, value in of[variant].items()]


def _ended(variant: str, seed: int, value: float | None, **options: Any) -> LoadedRun:
    status = "diverged" if value is None else "completed"
    return run(variant, seed, [NAN if value is None else value], status=status, **options)


def grid(of: Mapping[str, Mapping[Any, Sequence[float | None]]], metric: str = "val/loss") -> list[LoadedRun]:
    """Runs of a norm × learning-rate grid: norm → learning rate → the value of each seed, None for diverged."""
    settings = [{"model.norm": norm, "training.optimizer.lr": rate} for norm in of for rate in of[norm]]
    return [
        _ended(f"{at['model.norm']} lr={at['training.optimizer.lr']}", seed, value, metric=metric, settings=at)
        for at in settings
        for seed, value in enumerate(of[at["model.norm"]][at["training.optimizer.lr"]])
    ]


def swept(of: Mapping[str, Mapping[Any, Sequence[float | None]]], metric: str = "val/loss") -> dict[str, Figure]:
    """`sensitivity` and `heat-map` of such a grid, drawn once so that matplotlib has gone through all of it."""
    runs = named(grid(of, metric))
    table = compare(runs, metric).sensitivity
    assert table is not None
    found = {}
    for made in sweep_figures(table, runs, title="e"):
        made.figure.draw_without_rendering()
        found["heat-map" if any(map(colour_mapped, made.figure.axes)) else "sensitivity"] = made.figure
    return found


def measured(
    variant: str,
    seed: int,
    values: Mapping[tuple[str, str], Sequence[float] | Mapping[float, float]],
    status: str = "completed",
) -> LoadedRun:
    """A run with diagnostics: (layer, quantity) → values at `STEPS`, or by step."""
    rows = [
        Diagnostic(step / 10, step, *key, value)
        for key, column in values.items()
        for step, value in (column.items() if isinstance(column, Mapping) else zip(STEPS, column, strict=False))
    ]
    of = run(variant, seed, [1.0], status=status)
    return MeasuredRun(**{name: getattr(of, name) for name in LoadedRun.__dataclass_fields__}, diagnostics=rows)


def drawn(runs: Sequence[LoadedRun], **options: Any) -> dict[str, NamedFigure]:
    """All figures of some runs by name."""
    return {figure.name: figure for figure in experiment_figures(runs, **options)}


# ---------------------------------------------------------------- read back


def lines(axes: Axes, gid: str) -> list[Line2D]:
    """The lines of one kind."""
    return [line for line in axes.lines if line.get_gid() == gid]


def points(line: Line2D) -> list[Point]:
    """What a line goes through."""
    return list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))  # type: ignore[arg-type]


def data(axes: Axes, gid: str) -> list[list[Point]]:
    """The points of each line of one kind."""
    return [points(line) for line in lines(axes, gid)]


def texts(axes: Axes) -> list[str]:
    """What is written into the axes."""
    return [text.get_text() for text in axes.texts]


def legend(axes: Axes) -> list[str]:
    """The labels as a reader sees them."""
    own = axes.get_legend()
    box = (own or axes.figure.legends[0]).get_texts()
    assert not any(text.get_parse_math() for text in box)
    return [text.get_text().replace("\n", " ") for text in box]


def names(axes: Axes, axis: str = "y") -> list[str]:
    """The labels of the ticks."""
    return [text.get_text() for text in getattr(axes, f"get_{axis}ticklabels")()]


def note(figure: Figure) -> str:
    """The line below the title."""
    (found,) = (text.get_text() for text in figure.texts if text.get_gid() == "note")
    return found.replace("\n", " ")
