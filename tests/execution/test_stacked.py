"""`--stack`: the seeds of a variant as one program, from the command to the run folders; here on a CPU."""

import shutil
from pathlib import Path

import pytest
import torch
from kit import CONFIGS, TINY, Ended, call, strict

import bncompare
from bncompare.config.expand import load_experiment
from bncompare.execution.messages import Attempt, Gone, Job
from bncompare.execution.stacked import Stacked
from bncompare.runs.read import read_runs
from bncompare.training.data import Datasets


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY.replace("name: adam", "name: sgd"))
    return Path("tiny.yaml")


def train(*arguments: str, stack: bool = True) -> Ended:
    return call("train", "tiny.yaml", *["--stack"] * stack, "--no-report", *arguments)


def test_the_whole_way(config: Path) -> None:
    """All seeds of each variant; beside the runs of the same seeds alone, as they are others but for rounding; a
    second call does nothing; a further seed trains by itself; and verify gets the same bytes."""
    assert train("--seeds", "2", stack=False).code == 0
    assert train("--seeds", "2").code == 0
    runs, _ = read_runs([Path("runs")])
    assert len({run.path.name for run in runs}) == 8
    together = {run.path: run for run in runs if "stacked" in run.environment}
    assert [run.environment["stacked"] for run in together.values()] == ["seeds 0, 1"] * 4
    alone = {(run.label, run.seed): run for run in runs if run.path not in together}
    for run in together.values():
        other = alone[run.label, run.seed]
        assert run.result is not None
        assert other.result is not None
        assert run.result.best == pytest.approx(other.result.best, rel=1e-3)
        assert not list(run.path.glob("checkpoint*"))
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("metrics.csv")}
    assert train("--seeds", "3").code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    runs, _ = read_runs([Path("runs")])
    stacks = [run.environment["stacked"] for run in runs if "stacked" in run.environment]
    assert sorted(stacks) == ["seeds 0, 1"] * 4 + ["seeds 2"] * 2
    assert "stacked" not in call("report", "runs", "--markdown").out
    ended = call("verify", *map(str, together))
    assert ended.out.splitlines()[-1] == "4 of 4 runs reproduced to the byte"


def test_from_python(config: Path) -> None:
    """By the same word."""
    bncompare.train(config, stack=True, progress=False)
    assert [run.environment["stacked"] for run in read_runs([Path("runs")])[0]] == ["seeds 0, 1"] * 4


def test_verified_as_it_was_trained(config: Path) -> None:
    """With the seeds that were together, and no others: of all, of some, of two copies."""
    assert train("--seeds", "2").code == 0
    assert train("--seeds", "4").code == 0
    shutil.copytree("runs/tiny", "runs/copy")
    for chosen, number in (["runs"], 16), ([str(next(Path("runs/tiny").glob("batch-s1-*")))], 1):
        ended = call("verify", *chosen, "--json")
        assert ended.code == 0, ended.err
        items = strict(ended.out)["runs"]
        assert [(item["identical"], item["elsewhere"]) for item in items] == [(True, [])] * number


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--set", "training.clip_gradient_norm=1"], ["training.clip_gradient_norm: is another for each seed"]),
        (["--set", "training.scheduler=reduce_on_plateau"], ["training.scheduler: is another for each seed"]),
        (["--set", "model.dropout=0.5"], ["model.dropout: is another for each seed"]),
        (["--executor", "ray"], ["--executor ray: trains each run by itself, and training.stack several"]),
        (["--keep-checkpoints"], ["--keep-checkpoints: runs that are trained as one program (training.stack) have"]),
    ],
)
def test_what_cannot_be(config: Path, arguments: list[str], messages: list[str]) -> None:
    """It is said before anything is trained."""
    ended = train(*arguments)
    assert ended.code == 2
    assert [message for message in messages if message not in ended.err] == []
    assert not list(Path("runs").rglob("*.csv"))


def test_a_norm_that_torch_cannot_stack(config: Path) -> None:
    """Its runs fail and say why; the other variants are trained."""
    ended = train("--set", "compare={model.norm: [spectral, batch]}", "--set", "claims=[]")
    assert ended.code == 1
    assert "training.stack: torch cannot stack this model: Batching rule not implemented" in ended.err
    statuses = {run.label: run.status for run in read_runs([Path("runs")])[0]}
    assert statuses == {"spectral": "failed", "batch": "completed"}


def test_a_run_whose_folder_cannot_be_written(config: Path) -> None:
    """It fails, and the other seeds end as if it were there."""
    assert train("--seeds", "3").code == 0
    whole = {path.parent.name: path.read_bytes() for path in Path("runs").rglob("metrics.csv")}
    for path in sorted(Path("runs").rglob("result.json")):
        path.unlink()
    blocked = next(Path("runs").glob("tiny/batch-s1-*"))
    (blocked / "environment.json").unlink()
    (blocked / "environment.json").mkdir()
    (blocked / "environment.json" / "in the way").touch()
    ended = train("--seeds", "3", "--fresh")
    assert ended.code == 1
    found = {path.parent.name: path.read_bytes() for path in Path("runs").rglob("metrics.csv")}
    assert {name: found.get(name) for name in whole if name != blocked.name} == {
        name: content for name, content in whole.items() if name != blocked.name
    }


def test_nothing_is_trained_for_nobody() -> None:
    """When the last of the seeds has ended, as none of their folders can be written, so has the program."""
    runs = load_experiment(
        CONFIGS / "smoke.yaml", overrides=["compare={model.norm: [none]}", "claims=[]"], stack=True, seeds="2"
    ).runs
    steps = [0, 0]
    place = Stacked(Datasets(None).of, torch.device("cpu"), steps)
    attempts = [Attempt(Job(number, run, None)) for number, run in enumerate(runs)]
    for attempt in attempts:
        place.start(attempt)
    ((first, _),) = place.wait()
    first.has_ended = True
    ((second, _),) = place.wait()
    assert second is not first
    second.has_ended = True
    assert [(attempt, type(sent)) for attempt, sent in place.wait()] == [(attempt, Gone) for attempt in attempts]
    assert not place.is_busy
    assert steps == [0, 0]
