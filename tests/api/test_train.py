"""`bncompare.train`: the command's way, from Python."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from kit import OWN_NORM, TINY, call, content
from torch import Tensor, nn

import bncompare
from bncompare.config import load_experiment
from bncompare.config.yaml import parse_yaml
from bncompare.norms import NORMS, ActivationNorm, Shape
from bncompare.runs import RunStore

CONFIG: dict[str, Any] = parse_yaml(TINY, "tiny").data


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_mapping_is_trained_as_the_file_would_be(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bytes in the same folders as the command leaves; what is finished is not trained again."""
    (here / "tiny.yaml").write_text(TINY)
    call("train", "tiny.yaml", "--set", "training.epochs=3", "--runs", "theirs", "--jobs", "1")
    runs = bncompare.train(CONFIG, settings={"training.epochs": 3}, runs="ours", jobs=1, report=True, progress=False)
    ours, theirs = content(here / "ours"), content(here / "theirs")
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} <= {"tiny/report.html"}  # which has times
    assert (repr(runs), [run.variant for run in runs]) == ("<4 runs: tiny>", ["no norm", "BatchNorm"] * 2)
    assert "BatchNorm" in runs._repr_html_()
    assert capsys.readouterr() == ("", "")
    bncompare.train("tiny.yaml", settings={"training.epochs": 3}, runs="ours", jobs=1)
    assert capsys.readouterr() == ("", "4 of 4 runs are finished already\n")


def test_numbers_of_numpy_and_paths(here: Path) -> None:
    """In a mapping and in settings they are what they stand for."""
    rate = np.logspace(-2, -1, 2)
    np.savez("my.npz", x=np.eye(32), y=np.arange(32) % 2)
    data = {"name": "npz", "path": Path("my.npz"), "validation": np.int64(8)}
    runs = bncompare.train({**CONFIG, "data": data}, settings={"training.optimizer.lr": rate[1]}, seeds=1, jobs=1)
    assert {run.config["training"]["optimizer"]["lr"] for run in runs} == {0.1}
    assert {run.config["data"]["validation"] for run in runs} == {8}


@pytest.mark.parametrize(
    ("seeds", "trained"), [(1, [0]), ("1-2", [1, 2]), ([5], [5]), ([0, 7], [0, 7]), (range(2), [0, 1])]
)
def test_seeds(seeds: int | str | Sequence[int], trained: list[int]) -> None:
    """A number of them, a list, or as on the command line."""
    config = {**CONFIG, "compare": {"model.norm": ["batch"]}}
    runs = bncompare.train(config, seeds=seeds, settings={"training.epochs": 1}, jobs=1, progress=False)
    assert [run.seed for run in runs] == trained


@pytest.mark.parametrize(
    ("config", "arguments", "words"),
    [
        (3, {}, "3: is no config; train takes a file, a preset's name, or a mapping as the YAML would be"),
        ("demoo", {}, "demoo: no such file, and no preset of this name; did you mean 'demo'?"),
        ("a.yaml", {}, "a.yaml: no such file"),
        ({}, {}, "config: is empty; a config is a mapping (name: …, data: …, model: …)"),
        ({"name": Path}, {}, "config: <class 'pathlib.Path'> is no number, text, list or mapping, but "),
        ({**CONFIG, "nam": 1}, {}, "config: nam: unknown key; valid: name, seeds, data, "),
        (CONFIG, {"settings": {"training.epoch": 1}}, "--set training.epoch=1: training.epoch: unknown key; valid: "),
        (CONFIG, {"settings": {"name": Path}}, "<class 'pathlib.Path'> is no number, text, list or mapping, but "),
        (CONFIG, {"jobs": 0}, "jobs=0: must be a whole number from 1 to 4096"),
        (CONFIG, {"seeds": "x"}, "--seeds x: "),
    ],
)
def test_errors(config: Any, arguments: dict[str, Any], words: str) -> None:
    """What a person did is a UserError with the command's words, before anything is trained."""
    with pytest.raises(bncompare.UserError) as raised:
        bncompare.train(config, **arguments)
    assert str(raised.value).startswith(words)
    assert not Path("runs").exists()


