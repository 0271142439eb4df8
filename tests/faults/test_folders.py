"""Odd folders: whatever lies where a run goes, that run alone fails, with a line; what is a person's stays."""

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import content, copy, finish, fork, tiny, unreadable, wait
from kit import call

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.errors import StorageError
from bncompare.execution.messages import Attempt, Evaluated, Failure, Job, Started
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.runs.folder import RunStore
from bncompare.runs.read import read_runs


def a_file(path: Path) -> None:
    path.write_text("mine")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def a_link(path: Path) -> None:
    elsewhere = path.parents[2] / "elsewhere"
    elsewhere.mkdir()
    path.symlink_to(elsewhere)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_folder_in_it(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).mkdir(parents=True)


def a_lock_that_is(make: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda path: make(path.with_name(f".{path.name}.lock"))


FAILING = {
    "a file": a_file,
    "a pipe": a_pipe,
    "a dangling link": a_dangling_link,
    "a link to itself": a_loop,
    "a link to a folder": a_link,
    "a folder config.yaml": a_folder_in_it("config.yaml"),
    "a folder environment.json": a_folder_in_it("environment.json"),
    "a folder result.json": a_folder_in_it("result.json"),
    "a lock that is a folder": a_lock_that_is(a_folder),
    "a lock that is a dangling link": a_lock_that_is(a_dangling_link),
    "a lock that is a link to itself": a_lock_that_is(a_loop),
}


@pytest.fixture
def runs(tmp_path: Path) -> list[RunConfig]:
    """Two runs: without a norm, and with batch norm."""
    return tiny(tmp_path, seeds="1")


def everything(folder: Path) -> set[tuple[str, int]]:
    """Names and kinds of what lies in a folder, links as such."""
    return {(str(path.relative_to(folder)), stat.S_IFMT(path.lstat().st_mode)) for path in folder.rglob("*")}


@pytest.mark.parametrize("case", FAILING)
def test_a_run_whose_folder_cannot_be_written(tmp_path: Path, runs: list[RunConfig], case: str) -> None:
    """It fails with one line that names its folder, the other finishes, exit code 1; what lay there lies there."""
    root = tmp_path / "runs"
    odd, good = (RunStore(root).run(run).path for run in runs)
    odd.parent.mkdir(parents=True)
    FAILING[case](odd)
    before = everything(root)
    ended = call("train", tmp_path / "tiny.yaml", "--seeds", "1", "--jobs", "1", "--no-report", "--runs", root)
    lines = ended.err.splitlines()
    assert ended.code == 1
    (line,) = [line for line in lines if "FAILED" in line]
    name, reason = line.split("] ")[1].split(": FAILED: ")
    assert (name, odd.name in reason, line.isprintable()) == ("tiny no norm seed 0", True, True)
    assert lines[-2:] == ["1 of 2 runs failed:", f"  {name}: {reason}"]
    assert (good / "result.json").is_file()
    assert before <= everything(root)
    assert not (root / "tiny" / "nowhere").exists()
    assert not any(tmp_path.glob("elsewhere/*"))


def test_what_a_person_put_into_the_folder_stays(tmp_path: Path, runs: list[RunConfig]) -> None:
    """`begin` removes the temporary files of a process that was killed, by their exact names, and nothing else."""
    root = tmp_path / "runs"
    path = RunStore(root).run(runs[0]).path
    (path / ".ipynb_checkpoints").mkdir(parents=True)
    theirs = [".notes", ".metrics.csv.backup-1", ".metrics.csv.swp", ".result.json", "metrics.csv.abcd1234"]
    ours = [".metrics.csv.abcd1234", ".best.safetensors.a_b0c_d9", ".checkpoint-before.pt.zzzzzzzz"]
    for name in [*theirs, *ours]:
        (path / name).write_text("")
    finish(runs, root)
    left = set(os.listdir(path))
    assert {".ipynb_checkpoints", "result.json", *theirs} <= left
    assert left.isdisjoint(ours)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_run_that_cannot_be_kept_is_not_trained_on(tmp_path: Path, num_processes: int) -> None:
    """A run whose folder vanishes while it trains fails there, once, however long it would have taken; the others
    finish."""
    short = tiny(tmp_path, seeds="1")
    changes = ["training.epochs=200000", "training.early_stopping=null"]
    endless = load_experiment(tmp_path / "tiny.yaml", overrides=changes, seeds="1").runs[0]
    root = tmp_path / "runs"
    path = RunStore(root).run(endless).path
    planned = plan_runs([endless, *short], RunStore(root))
    events = []
    for event in run_experiment(planned, data_dir=None, num_processes=num_processes):
        events.append(event)
        if isinstance(event.what, Started) and event.planned is planned[0]:
            shutil.rmtree(path)
            a_file(path)
    (failure,) = [event for event in events if isinstance(event.what, Failure)]
    assert failure.planned is planned[0]
    assert [event for event in events if event.planned is planned[0]][-1] is failure
    assert len([event for event in events if isinstance(event.what, Evaluated) and event.what.record.outcome]) == 2
    assert path.read_text() == "mine"


def test_a_checkpoint_that_cannot_be_read_after_a_death(tmp_path: Path, begun: Path) -> None:
    """A run whose process died and whose checkpoint cannot be read fails; the sweep goes on."""
    copied = copy(begun, tmp_path)
    folder = RunStore(copied.root).run(copied.runs[0])
    with unreadable(folder.path / "checkpoint.pt", 5):
        following, result = Attempt(Job(0, folder.config, None)).after_death(
            lambda job: Job(job.number, job.run, folder.resume()), "its process was killed"
        )
    assert following is None
    assert isinstance(result, Failure)
    assert result.message.startswith(f"its process was killed; {folder.path / 'checkpoint.pt'}: cannot be read: ")


# ---------------------------------------------------------------- locks


def test_locks_of_finished_runs_do_not_stay(tmp_path: Path, runs: list[RunConfig]) -> None:
    """What a process that was killed left goes with the next call; a lock that is held stays."""
    root = tmp_path / "runs"
    finish(runs, root)
    paths = [RunStore(root).run(run).path for run in runs]
    locks = [path.with_name(f".{path.name}.lock") for path in paths]
    for lock in locks:
        lock.write_text("")
    holder = RunStore(root).run(runs[0])
    assert holder.lock()
    assert finish(runs, root) == []
    assert [lock.exists() for lock in locks] == [True, False]
    holder.unlock()
    assert not locks[0].exists()


def test_a_link_in_place_of_a_lock(tmp_path: Path, runs: list[RunConfig]) -> None:
    """Nothing is created where it leads, and the error names it."""
    folder = RunStore(tmp_path / "runs").run(runs[0])
    folder.path.parent.mkdir(parents=True)
    lock = folder.path.with_name(f".{folder.path.name}.lock")
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"\.lock: cannot be written: is a link"):
        folder.lock()
    assert not (tmp_path / "elsewhere").exists()
    assert lock.is_symlink()


