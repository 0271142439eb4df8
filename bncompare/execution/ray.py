"""Train runs as tasks of a Ray cluster; the bytes are those of `inline`.

A task trains one run and streams its evaluations back, so that the nodes share no files: the driver writes them all.
What a dataset has stored is sent to a node once, which needs no file of it. Every node has bncompare installed; the
same versions, or its runs may differ.
"""

import logging
import os
import pickle
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bncompare import plugins
from bncompare.config import RunConfig
from bncompare.datasets import Pool
from bncompare.errors import UserError
from bncompare.execution import inline
from bncompare.execution.messages import Attempt, Failure, Gone, Job, Restart, Result
from bncompare.execution.processes import to_bytes
from bncompare.training import load_dataset, resolve_device

# Without clusters of several machines Ray listens on loopback alone; else, on Linux, on every interface.
ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
SECONDS_TO_CONNECT = 10.0
MAX_FAILED_STARTS_OF_A_NODE = 2
MAX_REASON_LENGTH = 200
LOCAL = "local"


class Ray:
    """A cluster; `address` is what ray.init takes, or `local` for one of this machine alone.

    `num_jobs` None stands for one for each CPU, as the cluster grows and shrinks. A run that cannot be started on a
    node (the package is not there, or in a version that cannot read the job) is tried on another; a node where that
    happens twice gets no more runs. `load` gives the examples of a run, where they are stored.
    """

    def __init__(self, address: str, num_jobs: int | None, load: Callable[[RunConfig], Pool | None]) -> None:
        self.address, self.num_jobs, self.load = address, num_jobs, load
        self.tasks: dict[Any, _Task] = {}
        """by the generator of what a task sends"""
        self.nodes = Nodes()
        self.pools: dict[int, Any] = {}
        self.is_connected = False

    @cached_property
    def ray(self) -> Any:
        """The library, connected to the cluster."""
        connected = _connect(self.address, self.num_jobs)
        self.is_connected = True
        return connected

    @cached_property
    def entry(self) -> Any:
        """What a task calls."""
        return self.ray.remote(_entry())

    @property
    def is_busy(self) -> bool:
        return bool(self.tasks)

    @property
    def has_room(self) -> bool:
        return not self.tasks or len(self.tasks) < (self.num_jobs or int(self.ray.cluster_resources().get("CPU", 1)))

    def start(self, attempt: Attempt) -> Failure | None:
        job = attempt.job
        needs = {"CPU": job.run.training.threads, "GPU": int(job.run.training.device.startswith("cuda"))}
        options: dict[str, Any] = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "max_retries": 0}
        if avoided := self.nodes.to_avoid(job.number):
            if not any(node["NodeID"] not in avoided and _has(node, needs) for node in self.ray.nodes()):
                reasons = "; ".join(dict.fromkeys(avoided.values()))
                return Failure(f"no node of the cluster can start it: {reasons}", "")
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(avoided)})"}
        pool = self.load(job.run)
        if id(pool) not in self.pools:
            self.pools[id(pool)] = self.ray.put(pool)
        task = self.entry.options(num_returns="streaming", **options)
        sent = plugins.sources(), pickle.dumps(job), [self.pools[id(pool)]]
        self.tasks[task.remote(*sent)] = _Task(attempt)
        return None

    def wait(self) -> Iterator[tuple[Attempt, Result | Gone]]:
        ready, _ = self.ray.wait(list(self.tasks), num_returns=1, fetch_local=False)
        for stream in ready:
            task = self.tasks[stream]
            try:
                sent = self.ray.get(next(stream))
            except (StopIteration, self.ray.exceptions.RayError) as error:
                del self.tasks[stream]
                yield task.attempt, self._after(task, error)
                continue
            if task.node is None:
                task.node = sent
                continue
            task.has_started = True
            yield task.attempt, pickle.loads(sent)

    def _after(self, task: "_Task", error: Exception) -> Result | Gone:
        """What the end of a task means; one that its node could not start is tried on another."""
        if isinstance(error, StopIteration):
            return Gone("its task ended without a result")
        if task.node is None or task.has_started:
            return Gone(f"its worker or node died ({_reason(error)})")
        why = f"{_address(self.ray, task.node)}: {_reason(error)}"
        self.nodes.failed_starts.append((task.attempt.job.number, task.node, why))
        return self.start(task.attempt) or Restart(f"could not be started on {why}; it is tried elsewhere")

    def end(self, attempt: Attempt) -> None:
        for stream in [stream for stream, task in self.tasks.items() if task.attempt is attempt]:
            del self.tasks[stream]
            self.ray.cancel(stream, force=True)

    def close(self) -> None:
        if self.is_connected:
            self.ray.shutdown()  # cancels the tasks of this driver; ends a local cluster


