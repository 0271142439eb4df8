"""What a figure shows, read back from its axes."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from bncompare.comparison.statistics import summarize
from bncompare.errors import printable
from bncompare.figures.curves import Curve, curve_means, experiment_curves, run_curves
from bncompare.figures.differences import PairedDifferences, paired_differences
from bncompare.figures.style import metric_label, render
from bncompare.figures.sweeps import Cell, Sweep, heat_map, sensitivity
from bncompare.figures.times import TimeTo, times_to_threshold

NAN, INF = math.nan, math.inf
MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


def figure_of(curves: Sequence[Curve], **options: Any) -> Figure:
    """`experiment_curves`, drawn once so that matplotlib has gone through all of it."""
    defaults = {"title": "e", "metric": "val/loss", "x_label": "epoch", "is_classification": False}
    figure = experiment_curves(curves, **(defaults | options))
    figure.draw_without_rendering()
    return figure


def draw(curves: Sequence[Curve], **options: Any) -> Axes:
    """The axes with the curves, without the strip below that counts runs."""
    return figure_of(curves, **options).axes[0]


def note(figure: Figure) -> str:
    """The line below the title."""
    (text,) = figure.texts[1:] if figure.texts[0].get_text() == figure.get_suptitle() else figure.texts
    return text.get_text()


def seed_lines(axes: Axes) -> list[list[tuple[float, float]]]:
    """The thin lines of single runs."""
    found = [c for c in axes.collections if isinstance(c, LineCollection) and c.get_gid() == "seeds"]
    return [[(float(x), float(y)) for x, y in segment] for c in found for segment in c.get_segments()]


def lines(axes: Axes, gid: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_gid() == gid]


def points(line: Line2D) -> list[tuple[float, float]]:
    return list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))


def band(axes: Axes) -> dict[float, tuple[float, float]]:
    """x → (lower, upper) end of the one filled band."""
    (collection,) = (c for c in axes.collections if isinstance(c, PolyCollection))
    (path,) = collection.get_paths()
    ends: dict[float, list[float]] = {}
    for x, y in np.asarray(path.vertices):
        ends.setdefault(float(x), []).append(float(y))
    return {x: (min(values), max(values)) for x, values in ends.items()}


def legend(axes: Axes) -> list[str]:
    """The labels as a reader sees them."""
    assert not any(text.get_parse_math() for text in axes.get_legend().get_texts())
    return [text.get_text() for text in axes.get_legend().get_texts()]


def seeds(*values: Sequence[float], variant: str = "batch", status: str = "completed") -> list[Curve]:
    """A curve a seed, evaluated at epochs 1, 2, …"""
    return [Curve(variant, i, [float(x) for x in range(1, len(y) + 1)], y, status) for i, y in enumerate(values)]


# ---------------------------------------------------------------- experiment_curves


def test_each_seed_is_a_line() -> None:
    """Every run's own values are on the axes, unchanged."""
    axes = draw(seeds([3.0, 2.0, 1.0], [5.0, 4.0, 3.0]))
    assert seed_lines(axes) == [[(1, 3), (2, 2), (3, 1)], [(1, 5), (2, 4), (3, 3)]]


def test_mean_is_that_of_the_seeds() -> None:
    """The thick line is the mean over the seeds at each evaluation."""
    axes = draw(seeds([3.0, 2.0, 1.0], [5.0, 4.0, 4.0], [1.0, 0.5, 0.25]))
    assert points(*lines(axes, "mean")) == [(1, 3), (2, pytest.approx(6.5 / 3)), (3, pytest.approx(1.75))]


def test_band_is_the_t_interval() -> None:
    """The band's ends are mean ± t(n−1)·sd/√n at each evaluation: for 1, 2, 3 that is 2 ± 4.3027/√3."""
    values = [[1.0, 3.0], [2.0, 3.5], [3.0, 5.0]]
    ends = band(draw(seeds(*values)))
    assert ends[1.0] == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), rel=1e-6)
    second = summarize([y[1] for y in values])
    assert ends[2.0] == pytest.approx((second.low, second.high))


def test_mean_ends_where_the_first_run_stopped() -> None:
    """A mean over changing sets of runs would jump: it ends with the shortest run, and so does the band."""
    short, long = Curve("batch", 0, [1.0, 2.0], [2.0, 1.0], "stopped_early"), seeds([4.0, 3.0, 2.0, 1.0])[0]
    axes = draw([short, Curve("batch", 1, long.x, long.y, "completed")])
    assert points(*lines(axes, "mean")) == [(1, 3), (2, 2)]
    assert sorted(band(axes)) == [1, 2]
    assert seed_lines(axes)[1] == [(1, 4), (2, 3), (3, 2), (4, 1)]


