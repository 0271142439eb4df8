"""Plan → execute → store: the join of config, training and run folders."""

import contextlib
import datetime
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bncompare.config.schema import Images, RunConfig
from bncompare.data import Datasets
from bncompare.execution import Failure, Job, Progress, inline, processes
from bncompare.models import count_parameters
from bncompare.store import Run, RunStore, State, parse_metrics
from bncompare.training import Outcome, Record, resolve_device


@dataclass(frozen=True)
class Planned:
    """A run to do: its config, its folder, what exists already."""

    run: RunConfig
    folder: Run
    state: State
    num_parameters: int


def plan(runs: Sequence[RunConfig], store: RunStore, *, fresh: bool = False) -> list[Planned]:
    """What training these runs would do; `fresh` takes nothing from earlier calls."""
    folders = [store.run(run) for run in runs]
    return [
        Planned(run, folder, "new" if fresh else folder.state, count_parameters(run))
        for run, folder in zip(runs, folders, strict=True)
    ]


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, already in its folder."""

    planned: Planned
    record: Record | None
    failure: Failure | None = None
    seconds: float = 0.0
    """wall-clock of the run so far"""


def run_experiment(planned: Sequence[Planned], *, data_dir: Path | None, num_processes: int = 1) -> Iterator[Event]:
    """Train what is not finished, one run after the other or several at a time, and keep its folder.

    `data_dir` goes before what the configs say. Raises UserError before the first run if a device or a dataset is
    not to be had, and StorageError when a folder cannot be written.
    """
    todo = [item for item in planned if item.state != "finished"]
    devices = {item.run.training.device: resolve_device(item.run.training.device) for item in todo}
    datasets = Datasets(data_dir)
    for item in todo:
        datasets.load(item.run)  # a missing dataset is found before any run folder is made
    started: dict[int, float] = {}

    def job(number: int) -> Job:
        """The next piece of a run: from its checkpoint, or from the start."""
        item = todo[number]
        if item.state in ("new", "damaged") and number not in started:
            item.folder.clear()
        started.setdefault(number, time.perf_counter())
        checkpoint = item.folder.resume()
        item.folder.begin(_environment(item.run, devices[item.run.training.device]))
        return Job(number, item.run, checkpoint)

    for device in dict.fromkeys(devices.values()):
        numbers = [i for i, item in enumerate(todo) if devices[item.run.training.device] == device]
        jobs = map(job, numbers)  # lazily: a folder begins when its run does
        if num_processes > 1 and len(numbers) > 1:
            results = processes.execute(
                jobs,
                lambda dead: job(dead.number),
                num_processes=num_processes,
                data_dir=data_dir,
                device=device,
                needs_torchvision=any(isinstance(i.run.data, Images) and not i.run.data.synthetic for i in todo),
            )
        else:
            results = inline.execute(jobs, datasets.of, device)
        with contextlib.closing(results):
            for running, result in results:
                item = todo[running.number]
                seconds = time.perf_counter() - started[running.number]
                if isinstance(result, Failure):
                    item.folder.fail({"status": "failed", "error": result.message, "traceback": result.details})
                    yield Event(item, None, result, seconds)
                else:
                    _keep(item, result)
                    yield Event(item, result.record, None, seconds)


def _keep(item: Planned, progress: Progress) -> None:
    """Write an evaluation, or what there is to write of it, to the run's folder."""
    record, folder = progress.record, item.folder
    folder.append(record.epoch, record.step, record.metrics, record.seconds, record.examples_per_second)
    measured = [(row.layer, row.quantity, row.value) for row in record.diagnostics]
    folder.append_diagnostics(record.epoch, record.step, measured)
    if record.outcome is not None:
        assert progress.snapshot is not None
        outcome = record.outcome
        folder.finish(_result(item, record, outcome), _weights(outcome), _curves(folder), progress.snapshot)
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


def _curves(folder: Run) -> bytes:
    from bncompare.plotting import render, run_curves  # matplotlib: 0.5 s, not for --dry-run

    is_classification = folder.config.data.is_classification
    return render(run_curves(parse_metrics(folder.metrics_csv), folder.path.name, is_classification), "png")


def _environment(run: RunConfig, device: torch.device) -> dict[str, Any]:
    """What the numbers may depend on beside the config."""
    packages = ("bncompare", "torch", "torchvision", "numpy")
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpus": os.cpu_count(),
        "threads": run.training.threads,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
