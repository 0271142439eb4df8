"""Which figures the runs of an experiment get, what is in them, and what their captions say."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from bncompare.comparison import comparison
from bncompare.errors import UserError
from bncompare.figures import catalogue as figures
from bncompare.figures.catalogue import NamedFigure, experiment_figures
from bncompare.runs.documents import Result
from bncompare.runs.read import LoadedRun
from bncompare.runs.tables import DIAGNOSTICS_HEADER


def run(
    variant: str,
    seed: int,
    losses: Sequence[float],
    *,
    status: str = "completed",
    settings: dict[str, Any] | None = None,
    accuracy: float | None = None,
    experiment: str = "e",
) -> LoadedRun:
    """A run with a validation loss an epoch, two steps and half a second long each."""
    epochs = [float(i + 1) for i in range(len(losses))]
    metrics = {"epoch": epochs, "step": [2 * epoch for epoch in epochs], "val/loss": list(losses)}
    metrics["lr"] = [0.1] * len(losses)
    if accuracy is not None:
        metrics["train/accuracy"] = [accuracy] * len(losses)
    best = min(range(len(losses)), key=lambda i: losses[i] if math.isfinite(losses[i]) else math.inf)
    result = {
        "status": status,
        "best": {name: column[best] for name, column in metrics.items()},
        "last": {name: column[-1] for name, column in metrics.items()},
    }
    settings = {"model.norm": variant} if settings is None else settings
    config: dict[str, Any] = {"variant": {"label": variant, "settings": settings}, "data": {"validation": 0.2}}
    elapsed = [0.5 * epoch for epoch in epochs]
    return LoadedRun(
        Path("runs") / experiment / f"{variant}-{seed}", experiment, variant, 0, seed, config, metrics, elapsed[-1],
        Result.model_validate(result) if status != "unfinished" else None, elapsed,
    )  # fmt: skip


def two_variants() -> list[LoadedRun]:
    """`batch` is lower by 0.5, 0.6, … and reaches 1.0 in the second of three epochs, `none` in the third."""
    none = [run("none", s, [3.0, 2.0, 1.0 - 0.01 * s]) for s in range(4)]
    return none + [run("batch", s, [2.0, 1.0 - 0.01 * s, 0.5 - 0.1 * s]) for s in range(4)]


def grid(rates: Sequence[float] = (0.01, 0.1, 1.0), norms: Sequence[str] = ("none", "batch")) -> list[LoadedRun]:
    """A norm × learning-rate grid in which `none` diverges at 1.0 and both are best at 0.1."""
    runs = []
    for i, norm in enumerate(norms):
        for rate in rates:
            settings = {"model.norm": norm, "training.optimizer.lr": rate}
            loss = 1.0 + abs(math.log10(rate) + 1) - 0.1 * i
            for seed in range(3):
                diverged = norm == "none" and rate == 1.0
                losses = [math.nan] if diverged else [loss + 1, loss + 0.01 * seed]
                status = "diverged" if diverged else "completed"
                runs.append(run(f"{norm} lr={rate:g}", seed, losses, status=status, settings=settings))
    return runs


def drawn(runs: Sequence[LoadedRun], **options: Any) -> dict[str, NamedFigure]:
    return {figure.name: figure for figure in experiment_figures(runs, **options)}


def data(figure: Figure, gid: str, axes: int = 0) -> list[list[tuple[float, float]]]:
    """The points of each line of one kind."""
    lines = [line for line in figure.axes[axes].lines if line.get_gid() == gid]
    return [
        list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))  # type: ignore[arg-type]
        for line in lines
    ]


# ---------------------------------------------------------------- which


def test_figures_of_two_variants() -> None:
    """Curves, the differences per seed, the time to a threshold; no sweep, as there is none."""
    assert list(drawn(two_variants())) == ["val-loss", "differences-val-loss-best", "epochs-to-val-loss"]


def test_figures_of_a_grid() -> None:
    """A sweep of the learning rate adds the metric against it, and a heat map."""
    names = ["val-loss", "differences-val-loss-best", "sensitivity-val-loss-by-lr", "heat-map-val-loss-by-lr"]
    assert list(drawn(grid()))[:4] == names


def test_figures_of_one_variant() -> None:
    """Nothing is compared: the curves alone."""
    assert list(drawn([run("none", s, [2.0, 1.0]) for s in range(3)])) == ["val-loss"]


def test_figures_of_one_seed() -> None:
    """One seed has no interval and no difference to show."""
    assert list(drawn([run("none", 0, [2.0, 1.0]), run("batch", 0, [0.9, 0.5])])) == [
        "val-loss",
        "epochs-to-val-loss",
    ]


def test_no_times_where_all_are_equal() -> None:
    """When every run gets there at the same evaluation there is nothing to tell."""
    runs = [run(variant, s, [2.0, 1.0]) for variant in ("none", "batch") for s in range(2)]
    assert "epochs-to-val-loss" not in drawn(runs)


def test_a_sweep_of_one_norm_has_no_heat_map() -> None:
    """One row of cells would say less than the curve."""
    names = list(drawn(grid(norms=["batch"])))
    assert "sensitivity-val-loss-by-lr" in names
    assert not [name for name in names if name.startswith("heat-map")]


def test_chosen_metrics() -> None:
    """`metrics` leaves out all else; the learning rate is drawn only when asked for, and never compared."""
    runs = [run(r.variant, r.seed, r.metrics["val/loss"], accuracy=0.5) for r in two_variants()]
    assert {"train-accuracy", "val-loss"} <= drawn(runs).keys()
    assert list(drawn(runs, metrics=["lr"])) == ["lr"]
    chosen = drawn(runs, metrics=["lr", "val/loss"])
    assert list(chosen) == ["val-loss", "lr", "differences-val-loss-best", "epochs-to-val-loss"]
    assert list(drawn(grid(), metrics=["val/loss"]))[2:4] == ["sensitivity-val-loss-by-lr", "heat-map-val-loss-by-lr"]


def test_an_unknown_metric() -> None:
    """A metric that no run has is an error."""
    with pytest.raises(UserError, match="val/accuracy"):
        drawn(two_variants(), metrics=["val/accuracy"])


def test_two_experiments() -> None:
    """Runs of two experiments are no experiment."""
    with pytest.raises(UserError, match="2 experiments"):
        drawn([*two_variants(), run("none", 0, [1.0, 2.0], experiment="other")])


def test_runs_without_evaluations() -> None:
    """Runs that have just begun have no figures, and do no harm to the others."""
    begun = [
        LoadedRun(Path(v), "e", v, 0, 9, {"variant": {}}, {"epoch": [], "step": [], "val/loss": []}, 0.0, None)
        for v in ("none", "batch")
    ]
    assert drawn(begun) == {}
    of_all = drawn(
        [replace(run, path=Path("runs/e/x"), config=two_variants()[0].config) for run in begun] + two_variants()
    )
    assert list(of_all) == list(drawn(two_variants()))


# ---------------------------------------------------------------- what is in them


@pytest.mark.parametrize(("x", "at"), [("epoch", [1, 2, 3]), ("step", [2, 4, 6])])
def test_curves(x: Any, at: list[float]) -> None:
    """The mean of each variant over epochs or steps; title and caption."""
    figure = drawn(two_variants(), x=x, title="a title")["val-loss"]
    none, batch = data(figure.figure, "mean")
    assert none == [(at[0], 3), (at[1], 2), (at[2], pytest.approx(0.985))]
    assert batch[-1] == (at[2], pytest.approx(0.35))
    assert figure.figure.get_suptitle().strip() == "a title"
    assert figure.figure.axes[0].get_xlabel() == x
    assert figure.caption == (
        f"Validation loss over {x}s, mean over seeds: none ends at 0.985 ({x} {at[2]}); "
        f"batch ends at 0.35 ({x} {at[2]})."
    )


def test_differences() -> None:
    """Each seed's difference at the best evaluation, later variant − baseline; the caption has the verdict."""
    figure = drawn(two_variants())["differences-val-loss-best"]
    ((*dots,),) = data(figure.figure, "seeds")
    assert [x for x, _ in dots] == pytest.approx([-0.5, -0.59, -0.68, -0.77])
    assert [label.get_text() for label in figure.figure.axes[0].get_yticklabels()] == ["batch − none"]
    verdict = "batch is better than none by 0.64"
    assert figure.caption == f"Differences in val/loss at the best evaluation, a dot a seed: {verdict}."


