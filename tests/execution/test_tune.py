"""`tune` and `train --judge-seeds`: trials, then what they chose, on fresh seeds; resumed, parallel, exact."""

import json
import shutil
from pathlib import Path

import pytest
from kit import call, content, strict

from bncompare.comparison import evidence
from bncompare.runs import experiments, read_runs

TUNED = """\
name: tuned
data: {name: random_regression, samples: 32, test_samples: 16, features: 3, validation: 8}
model: {name: mlp, hidden: [4]}
training: {epochs: 1, batch_size: 8, device: cpu, optimizer: {name: sgd, lr: 0.01}}
compare: {model.norm: [none, batch]}
claims:
  - {statement: s, metric: test/loss, variant: {model.norm: batch}, versus: {model.norm: none}, difference_at_most: 0}
"""
LR = "training.optimizer.lr"
OPTIONS = ("--over", f"{LR}=log:0.001:100", "--trials", "3", "--seeds", "2", "--judge-seeds", "2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment, tuned: its folder, beside which lies its config."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "tuned.yaml").write_text(TUNED)
    ended = tune(folder)
    assert (ended.code, ended.err.count("fresh seeds")) == (0, 1), ended.err
    return folder / "runs" / "tuned"


def tune(folder: Path, *more: str, jobs: int = 1):  # type: ignore[no-untyped-def]
    there = ("--runs", folder / "runs", "--jobs", str(jobs), "--no-report")
    return call("tune", folder / "tuned.yaml", *OPTIONS, *there, *more)


def seeds_by_variant(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for run in read_runs([folder])[0]:
        found.setdefault(run.label, []).append(run.seed)
    return found


def test_every_trial_and_then_the_chosen(trained: Path) -> None:
    """Three points for each norm with two seeds; one of each norm with two more; all ordinary run folders."""
    seeds = seeds_by_variant(trained)
    assert len(seeds) == 6
    assert sorted(seeds.values()) == [[0, 1]] * 4 + [[0, 1, 2, 3]] * 2
    chosen = [label for label, own in seeds.items() if own == [0, 1, 2, 3]]
    assert [label.split()[0] for label in chosen] == ["none", "batch"]
    runs = experiments(read_runs([trained])[0])[0].runs
    assert {run.label for run in evidence(runs)} == set(chosen)


def test_what_is_finished_is_not_done_again(trained: Path) -> None:
    """Nor is anything else chosen."""
    before = content(trained)
    ended = tune(trained.parents[1])
    assert (ended.code, ended.err) == (0, "16 of 16 runs are finished already\n")
    assert content(trained) == before


@pytest.mark.parametrize("lost", ["a trial", "the judged", "all but one trial"])
def test_an_interrupted_call_goes_on(trained: Path, tmp_path: Path, lost: str) -> None:
    """Wherever it was: it chooses the same and ends with the same bytes; also with several processes."""
    shutil.copytree(trained.parents[1], tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "runs" / "tuned"
    runs = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    judged = [path for path in runs if path.name.split("-s")[-1][0] in "23"]
    trials = [path for path in runs if path not in judged]
    for path in {"a trial": [trials[0], *judged], "the judged": judged[1:], "all but one trial": runs[1:]}[lost]:
        shutil.rmtree(path)
    assert tune(tmp_path, jobs=2 if lost == "all but one trial" else 1).code == 0
    assert content(folder) == content(trained)


def test_check_and_report_know_without_the_config(trained: Path) -> None:
    """The claim is judged on two seeds; the report says what was spent, and the folder's config trains it again."""
    (finding,) = strict(call("check", trained, "--json").out)[str(trained)]
    assert finding["n"] == 2
    (chapter,) = strict(call("report", trained, "--json").out)["experiments"]
    assert {
        len(pair["differences"]) for measure in chapter["comparison"]["measures"] for pair in measure["pairs"]
    } == {2}
    assert "tuning budget 3 trials × 2 seeds for each norm; verdicts rest on 2 fresh seeds alone" in json.dumps(
        chapter["verdicts"], ensure_ascii=False
    )
    tuning = chapter["comparison"]["tuning"]
    assert (tuning["seeds"], tuning["judge_seeds"]) == ([0, 1], [2, 3])
    again = trained.parents[1] / "again.yaml"
    again.write_text(chapter["config"])
    ended = call("train", again, "--runs", trained.parent, "--jobs", "1", "--no-report")
    assert (ended.code, ended.err) == (0, "16 of 16 runs are finished already\n")


def test_figures_have_the_tuning_curve_and_fresh_seeds(trained: Path, tmp_path: Path) -> None:
    """By their names."""
    names = [Path(line).name for line in call("plot", trained, "-o", tmp_path).out.splitlines()]
    assert "tuned-tuning-val-loss.png" in names


def test_the_plan_says_the_budget(tmp_path: Path) -> None:
    """And trains nothing."""
    (tmp_path / "tuned.yaml").write_text(TUNED)
    lines = tune(tmp_path, "--dry-run").out.splitlines()
    assert lines[-2:] == [
        "tuned: 3 trials × 2 seeds for each of 2 norms: 12 runs; then 2 fresh seeds for the chosen of each: 4 runs",
        "12 runs, 16 with those of the chosen settings: 12 to train, 0 finished",
    ]
    assert not (tmp_path / "runs").exists()


def test_a_grid_is_judged_on_fresh_seeds(tmp_path: Path) -> None:
    """By an option as by the config."""
    grid = TUNED.replace("[none, batch]", "[none, batch], training.optimizer.lr: [0.01, 0.1]")
    (tmp_path / "tuned.yaml").write_text(grid + "seeds: 2\n")
    there = ("--runs", tmp_path / "runs", "--jobs", "1", "--no-report")
    assert call("train", tmp_path / "tuned.yaml", "--judge-seeds", "3", *there).code == 0
    assert sorted(seeds_by_variant(tmp_path / "runs").values()) == [[0, 1]] * 2 + [[0, 1, 2, 3, 4]] * 2


def test_nothing_to_tune(tmp_path: Path) -> None:
    """The message says how to say what."""
    (tmp_path / "tuned.yaml").write_text(TUNED)
    ended = call("tune", tmp_path / "tuned.yaml")
    assert ended.code == 2
    assert "--over training.optimizer.lr=log:1e-4:3" in ended.err


def test_a_part_of_a_plan_that_is_not_there_yet(tmp_path: Path) -> None:
    """What is chosen is not known to the jobs of an array."""
    (tmp_path / "tuned.yaml").write_text(TUNED + f"tune: {{over: {{{LR}: [0.1, 1.0]}}, trials: 2}}\n")
    ended = call("train", tmp_path / "tuned.yaml", "--select", "1/2")
    assert (ended.code, "until settings are chosen" in ended.err) == (2, True)