def test_mean_is_over_shared_evaluations_only() -> None:
    """Runs evaluated at other steps are averaged where they have evaluations in common."""
    curves = [Curve("a", 0, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "completed")]
    curves.append(Curve("a", 1, [1.0, 3.0], [3.0, 5.0], "completed"))
    assert points(*lines(draw(curves), "mean")) == [(1, 2), (3, 4)]


def test_stopped_early_is_marked_at_its_last_evaluation() -> None:
    """▼ stands at the last point of the run that stopped, and the legend explains it."""
    axes = draw([Curve("batch", 0, [1.0, 2.0], [2.0, 1.5], "stopped_early")])
    (mark,) = lines(axes, "stopped_early")
    assert points(mark) == [(2, 1.5)]
    assert mark.get_marker() == "v"
    assert legend(axes) == ["batch", "stopped early"]


def test_diverged_is_left_out_counted_and_marked() -> None:
    """A diverged run is not in the mean or the band; the legend counts it and ✕ stands where it ended."""
    curves = [*seeds([2.0, 1.0], [3.0, 2.0]), Curve("batch", 2, [1.0, 2.0], [2.5, NAN], "diverged")]
    axes = draw(curves)
    assert points(*lines(axes, "mean")) == [(1, 2.5), (2, 1.5)]
    assert legend(axes) == ["batch (mean of 2; 1 diverged)", "diverged"]
    (mark,) = lines(axes, "diverged")
    assert points(mark) == [(2, 2.5)]
    assert mark.get_marker() == "X"
    both = summarize([2.0, 3.0])
    assert band(axes)[1.0] == pytest.approx((both.low, both.high))


def test_all_diverged() -> None:
    """A variant of diverged runs alone has no mean, no band, its marks and a count."""
    curves = [Curve("none", s, [1.0, 2.0], [1.0 + s, INF], "diverged") for s in range(2)]
    axes = draw([*curves, *seeds([1.0, 0.5], variant="batch")])
    assert [points(line) for line in lines(axes, "mean")] == [[], [(1, 1), (2, 0.5)]]
    assert legend(axes) == ["none (2 diverged)", "batch", "diverged"]
    assert [points(mark) for mark in lines(axes, "diverged")] == [[(2, 1.0), (2, pytest.approx(1.02))]], (
        "at the last value, or the upper end"
    )
    assert not [c for c in axes.collections if isinstance(c, PolyCollection)]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_value_that_is_not_finite_leaves_a_gap_in_the_mean(bad: float) -> None:
    """NaN or infinity in one run costs that evaluation, not the plot."""
    axes = draw(seeds([2.0, bad, 1.0], [4.0, 3.0, 3.0]))
    assert points(*lines(axes, "mean")) == [(1, 3), (3, 2)]
    assert all(math.isfinite(limit) for limit in axes.get_ylim())


@pytest.mark.parametrize("bad", [NAN, INF])
def test_nothing_finite(bad: float) -> None:
    """A run that was never finite can still be drawn."""
    axes = draw([Curve("none", 0, [1.0], [bad], "diverged")])
    assert all(math.isfinite(limit) for limit in axes.get_ylim())
    assert points(*lines(axes, "mean")) == []
    assert len(lines(axes, "diverged")) == 1


