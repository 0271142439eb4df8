"""Figures of diagnostics: what is drawn is read back from the axes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from drawing import STEPS, data, legend, lines, measured, note
from kit import CONFIGS, call
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from bncompare.figures.diagnostics import diagnostic_figures
from bncompare.figures.looks import HUES
from bncompare.figures.style import render
from bncompare.probes import PROBES
from bncompare.probes.landscape import LANDSCAPE
from bncompare.runs import LoadedRun


def figures(*runs: LoadedRun) -> dict[str, Figure]:
    found = {
        named.name.removeprefix("diagnostics-"): named.figure for named in diagnostic_figures(runs, title="title")
    }
    assert all(render(figure, "png").startswith(b"\x89PNG") for figure in found.values())
    return found


def panel(figure: Figure, row: str, title: str) -> Axes:
    """The panel with this title in the row with this label."""
    labelled = [axes.get_ylabel() for axes in figure.axes]
    first = labelled.index(row)
    return next(axes for axes in figure.axes[first:] if axes.get_title("left") == title)


def means(axes: Axes) -> list[list[float]]:
    """What the lines go through."""
    return [[y for _, y in line] for line in data(axes, "mean")]


def bands(axes: Axes) -> list[list[tuple[float, float]]]:
    """(low, high) of each band at each step."""
    found = []
    for band in axes.collections:
        if isinstance(band, PolyCollection):
            points = band.get_paths()[0].vertices
            found.append([(min(p), max(p)) for s in STEPS if (p := [y for x, y in np.asarray(points) if x == s])])
    return found


def test_nothing_measured() -> None:
    """Without diagnostics there is no figure."""
    assert figures() == {}
    assert figures(measured("none", 0, {})) == {}


def test_percentiles() -> None:
    """A band from the 15th to the 85th percentile around the median, of the first seed, in the variant's colour."""

    def percentiles(shift: float) -> dict[tuple[str, str], list[float]]:
        columns = {"p15": [-1, -2, -3], "p50": [0, 1, 2], "p85": [4, 5, 6]}
        return {("hidden.1", f"input {name}"): [v + shift for v in column] for name, column in columns.items()}

    figure = figures(
        measured("none", 3, percentiles(0)), measured("none", 4, percentiles(9)), measured("batch", 3, percentiles(1))
    )["inputs"]
    axes = panel(figure, "input", "hidden.1")
    assert bands(axes) == [
        [(-1 + shift, 4 + shift), (-2 + shift, 5 + shift), (-3 + shift, 6 + shift)] for shift in (0, 1)
    ]
    assert means(axes) == [[0, 1, 2], [1, 2, 3]]
    assert [line.get_color() for line in lines(axes, "mean")] == [HUES["none"], HUES["batch"]]
    assert legend(axes) == ["none", "batch"]


def test_percentiles_of_units() -> None:
    """Chosen units take the place of their layer."""
    values = {
        ("hidden.0", f"input {p}{unit}"): [0.0, 0, 0] for p in ("p15", "p50", "p85") for unit in ("", " of unit 3")
    }
    (figure,) = figures(measured("none", 0, values)).values()
    assert [axes.get_title("left") for axes in figure.axes] == ["hidden.0, unit 3"]


def test_a_panel_for_each_layer() -> None:
    """A row a quantity, a panel a layer on one y axis, a line a variant: the mean over its seeds."""
    values = {("hidden.0", "gradient norm"): [1.0, 2, 3], ("output", "gradient norm"): [4.0, 5, 6]}
    shorter = {("hidden.0", "gradient norm"): [3.0, 4], ("output", "gradient norm"): [4.0, 7]}
    ratio = {("output", "update ratio"): [1.0, 1, 1]}
    figure = figures(measured("none", 0, values), measured("none", 1, shorter), measured("batch", 0, values | ratio))[
        "gradients"
    ]
    first, last = panel(figure, "gradient norm", "hidden.0"), panel(figure, "gradient norm", "output")
    assert means(first) == [[2, 3], [1, 2, 3]]
    assert means(last) == [[4, 6], [4, 5, 6]]
    assert first.get_ylim() == last.get_ylim()
    assert means(panel(figure, "step / weight", "output")) == [[1, 1, 1]]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "step"]
    assert figure.get_suptitle().strip() == "title: do gradients vanish?"


