"""Law: Ray = inline, to the byte, whatever dies; nothing that is started listens beyond this machine."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from kit import CONFIGS, content, spawn

from bncompare.config.expand import load_experiment
from bncompare.execution.messages import Evaluated, Failure, Started
from bncompare.execution.plan import plan_runs
from bncompare.execution.ray import Nodes
from bncompare.execution.sweep import run_experiment
from bncompare.runs.folder import RunStore
from bncompare.runs.read import read_runs

pytest.importorskip("ray")
ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
SECONDS = 480  # as long as it takes to import torch in six processes on a busy machine
# Two runs of some seconds, on images, with a norm in a file of the command line: both travel to the nodes.
NORM = """\
from typing import Literal
from bncompare.norms import BatchNorm

class Mine(BatchNorm):
    kind: Literal["mine"]
"""
SETTINGS = ["compare.model.norm=[mine]", "training.epochs=100", "training.checkpoint_every=1"]
SETTINGS += ["training.early_stopping=null"]
SHORT = ["compare.model.norm=[none, batch, layer]", "training.epochs=1", "training.early_stopping=null"]


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No other process of the tests runs a cluster meanwhile, as each takes the CPUs there are.

    Ray's workers are as nice as we are: with the 15 that they have else, other tests leave them hardly any CPU.
    """
    monkeypatch.setenv("RAY_worker_niceness", "0")
    with (tmp_path_factory.getbasetemp().parent / "ray.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("plugin") / "mine.py"
    path.write_text(NORM)
    return "--plugin", path


def changes(settings: Sequence[str]) -> list[str]:
    return [argument for setting in settings for argument in ("--set", setting)]


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory, plugin: tuple[str, Path]) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("inline")
    command = ("train", CONFIGS / "smoke.yaml", "--seeds", "2", "--no-report", *changes(SETTINGS), "--jobs", "1")
    assert spawn(*plugin, *command, "--runs", folder).returncode == 0
    return content(folder)


def driver(folder: Path, *arguments: str | Path, settings: Sequence[str] = SETTINGS) -> subprocess.Popen[str]:
    """`bncompare train --executor ray` in a process of its own."""
    command = ["-m", "bncompare", "train", str(CONFIGS / "smoke.yaml"), "--seeds", "2", "--no-report"]
    return subprocess.Popen(
        [sys.executable, *command, *changes(settings), "--runs", str(folder), "--executor", "ray", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | ENVIRONMENT,
    )


def begun(folder: Path) -> int:
    """How many runs have sent a checkpoint and are not finished."""
    folders = {path.parent for path in folder.rglob("checkpoint.pt")}
    return len([path for path in folders if not (path / "result.json").exists()])


def wait_for(process: subprocess.Popen[str], folder: Path, number: int) -> None:
    deadline = time.monotonic() + SECONDS
    while begun(folder) < number:
        assert time.monotonic() < deadline
        if process.poll() is not None:
            pytest.fail(process.communicate()[1])
        time.sleep(0.05)


# `ray start`, but for its taking every 127.0.0.1 for the address that other machines see.
START = (
    "import ray._private.services as services; services.resolve_ip_for_localhost = lambda host: host;"
    "from ray.scripts.scripts import main; main()"
)


class Node:
    """A node of a Ray cluster, bound to loopback."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-c", START, "start", "--num-cpus", "1", "--node-ip-address", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*command, "--block", "--disable-usage-stats", *arguments],
            env=os.environ | {"RAY_AUTH_MODE": "disabled"} | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def has_joined(address: str) -> bool:
    """Whether there are two nodes, at the latest after two minutes."""
    code = (
        "import ray, sys, time; ray.init(address=sys.argv[1], log_to_driver=False, logging_level=40)\n"
        "for _ in range(600): sum(node['Alive'] for node in ray.nodes()) == 2 and sys.exit(0); time.sleep(0.2)\n"
        "sys.exit(1)"
    )
    return (
        subprocess.run([sys.executable, "-c", code, address], env=os.environ | ENVIRONMENT, check=False).returncode
        == 0
    )


@contextlib.contextmanager
def cluster(*arguments: str, **environment: str) -> Iterator[tuple[str, Node]]:
    """The address of a cluster of two nodes with a CPU each, and the second of them, with its own environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    head = Node("--head", "--port", address.partition(":")[2], "--include-dashboard", "false")
    second = None
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.partition(":")[2]))) == 0:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = Node("--address", address, *arguments, **environment)
        assert has_joined(address)
        yield address, second
    finally:
        for node in (second, head):
            if node is not None:
                node.kill()


def test_a_node_that_dies_costs_no_byte(tmp_path: Path, plugin: tuple[str, Path], inline: dict[str, bytes]) -> None:
    """Two nodes, a run on each; one is killed: its run goes on on the other, and the bytes are those of inline.

    The nodes have not been told of the file that the norm is in: it comes with the run.
    """
    with cluster() as (address, second):
        process = driver(tmp_path, "--address", address, *plugin)
        wait_for(process, tmp_path, 2)
        second.kill()
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert "its worker or node died" in err
    assert "starts again from its last checkpoint" in err
    assert content(tmp_path) == inline
    assert not list(tmp_path.rglob("*.pt"))


