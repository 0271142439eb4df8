"""Faults: the process ends, or the disk is full, at every call that changes a file; nothing is torn, nothing lost."""

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import assert_readable, at_call, content, finish, fork, tiny, wait

from bncompare.execution.messages import Failure
from bncompare.runs.folder import RunStore


@functools.cache
def calls_of_a_run(folder: Path) -> list[str]:
    """The calls that change files in an undisturbed run with batch norm."""
    runs = tiny(folder, seeds="1")[1:]
    finish(runs, folder / "whole")
    with at_call(float("inf"), lambda: None) as calls:
        finish(runs, folder / "counted")
    assert content(folder / "whole") == content(folder / "counted")
    return calls


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    calls = calls_of_a_run(folder)
    assert {"mkstemp", "write", "fsync", "chmod", "replace", "unlink"} == set(calls)
    assert calls.count("replace") > 15
    return folder


def test_killed_at_every_write(whole: Path, tmp_path: Path) -> None:
    """A process that dies before, or in the middle of, any write leaves whole files, and the run goes on to the same
    bytes; the temporary file it may leave is gone when it does."""
    runs = tiny(tmp_path, seeds="1")[1:]
    for number, call in enumerate(calls_of_a_run(whole)):
        if call in ("fsync", "chmod"):  # a kill there leaves what one at the next call does
            continue
        folder = tmp_path / str(number)

        def die(number: int = number, folder: Path = folder) -> None:
            with at_call(number, lambda: os._exit(9)):
                finish(runs, folder)

        assert wait(fork(die)) == 9, number
        assert_readable(folder, runs)
        finish(runs, folder)
        assert content(folder) == content(whole / "whole"), (number, call)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def input_output_error() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(("fail", "words"), [(full, "No space left on device"), (input_output_error, "error")])
def test_an_error_at_every_write(whole: Path, tmp_path: Path, fail: Callable[[], None], words: str) -> None:
    """On a full or failing disk the run fails with a line that names the file; with space again it goes on to the
    same bytes."""
    runs = tiny(tmp_path, seeds="1")[1:]
    calls = calls_of_a_run(whole)
    for number in range(0, len(calls), 7):
        folder = tmp_path / str(number)
        path = RunStore(folder).run(runs[0]).path
        with at_call(number, fail):
            last = finish(runs, folder)[-1]
        if isinstance(last.what, Failure):
            assert last.what.message.startswith(str(path))
            assert words in last.what.message
        else:
            assert calls[number] == "unlink"  # of the lock alone, which another command would take all the same
        assert_readable(folder, runs)
        finish(runs, folder)
        assert content(folder) == content(whole / "whole"), (number, calls[number])
