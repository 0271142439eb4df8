"""What the tests of faults begin from, and a limit to the time that one of them hangs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import finish, one_run

from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.runs.folder import RunStore

SECONDS_TO_HANG = 120


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    def fail(*_: object) -> None:
        pytest.fail("it hangs")  # no Exception, which training would take for its own

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS_TO_HANG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, finished; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    finish(one_run(folder), folder / "runs", keep_checkpoints=True)
    return folder / "runs"


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with two of its evaluations; not to be changed."""
    folder = tmp_path_factory.mktemp("begun")
    events = run_experiment(plan_runs(one_run(folder), RunStore(folder / "runs")), data_dir=None)
    for event in events:
        if event.record is not None and event.record.epoch == 2:
            break
    events.close()  # type: ignore[attr-defined]
    return folder / "runs"
