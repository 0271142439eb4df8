"""Law: Ray = inline, to the byte, whatever dies; nothing that is started listens beyond this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bncompare.config.expansion import load_experiment
from bncompare.experiment import plan, run_experiment
from bncompare.results import load_runs
from bncompare.store import RunStore

pytest.importorskip("ray")
CONFIGS = Path(__file__).parents[2] / "configs"
TIMED = ("timing.csv", "environment.json", "checkpoint.pt")
# Some seconds each, on images, which travel to the nodes.
SETTINGS = ["compare.model.norm=[none, batch]", "training.epochs=60", "training.checkpoint_every=1"]
SETTINGS += ["training.early_stopping=null"]


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("inline")
    runs = load_experiment(CONFIGS / "smoke.yaml", overrides=SETTINGS, seeds="2").runs
    for _ in run_experiment(plan(runs, RunStore(folder)), data_dir=None):
        pass
    return content(folder)


def driver(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`bncompare train --executor ray` in a process of its own."""
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    command = [
        "-m",
        "bncompare",
        "train",
        str(CONFIGS / "smoke.yaml"),
        "--seeds",
        "2",
        *settings,
        "--runs",
        str(folder),
    ]
    return subprocess.Popen(
        [sys.executable, *command, "--executor", "ray", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
    )


def begun(folder: Path) -> int:
    """How many runs have sent a checkpoint and are not finished."""
    folders = {path.parent for path in folder.rglob("checkpoint.pt")}
    return len([path for path in folders if not (path / "result.json").exists()])


def wait_for(process: subprocess.Popen[str], folder: Path, number: int) -> None:
    deadline = time.monotonic() + 120
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

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-c", START, "start", "--num-cpus", "1", "--node-ip-address", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*command, "--block", "--disable-usage-stats", *arguments],
            env=os.environ | {"RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def nodes() -> Iterator[tuple[str, Node]]:
    """The address of a cluster of two nodes with a CPU each, and the second of them."""
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
        second = Node("--address", address)
        yield address, second
    finally:
        for node in (second, head):
            if node is not None:
                node.kill()


def test_a_node_that_dies_costs_no_byte(tmp_path: Path, nodes: tuple[str, Node], inline: dict[str, bytes]) -> None:
    """Two nodes, a run on each; one is killed: its run goes on on the other, and the bytes are those of inline."""
    address, second = nodes
    process = driver(tmp_path, "--address", address)
    wait_for(process, tmp_path, 2)
    second.kill()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "its worker or node died" in err
    assert "starts again from its last checkpoint" in err
    assert content(tmp_path) == inline


def test_a_cluster_of_this_machine(tmp_path: Path, inline: dict[str, bytes]) -> None:
    """Without an address a cluster is started here; it listens on loopback alone, and ends with the driver."""
    before = listening()
    process = driver(tmp_path, "--jobs", "2")
    wait_for(process, tmp_path, 1)
    ours = listening() - before
    assert ours
    assert {host for host, _ in ours} <= {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"}, ours
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    deadline = time.monotonic() + 20
    while listening() & ours:
        assert time.monotonic() < deadline, listening() & ours
        time.sleep(0.2)
    loaded, warnings = load_runs([tmp_path])
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
