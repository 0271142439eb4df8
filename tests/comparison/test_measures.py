"""Measures: a number of one run, by hand, and what is said of runs that have none."""

import math
from typing import Any

import pytest
from kit import loaded_run

from bncompare.comparison.measures import area, metric_at, spread, time_to
from bncompare.config.claims import At
from bncompare.config.metrics import Metric
from bncompare.runs.read import LoadedRun

LOSS, ACCURACY, NONE = Metric("val/loss"), Metric("val/accuracy"), Metric("train/accuracy")  # which no run has


def run(losses: list[float], status: str = "completed") -> LoadedRun:
    return loaded_run(losses=losses, status=status, every=2)


LOSSES = [4.0, 2.0, 1.0, 1.5]


@pytest.mark.parametrize(
    ("metric", "at", "value"),
    [
        ("val/loss", "best", 1.0),
        ("val/loss", "last", 1.5),
        ("val/loss", "mean", 2.125),
        ("test/loss", "best", 1.01),
        ("test/accuracy", "last", -0.51),
        ("val/loss", At(epoch=4), 2.0),
        ("val/loss", At(step=20), 4.0),
        ("val/loss", At(epoch=3), None),
        ("train/accuracy", "best", None),
    ],
)
def test_at_an_evaluation(metric: str, at: Any, value: float | None) -> None:
    """Best and last come from the result, an epoch or a step from its row; what is not there is None."""
    assert metric_at(Metric(metric), at).value(run(LOSSES)) == value
    assert metric_at(Metric(metric), At(step=20)).value(run([math.nan])) is None


@pytest.mark.parametrize(
    ("status", "of_loss", "of_accuracy"),
    [("diverged", math.inf, -math.inf), ("failed", None, None), ("unfinished", None, None)],
)
def test_runs_without_a_value(status: str, of_loss: float | None, of_accuracy: float | None) -> None:
    """A diverged run is at the bad end of the metric; a failed or unfinished one says nothing."""
    ended = run(LOSSES, status)
    assert metric_at(LOSS, "best").value(ended) == of_loss
    assert metric_at(ACCURACY, "last").value(ended) == of_accuracy
    assert area(LOSS, 2, 8).value(ended) == (of_loss if status == "diverged" else area_by_hand())
    assert spread(ACCURACY, 2).value(ended) == of_loss


def area_by_hand() -> float:
    return ((4 + 2) / 2 * 2 + (2 + 1) / 2 * 2 + (1 + 1.5) / 2 * 2) / 6


def test_area() -> None:
    """Trapezoids over epochs, divided by the distance: the mean of the metric, whatever the spacing."""
    assert area(LOSS, 2, 8).value(run(LOSSES)) == pytest.approx(area_by_hand())
    assert area(LOSS, 4, 6).value(run(LOSSES)) == pytest.approx(1.5)
    assert area(LOSS, 2, 8).value(run([3.0] * 4)) == pytest.approx(3.0)
    assert area(LOSS, 2, 10).value(run(LOSSES)) is None  # which ended before
    assert area(LOSS, 2, 8).value(run([4.0, math.nan, 1.0, 1.0])) is None
    assert area(NONE, 2, 8).value(run(LOSSES)) is None


def test_time_to_a_threshold() -> None:
    """The first evaluation at least as good, in epochs, steps or seconds; never is the bad end, also for accuracy."""
    units = {unit: time_to(LOSS, 2.0, unit).value(run(LOSSES)) for unit in ("epoch", "step", "second")}  # type: ignore[arg-type]
    assert units == {"epoch": 4.0, "step": 40.0, "second": 2.0}
    assert time_to(LOSS, 0.9, "epoch").value(run(LOSSES)) == math.inf
    rising = run([0.8, 0.4, 0.5, 0.3])
    assert time_to(ACCURACY, 0.6, "epoch").value(rising) == 4.0
    assert time_to(ACCURACY, 0.9, "epoch").value(rising) == math.inf


def test_time_of_runs_that_did_not_end() -> None:
    """A run that diverged never got there, whatever it crossed before; one that is not finished may yet."""
    for status in ("failed", "unfinished"):
        assert time_to(LOSS, 2.0, "epoch").value(run(LOSSES, status)) == 4.0
    assert time_to(LOSS, 2.0, "epoch").value(run([4.0, 1.0, math.nan], "diverged")) == math.inf
    assert time_to(LOSS, 0.5, "epoch").value(run([4.0, math.nan], "diverged")) == math.inf
    assert time_to(LOSS, 0.5, "epoch").value(run(LOSSES, "unfinished")) is None
    assert time_to(LOSS, 0.5, "epoch").value(run(LOSSES, "failed")) is None
    assert time_to(NONE, 0.5, "epoch").value(run(LOSSES)) is None
    assert time_to(NONE, 0.5, "epoch").value(run(LOSSES, "diverged")) is None


def test_spread() -> None:
    """The sample standard deviation of the last evaluations; None where there are too few."""
    assert spread(LOSS, 2).value(run(LOSSES)) == pytest.approx(0.5 / math.sqrt(2))
    assert spread(LOSS, 4).value(run(LOSSES)) == pytest.approx(1.3149778198382918)
    assert spread(LOSS, 5).value(run(LOSSES)) is None
    assert spread(LOSS, 2).value(run([1.0, math.nan])) is None


def test_names_and_directions() -> None:
    """Each measure says what it is, to files and to people, which end is good and by which word."""
    measures = [
        metric_at(Metric("test/accuracy"), "best"),
        metric_at(Metric("train/loss"), At(epoch=50)),
        metric_at(Metric("train/loss"), At(step=50)),
        metric_at(Metric("diagnostics/model/val/accuracy with batch statistics"), "last"),
        metric_at(Metric("diagnostics/*/gradient norm"), "mean"),
        metric_at(Metric("diagnostics/hidden.0/gamma mean"), "last"),
        time_to(ACCURACY, 0.91234, "step"),
        area(ACCURACY, 1, 20),
        spread(ACCURACY, 5),
    ]
    assert [(m.name, m.words, m.higher_is_better, m.better) for m in measures] == [
        ("test/accuracy at best", "test accuracy (best weights)", True, "better"),
        ("train/loss at epoch 50", "training loss at epoch 50", False, "better"),
        ("train/loss at step 50", "training loss at step 50", False, "better"),
        (
            *("diagnostics/model/val/accuracy with batch statistics at last",),
            *("validation accuracy with batch statistics at the last epoch", True, "better"),
        ),
        (
            *("diagnostics/*/gradient norm over all evaluations",),
            *("gradient norm (mean of the layers) over all evaluations", False, "better"),
        ),
        ("diagnostics/hidden.0/gamma mean at last", "gamma mean in hidden.0 at the last epoch", False, "better"),
        ("steps to val/accuracy 0.9123", "steps to validation accuracy 91.23 %", False, "faster"),
        (
            *("mean val/accuracy over epochs 1 to 20", "mean validation accuracy over epochs 1 to 20"),
            *(True, "better"),
        ),
        (
            *(
                "sd of val/accuracy over the last 5 evaluations",
                "sd of validation accuracy over the last 5 evaluations",
            ),
            *(False, "steadier"),
        ),
    ]
