"""`tune` and `judge_seeds` of a config: the points, the same for every norm, and the seeds of both parts."""

import json
from pathlib import Path
from typing import Any

import pytest

from bncompare.config import Experiment, load_experiment, tuning_options
from bncompare.config.tuning import Values, sobol_points
from bncompare.errors import UserError

LR, NORM = "training.optimizer.lr", "model.norm"
BASE = """\
name: x
seeds: 5
data: {name: random_regression, samples: 64, features: 3, validation: 16}
model: {name: mlp, hidden: [4]}
training: {epochs: 1, batch_size: 8, optimizer: {name: sgd, lr: 0.1}}
compare: {model.norm: [none, batch, layer]}
"""
TUNE = "tune: {over: {training.optimizer.lr: {log: [1.0e-4, 3]}, training.batch_size: [8, 16]}, trials: 8}\n"
GRID = BASE.replace("layer]", "layer], training.optimizer.lr: [0.1, 0.2]") + "judge_seeds: 3\n"


def load(folder: Path, text: str, **options: Any) -> Experiment:
    path = folder / "config.yaml"
    path.write_text(text)
    return load_experiment(path, **options)


def points_by_norm(experiment: Experiment) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for run in experiment.runs:
        settings = dict(run.variant.settings)
        found.setdefault(settings.pop(NORM), []).append(json.dumps(settings))
    return {norm: list(dict.fromkeys(settings)) for norm, settings in found.items()}


def test_every_norm_is_tried_at_the_same_points(tmp_path: Path) -> None:
    """Eight different ones, in range, a config's always the same; more trials go on from fewer."""
    by_norm = points_by_norm(load(tmp_path, BASE + TUNE))
    assert list(by_norm) == ["none", "batch", "layer"]
    assert by_norm["none"] == by_norm["batch"] == by_norm["layer"]
    assert len(by_norm["none"]) == 8
    rates = [json.loads(point)[LR] for point in by_norm["none"]]
    assert all(1e-4 <= rate <= 3 for rate in rates)
    assert all(rate == float(f"{rate:.3g}") for rate in rates)
    assert points_by_norm(load(tmp_path, BASE + TUNE)) == by_norm
    more = points_by_norm(load(tmp_path, BASE + TUNE.replace("8}", "16}")))
    assert more["batch"][:8] == by_norm["batch"]


def test_points_do_not_depend_on_the_version_of_a_library() -> None:
    """Sobol' points are a table of numbers, and the shift is ours."""
    over = {LR: Values("log", (1e-4, 3.0)), "training.batch_size": Values("log", (8, 64))}
    found = [[over[key].at(share) for key, share in point.items()] for point in sobol_points(over, 4)]
    assert found == FIRST_POINTS


FIRST_POINTS = [[0.000139, 9], [0.0241, 26], [0.318, 15], [0.00183, 43]]


@pytest.mark.parametrize("trials", [4, 8, 16])
def test_points_are_spread_evenly(trials: int) -> None:
    """Of 2ᵐ points one lies in each of 2ᵐ parts of each range."""
    over = {LR: Values("log", (1e-4, 3.0)), "b": Values("linear", (0.0, 1.0)), "c": Values("linear", (0.0, 1.0))}
    found = list(sobol_points(over, trials))
    for key in over:
        assert sorted(int(point[key] * trials) for point in found) == list(range(trials))


@pytest.mark.parametrize(
    ("values", "share", "value"),
    [
        (Values("log", (1e-4, 1.0)), 0.5, 0.01),
        (Values("log", (1e-4, 1.0)), 0.0, 1e-4),
        (Values("log", (8, 128)), 0.5, 32),
        (Values("linear", (0, 1.0)), 0.12345, 0.123),
        (Values("linear", (0.12345, 1.0)), 0.0, 0.12345),
        (Values("linear", (1, 4)), 0.99, 4),
        (Values("choices", ("a", "b", "c")), 0.34, "b"),
    ],
)
def test_values(values: Values, share: float, value: Any) -> None:
    """Three digits, never out of range; whole numbers between whole ends."""
    found = values.at(share)
    assert (found, type(found)) == (value, type(value))