def test_one_seed_has_no_band() -> None:
    """One seed gives a line and the note says so: no interval, none claimed."""
    figure = figure_of(seeds([2.0, 1.0]))
    assert not [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
    assert note(figure) == "1 seed"


def test_the_note_says_what_the_band_is() -> None:
    """With several seeds the figure states n and the kind of interval."""
    assert note(figure_of(seeds([2.0, 1.0], [1.0, 0.5]))) == "2 seeds: mean, 95 % t-interval, single seeds thin"


def test_how_many_runs_go_on() -> None:
    """Where runs end at different times a strip below counts those that have an evaluation there or later."""
    curves = [
        *(Curve("a", s, [1.0, 2.0, 3.0][:n], [3.0, 2.0, 1.0][:n], "stopped_early") for s, n in enumerate((3, 1, 2))),
        *seeds([2.0, 1.0, 1.0], [2.0, 2.0, 1.0], variant="b"),
    ]
    figure = figure_of(curves)
    _, strip = figure.axes
    assert [points(line) for line in lines(strip, "number")] == [[(1, 3), (2, 2), (3, 1)], [(1, 2), (2, 2), (3, 2)]]
    assert strip.get_xlabel() == "epoch"
    assert strip.get_ylabel() == "runs"
    assert note(figure).endswith("; a mean ends where the first of its runs does")


def test_no_strip_where_all_runs_end_together() -> None:
    """n is the same throughout, and the legend says what it is."""
    assert len(figure_of(seeds([2.0, 1.0], [3.0, 1.0])).axes) == 1


@pytest.mark.parametrize("status", ["failed", "unfinished"])
def test_runs_that_did_not_end_are_counted(status: str) -> None:
    """Their values are in the mean, as far as they go, and the legend says that they are."""
    curves = [*seeds([2.0, 1.0]), Curve("batch", 1, [1.0], [4.0], status)]
    axes = draw(curves)
    assert points(*lines(axes, "mean")) == [(1, 3)]
    assert legend(axes) == [f"batch (1 {status})"]


def panels(num_variants: int) -> Figure:
    names = [f"v{i}" for i in range(num_variants)]
    return figure_of([curve for i, name in enumerate(names) for curve in seeds([2.0 + i, 1.0 + i], variant=name)])


@pytest.mark.parametrize("num_variants", [2, 6, 28])
def test_variants_can_be_told_apart(num_variants: int) -> None:
    """In one set of axes no two variants share both colour and line style, and each is in the legend."""
    (axes,) = panels(num_variants).axes
    styles = [(to_hex(line.get_color()), line.get_linestyle()) for line in lines(axes, "mean")]
    assert len(set(styles)) == num_variants
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in itertools.pairwise(styles)), "in grey as well"
    assert legend(axes) == [f"v{i}" for i in range(num_variants)]


@pytest.mark.parametrize("num_variants", [7, 18, 25])
def test_many_variants_get_a_panel_each(num_variants: int) -> None:
    """Each panel has its variant's mean, and those of the others in grey behind it, on the same axes."""
    figure = panels(num_variants)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"v{i}" for i in range(num_variants)]
    for i, axes in enumerate(figure.axes):
        assert points(*lines(axes, "mean")) == [(1, 2 + i), (2, 1 + i)]
        (others,) = (c for c in axes.collections if c.get_gid() == "others")
        assert isinstance(others, LineCollection)
        assert len(others.get_segments()) == num_variants - 1
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("epoch", "validation loss (mean squared error)")


def test_more_variants_are_means_alone() -> None:
    """Forty variants: their means, a legend that ends, and no thin lines or bands."""
    (axes,) = panels(40).axes
    assert len(lines(axes, "mean")) == 40
    assert not axes.collections
    assert legend(axes)[-1] == "and 12 more"
    assert len(legend(axes)) == 29


def test_hundreds_of_seeds() -> None:
    """Their lines are fainter, and a raster image in vector files; the mean and every run are there."""
    few, many = (draw(seeds(*([float(i), 1.0] for i in range(n)))) for n in (5, 300))
    (thin,) = (c for c in many.collections if c.get_gid() == "seeds")
    (thick,) = (c for c in few.collections if c.get_gid() == "seeds")
    assert thin.get_alpha() < thick.get_alpha() / 3
    assert thin.get_rasterized()
    assert not thick.get_rasterized()
    assert len(seed_lines(many)) == 300
    curves = seeds(*([float(i), 1.0] for i in range(300)))
    assert len(render(figure_of(curves), "svg")) < 150_000


def test_marks_and_seeds_have_the_colour_of_their_variant() -> None:
    """Seeds, marks and mean of a variant share its colour."""
    axes = draw([Curve(name, 0, [1.0], [1.0], "stopped_early") for name in ("a", "b")])
    means, marks = ([to_hex(line.get_color()) for line in lines(axes, gid)] for gid in ("mean", "stopped_early"))
    singles = [to_hex(c.get_edgecolor()[0]) for c in axes.collections if c.get_gid() == "seeds"]
    assert means == marks == singles
    assert means[0] != means[1]


def test_curve_means() -> None:
    """The same means as numbers; nothing where all runs diverged."""
    curves = [*seeds([2.0, 1.0], [4.0, 2.0]), Curve("none", 0, [1.0], [INF], "diverged")]
    assert curve_means(curves) == {"batch": ([1, 2], [3, 1.5]), "none": ([], [])}


@pytest.mark.parametrize(
    ("metric", "is_classification", "label"),
    [
        ("train/loss", True, "training loss (cross-entropy, nats)"),
        ("val/loss", False, "validation loss (mean squared error)"),
        ("test/accuracy", True, "test accuracy (%)"),
        ("lr", True, "learning rate"),
    ],
)
def test_axes_have_labels_with_units(metric: str, is_classification: bool, label: str) -> None:
    """The y axis names the metric and its unit, the x axis what it counts."""
    figure = figure_of(
        seeds([0.5, 0.6]), metric=metric, is_classification=is_classification, x_label="step", title="mnist"
    )
    (axes,) = figure.axes
    assert axes.get_ylabel() == metric_label(metric, is_classification) == label
    assert axes.get_xlabel() == "step"
    assert figure.get_suptitle().strip() == "mnist"


