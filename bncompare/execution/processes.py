"""Train runs in processes of their own, several at a time; the bytes are those of `inline`.

A worker trains one run after the other, as a process of its own for each would cost 30 ms more, and sends their
evaluations through its own pipe, so that its death costs no run but the one that it is at. It is started by a
forkserver that has imported torch once, where there is one. The driver alone writes files.
"""

import os
import pickle
import signal
import threading
from collections.abc import Iterator, MutableSequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue

import torch

from bncompare.errors import UserError
from bncompare.execution import inline
from bncompare.execution.forkserver import starting_context
from bncompare.execution.main_module import UNGUARDED, hidden_main, needs_main
from bncompare.execution.messages import Attempt, Evaluated, Gone, Result, is_end
from bncompare.training import Datasets

SECONDS_TO_END = 2.0
# Open files of the driver: of each worker a pipe, two of multiprocessing's, and the lock of its run.
FILES_PER_WORKER = 4
OTHER_FILES = 24


@dataclass
class _Worker:
    process: BaseProcess
    has_main: bool
    """whether it has the classes that are written in this program"""
    attempt: Attempt | None
    """what it trains; nothing between two runs"""


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
        self.workers: dict[Connection, _Worker] = {}

    @property
    def busy(self) -> list[Connection]:
        """Those that train."""
        return [connection for connection, worker in self.workers.items() if worker.attempt]

    @property
    def is_busy(self) -> bool:
        return bool(self.busy)

    @property
    def has_room(self) -> bool:
        return len(self.busy) < self.num_processes

    def start(self, attempt: Attempt) -> None:
        has_main = needs_main(attempt.job.run)
        fit = (ours for ours, worker in self.workers.items() if not worker.attempt and worker.has_main == has_main)
        ours = next(fit, None) or self._start_worker(has_main)
        self.workers[ours].attempt = attempt
        with suppress(OSError):  # it has died since its last run, as `wait` will find
            ours.send_bytes(pickle.dumps(attempt.job))

    def _start_worker(self, has_main: bool) -> Connection:
        ours, theirs = self.context.Pipe(duplex=True)
        arguments = (theirs, self.data_dir, self.device, self.steps)
        process = self.context.Process(target=_work, args=arguments, daemon=True)
        with nullcontext() if has_main else hidden_main():
            process.start()
        theirs.close()
        self.workers[ours] = _Worker(process, has_main, None)
        return ours

    def wait(self) -> Iterator[tuple[Attempt, Result | Gone]]:
        for ready in wait(self.busy):
            assert isinstance(ready, Connection)
            worker = self.workers[ready]
            attempt = worker.attempt
            assert attempt is not None
            try:
                sent = ready.recv_bytes()
            except (EOFError, OSError):  # the worker is gone, perhaps in the middle of a message
                self._remove(ready)
                yield attempt, Gone(how_it_ended(worker.process.exitcode))
                continue
            result = pickle.loads(sent)
            if is_end(result):
                worker.attempt = None
            yield attempt, result

    def end(self, attempt: Attempt) -> None:
        for connection, worker in list(self.workers.items()):
            if worker.attempt is attempt:
                worker.process.terminate()
                self._remove(connection)

    def close(self) -> None:
        processes = [worker.process for worker in self.workers.values()]
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(SECONDS_TO_END)
            if process.is_alive():
                process.kill()

    def _remove(self, connection: Connection) -> None:
        worker = self.workers.pop(connection)
        connection.close()
        worker.process.join()


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
    connection: Connection, data_dir: Path | None, device: torch.device, steps: MutableSequence[int] | None
) -> None:
    """The worker: train what comes, and send."""
    from bncompare.execution import quiet  # noqa: F401  silences libraries, where no server has done it

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    jobs, datasets = SimpleQueue[bytes](), Datasets(data_dir)
    threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
    while True:
        for result in inline.train_job(pickle.loads(jobs.get()), datasets.of, device, steps):
            connection.send_bytes(to_bytes(result))


def _receive(connection: Connection, jobs: SimpleQueue[bytes]) -> None:
    """What the driver sends; when it has died, so does this process, in the middle of whatever it does."""
    with suppress(EOFError, OSError):
        while True:
            jobs.put(connection.recv_bytes())
    os._exit(1)


def to_bytes(result: Result) -> bytes:
    """A result to be sent to another process; `pickle.loads` is the way back."""
    if isinstance(result, Evaluated):
        # The snapshot travels as bytes; the function that takes one stays here.
        result = replace(result, record=replace(result.record, checkpoint=_taken_in_the_worker))
    # Plain pickle: torch's own would share memory, which does not outlive a worker.
    return pickle.dumps(result)


def _taken_in_the_worker() -> bytes:
    raise RuntimeError("a record of another process has no checkpoint to take; see Evaluated.snapshot")
