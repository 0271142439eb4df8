"""Which figures the runs of an experiment get, what their captions say, and the files they become."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawing import MAGIC, NAN, data, drawn, grid, legend, lines, measured, names, run, seeds, swept, texts
from matplotlib.text import Text

from bncompare.errors import UserError, printable
from bncompare.figures import colour_mapped, experiment_figures, render
from bncompare.figures.diagnostics import diagnostic_figures
from bncompare.figures.looks import HUES
from bncompare.figures.settings import hyperparameter_words
from bncompare.figures.style import MAX_ROWS
from bncompare.runs import LoadedRun


def two_variants() -> list[LoadedRun]:
    """`batch` is lower by 0.5, 0.6, … and reaches 1.0 in the second of three epochs, `none` in the third."""
    none = [run("none", s, [3.0, 2.0, 1.0 - 0.01 * s]) for s in range(4)]
    return none + [run("batch", s, [2.0, 1.0 - 0.01 * s, 0.5 - 0.1 * s]) for s in range(4)]


def rates(*norms: str) -> list[LoadedRun]:
    """A norm × learning-rate grid in which `none` diverges at 1.0 and all are best at 0.1."""
    losses = {rate: 1.0 + abs(math.log10(rate) + 1) for rate in (0.01, 0.1, 1.0)}
    return grid(
        {
            norm: {
                rate: [None if (norm, rate) == ("none", 1.0) else loss - 0.1 * i + 0.01 * seed for seed in range(3)]
                for rate, loss in losses.items()
            }
            for i, norm in enumerate(norms)
        }
    )


# ---------------------------------------------------------------- which


DIFFERENCES, TIMES = "differences-val-loss-best", "epochs-to-val-loss"
BY_SETTING = "val-loss-by-setting"
SWEEP = ["sensitivity-val-loss-by-lr", "heat-map-val-loss-by-lr"]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param(two_variants(), ["overview", "val-loss", DIFFERENCES, TIMES], id="two variants"),
        pytest.param(
            rates("none", "batch"), ["overview", "val-loss", BY_SETTING, DIFFERENCES, *SWEEP, TIMES], id="a grid"
        ),
        pytest.param(
            rates("batch"), ["overview", "val-loss", DIFFERENCES, SWEEP[0], TIMES], id="a heat map needs two rows"
        ),
        pytest.param(seeds([2.0, 1.0], [2.0, 1.0]), ["overview", "val-loss"], id="nothing is compared"),
        pytest.param(
            [run("none", 0, [2.0, 1.0]), run("batch", 0, [0.9, 0.5])], ["overview", "val-loss", TIMES], id="one seed"
        ),
        pytest.param(
            [*seeds([2.0, 1.0], [2.0, 1.0]), *seeds([2.0, 1.0], [2.0, 1.0], variant="none")],
            ["overview", "val-loss", DIFFERENCES],
            id="all times are equal",
        ),
        pytest.param([run(v, 9, [], status="unfinished") for v in ("none", "batch")], [], id="no evaluation"),
    ],
)
def test_which_figures_fit(runs: list[LoadedRun], expected: list[str]) -> None:
    """Curves, differences per seed, the sweep, the time to a threshold: each where there is something to tell."""
    assert list(drawn(runs)) == expected


def test_chosen_metrics() -> None:
    """`metrics` leaves out all else; the learning rate is drawn only when asked for, and never compared."""
    runs = [replace(r, metrics=r.metrics | {"train/accuracy": [0.5] * 3}) for r in two_variants()]
    assert {"train-accuracy", "val-loss"} <= drawn(runs).keys()
    assert list(drawn(runs, metrics=["lr"])) == ["lr"]
    assert list(drawn(runs, metrics=["lr", "val/loss"])) == ["val-loss", "lr", DIFFERENCES, TIMES]
    assert list(drawn(rates("none", "batch"), metrics=["val/loss"]))[3:5] == SWEEP


def test_what_cannot_be_drawn() -> None:
    """A metric that no run has is an error; runs of two experiments are no experiment. Found before all is drawn."""
    with pytest.raises(UserError, match="val/accuracy"):
        drawn(two_variants(), metrics=["val/accuracy"])
    with pytest.raises(UserError, match="2 experiments"):
        next(iter(experiment_figures([*two_variants(), run("none", 0, [1.0, 2.0], experiment="other")])))


def test_runs_that_have_just_begun_do_no_harm() -> None:
    """They have nothing to show, and the others have their figures."""
    begun = [run(variant, 9, [], status="unfinished") for variant in ("none", "batch")]
    assert list(drawn([*begun, *two_variants()])) == list(drawn(two_variants()))


def test_which_figures_are_colour_maps() -> None:
    """By what is drawn, whatever a figure is called: a heat map is one, bands and dots are none."""
    found = drawn(rates("none", "batch"))
    assert [name for name, figure in found.items() if any(map(colour_mapped, figure.figure.axes))] == [SWEEP[1]]


# ---------------------------------------------------------------- what is in them


@pytest.mark.parametrize(("x", "at"), [("epoch", [1, 2, 3]), ("step", [2, 4, 6])])
def test_curves(x: Any, at: list[float]) -> None:
    """The mean of each variant over epochs or steps; title and caption. The order of the runs does not matter."""
    figure = drawn(two_variants(), x=x, title="a title")["val-loss"]
    (axes,) = figure.figure.axes
    none, batch = data(axes, "mean")
    assert none == [(at[0], 3), (at[1], 2), (at[2], pytest.approx(0.985))]
    assert batch[-1] == (at[2], pytest.approx(0.35))
    assert (figure.figure.get_suptitle().strip(), axes.get_xlabel()) == ("a title", x)
    ends = f"no norm ends at 0.985 ({x} {at[2]}); BatchNorm ends at 0.350 ({x} {at[2]})"
    assert figure.caption == f"Validation loss over {x}s, mean over seeds: {ends}."
    backward = data(drawn(two_variants()[::-1], x=x)["val-loss"].figure.axes[0], "mean")
    assert np.asarray(backward) == pytest.approx(np.asarray([batch, none]))


def test_a_caption_counts_and_has_units() -> None:
    """Accuracies are in percent; runs that stopped early or diverged are counted."""
    runs = [run("none", 0, [0.5], metric="val/accuracy", status="stopped_early")]
    runs.append(run("none", 1, [NAN], metric="val/accuracy", status="diverged"))
    ends = "no norm ends at 50.0 % (epoch 1); 1 of 2 runs stopped early; 1 of 2 runs diverged"
    assert drawn(runs)["val-accuracy"].caption == f"Validation accuracy over epochs, mean over seeds: {ends}."


def test_differences() -> None:
    """Each seed's difference at the best evaluation, later variant − baseline; the caption has the means."""
    figure = drawn(two_variants())[DIFFERENCES]
    (axes,) = figure.figure.axes
    assert [x for x, _ in data(axes, "seeds")[0]] == pytest.approx([-0.5, -0.59, -0.68, -0.77])
    assert names(axes) == ["BatchNorm"]
    what = "Differences in validation loss at the best epoch from no norm, a dot a seed"
    assert figure.caption == f"{what}; means: BatchNorm −0.64."