def test_accuracy_is_shown_in_percent() -> None:
    """0.5 is labelled 50 on an axis that says %."""
    axes = draw(seeds([0.5, 0.9]), metric="val/accuracy", is_classification=True)
    assert axes.yaxis.get_major_formatter()(0.5, 0).strip("%") in ("50", "50.0")


@pytest.mark.parametrize(
    ("values", "scale"),
    [([31.0, 1.0], "log"), ([29.0, 1.0], "linear"), ([31.0, 0.0], "linear"), ([31.0, -1.0], "linear")],
)
def test_losses_over_a_wide_range_get_a_log_axis(values: list[float], scale: str) -> None:
    """More than a factor of 30 between the losses is drawn on a log axis, unless one is not positive."""
    assert draw(seeds(values)).get_yscale() == scale


def test_accuracy_never_gets_a_log_axis() -> None:
    """Percentages stay on a linear axis."""
    axes = draw(seeds([0.01, 0.99]), metric="val/accuracy", is_classification=True)
    assert axes.get_yscale() == "linear"


def test_a_diverged_run_does_not_set_the_y_range() -> None:
    """What a diverged run reached neither flattens the others nor forces a log axis; its mark stays inside."""
    axes = draw([*seeds([2.0, 1.0]), Curve("none", 0, [1.0, 2.0], [3.0, 1e30], "diverged")])
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "linear"
    assert low <= 1.0
    assert 2.0 <= high < 3.0
    ((x, y),) = points(*lines(axes, "diverged"))
    assert x == 2
    assert low <= y <= high


def test_all_values_are_inside_the_axes() -> None:
    """No point of a run that did not diverge is cut off, on either scale."""
    for values in ([3.0, 2.0, 1.0], [1000.0, 10.0, 0.1], [0.5, 0.5], [0.0, 0.0], [-2.0, -1.0]):
        axes = draw(seeds(values))
        low, high = axes.get_ylim()
        assert low < min(values) <= max(values) < high


def test_extreme_but_finite_values() -> None:
    """Losses near the ends of what float32 can hold are drawn without a warning."""
    draw(seeds([1e38, 1e-38], [1e37, 1e-37]))


def test_x_ticks_are_whole_numbers() -> None:
    """There is no epoch 1.5 on the axis."""
    axes = draw(seeds([3.0, 2.0, 1.0]))
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_a_run_shorter_than_an_epoch_has_x_ticks() -> None:
    """A few hundred steps of a large dataset still have a labelled axis."""
    axes = draw([Curve("a", 0, [0.125, 0.25, 0.5], [3.0, 2.0, 1.0], "completed")])
    low, high = axes.get_xlim()
    assert len([tick for tick in axes.get_xticks() if low <= tick <= high]) >= 2


@pytest.mark.parametrize("label", ["lr=$x$ and $y^$", "$\\frac$", "_hidden", "50% {a}", "a\\b"])
def test_any_variant_name_is_shown_as_it_is(label: str) -> None:
    """A variant's name is text, not mathematics, and none is left out of the legend."""
    assert legend(draw(seeds([2.0, 1.0], [3.0, 2.0], variant=label))) == [label]


# ---------------------------------------------------------------- run_curves


REGRESSION = {
    "epoch": [1.0, 2.0],
    "step": [4.0, 8.0],
    "train/loss": [2.0, 1.0],
    "val/loss": [2.5, 1.5],
    "lr": [0.1, 0.1],
}
CLASSES = REGRESSION | {"train/accuracy": [0.5, 0.75], "val/accuracy": [0.25, 0.5]}