# ---------------------------------------------------------------- permissions


@pytest.fixture
def ordinary() -> Iterator[Path]:
    """A folder for an ordinary user, to whom permissions mean something."""
    folder = Path(tempfile.mkdtemp(prefix="bncompare-"))
    yield folder
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(folder)


def as_ordinary(folder: Path, work: Callable[[], None]) -> int:
    """Do some work in a process of its own, of the user `nobody` if we are root, who then owns the folder; its exit
    code."""

    def drop_and_work() -> None:
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid)
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        work()

    return wait(fork(drop_and_work))


@pytest.mark.parametrize("name", ["result.json", "metrics.csv", "best.safetensors", ""])
def test_a_finished_run_without_permission(ordinary: Path, name: str) -> None:
    """A file, or a folder, that may not be read fails its run; it is not retrained, and the other run finishes."""
    runs = tiny(ordinary, seeds="1")
    root = ordinary / "runs"
    finish(runs[:1], root)
    before = content(root)
    hidden = RunStore(root).run(runs[0]).path / name
    hidden.chmod(0)

    def train() -> None:
        events = finish(runs, root)
        (failure,) = [event.what for event in events if event.planned.run == runs[0]]
        assert isinstance(failure, Failure)
        assert failure.message.startswith(str(hidden))
        assert failure.message.endswith(": cannot be read: Permission denied")
        assert any(event.is_end and event.planned.run == runs[1] for event in events)

    assert as_ordinary(ordinary, train) == 0
    hidden.chmod(0o700)
    assert before.items() <= content(root).items()


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_folder_that_cannot_be_searched(ordinary: Path, mode: int) -> None:
    """It is a warning, whether its names can be read or not; the other runs are there."""
    root = ordinary / "runs"
    finish(tiny(ordinary, seeds="1"), root)
    (root / "closed" / "experiment").mkdir(parents=True)
    (root / "closed").chmod(mode)

    def look() -> None:
        loaded, (warning,) = read_runs([root])
        assert len(loaded) == 2
        assert warning.startswith(f"{root / 'closed'}")
        assert warning.endswith(": skipped: Permission denied")

    assert as_ordinary(ordinary, look) == 0


def test_a_read_only_folder(ordinary: Path) -> None:
    """A folder of runs that cannot be written is one line that names it."""
    tiny(ordinary)
    (ordinary / "runs").mkdir(mode=0o500)

    def train() -> None:
        ended = call("train", ordinary / "tiny.yaml", "--runs", ordinary / "runs", "--jobs", "1", "--no-report")
        assert ended.code == 1
        assert ended.err.startswith(f"error: {ordinary / 'runs'}")
        assert ended.err.endswith("cannot be written: Permission denied\n")
        assert ended.err.count("\n") == 1

    assert as_ordinary(ordinary, train) == 0
