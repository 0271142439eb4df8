"""The overview, read back from its axes, and how variants look in every figure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from drawing import NAN, data, grid, legend, note, run
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from bncompare.figures import overview
from bncompare.figures.looks import BATCH_FAMILY, HUES, looks
from bncompare.figures.overview import moved_apart
from bncompare.norms import NORMS
from bncompare.runs import LoadedRun

SETUP = {
    "model": {"name": "mlp", "activation": "sigmoid"},
    "data": {"name": "fashion_mnist", "validation": 0.1},
    "training": {"optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 64},
}


def classified(variant: str, seed: int, accuracies: Sequence[float], **more: Any) -> LoadedRun:
    """A run whose losses are 1 − accuracy, in training twice the accuracy of validation."""
    losses = [1 - accuracy for accuracy in accuracies]
    columns = {"train/loss": losses, "train/accuracy": [2 * a for a in accuracies], "val/accuracy": accuracies}
    made = run(variant, seed, losses, **columns, **more)
    config = made.config | SETUP
    return replace(made, config=config | {"model": SETUP["model"] | {"norm": {"kind": variant}}})


def both() -> list[LoadedRun]:
    none = [classified("none", seed, [0.1, 0.1, 0.1]) for seed in range(3)]
    return none + [classified("batch", seed, [0.2, 0.3 + 0.05 * seed, 0.4 - 0.1 * seed]) for seed in range(3)]


def drawn(runs: Sequence[LoadedRun], **options: Any) -> Figure:
    figure = overview(runs, **options).figure
    figure.draw_without_rendering()
    return figure


def title(figure: Figure) -> str:
    return figure.get_suptitle().replace("\n", " ")


# ---------------------------------------------------------------- overview


def test_four_panels() -> None:
    """Loss above accuracy, training beside validation, means of the variants in each, one legend, one title."""
    figure = drawn(both())
    labels = ["training loss (cross-entropy, nats)", "validation loss (cross-entropy, nats)"]
    labels += ["training accuracy (%)", "validation accuracy (%)"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == labels
    none, batch = data(figure.axes[3], "mean")
    assert none == [(1, pytest.approx(0.1)), (2, pytest.approx(0.1)), (3, pytest.approx(0.1))]
    assert batch[-1] == (3, pytest.approx(0.3))
    assert legend(figure.axes[0]) == ["no norm", "BatchNorm", "best epoch, mean"]
    assert title(figure) == "e: MLP (sigmoid) on Fashion-MNIST, SGD 0.1, batch size 64"
    assert note(figure) == "mean of 3 seeds, shaded: lowest to highest seed, thin: single seeds, dotted: chance"


def test_values_at_the_ends() -> None:
    """Each mean's last value stands at the right, in its colour, at its height unless another is too near."""
    axes = drawn(both()).axes[3]
    ends = {text.get_text(): text for text in axes.texts if text.get_gid() == "end"}
    assert list(ends) == ["10.0", "30.0"]
    assert [text.get_color() for text in ends.values()] == [HUES["none"], HUES["batch"]]
    low, high = axes.get_ylim()
    heights = [text.xy[1] for text in ends.values()]  # type: ignore[attr-defined]
    assert heights == pytest.approx([(value - low) / (high - low) for value in (0.1, 0.3)])


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([0.1, 0.5], [0.1, 0.5]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.52, 0.48], [0.55, 0.45]),
        ([0.0, 0.0, 0.5], [0.0, 0.1, 0.5]),
        ([1.0, 0.98, 0.2], [1.0, 0.9, 0.2]),
        ([0.5, 0.5, 0.5, 0.62], [0.38, 0.48, 0.58, 0.68]),
        ([], []),
    ],
)
def test_moved_apart(places: list[float], expected: list[float]) -> None:
    """None nearer than the gap of 0.1, in their order, within 0 to 1, and no farther from their place than needed."""
    assert moved_apart(places, 0.1) == pytest.approx(expected)


def test_best_epoch_and_chance() -> None:
    """A ring at the mean best epoch on the mean's line, of the held-out metrics; a dotted line at a tenth."""
    figure = drawn(both())
    # The least loss is in epochs 3, 2 (0.35 against 0.3) and 2; interpolated between means 0.35 and 0.3.
    _, ((epoch, value),) = data(figure.axes[3], "best")
    assert (epoch, value) == (pytest.approx(7 / 3), pytest.approx(0.35 - 0.05 / 3))
    assert [len(data(axes, "best")) for axes in figure.axes] == [0, 2, 0, 2]
    assert [len(data(axes, "chance")) for axes in figure.axes] == [0, 0, 0, 1], "where it is in sight"
    assert {y for _, y in data(figure.axes[3], "chance")[0]} == {0.1}


