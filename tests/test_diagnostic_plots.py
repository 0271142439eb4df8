"""Figures of diagnostics: what is drawn is read back from the axes."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.figure import Figure

from bncompare import cli
from bncompare.config.expansion import load_experiment
from bncompare.diagnostic_plots import MeasuredRun, diagnostic_figures
from bncompare.experiment import plan, run_experiment
from bncompare.plotting import render
from bncompare.results import Diagnostic
from bncompare.store import RunStore

STEPS = (10.0, 20.0, 30.0)


def run(variant: str, seed: int, values: dict[tuple[str, str], list[float]]) -> MeasuredRun:
    rows = [
        Diagnostic(step / 10, step, layer, quantity, value)
        for (layer, quantity), column in values.items()
        for step, value in zip(STEPS, column, strict=False)
    ]
    return MeasuredRun(variant, seed, rows)


def figures(*runs: MeasuredRun) -> dict[str, Figure]:
    found = {name: figure for name, _, figure in diagnostic_figures(runs, "title")}
    assert all(render(figure, "png").startswith(b"\x89PNG") for figure in found.values())
    return found


def maps(figure: Figure) -> dict[str, list[list[float]]]:
    """The values of each panel of a layer × step map, by its title."""
    meshes = {
        axes.get_title("left"): mesh
        for axes in figure.axes
        for mesh in axes.collections
        if isinstance(mesh, QuadMesh)
    }
    return {title: np.asarray(mesh.get_array()).tolist() for title, mesh in meshes.items() if title}


def bands(axes: Axes) -> list[list[tuple[float, float]]]:
    """(low, high) of each band at each step."""
    found = []
    for band in axes.collections:
        if isinstance(band, PolyCollection) and not isinstance(band, QuadMesh):
            points = band.get_paths()[0].vertices
            found.append([(min(p), max(p)) for s in STEPS if (p := [y for x, y in np.asarray(points) if x == s])])
    return found


def test_nothing_measured() -> None:
    """Without diagnostics there is no figure."""
    assert figures() == {}
    assert figures(run("none", 0, {})) == {}


def test_percentiles() -> None:
    """A band from the 15th to the 85th percentile around the median, of the first seed, a column a variant."""

    def percentiles(shift: float) -> dict[tuple[str, str], list[float]]:
        columns = {"p15": [-1, -2, -3], "p50": [0, 1, 2], "p85": [4, 5, 6]}
        return {("hidden.1", f"input {name}"): [v + shift for v in column] for name, column in columns.items()}

    (figure,) = figures(
        run("none", 3, percentiles(0)), run("none", 4, percentiles(9)), run("batch", 3, percentiles(1))
    ).values()
    assert [axes.get_title("left") for axes in figure.axes] == ["none", "batch"]
    for axes, shift in zip(figure.axes, (0, 1), strict=True):
        assert bands(axes) == [[(-1 + shift, 4 + shift), (-2 + shift, 5 + shift), (-3 + shift, 6 + shift)]]
        assert list(axes.lines[0].get_ydata()) == [0 + shift, 1 + shift, 2 + shift]
    assert figure.axes[0].get_ylabel() == "hidden.1"


def test_percentiles_of_units() -> None:
    """Chosen units take the place of their layer."""
    values = {
        ("hidden.0", f"input {p}{unit}"): [0.0, 0, 0] for p in ("p15", "p50", "p85") for unit in ("", " of unit 3")
    }
    (figure,) = figures(run("none", 0, values)).values()
    assert [axes.get_ylabel() for axes in figure.axes] == ["hidden.0, unit 3"]


def legend(axes: Axes) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in axes.get_legend().get_texts()]


def test_layer_map() -> None:
    """Layers × steps, the mean over the seeds, as far as all go; a panel for each variant that has it."""
    values = {("hidden.0", "gradient norm"): [1.0, 2, 3], ("output", "gradient norm"): [4.0, 5, 6]}
    shorter = {("hidden.0", "gradient norm"): [3.0, 4], ("output", "gradient norm"): [4.0, 7]}
    gamma = {("hidden.0", "gamma mean"): [1.0, 1, 1], ("hidden.1", "gamma mean"): [1.0, 1, 2]}
    found = figures(run("none", 0, values), run("none", 1, shorter), run("batch", 0, values | gamma))
    assert list(found) == ["gradient-norm", "gamma-mean"]
    assert maps(found["gradient-norm"]) == {"none": [[2, 3], [4, 6]], "batch": [[1, 2, 3], [4, 5, 6]]}
    assert maps(found["gamma-mean"]) == {"batch": [[1, 1, 1], [1, 1, 2]]}
    assert [text.get_text() for text in found["gradient-norm"].axes[0].get_yticklabels()] == ["hidden.0", "output"]


def test_a_single_layer() -> None:
    """What was measured of one layer alone is a line for each variant, the mean over its seeds."""
    runs = [run("none", i, {("hidden.2", "saturated"): [0.25 + i, 0.2, 0.3]}) for i in range(2)]
    figure = figures(*runs, run("batch", 0, {("hidden.2", "saturated"): [0.3, 0.3, 0.3]}))["saturated"]
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.75, 0.2, 0.3], [0.3, 0.3, 0.3]]
    assert (legend(axes), axes.get_ylabel()) == (["none", "batch"], "saturated of hidden.2")


def test_a_single_step() -> None:
    """A single measurement is a dot, as there is no line to see."""
    figure = figures(run("none", 0, {("hidden.2", "dead"): [0.5]}))["dead"]
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o"]


def test_many_variants() -> None:
    """More variants than fit side by side go on in the next row; each panel has its own name."""
    values = {("hidden.0", "dead"): [0.1, 0.2, 0.3], ("hidden.1", "dead"): [0.1, 0.2, 0.3]}
    figure = figures(*(run(f"v{i}", 0, values) for i in range(6)))["dead"]
    assert list(maps(figure)) == [f"v{i}" for i in range(6)]
    assert figure.get_figwidth() < 12


def test_norm_parameters() -> None:
    """γ and β at the last step, a dot each: layers side by side, variants beside each other, all seeds."""

    def gamma(scale: float) -> dict[tuple[str, str], list[float]]:
        values = {("hidden.0", "gamma[0]"): [scale, 2 * scale], ("hidden.1", "gamma[0]"): [3 * scale]}
        return values | {("hidden.0", "gamma[1]"): [4 * scale]}

    beta = {("hidden.0", "beta[0]"): [7.0]}
    runs = (run("none", 0, {}), run("batch", 0, gamma(1)), run("batch", 1, gamma(10)), run("layer", 0, beta))
    figure = figures(*runs)["norm-parameters"]
    found = {
        axes.get_ylabel(): {line.get_gid(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
        for axes in figure.axes
    }
    assert found == {"γ": {"batch hidden.0": [2, 4, 20, 40], "batch hidden.1": [3, 30]}, "β": {"layer hidden.0": [7]}}
    ranges = [(min(line.get_xdata()), max(line.get_xdata())) for axes in figure.axes for line in axes.lines]
    assert all(
        -0.4 + shift < low and high < 0.4 + shift for shift, (low, high) in zip((0, 1, 0), ranges, strict=True)
    )
    assert ranges[0][1] < 0 < ranges[2][0]  # batch at the left of its layer, layer at the right
    assert legend(figure.axes[0]) == ["batch", "layer"]


@pytest.mark.parametrize("odd", [math.nan, math.inf, 0.0])
def test_a_map_of_odd_values(odd: float) -> None:
    """A value that is not finite, a zero, a single step: all can be drawn."""
    figures(run("none", 0, {("output", "update ratio"): [odd, 2, 900]}))
    figures(run("none", 0, {("output", "update ratio"): [odd]}))


def test_landscape() -> None:
    """Bands of the smallest to largest loss and change of the gradient, and β-smoothness; means over the seeds."""
    names = (
        "landscape loss min",
        "landscape loss max",
        "gradient change min",
        "gradient change max",
        "beta smoothness",
    )
    values = {("model", name): [float(i), i + 1, i + 2] for i, name in enumerate(names)}
    more = {key: [value + 2 for value in column] for key, column in values.items()}
    figure = figures(run("none", 0, values), run("none", 1, more))["landscape"]
    assert bands(figure.axes[0]) == [[(1, 2), (2, 3), (3, 4)]]
    assert bands(figure.axes[1]) == [[(3, 4), (4, 5), (5, 6)]]
    assert list(figure.axes[2].lines[0].get_ydata()) == [5, 6, 7]


def test_curves() -> None:
    """Training against evaluation mode, and validation by its statistics: a line for each variant and quantity."""
    gap = {("model", f"loss in {mode} mode"): [1.0, 2, 3] for mode in ("training", "evaluation")}
    names = ("val/accuracy with batch statistics", "val/accuracy one at a time with running statistics")
    statistics = {("model", name): [0.5, 0.6, 0.7] for name in names}
    found = figures(run("none", 0, gap), run("$batch_", 0, gap | statistics))
    assert list(found) == ["train-eval-gap", "statistics-accuracy"]
    labels = legend(found["train-eval-gap"].axes[0])
    assert labels == [f"{v}, {m} mode" for v in ("none", "$batch_") for m in ("training", "evaluation")]
    labels = legend(found["statistics-accuracy"].axes[0])
    assert labels == ["$batch_, one at a time with running statistics", "$batch_, batch statistics"]


# ---------------------------------------------------------------- commands


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["bncompare", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


def test_plot_and_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`plot` draws what was measured beside the curves, `show` lists the last values; damage is a warning."""
    settings = ["compare.model.norm=[batch]", "training.epochs=3", "claims=[]"]
    settings.append("diagnostics={gradients: true, norm_parameters: true, layers: [hidden.0]}")
    config = Path(__file__).parents[1] / "configs" / "regression.yaml"
    experiment = load_experiment(config, overrides=settings, seeds="1")
    planned = plan(experiment.runs, RunStore(tmp_path))
    for _ in run_experiment(planned, data_dir=None):
        pass
    command(monkeypatch, "plot", str(tmp_path / "regression"))
    drawn = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    names = ("gradient-norm", "update-ratio", "gamma-mean", "beta-mean", "norm-parameters")
    maps = {f"diagnostics-{name}.png" for name in names}
    assert drawn == {"train-loss.png", *maps}
    assert all((tmp_path / "regression" / name).exists() for name in drawn)

    folder = planned[0].folder.path
    command(monkeypatch, "show", str(folder))
    shown = [line.split() for line in capsys.readouterr().out.split("diagnostics, last")[1].splitlines()[2:]]
    command(monkeypatch, "show", str(folder), "--json")
    last = json.loads(capsys.readouterr().out)["diagnostics"]
    assert last["hidden.0/gamma[0]"] != 1
    assert [row for row in shown if row] == [
        [*name.removeprefix("hidden.0/").split(), f"{value:.4g}"] for name, value in last.items() if "[" not in name
    ]

    (folder / "diagnostics.csv").write_text("epoch,step,layer\n")
    command(monkeypatch, "show", str(folder))
    assert "diagnostics.csv: left out: diagnostics.csv does not start with epoch,step," in capsys.readouterr().err
