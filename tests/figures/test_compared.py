"""What figures of comparisons show, read back from their axes: differences, sweeps, times to a threshold."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from drawing import INF, MAGIC, NAN, data, ending, legend, lines, names, note, points, run, swept, texts
from kit import compare
from matplotlib.axes import Axes

from bncompare.comparison import VariantSummary
from bncompare.figures.choice import named
from bncompare.figures.differences import paired_differences
from bncompare.figures.looks import HUES
from bncompare.figures.style import render
from bncompare.figures.sweeps import sweep_figures
from bncompare.figures.times import median_time, times_to_threshold
from bncompare.norms import NORMS

# ---------------------------------------------------------------- paired differences


def differences(of: Mapping[str, Mapping[int, float | None]], metric: str = "val/loss") -> Axes:
    """Of `ending`, each variant against `a`."""
    runs = named(ending(of, metric))
    figure = paired_differences(compare(runs, metric, versus="a").measures[0], runs, title="e").figure
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return axes


def test_differences_per_seed() -> None:
    """A row a pair: a dot a seed with its number, the first at the top; below them their mean and range."""
    axes = differences({"a": dict.fromkeys((0, 3, 7), 1.0), "b": {0: 2.0, 3: 3.0, 7: 4.0}, "c": {0: 0.0, 3: -2.0}})
    dots, others = data(axes, "seeds")
    heights = [y for _, y in dots]
    assert ([x for x, _ in dots], [x for x, _ in others]) == ([1, 2, 3], [-1, -3])
    assert (heights, axes.yaxis_inverted()) == (sorted(heights), True)
    ((mean, below),), ((second, _),) = data(axes, "mean")
    assert (mean, second, below > max(heights)) == (2, -2, True)
    assert [[x for x, _ in ends] for ends in data(axes, "interval")] == [[1, 3], [-3, -1]]
    assert names(axes) == ["b", "c"]
    assert texts(axes) == ["0", "3", "7", "0", "3", "mean +2.0\nn = 3", "mean −2\nn = 2"]
    assert [(0, 0), (0, 1)] in map(points, axes.lines), "zero, from the bottom to the top"


@pytest.mark.parametrize(
    ("metric", "label", "mean"),
    [
        ("val/loss", "validation loss (mean squared error); negative: better than a", "+0.015"),
        ("val/accuracy", "validation accuracy (percentage points); positive: better than a", "+1.5"),
    ],
)
def test_direction_and_unit_of_differences(metric: str, label: str, mean: str) -> None:
    """The axis says which side is good and in what unit; differences of accuracies are in percentage points."""
    axes = differences({"a": {0: 0.5, 1: 0.5}, "b": {0: 0.51, 1: 0.52}}, metric)
    assert axes.get_xlabel() == f"difference in {label}"
    assert texts(axes)[-1] == f"mean {mean}\nn = 2"


def test_interval_of_differences() -> None:
    """From five seeds on the 95 % CI of the mean, which for accuracies does not go beyond 100 points."""
    axes = differences({"a": dict.fromkeys(range(5), 0.0), "b": dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0]))})
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert [x for x, _ in data(axes, "interval")[0]] == pytest.approx([3 - half, 3 + half], rel=1e-6)
    wide = differences(
        {"a": dict.fromkeys(range(5), 0.0), "b": {**dict.fromkeys(range(4), 1.0), 4: 0.0}}, "val/accuracy"
    )
    assert data(wide, "interval")[0][1][0] == 1


def test_pairs_of_several_baselines() -> None:
    """Both variants are named; the colour is that of the first."""
    of = {name: {seed: 1.0 + i + seed * i for seed in range(2)} for i, name in enumerate(("none", "batch", "layer"))}
    runs = named(ending(of))
    figure = paired_differences(compare(runs).measures[0], runs, title="e").figure
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert names(axes) == ["BatchNorm − no norm", "LayerNorm − no norm", "LayerNorm − BatchNorm"]
    assert [line.get_color() for line in lines(axes, "mean")] == [HUES["batch"], HUES["layer"], HUES["layer"]]


def test_pairs_without_a_value() -> None:
    """Seeds in which a run diverged are counted."""
    axes = differences({"a": dict.fromkeys(range(4), 0.0), "b": {0: 1.0, 1: 1.0, 2: None, 3: None}})
    assert texts(axes)[-1] == "mean +1.00\nn = 2\n2 without a value"


def test_many_seeds_are_not_labelled() -> None:
    """Hundreds of dots have no numbers, and the row stays as high as one of a dozen."""
    axes = differences({"a": dict.fromkeys(range(300), 0.0), "b": {i: float(i) for i in range(300)}})
    assert len(data(axes, "seeds")[0]) == 300
    assert len(axes.texts) == 1
    assert axes.figure.get_figheight() < 4  # type: ignore[union-attr]


# ---------------------------------------------------------------- sensitivity


def sensitivity(of: Mapping[str, Mapping[float | str, Sequence[float | None]]]) -> tuple[Axes, Axes]:
    """The axes of the metric, and the rail below them."""
    axes, rail = swept(of)["sensitivity"].axes
    return axes, rail


def test_sensitivity_shows_means_and_seeds() -> None:
    """At each value of the hyperparameter, where it is: a dot a seed, their mean on a line; a ring at the best."""
    axes, rail = sensitivity({"batch": {0.1: [1.0, 2.0, 3.0], 0.2: [1.5], 0.3: [5.0, 5.0]}})
    assert data(axes, "mean") == [[(0.1, 2), (0.2, 1.5), (0.3, 5)]]
    assert data(axes, "seeds") == [[(0.1, 1), (0.1, 2), (0.1, 3), (0.2, 1.5), (0.3, 5), (0.3, 5)]]
    assert data(axes, "best") == [[(0.2, 1.5)]]
    low, high = axes.get_ylim()
    assert low < 1 < 5 < high
    assert (rail.get_xlabel(), texts(rail)) == ("learning rate", [])


@pytest.mark.parametrize(
    ("values", "places", "ticks", "label"),
    [
        ([1.0, 0.1, 0.01], [0.01, 0.1, 1], ["0.01", "0.1", "1"], "learning rate (log scale)"),
        ([0.3, 0.1], [0.1, 0.3], ["0.1", "0.3"], "learning rate"),
        ([1.0, 0.0], [0, 1], ["0", "1"], "learning rate"),
        (["full", 64, 16], [0, 1, 2], ["16", "64", "full"], "learning rate"),
    ],
)
def test_where_values_stand(values: list[float | str], places: list[float], ticks: list[str], label: str) -> None:
    """At the value itself, on a log axis over decades; names side by side after the numbers."""
    axes, rail = sensitivity({norm: {value: [1.0, 1.0] for value in values} for norm in ("none", "batch")})
    for line in data(axes, "mean"):
        assert [x for x, _ in line] == places
    assert names(rail, "x") == ticks
    assert (rail.get_xlabel(), axes.get_xscale()) == (label, "log" if "log" in label else "linear")


def test_names_of_values_do_not_overlap() -> None:
    """Of values too near each other some have no name."""
    _, rail = sensitivity({"batch": {value: [1.0] for value in (1.0, 1.01, 1.02, 20.0)}})
    assert [text.get_text() for text in rail.get_xticklabels() if text.get_visible()] == ["1", "20"]


def test_sensitivity_counts_the_diverged() -> None:
    """Where all diverged there is no mean, where some did it is hollow and off the line; ✕ counts them below."""
    none = {1.0: [1.0, 1.0], 2.0: [0.5, None], 3.0: [None, None]}
    axes, rail = sensitivity({"none": none, "batch": {rate: [1.0] for rate in none}})
    first, second = data(axes, "mean")
    assert [y for _, y in first] == pytest.approx([1, NAN], nan_ok=True)
    assert len(second) == 3
    hollow, solid = lines(axes, "mean of the rest")
    assert (points(hollow), hollow.get_markerfacecolor(), points(solid)) == ([(2, 0.5)], "white", [])
    counts = {text.get_text(): (text.get_position()[0], text.get_color()) for text in rail.texts}
    assert counts == {"✕ 1/2": (2, HUES["none"]), "✕ 2/2": (3, HUES["none"])}
    assert data(axes, "best")[0] == [(1, 1)], "a mean of survivors is not the best"
    assert names(rail) == ["diverged"]
    assert legend(axes) == ["no norm", "BatchNorm", "best of a norm", "mean of those that did not diverge"]


def test_facets_of_a_second_hyperparameter() -> None:
    """A facet each, on one y axis; a norm has its colour in all of them, and one entry in the legend."""
    keys = ("model.norm", "training.optimizer.lr", "training.batch_size")
    settings = [(norm, rate, size) for norm in ("none", "batch") for rate in (0.1, 0.2, 0.4) for size in (16, 64)]
    runs = [
        run(" ".join(map(str, of)), 0, [of[1] + of[2]], settings=dict(zip(keys, of, strict=True))) for of in settings
    ]
    runs = named(runs)
    table = compare(runs).sensitivity
    assert table is not None
    figure = next(sweep_figures(table, runs, title="e")).figure
    first, _, second, _ = figure.axes
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["batch size 16", "batch size 64"]
    assert data(second, "mean") == [[(rate, rate + 64) for rate in (0.1, 0.2, 0.4)]] * 2
    for axes in (first, second):
        assert [line.get_color() for line in lines(axes, "mean")] == [HUES["none"], HUES["batch"]]
    assert (first.get_ylim(), legend(first)) == (second.get_ylim(), ["no norm", "BatchNorm", "best of a norm"])


def test_more_norms_than_fit_a_sweep() -> None:
    """The baseline and the seven best."""
    of = {norm: {rate: [float(i), i + rate] for rate in (0.1, 0.2)} for i, norm in enumerate(NORMS)}
    figure = swept(of)["sensitivity"]
    assert [*data(figure.axes[0], "mean")] == [
        [(rate, pytest.approx(i + rate / 2)) for rate in (0.1, 0.2)] for i in range(8)
    ]
    assert note(figure).endswith(f"; the 8 best of {len(NORMS)} norms, the baseline among them")


# ---------------------------------------------------------------- heat map


def test_heat_map_has_the_means_in_its_cells() -> None:
    """Rows in their order, columns by size; the mean in colour and figures; ✕ counts the diverged; a frame."""
    none = {0.1: [1.0, 2.0], 0.01: [3.0, 3.0]}
    figure = swept({"none": none, "batch": {0.1: [0.25, None, None], 0.01: [None] * 3}})["heat-map"]
    axes, bar = figure.axes
    (image,) = axes.images
    cells = np.ma.filled(image.get_array(), np.nan)
    assert np.array_equal(cells, [[3.0, 1.5], [np.nan, 0.25]], equal_nan=True)
    found = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert found == {(0, 1): "1.50", (0, 0): "3.00", (1, 1): "0.250\n✕ 2/3", (1, 0): "✕ 3/3"}
    assert (names(axes, "x"), names(axes)) == (["0.01", "0.1"], ["no norm", "BatchNorm"])
    assert note(figure) == (
        "validation loss at the best epoch: mean over seeds; ✕: diverged, not in the mean; "
        "framed: chosen on the validation set; brighter is better"
    )
    assert bar.get_ylabel() == "validation loss\n(mean squared error)"
    frames = [patch.get_patch_transform().transform([0.5, 0.5]).round() for patch in axes.patches]
    assert {tuple(at) for at in frames} == {(1, 0), (1, 1)}


@pytest.mark.parametrize(("metric", "text"), [("val/loss", "0.500"), ("val/accuracy", "50.0")])
def test_brighter_is_better(metric: str, text: str) -> None:
    """The best cell is the brightest, whether high or low is good; each text is legible on its cell."""
    values = [0.1, 0.5, 0.9]
    axes = swept({norm: {value: [value] for value in values} for norm in "ab"}, metric)["heat-map"].axes[0]
    (image,) = axes.images
    luminance = [float(np.dot(image.cmap(image.norm(value))[:3], [0.299, 0.587, 0.114])) for value in values]
    assert luminance == sorted(luminance, reverse=metric == "val/loss")
    for cell, bright in zip(axes.texts, luminance * 2, strict=True):
        assert abs((cell.get_color() == "white") - bright) > 0.4
    assert axes.texts[1].get_text() == text


@pytest.mark.parametrize("values", [[1.0, 1.0], [1e-8, 1e8], [0.0, 1e30], [-1.0, 1.0]])
def test_heat_maps_of_extreme_values(values: list[float]) -> None:
    """Equal values, sixteen decades and negative ones are drawn without a warning."""
    figure = swept({norm: {i: [value] for i, value in enumerate(values)} for norm in "ab"})["heat-map"]
    assert render(figure, "png").startswith(MAGIC["png"])


def test_a_sweep_without_any_value() -> None:
    """All diverged: the pictures say nothing but that."""
    found = swept({norm: {0.1: [None, None], 1.0: [None, None]} for norm in "ab"})
    _, rail = found["sensitivity"].axes
    assert texts(rail) == ["✕ 2/2"] * 4
    assert texts(found["heat-map"].axes[0]) == ["✕ 2/2"] * 4


# ---------------------------------------------------------------- times to a threshold


def timed(of: Mapping[str, Sequence[float | None]]) -> tuple[Axes, Axes]:
    """Variant → the epoch in which each seed gets there, None for never; the panels of epochs and of seconds."""
    runs = [
        run(variant, seed, [1.0 if at is None else 0.0], x=[at or 1.0])
        for variant, reached in of.items()
        for seed, at in enumerate(reached)
    ]
    runs = named(runs)
    convergence = compare(runs, threshold=0.5).convergence
    assert convergence is not None
    figure = times_to_threshold(convergence, runs, x="epoch", title="e").figure
    figure.draw_without_rendering()
    epochs, seconds = figure.axes
    return epochs, seconds


def test_times_to_a_threshold() -> None:
    """A dot a run, the median as a bar, a panel a unit; variants are named once."""
    epochs, seconds = timed({"none": [3.0, 1.0, 2.0], "batch": [1.0, 2.0]})
    assert [[x for x, _ in dots] for dots in data(epochs, "reached")] == [[1, 2, 3], [1, 2]]
    assert [[x for x, _ in dots] for dots in data(seconds, "reached")] == [[0.5, 1, 1.5], [0.5, 1]]
    assert [[x for x, _ in bar] for bar in data(epochs, "median")] == [[2, 2], [1.5, 1.5]]
    assert (epochs.get_xlabel(), seconds.get_xlabel()) == ("epochs", "seconds")
    assert (names(epochs), names(seconds)) == (["no norm", "BatchNorm"], ["", ""])
    assert (texts(epochs), texts(seconds), legend(epochs)) == ([], ["n = 3", "n = 2"], ["median"])


def test_runs_that_never_reach_it_are_marked_and_counted() -> None:
    """✕ at the right end for each; a median that would be one of them is not drawn; no run covers another."""
    axes, seconds = timed({"a": [2.0, 4.0, None], "b": [3.0, None, None], "c": [None] * 3})
    assert [len(marks) for marks in data(axes, "never")] == [1, 2, 3]
    assert {x for marks in data(axes, "never") for x, _ in marks} == {axes.get_xlim()[1]}
    assert axes.get_xlim()[1] > 4
    assert [[x for x, _ in bar] for bar in data(axes, "median")] == [[4, 4]]
    assert texts(seconds) == ["1 of 3 never", "2 of 3 never", "3 of 3 never"]
    assert legend(axes) == ["median", "never"]
    heights = [y for gid in ("reached", "never") for dots in data(axes, gid) for _, y in dots]
    assert len({round(y, 6) for y in heights}) == 9


@pytest.mark.parametrize(
    ("reached", "never", "median"),
    [([1.0, 3.0], 0, 2.0), ([1.0, 3.0], 1, 3.0), ([1.0, 3.0], 2, INF), ([], 2, INF), ([], 0, INF), ([5.0], 0, 5.0)],
)
def test_median_counts_never_as_later_than_all(reached: list[float], never: int, median: float) -> None:
    """The middle of all runs; between one that reached it and one that never did it is infinite."""
    values = dict(enumerate(reached))
    assert median_time(VariantSummary("a", len(values) + never, values, None, {"never reached": never})) == median


def test_times_over_decades_stand_on_a_log_axis() -> None:
    """1 and 100 epochs are both to be read; all marks are inside."""
    axes, _ = timed({"a": [1.0, 100.0, None], "b": [1.0]})
    low, high = axes.get_xlim()
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "epochs (log scale)")
    assert low < 1 < 100 < high
