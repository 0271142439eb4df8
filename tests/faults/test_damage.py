"""Faults: bit flips, truncations and lost files in run folders, folders that cannot be written, full disks."""

import contextlib
import errno
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import content, finish, one_run, unreadable
from kit import call

from bncompare.cli.progress import show_progress
from bncompare.execution.messages import Failure, Started
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.runs.folder import RunStore
from bncompare.runs.layout import REPLACEABLE
from bncompare.runs.read import read_run


def spoil(path: Path) -> Iterator[str]:
    """Damage a file in one way after the other; it is restored in between."""
    good = path.read_bytes()
    source = random.Random(path.name)
    for _ in range(3):
        bit = source.randrange(8 * len(good))
        path.write_bytes(good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :])
        yield f"bit {bit} of {path.name} flipped"
    for size in (0, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        yield f"{path.name} cut off at {size}"
    path.unlink()
    yield f"{path.name} lost"
    path.write_bytes(good)


def test_damage_to_an_unfinished_run(whole: Path, begun: Path, tmp_path: Path) -> None:
    """Whatever is damaged in the folder of an unfinished run, the run ends with the bytes of an undisturbed one."""
    runs = one_run(tmp_path)
    names = sorted(path.name for path in RunStore(begun).run(runs[0]).path.iterdir())
    assert {"checkpoint.pt", "checkpoint-before.pt", "config.yaml", "metrics.csv"} < set(names)
    for name in names:
        for what in spoil(RunStore(begun).run(runs[0]).path / name):
            folder = tmp_path / "runs"
            shutil.copytree(begun, folder)
            finish(runs, folder)
            assert content(folder) == content(whole), what
            shutil.rmtree(folder)


def test_the_checkpoint_before_a_damaged_one(begun: Path, tmp_path: Path) -> None:
    """A damaged checkpoint is named and the run goes on from the one before it."""
    runs = one_run(tmp_path)
    folder = tmp_path / "runs"
    shutil.copytree(begun, folder)
    path = RunStore(folder).run(runs[0]).path
    checkpoint = path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    (planned,) = plan_runs(runs, RunStore(folder))
    assert planned.state == "begun"
    assert planned.problems == (f"{checkpoint}: damaged; the run goes on from checkpoint-before.pt",)
    first, evaluation, *_ = run_experiment([planned], data_dir=None)
    assert isinstance(first.what, Started)
    assert first.what.from_checkpoint
    assert evaluation.record is not None
    assert evaluation.record.epoch == 2  # again: the first checkpoint is of epoch 1


def test_damage_to_a_finished_run(whole: Path, tmp_path: Path) -> None:
    """A damaged file of a finished run is never a traceback: the run is trained again, or the file written again, or
    left as it is."""
    runs = one_run(tmp_path)
    folder = tmp_path / "runs"
    shutil.copytree(whole, folder)
    path = RunStore(folder).run(runs[0]).path
    good = {file: file.read_bytes() for file in path.iterdir()}
    for name in sorted(path.name for path in path.iterdir()):
        for what in spoil(path / name):
            before = {file: file.read_bytes() for file in path.iterdir()}
            events = finish(runs, folder)
            after = {file: file.read_bytes() for file in path.iterdir()}
            if any(isinstance(event.what, Started) for event in events):
                assert name not in REPLACEABLE, what
                assert content(folder) == content(whole), what
            else:
                assert after == (good if events else before), what
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)


# ---------------------------------------------------------------- every file × every kind


def link(path: Path) -> None:
    target = path.parents[3] / f"elsewhere-{path.name}"
    path.rename(target)
    path.symlink_to(target)


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parents[3] / "nowhere")


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def terabyte(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**40)


KINDS = {"a link": link, "a dangling link": dangling_link, "a device": device, "a pipe": pipe, "a folder": folder}
KINDS |= {"a terabyte": terabyte}
ERRORS = {os.strerror(number): number for number in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)}
# What says whether a run is finished, or what it goes on from; the others are only written.
DECIDING = {
    "finished": ["result.json", "config.yaml", "metrics.csv", "timing.csv", "diagnostics.csv", "best.safetensors"],
    "begun": ["checkpoint.pt"],
}
OTHERS = {
    "finished": ["environment.json", "curves.png", "checkpoint.pt"],
    "begun": [
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "timing.csv",
        "diagnostics.csv",
        "checkpoint-before.pt",
    ],
}


def listing(path: Path) -> dict[str, tuple[int, int, int]]:
    """What lies in a folder: inode, size and time of change of each entry, itself and not what it leads to."""
    entries = {name: os.lstat(path / name) for name in os.listdir(path)}
    return {name: (entry.st_ino, entry.st_size, entry.st_mtime_ns) for name, entry in entries.items()}