def test_every_quantity_has_its_question() -> None:
    """One figure a question, whatever is measured; a quantity that belongs to none is not lost."""
    captions = {name for probe in PROBES for name in probe.captions}
    values: dict[tuple[str, str], list[float]] = {("hidden.0", name): [0.1, 0.2, 0.3] for name in captions}
    values |= {("model", name): [1.0, 2, 3] for name in (*LANDSCAPE, "loss in training mode", "val/loss with batch")}
    values |= {("hidden.0", name): [1.0, 1, 2] for name in ("gamma[0]", "input p15", "input p50", "input p85")}
    found = figures(measured("batch", 0, values))
    assert list(found) == ["gradients", "inputs", "norm-parameters", "landscape", "evaluation"]
    assert (
        sum(len(lines(axes, "mean")) for figure in found.values() for axes in figure.axes)
        == len(captions) + 1 + 1 + 2
    )


def test_natural_scales() -> None:
    """Fractions go from 0 to 100 %, cosines from −1 to 1, whatever the values; decades are on a log axis."""
    quantities = {"dead": [0.1, 0.2], "covariate shift cosine": [0.8, 0.9], "covariate shift": [0.001, 1.0]}
    figure = figures(measured("none", 0, {("hidden.0", name): values for name, values in quantities.items()}))[
        "inputs"
    ]
    dead = panel(figure, "dead units (%)", "hidden.0")
    assert dead.get_ylim() == pytest.approx((-0.03, 1.03))
    assert dead.yaxis.get_major_formatter()(0.5, 0) == "50"
    assert panel(figure, "cosine", "hidden.0").get_ylim() == pytest.approx((-1.06, 1.06))
    assert panel(figure, "covariate shift", "hidden.0").get_yscale() == "log"


def test_many_layers() -> None:
    """Of twenty layers five, from the first to the last."""
    figure = figures(measured("none", 0, {(f"hidden.{i}", "dead"): [0.1, 0.2] for i in range(20)}))["inputs"]
    assert [axes.get_title("left") for axes in figure.axes] == [f"hidden.{i}" for i in (0, 5, 10, 14, 19)]


def test_norm_parameters() -> None:
    """γ and β on the way and at the last step, a dot each: variants beside each other, all seeds."""

    def gamma(scale: float) -> dict[tuple[str, str], list[float]]:
        values = {("hidden.0", "gamma[0]"): [scale, 2 * scale], ("hidden.1", "gamma[0]"): [3 * scale]}
        return values | {("hidden.0", "gamma[1]"): [4 * scale]}

    beta = {("hidden.0", "beta[0]"): [7.0]} | {
        ("hidden.0", f"beta {n}"): [v] * 3 for n, v in (("mean", 2), ("min", 1), ("max", 3))
    }
    runs = (
        measured("none", 0, {}),
        measured("batch", 0, gamma(1)),
        measured("batch", 1, gamma(10)),
        measured("layer", 0, beta),
    )
    figure = figures(*runs)["norm-parameters"]
    on_the_way = panel(figure, "β", "hidden.0")
    assert (means(on_the_way), bands(on_the_way)) == ([[2, 2, 2]], [[(1, 3)] * 3])
    dots = {
        (axes.get_ylabel(), line.get_label()): np.asarray(line.get_ydata()).tolist()
        for axes in figure.axes
        for line in lines(axes, "units")
    }
    assert dots == {("γ at the end", "batch"): [2, 4, 20, 40], ("", "batch"): [3, 30], ("β at the end", "layer"): [7]}
    assert legend(on_the_way) == ["batch", "layer"]


@pytest.mark.parametrize(
    ("first", "second", "mean"),
    [
        pytest.param({10: 1, 20: 2, 25: 9}, {10: 3, 20: 4, 30: 7}, [(10, 2), (20, 3)], id="as one stopped early"),
        pytest.param({10: 1}, {20: 3}, [(10, 1)], id="no shared step: the first stands for its variant"),
    ],
)
def test_means_are_over_the_same_runs_at_each_step(
    first: dict[int, float], second: dict[int, float], mean: list[tuple[float, float]]
) -> None:
    """Runs that were measured at other steps are averaged where all were measured."""
    key = ("output", "gradient norm")
    (axes,) = figures(measured("batch", 0, {key: first}), measured("batch", 1, {key: second}))["gradients"].axes
    assert data(axes, "mean") == [mean]


def test_what_was_not_measured_is_counted() -> None:
    """Runs that diverged before a measurement are counted, and a variant without any is named."""
    values = {("output", "gradient norm"): [1.0, 2, 3], ("hidden.0", "gradient norm"): [1.0, 2, 3]}
    runs = [
        measured("none", 0, values),
        measured("none", 1, {}),
        measured("lr=9", 0, {}),
        measured("batch", 0, values),
    ]
    figure = figures(*runs)["gradients"]
    assert legend(figure.axes[0]) == ["none (1 of 2 runs)", "batch"]
    assert note(figure).endswith("weight; without a measurement: lr=9")