def test_a_run_that_fails_is_a_warning(here: Path) -> None:
    """The others are trained, and returned."""
    (here / "tiny.yaml").write_text(TINY)
    first = RunStore(here / "runs").run(load_experiment(here / "tiny.yaml").runs[0]).path
    first.parent.mkdir(parents=True)
    first.touch()
    with pytest.warns(UserWarning, match=r"^1 of 4 runs failed: tiny no norm seed 0: ") as warned:
        runs = bncompare.train(CONFIG, runs=here / "runs", jobs=1, progress=False)
    assert [run.status for run in runs] == ["completed"] * 3
    assert warned[0].filename == __file__


class InterruptedNorm(ActivationNorm):
    """Does nothing, but that somebody interrupts at a step."""

    formula: ClassVar = "y = x"
    axes: ClassVar = "nothing"
    at: ClassVar[int | None] = None

    kind: Literal["interrupted"]

    def build(self, shape: Shape) -> nn.Module:
        class Module(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                if InterruptedNorm.at is not None:
                    InterruptedNorm.at -= 1
                    if InterruptedNorm.at == 0:
                        signal.raise_signal(signal.SIGINT)
                return x

        return Module()


@pytest.fixture
def interrupted() -> Iterator[type[InterruptedNorm]]:
    """The kind for one test."""
    NORMS.add(InterruptedNorm)
    yield InterruptedNorm
    InterruptedNorm.at = None
    del NORMS["interrupted"]


def test_an_interruption(here: Path, interrupted: type[InterruptedNorm]) -> None:
    """It is a KeyboardInterrupt, handled as before; the same call goes on from the checkpoint, to the same bytes."""
    config = {**CONFIG, "seeds": 1, "compare": {"model.norm": ["interrupted"]}}
    settings: dict[str, object] = {"training.checkpoint_every": 1, "training.epochs": 4}

    def train(folder: str) -> bncompare.api.Runs:
        return bncompare.train(config, settings=settings, runs=folder, jobs=1, progress=False)

    train("whole")
    handler, interrupted.at = signal.getsignal(signal.SIGINT), 15
    with pytest.raises(KeyboardInterrupt) as raised:
        train("cut")
    assert raised.value.__notes__ == ["the same call goes on from the last checkpoint"]
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(list(here.glob("cut/tiny/*/checkpoint.pt"))) == 1
    assert not list(here.glob("cut/tiny/.*.lock"))
    train("cut")
    assert content(here / "cut") == content(here / "whole")
    settings["training.stack"], interrupted.at = True, 15
    with pytest.raises(KeyboardInterrupt) as raised:
        train("stacked")
    assert raised.value.__notes__ == [
        "the same call begins what was not finished again: training.stack has no checkpoints"
    ]


def test_in_a_thread() -> None:
    """Signals are for the main thread alone, and none is touched."""
    trained: list[Any] = []
    thread = threading.Thread(target=lambda: trained.append(bncompare.train(CONFIG, jobs=1, progress=False)))
    thread.start()
    thread.join()
    assert len(trained[0]) == 4


SCRIPT = """\
import bncompare
{written}
config = {config}
with __import__("warnings").catch_warnings(record=True) as warned:
    runs = bncompare.train(config, jobs=2, progress=False)
print([str(run.status) for run in runs], *[warning.message for warning in warned])
"""


@pytest.mark.parametrize(
    ("norm", "out"),
    [
        ("batch", r"\['completed', 'completed'\]\n"),
        ("mine", r"\['failed', 'failed'\] 2 of 2 runs failed: tiny mine seed \d: its process ran this program again"),
    ],
)
def test_processes_of_a_script_without_a_guard(here: Path, norm: str, out: str) -> None:
    """Workers do not run the program again, but for a class that is written in it; then it is said what it lacks."""
    config = {**CONFIG, "compare": {"model.norm": [norm]}}
    (here / "script.py").write_text(SCRIPT.format(written=OWN_NORM if norm == "mine" else "", config=config))
    ended = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
    assert re.match(out, ended.stdout)  # of either seed first: they end at the same time
    assert (ended.returncode, ended.stderr) == (0, "")


def test_processes_with_and_without_the_program(here: Path) -> None:
    """A class that is written in the program is trained where the program is, though another worker is idle."""
    config = {**CONFIG, "compare": {"model.norm": ["none", "batch", "mine"]}, "seeds": 1}
    trains = f'if __name__ == "__main__":\n    import bncompare\n    bncompare.train({config}, jobs=2)'
    (here / "script.py").write_text(OWN_NORM + trains)
    ended = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
    assert ended.stderr.count("completed") == 3
    assert "again" not in ended.stderr
