"""Rounds of seeds until it is decided: which runs follow from which results, whatever came between."""

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from kit import TINY, call, content, strict

from bncompare.config.expand import load_experiment
from bncompare.execution.messages import Started
from bncompare.execution.plan import Planned, plan_runs
from bncompare.execution.rounds import Rounds
from bncompare.execution.sweep import Event, run_experiment
from bncompare.runs import RunStore, read_run

Losses = Callable[[str, int], float | None]
"""of a variant and a seed: the loss at the end, NaN of a run that diverges, None of one that fails"""

LARGE = {"none": 9.0, "batch": 1.0, "layer": 5.0}


def large(variant: str, seed: int) -> float:
    """A difference of far more than the spread over seeds."""
    return LARGE[variant] + math.sin(3 * seed + LARGE[variant]) / 1000


def none_at_all(variant: str, seed: int) -> float:
    """The variants take turns in being better."""
    return 5.0 + (seed % 2 if variant == "batch" else (seed + 1) % 2) + seed / 1000


def layer_is_as_batch(variant: str, seed: int) -> float:
    """Only none is told from the others."""
    return large("none", seed) if variant == "none" else none_at_all(variant, seed) / 100


def write(item: Planned, loss: float | None) -> None:
    """The folder of a run that ended so."""
    folder, run = item.folder, item.run
    folder.begin({})
    if loss is None:
        folder.fail({"status": "failed", "error": "made up"})
        return
    metrics = dict.fromkeys(run.metric_names, loss) | {"lr": 0.1}
    folder.tables.append(1.0, run.total_steps, metrics, 0.1, 10.0)
    values = None if math.isnan(loss) else metrics | {"epoch": 1.0, "step": run.total_steps, "test/loss": loss}
    status = "completed" if values else "diverged"
    folder.finish({"status": status, "steps": run.total_steps, "best": values, "last": values}, None, None)


def plan(folder: Path, seeds: str, norms: str = "none, batch", claims: str = "") -> list[Planned]:
    """An experiment with these seeds."""
    text = TINY.replace("seeds: 2", f"seeds: {seeds}").replace("none, batch", norms)
    (folder / "tiny.yaml").write_text(f"{text}{claims}")
    return plan_runs(load_experiment(folder / "tiny.yaml").runs, RunStore(folder))


def names(planned: Sequence[Planned]) -> str:
    """`none 0-3, batch 0-3`, as far as seeds follow one another."""
    seeds: dict[str, list[int]] = {}
    for item in planned:
        seeds.setdefault(item.run.variant.label, []).append(item.run.seed)
    return ", ".join(
        f"{label} {min(of)}-{max(of)}" for label, of in seeds.items() if of == [*range(min(of), max(of) + 1)]
    )


def rounds_of(rounds: Rounds, losses: Losses) -> list[str]:
    """The runs of each round, which end as said."""
    found = []
    for round_ in rounds:
        found.append(names(round_.planned))
        for item in round_.planned:
            write(item, losses(item.run.variant.label, item.run.seed))
    return found


ALL = "none 0-3, batch 0-3"
CLAIM = """\
claims:
  - {statement: BatchNorm is good, metric: test/loss, variant: {model.norm: batch}, at_most: 5}
"""