def test_sensitivity_and_heat_map() -> None:
    """A line a norm over the rates, and the same numbers in cells; the captions say what was chosen and lost."""
    lines, cells = (drawn(rates("none", "batch"))[name] for name in SWEEP)
    none, batch = ([y for _, y in line] for line in data(lines.figure.axes[0], "mean"))
    assert none == pytest.approx([2.01, 1.01])
    assert batch == pytest.approx([1.91, 0.91, 1.91])
    assert texts(cells.figure.axes[0]) == ["2.01", "1.01", "✕ 3/3", "1.91", "0.910", "1.91"]
    chosen = "chosen on the validation set: no norm, lr 0.1, BatchNorm, lr 0.1; 3 runs diverged"
    caption = f"Validation loss of no norm, BatchNorm by learning rate; {chosen}"
    assert (lines.caption, cells.caption) == (f"{caption}.", f"{caption}; as a heat map.")


def test_chosen_settings_have_the_colour_of_their_norm() -> None:
    """Whatever other settings of a norm there are, the differences and times of the chosen one are in its colour."""
    found = drawn(rates("none", "batch"))
    colors = [line.get_color() for line in lines(found[DIFFERENCES].figure.axes[0], "mean")]
    colors += [line.get_color() for line in lines(found[TIMES].figure.axes[0], "reached")]
    assert colors == [HUES["batch"], HUES["none"], HUES["batch"]]


def test_a_grid_of_two_hyperparameters() -> None:
    """The one with more values is the axis, the other tells rows apart; words are values as well. Curves of every
    setting have a panel each, with the norms in it."""
    keys = ("model.norm", "training.optimizer.lr", "training.batch_size")
    settings = [(norm, rate, size) for norm in ("none", "batch") for rate in (0.1, 0.2, 0.4) for size in (16, "full")]
    runs = [
        run(" ".join(map(str, of)), seed, [2.0, 1.0 + of[1]], settings=dict(zip(keys, of, strict=True)))
        for of in settings
        for seed in range(2)
    ]
    lines, cells = (drawn(runs)[name].figure.axes[0] for name in SWEEP)
    assert legend(lines) == ["no norm", "BatchNorm", "best of a norm"]
    panels = drawn(runs)[BY_SETTING].figure.axes
    assert [axes.get_title(loc="left") for axes in panels[2:4]] == ["lr 0.4\nbatch size 16", "lr 0.1\nfull"]
    assert [[y for _, y in line] for line in data(panels[2], "mean")] == [[2, 1.4]] * 2
    assert len(texts(cells)) == 12