def test_seeds_that_choose_come_first_and_others_judge(tmp_path: Path) -> None:
    """Two and six by default, whatever `seeds` is; each run remembers which chose."""
    runs = load(tmp_path, BASE + TUNE).runs
    assert list(dict.fromkeys(run.seed for run in runs)) == list(range(8))
    assert {tuple(run.tuning_seeds) for run in runs} == {(0, 1)}
    other = load(tmp_path, BASE + TUNE, seeds="3-5").runs
    assert {tuple(run.tuning_seeds) for run in other} == {(3, 4, 5)}
    assert {run.seed for run in other} == set(range(3, 12))


@pytest.mark.parametrize(
    ("judge_seeds", "seeds"), [("3", [5, 6, 7]), ("[9, 30]", [9, 30])]
)  # fmt: skip
def test_a_grid_has_fresh_seeds(tmp_path: Path, judge_seeds: str, seeds: list[int]) -> None:
    """A number of them comes after those that choose."""
    runs = load(tmp_path, GRID.replace("judge_seeds: 3", f"judge_seeds: {judge_seeds}")).runs
    assert {tuple(run.tuning_seeds) for run in runs} == {(0, 1, 2, 3, 4)}
    assert sorted({run.seed for run in runs} - set(range(5))) == seeds


def test_what_a_run_is_for_changes_none_of_its_numbers(tmp_path: Path) -> None:
    """A run of a grid without fresh seeds is one of the grid with them."""
    with_them, without = (load(tmp_path, text).runs for text in (GRID, GRID.replace("judge_seeds: 3\n", "")))
    assert {run.digest for run in without} <= {run.digest for run in with_them}
    assert without[0].tuning_seeds == []


def test_the_command_line_says_the_same(tmp_path: Path) -> None:
    """`--over`, `--trials`, `--judge-seeds` in place of a section, or over it."""
    over = [f"{LR}=log:1.0e-4:3", "training.batch_size=8,16"]
    options = load(tmp_path, BASE, tuning=tuning_options(over, 8, "6"))
    assert options.runs == load(tmp_path, BASE + TUNE).runs
    fewer = load(tmp_path, BASE + TUNE, tuning=tuning_options([], 4, "2-3"))
    assert len(points_by_norm(fewer)["none"]) == 4
    assert {run.seed for run in fewer.runs} == {0, 1, 2, 3}


CLAIM = """\
claims:
  - {statement: s, metric: test/loss, variant: {model.norm: batch}, versus: {model.norm: none}, difference_at_most: 0}
"""


@pytest.mark.parametrize("text", [BASE + TUNE, GRID])
def test_a_claim_is_about_the_chosen_setting_of_a_norm(tmp_path: Path, text: str) -> None:
    """Which a norm alone names; a setting that may not be chosen cannot be judged."""
    assert len(load(tmp_path, text + CLAIM).runs[0].claims) == 1
    with pytest.raises(UserError, match="none of the variants"):
        load(tmp_path, text + CLAIM.replace("{model.norm: batch}", "{model.norm: batch, training.optimizer.lr: 0.7}"))


def test_smoke_is_small(tmp_path: Path) -> None:
    """Four points, two seeds of each kind."""
    runs = load(tmp_path, BASE + TUNE, smoke=True).runs
    assert len({run.variant.label for run in runs}) == 3 * 4
    assert {run.seed for run in runs} == {0, 1, 2, 3}


def tune(old: str, new: str) -> str:
    assert TUNE.count(old) == 1, old
    return BASE + TUNE.replace(old, new)