def data(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    return {str(line.get_label()): points(line) for line in axes.lines}


def test_run_curves_of_regression() -> None:
    """One panel: training and validation loss over epochs, with units."""
    figure = run_curves(REGRESSION, "batch-s0", is_classification=False)
    (axes,) = figure.axes
    assert data(axes) == {"training": [(1, 2), (2, 1)], "validation": [(1, 2.5), (2, 1.5)]}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss (mean squared error)")
    assert legend(axes) == ["training", "validation"]
    assert figure.get_suptitle() == "batch-s0"


def test_run_curves_of_classes() -> None:
    """A second panel shows the accuracies, in percent."""
    loss, accuracy = run_curves(CLASSES, "t", is_classification=True).axes
    assert loss.get_ylabel() == "loss (cross-entropy, nats)"
    assert data(loss)["validation"] == [(1, 2.5), (2, 1.5)]
    assert accuracy.get_ylabel() == "accuracy (%)"
    assert data(accuracy) == {"training": [(1, 0.5), (2, 0.75)], "validation": [(1, 0.25), (2, 0.5)]}
    colors = [line.get_color() for line in loss.lines]
    assert len(set(colors)) == 2


def test_run_curves_without_validation() -> None:
    """Without a validation set there is one line."""
    metrics = {name: REGRESSION[name] for name in ("epoch", "step", "train/loss", "lr")}
    (axes,) = run_curves(metrics, "t", is_classification=False).axes
    assert list(data(axes)) == ["training"]


@pytest.mark.parametrize("loss", [[NAN, NAN], [1.0, INF], [1e30, NAN], []])
def test_run_curves_of_a_diverged_run(loss: list[float]) -> None:
    """Losses that are not finite, or none at all, still make a picture."""
    steps = [float(i + 1) for i in range(len(loss))]
    metrics = {"epoch": steps, "step": steps, "train/loss": loss, "val/loss": loss, "lr": loss}
    figure = run_curves(metrics, "t", is_classification=False)
    assert render(figure, "png").startswith(MAGIC["png"])
    assert all(math.isfinite(limit) for limit in figure.axes[0].get_ylim())


def test_run_curves_log_axis() -> None:
    """A run's losses over a wide range get a log axis too."""
    wide = REGRESSION | {"train/loss": [100.0, 1.0]}
    assert run_curves(wide, "t", is_classification=False).axes[0].get_yscale() == "log"


# ---------------------------------------------------------------- paired differences


def differences(*pairs: PairedDifferences, metric: str = "val/loss", higher: bool = False) -> Figure:
    figure = paired_differences(
        pairs, title="e", note="n", metric=metric, is_classification=True, higher_is_better=higher
    )
    figure.draw_without_rendering()
    return figure


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_differences_per_seed() -> None:
    """A row a pair: a dot a seed with its number, the first at the top; below them mean and 95 % t-interval."""
    (axes,) = differences(
        PairedDifferences("b − a", {0: 1.0, 3: 2.0, 7: 3.0}), PairedDifferences("c − a", {0: -1.0})
    ).axes
    dots, lone = map(points, lines(axes, "seeds"))
    assert [x for x, _ in dots] == [1, 2, 3]
    assert [x for x, _ in lone] == [-1]
    heights = [y for _, y in dots]
    assert heights == sorted(heights)
    assert axes.yaxis_inverted()
    (mean, below), (single, _) = (points(line)[0] for line in lines(axes, "mean"))
    assert (mean, single) == (2, -1)
    assert below > max(heights)
    ends = [x for x, _ in points(lines(axes, "interval")[0])]
    assert ends == pytest.approx([2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)], rel=1e-6)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b − a", "c − a"]
    assert texts(axes)[:3] == ["0", "3", "7"]
    assert texts(axes)[-2:] == ["mean +2\nn = 3", "mean −1\nn = 1"]
    zero = next(line for line in axes.lines if list(line.get_xdata()) == [0, 0])
    assert list(zero.get_ydata()) == [0, 1], "from the bottom to the top"


@pytest.mark.parametrize(
    ("metric", "higher", "label"),
    [
        ("val/loss", False, "difference in validation loss (cross-entropy, nats); negative: the first is better"),
        ("test/accuracy", True, "difference in test accuracy (percentage points); positive: the first is better"),
    ],
)
def test_direction_and_unit_of_differences(metric: str, higher: bool, label: str) -> None:
    """The axis says which side is good and in what unit; differences of accuracies are in percentage points."""
    (axes,) = differences(PairedDifferences("b − a", {0: 0.01, 1: 0.02}), metric=metric, higher=higher).axes
    assert axes.get_xlabel() == label
    assert texts(axes)[-1] == ("mean +1.50\nn = 2" if higher else "mean +0.015\nn = 2")


def test_pairs_without_a_value() -> None:
    """Seeds in which a run diverged are counted; a pair without any difference keeps its row."""
    (axes,) = differences(PairedDifferences("b − a", {0: 1.0}, 2), PairedDifferences("c − a", {}, 3)).axes
    assert texts(axes)[-2:] == ["mean +1\nn = 1\n2 without a value", "n = 0\n3 without a value"]


def test_many_seeds_are_not_labelled() -> None:
    """Hundreds of dots have no numbers, and the row stays as high as one of a dozen."""
    (axes,) = differences(PairedDifferences("b − a", {i: float(i) for i in range(300)})).axes
    assert len(points(*lines(axes, "seeds"))) == 300
    assert len(axes.texts) == 1
    assert differences(PairedDifferences("b − a", {i: float(i) for i in range(300)})).get_figheight() < 4


