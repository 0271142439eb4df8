"""Train runs in processes of their own, several at a time; the bytes are those of `inline`.

A worker trains one run and sends its evaluations through a pipe of its own, so that one death poisons no other. It
is started by a forkserver that has imported torch once. The driver alone writes files.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from bncompare.data import Datasets
from bncompare.execution import Failure, Job, Progress, Result, inline

MAX_STARTS = 3
SECONDS_TO_END = 2.0
PRELOAD = ["__main__", "torch", "torch._dynamo", "bncompare.execution.processes"]  # an optimizer step imports _dynamo


@dataclass
class _Worker:
    """A run in a process of its own."""

    job: Job
    process: multiprocessing.process.BaseProcess
    starts: int
    has_ended: bool = False


def execute(
    jobs: Iterable[Job],
    again: Callable[[Job], Job],
    *,
    num_processes: int,
    data_dir: Path | None,
    device: torch.device,
    needs_torchvision: bool,
) -> Generator[tuple[Job, Result], None, None]:
    """Train each job in a process; one whose process dies is started anew, from `again(job)`, up to three times."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, *(["torchvision.datasets"] if needs_torchvision else [])])
    waiting = iter(jobs)
    workers: dict[Connection, _Worker] = {}

    def start(job: Job, starts: int) -> None:
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(target=_work, args=(theirs, job, data_dir, device), daemon=True)
        process.start()
        theirs.close()
        workers[ours] = _Worker(job, process, starts)

    try:
        while True:
            while len(workers) < num_processes and (job := next(waiting, None)) is not None:
                start(job, 1)
            if not workers:
                return
            for ready in wait(list(workers)):
                assert isinstance(ready, Connection)
                worker = workers[ready]
                try:
                    result: Result = pickle.loads(ready.recv_bytes())
                except (EOFError, ConnectionError):  # the worker is gone
                    del workers[ready]
                    ready.close()
                    worker.process.join()
                    if worker.has_ended:
                        continue
                    if worker.starts < MAX_STARTS:
                        start(again(worker.job), worker.starts + 1)
                    else:
                        yield worker.job, Failure(_death(worker.process.exitcode), "")
                    continue
                worker.has_ended = isinstance(result, Failure) or result.record.outcome is not None
                yield worker.job, result
    finally:
        for worker in workers.values():
            worker.process.terminate()
        for worker in workers.values():
            worker.process.join(SECONDS_TO_END)
            if worker.process.is_alive():
                worker.process.kill()


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        memory = ", perhaps for lack of memory" if name == "SIGKILL" else ""
        return f"its process was killed {MAX_STARTS} times ({name}{memory})"
    return f"its process ended {MAX_STARTS} times without a result (exit code {exit_code})"


def _work(connection: Connection, job: Job, data_dir: Path | None, device: torch.device) -> None:
    """The worker: train and send."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_driver, args=(connection,), daemon=True).start()
    for _, result in inline.execute([job], Datasets(data_dir).of, device):
        if isinstance(result, Progress):
            # The snapshot travels as bytes; the function that takes one stays here.
            result = Progress(replace(result.record, checkpoint=_taken_in_the_worker), result.snapshot)
        # Plain pickle: torch's own would share memory, which does not outlive a worker.
        connection.send_bytes(pickle.dumps(result))


def _end_with_driver(connection: Connection) -> None:
    """The driver never sends: the pipe is readable when it has died."""
    wait([connection])
    os._exit(1)


def _taken_in_the_worker() -> bytes:
    raise RuntimeError("a record of another process has no checkpoint to take; see Progress.snapshot")
