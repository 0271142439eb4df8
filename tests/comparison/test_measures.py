"""Measures: a number of one run, by hand, and what is said of runs that have none."""

import math
from pathlib import Path

import pytest

from bncompare.comparison.measures import area, at_evaluation, spread, time_to
from bncompare.config.claims import At
from bncompare.runs.documents import Result
from bncompare.runs.read import LoadedRun


def run(losses: list[float], status: str = "completed", *, accuracies: list[float] | None = None) -> LoadedRun:
    """A run with an evaluation every second epoch, ten steps and half a second each."""
    n = len(losses)
    metrics = {"epoch": [2.0 * (i + 1) for i in range(n)], "step": [10.0 * (i + 1) for i in range(n)]}
    metrics |= {"val/loss": losses, **({"val/accuracy": accuracies} if accuracies else {})}
    best = {"val/loss": min(losses), "test/loss": 7.0} if n else {}
    last = {"val/loss": losses[-1], "test/loss": 8.0} if n else {}
    ended = {"status": status, "best": best, "last": last}
    result = Result.model_validate(ended) if status != "unfinished" else None
    elapsed = [0.5 * (i + 1) for i in range(n)]
    return LoadedRun(Path("x"), "x", "none", 0, 0, {"variant": {}}, metrics, n * 0.5, result, elapsed)


LOSSES = [4.0, 2.0, 1.0, 1.5]


def test_at_an_evaluation() -> None:
    """Best and last come from the result, an epoch or a step from its row; what is not there is None."""
    assert at_evaluation("val/loss", "best").value(run(LOSSES)) == 1.0
    assert at_evaluation("val/loss", "last").value(run(LOSSES)) == 1.5
    assert at_evaluation("test/loss", "best").value(run(LOSSES)) == 7.0
    assert at_evaluation("val/loss", At(epoch=4)).value(run(LOSSES)) == 2.0
    assert at_evaluation("val/loss", At(step=10)).value(run(LOSSES)) == 4.0
    assert at_evaluation("val/loss", At(epoch=3)).value(run(LOSSES)) is None
    assert at_evaluation("test/accuracy", "best").value(run(LOSSES)) is None
    assert at_evaluation("val/loss", At(step=10)).value(run([math.nan])) is None


@pytest.mark.parametrize(
    ("status", "of_loss", "of_accuracy"),
    [("diverged", math.inf, -math.inf), ("failed", None, None), ("unfinished", None, None)],
)
def test_runs_without_a_value(status: str, of_loss: float | None, of_accuracy: float | None) -> None:
    """A diverged run is at the bad end of the metric; a failed or unfinished one says nothing."""
    ended = run(LOSSES, status, accuracies=[0.1, 0.2, 0.3, 0.4])
    assert at_evaluation("val/loss", "best").value(ended) == of_loss
    assert at_evaluation("val/accuracy", "last").value(ended) == of_accuracy
    assert area("val/loss", 2, 8).value(ended) == (of_loss if status == "diverged" else area_by_hand())
    assert spread("val/accuracy", 2).value(ended) == of_loss


def area_by_hand() -> float:
    return ((4 + 2) / 2 * 2 + (2 + 1) / 2 * 2 + (1 + 1.5) / 2 * 2) / 6


def test_area() -> None:
    """Trapezoids over epochs, divided by the distance: the mean of the metric, whatever the spacing."""
    assert area("val/loss", 2, 8).value(run(LOSSES)) == pytest.approx(area_by_hand())
    assert area("val/loss", 4, 6).value(run(LOSSES)) == pytest.approx(1.5)
    assert area("val/loss", 2, 8).value(run([3.0] * 4)) == pytest.approx(3.0)
    assert area("val/loss", 2, 10).value(run(LOSSES)) is None  # which ended before
    assert area("val/loss", 2, 8).value(run([4.0, math.nan, 1.0, 1.0])) is None
    assert area("val/accuracy", 2, 8).value(run(LOSSES)) is None


def test_time_to_a_threshold() -> None:
    """The first evaluation at least as good, in epochs, steps or seconds; never is the bad end, also for accuracy."""
    units = {unit: time_to("val/loss", 2.0, unit).value(run(LOSSES)) for unit in ("epoch", "step", "second")}  # type: ignore[arg-type]
    assert units == {"epoch": 4.0, "step": 20.0, "second": 1.0}
    assert time_to("val/loss", 0.9, "epoch").value(run(LOSSES)) == math.inf
    rising = run(LOSSES, accuracies=[0.2, 0.6, 0.5, 0.7])
    assert time_to("val/accuracy", 0.6, "epoch").value(rising) == 4.0
    assert time_to("val/accuracy", 0.9, "epoch").value(rising) == math.inf


def test_time_of_runs_that_did_not_end() -> None:
    """A run that diverged never got there, whatever it crossed before; one that is not finished may yet."""
    for status in ("failed", "unfinished"):
        assert time_to("val/loss", 2.0, "epoch").value(run(LOSSES, status)) == 4.0
    assert time_to("val/loss", 2.0, "epoch").value(run([4.0, 1.0, math.nan], "diverged")) == math.inf
    assert time_to("val/loss", 0.5, "epoch").value(run([4.0, math.nan], "diverged")) == math.inf
    assert time_to("val/loss", 0.5, "epoch").value(run(LOSSES, "unfinished")) is None
    assert time_to("val/loss", 0.5, "epoch").value(run(LOSSES, "failed")) is None
    assert time_to("val/accuracy", 0.5, "epoch").value(run(LOSSES)) is None
    assert time_to("val/accuracy", 0.5, "epoch").value(run(LOSSES, "diverged")) is None


def test_spread() -> None:
    """The sample standard deviation of the last evaluations; None where there are too few."""
    assert spread("val/loss", 2).value(run(LOSSES)) == pytest.approx(0.5 / math.sqrt(2))
    assert spread("val/loss", 4).value(run(LOSSES)) == pytest.approx(1.3149778198382918)
    assert spread("val/loss", 5).value(run(LOSSES)) is None
    assert spread("val/loss", 2).value(run([1.0, math.nan])) is None


def test_names_and_directions() -> None:
    """Each measure says what it is, which end is good and by which word."""
    measures = [
        at_evaluation("test/accuracy", "best"),
        at_evaluation("train/loss", At(epoch=50)),
        at_evaluation("train/loss", At(step=50)),
        time_to("val/accuracy", 0.91234, "step"),
        area("val/accuracy", 1, 20),
        spread("val/accuracy", 5),
    ]
    assert [(m.name, m.higher_is_better, m.better) for m in measures] == [
        ("test/accuracy at the best evaluation", True, "better"),
        ("train/loss at epoch 50", False, "better"),
        ("train/loss at step 50", False, "better"),
        ("steps to val/accuracy 0.9123", False, "faster"),
        ("mean val/accuracy over epochs 1 to 20", True, "better"),
        ("sd of val/accuracy over the last 5 evaluations", False, "steadier"),
    ]
