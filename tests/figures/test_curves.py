"""What figures of curves show, read back from their axes."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from drawing import INF, NAN, Point, data, legend, lines, note, points, run, seeds
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bncompare.config import Metric
from bncompare.figures.curves import experiment_curves
from bncompare.figures.style import render
from bncompare.runs import LoadedRun

SQUARED_ERROR = Metric("val/loss", is_classification=False)


def figure_of(runs: Sequence[LoadedRun], metric: Metric = SQUARED_ERROR, *, x: str = "epoch") -> Figure:
    """`experiment_curves`, drawn once so that matplotlib has gone through all of it."""
    figure = experiment_curves(runs, metric, x=x, title="e").figure
    figure.draw_without_rendering()
    return figure


def draw(runs: Sequence[LoadedRun], *metric: Metric) -> Axes:
    """The axes with the curves, without the strip below that counts runs."""
    return figure_of(runs, *metric).axes[0]


def seed_lines(axes: Axes) -> list[list[Point]]:
    """The thin lines of single runs."""
    found = [c for c in axes.collections if isinstance(c, LineCollection) and c.get_gid() == "seeds"]
    return [[(float(x), float(y)) for x, y in segment] for c in found for segment in c.get_segments()]


def bands(axes: Axes) -> list[dict[float, Point]]:
    """Of each filled band: x → (lower, upper) end."""
    found = []
    for collection in axes.collections:
        if isinstance(collection, PolyCollection):
            corners = np.asarray(collection.get_paths()[0].vertices).tolist()
            by_x = {x: [y for other, y in corners if other == x] for x, _ in corners}
            found.append({x: (min(ends), max(ends)) for x, ends in by_x.items()})
    return found


def test_seeds_mean_and_interval() -> None:
    """Every run's own values thin; their mean thick; of few seeds a band from the lowest to the highest."""
    figure = figure_of(seeds([1.0, 3.0], [2.0, 3.5], [3.0, 5.0]))
    (axes,) = figure.axes
    assert seed_lines(axes) == [[(1, 1), (2, 3)], [(1, 2), (2, 3.5)], [(1, 3), (2, 5)]]
    assert data(axes, "mean") == [[(1, 2), (2, pytest.approx(11.5 / 3))]]
    assert bands(axes) == [{1: (1, 3), 2: (3, 5)}]
    assert note(figure) == "mean of 3 seeds, shaded: lowest to highest seed, thin: single seeds"


def test_interval_of_five_seeds() -> None:
    """From five seeds on the band is from mean − t(n−1)·sd/√n to mean + that, and the note says so."""
    figure = figure_of(seeds([1.0], [2.0], [3.0], [4.0], [5.0]))
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert bands(figure.axes[0])[0][1] == pytest.approx((3 - half, 3 + half), rel=1e-6)
    assert note(figure) == "mean of 5 seeds, shaded: 95 % CI of the mean, thin: single seeds"
    fewer = [*seeds([1.0], [2.0], [3.0], [4.0], [5.0]), *seeds([1.0], [2.0], variant="none")]
    assert [band[1] for band in bands(draw(fewer))] == [(1, 5), (1, 2)], "one rule for all of a figure"


def test_nothing_is_drawn_that_cannot_be() -> None:
    """Intervals and axes of accuracies end at 0 and 100 %, intervals of losses at 0."""
    accuracy = Metric("val/accuracy")
    axes = draw(seeds([0.0], [0.0], [0.1], [0.9], [1.0], metric=accuracy.name), accuracy)
    assert axes.get_ylim() == (0, 1)
    assert 0 <= bands(axes)[0][1][0] <= bands(axes)[0][1][1] <= 1
    high = draw(seeds([1.0], [1.0], [1.0], [1.0], [0.5], metric=accuracy.name), accuracy)
    assert bands(high)[0][1][1] == 1
    assert bands(draw(seeds([0.1], [0.1], [0.1], [0.1], [2.0])))[0][1][0] == 0


def test_mean_ends_where_the_first_run_stopped() -> None:
    """A mean over changing sets of runs would jump: it ends with the shortest run, and so does the band."""
    axes = draw([run("batch", 0, [2.0, 1.0], status="stopped_early"), run("batch", 1, [4.0, 3.0, 2.0, 1.0])])
    assert data(axes, "mean") == [[(1, 3), (2, 2)]]
    assert [sorted(band) for band in bands(axes)] == [[1, 2]]
    assert seed_lines(axes)[1] == [(1, 4), (2, 3), (3, 2), (4, 1)]


def test_mean_is_over_shared_evaluations_only() -> None:
    """Runs evaluated at other steps are averaged where they have evaluations in common."""
    axes = draw([run("a", 0, [1.0, 2.0, 3.0]), run("a", 1, [3.0, 5.0], x=[1.0, 3.0])])
    assert data(axes, "mean") == [[(1, 2), (3, 4)]]


