"""Faults: stdin, stdout and stderr that are closed, full, or have no reader, for every kind of command."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import content, finish, fork, tiny, wait
from kit import ROOT, Ended

from bncompare import cli

STREAMS = ("stdin", "stdout", "stderr")


def closed(descriptor: int) -> None:
    """`>&-`"""
    os.close(descriptor)


def full(descriptor: int) -> None:
    """`>/dev/full`"""
    os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)


def unread(descriptor: int) -> None:
    """`| true`"""
    ours, theirs = os.pipe()
    os.dup2(theirs, descriptor)
    os.close(ours)
    os.close(theirs)


Fault = Callable[[int], None]
FAULTS: dict[str, dict[int, Fault]] = {
    "<&-": {0: closed},
    ">&-": {1: closed},
    "2>&-": {2: closed},
    "<&- >&- 2>&-": {0: closed, 1: closed, 2: closed},
    "2>&- >/dev/full": {1: full, 2: closed},
    ">/dev/full": {1: full},
    "2>/dev/full": {2: full},
    ">/dev/full 2>/dev/full": {1: full, 2: full},
    "| true": {1: unread},
    "2>&1 | true": {1: unread, 2: unread},
    "2> >(true)": {2: unread},
}


def call_with_faults(arguments: list[str], folder: Path, faults: dict[int, Fault]) -> Ended:
    """Run a command in a process whose standard streams are as a shell hands them over, and are then opened as
    Python opens them when it starts."""

    def work() -> None:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.closerange(3, 1000)  # they would hold the place of a closed one
        for descriptor, fault in faults.items():
            fault(descriptor)
        for descriptor, name in enumerate(STREAMS):
            stream = None
            with contextlib.suppress(OSError):
                stream = open(descriptor, "w" if descriptor else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        sys.argv = ["bncompare", *arguments]
        cli.main()

    (folder / "out").unlink(missing_ok=True)
    (folder / "err").unlink(missing_ok=True)
    code = wait(fork(work))
    return Ended(code, (folder / "out").read_text(), (folder / "err").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `runs` are, and one of them is damaged."""
    path = tmp_path_factory.mktemp("streams")
    finish(tiny(path, "2"), path / "runs")
    next(path.glob("runs/*/*/metrics.csv")).write_text("spoilt")
    return path


# What each command says where nothing is wrong with its streams: exit code, how stdout and stderr start.
COMMANDS = {
    "--version": (0, "bncompare ", ""),
    "--help": (0, "Usage: ", ""),
    "init": (0, "demo", "bncompare init NAME"),
    "init --schema": (0, "{", ""),
    "list runs": (0, "runs/tiny", "warning: runs/tiny/"),
    "list runs --json": (0, "{", "warning: runs/tiny/"),
    "report runs": (0, "tiny\n", "warning: runs/tiny/"),
    "export runs": (0, "experiment,", "warning: runs/tiny/"),
    "plot runs --metric val/loss": (0, "runs/tiny/val-loss.png", "warning: runs/tiny/"),
    "list nowhere": (2, "", "error: nowhere: no such folder\n"),
    "list": (0, "runs/tiny", "warning: runs/tiny/"),
    "nonsense": (2, "", "Usage: "),
    "train tiny.yaml --dry-run": (0, " ", "warning: runs/tiny/"),
    "train tiny.yaml --select 1": (2, "", "error: --select 1: "),
    "train tiny.yaml --jobs 1 --seeds 1 --fresh --runs more": (0, "tiny", "[1/2] tiny no norm seed 0: completed"),
}


LIKE_OTHERS = ("--help", "report runs", "list nowhere", list(COMMANDS)[-1])  # of each kind of output one


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_said_where(folder: Path, command: str) -> None:
    """Without a fault: results on stdout, warnings and errors on stderr."""
    code, out, err = COMMANDS[command]
    ended = call_with_faults(command.split(), folder, {})
    assert ended.code == code
    assert (ended.out[:1], ended.err[:1]) == (out[:1], err[:1])
    assert ended.out.startswith(out)
    assert ended.err.startswith(err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("fault", "command"),
    [
        (fault, command)
        for fault in FAULTS
        for command in (COMMANDS if fault in ("<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| true") else LIKE_OTHERS)
    ],
)
def test_a_stream_at_fault(folder: Path, fault: str, command: str) -> None:
    """The other stream gets what it gets otherwise, and the work is done; results that get lost are an error."""
    faults = FAULTS[fault]
    code, out, err = COMMANDS[command]
    lost = {full: (1, "error: output: No space left on device\n"), unread: (141, "")}
    code, complaint = lost.get(faults.get(1, closed), (code, "")) if out else (code, "")
    ended = call_with_faults(command.split(), folder, faults)
    assert ended.code == code
    assert ended.out.startswith(out) if 1 not in faults else ended.out == ""
    if 2 in faults:
        assert ended.err == ""
        return
    assert ended.err.startswith(err)
    assert ended.err.endswith(complaint)
    assert "Traceback" not in ended.err