@pytest.mark.parametrize("kind", [*KINDS, *ERRORS])
@pytest.mark.parametrize("state", DECIDING)
def test_a_file_that_cannot_be_read(whole: Path, begun: Path, tmp_path: Path, state: str, kind: str) -> None:
    """A file that says what state a run is in, is there and cannot be read: the run fails with a line that names the
    file, nothing is retrained and nothing deleted; when it can be read again all is as before."""
    runs = one_run(tmp_path)
    for name in DECIDING[state]:
        root = tmp_path / name / "runs"
        shutil.copytree(whole if state == "finished" else begun, root)
        path = RunStore(root).run(runs[0]).path
        if kind in KINDS:
            KINDS[kind](path / name)
        before = listing(path)
        with unreadable(path / name, ERRORS[kind]) if kind in ERRORS else contextlib.nullcontext():
            (planned,) = plan_runs(runs, RunStore(root))
            if (name, kind) == (
                "best.safetensors",
                "a terabyte",
            ):  # it is read: its header says so
                assert planned.state == "damaged"
                continue
            assert planned.state == "unreadable", name
            (event,) = run_experiment([planned], data_dir=None)
        assert isinstance(event.what, Failure)
        assert event.what.message == planned.problems[0]
        assert event.what.message.startswith(f"{path / name}: cannot be read: "), name
        assert kind not in ERRORS or event.what.message.endswith(kind)
        assert listing(path) == before, name
        if kind in ERRORS:
            assert RunStore(root).run(runs[0]).examine().state == state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", OTHERS)
def test_a_file_that_need_not_be_read(whole: Path, begun: Path, tmp_path: Path, state: str, kind: str) -> None:
    """The other files of a finished run are left alone, whatever they are; those of an unfinished one are written
    anew, links replaced and not followed; a folder in the way is a line that names it."""
    runs = one_run(tmp_path)
    for name in OTHERS[state]:
        root = tmp_path / name / "runs"
        shutil.copytree(whole if state == "finished" else begun, root)
        path = RunStore(root).run(runs[0]).path
        KINDS[kind](path / name)
        elsewhere = tmp_path / name / f"elsewhere-{name}"
        target = elsewhere.read_bytes() if elsewhere.exists() else None
        before = listing(path)
        events = finish(runs, root)
        if state == "finished":
            assert (events, listing(path)) == ([], before), name
        elif kind == "a folder":
            assert isinstance(events[-1].what, Failure)
            assert f"{path}{os.sep}" in events[-1].what.message
            assert "cannot be written" in events[-1].what.message
        else:
            assert content(root) == content(whole), name
        assert target is None or elsewhere.read_bytes() == target
        assert not (tmp_path / name / "nowhere").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_commands_end_whatever_a_file_is(whole: Path, tmp_path: Path, kind: str) -> None:
    """`train --dry-run`, `list`, `show` and `verify` neither hang nor fill the memory, and print lines."""
    runs = one_run(tmp_path)
    names = sorted(os.listdir(RunStore(whole).run(runs[0]).path))
    for name in names:
        root = tmp_path / name / "runs"
        shutil.copytree(whole, root)
        path = RunStore(root).run(runs[0]).path
        KINDS[kind](path / name)
        config = str(tmp_path / "tiny.yaml")
        for command in (("train", config, "--dry-run", "--runs"), ("list",), ("show",), ("verify", "--jobs", "1")):
            if command[0] == "verify" and name not in ("best.safetensors", "diagnostics.csv"):
                continue  # the others are read as by `list`
            ended = call(*command, str(root))
            assert ended.code in (0, 1, 2)
            assert "Traceback" not in ended.err
            assert all(line.isprintable() for line in ended.err.splitlines())