def test_stopped_early_is_marked_at_its_last_evaluation() -> None:
    """▼ stands at the last point of the run that stopped, and the legend explains it."""
    axes = draw([run("batch", 0, [2.0, 1.5], status="stopped_early")])
    (mark,) = lines(axes, "stopped_early")
    assert (points(mark), mark.get_marker()) == ([(2, 1.5)], "v")
    assert legend(axes) == ["batch", "stopped early"]


def test_diverged_is_left_out_counted_and_marked() -> None:
    """A diverged run is not in the mean or the band; the legend counts it and ✕ stands where it ended."""
    axes = draw([*seeds([2.0, 1.0], [3.0, 2.0]), run("batch", 2, [2.5, NAN], status="diverged")])
    assert data(axes, "mean") == [[(1, 2.5), (2, 1.5)]]
    assert legend(axes) == ["batch (mean of 2; 1 diverged)", "diverged"]
    (mark,) = lines(axes, "diverged")
    assert (points(mark), mark.get_marker()) == ([(2, 2.5)], "X")
    assert bands(axes)[0][1] == (2, 3)


def test_all_diverged() -> None:
    """A variant of diverged runs alone has no mean, no band, its marks (at the last value, or the end), a count."""
    axes = draw([*seeds([1.0, INF], [2.0, INF], variant="none", status="diverged"), run("batch", 0, [1.0, 0.5])])
    assert data(axes, "mean") == [[], [(1, 1), (2, 0.5)]]
    assert legend(axes) == ["none (2 diverged)", "batch", "diverged"]
    assert data(axes, "diverged") == [[(2, 1), (2, pytest.approx(1.02))]]
    assert bands(axes) == []


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_value_that_is_not_finite(bad: float) -> None:
    """NaN or infinity in one run costs that evaluation, not the plot; a run of nothing else can still be drawn."""
    axes = draw(seeds([2.0, bad, 1.0], [4.0, 3.0, 3.0]))
    assert data(axes, "mean") == [[(1, 3), (3, 2)]]
    nothing = draw([run("none", 0, [bad], status="diverged")])
    assert data(nothing, "mean") == [[]]
    assert len(lines(nothing, "diverged")) == 1
    assert all(math.isfinite(limit) for of in (axes, nothing) for limit in of.get_ylim())


def test_the_note_says_what_the_band_is() -> None:
    """With one seed there is no interval, and none is claimed."""
    figure = figure_of(seeds([2.0, 1.0]))
    assert (note(figure), bands(figure.axes[0])) == ("1 seed", [])


def test_how_many_runs_go_on() -> None:
    """Where runs end at different times a strip below counts those that have an evaluation there or later."""
    short = seeds([3.0, 2.0, 1.0], [3.0], [3.0, 2.0], variant="a", status="stopped_early")
    figure = figure_of([*short, *seeds([2.0, 1.0, 1.0], [2.0, 2.0, 1.0], variant="b")])
    _, strip = figure.axes
    assert data(strip, "number") == [[(1, 3), (2, 2), (3, 1)], [(1, 2), (2, 2), (3, 2)]]
    assert (strip.get_xlabel(), strip.get_ylabel()) == ("epoch", "runs")
    assert note(figure).endswith("; a mean ends where the first of its runs does")
    assert len(figure_of(seeds([2.0, 1.0], [3.0, 1.0])).axes) == 1, "none where all end together"


@pytest.mark.parametrize("status", ["failed", "unfinished"])
def test_runs_that_did_not_end_are_counted(status: str) -> None:
    """Their values are in the mean, as far as they go, and the legend says that they are."""
    axes = draw([*seeds([2.0, 1.0]), run("batch", 1, [4.0], status=status)])
    assert data(axes, "mean") == [[(1, 3)]]
    assert legend(axes) == [f"batch (1 {status})"]


def variants(number: int) -> Figure:
    return figure_of([run(f"v{i}", 0, [2.0 + i, 1.0 + i]) for i in range(number)])


@pytest.mark.parametrize("number", [2, 8])
def test_variants_in_one_set_of_axes(number: int) -> None:
    """Up to eight variants share axes, and each is in the legend."""
    (axes,) = variants(number).axes
    assert len(lines(axes, "mean")) == number
    assert legend(axes) == [f"v{i}" for i in range(number)]


@pytest.mark.parametrize("number", [9, 18, 25])
def test_many_variants_get_a_panel_each(number: int) -> None:
    """Each panel has its variant's mean, and that of the baseline behind it, on the same axes."""
    figure = variants(number)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [f"v{i}" for i in range(number)]
    for i, axes in enumerate(shown):
        assert data(axes, "mean") == [[(1, 2 + i), (2, 1 + i)]]
        assert data(axes, "baseline") == [[(1, 2), (2, 1)]] * (i > 0)
        assert axes.get_ylim() == shown[0].get_ylim()
    assert {axes.get_xlabel() for axes in shown} == {"", "epoch"}
    assert (shown[-1].get_xlabel(), figure.get_supylabel()) == ("epoch", "validation loss (mean squared error)")
    assert legend(shown[0]) == ["v0, mean"]


