"""What a figure shows, read back from its axes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bncompare.plotting import Curve, experiment_curves, metric_label, render, run_curves
from bncompare.statistics import summarize

NAN, INF = math.nan, math.inf
MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


def draw(curves: Sequence[Curve], **options: Any) -> Axes:
    """The axes of `experiment_curves`, drawn once so that matplotlib has gone through all of it."""
    defaults = {"title": "e", "metric": "val/loss", "x_label": "epoch", "is_classification": False}
    figure = experiment_curves(curves, **(defaults | options))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return axes


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
    """The labels as a reader sees them: `\\$` is matplotlib's way to write a dollar sign."""
    return [text.get_text().replace("\\$", "$") for text in axes.get_legend().get_texts()]


def seeds(*values: Sequence[float], variant: str = "batch", status: str = "completed") -> list[Curve]:
    """A curve a seed, evaluated at epochs 1, 2, …"""
    return [Curve(variant, i, [float(x) for x in range(1, len(y) + 1)], y, status) for i, y in enumerate(values)]


# ---------------------------------------------------------------- experiment_curves


def test_each_seed_is_a_line() -> None:
    """Every run's own values are on the axes, unchanged."""
    axes = draw(seeds([3.0, 2.0, 1.0], [5.0, 4.0, 3.0]))
    assert points(*lines(axes, "seed 0")) == [(1, 3), (2, 2), (3, 1)]
    assert points(*lines(axes, "seed 1")) == [(1, 5), (2, 4), (3, 3)]


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
    assert points(*lines(axes, "seed 1")) == [(1, 4), (2, 3), (3, 2), (4, 1)]


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
    assert legend(axes) == ["batch (1 of 3 diverged)", "diverged"]
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
    assert legend(axes) == ["none (2 of 2 diverged)", "batch", "diverged"]
    assert len(lines(axes, "diverged")) == 2
    assert not axes.collections


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
    axes = draw(seeds([2.0, 1.0]))
    assert not axes.collections
    assert axes.get_title(loc="right").startswith("1 seed")


def test_the_note_says_what_the_band_is() -> None:
    """With several seeds the figure states n and the kind of interval."""
    note = draw(seeds([2.0, 1.0], [1.0, 0.5])).get_title(loc="right")
    assert note == "2 seeds: mean, 95 % t-interval, single seeds faint"


@pytest.mark.parametrize("num_variants", [2, 12, 21])
def test_variants_can_be_told_apart(num_variants: int) -> None:
    """No two variants share both colour and line style, and each is in the legend."""
    names = [f"v{i}" for i in range(num_variants)]
    axes = draw([curve for i, name in enumerate(names) for curve in seeds([2.0 + i, 1.0 + i], variant=name)])
    styles = {(to_hex(line.get_color()), line.get_linestyle()) for line in lines(axes, "mean")}
    assert len(styles) == num_variants
    assert legend(axes) == names


def test_marks_and_seeds_have_the_colour_of_their_variant() -> None:
    """Seeds, marks and mean of a variant share its colour."""
    axes = draw([Curve(name, 0, [1.0], [1.0], "stopped_early") for name in ("a", "b")])
    means, singles, marks = (lines(axes, gid) for gid in ("mean", "seed 0", "stopped_early"))
    colors = [[line.get_color() for line in group] for group in (means, singles, marks)]
    assert colors[0] == colors[1] == colors[2]
    assert colors[0][0] != colors[0][1]


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
    axes = draw(seeds([0.5, 0.6]), metric=metric, is_classification=is_classification, x_label="step", title="mnist")
    assert axes.get_ylabel() == metric_label(metric, is_classification) == label
    assert axes.get_xlabel() == "step"
    assert axes.get_title(loc="left") == "mnist"


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