@pytest.mark.parametrize(
    ("seeds", "losses", "rounds", "outcome"),
    [
        pytest.param("{until: decided}", large, [ALL], ["decided after 4 seeds"], id="at once"),
        pytest.param(
            "{until: decided, at_most: 6}",
            none_at_all,
            [ALL, "none 4-4, batch 4-4", "none 5-5, batch 5-5"],
            ["not decided after 6 seeds, the most: BatchNorm against no norm, …"],
            id="never",
        ),
        pytest.param(
            "{until: decided, at_least: 2, at_most: 9, at_a_time: 4}",
            none_at_all,
            ["none 0-1, batch 0-1", "none 2-5, batch 2-5", "none 6-8, batch 6-8"],
            ["not decided after 9 seeds, the most: …"],
            id="several at a time",
        ),
        pytest.param(
            "{until: decided, at_least: 2}",
            large,
            ["none 0-1, batch 0-1", "none 2-2, batch 2-2", "none 3-3, batch 3-3"],
            ["decided after 4 seeds: BatchNorm against no norm, …"],
            id="later",
        ),
        pytest.param("3", none_at_all, ["none 0-2, batch 0-2"], [], id="fixed"),
        pytest.param(
            "{until: decided}",
            lambda variant, seed: None if (variant, seed) == ("none", 2) else none_at_all(variant, seed),
            [ALL],
            ["not decided after 4 seeds, as a run failed: …"],
            id="a run fails",
        ),
        pytest.param(
            "{until: decided}",
            lambda variant, seed: None,
            [ALL],
            ["not decided after 4 seeds, as a run failed"],
            id="all fail",
        ),
        pytest.param(
            "{until: decided, at_most: 5}",
            lambda variant, seed: math.nan,
            [ALL, "none 4-4, batch 4-4"],
            ["not decided after 5 seeds, the most: …"],
            id="all diverge",
        ),
    ],
)
def test_which_runs_follow(tmp_path: Path, seeds: str, losses: Losses, rounds: list[str], outcome: list[str]) -> None:
    """A round is of all variants with a seed; it ends when all is decided, there are no more, or one failed."""
    found = Rounds(plan(tmp_path, seeds))
    assert rounds_of(found, losses) == rounds
    (course,) = found.courses.values()
    for line, start in zip(course.outcome, outcome, strict=True):
        assert line.startswith(start.removesuffix("…"))
        assert line == start or start.endswith("…")


def test_only_what_an_undecided_comparison_needs_goes_on(tmp_path: Path) -> None:
    """A variant that is told from all others trains no further; the others do, in pairs."""
    found = Rounds(plan(tmp_path, "{until: decided, at_most: 12}", "none, batch, layer"))
    first, *later = rounds_of(found, layer_is_as_batch)
    assert first == "none 0-3, batch 0-3, layer 0-3"
    last = [runs for runs in later if "none" not in runs]
    assert last[-1] == "batch 11-11, layer 11-11"
    assert len(last) >= 4
    assert {name for name in later if "none" in name} <= set(later[: len(later) - len(last)])


def test_a_claim_is_waited_for(tmp_path: Path) -> None:
    """What a claim leaves open takes seeds, of its variant alone where the comparison is decided."""

    def near_its_bound(variant: str, seed: int) -> float:
        return 9 + math.sin(seed) if variant == "none" else 5 + math.sin(seed)

    found = Rounds(plan(tmp_path, "{until: decided, at_least: 8, at_most: 10}", claims=CLAIM))
    assert rounds_of(found, near_its_bound) == ["none 0-7, batch 0-7", "batch 8-8", "batch 9-9"]
    (course,) = found.courses.values()
    assert course.outcome == ["not decided after 10 seeds, the most: BatchNorm is good"]


@pytest.mark.parametrize("losses", [large, none_at_all, layer_is_as_batch])
def test_rounds_are_those_of_an_uninterrupted_call(tmp_path: Path, losses: Losses) -> None:
    """Ended after any run, and called again any number of times, it trains each run once, and the same runs; so it
    does where later seeds are there already."""
    seeds = "{until: decided, at_least: 3, at_most: 8, at_a_time: 2}"
    for folder in (tmp_path / "whole", tmp_path / "parts"):
        folder.mkdir()
    whole = Rounds(plan(tmp_path / "whole", seeds, "none, batch, layer"))
    rounds_of(whole, losses)
    expected = [item.folder.path.name for item in whole.planned]
    trained = list[str]()
    for item in plan(tmp_path / "parts", "[7]", "none, batch, layer"):
        write(item, losses(item.run.variant.label, 7))
    is_over = False
    while not is_over:
        found = Rounds(plan(tmp_path / "parts", seeds, "none, batch, layer"))
        todo = (item for round_ in found for item in round_.planned if not item.folder.has_result)
        before = len(trained)
        for item in itertools.islice(todo, 2):  # and then it is interrupted
            write(item, losses(item.run.variant.label, item.run.seed))
            trained.append(item.folder.path.name)
        is_over = len(trained) < before + 2
    assert len(trained) == len(set(trained))
    assert {name for name in expected if "-s7-" not in name} == set(trained)
    assert [item.folder.path.name for item in found.planned] == expected


def test_earlier_seeds_are_judged_as_looked_at(tmp_path: Path) -> None:
    """Runs of a fixed design that are taken into one with looks are judged by what holds at every look."""
    fixed = Rounds(plan(tmp_path, "4"))
    rounds_of(fixed, large)
    found = Rounds(plan(tmp_path, "{until: decided, at_least: 3}"))
    assert len(list(found)) == 2
    assert [item.load().config["design"]["until"] for item in found.planned] == ["decided"] * 8
    assert {item.load().config["design"]["seeds"] for item in fixed.planned} == {"0-3"}


