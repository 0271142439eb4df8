"""Figures of diagnostics: what is drawn is read back from the axes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from drawing import STEPS, legend, measured, note
from kit import CONFIGS, call
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.figure import Figure

from bncompare.figures.diagnostics import diagnostic_figures
from bncompare.figures.style import render
from bncompare.probes.landscape import LANDSCAPE
from bncompare.runs import LoadedRun


def figures(*runs: LoadedRun) -> dict[str, Figure]:
    found = {
        named.name.removeprefix("diagnostics-"): named.figure for named in diagnostic_figures(runs, title="title")
    }
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
    assert figures(measured("none", 0, {})) == {}


def test_percentiles() -> None:
    """A band from the 15th to the 85th percentile around the median, of the first seed, a column a variant."""

    def percentiles(shift: float) -> dict[tuple[str, str], list[float]]:
        columns = {"p15": [-1, -2, -3], "p50": [0, 1, 2], "p85": [4, 5, 6]}
        return {("hidden.1", f"input {name}"): [v + shift for v in column] for name, column in columns.items()}

    (figure,) = figures(
        measured("none", 3, percentiles(0)), measured("none", 4, percentiles(9)), measured("batch", 3, percentiles(1))
    ).values()
    assert [axes.get_title("left") for axes in figure.axes] == ["none, seed 3", "batch, seed 3"]
    for axes, shift in zip(figure.axes, (0, 1), strict=True):
        assert bands(axes) == [[(-1 + shift, 4 + shift), (-2 + shift, 5 + shift), (-3 + shift, 6 + shift)]]
        assert list(axes.lines[0].get_ydata()) == [0 + shift, 1 + shift, 2 + shift]
    assert figure.axes[0].get_ylabel() == "hidden.1"


def test_percentiles_of_units() -> None:
    """Chosen units take the place of their layer."""
    values = {
        ("hidden.0", f"input {p}{unit}"): [0.0, 0, 0] for p in ("p15", "p50", "p85") for unit in ("", " of unit 3")
    }
    (figure,) = figures(measured("none", 0, values)).values()
    assert [axes.get_ylabel() for axes in figure.axes] == ["hidden.0, unit 3"]


def test_layer_map() -> None:
    """Layers × steps, the mean over the seeds, as far as all go; a panel for each variant that has it."""
    values = {("hidden.0", "gradient norm"): [1.0, 2, 3], ("output", "gradient norm"): [4.0, 5, 6]}
    shorter = {("hidden.0", "gradient norm"): [3.0, 4], ("output", "gradient norm"): [4.0, 7]}
    gamma = {("hidden.0", "gamma mean"): [1.0, 1, 1], ("hidden.1", "gamma mean"): [1.0, 1, 2]}
    found = figures(measured("none", 0, values), measured("none", 1, shorter), measured("batch", 0, values | gamma))
    assert list(found) == ["gradient-norm", "gamma-mean"]
    assert maps(found["gradient-norm"]) == {"none": [[2, 3], [4, 6]], "batch": [[1, 2, 3], [4, 5, 6]]}
    assert maps(found["gamma-mean"]) == {"batch": [[1, 1, 1], [1, 1, 2]]}
    assert [text.get_text() for text in found["gradient-norm"].axes[0].get_yticklabels()] == ["hidden.0", "output"]


def test_a_single_layer() -> None:
    """What was measured of one layer alone is a line for each variant, the mean over its seeds."""
    runs = [measured("none", i, {("hidden.2", "saturated"): [0.25 + i, 0.2, 0.3]}) for i in range(2)]
    figure = figures(*runs, measured("batch", 0, {("hidden.2", "saturated"): [0.3, 0.3, 0.3]}))["saturated"]
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.75, 0.2, 0.3], [0.3, 0.3, 0.3]]
    assert (legend(axes), axes.get_ylabel()) == (["none", "batch"], "saturated of hidden.2")


def test_a_single_step() -> None:
    """A single measurement is a dot, as there is no line to see."""
    figure = figures(measured("none", 0, {("hidden.2", "dead"): [0.5]}))["dead"]
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o"]


def test_many_variants() -> None:
    """More variants than fit side by side go on in the next row; each panel has its own name."""
    values = {("hidden.0", "dead"): [0.1, 0.2, 0.3], ("hidden.1", "dead"): [0.1, 0.2, 0.3]}
    figure = figures(*(measured(f"v{i}", 0, values) for i in range(6)))["dead"]
    assert list(maps(figure)) == [f"v{i}" for i in range(6)]
    assert figure.get_figwidth() < 12


def test_norm_parameters() -> None:
    """γ and β at the last step, a dot each: layers side by side, variants beside each other, all seeds."""

    def gamma(scale: float) -> dict[tuple[str, str], list[float]]:
        values = {("hidden.0", "gamma[0]"): [scale, 2 * scale], ("hidden.1", "gamma[0]"): [3 * scale]}
        return values | {("hidden.0", "gamma[1]"): [4 * scale]}

    beta = {("hidden.0", "beta[0]"): [7.0]}
    runs = (
        measured("none", 0, {}),
        measured("batch", 0, gamma(1)),
        measured("batch", 1, gamma(10)),
        measured("layer", 0, beta),
    )
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


def test_means_are_over_the_same_runs_at_each_step() -> None:
    """Runs that were measured at other steps, as those that stopped early, are averaged where all were measured."""
    key = ("output", "gradient norm")
    runs = [measured("batch", 0, {key: {10: 1, 20: 2, 25: 9}}), measured("batch", 1, {key: {10: 3, 20: 4, 30: 7}})]
    (axes,) = figures(*runs)["gradient-norm"].axes
    (line,) = axes.lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([10, 20], [2, 3])
    layers = [measured("none", i, {("a", "dead"): [0.1, 0.2], ("b", "dead"): [0.3 + i, 0.4, 0.5]}) for i in range(2)]
    (values,) = maps(figures(*layers)["dead"]).values()
    assert values[0][:2] == [0.1, 0.2]
    assert math.isnan(values[0][2])
    assert values[1] == [0.8, 0.4, 0.5]


def test_no_shared_step() -> None:
    """Where no step is shared the first run stands for its variant."""
    key = ("output", "gradient norm")
    runs = [measured("batch", 0, {key: {10: 1}}), measured("batch", 1, {key: {20: 3}})]
    (line,) = figures(*runs)["gradient-norm"].axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([10], [1])


def test_what_was_not_measured_is_counted() -> None:
    """Runs that diverged before a measurement are counted, and a variant without any is named."""
    values = {("output", "gradient norm"): [1.0, 2, 3], ("hidden.0", "gradient norm"): [1.0, 2, 3]}
    runs = [
        measured("none", 0, values),
        measured("none", 1, {}),
        measured("lr=9", 0, {}),
        measured("batch", 0, values),
    ]
    figure = figures(*runs)["gradient-norm"]
    assert list(maps(figure)) == ["none (1 of 2 runs)", "batch"]
    assert note(figure).endswith("weight; without a measurement: lr=9")


def test_a_variant_looks_the_same_everywhere() -> None:
    """Colour and marker go with the variant, also where others have nothing to show."""
    gamma, names = {("hidden.0", "gamma[0]"): [1.0]}, ("loss in training mode", "loss in evaluation mode")
    modes = {("model", name): [1.0, 2, 3] for name in names}
    found = figures(
        measured("none", 0, modes), measured("batch", 0, modes | gamma), measured("layer", 0, modes | gamma)
    )
    dots = {line.get_gid().split()[0]: line for line in found["norm-parameters"].axes[0].lines}
    drawn = found["train-eval-gap"].axes[0].lines
    for i, variant in enumerate(("none", "batch", "layer")):
        if variant in dots:
            assert (dots[variant].get_color(), dots[variant].get_marker()) == (
                drawn[2 * i].get_color(),
                drawn[2 * i].get_marker(),
            )


def test_lines_are_told_apart() -> None:
    """Variants differ in more than the colour, and so do quantities, however many there are of them."""
    names = [f"val/loss with {name}" for name in ("a", "b", "c", "d", "e")]
    values = {("model", name): [1.0, 2, 3] for name in names}
    axes = figures(*(measured(f"v{i}", 0, values) for i in range(12)))["statistics-loss"].axes[0]
    looks = [(line.get_color(), line.get_marker(), str(line._unscaled_dash_pattern)) for line in axes.lines]  # type: ignore[attr-defined]
    assert len(set(looks)) == len(looks) == 60
    assert len({look[1:] for look in looks[:40]}) == 40  # 8 markers × 5 styles, without the colour
    landscape = {("model", name): [1.0, 2, 3] for name in LANDSCAPE}
    figure = figures(*(measured(f"v{i}", 0, landscape) for i in range(6)))["landscape"]
    assert len({str(line._unscaled_dash_pattern) for line in figure.axes[2].lines}) == 6  # type: ignore[attr-defined]


def test_more_variants_than_a_figure_holds() -> None:
    """The first twelve are drawn, and the head says so; no figure grows beyond a page."""
    values = {(layer, "dead"): [0.1, 0.2, 0.3] for layer in ("hidden.0", "hidden.1")}
    values |= {("hidden.0", f"input {p}"): [0.0, 1, 2] for p in ("p15", "p50", "p85")}
    values |= {("model", name): [1.0, 2, 3] for name in (*LANDSCAPE, "loss in training mode")}
    values |= {("hidden.0", "gamma[0]"): [1.0]}
    found = figures(*(measured(f"the variant number {i}", 0, values) for i in range(50)))
    assert len(found) == 5
    for figure in found.values():
        assert "; the first 12 of 50 variants" in note(figure)
        assert figure.get_figwidth() <= 14
        assert figure.get_figheight() <= 9


def test_a_single_measurement_can_be_seen() -> None:
    """Bands of one step are upright strokes, with a dot for what would be a line."""
    values = {("hidden.0", f"input {p}"): [i] for i, p in enumerate(("p15", "p50", "p85"))}
    values |= {("model", name): [i] for i, name in enumerate(LANDSCAPE)}
    found = figures(measured("none", 0, values))
    (stroke, dot) = found["percentiles"].axes[0].lines
    assert (list(stroke.get_ydata()), list(dot.get_ydata()), dot.get_marker()) == ([0, 2], [1], "o")
    loss, change, smoothness = found["landscape"].axes
    assert [list(axes.lines[0].get_ydata()) for axes in (loss, change, smoothness)] == [[0, 1], [3, 4], [5]]
    assert smoothness.lines[0].get_marker() == "o"
    assert list(loss.get_xticks()) == [10]


@pytest.mark.parametrize("missing", ["p15", "p85", "landscape loss min", "gradient change max", "beta smoothness"])
def test_rows_that_are_missing(missing: str) -> None:
    """Of a folder that others made, what is not there is not drawn."""
    values = {("hidden.0", f"input {p} of unit 0"): [0.0, 1, 2] for p in ("p15", "p50", "p85")}
    values |= {("model", name): [1.0, 2, 3] for name in LANDSCAPE}
    kept = {key: value for key, value in values.items() if missing not in key[1]}
    shorter = {key: value[:1] if missing in key[1] else value for key, value in values.items()}
    for rows in (kept, shorter):
        figures(measured("none", 0, rows))
        figures(measured("none", 0, rows), measured("batch", 0, values))


@pytest.mark.parametrize("odd", [math.nan, math.inf, 0.0])
def test_a_map_of_odd_values(odd: float) -> None:
    """A value that is not finite, a zero, a single step: all can be drawn."""
    figures(measured("none", 0, {("output", "update ratio"): [odd, 2, 900]}))
    figures(measured("none", 0, {("output", "update ratio"): [odd]}))


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
    figure = figures(measured("none", 0, values), measured("none", 1, more))["landscape"]
    assert bands(figure.axes[0]) == [[(1, 2), (2, 3), (3, 4)]]
    assert bands(figure.axes[1]) == [[(3, 4), (4, 5), (5, 6)]]
    assert list(figure.axes[2].lines[0].get_ydata()) == [5, 6, 7]


def test_curves() -> None:
    """Training against evaluation mode, and validation by its statistics: a line for each variant and quantity."""
    gap = {("model", f"loss in {mode} mode"): [1.0, 2, 3] for mode in ("training", "evaluation")}
    names = ("val/accuracy with batch statistics", "val/accuracy one at a time with running statistics")
    statistics = {("model", name): [0.5, 0.6, 0.7] for name in names}
    found = figures(measured("none", 0, gap), measured("$batch_", 0, gap | statistics))
    assert list(found) == ["train-eval-gap", "statistics-accuracy"]
    assert legend(found["train-eval-gap"].axes[0]) == ["none", "$batch_", "training mode", "evaluation mode"]
    names = ["one at a time with running statistics", "batch statistics"]
    assert legend(found["statistics-accuracy"].axes[0]) == ["$batch_", *names]


# ---------------------------------------------------------------- commands


def test_plot_and_show(tmp_path: Path) -> None:
    """`plot` draws what was measured beside the curves, `show` lists the last values; damage is a warning."""
    settings = ["compare.model.norm=[batch]", "training.epochs=3", "claims=[]", "training.device=cpu"]
    settings.append("diagnostics={gradients: true, norm_parameters: true, layers: [hidden.0]}")
    options = [word for setting in settings for word in ("--set", setting)]
    trained = call(
        "train",
        CONFIGS / "regression.yaml",
        *options,
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--no-report",
        "--runs",
        tmp_path,
    )
    assert trained.code == 0
    runs = tmp_path / "regression"
    drawn = {Path(line).name for line in call("plot", runs).out.splitlines()}
    kinds = ("gradient-norm", "update-ratio", "gamma-mean", "beta-mean", "norm-parameters")
    assert drawn == {"overview.png", "train-loss.png", *(f"diagnostics-{kind}.png" for kind in kinds)}
    assert all((runs / name).exists() for name in drawn)

    folder = next(runs.glob("batch-*"))
    shown = [line.split() for line in call("show", folder).out.split("diagnostics, last")[1].splitlines()[2:]]
    last = json.loads(call("show", folder, "--json").out)["diagnostics"]
    assert last["hidden.0/gamma[0]"] != 1
    assert [row for row in shown if row] == [
        [*name.removeprefix("hidden.0/").split(), f"{value:.4g}"] for name, value in last.items() if "[" not in name
    ]

    (folder / "diagnostics.csv").write_text("epoch,step,layer\n")
    message = f"warning: {folder / 'diagnostics.csv'}: left out: diagnostics.csv does not start with epoch,step,"
    for command in (["show", folder], ["plot", runs], ["report", "--html", tmp_path / "x.html", runs]):
        assert call(*command).err.count(message) == 1
