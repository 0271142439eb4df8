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
from bncompare.execution import MAX_STARTS, Job, Progress, Restart, Result, given_up, inline, is_end

SECONDS_TO_END = 2.0


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
) -> Generator[tuple[Job, Result], None, None]:
    """Train each job in a process; one whose process dies is started anew, from `again(job)`, up to three times.

    `forkserver.start` comes first.
    """
    context = multiprocessing.get_context("forkserver")
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
                    reason = _death(worker.process.exitcode)
                    if worker.starts < MAX_STARTS:
                        start(again(worker.job), worker.starts + 1)
                        yield worker.job, Restart(reason)
                    else:
                        yield worker.job, given_up(reason)
                    continue
                worker.has_ended = is_end(result)
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
        return f"its process was killed ({name}{memory})"
    return f"its process ended without a result (exit code {exit_code})"


def _work(connection: Connection, job: Job, data_dir: Path | None, device: torch.device) -> None:
    """The worker: train and send."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_driver, args=(connection,), daemon=True).start()
    for _, result in inline.execute([job], Datasets(data_dir).of, device):
        connection.send_bytes(to_bytes(result))


def to_bytes(result: Result) -> bytes:
    """A result to be sent to another process; `pickle.loads` is the way back."""
    if isinstance(result, Progress):
        # The snapshot travels as bytes; the function that takes one stays here.
        result = replace(result, record=replace(result.record, checkpoint=_taken_in_the_worker))
    # Plain pickle: torch's own would share memory, which does not outlive a worker.
    return pickle.dumps(result)


def _end_with_driver(connection: Connection) -> None:
    """The driver never sends: the pipe is readable when it has died."""
    wait([connection])
    os._exit(1)


def _taken_in_the_worker() -> bytes:
    raise RuntimeError("a record of another process has no checkpoint to take; see Progress.snapshot")