# As Python reads it when it starts.
WITHOUT_THE_PACKAGE = """\
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "bncompare":
            raise ModuleNotFoundError(f"No module named {name!r}\\nand a second line", name=name)

sys.meta_path.insert(0, Missing())
"""


def test_a_node_without_the_package_gets_no_run(tmp_path: Path) -> None:
    """What cannot be started there is trained on the other node; after two failures it is left alone.

    A run for which that leaves no node, as it takes two CPUs, fails; the message is one line in each case.
    """
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_THE_PACKAGE)
    with cluster("--num-cpus", "2", PYTHONPATH=str(tmp_path)) as (address, _):
        process = driver(tmp_path / "runs", "--address", address, settings=SHORT)
        _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
    with cluster("--num-cpus", "2", PYTHONPATH=str(tmp_path)) as (address, _):  # a new one: nothing is left of others
        wide = ["compare=null", "training.threads=2"]
        process = driver(tmp_path / "wide", "--address", address, "--seeds", "1", settings=wide)
        _, failed = process.communicate(timeout=SECONDS)
    assert (process.returncode, "".join(line for line in failed.splitlines(True) if not line.endswith("…\n"))) == (
        1,
        "[1/1] smoke no norm seed 0: FAILED: no node of the cluster can start it: 127.0.0.1: ModuleNotFoundError: "
        "No module named 'bncompare'\n",
    )
    lines = [
        line.partition(": ")[2] for line in err.splitlines() if "completed" not in line and not line.endswith("…")
    ]
    message = (
        "could not be started on 127.0.0.1: ModuleNotFoundError: No module named 'bncompare'; it is tried elsewhere"
    )
    assert lines == [message] * len(lines)
    assert 1 <= len(lines) <= 4, "some were on their way already"
    loaded, warnings = read_runs([tmp_path / "runs"])
    assert ({run.status for run in loaded}, len(loaded), warnings) == ({"completed"}, 6, [])


def test_which_nodes_are_left_out() -> None:
    """A run keeps away from where it failed; after two failures, of whatever runs, all do."""
    nodes = Nodes()
    assert nodes.to_avoid(0) == {}
    nodes.failed_starts.append((0, "a", "no package"))
    assert (nodes.to_avoid(0), nodes.to_avoid(1)) == ({"a": "no package"}, {})
    nodes.failed_starts.append((0, "b", "no torch"))
    assert (nodes.to_avoid(0), nodes.to_avoid(1)) == ({"a": "no package", "b": "no torch"}, {})
    nodes.failed_starts.append((1, "b", "no torch"))
    assert [nodes.to_avoid(run) for run in (1, 2)] == [{"b": "no torch"}] * 2


def test_a_cluster_of_this_machine(tmp_path: Path, plugin: tuple[str, Path]) -> None:
    """Without an address a cluster is started here; it listens on loopback alone, and ends with the driver."""
    before = listening()
    process = driver(tmp_path, "--jobs", "2", *plugin)
    wait_for(process, tmp_path, 1)
    ours = listening() - before
    assert ours
    assert {host for host, _ in ours} <= {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"}, ours
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 143
    deadline = time.monotonic() + SECONDS
    while listening() & ours:
        assert time.monotonic() < deadline, listening() & ours
        time.sleep(0.2)
    loaded, warnings = read_runs([tmp_path])
    assert loaded
    assert warnings == []


def listening() -> set[tuple[str, int]]:
    """Address and port of every socket that waits for connections, from /proc/net/tcp and tcp6."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                address, _, port = fields[1].partition(":")
                found.add((readable(address), int(port, 16)))
    return found


def readable(address: str) -> str:
    raw = bytes.fromhex(address)
    words = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    if len(words) == 4:
        return socket.inet_ntop(socket.AF_INET, words)
    return f"[{socket.inet_ntop(socket.AF_INET6, words)}]"


def test_a_run_that_cannot_be_kept_is_not_trained_on(tmp_path: Path) -> None:
    """A run whose folder vanishes fails, its task ends, and the CPU that it had is the next run's."""
    settings = ["training.epochs=100000", "training.checkpoint_every=1", "training.early_stopping=null", "claims=[]"]
    runs = [
        load_experiment(CONFIGS / "regression.yaml", overrides=overrides, seeds="1").runs[0]
        for overrides in (settings, ["training.epochs=1", "claims=[]"])
    ]
    planned = plan_runs(runs, RunStore(tmp_path))
    ended = []
    for event in run_experiment(planned, data_dir=None, num_processes=1, cluster="local"):
        if isinstance(event.what, Started) and event.planned is planned[0]:
            shutil.rmtree(planned[0].folder.path)
            planned[0].folder.path.write_text("mine")
        if event.is_end:
            ended.append((event.planned, type(event.what)))
    assert ended == [(planned[0], Failure), (planned[1], Evaluated)]