def test_sensitivity_and_heat_map() -> None:
    """A line a norm over the rates with the diverged counted, and the same numbers in cells; the chosen is framed."""
    made = drawn(grid())
    figure = made["sensitivity-val-loss-by-lr"]
    none, batch = ([y for _, y in line] for line in data(figure.figure, "mean"))
    assert none == pytest.approx([2.01, 1.01])
    assert batch == pytest.approx([1.91, 0.91, 1.91])
    (axes,) = figure.figure.axes
    assert [text.get_text() for text in axes.texts if text.get_gid() == "diverged"] == ["✕ 3/3"]
    assert axes.get_xlabel() == "learning rate (log scale)"
    chosen = "chosen on the validation set: none lr=0.1, batch lr=0.1; 3 runs diverged"
    assert figure.caption == f"Validation loss of none, batch by learning rate; {chosen}."
    axes = made["heat-map-val-loss-by-lr"].figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["2.01", "1.01", "✕ 3/3", "1.91", "0.91", "1.91"]
    assert sorted({round(patch.get_x() + 0.5) for patch in axes.patches}) == [1]
    assert made["heat-map-val-loss-by-lr"].caption.endswith("; as a heat map.")


def test_a_grid_of_two_hyperparameters() -> None:
    """The one with more values is the axis, the other tells rows apart; lists and words are values as well."""
    runs = [
        run(
            f"{norm} lr={rate} {size}",
            seed,
            [2.0, 1.0 + rate],
            settings={"model.norm": norm, "training.optimizer.lr": rate, "training.batch_size": size},
        )
        for norm in ("none", "batch")
        for rate in (0.1, 0.2, 0.4)
        for size in (16, "full")
        for seed in range(2)
    ]
    made = drawn(runs)
    axes = made["sensitivity-val-loss-by-lr"].figure.axes[0]
    rows = ["none batch_size=16", "none full", "batch batch_size=16", "batch full"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == rows
    assert len(made["heat-map-val-loss-by-lr"].figure.axes[0].texts) == 12


def test_which_figures_are_colour_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is drawn, whatever a figure is called: a map of layers over steps is one, bands and dots are none."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{step},{step},{layer},gradient norm,{step}.5\n" for layer in ("hidden.0", "output") for step in (1, 2)]
    for of in grid():
        of.path.mkdir(parents=True)
        (of.path / "diagnostics.csv").write_text("".join([DIAGNOSTICS_HEADER, *rows]))
    maps = [name for name, figure in drawn(grid()).items() if figure.has_colour_scale]
    assert maps == ["heat-map-val-loss-by-lr", "diagnostics-gradient-norm"]