RANGE = "tune.over.training.optimizer.lr: must be {log: [low, high]}"
BAD = {
    "scale": (tune("{log: [1.0e-4, 3]}", "{lg: [1.0e-4, 3]}"), RANGE),
    "order": (tune("[1.0e-4, 3]", "[3, 1.0e-4]"), RANGE),
    "zero": (tune("1.0e-4", "0"), RANGE),
    "number": (tune("{log: [1.0e-4, 3]}", "0.1"), RANGE),
    "text": (tune("1.0e-4", "low"), RANGE),
    "two scales": (tune("{log: [1.0e-4, 3]}", "{log: [1.0e-4, 3], linear: [0, 1]}"), RANGE),
    "nothing": (BASE + "tune: {over: {}}\n", "tune.over: must not be empty"),
    "no over": (BASE + "tune: {trials: 8}\n", "tune.over: missing"),
    "unknown key": (tune("trials", "trails"), "tune.trails: unknown key; valid: over, trials, seeds, judge_seeds"),
    "one trial": (tune("8}", "1}"), "tune.trials: must be at least 2"),
    "few points": (
        BASE + "tune: {over: {training.batch_size: [8, 16]}, trials: 8}\n",
        "tune.trials: there are only 2 different points, fewer than 8 trials",
    ),
    "unknown hyperparameter": (tune(LR, "optimizer.lr"), "tune.over.optimizer.lr: cannot be compared"),
    "bad hyperparameter": (tune(LR, "training.optimizer.rate"), "training.optimizer.rate: unknown key"),
    "out of range": (tune("[1.0e-4, 3]", "[1.0, 1.0e+40]"), "training.optimizer.lr: must be"),
    "norm": (tune("training.batch_size: [8, 16]", "model.norm: [rms, batch]"), "model.norm: norms are what"),
    "compared": (
        BASE.replace("layer]", "layer], training.batch_size: [8, 16]") + TUNE,
        "tune.over.training.batch_size: is in compare.training.batch_size already",
    ),
    "nested": (
        tune("training.batch_size: [8, 16]", "training.optimizer: [{name: sgd, lr: 1.0}, {name: adam, lr: 1.0}]"),
        "tune.over.training.optimizer.lr: is in tune.over.training.optimizer already",
    ),
    "no norms": (BASE.replace("[none, batch, layer]", "[none]") + TUNE, "tune: is of several norms"),
    "both": (BASE + TUNE + "judge_seeds: 3\n", "judge_seeds: with tune it is tune.judge_seeds"),
    "no validation": (BASE.replace("validation: 16", "validation: 0") + TUNE, "tune: needs data.validation"),
    "until": (BASE.replace("seeds: 5", "seeds: {until: decided}") + TUNE, "seeds: those that choose are a number"),
    "shared": (GRID.replace("judge_seeds: 3", "judge_seeds: [4, 5]"), "judge_seeds: seeds that choose"),
    "no grid": (BASE + "judge_seeds: 3\n", "judge_seeds: nothing is chosen here"),
    "none": (GRID.replace("judge_seeds: 3", "judge_seeds: 0"), "judge_seeds: must be a number of seeds"),
    "too many": (tune("8}", "2000}"), "at most 10,000"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(tmp_path: Path, name: str) -> None:
    """File, line, key and what is wrong with it."""
    text, message = BAD[name]
    with pytest.raises(UserError) as raised:
        load(tmp_path, text)
    assert any(message in problem for problem in raised.value.problems), raised.value.problems
    assert all(problem.startswith(str(tmp_path / "config.yaml")) for problem in raised.value.problems)


@pytest.mark.parametrize(
    ("over", "trials", "judge_seeds", "message"),
    [
        ("lr", None, None, "--over lr: must be KEY=VALUES"),
        (f"{LR}=log:1:x", None, None, f"--over {LR}=log:1:x: tune.over.{LR}: must be"),
        (f"{LR}=log:3:1", None, None, f"--over {LR}=log:3:1: tune.over.{LR}: must be"),
        (f"{LR}=[1", None, None, f"--over {LR}=[1: not valid YAML"),
        (f"{LR}=1.0,2.0", 9, None, "--trials 9: tune.trials: there are only 2"),
        (f"{LR}=1.0,2.0", 2, "x", "--judge-seeds x: must be a range"),
        (f"{LR}=1.0,2.0", 2, "1-2", "--judge-seeds 1-2: tune.judge_seeds: seeds that choose cannot judge: 1"),
    ],
)
def test_bad_options(tmp_path: Path, over: str, trials: int | None, judge_seeds: str | None, message: str) -> None:
    """The option, and what is wrong with it."""
    with pytest.raises(UserError) as raised:
        load(tmp_path, BASE, tuning=tuning_options([over], trials, judge_seeds))
    assert message in "\n".join(raised.value.problems)