def test_regression_and_test_metrics() -> None:
    """Losses alone have one row; without a validation set the test's loss at the end stands beside training."""
    runs = [run("none", seed, [3.0, 2.0], metric="train/loss") for seed in range(2)]
    ended = [
        replace(r, result=r.result.model_copy(update={"last": {"epoch": 2.0, "test/loss": 4.0}}))
        for r in runs
        if r.result
    ]
    training, test = drawn(ended).axes
    assert [training.get_title(loc="left"), test.get_title(loc="left")] == [
        "training loss (mean squared error)",
        "test loss (mean squared error)",
    ]
    assert data(test, "mean") == [[(2, 4)]]
    assert test.get_xlim() == training.get_xlim()


def test_where_the_test_set_is_the_validation_set() -> None:
    """Its metrics are called those of the test."""
    runs = [replace(r, config=r.config | {"data": {"validation": "test"}}) for r in both()]
    assert drawn(runs).axes[3].get_title(loc="left") == "test accuracy (%)"


def test_a_sweep_shows_the_chosen() -> None:
    """Each norm with its chosen setting, and the title says so; what differs is not in it."""
    figure = drawn(grid({norm: {rate: [rate, rate] for rate in (0.1, 0.2, 0.3)} for norm in ("none", "batch")}))
    assert legend(figure.axes[0]) == ["no norm, lr 0.1", "BatchNorm, lr 0.1"]
    assert title(figure) == "e: each norm with its chosen setting"


def test_many_norms() -> None:
    """The baseline and the seven best on the validation set, said in the title."""
    runs = [run(norm, 0, [2.0, 1.0 + 0.01 * i]) for i, norm in enumerate(reversed([*NORMS]))]
    figure = drawn(runs)
    assert len(legend(figure.axes[0])) == 9
    assert [line[-1][1] for line in data(figure.axes[0], "mean")] == pytest.approx(
        [*(1 + 0.01 * i for i in range(7)), 1 + 0.01 * (len(NORMS) - 1)]
    )
    assert title(figure) == f"e: no norm and the 7 best of {len(NORMS) - 1} others"


def test_runs_without_a_value() -> None:
    """All diverged: marks and counts, and the panel says that there is nothing; nothing evaluated is no error."""
    (axes,) = drawn([run("none", seed, [1.0, NAN], status="diverged") for seed in range(2)]).axes
    assert [text.get_text() for text in axes.texts] == ["no run has a value"]
    assert legend(axes) == ["no norm (2 diverged)", "diverged"]
    drawn([run("none", 0, [], status="unfinished")])


# ---------------------------------------------------------------- looks


def of_norms(*norms: str) -> list[LoadedRun]:
    return [run(norm, 0, [1.0]) for norm in norms]


def swept() -> list[LoadedRun]:
    return grid({norm: {rate: [1.0] for rate in (0.01, 0.03, 0.1, 0.3, 1.0)} for norm in ("none", "batch")})


def labelled(number: int) -> list[LoadedRun]:
    return [run(f"label {i}", 0, [1.0], settings={"model.norm": "batch"}) for i in range(number)]


@pytest.mark.parametrize("runs", [of_norms(*NORMS), swept(), labelled(12), labelled(40)], ids=len)
def test_no_two_variants_look_the_same(runs: list[LoadedRun]) -> None:
    """No two share both colour and stroke: of every kind, of few kinds many times, of one kind alone."""
    found = looks(runs)
    assert len({(look.color.lower(), str(look.line)) for look in found.values()}) == len(found) == len(runs)


@pytest.mark.parametrize(
    ("runs", "number"), [(labelled(3), 3), (labelled(12), 12), (swept(), 6)], ids=["few", "many", "sweep"]
)
def test_colours_of_many_variants(runs: list[LoadedRun], number: int) -> None:
    """Of one norm alone each has its own, from dark to bright; beside others it keeps to the tones of its norm."""
    colors = list(dict.fromkeys(look.color for look in looks(runs).values()))
    assert len(colors) == number
    if number == 12:
        brightness = [sum(to_rgb(color)) for color in colors]
        assert brightness == sorted(brightness)


def test_a_colour_belongs_to_a_norm() -> None:
    """Whatever stands beside it, in whatever order; norms by name, variants of one in tones of one hue."""
    assert HUES.keys() | BATCH_FAMILY.keys() == set(NORMS)
    for runs in (of_norms("batch", "none"), of_norms("none", "layer", "rms", "batch"), swept()):
        found = looks(runs)
        first = next(look for variant, look in found.items() if variant.startswith("batch"))
        assert first[:2] == (HUES["batch"], "-")
    assert len({to_hex(hue) for hue in (*HUES.values(), *BATCH_FAMILY.values())}) == len(NORMS)
    assert looks(of_norms("of another package"))["of another package"].color not in {*HUES.values()}
