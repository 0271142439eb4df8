"""Law: processes = inline, to the byte; a death costs its own run alone, and nothing outlives the driver."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from multiprocessing.sharedctypes import RawArray
from pathlib import Path

import filelock
import pytest
import torch
from kit import CONFIGS, content

from bncompare.config.expand import load_experiment
from bncompare.execution.forkserver import start_forkserver
from bncompare.execution.messages import Evaluated, Failure, Restart, Started
from bncompare.execution.plan import plan_runs
from bncompare.execution.processes import Processes, how_it_ended
from bncompare.execution.sweep import Event, Sweep, run_experiment
from bncompare.runs.folder import RunStore
from bncompare.runs.lock import Lock

LONG = ["training.epochs=20000", "training.eval_every=20", "data.samples=200", "claims=[]"]
# More than a pipe holds: a worker waits until the driver has read its evaluation.
LARGE_MESSAGES = ["model.hidden=[300, 300]", "training.checkpoint_every=1", "claims=[]"]
FAR = ["training.epochs=100000", "training.eval_every=100000", "data.samples=2000", "claims=[]"]


def run_all(folder: Path, num_processes: int, *overrides: str) -> list[int]:
    """The steps that each run says it has taken."""
    experiment = load_experiment(CONFIGS / "smoke.yaml", overrides=overrides, seeds="2")
    planned = plan_runs(experiment.runs, RunStore(folder))
    steps = RawArray("q", len(planned))
    for _ in run_experiment(planned, data_dir=None, num_processes=num_processes, steps=steps):
        pass
    return list(steps)


def test_the_bytes_are_the_same(tmp_path: Path) -> None:
    """Two processes at a time write what one run after the other does: metrics, weights, results; and say as much."""
    settings = ["compare.model.norm=[none, noisy_batch]", "training.epochs=2", "data.train_size=128"]
    assert run_all(tmp_path / "one", 1, *settings) == [4] * 4
    assert run_all(tmp_path / "two", 2, *settings) == [4] * 4
    assert len(content(tmp_path / "one")) == 4 * 5
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize(("num_processes", "first"), [(1, [0, 1]), (2, [0, 4])])
def test_long_runs_start_first(tmp_path: Path, num_processes: int, first: list[int]) -> None:
    """Of several at a time the longest is none of those left for the end, though it stands last in the plan."""
    settings = ["claims=[]", "compare=[{label: short}, {label: long, training.epochs: 100}]", "training.epochs=1"]
    runs = load_experiment(CONFIGS / "regression.yaml", overrides=settings, seeds="4").runs
    planned = plan_runs([*[run for run in runs if run.total_steps == 1], runs[-1]], RunStore(tmp_path))
    events = run_experiment(planned, data_dir=None, num_processes=num_processes)
    started = [planned.index(event.planned) for event in events if isinstance(event.what, Started)]
    assert sorted(started) == [0, 1, 2, 3, 4]
    assert sorted(started[:2]) == first


def test_the_bytes_are_the_same_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system with no forkserver, no `fcntl` and no `resource`, such as Windows, writes the same."""
    settings = ["compare.model.norm=[batch]", "training.epochs=1", "data.train_size=64"]
    assert run_all(tmp_path / "here", 1, *settings) == [1] * 2
    assert filelock.FileLock  # imported while there is fcntl, on which it rests here
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.delattr(os, "O_DIRECTORY")
    for name in ("fcntl", "resource"):
        monkeypatch.setitem(sys.modules, name, None)
    assert Processes(1, None, torch.device("cpu")).context.get_start_method() == "spawn"
    assert run_all(tmp_path / "elsewhere", 2, *settings) == [1] * 2
    assert content(tmp_path / "here") == content(tmp_path / "elsewhere")
    assert not list(tmp_path.rglob(".*.lock"))


def test_a_lock_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `fcntl` a lock excludes another all the same, until it is released."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    one, other = (Lock(tmp_path / "lock") for _ in range(2))
    assert (one.take(), other.take()) == (True, False)
    one.release()
    assert other.take()
    other.release()


def only_child() -> int:
    """The process id of the one worker."""
    (child,) = [process for process in multiprocessing.active_children() if process.is_alive()]
    assert child.pid is not None
    return child.pid


def sweep(folder: Path, *settings: Sequence[str]) -> Iterator[tuple[int, Event]]:
    """Train runs of configs/regression.yaml in one process after the other, and tell which each event is of."""
    runs = [load_experiment(CONFIGS / "regression.yaml", overrides=s, seeds="1").runs[0] for s in settings]
    planned = plan_runs(runs, RunStore(folder))
    with closing(Processes(1, None, torch.device("cpu"))) as place:
        start_forkserver()
        for event in Sweep(
            planned, [(place, list(range(len(runs))))], allow_inexact=False, keep_checkpoints=False
        ).train():
            yield planned.index(event.planned), event


def test_a_death_costs_its_own_run_alone(tmp_path: Path) -> None:
    """A worker that is killed starts again, three times in all; then its run has failed, and the next one trains."""
    told = []
    for number, event in sweep(tmp_path, LONG, ["training.epochs=3", "claims=[]"]):
        told.append((number, event.what))
        if number == 0 and event.record is not None and event.record.step == 20:
            os.kill(only_child(), signal.SIGKILL)
    assert [type(what) for number, what in told if number == 0].count(Restart) == 2
    (failure,) = [what for _, what in told if isinstance(what, Failure)]
    assert failure.message == "its process was killed (SIGKILL, perhaps for lack of memory); given up after 3 starts"
    steps = [what.record.step for number, what in told if number == 1 and isinstance(what, Evaluated)]
    assert steps == [1, 2, 3]
    assert multiprocessing.active_children() == []