def _connect(address: str, num_jobs: int | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    before = os.environ.get(ONE_MACHINE)
    if address == LOCAL:
        os.environ[ONE_MACHINE] = "0"
    try:
        return _initialized(address, num_jobs)
    finally:  # another cluster, which this process or one that it starts joins, may be of several machines
        os.environ.pop(ONE_MACHINE, None)
        if before is not None:
            os.environ[ONE_MACHINE] = before


def _initialized(address: str, num_jobs: int | None) -> Any:
    """The package `ray`, connected."""
    try:
        import ray
    except ImportError:
        raise UserError("--executor ray: Ray is not installed; pip install 'bncompare[ray]'") from None
    in_main_thread = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    local: dict[str, Any] = {"num_cpus": num_jobs, "include_dashboard": False} if address == LOCAL else {}
    try:
        host, _, port = address.rpartition(":")
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"--address {address}: no Ray cluster can be reached there: {reason}",
            "  (a cluster that asks for a token wants RAY_AUTH_MODE=token and its token here too)",
        ) from None
    finally:
        if in_main_thread:  # Ray has put its own in their place, which abort
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return ray


@dataclass
class Nodes:
    """What is known of the nodes of a cluster: where runs could not be started."""

    failed_starts: list[tuple[int, str, str]] = field(default_factory=list)
    """(run, node, why)"""

    def to_avoid(self, run: int) -> dict[str, str]:
        """Nodes that are not to start a run, and why: it failed there before, or any runs did twice."""
        count = Counter(node for _, node, _ in self.failed_starts)
        return {
            node: why
            for number, node, why in self.failed_starts
            if number == run or count[node] >= MAX_FAILED_STARTS_OF_A_NODE
        }


@dataclass
class _Task:
    attempt: Attempt
    node: str | None = None
    """where it is: the first thing that it sends"""
    has_started: bool = False
    """whether a result has come"""


def _has(node: dict[str, Any], needs: dict[str, int]) -> bool:
    """Whether a node is alive and has as much of everything."""
    return node["Alive"] and all(node["Resources"].get(name, 0) >= amount for name, amount in needs.items())


def _address(ray: Any, node_id: str) -> str:
    return next((node["NodeManagerAddress"] for node in ray.nodes() if node["NodeID"] == node_id), node_id)


def _reason(error: Exception) -> str:
    """An error of Ray, or of the task that it stands for, in a line."""
    cause = getattr(error, "cause", None)
    if not isinstance(cause, Exception):
        return type(error).__name__
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0] if lines else ''}"[:MAX_REASON_LENGTH]


def _entry() -> Callable[[dict[str, bytes], bytes, list[Any]], Generator[Any, None, None]]:
    """What a node runs: it says which it is before it imports the package, which it may not have.

    As a function inside a function it travels by value; from a module it would be imported there. Nor can Ray load
    arguments that need the package: the job comes as bytes, the examples as a reference within a list, and the files
    of --plugin, which no other node has, by name with their content.
    """

    def entry(files: dict[str, bytes], job: bytes, pool: list[Any]) -> Generator[Any, None, None]:
        import pickle

        import ray

        yield ray.get_runtime_context().get_node_id()
        from bncompare import plugins

        plugins.receive(files)
        from bncompare.execution.ray import work

        yield from work(pickle.loads(job), *ray.get(pool))

    return entry


def work(job: Job, pool: Pool | None) -> Generator[bytes, None, None]:
    """The task: train and send."""
    try:
        device = resolve_device(job.run.training.device)
    except UserError as error:
        yield to_bytes(Failure(str(error), ""))
        return
    for result in inline.train_job(job, lambda run: load_dataset(run, pool), device):
        yield to_bytes(result)
