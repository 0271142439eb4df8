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
from harness import Copy, content, copy, one_run, unreadable
from kit import ODD_FILES, call

from bncompare.execution.messages import Failure, Started
from bncompare.execution.sweep import run_experiment
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
    copied = copy(begun, tmp_path)
    names = sorted(copied.files())
    assert {"checkpoint.pt", "checkpoint-before.pt", "config.yaml", "metrics.csv"} < set(names)
    for name in names:
        for what in spoil(copy(begun, tmp_path / name).path / name):
            shutil.rmtree(copied.root)
            shutil.copytree(tmp_path / name / "runs", copied.root)
            copied.finish()
            assert content(copied.root) == content(whole), what


def test_the_checkpoint_before_a_damaged_one(begun: Path, tmp_path: Path) -> None:
    """A damaged checkpoint is named and the run goes on from the one before it."""
    copied = copy(begun, tmp_path)
    checkpoint = copied.path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    planned = copied.plan()
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
    copied = copy(whole, tmp_path)
    good = copied.files()
    for name in sorted(good):
        for what in spoil(copied.path / name):
            before = copied.files()
            events = copied.finish()
            if any(isinstance(event.what, Started) for event in events):
                assert name not in REPLACEABLE, what
                assert content(copied.root) == content(whole), what
            else:
                assert copied.files() == (good if events else before), what
        shutil.rmtree(copied.root)
        shutil.copytree(whole, copied.root)


# ---------------------------------------------------------------- every file × every kind


def terabyte(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**40)


