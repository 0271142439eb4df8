"""Faults: bit flips, truncations and lost files in run folders, folders that cannot be written, full disks."""

import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import content, finish, tiny

from bncompare import cli
from bncompare.config.schema import RunConfig
from bncompare.execution import Started
from bncompare.experiment import plan, run_experiment
from bncompare.store import RunStore


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, finished."""
    folder = tmp_path_factory.mktemp("whole")
    finish(one_run(folder), folder / "runs")
    return folder / "runs"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with two of its evaluations."""
    folder = tmp_path_factory.mktemp("begun")
    events = run_experiment(plan(one_run(folder), RunStore(folder / "runs")), data_dir=None)
    for event in events:
        if event.record is not None and event.record.epoch == 2:
            break
    events.close()  # type: ignore[attr-defined]
    return folder / "runs"


def one_run(folder: Path) -> list[RunConfig]:
    return tiny(folder, seeds="1")[1:]


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
    (planned,) = plan(runs, RunStore(folder))
    assert (planned.state, planned.folder.damaged_checkpoints) == ("begun", [checkpoint])
    first, evaluation, *_ = run_experiment([planned], data_dir=None)
    assert isinstance(first.what, Started)
    assert first.what.from_checkpoint
    assert evaluation.record is not None
    assert evaluation.record.epoch == 2  # again: the first checkpoint is of epoch 1


def test_damage_to_a_finished_run(whole: Path, tmp_path: Path) -> None:
    """A damaged file of a finished run is never a traceback: the run is trained again, or left as it is."""
    runs = one_run(tmp_path)
    folder = tmp_path / "runs"
    shutil.copytree(whole, folder)
    path = RunStore(folder).run(runs[0]).path
    for name in sorted(path.name for path in path.iterdir()):
        for what in spoil(path / name):
            before = {file: file.read_bytes() for file in path.iterdir()}
            trained = [event for event in finish(runs, folder) if isinstance(event.what, Started)]
            if trained:
                assert content(folder) == content(whole), what
            else:
                assert {file: file.read_bytes() for file in path.iterdir()} == before, what
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)


# ---------------------------------------------------------------- disks


def call(*arguments: str) -> tuple[int, str]:
    """`bncompare …` in this process: exit code and stderr."""
    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["bncompare", *arguments])
        with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as ended:
            cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, err.getvalue()


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
    code, err = call(*command)
    (line,) = err.splitlines()
    assert code == 1
    path = RunStore(small_disk / "runs").run(runs[0]).path
    assert line.startswith(f"error: {path}{os.sep}")
    assert line.endswith(": cannot be written: No space left on device")
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert finish(runs, small_disk / "runs")
    assert content(small_disk / "runs") == content(whole)


def test_a_read_only_folder(tmp_path: Path) -> None:
    """A folder that cannot be written is one line that names it."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tiny(tmp_path)
    (tmp_path / "runs").mkdir(mode=0o500)
    code, err = call("train", str(tmp_path / "tiny.yaml"), "--runs", str(tmp_path / "runs"))
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'runs'}")
    assert line.endswith("cannot be written: Permission denied")