# ---------------------------------------------------------------- sensitivity


def swept(*sweeps: Sweep, metric: str = "val/loss") -> Axes:
    figure = sensitivity(
        sweeps, title="e", note="n", hyperparameter="learning rate", metric=metric, is_classification=False
    )
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return axes


def test_sensitivity_shows_mean_interval_and_seeds() -> None:
    """At each value of the hyperparameter: a dot a seed, their mean on a line, the 95 % t-interval."""
    axes = swept(Sweep("batch", {0.1: [1.0, 2.0, 3.0], 0.2: [4.0], 0.3: [5.0, 5.0]}, {}))
    assert points(*lines(axes, "mean")) == [(0.1, 2), (0.2, 4), (0.3, 5)]
    assert points(*lines(axes, "seeds")) == [(0.1, 1), (0.1, 2), (0.1, 3), (0.2, 4), (0.3, 5), (0.3, 5)]
    first, second = (points(line) for line in lines(axes, "interval"))
    half = 4.302653 / math.sqrt(3)
    assert first == [(pytest.approx(0.1), pytest.approx(2 - half)), (pytest.approx(0.1), pytest.approx(2 + half))]
    assert [y for _, y in second] == [5, 5]
    low, high = axes.get_ylim()
    assert low < 2 - half
    assert high > 5
    assert axes.get_xlabel() == "learning rate"


def test_values_over_decades_stand_on_a_log_scale() -> None:
    """A factor apart is a distance, the ticks are the values themselves, and the label says so."""
    axes = swept(Sweep("a", {1.0: [1.0, 1.0], 0.1: [1.0, 1.0], 0.01: [1.0, 1.0]}, {}))
    assert [x for x, _ in points(*lines(axes, "mean"))] == pytest.approx([-2, -1, 0])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert axes.get_xlabel() == "learning rate (log scale)"


def test_values_that_are_names_stand_side_by_side() -> None:
    """`full` as a batch size: numbers by size, then names."""
    axes = swept(Sweep("a", {"full": [1.0], 64: [2.0], 16: [3.0]}, {}))
    assert points(*lines(axes, "mean")) == [(0, 3), (1, 2), (2, 1)]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["16", "64", "full"]


def test_sensitivity_counts_the_diverged() -> None:
    """Where all diverged there is no mean, where some did it is hollow and off the line; ✕ counts them above."""
    axes = swept(
        Sweep("none", {1.0: [1.0, 1.0], 2.0: [2.0], 3.0: []}, {1.0: 0, 2.0: 1, 3.0: 2}),
        Sweep("batch", {1.0: [1.0], 2.0: [1.0], 3.0: [1.0]}, {}),
    )
    none, batch = (points(line) for line in lines(axes, "mean"))
    assert [y for _, y in none] == pytest.approx([1, NAN], nan_ok=True)
    assert len(batch) == 3
    hollow, solid = (line for line in lines(axes, "mean of the rest"))
    assert [y for _, y in points(hollow)] == [2]
    assert hollow.get_markerfacecolor() == "white"
    assert points(solid) == []
    counts = {text.get_text(): text.xy for text in axes.texts if text.get_gid() == "diverged"}
    assert {text: x for text, (x, _) in counts.items()} == {
        "✕ 1/2": points(hollow)[0][0],
        "✕ 2/2": pytest.approx(points(hollow)[0][0] + 1),
    }
    assert "none diverged:" in texts(axes)
    assert legend(axes) == ["none", "batch", "mean of the others"]


def test_variants_of_a_sweep_do_not_cover_each_other() -> None:
    """Means of different variants at the same value stand beside each other, nearer than the next value."""
    axes = swept(*(Sweep(name, {0.1: [1.0], 1.0: [1.0]}, {}) for name in "abcd"))
    first = [points(line)[0][0] for line in lines(axes, "mean")]
    assert len(set(first)) == 4
    assert max(first) - min(first) < 0.5
    assert len({line.get_marker() for line in lines(axes, "mean")}) == 4


def test_a_sweep_without_any_value() -> None:
    """All diverged: the picture says nothing but that."""
    axes = swept(Sweep("none", {0.1: [], 1.0: []}, {0.1: 2, 1.0: 2}))
    assert [text.get_text() for text in axes.texts if text.get_gid() == "diverged"] == ["✕ 2/2"] * 2


# ---------------------------------------------------------------- heat map


