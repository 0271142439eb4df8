"""Plan → execute → store: the join of config, training and run folders."""

import contextlib
import datetime
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch

from bncompare.errors import StorageError
from bncompare.execution import inline, memory, processes
from bncompare.execution.forkserver import start_forkserver
from bncompare.execution.messages import Evaluated, Failure, Job, OnMismatch, Restart, Result, Started, is_end
from bncompare.execution.plan import Planned
from bncompare.runs import Condition, make_folder
from bncompare.training import Datasets, Outcome, Record, resolve_device

SECONDS_BETWEEN_LOOKS = 0.5  # at runs that another process is training


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, already in its folder."""

    planned: Planned
    what: Started | Evaluated | Restart | Failure | Literal["waiting", "finished elsewhere", "written again"]
    """the last three: another process is training it; another process has finished it; it was finished, and has
    again the files that it had lost"""
    seconds: float = 0.0
    """wall-clock of the run so far"""

    @property
    def record(self) -> Record | None:
        """The evaluation, if it is one."""
        return self.what.record if isinstance(self.what, Evaluated) else None

    @property
    def is_end(self) -> bool:
        """Whether nothing more will be heard of the run."""
        return self.what != "waiting" if isinstance(self.what, str) else is_end(self.what)


def run_experiment(
    planned: Sequence[Planned],
    *,
    data_dir: Path | None,
    num_processes: int | None = 1,
    allow_inexact: bool = False,
    cluster: str | None = None,
) -> Iterator[Event]:
    """Train what is not finished, several runs at a time, and keep their folders; write again what others lost.

    `data_dir` goes before what the configs say. `num_processes` None stands for one a core, or one on a GPU.
    `cluster` is the address of a Ray cluster to train on, or `local` to start one here. A run that another process
    is training is left to it, and taken over should that process die. A run whose folder cannot be read or written
    fails, and the others go on. Raises UserError before the first run if a device or a dataset is not to be had, and
    StorageError if the folder of an experiment cannot be made.
    """
    todo = [item for item in planned if item.state != "finished"]
    sweep = _Sweep(todo, data_dir, num_processes, allow_inexact, cluster)
    for item in todo:
        sweep.datasets.load(item.run)  # a missing dataset is found before any run folder is made
    for item in planned:
        if item.is_done:
            item.folder.remove_stale_lock()
        elif item.state == "finished":
            yield _write_again(item)
    for folder in dict.fromkeys(item.folder.path.parent for item in todo):
        make_folder(folder)
    try:
        yield from sweep.train(range(len(todo)))
        yield from [Event(todo[number], "waiting") for number in sweep.locked]
        while sweep.locked:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            numbers, sweep.locked = sweep.locked, []
            yield from sweep.train(numbers)
    finally:
        for item in todo:
            item.folder.unlock()


def _write_again(item: Planned) -> Event:
    """See that a finished run has all its files."""
    folder = item.folder
    try:
        if not folder.lock():
            return Event(item, "finished elsewhere")  # and being mended there
        try:
            found = folder.examine()
            if found.state != "finished":
                return Event(item, Failure("; ".join(found.problems), ""))
            folder.write_again(found.lost, lambda metrics: inline.draw_curves(item.run, metrics))
        finally:
            folder.unlock()
    except (OSError, ValueError, StorageError) as error:
        return Event(item, Failure(str(error), ""))
    return Event(item, "written again")


class _Sweep:
    """Runs on their way to being finished."""

    def __init__(
        self,
        todo: Sequence[Planned],
        data_dir: Path | None,
        num_processes: int | None,
        allow_inexact: bool,
        cluster: str | None,
    ) -> None:
        self.todo = todo
        self.data_dir = data_dir
        self.datasets = Datasets(data_dir)
        self.num_processes = num_processes
        self.allow_inexact = allow_inexact
        self.cluster = cluster
        names = dict.fromkeys(item.run.training.device for item in todo)
        # What the machines of a cluster have is found out there.
        self.devices = {name: None if cluster else resolve_device(name) for name in names}
        self.locked: list[int] = []
        """runs that another process was training when their turn came"""
        self.was_locked: set[int] = set()
        self.ended: list[Event] = []
        """of runs that ended before they were trained, to be told next"""
        self.abandoned: set[int] = set()
        """runs whose folder could no longer be written"""
        self.started: dict[int, float] = {}

    def train(self, numbers: Sequence[int]) -> Iterator[Event]:
        """Train those of the runs that no other process is training."""
        for device in dict.fromkeys(self.devices.values()):
            mine = [number for number in numbers if self.devices[self.todo[number].run.training.device] == device]
            jobs = self._jobs(mine)  # lazily: a run is locked when its turn comes
            first = next(jobs, None)
            if first is not None:
                with contextlib.closing(self._execute(chain([first], jobs), mine, device)) as results:
                    for job, result in results:
                        if job.number not in self.abandoned:
                            yield self._keep(job, result)
                        yield from self._take_ended()
            yield from self._take_ended()

    def _take_ended(self) -> list[Event]:
        ended, self.ended = self.ended, []
        return ended

    def _jobs(self, numbers: Iterable[int]) -> Iterator[Job]:
        for number in numbers:
            item = self.todo[number]
            try:
                job = self._job(number)
            except StorageError as error:
                item.folder.unlock()
                self.ended.append(Event(item, Failure(str(error), "")))
                continue
            if job is not None:
                yield job

    def _job(self, number: int) -> Job | None:
        """A run that is this process's to train; None if another is training it, or has."""
        item = self.todo[number]
        if not item.folder.lock():
            self.locked.append(number)
            self.was_locked.add(number)
            return None
        # What the plan saw may be of yesterday.
        is_fresh = item.fresh and number not in self.was_locked
        found = Condition("new") if is_fresh else item.folder.examine(extend=not item.fresh)
        if found.state == "finished":
            item.folder.unlock()
            self.ended.append(Event(item, "finished elsewhere"))
            return None
        if found.state in ("new", "damaged"):
            item.folder.clear()
        checkpoint = item.folder.go_on(found)
        # A shorter run that was trained elsewhere is no reason to fail.
        otherwise: OnMismatch = "fail" if found.state == "begun" else "start over"
        return Job(number, item.run, checkpoint, "go on" if self.allow_inexact else otherwise)

    def _again(self, job: Job) -> Job:
        """The same run after its process died: from its last checkpoint, if it lands on the same kind of machine."""
        item = self.todo[job.number]
        checkpoint = item.folder.resume(extend=not item.fresh)
        return Job(job.number, job.run, checkpoint, "go on" if self.allow_inexact else "start over")

    def _execute(
        self, jobs: Iterable[Job], numbers: Sequence[int], device: torch.device | None
    ) -> Generator[tuple[Job, Result], None, None]:
        if device is None:
            from bncompare.execution import ray

            assert self.cluster is not None
            return ray.execute(
                jobs,
                self._again,
                address=self.cluster,
                num_jobs=self.num_processes,
                load=self.datasets.load,
                abandoned=self.abandoned,
            )
        num_processes = self.num_processes
        if num_processes is None:
            threads = max(self.todo[number].run.training.threads for number in numbers)
            most = max(memory.needed(self.todo[number].run).total for number in numbers)
            room = memory.available() // max(most, 1)
            num_processes = min(available_cores() // threads, room) if device.type == "cpu" else 1
        num_processes = min(num_processes, len(numbers))
        if num_processes <= 1:
            return inline.execute(jobs, self.datasets.of, device, self.abandoned)
        start_forkserver(item.run for item in self.todo)
        return processes.execute(
            jobs,
            self._again,
            num_processes=num_processes,
            data_dir=self.data_dir,
            device=device,
            abandoned=self.abandoned,
        )

    def _keep(self, job: Job, result: Result) -> Event:
        """Write what happened to the run's folder; a run whose folder cannot be written has failed."""
        item = self.todo[job.number]
        try:
            self._write(job, result)
        except StorageError as error:
            self.abandoned.add(job.number)
            result = Failure(str(error), "")
        if is_end(result):
            item.folder.unlock()
        now = time.perf_counter()
        return Event(item, result, now - self.started.get(job.number, now))

    def _write(self, job: Job, result: Result) -> None:
        item = self.todo[job.number]
        folder = item.folder
        if isinstance(result, Started):
            self.started.setdefault(job.number, time.perf_counter())
            if job.checkpoint is not None and not result.from_checkpoint:
                folder.clear()
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            folder.begin({**result.environment, "started": now})
        elif isinstance(result, Failure):
            folder.fail({"status": "failed", "error": result.message, "traceback": result.details})
        elif isinstance(result, Evaluated):
            _keep_evaluation(item, result)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_evaluation(item: Planned, progress: Evaluated) -> None:
    """Write an evaluation, or what there is to write of it, to the run's folder."""
    record, folder = progress.record, item.folder
    folder.append(record.epoch, record.step, record.metrics, record.seconds, record.examples_per_second)
    measured = [(row.layer, row.quantity, row.value) for row in record.diagnostics]
    folder.append_diagnostics(record.epoch, record.step, measured)
    if record.outcome is not None:
        assert progress.snapshot is not None
        assert progress.curves is not None
        outcome = record.outcome
        folder.finish(_result(item, record, outcome), _weights(outcome), progress.curves, progress.snapshot)
    elif progress.snapshot is not None:
        folder.save(progress.snapshot)


def _result(item: Planned, record: Record, outcome: Outcome) -> dict[str, Any]:
    test = {name: value for name, value in (outcome.best or {}).items() if name.startswith("test/")}
    return {
        "status": outcome.status,
        "epochs": record.epoch,
        "steps": record.step,
        "monitor": item.run.training.monitor,
        "best": outcome.best,
        "last": outcome.last,
        "test": test,
        "parameters": item.num_parameters,
        "dropped_examples_per_epoch": item.run.dropped_examples,
    }


def _weights(outcome: Outcome) -> bytes | None:
    from safetensors.torch import save

    if outcome.best_weights is None:
        return None
    return save({name: value.cpu().contiguous() for name, value in outcome.best_weights.items()})