KINDS = ODD_FILES | {"terabyte": terabyte}
ERRORS = {os.strerror(number): number for number in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)}
# What says whether a run is finished, or what it goes on from; the others are only written.
DECIDING = {
    "finished": ["result.json", "config.yaml", "metrics.csv", "timing.csv", "diagnostics.csv", "best.safetensors"],
    "begun": ["checkpoint.pt"],
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
    for name in DECIDING[state]:
        copied = copy(whole if state == "finished" else begun, tmp_path / name)
        if kind in KINDS:
            KINDS[kind](copied.path / name)
        before = listing(copied.path)
        with unreadable(copied.path / name, ERRORS[kind]) if kind in ERRORS else contextlib.nullcontext():
            planned = copied.plan()
            if (name, kind) == ("best.safetensors", "terabyte"):  # it is read: its header says so
                assert planned.state == "damaged"
                continue
            assert planned.state == "unreadable", name
            (event,) = run_experiment([planned], data_dir=None)
        assert isinstance(event.what, Failure)
        assert event.what.message == planned.problems[0]
        assert event.what.message.startswith(f"{copied.path / name}: cannot be read: "), name
        assert kind not in ERRORS or event.what.message.endswith(kind)
        assert listing(copied.path) == before, name
        assert kind not in ERRORS or copied.plan().state == state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", DECIDING)
def test_a_file_that_need_not_be_read(whole: Path, begun: Path, tmp_path: Path, state: str, kind: str) -> None:
    """The other files of a finished run are left alone, whatever they are; those of an unfinished one are written
    anew, links replaced and not followed; a folder in the way is a line that names it."""
    root = whole if state == "finished" else begun
    names = {path.name for path in root.glob("*/*/*")} - set(DECIDING[state])
    assert {"environment.json", "checkpoint.pt" if state == "finished" else "config.yaml"} <= names
    for name in names:
        copied = copy(root, tmp_path / name)
        KINDS[kind](copied.path / name)
        elsewhere = tmp_path / name / f"elsewhere-{name}"
        target = elsewhere.read_bytes() if elsewhere.exists() else None
        before = listing(copied.path)
        events = copied.finish()
        if state == "finished":
            assert (events, listing(copied.path)) == ([], before), name
        elif kind == "folder":
            assert isinstance(events[-1].what, Failure)
            assert f"{copied.path}{os.sep}" in events[-1].what.message
            assert "cannot be written" in events[-1].what.message
        else:
            assert content(copied.root) == content(whole), name
        assert target is None or elsewhere.read_bytes() == target
        assert not (tmp_path / name / "nowhere").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_commands_end_whatever_a_file_is(whole: Path, tmp_path: Path, kind: str) -> None:
    """`train --dry-run`, `list`, `show` and `verify` neither hang nor fill the memory, and print lines."""
    for name in sorted(path.name for path in whole.glob("*/*/*")):
        copied = copy(whole, tmp_path / name)
        KINDS[kind](copied.path / name)
        endings = [copied.train("--dry-run"), call("list", copied.root), call("show", copied.root)]
        if name in ("best.safetensors", "diagnostics.csv"):  # the others are read as by `list`
            endings.append(call("verify", "--jobs", "1", copied.root))
        for ended in endings:
            assert ended.code in (0, 1, 2)
            assert all(line.isprintable() for line in ended.err.splitlines())


@pytest.mark.parametrize("name", ["best.safetensors", "diagnostics.csv", "metrics.csv"])
def test_a_finished_run_that_lost_a_file(whole: Path, tmp_path: Path, name: str) -> None:
    """It is said, and the run is trained again to the same bytes."""
    copied = copy(whole, tmp_path)
    (copied.path / name).unlink()
    planned = copied.plan()
    assert (planned.state, planned.problems) == ("damaged", (f"{copied.path / name}: lost; the run starts over",))
    ended = copied.train()
    assert (ended.code, ended.err.splitlines()[0]) == (0, f"warning: {planned.problems[0]}")
    assert content(copied.root) == content(whole)
    assert copied.train().err == "1 of 1 runs are finished already\n"


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
@pytest.mark.parametrize("name", sorted({*REPLACEABLE} - {"predictions.csv"}))  # there are no classes here
def test_a_finished_run_that_lost_what_is_written_again(
    whole: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    """It is said, and the file written again, to the byte; nothing is trained. A file that is never read is left as
    it is, unless it is lost or empty."""
    copied = copy(whole, tmp_path)
    good = copied.files()
    (copied.path / name).unlink()
    if content is not None:
        (copied.path / name).write_bytes(content)
    if not content or name != "environment.json":
        ended = copied.train()
        warning, line = ended.err.splitlines()
        what = "lost" if content is None else "damaged: "
        assert ended.code == 0
        assert warning.startswith(f"warning: {copied.path / name}: {what}")
        assert warning.endswith("; it is written again")
        assert line.startswith("[1/1] tiny BatchNorm seed 0: finished already; what it had lost is written again")
        assert copied.files() == good
    assert copied.train().err == "1 of 1 runs are finished already\n"


def test_a_finished_run_without_times_and_checkpoint(whole: Path, tmp_path: Path) -> None:
    """What is not known any more is left out; the numbers are there."""
    copied = copy(whole, tmp_path)
    before = read_run(copied.path)
    for name in ("timing.csv", "checkpoint.pt", "environment.json", "config.yaml"):
        (copied.path / name).unlink()
    (event,) = copied.finish()
    assert event.what == "written again"
    run = read_run(copied.path)
    assert (run.metrics, run.result, run.config) == (before.metrics, before.result, before.config)
    assert (run.seconds, run.environment) == (0, {})
    assert copied.finish() == []


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
    copied = copy(whole, tmp_path)
    lines = (copied.path / name).read_bytes()
    if (name, size) == ("metrics.csv", -1):  # a whole row
        size = lines.rindex(b"\n", 0, -1) + 1
    (copied.path / name).write_bytes(lines[:size])
    planned = copied.plan()
    (problem,) = planned.problems
    assert planned.state == "damaged"
    assert problem.startswith(f"{copied.path}: damaged: ")
    assert why in problem
    copied.finish()
    assert content(copied.root) == content(whole)


def test_a_checkpoint_is_read_once_for_the_plan_and_once_to_go_on(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it may be large, and every byte of it is checked."""
    copied = copy(begun, tmp_path)
    opened: list[str] = []
    real = os.open

    def count(name: str, *arguments: int, **keywords: int) -> int:
        opened.append(os.fspath(name))
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(os, "open", count)
    assert copied.train().code == 0
    assert opened.count(str(copied.path / "checkpoint.pt")) == 2


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
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(32 * 1024))
    run = Copy(one_run(small_disk), small_disk / "runs")
    ended = run.train("--json")
    assert ended.code == 1
    assert ended.err.startswith(f"[1/1] tiny BatchNorm seed 0: FAILED: {run.path}{os.sep}")
    assert ended.err.endswith(": cannot be written: No space left on device\n")
    assert ended.err.count("\n") == 1
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert run.finish()
    assert content(run.root) == content(whole)
