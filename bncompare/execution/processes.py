"""Train runs in processes of their own, several at a time; the bytes are those of `inline`.

A worker trains one run and sends its evaluations through a pipe of its own, so that one death poisons no other. It
is started by a forkserver that has imported torch once, where there is one. The driver alone writes files.
"""

import os
import pickle
import signal
import threading
from collections.abc import Iterator, MutableSequence
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from bncompare.errors import UserError
from bncompare.execution import inline
from bncompare.execution.forkserver import starting_context
from bncompare.execution.main_module import UNGUARDED, hidden_main, needs_main
from bncompare.execution.messages import Attempt, Evaluated, Gone, Job, Result
from bncompare.training import Datasets

SECONDS_TO_END = 2.0
# Open files of the driver: of each worker a pipe, two of multiprocessing's, and the lock of its run.
FILES_PER_WORKER = 4
OTHER_FILES = 24


class Processes:
    """Processes of their own, so many at a time. `start_forkserver` comes first.

    Raises UserError if this process may not have as many open files as that takes.
    """

    def __init__(
        self,
        num_processes: int,
        data_dir: Path | None,
        device: torch.device,
        steps: MutableSequence[int] | None = None,
    ) -> None:
        _check_open_files(num_processes)
        self.num_processes, self.data_dir, self.device, self.steps = num_processes, data_dir, device, steps
        self.context = starting_context()
        self.workers: dict[Connection, tuple[BaseProcess, Attempt]] = {}

    @property
    def is_busy(self) -> bool:
        return bool(self.workers)

    @property
    def has_room(self) -> bool:
        return len(self.workers) < self.num_processes

    def start(self, attempt: Attempt) -> None:
        ours, theirs = self.context.Pipe(duplex=True)
        arguments = (theirs, attempt.job, self.data_dir, self.device, self.steps)
        process = self.context.Process(target=_work, args=arguments, daemon=True)
        with nullcontext() if needs_main(attempt.job.run) else hidden_main():
            process.start()
        theirs.close()
        self.workers[ours] = process, attempt

    def wait(self) -> Iterator[tuple[Attempt, Result | Gone]]:
        for ready in wait(list(self.workers)):
            assert isinstance(ready, Connection)
            process, attempt = self.workers[ready]
            try:
                sent = ready.recv_bytes()
            except (EOFError, OSError):  # the worker is gone, perhaps in the middle of a message
                self._remove(ready)
                yield attempt, Gone(how_it_ended(process.exitcode))
            else:
                yield attempt, pickle.loads(sent)

    def end(self, attempt: Attempt) -> None:
        for connection, (process, other) in list(self.workers.items()):
            if other is attempt:
                process.terminate()
                self._remove(connection)

    def close(self) -> None:
        processes = [process for process, _ in self.workers.values()]
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(SECONDS_TO_END)
            if process.is_alive():
                process.kill()

    def _remove(self, connection: Connection) -> None:
        process, _ = self.workers.pop(connection)
        connection.close()
        process.join()


def _check_open_files(num_processes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows, which sets no such limit
        return
    may_be_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = num_processes * FILES_PER_WORKER + OTHER_FILES
    if may_be_open != resource.RLIM_INFINITY and needed > may_be_open:
        possible = max(1, (may_be_open - OTHER_FILES) // FILES_PER_WORKER)
        raise UserError(
            f"--jobs {num_processes}: takes {needed} open files, and no more than {may_be_open} are allowed "
            f"(ulimit -n); at most --jobs {possible}"
        )


def how_it_ended(exit_code: int | None) -> str:
    """The death of a process, from its exit code."""
    if exit_code == UNGUARDED:
        return (
            "its process ran this program again for a class that is written in it, and that trains when it is run: "
            'put what trains below `if __name__ == "__main__":`, or the class into a file of its own'
        )
    if exit_code is not None and exit_code < 0:
        number = -exit_code
        known = {one.value: one.name for one in signal.Signals}  # those of real time have no name
        name = known.get(number, f"signal {number}")
        memory = ", perhaps for lack of memory" if name == "SIGKILL" else ""
        return f"its process was killed ({name}{memory})"
    return f"its process ended without a result (exit code {exit_code})"


def _work(
    connection: Connection,
    job: Job,
    data_dir: Path | None,
    device: torch.device,
    steps: MutableSequence[int] | None,
) -> None:
    """The worker: train and send."""
    from bncompare.execution import quiet  # noqa: F401  silences libraries, where no server has done it

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_driver, args=(connection,), daemon=True).start()
    for result in inline.train_job(job, Datasets(data_dir).of, device, steps):
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