# ---------------------------------------------------------------- with what is trained


UNTIL = TINY.replace("seeds: 2", "seeds: {until: decided, at_least: 2, at_most: 4}")
COMPARED = "BatchNorm against no norm"


def trained(folder: Path, stop_after: int = 1000) -> int:
    """Train round after round until so many events have come; returns how many runs began."""
    planned = plan_runs(load_experiment(folder.with_suffix(".yaml")).runs, RunStore(folder))
    began = 0
    with closing(Rounds(planned).train(partial(run_experiment, data_dir=None))) as events:
        for event in itertools.islice(events, stop_after):
            began += isinstance(event, Event) and isinstance(event.what, Started)
    return began


def test_interrupted_anywhere(tmp_path: Path) -> None:
    """Law: whatever event of whatever round was the last, the same command ends with the same bytes, and trains no
    run that had ended."""
    for name in ("whole", "parts"):
        (tmp_path / name).with_suffix(".yaml").write_text(UNTIL)
    assert trained(tmp_path / "whole") == 8
    began, calls = 0, 0
    while last := trained(tmp_path / "parts", stop_after=7):
        began, calls = began + last, calls + 1
    assert content(tmp_path / "parts") == content(tmp_path / "whole")
    assert calls > 3
    assert began - 8 < calls  # each of the calls ended within a run at most


def test_the_design_is_that_of_the_beginning(tmp_path: Path) -> None:
    """A run that is taken up again with more seeds beside it remembers which were asked for when it began."""
    path = tmp_path / "runs.yaml"
    path.write_text(TINY.replace("epochs: 2", "epochs: 2, checkpoint_every: 1").replace("seeds: 2", "seeds: 1"))
    trained(tmp_path / "runs", stop_after=3)  # the beginning of a round, of a run, and its first evaluation
    path.write_text(path.read_text().replace("seeds: 1", "seeds: 2"))
    trained(tmp_path / "runs")
    designs = {
        folder.name[:7]: read_run(folder).config["design"] for folder in (tmp_path / "runs" / "tiny").iterdir()
    }
    later = {"seeds": "0-1"}
    assert designs == {"none-s0": {"seeds": "0"}, "batch-s": later, "none-s1": later}


def test_what_train_says(tmp_path: Path) -> None:
    """The rounds on stderr, what was decided beside the answer, the budget in the plan; two processes give the bytes
    of one."""
    (tmp_path / "until.yaml").write_text(UNTIL)
    one, two = (["train", tmp_path / "until.yaml", "--runs", tmp_path / folder, "--no-report"] for folder in "ab")
    plan = call(*one, "--dry-run")
    assert plan.out.splitlines()[-1] == "at least 4 runs, at most 8 until it is decided: 4 to train, 0 finished"
    first = call(*one, "--jobs", "1")
    assert first.code == 0
    told = [line for line in first.err.splitlines() if line.startswith("tiny: ")]
    assert [line.partition(COMPARED)[0] for line in told] == [f"tiny: not decided after {n} seeds: " for n in (2, 3)]
    assert f"\nnot decided after 4 seeds, the most: {COMPARED}" in first.out
    assert call(*one, "--dry-run").out.splitlines()[-1] == "8 runs: 0 to train, 8 finished"
    again = call(*one, "--json")
    assert strict(again.out)["until_decided"] == [
        {"experiment": "tiny", "seeds": 4, "at_most": 4, "decided": {}, "failed": False}
        | {"undecided": [strict(again.out)["until_decided"][0]["undecided"][0]]}
    ]
    assert call(*two, "--jobs", "2").code == 0
    assert content(tmp_path / "b") == content(tmp_path / "a")


def test_a_run_of_a_design_alone(tmp_path: Path) -> None:
    """Its config.yaml trains that run, and asks for no others."""
    (tmp_path / "until.yaml").write_text(UNTIL)
    run = load_experiment(tmp_path / "until.yaml").runs[3]
    (tmp_path / "config.yaml").write_text(run.to_yaml())
    ended = call("train", tmp_path / "config.yaml", "--runs", tmp_path / "runs", "--jobs", "1", "--no-report")
    assert ended.code == 0
    assert "decided" not in ended.out
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    assert (folder / "config.yaml").read_text() == run.to_yaml()