@pytest.mark.parametrize(("x", "factor"), [("epoch", 1), ("step", 2)])
def test_times(x: Any, factor: int) -> None:
    """Epochs (or steps) and seconds until the threshold; never is counted for the diverged."""
    runs = [*two_variants(), run("batch", 4, [2.0, NAN], status="diverged"), run("none", 4, [2.0, 1.5, 0.9])]
    figure = drawn(runs, x=x)[f"{x}s-to-val-loss"]
    first, seconds = figure.figure.axes
    assert [[at for at, _ in dots] for dots in data(first, "reached")] == [[3 * factor] * 5, [2 * factor] * 4]
    assert [len(marks) for marks in data(first, "never")] == [1]
    assert [at for at, _ in data(seconds, "reached")[0]] == [1.5] * 5
    told = f"no norm in {3 * factor} {x}s; BatchNorm in {2 * factor} {x}s, never in 1 of 5 runs"
    assert figure.caption == f"Time to validation loss ≤ 1.175, median: {told}."


def test_a_median_that_is_never() -> None:
    """Where half of the runs or more never get there the caption gives no time."""
    runs = [*two_variants(), *seeds([2.0, NAN], [2.0, NAN], variant="layer", status="diverged")]
    caption = drawn(runs)[TIMES].caption
    assert caption.endswith("BatchNorm in 2 epochs; LayerNorm without one, never in 2 of 2 runs.")


def test_captions_of_many_variants_are_short() -> None:
    """More than four variants are not gone through one by one, and rows end at thirty."""
    made = drawn([run(f"v{i:02}", s, [2.0, 1.0 + 0.01 * i, 0.5]) for i in range(40) for s in range(3)])
    assert made["val-loss"].caption == (
        "Validation loss over epochs, mean over seeds: of 8 variants v00 ends lowest, at 0.500; "
        "v00 highest, at 0.500."
    )
    assert all(len(figure.caption) < 600 for figure in made.values())
    assert len(names(made[DIFFERENCES].figure.axes[0])) == MAX_ROWS


# ---------------------------------------------------------------- files


HOSTILE = [
    *("$\\frac$", "_hidden", "<script>", "a" * 120, "{a} %s \\", "𝛾 正規化 \u202ex"),
    *("line\u2028break", "a\u202eb\u200bc\u3164\x1b"),
]


@pytest.mark.parametrize("format", ["png", "svg"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_name_can_be_drawn(format: str) -> None:
    """Names are text in every kind of figure: never formulas, never errors; they show all they hold, in order."""
    runs = [run(name, s, [1.0 + i, 0.5 + 0.01 * i + s]) for i, name in enumerate(HOSTILE) for s in range(2)]
    layers = {("hidden.0", "gamma mean"): [1.0, 2.0], ("hidden.1", "gamma mean"): [1.0, 2.0]}
    found = [
        *drawn(runs, title=HOSTILE[-1]).values(),
        *drawn(runs[:12], title=HOSTILE[-1], metrics=["lr"]).values(),  # in one set of axes, not in panels
        *diagnostic_figures([measured(name, 0, layers) for name in HOSTILE], title=HOSTILE[-1]),
    ]
    assert len(found) == 6
    made = [named.figure for named in found]
    made += swept({name: {HOSTILE[1]: [1.0, None], 0.1: [2.0, 1.0]} for name in HOSTILE}).values()
    for figure in made:
        assert render(figure, format).startswith(MAGIC[format])
        lines = [line for text in figure.findobj(Text) for line in text.get_text().split("\n")]
        assert lines == [*map(printable, lines)]


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_same_data_same_bytes(format: str) -> None:
    """Figures made of the same data are the same file, of the format asked for: no dates, no random ids."""

    def files() -> list[bytes]:
        found = drawn(two_variants())
        return [render(found[name].figure, format) for name in ("overview", "val-loss")]

    first = files()
    assert first == files()
    assert all(content.startswith(MAGIC[format]) for content in first)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("training.optimizer.lr", "learning rate"),
        ("training.batch_size", "batch size"),
        ("model.activation", "activation"),
    ],
)
def test_hyperparameters_have_words(key: str, words: str) -> None:
    """No axis is called by a config's key."""
    assert hyperparameter_words(key) == words