def heated(cells: dict[tuple[Any, Any], Cell], metric: str = "val/loss") -> tuple[Figure, Axes]:
    figure = heat_map(cells, title="e", note="n", columns="learning rate", metric=metric, is_classification=True)
    figure.draw_without_rendering()
    return figure, figure.axes[0]


def test_heat_map_has_the_means_in_its_cells() -> None:
    """Rows in the order given, columns by size; the mean in colour and figures; ✕ counts the diverged."""
    cells: dict[tuple[Any, Any], Cell] = {
        ("none", 0.1): Cell([1.0, 2.0]),
        ("none", 0.01): Cell([3.0]),
        ("batch", 0.1): Cell([0.25], 2),
        ("batch", 0.01): Cell([], 3),
    }
    figure, axes = heated(cells)
    (image,) = axes.images
    data = np.ma.filled(image.get_array(), np.nan)
    assert np.array_equal(data, [[3.0, 1.5], [np.nan, 0.25]], equal_nan=True)
    found = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert found == {(0, 1): "1.5", (0, 0): "3", (1, 1): "0.25\n✕ 2/3", (1, 0): "✕ 3/3"}
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["none", "batch"]
    assert note(figure) == "n; ✕: diverged, not in the mean; brighter is better"
    assert figure.axes[1].get_ylabel() == "validation loss\n(cross-entropy, nats)"


@pytest.mark.parametrize(("metric", "text"), [("val/loss", "0.5"), ("val/accuracy", "50.0")])
def test_brighter_is_better(metric: str, text: str) -> None:
    """The best cell is the brightest, whether high or low is good; each text is legible on its cell."""
    values = [0.1, 0.5, 0.9]
    _, axes = heated({("a", value): Cell([value]) for value in values}, metric)
    (image,) = axes.images
    luminance = [float(np.dot(image.cmap(image.norm(value))[:3], [0.299, 0.587, 0.114])) for value in values]
    assert luminance == sorted(luminance, reverse=metric == "val/loss")
    for cell, bright in zip(axes.texts, luminance, strict=True):
        assert abs((cell.get_color() == "white") - bright) > 0.4
    assert axes.texts[1].get_text() == text


def test_heat_map_frames_what_was_chosen() -> None:
    """The setting chosen on the validation set has a frame, and the note says what it means."""
    figure, axes = heated({("a", 1): Cell([1.0]), ("a", 2): Cell([2.0], is_chosen=True)})
    assert {round(patch.get_x() + patch.get_width() / 2) for patch in axes.patches} == {1}
    assert "framed: chosen on the validation set" in note(figure)


@pytest.mark.parametrize("values", [[1.0, 1.0], [1e-8, 1e8], [0.0, 1e30], [-1.0, 1.0]])
def test_heat_maps_of_extreme_values(values: list[float]) -> None:
    """Equal values, sixteen decades and negative ones are drawn without a warning."""
    figure, _ = heated({("a", i): Cell([value]) for i, value in enumerate(values)})
    assert render(figure, "png").startswith(MAGIC["png"])


def test_a_heat_map_without_any_value() -> None:
    """All cells diverged, or are not there at all."""
    _, axes = heated({("a", 1): Cell([], 2), ("b", 2): Cell([], 2)})
    assert texts(axes) == ["✕ 2/2"] * 2


# ---------------------------------------------------------------- times to a threshold


def timed(**panels: Sequence[TimeTo]) -> list[Axes]:
    figure = times_to_threshold(panels, title="e", note="n")
    figure.draw_without_rendering()
    return figure.axes


def test_times_to_a_threshold() -> None:
    """A dot a run, the median as a bar, a panel a unit; variants are named once."""
    rows = [TimeTo("none", [3.0, 1.0, 2.0], 0), TimeTo("batch", [1.0, 2.0], 0)]
    epochs, seconds = timed(epochs=rows, seconds=[TimeTo("none", [0.5], 0), TimeTo("batch", [0.25], 0)])
    assert [[x for x, _ in points(line)] for line in lines(epochs, "reached")] == [[1, 2, 3], [1, 2]]
    assert [[x for x, _ in points(line)] for line in lines(epochs, "median")] == [[2, 2], [1.5, 1.5]]
    assert (epochs.get_xlabel(), seconds.get_xlabel()) == ("epochs", "seconds")
    assert [text.get_text() for text in epochs.get_yticklabels()] == ["none", "batch"]
    assert [text.get_text() for text in seconds.get_yticklabels()] == ["", ""]
    assert texts(seconds) == ["n = 1", "n = 1"]
    assert legend(epochs) == ["median"]