def test_more_variants_than_fit() -> None:
    """Of forty variants the baseline and the seven best; the title says so."""
    figure = variants(40)
    assert legend(figure.axes[0]) == [f"v{i}" for i in range(8)]
    assert figure.get_suptitle().strip() == "e: v0 and the 7 best of 39 others"


def test_hundreds_of_seeds() -> None:
    """Their lines are fainter, and a raster image in vector files; the mean and every run are there."""
    few, many = (figure_of(seeds(*([float(i), 1.0] for i in range(n)))) for n in (5, 300))
    thick, thin = (next(c for c in of.axes[0].collections if c.get_gid() == "seeds") for of in (few, many))
    assert thin.get_alpha() < thick.get_alpha() / 3
    assert (thin.get_rasterized(), thick.get_rasterized()) == (True, False)
    assert len(seed_lines(many.axes[0])) == 300
    assert len(render(many, "svg")) < 150_000


def test_marks_and_seeds_have_the_colour_of_their_variant() -> None:
    """Seeds, marks and mean of a variant share its colour."""
    axes = draw([run(name, 0, [1.0], status="stopped_early") for name in ("a", "b")])
    means, marks = ([to_hex(line.get_color()) for line in lines(axes, gid)] for gid in ("mean", "stopped_early"))
    singles = [to_hex(c.get_edgecolor()[0]) for c in axes.collections if c.get_gid() == "seeds"]
    assert means == marks == singles
    assert means[0] != means[1]


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        (Metric("train/loss"), "training loss (cross-entropy, nats)"),
        (Metric("val/loss", False), "validation loss (mean squared error)"),
        (Metric("test/accuracy"), "test accuracy (%)"),
        (Metric("lr"), "learning rate"),
    ],
)
def test_axes_have_labels_with_units(metric: Metric, label: str) -> None:
    """The y axis names the metric and its unit, the x axis what it counts; no epoch 1.5 is on it."""
    figure = figure_of([run("a", 0, [0.5, 0.6], metric=metric.name, **{metric.name: [0.5, 0.6]})], metric, x="step")
    (axes,) = figure.axes
    assert (axes.get_ylabel(), axes.get_xlabel(), figure.get_suptitle().strip()) == (label, "step", "e")
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_accuracy_is_shown_in_percent() -> None:
    """0.5 is labelled 50 on an axis that says %, which is linear over any range."""
    axes = draw([run("a", 0, [0.01, 0.99], metric="val/accuracy")], Metric("val/accuracy"))
    assert axes.yaxis.get_major_formatter()(0.5, 0).strip("%") in ("50", "50.0")
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([31.0, 1.0], "log"),
        ([1000.0, 10.0, 0.1], "log"),
        ([1e38, 1e-38], "log"),
        ([29.0, 1.0], "linear"),
        ([31.0, 0.0], "linear"),
        ([31.0, -1.0], "linear"),
        ([0.5, 0.5], "linear"),
        ([0.0, 0.0], "linear"),
        ([-2.0, -1.0], "linear"),
    ],
)
def test_scale_and_limits(values: list[float], scale: str) -> None:
    """More than a factor of 30 between losses, all positive, is on a log axis; no value is cut off on either."""
    axes = draw(seeds(values))
    low, high = axes.get_ylim()
    assert axes.get_yscale() == scale
    assert low < min(values) <= max(values) < high


def test_a_diverged_run_does_not_set_the_y_range() -> None:
    """What a diverged run reached neither flattens the others nor forces a log axis; its mark stays inside."""
    axes = draw([*seeds([2.0, 1.0]), run("none", 0, [3.0, 1e30], status="diverged")])
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "linear"
    assert low <= 1.0
    assert 2.0 <= high < 3.0
    (((x, y),),) = data(axes, "diverged")
    assert (x, low <= y <= high) == (2, True)


def test_a_run_shorter_than_an_epoch_has_x_ticks() -> None:
    """A few hundred steps of a large dataset still have a labelled axis."""
    axes = draw([run("a", 0, [3.0, 2.0, 1.0], x=[0.125, 0.25, 0.5])])
    low, high = axes.get_xlim()
    assert len([tick for tick in axes.get_xticks() if low <= tick <= high]) >= 2


@pytest.mark.parametrize("label", ["lr=$x$ and $y^$", "$\\frac$", "_hidden", "50% {a}", "a\\b"])
def test_any_variant_name_is_shown_as_it_is(label: str) -> None:
    """A variant's name is text, not mathematics, and none is left out of the legend."""
    assert legend(draw(seeds([2.0, 1.0], [3.0, 2.0], variant=label))) == [label]
