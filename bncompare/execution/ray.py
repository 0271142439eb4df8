"""Train runs as tasks of a Ray cluster; the bytes are those of `inline`.

A task trains one run and streams its evaluations back, so that the nodes share no files: the driver writes them all.
The images are sent to a node once. Every node has bncompare installed; the same versions, or its runs may differ.
"""

import logging
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any

from bncompare.config.schema import Images, RunConfig
from bncompare.data import Pool, load_dataset
from bncompare.errors import UserError
from bncompare.execution import Attempt, Failure, Job, Result, inline, is_end
from bncompare.execution.processes import to_bytes
from bncompare.training import resolve_device

SECONDS_TO_CONNECT = 10.0
LOCAL = "local"


def execute(
    jobs: Iterable[Job],
    again: Callable[[Job], Job],
    *,
    address: str,
    num_jobs: int | None,
    load: Callable[[RunConfig], Pool | None],
) -> Generator[tuple[Job, Result], None, None]:
    """Train each job in a task; one whose worker or node dies is started anew, from `again(job)`, up to three times.

    `address` is what ray.init takes, or `local` for a cluster of this machine alone; `num_jobs` None stands for one
    for each CPU of the cluster, as it grows and shrinks. Raises UserError if there is no Ray or no cluster.
    """
    ray = _connect(address, num_jobs)
    try:
        yield from _execute(ray, jobs, again, num_jobs, load)
    finally:
        ray.shutdown()  # cancels the tasks of this driver; ends a local cluster


def _connect(address: str, num_jobs: int | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        # Without clusters of several machines Ray listens on loopback alone; else, on Linux, on every interface.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
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


def _execute(
    ray: Any,
    jobs: Iterable[Job],
    again: Callable[[Job], Job],
    num_jobs: int | None,
    load: Callable[[RunConfig], Pool | None],
) -> Generator[tuple[Job, Result], None, None]:
    waiting = iter(jobs)
    tasks: dict[Any, Attempt] = {}  # by the generator of what a task sends
    pools: dict[int, Any] = {}
    remote = ray.remote(_work)

    def start(attempt: Attempt) -> None:
        job = attempt.job
        pool = load(job.run) if isinstance(job.run.data, Images) else None
        if id(pool) not in pools:
            pools[id(pool)] = ray.put(pool)
        needs_gpu = job.run.training.device.startswith("cuda")
        options = {"num_cpus": job.run.training.threads, "num_gpus": int(needs_gpu), "max_retries": 0}
        tasks[remote.options(num_returns="streaming", **options).remote(job, pools[id(pool)])] = attempt

    while True:
        limit = num_jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        while len(tasks) < limit and (job := next(waiting, None)) is not None:
            start(Attempt(job))
        if not tasks:
            return
        ready, _ = ray.wait(list(tasks), num_returns=1, fetch_local=False)
        for stream in ready:
            attempt = tasks[stream]
            try:
                result: Result = pickle.loads(ray.get(next(stream)))
            except StopIteration:
                del tasks[stream]
                if not attempt.has_ended:
                    raise RuntimeError(f"run {attempt.job.number} ended without a result") from None
                continue
            except ray.exceptions.RayTaskError as error:  # not of training, whose errors are results
                del tasks[stream]
                yield attempt.job, Failure(f"it could not be started on the cluster: {error.cause}", str(error))
                continue
            except ray.exceptions.RayError as error:
                del tasks[stream]
                reason = f"its worker or node died ({type(error).__name__})"
                following, result = attempt.after_death(again, reason)
                if following:
                    start(following)
                yield attempt.job, result
                continue
            attempt.has_ended = is_end(result)
            yield attempt.job, result


def _work(job: Job, pool: Pool | None) -> Generator[bytes, None, None]:
    """The task: train and send."""
    device = resolve_device(job.run.training.device)
    for _, result in inline.execute([job], lambda run: load_dataset(run, pool), device):
        yield to_bytes(result)