SHORT = ["training.epochs=3", "claims=[]"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_worker_trains_one_run_after_the_other(tmp_path: Path, is_killed: bool) -> None:
    """It is the same process; where that has died between two runs, another one trains the second, all of it."""
    steps, processes = list[tuple[int, int]](), set[int]()
    for number, event in sweep(tmp_path, SHORT, [*SHORT, "training.optimizer.lr=0.5"]):
        if event.record is not None:
            steps.append((number, event.record.step))
            processes.add(only_child())
            if is_killed and steps == [(0, 1), (0, 2), (0, 3)]:
                (worker,) = multiprocessing.active_children()
                worker.kill()
                worker.join()  # or else the next run might still be sent to it
    assert steps == [(number, step) for number in (0, 1) for step in (1, 2, 3)]
    assert len(processes) == 1 + is_killed
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [
        (0, "its process ended without a result (exit code 0)"),
        (1, "its process ended without a result (exit code 1)"),
        (-signal.SIGKILL, "its process was killed (SIGKILL, perhaps for lack of memory)"),
        (-signal.SIGSEGV, "its process was killed (SIGSEGV)"),
        (-40, "its process was killed (signal 40)"),
        (None, "its process ended without a result (exit code None)"),
    ],
)
def test_how_a_process_ended(exit_code: int | None, said: str) -> None:
    """In words, whatever the signal."""
    assert how_it_ended(exit_code) == said


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@needs_proc
def test_a_death_in_the_middle_of_a_message(tmp_path: Path) -> None:
    """A worker that is killed while it sends more than a pipe holds starts again as any other."""
    kinds = list[str]()
    for _, event in sweep(tmp_path, [*LARGE_MESSAGES, "training.epochs=3"]):
        kinds.append(type(event.what).__name__)
        if kinds == ["Started", "Evaluated"]:
            child = only_child()
            deadline = time.monotonic() + 20
            while state_of(child) != "S":  # it waits for a reader of its second evaluation
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(child, signal.SIGKILL)
    assert kinds == ["Started", "Evaluated", "Restart", "Started", "Evaluated", "Evaluated"]


def state_of(process: int) -> str:
    """`R` while it computes, `S` while it waits."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """A worker killed twice costs no byte: the run goes on from the last checkpoint that reached the driver."""
    settings = [*LARGE_MESSAGES, "training.epochs=6"]
    experiment = load_experiment(CONFIGS / "regression.yaml", overrides=settings, seeds="1")
    for _ in run_experiment(plan_runs(experiment.runs[:1], RunStore(tmp_path / "whole")), data_dir=None):
        pass
    went_on = []
    for _, event in sweep(tmp_path / "killed", settings):
        if isinstance(event.what, Started):
            went_on.append(event.what.from_checkpoint)
        if event.record is not None and event.record.step == 2 * len(went_on) < 6:
            os.kill(only_child(), signal.SIGKILL)  # which waits for a reader, or computes, and has not ended
    assert went_on == [False, True, True]
    assert content(tmp_path / "whole") == content(tmp_path / "killed")


def session_of(driver: int) -> set[int]:
    """Every living process of a session, zombies left out."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == driver and fields[0] != "Z":
                found.add(int(entry.name))
    return found


def start_driver(folder: Path, settings: list[str]) -> subprocess.Popen[bytes]:
    """`bncompare train --jobs 2` in a session of its own, with which its processes can be told."""
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "bncompare",
        "train",
        str(CONFIGS / "regression.yaml"),
        "--no-report",
        *arguments,
    ]
    return subprocess.Popen(
        [*command, "--jobs", "2", "--seeds", "1", "--runs", str(folder)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_workers(driver: subprocess.Popen[bytes], folder: Path) -> None:
    """Until two runs have begun; the driver, the forkserver and two workers live then."""
    deadline = time.monotonic() + 120
    while len(list(folder.glob("regression/*/config.yaml"))) < 2:
        assert time.monotonic() < deadline
        assert driver.poll() is None
        time.sleep(0.1)
    time.sleep(0.5)  # they train
    assert len(session_of(driver.pid)) >= 4


def assert_all_end(driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20  # a second or two, where the machine is not busy
    while session_of(driver.pid):
        assert time.monotonic() < deadline, session_of(driver.pid)
        time.sleep(0.1)


@needs_proc
@pytest.mark.parametrize(
    ("number", "code", "settings"),
    [
        pytest.param(signal.SIGINT, 130, LONG, id="interrupted"),
        pytest.param(signal.SIGTERM, 143, LONG, id="terminated"),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, FAR, id="killed, far from the next evaluation"),
    ],
)
def test_nothing_outlives_the_driver(number: signal.Signals, code: int, settings: list[str], tmp_path: Path) -> None:
    """Interrupted, terminated or killed, the driver exits as promised within 5 s, and leaves no worker behind, not
    even one that would send nothing for minutes, and so not notice by sending."""
    driver = start_driver(tmp_path, settings)
    wait_for_workers(driver, tmp_path)
    os.kill(driver.pid, number)
    assert driver.wait(timeout=5) == code
    assert_all_end(driver)
