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

from bncompare import forkserver
from bncompare.config.schema import Images, RunConfig
from bncompare.data import Datasets
from bncompare.execution import (
    Failure,
    Job,
    OnMismatch,
    Progress,
    Restart,
    Result,
    Started,
    inline,
    is_end,
    processes,
)
from bncompare.models import count_parameters
from bncompare.store import Run, RunStore, State
from bncompare.training import Outcome, Record, resolve_device

SECONDS_BETWEEN_LOOKS = 0.5  # at runs that another process is training


@dataclass(frozen=True)
class Planned:
    """A run to do: its config, its folder, what exists already."""

    run: RunConfig
    folder: Run
    state: State
    num_parameters: int
    fresh: bool = False
    """whether to take nothing from earlier calls"""


def plan(runs: Sequence[RunConfig], store: RunStore, *, fresh: bool = False) -> list[Planned]:
    """What training these runs would do; `fresh` takes nothing from earlier calls."""
    folders = [store.run(run) for run in runs]
    return [
        Planned(run, folder, "new" if fresh else folder.state, count_parameters(run), fresh)
        for run, folder in zip(runs, folders, strict=True)
    ]


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, already in its folder."""

    planned: Planned
    what: Started | Progress | Restart | Failure | Literal["waiting", "finished elsewhere"]
    """the last two: another process is training it; another process has finished it"""
    seconds: float = 0.0
    """wall-clock of the run so far"""

    @property
    def record(self) -> Record | None:
        """The evaluation, if it is one."""
        return self.what.record if isinstance(self.what, Progress) else None

    @property
    def is_end(self) -> bool:
        """Whether nothing more will be heard of the run."""
        return self.what == "finished elsewhere" or (not isinstance(self.what, str) and is_end(self.what))


def run_experiment(
    planned: Sequence[Planned],
    *,
    data_dir: Path | None,
    num_processes: int | None = 1,
    allow_inexact: bool = False,
    cluster: str | None = None,
) -> Iterator[Event]:
    """Train what is not finished, several runs at a time, and keep their folders.

    `data_dir` goes before what the configs say. `num_processes` None stands for one a core, or one on a GPU.
    `cluster` is the address of a Ray cluster to train on, or `local` to start one here. A run that another process
    is training is left to it, and taken over should that process die. Raises UserError before the first run if a
    device or a dataset is not to be had, and StorageError when a folder cannot be written.
    """
    todo = [item for item in planned if item.state != "finished"]
    sweep = _Sweep(todo, data_dir, num_processes, allow_inexact, cluster)
    for item in todo:
        sweep.datasets.load(item.run)  # a missing dataset is found before any run folder is made
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
        self.finished_elsewhere: list[int] = []
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
                        self._keep(job, result)
                        seconds = time.perf_counter() - self.started.get(job.number, time.perf_counter())
                        yield Event(self.todo[job.number], result, seconds)
            elsewhere, self.finished_elsewhere = self.finished_elsewhere, []
            yield from [Event(self.todo[number], "finished elsewhere") for number in elsewhere]

    def _jobs(self, numbers: Iterable[int]) -> Iterator[Job]:
        for number in numbers:
            item = self.todo[number]
            if not item.folder.lock():
                self.locked.append(number)
                self.was_locked.add(number)
                continue
            # What the plan saw may be of yesterday.
            state = "new" if item.fresh and number not in self.was_locked else item.folder.state
            if state == "finished":
                item.folder.unlock()
                self.finished_elsewhere.append(number)
                continue
            if state in ("new", "damaged"):
                item.folder.clear()
            checkpoint = item.folder.resume(extend=not item.fresh)
            # A shorter run that was trained elsewhere is no reason to fail.
            otherwise: OnMismatch = "start over" if state == "extends" else "fail"
            yield Job(number, item.run, checkpoint, "go on" if self.allow_inexact else otherwise)

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
                jobs, self._again, address=self.cluster, num_jobs=self.num_processes, load=self.datasets.load
            )
        num_processes = self.num_processes
        if num_processes is None:
            threads = max(self.todo[number].run.training.threads for number in numbers)
            num_processes = available_cores() // threads if device.type == "cpu" else 1
        num_processes = min(num_processes, len(numbers))
        if num_processes <= 1:
            return inline.execute(jobs, self.datasets.of, device)
        forkserver.start(item.run for item in self.todo)
        return processes.execute(
            jobs,
            self._again,
            num_processes=num_processes,
            data_dir=self.data_dir,
            device=device,
        )

    def _keep(self, job: Job, result: Result) -> None:
        """Write what happened to the run's folder."""
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
        elif isinstance(result, Progress):
            _keep_evaluation(item, result)
        if is_end(result):
            folder.unlock()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_evaluation(item: Planned, progress: Progress) -> None:
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
        "synthetic_data": isinstance(item.run.data, Images) and item.run.data.synthetic,
    }


def _weights(outcome: Outcome) -> bytes | None:
    from safetensors.torch import save

    if outcome.best_weights is None:
        return None
    return save({name: value.cpu().contiguous() for name, value in outcome.best_weights.items()})