@pytest.mark.parametrize("name", ["best.safetensors", "diagnostics.csv", "metrics.csv"])
def test_a_finished_run_that_lost_a_file(whole: Path, tmp_path: Path, name: str) -> None:
    """It is said, and the run is trained again to the same bytes."""
    runs = one_run(tmp_path)
    root = tmp_path / "runs"
    shutil.copytree(whole, root)
    path = RunStore(root).run(runs[0]).path
    (path / name).unlink()
    (planned,) = plan_runs(runs, RunStore(root))
    assert (planned.state, planned.problems) == ("damaged", (f"{path / name}: lost; the run starts over",))
    command = ("train", str(tmp_path / "tiny.yaml"), "--seeds", "1", "--jobs", "1", "--runs", str(root))
    ended = call(*command)
    code, err = ended.code, ended.err
    assert (code, err.splitlines()[0]) == (0, f"warning: {planned.problems[0]}")
    assert content(path) == content(RunStore(whole).run(runs[0]).path)
    assert call(*command).err == "2 of 2 runs are finished already\n"


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
@pytest.mark.parametrize("name", REPLACEABLE)
def test_a_finished_run_that_lost_what_is_written_again(
    whole: Path, tmp_path: Path, name: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and the file written again, to the byte; nothing is trained. A file that is never read is left as
    it is, unless it is lost or empty."""

    def train() -> tuple[int, str]:
        planned = plan_runs(runs, RunStore(root))
        return show_progress(planned, run_experiment(planned, data_dir=None), quiet=False), capsys.readouterr().err

    runs = one_run(tmp_path)
    root = tmp_path / "runs"
    shutil.copytree(whole, root)
    path = RunStore(root).run(runs[0]).path
    good = {file: file.read_bytes() for file in path.iterdir()}
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    if content and name in ("environment.json", "curves.png"):
        assert train() == (0, "1 of 1 runs are finished already\n")
        return
    code, err = train()
    warning, ended = err.splitlines()
    what = f"{path / name}: {'lost' if content is None else 'damaged: '}"
    assert code == 0
    assert warning.startswith(f"warning: {what}")
    assert warning.endswith("; it is written again")
    assert ended.startswith("[1/1] tiny batch seed 0: finished already; what it had lost is written again")
    assert {file: file.read_bytes() for file in path.iterdir()} == good
    assert train() == (0, "1 of 1 runs are finished already\n")


def test_a_finished_run_without_times_and_checkpoint(whole: Path, tmp_path: Path) -> None:
    """What is not known any more is left out; the numbers are there."""
    runs = one_run(tmp_path)
    root = tmp_path / "runs"
    shutil.copytree(whole, root)
    path = RunStore(root).run(runs[0]).path
    for name in ("timing.csv", "checkpoint.pt", "environment.json", "config.yaml"):
        (path / name).unlink()
    (event,) = finish(runs, root)
    assert event.what == "written again"
    run, before = read_run(path), read_run(RunStore(whole).run(runs[0]).path)
    assert (run.metrics, run.result, run.config) == (before.metrics, before.result, before.config)
    assert (run.seconds, run.environment) == (0, {})
    assert finish(runs, root) == []


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [
        ("metrics.csv", -1, "does not end where"),
        ("metrics.csv", 40, "rows of different lengths"),
        ("metrics.csv", 0, "does not start with"),
        ("diagnostics.csv", -1, "diagnostics.csv is cut off"),
        ("diagnostics.csv", 0, "diagnostics.csv is cut off"),
        ("best.safetensors", -1, "its length is not what its header says"),
        ("best.safetensors", 20, "not that of a safetensors file"),
        ("best.safetensors", 0, "not that of a safetensors file"),
        ("result.json", -3, "Expecting"),
    ],
)
def test_a_finished_run_with_a_damaged_file(whole: Path, tmp_path: Path, name: str, size: int, why: str) -> None:
    """The same of a file that was cut off."""
    runs = one_run(tmp_path)
    root = tmp_path / "runs"
    shutil.copytree(whole, root)
    path = RunStore(root).run(runs[0]).path
    lines = (path / name).read_bytes()
    if (name, size) == ("metrics.csv", -1):  # a whole row
        size = lines.rindex(b"\n", 0, -1) + 1
    (path / name).write_bytes(lines[:size])
    (planned,) = plan_runs(runs, RunStore(root))
    (problem,) = planned.problems
    assert planned.state == "damaged"
    assert problem.startswith(f"{path}: damaged: ")
    assert why in problem
    finish(runs, root)
    assert content(root) == content(whole)


def test_a_checkpoint_is_read_once_for_the_plan_and_once_to_go_on(begun: Path, tmp_path: Path) -> None:
    """As it may be large, and every byte of it is checked."""
    (run,) = one_run(tmp_path)
    path = RunStore(tmp_path / "runs").run(run).path / "checkpoint.pt"
    shutil.copytree(begun, tmp_path / "runs")
    opened: list[str] = []
    real = os.open

    def count(name: str, *arguments: int, **keywords: int) -> int:
        opened.append(os.fspath(name))
        return real(name, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", count)
        ended = call(
            "train", str(tmp_path / "tiny.yaml"), "--seeds", "1", "--jobs", "1", "--runs", str(tmp_path / "runs")
        )
    assert ended.code == 0
    assert opened.count(str(path)) == 2


# ---------------------------------------------------------------- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where this machine lets us have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, whole: Path, tmp_path: Path) -> None:
    """A disk that fills up is one line that names the file, and exit code 1; with space again, the run goes on."""
    runs = one_run(tmp_path)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(32 * 1024))
    command = (
        "train",
        str(tmp_path / "tiny.yaml"),
        "--seeds",
        "1",
        "--runs",
        str(small_disk / "runs"),
        "--jobs",
        "1",
    )
    command += ("--set", "compare.model.norm=[batch]", "--json")
    ended = call(*command)
    code, err = ended.code, ended.err
    (line,) = err.splitlines()
    assert code == 1
    path = RunStore(small_disk / "runs").run(runs[0]).path
    assert line.startswith(f"[1/1] tiny batch seed 0: FAILED: {path}{os.sep}")
    assert line.endswith(": cannot be written: No space left on device")
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert finish(runs, small_disk / "runs")
    assert content(small_disk / "runs") == content(whole)