def test_runs_that_never_reach_it_are_marked_and_counted() -> None:
    """✕ at the right end for each; a median that would be one of them is not drawn."""
    (axes,) = timed(epochs=[TimeTo("a", [2.0, 4.0], 1), TimeTo("b", [3.0], 2), TimeTo("c", [], 3)])
    assert [len(points(line)) for line in lines(axes, "never")] == [1, 2, 3]
    assert {x for line in lines(axes, "never") for x, _ in points(line)} == {axes.get_xlim()[1]}
    assert axes.get_xlim()[1] > 4
    assert [[x for x, _ in points(line)] for line in lines(axes, "median")] == [[4, 4]]
    assert texts(axes) == ["1 of 3 never", "2 of 3 never", "3 of 3 never"]
    assert legend(axes) == ["median", "never"]
    for row in range(3):
        heights = [y for line in axes.lines if line.get_gid() in ("reached", "never") for _, y in points(line)]
        assert len({round(y, 6) for y in heights if abs(y - row) < 0.5}) == 3, "no run covers another"


@pytest.mark.parametrize(
    ("reached", "never", "median"),
    [([1.0, 3.0], 0, 2.0), ([1.0, 3.0], 1, 3.0), ([1.0, 3.0], 2, INF), ([], 2, INF), ([], 0, INF), ([5.0], 0, 5.0)],
)
def test_median_counts_never_as_later_than_all(reached: list[float], never: int, median: float) -> None:
    """The middle of all runs; between one that reached it and one that never did it is infinite."""
    assert TimeTo("a", reached, never).median == median


def test_times_over_decades_stand_on_a_log_axis() -> None:
    """1 and 100 epochs are both to be read; all marks are inside."""
    (axes,) = timed(epochs=[TimeTo("a", [1.0, 100.0], 1)])
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "epochs (log scale)"
    low, high = axes.get_xlim()
    assert low < 1
    assert high > 100


# ---------------------------------------------------------------- names of others


HOSTILE = [
    "$\\frac$",
    "_hidden",
    "<script>",
    "a" * 120,
    "{a} %s \\",
    "𝛾 正規化 \u202ex",
    "line\u2028break",
    "a\u202eb\u200bc\u3164\x1b",
]


@pytest.mark.parametrize("format", ["png", "svg"])
def test_any_name_can_be_drawn(format: str) -> None:
    """Names are text in every kind of figure: never formulas, never errors; they show all they hold, in order."""
    name, title = HOSTILE[0], HOSTILE[-1]
    options: dict[str, Any] = {"title": title, "note": title}
    of: dict[str, Any] = {"metric": "val/loss", "is_classification": False}
    cells: dict[tuple[Any, Any], Cell] = {(row, column): Cell([1.0], 1) for row in HOSTILE for column in HOSTILE}
    made = [
        experiment_curves(
            [c for name in names for c in seeds([2.0, 1.0], variant=name)], title=title, x_label="epoch", **of
        )
        for names in (HOSTILE[:6], HOSTILE)  # in one set of axes, in panels
    ]
    made += [
        paired_differences(
            [PairedDifferences(n, {0: 1.0, 1: 2.0}) for n in HOSTILE], higher_is_better=True, **options, **of
        ),
        sensitivity(
            [Sweep(n, {HOSTILE[1]: [1.0], 0.1: [2.0]}, {HOSTILE[1]: 1}) for n in HOSTILE],
            hyperparameter=title,
            **options,
            **of,
        ),
        heat_map(cells, columns=title, **options, **of),
        times_to_threshold({name: [TimeTo(n, [1.0, 2.0], 1) for n in HOSTILE]}, **options),
        run_curves(CLASSES, title, is_classification=True),
    ]
    for figure in made:
        assert render(figure, format).startswith(MAGIC[format])
        lines = [line for text in figure.findobj(Text) for line in text.get_text().split("\n")]
        assert lines == [*map(printable, lines)]


# ---------------------------------------------------------------- render


def figures() -> list[Figure]:
    curves = [*seeds([3.0, 2.0], [2.0, 1.0]), *seeds([2.5, 2.25], [2.0, 1.5], variant="none", status="stopped_early")]
    experiment = experiment_curves(curves, title="e", metric="val/loss", x_label="epoch", is_classification=True)
    return [experiment, run_curves(CLASSES, "t", is_classification=True)]


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_render_gives_the_format_asked_for(format: str) -> None:
    """The bytes begin as a file of that format does."""
    assert render(figures()[0], format).startswith(MAGIC[format])


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
@pytest.mark.parametrize("kind", [0, 1], ids=["experiment", "run"])
def test_same_data_same_bytes(format: str, kind: int) -> None:
    """Two figures made of the same data are the same file: no dates, no random ids."""
    assert render(figures()[kind], format) == render(figures()[kind], format)
