"""Train runs in processes of their own, several at a time; the bytes are those of `inline`.

A worker trains one run and sends its evaluations through a pipe of its own, so that one death poisons no other. It
is started by a forkserver that has imported torch once. The driver alone writes files.
"""

import multiprocessing
import os
import pickle
import resource
import signal
import threading
from collections.abc import Callable, Container, Generator, Iterable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from bncompare.errors import UserError
from bncompare.execution import inline
from bncompare.execution.messages import Attempt, Evaluated, Job, Result, is_end
from bncompare.training import Datasets

SECONDS_TO_END = 2.0
# Open files of the driver: of each worker a pipe, two of multiprocessing's, and the lock of its run.
FILES_PER_WORKER = 4
OTHER_FILES = 24


def execute(
    jobs: Iterable[Job],
    again: Callable[[Job], Job],
    *,
    num_processes: int,
    data_dir: Path | None,
    device: torch.device,
    abandoned: Container[int] = (),
) -> Generator[tuple[Job, Result], None, None]:
    """Train each job in a process; one whose process dies is started anew, from `again(job)`, up to three times.

    The process of a job whose number is among the abandoned ones is ended. `start_forkserver` comes first. Raises
    UserError if this process may not have as many open files as that takes.
    """
    may_be_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = num_processes * FILES_PER_WORKER + OTHER_FILES
    if may_be_open != resource.RLIM_INFINITY and needed > may_be_open:
        possible = max(1, (may_be_open - OTHER_FILES) // FILES_PER_WORKER)
        raise UserError(
            f"--jobs {num_processes}: takes {needed} open files, and no more than {may_be_open} are allowed "
            f"(ulimit -n); at most --jobs {possible}"
        )
    context = multiprocessing.get_context("forkserver")
    waiting = iter(jobs)
    workers: dict[Connection, tuple[BaseProcess, Attempt]] = {}

    def start(attempt: Attempt) -> None:
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(target=_work, args=(theirs, attempt.job, data_dir, device), daemon=True)
        process.start()
        theirs.close()
        workers[ours] = process, attempt

    try:
        while True:
            while len(workers) < num_processes and (job := next(waiting, None)) is not None:
                start(Attempt(job))
            if not workers:
                return
            for ready in wait(list(workers)):
                assert isinstance(ready, Connection)
                process, attempt = workers[ready]
                try:
                    sent = ready.recv_bytes()
                except (EOFError, OSError):  # the worker is gone, perhaps in the middle of a message
                    del workers[ready]
                    ready.close()
                    process.join()
                    if attempt.has_ended:
                        continue
                    following, last = attempt.after_death(again, how_it_ended(process.exitcode))
                    if following:
                        start(following)
                    yield attempt.job, last
                    continue
                result: Result = pickle.loads(sent)
                attempt.has_ended = is_end(result)
                yield attempt.job, result
                if attempt.job.number in abandoned:
                    del workers[ready]
                    ready.close()
                    process.terminate()
                    process.join()
    finally:
        for process, _ in workers.values():
            process.terminate()
        for process, _ in workers.values():
            process.join(SECONDS_TO_END)
            if process.is_alive():
                process.kill()


def how_it_ended(exit_code: int | None) -> str:
    """The death of a process, from its exit code."""
    if exit_code is not None and exit_code < 0:
        number = -exit_code
        known = {one.value: one.name for one in signal.Signals}  # those of real time have no name
        name = known.get(number, f"signal {number}")
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
    if isinstance(result, Evaluated):
        # The snapshot travels as bytes; the function that takes one stays here.
        result = replace(result, record=replace(result.record, checkpoint=_taken_in_the_worker))
    # Plain pickle: torch's own would share memory, which does not outlive a worker.
    return pickle.dumps(result)


def _end_with_driver(connection: Connection) -> None:
    """The driver never sends: the pipe is readable when it has died."""
    wait([connection])
    os._exit(1)


def _taken_in_the_worker() -> bytes:
    raise RuntimeError("a record of another process has no checkpoint to take; see Evaluated.snapshot")
