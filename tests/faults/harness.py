"""Sweeps that are interfered with: drivers in processes of their own, and files that fail or end the process."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kit import Ended, call

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.execution.plan import Planned, plan_runs
from bncompare.execution.sweep import Event, run_experiment
from bncompare.runs.folder import RunStore
from bncompare.runs.read import read_runs

# A checkpoint at every evaluation, and diagnostics, so that there is a file of each kind to spoil.
TINY = """\
name: tiny
seeds: 4
data: {name: random_regression, samples: 32, test_samples: 16, features: 3, validation: 8}
model: {name: mlp, hidden: [4]}
training:
  epochs: 3
  batch_size: 8
  device: cpu
  checkpoint_every: 1
  optimizer: {name: sgd, lr: 0.02, momentum: 0.9}
  scheduler: {name: reduce_on_plateau, patience: 0, threshold: 0.5}
  monitor: val/loss
  early_stopping: {monitor: train/loss, patience: 1}
diagnostics: {eval_stats: [batch]}
compare: {model.norm: [none, batch]}
"""
# They hold times; and of checkpoints a process that dies right after it has finished leaves one too many.
NOT_BYTES = ("timing.csv", "environment.json", "checkpoint.pt", "checkpoint-before.pt")


def tiny(folder: Path, seeds: str = "4") -> list[RunConfig]:
    """The runs of the tiny sweep: two norms on every seed."""
    config = folder / "tiny.yaml"
    config.write_text(TINY)
    return load_experiment(config, seeds=seeds).runs


def one_run(folder: Path) -> list[RunConfig]:
    """One of them, with batch norm."""
    return tiny(folder, seeds="1")[1:]


def finish(runs: list[RunConfig], folder: Path, **options: Any) -> list[Event]:
    """Train what is not finished."""
    return list(run_experiment(plan_runs(runs, RunStore(folder)), data_dir=None, **options))


@dataclass(frozen=True)
class Copy:
    """A copy of one run's folder, to be spoilt."""

    runs: list[RunConfig]
    root: Path

    @property
    def path(self) -> Path:
        """The run's own folder."""
        return RunStore(self.root).run(self.runs[0]).path

    def plan(self) -> Planned:
        """What the next call finds."""
        (planned,) = plan_runs(self.runs, RunStore(self.root))
        return planned

    def finish(self) -> list[Event]:
        """Train it unless it is finished."""
        return finish(self.runs, self.root, keep_checkpoints=True)

    def train(self, *options: str) -> Ended:
        """`bncompare train …` of this run."""
        config = self.root.parent / "tiny.yaml"
        one = ("--seeds", "1", "--jobs", "1", "--select", "2/2", "--no-report")
        return call("train", config, "--runs", self.root, *one, *options)

    def files(self) -> dict[str, bytes]:
        """What is in its files."""
        return {path.name: path.read_bytes() for path in self.path.iterdir()}


def copy(root: Path, folder: Path) -> Copy:
    """A copy of a folder with one run, at `folder`/runs."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(root, folder / "runs")
    return Copy(one_run(folder), folder / "runs")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder that must be the same to the byte; a lock's file means nothing without its holder."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_BYTES]
    files = [path for path in files if path.suffix != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def assert_readable(folder: Path, runs: list[RunConfig]) -> None:
    """Whatever was cut off, the files that have a name are whole: each folder is read, or is not there yet."""
    if not any(folder.rglob("metrics.csv")):
        return
    loaded, damage = read_runs([folder])
    assert damage == []
    assert len(loaded) <= len(runs)


# ---------------------------------------------------------------- drivers in processes of their own


def fork(work: Callable[[], Any]) -> int:
    """Do some work in a process of its own: its process id; the exit code is 0 unless it raised.

    torch is imported already, so that it begins at once.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, from Python 3.12 on
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(child: int) -> int:
    """How a process ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_after(child: int, seconds: float, number: signal.Signals) -> int:
    """Send a signal after some seconds, unless the process ends before; how it ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, number)
    return wait(child)


@dataclass(frozen=True)
class Instants:
    """Random instants that can be replayed."""

    seed: int
    count: int

    def __iter__(self) -> Iterator[float]:
        """Numbers between 0 and 1."""
        source = random.Random(self.seed)
        return itertools.islice(iter(source.random, None), self.count)


def instants(config: pytest.Config, share: float = 1.0) -> Instants:
    """As many as --kills says, or a share of them, from --kill-seed or a new seed, which a failing test prints."""
    seed = config.getoption("--kill-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(2**32)
    count = max(1, round(config.getoption("--kills") * share))
    print(f"replay with --kills {config.getoption('--kills')} --kill-seed {seed}")
    return Instants(seed, count)


# ---------------------------------------------------------------- files that fail


class _HalfWritten:
    """A file whose write stops in the middle."""

    def __init__(self, file: Any, call: Callable[[], None]) -> None:
        self._file, self._call = file, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_HalfWritten":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        half = len(content) // 2
        self._file.write(content[:half])
        self._file.flush()
        self._call()
        self._file.write(content[half:])


@contextlib.contextmanager
def unreadable(path: Path, number: int) -> Iterator[None]:
    """Let the opening of a file fail with an error number, as root may read everything."""
    real = os.open

    def fail(name: Any, *arguments: Any, **keywords: Any) -> int:
        if os.fspath(name) == os.fspath(path):
            raise OSError(number, os.strerror(number), name)
        return real(name, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", fail)
        yield


@contextlib.contextmanager
def at_call(number: float, fail: Callable[[], None]) -> Iterator[list[str]]:
    """Count the calls of the store that change files, and `fail()` before the one with this number takes effect."""
    calls: list[str] = []
    real = {name: getattr(os, name) for name in ("replace", "fsync", "chmod", "unlink", "fdopen")}

    def count(name: str) -> None:
        calls.append(name)
        if len(calls) - 1 == number:
            fail()

    def counted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            count(name)
            return real[name](*arguments, **keywords)

        return call

    def mkstemp(*arguments: Any, **keywords: Any) -> Any:
        count("mkstemp")
        return real_mkstemp(*arguments, **keywords)

    real_mkstemp = tempfile.mkstemp
    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "fsync", "chmod", "unlink"):
            patch.setattr(os, name, counted(name))
        patch.setattr(os, "fdopen", lambda *a, **k: _HalfWritten(real["fdopen"](*a, **k), lambda: count("write")))
        patch.setattr(tempfile, "mkstemp", mkstemp)
        yield calls