@pytest.mark.parametrize("x", ["epoch", "step"])
def test_times(x: Any) -> None:
    """Epochs (or steps) and seconds until the threshold that all reach; never is counted for the diverged."""
    runs = [*two_variants(), run("batch", 4, [2.0, math.nan], status="diverged"), run("none", 4, [2.0, 1.5, 0.9])]
    figure = drawn(runs, x=x)[f"{x}s-to-val-loss"]
    factor = 2 if x == "step" else 1
    none, batch = ([at for at, _ in line] for line in data(figure.figure, "reached"))
    assert none == [3 * factor] * 5
    assert batch == [2 * factor] * 4
    assert len(data(figure.figure, "never")[0]) == 1
    seconds = data(figure.figure, "reached", axes=1)
    assert [at for at, _ in seconds[0]] == [1.5] * 5
    told = f"none in {3 * factor} {x}s; batch in {2 * factor} {x}s, never in 1 of 5 runs"
    assert figure.caption == f"Time to val/loss ≤ 1, median: {told}."


def test_a_median_that_is_never() -> None:
    """Where half of the runs or more never get there the caption gives no time."""
    runs = [*two_variants(), *(run("layer", s, [2.0, math.nan], status="diverged") for s in range(2))]
    caption = drawn(runs)["epochs-to-val-loss"].caption
    assert caption.endswith("batch in 2 epochs; layer without one, never in 2 of 2 runs.")


def test_captions_of_many_variants_are_short() -> None:
    """More than four variants are not gone through one by one, and rows end at thirty."""
    runs = [run(f"v{i:02}", s, [2.0, 1.0 + 0.01 * i, 0.5]) for i in range(40) for s in range(3)]
    made = drawn(runs)
    assert made["val-loss"].caption == (
        "Validation loss over epochs, mean over seeds: of 40 variants v00 ends lowest, at 0.5; v00 highest, at 0.5."
    )
    assert all(len(figure.caption) < 600 for figure in made.values())
    axes = made["differences-val-loss-best"].figure.axes[0]
    assert len(axes.get_yticklabels()) == figures.MAX_ROWS


def test_the_order_of_runs_does_not_matter_to_the_numbers() -> None:
    """The same runs in another order have the same means."""
    forward, backward = (drawn(runs)["val-loss"] for runs in (two_variants(), two_variants()[::-1]))
    none, batch = data(forward.figure, "mean")
    assert [np.asarray(line) for line in data(backward.figure, "mean")] == [
        pytest.approx(np.asarray(batch)),
        pytest.approx(np.asarray(none)),
    ]


def test_figures_come_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is there before anything is compared: nobody waits for, or holds, all of them."""
    monkeypatch.setattr(figures, "compare", None)
    assert next(experiment_figures(two_variants())).name == "val-loss"
    assert callable(comparison.compare)