def shell(folder: Path, before: str, arguments: str) -> Ended:
    """Run a command line as people do: what comes before the command, its arguments and redirections."""
    line = f'{before} exec "{sys.executable}" -m bncompare {arguments}'
    ended = subprocess.run(line, shell=True, cwd=folder, capture_output=True, check=False, text=True)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", ">/dev/null 2>/dev/full"])
def test_training_in_processes_without_streams(tmp_path: Path, redirection: str) -> None:
    """The workers inherit them; the runs are those of an undisturbed sweep."""
    finish(tiny(tmp_path, "1"), tmp_path / "expected")
    assert shell(tmp_path, "", f"train tiny.yaml --no-report --seeds 1 --jobs 2 {redirection}") == Ended(0, "", "")
    assert content(tmp_path / "runs") == content(tmp_path / "expected")


WAITED = ("loading torch…", "starting to train…")  # where that takes a second


def test_no_library_says_a_word(tmp_path: Path) -> None:
    """Where matplotlib finds no place for its cache, which it would tell in every process: every line is ours."""
    tiny(tmp_path, "1")
    homeless = "HOME=/dev/null/none XDG_CONFIG_HOME=$HOME XDG_CACHE_HOME=$HOME"
    ended = shell(tmp_path, f"export {homeless};", "train tiny.yaml --no-report --seeds 1 --jobs 2")
    assert ended.code == 0
    ours = r"\[[0-2]/2\] tiny (no norm|BatchNorm) seed 0: (completed|epoch).*"  # an epoch is told on a slow machine
    told = [line for line in ended.err.splitlines() if line not in WAITED]
    assert [line for line in told if not re.fullmatch(ours, line)] == []
    ended = shell(tmp_path, f"export {homeless};", "plot runs --metric val/loss")
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0])
def test_interrupted_while_it_loads(tmp_path: Path, seconds: float) -> None:
    """Ctrl-C reaches this process and the server of workers, whatever they import just then: no traceback."""
    tiny(tmp_path)
    command = [sys.executable, "-m", "bncompare", "train", "tiny.yaml", "--no-report", "--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT, 0)
    assert [line for line in err.splitlines() if not line.startswith(("[", "interrupted", *WAITED))] == []


@pytest.mark.parametrize(
    "entry", ["import runpy; runpy.run_module('bncompare', run_name='__main__')", "from MODULE import main; main()"]
)
def test_interrupted_in_the_first_import(entry: str) -> None:
    """Ctrl-C before anything else is there, with `python -m bncompare` and with the script that pip installs."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    interrupt = """if True:
        import os, signal, sys
        class Interrupt:
            def find_spec(self, name, *_):
                if name == "bncompare.cli":
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Interrupt())
        """
    code = interrupt + entry.replace("MODULE", scripts["bncompare"].partition(":")[0])
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_a_reader_that_is_behind() -> None:
    """A pipe that somebody made non-blocking is waited for when it is full; nothing is lost."""
    command = [sys.executable, "-m", "bncompare", "init", "--schema"]
    expected = subprocess.run(command, capture_output=True, check=True).stdout
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    room = fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    assert len(expected) > 2 * room
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE) as process, open(ours, "rb") as reader:
        os.close(theirs)
        received = b""
        while part := reader.read1(room):
            received += part
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == (b"", 0)
    assert received == expected


def test_more_jobs_than_files_may_be_open(tmp_path: Path) -> None:
    """A line that says how many would do, and that many do."""
    tiny(tmp_path)
    ended = shell(tmp_path, "ulimit -n 64;", "train tiny.yaml --no-report --seeds 30 --jobs 60")
    assert (ended.code, ended.out) == (2, "")
    match = re.fullmatch(
        r"(?:loading torch…\n)?error: --jobs 60: .* \(ulimit -n\); at most --jobs ([0-9]+)\n", ended.err
    )
    assert match, ended.err
    assert not any(tmp_path.glob("runs/*/*"))
    ended = shell(tmp_path, "ulimit -n 64;", f"train tiny.yaml --no-report --seeds 5 --jobs {match[1]}")
    assert ended.code == 0, ended.err
