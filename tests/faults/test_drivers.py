"""Faults: drivers killed and terminated at random instants, and two of them at once."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from harness import assert_readable, content, finish, fork, instants, kill_after, tiny, wait

from bncompare import cli
from bncompare.config.run import RunConfig
from bncompare.execution import sweep as experiment
from bncompare.execution.messages import Started
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.runs.folder import RunStore


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny sweep, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    finish(tiny(folder), folder / "runs")
    return folder / "runs"


def test_a_driver_killed_at_random_instants(whole: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Killed again and again at random instants, a sweep of 8 runs ends with the bytes of an undisturbed one."""
    runs = tiny(tmp_path)
    folder, sweeps, killed = tmp_path / "0", 0, 0
    for instant in instants(request.config):
        driver = fork(lambda folder=folder: finish(runs, folder))
        ended = kill_after(driver, 0.5 * instant, signal.SIGKILL)
        assert ended in (0, -signal.SIGKILL)
        killed += ended != 0
        assert_readable(folder, runs)
        if ended == 0:
            assert content(folder) == content(whole)
            sweeps += 1
            folder = tmp_path / str(sweeps)
    finish(runs, folder)
    assert content(folder) == content(whole)
    assert killed > 0


def train_command(*arguments: str, tell: int) -> None:
    """`bncompare train …` in this process, which tells when its runs begin."""
    real = experiment.run_experiment

    def told(*positional: Any, **keywords: Any) -> Any:
        os.write(tell, b"!")
        return real(*positional, **keywords)

    experiment.run_experiment = told
    sys.argv = ["bncompare", "train", *arguments]
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as the script does
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
        cli.main()


def test_a_driver_terminated_at_random_instants(whole: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """SIGTERM and SIGINT end a sweep at once, with 143 and 130, and lose nothing; a temporary file that they leave is
    gone when the run goes on."""
    runs = tiny(tmp_path)
    codes = {signal.SIGTERM: 143, signal.SIGINT: 130}
    folder, sweeps = tmp_path / "0", 0
    for i, instant in enumerate(instants(request.config, 0.5)):
        number = list(codes)[i % 2]
        ready, tell = os.pipe()
        command = (str(tmp_path / "tiny.yaml"), "--runs", str(folder), "--jobs", "1", "--no-report")
        driver = fork(lambda command=command, tell=tell: train_command(*command, tell=tell))
        assert os.read(ready, 1) == b"!"
        sent = time.monotonic() + 0.5 * instant
        ended = kill_after(driver, 0.5 * instant, number)
        assert ended in (0, codes[number], -number)  # the last: as it was about to exit
        assert time.monotonic() - sent < 5
        assert_readable(folder, runs)
        if ended != codes[number]:
            assert content(folder) == content(whole)
            sweeps += 1
            folder = tmp_path / str(sweeps)
    finish(runs, folder)
    assert content(folder) == content(whole)
    assert not [path for path in tmp_path.rglob(".*") if path.suffix != ".lock"]


def test_the_command_killed_with_its_workers_at_random_instants(
    whole: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """`train --jobs 2` killed while its workers train: they end by themselves, and the next call goes on."""
    runs = tiny(tmp_path)
    folder = tmp_path / "runs"
    command = [
        "-m",
        "bncompare",
        "train",
        str(tmp_path / "tiny.yaml"),
        "--runs",
        str(folder),
        "--no-report",
        "--jobs",
        "2",
    ]
    for instant in instants(request.config, 0.1):
        driver = subprocess.Popen(
            [sys.executable, *command], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while driver.poll() is None and not any(folder.rglob("checkpoint.pt")):
            time.sleep(0.001)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(timeout=instant)
        driver.kill()
        assert driver.wait() in (0, -signal.SIGKILL)
        # A server that is still importing torch notices when it is done, on a busy machine after many seconds.
        deadline = time.monotonic() + 60
        while processes_of_session(driver.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert_readable(folder, runs)
    finish(runs, folder, num_processes=2)
    assert content(folder) == content(whole)


def processes_of_session(session: int) -> list[str]:
    """The living processes of a session, zombies left out."""
    listed = subprocess.run(["ps", "-s", str(session), "-o", "pid=,stat="], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if " Z" not in line]


# ---------------------------------------------------------------- two at once


def log_starts(runs: list[RunConfig], folder: Path, log: Path, **options: Any) -> None:
    """Train what is not finished, and write down which runs were begun, with when they went on from a checkpoint."""
    with log.open("a") as file:
        for event in run_experiment(plan_runs(runs, RunStore(folder)), data_dir=None, **options):
            if isinstance(event.what, Started):
                print(json.dumps([event.planned.folder.path.name, event.what.from_checkpoint]), file=file, flush=True)


def starts(*logs: Path) -> list[tuple[str, bool]]:
    return [tuple(json.loads(line)) for log in logs for line in log.read_text().splitlines()]


def test_two_drivers_share_the_runs(whole: Path, tmp_path: Path) -> None:
    """Two commands on one experiment at once: each run is trained by one of them, each ends when all are finished."""
    runs = tiny(tmp_path)
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    drivers = [fork(lambda log=log: log_starts(runs, tmp_path / "runs", log)) for log in logs]
    assert [wait(driver) for driver in drivers] == [0, 0]
    begun = starts(*logs)
    assert len(begun) == len(set(begun)) == len(runs)
    assert all(starts(log) for log in logs)
    assert content(tmp_path / "runs") == content(whole)
    assert not list((tmp_path / "runs").rglob(".*"))


def test_a_driver_takes_over_from_one_that_died(whole: Path, tmp_path: Path) -> None:
    """A command that finds a run being trained waits for it, and goes on with it when the other is killed."""
    runs = tiny(tmp_path)
    folder = tmp_path / "runs"
    stopped = RunStore(folder).run(runs[0])

    def train_a_bit_and_hang() -> None:
        for event in run_experiment(plan_runs(runs[:1], RunStore(folder)), data_dir=None):
            if event.record is not None and event.record.step == 6:
                time.sleep(60)

    first = fork(train_a_bit_and_hang)
    deadline = time.monotonic() + 30
    while stopped.examine().state != "begun":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    seen: list[Any] = []
    for event in run_experiment(plan_runs(runs, RunStore(folder)), data_dir=None):
        seen.append(event)
        if event.what == "waiting":
            assert event.planned.run == runs[0]
            assert len({other.planned.run.seed for other in seen if other.is_end}) == 4
            os.kill(first, signal.SIGKILL)
            assert wait(first) == -signal.SIGKILL
    (taken,) = [event.what for event in seen if isinstance(event.what, Started) and event.planned.run == runs[0]]
    assert taken.from_checkpoint
    assert content(folder) == content(whole)


def test_a_run_that_another_finished_is_not_trained_again(whole: Path, tmp_path: Path) -> None:
    """What the plan did not know of is looked at again before a run begins, with --fresh while it was waited for."""
    runs = tiny(tmp_path)
    planned = plan_runs(runs, RunStore(tmp_path / "runs"))
    finish(runs[:3], tmp_path / "runs")
    events = list(run_experiment(planned, data_dir=None))
    elsewhere = [event.planned.run for event in events if event.what == "finished elsewhere"]
    assert elsewhere == runs[:3]
    assert len([event for event in events if isinstance(event.what, Started)]) == 5
    assert content(tmp_path / "runs") == content(whole)
