"""The tuning curve, and points of several hyperparameters, read back from their axes."""

import math
from collections.abc import Mapping, Sequence

import pytest
from drawing import data, note
from kit import compare, loaded_run

from bncompare.config import made_label
from bncompare.figures.choice import shown_of
from bncompare.figures.sweeps import sweep_figures
from bncompare.figures.tuning import tuning_curves
from bncompare.runs import LoadedRun, experiments

LR, MOMENTUM, NORM = "training.optimizer.lr", "training.optimizer.momentum", "model.norm"


def tuned(of: Mapping[str, Sequence[float | str]], *more: tuple[str, float]) -> list[LoadedRun]:
    """Of each norm the validation losses of its trials, with seeds 0 and 1; the best also with 2 and 3."""
    runs = []
    for norm, losses in of.items():
        best = min(value for value in losses if not isinstance(value, str))
        for i, value in enumerate(losses):
            settings = {NORM: norm, LR: 0.1 * 2**i} | {key: scale * (len(losses) - i) for key, scale in more}
            ending = ((9.0, math.nan), value) if isinstance(value, str) else ((9.0, value), "completed")
            label = made_label(settings)
            for seed in (0, 1, 2, 3) if value == best else (0, 1):
                runs.append(loaded_run(label, seed, *ending, settings=settings, tuning_seeds=[0, 1]))
    return experiments(runs)[0].runs


def test_the_tuning_curve() -> None:
    """The expected best of so many trials: from the mean to the best; with a diverged trial from two trials on."""
    runs = tuned({"none": [0.8, 0.4, "diverged"], "batch": [0.3, 0.6, 0.9]})
    comparison = compare(runs)
    assert comparison.tuning is not None
    assert comparison.sensitivity is not None
    named = tuning_curves(comparison.tuning, comparison.sensitivity, runs, title="e")
    (axes,) = named.figure.axes
    none, batch = data(axes, "expected")
    assert [x for x, _ in batch] == [1, 2, 3]
    assert [y for _, y in batch] == pytest.approx([0.6, (0.3 + 0.3 + 0.6) / 3, 0.3])
    assert [y for _, y in none if not math.isnan(y)] == pytest.approx([(0.4 + 0.8 + 0.4) / 3, 0.4])
    assert axes.get_xlabel() == "trials"
    assert axes.get_ylabel().startswith("best validation loss")
    assert [text.get_text() for text in named.figure.legends[0].get_texts()] == ["no norm", "BatchNorm"]
    assert named.name == "tuning-val-loss"
    assert "no norm 0.400 after 3 trials (1 without a value)" in named.caption
    assert "BatchNorm at every number of trials" in named.caption
    assert "mean of 2 seeds each" in note(named.figure).replace("\n", " ")


def test_curves_are_of_the_seeds_that_judge() -> None:
    """Of the chosen setting of each norm."""
    runs = tuned({"none": [0.8, 0.4], "batch": [0.3, 0.6]})
    shown = shown_of(runs, compare(runs).sensitivity)
    assert {(run.variant, run.seed) for run in shown.runs} == {
        (variant, seed) for variant in ("no norm, lr 0.2", "BatchNorm, lr 0.1") for seed in (2, 3)
    }


def test_points_of_several_hyperparameters() -> None:
    """A figure for each, with every mean at its place and no line between; no heat map."""
    runs = tuned({"none": [0.8, 0.4, 0.5], "batch": [0.3, 0.6, 0.9]}, (MOMENTUM, 0.1))
    table = compare(runs).sensitivity
    assert table is not None
    by_rate, by_momentum = sweep_figures(table, runs, title="e")
    assert (by_rate.name, by_momentum.name) == ("sensitivity-val-loss-by-lr", "sensitivity-val-loss-by-momentum")
    none, _ = data(by_momentum.figure.axes[0], "mean")
    assert [x for x, _ in none] == pytest.approx([0.1, 0.2, 0.3])
    assert [y for _, y in none] == pytest.approx([0.5, 0.4, 0.8])
    strokes = {line.get_linestyle() for line in by_momentum.figure.axes[0].lines if line.get_gid() == "mean"}
    assert strokes == {"None"}
    assert "learning rate differ from point to point" in note(by_momentum.figure).replace("\n", " ")