def test_more_variants_than_a_figure_holds() -> None:
    """The baseline and the seven best are drawn, and the head says so; no figure grows beyond a page."""
    values = {(layer, "dead"): [0.1, 0.2, 0.3] for layer in ("hidden.0", "hidden.1")}
    values |= {("hidden.0", f"input {p}"): [0.0, 1, 2] for p in ("p15", "p50", "p85")}
    values |= {("model", name): [1.0, 2, 3] for name in (*LANDSCAPE, "loss in training mode")}
    values |= {("hidden.0", "gamma[0]"): [1.0]}
    found = figures(*(measured(f"the variant number {i}", 0, values) for i in range(50)))
    assert len(found) == 4
    for figure in found.values():
        assert "the variant number 0 and the 7 best of 49 others" in figure.get_suptitle().replace("\n", " ")
        assert len(legend(figure.axes[0])) == 8
        looks = [(look.get_color(), str(look.get_linestyle())) for look in figure.legends[0].get_lines()]
        assert len({str(h._unscaled_dash_pattern) + h.get_color() for h in figure.legends[0].get_lines()}) == len(
            looks
        )
        assert figure.get_figheight() <= 10


def test_a_single_measurement_can_be_seen() -> None:
    """Bands of one step are upright strokes, with a dot for what would be a line."""
    values = {("hidden.0", f"input {p}"): [i] for i, p in enumerate(("p15", "p50", "p85"))}
    values |= {("model", name): [i] for i, name in enumerate(LANDSCAPE)}
    found = figures(measured("none", 0, values))
    (stroke, dot) = found["inputs"].axes[0].lines
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
def test_odd_values(odd: float) -> None:
    """A value that is not finite, a zero, a single step: all can be drawn."""
    figures(measured("none", 0, {("output", "update ratio"): [odd, 2, 900]}))
    figures(measured("none", 0, {("output", "update ratio"): [odd]}))


def test_landscape() -> None:
    """Bands of the smallest to largest loss and change of the gradient, and β-smoothness; means over the seeds."""
    names = (
        *("landscape loss min", "landscape loss max", "gradient change min"),
        *("gradient change max", "beta smoothness"),
    )
    values = {("model", name): [float(i), i + 1, i + 2] for i, name in enumerate(names)}
    more = {key: [value + 2 for value in column] for key, column in values.items()}
    figure = figures(measured("none", 0, values), measured("none", 1, more))["landscape"]
    assert bands(figure.axes[0]) == [[(1, 2), (2, 3), (3, 4)]]
    assert bands(figure.axes[1]) == [[(3, 4), (4, 5), (5, 6)]]
    assert list(figure.axes[2].lines[0].get_ydata()) == [5, 6, 7]


def test_training_and_evaluation() -> None:
    """A panel for each mode and for each kind of statistics, a line a variant that has it."""
    gap = {("model", f"loss in {mode} mode"): [1.0, 2, 3] for mode in ("training", "evaluation")}
    names = ("val/accuracy with batch statistics", "val/accuracy one at a time with running statistics")
    statistics = {("model", name): [0.5, 0.6, 0.7] for name in names}
    figure = figures(measured("none", 0, gap), measured("$batch_", 0, gap | statistics))["evaluation"]
    assert legend(figure.axes[0]) == ["none", "$batch_"]
    assert means(panel(figure, "loss", "in evaluation mode")) == [[1, 2, 3]] * 2
    assert means(panel(figure, "accuracy (%)", "with batch statistics")) == [[0.5, 0.6, 0.7]]


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
    kinds = ("gradients", "norm-parameters")
    assert drawn == {"overview.png", "train-loss.png", *(f"diagnostics-{kind}.png" for kind in kinds)}
    assert all((runs / name).exists() for name in drawn)

    folder = next(runs.glob("batch-*"))
    shown = [line.split() for line in call("show", folder).out.split("diagnostics, last")[1].splitlines()[2:]]
    last = json.loads(call("show", folder, "--json").out)["diagnostics"]
    assert last["hidden.0/gamma[0]"] != 1
    assert [row for row in shown if row] == [
        [*name.removeprefix("hidden.0/").split(), f"{value:.4g}".replace("-", "−")]
        for name, value in last.items()
        if "[" not in name
    ]

    (folder / "diagnostics.csv").write_text("epoch,step,layer\n")
    message = f"warning: {folder / 'diagnostics.csv'}: left out: diagnostics.csv does not start with epoch,step,"
    for command in (["show", folder], ["plot", runs], ["report", "--html", tmp_path / "x.html", runs]):
        assert call(*command).err.count(message) == 1
