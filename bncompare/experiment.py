"""Plan → execute → store: the join of config, training and run folders."""

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
from bncompare.data import Dataset, Pool, find_data_dir, load_dataset, load_pool
from bncompare.execution.inline import Failure, Job, execute
from bncompare.models import count_parameters
from bncompare.store import Run, RunStore, State, parse_metrics
from bncompare.training import Outcome, Record, resolve_device

SECONDS_BETWEEN_CHECKPOINTS = 2.0


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


def run_experiment(planned: Sequence[Planned], *, data_dir: Path | None) -> Iterator[Event]:
    """Train what is not finished, one run after the other, and keep its folder.

    `data_dir` goes before what the configs say. Raises UserError before the first run if a device or
    a dataset is not to be had, and StorageError when a folder cannot be written.
    """
    todo = [item for item in planned if item.state != "finished"]
    devices = {item.run.training.device: resolve_device(item.run.training.device) for item in todo}
    pools = _Pools(data_dir)
    for item in todo:
        pools.load(item.run)  # a missing dataset is found before any run folder is made

    for item in todo:
        target = devices[item.run.training.device]
        folder = item.folder
        if item.state == "new":
            folder.clear()
        job = Job(item.run, folder.resume())
        folder.begin(_environment(item.run, target))
        saved = started = time.perf_counter()
        for _, result in execute([job], pools.dataset, target):
            seconds = time.perf_counter() - started
            if isinstance(result, Failure):
                folder.fail({"status": "failed", "error": result.message, "traceback": result.details})
                yield Event(item, None, result, seconds)
                continue
            metrics = result.metrics
            folder.append(result.epoch, result.step, metrics, result.seconds, result.examples_per_second)
            measured = [(row.layer, row.quantity, row.value) for row in result.diagnostics]
            folder.append_diagnostics(result.epoch, result.step, measured)
            if result.outcome:
                outcome = result.outcome
                folder.finish(_result(item, result, outcome), _weights(outcome), _curves(folder), result.checkpoint())
            elif time.perf_counter() - saved >= SECONDS_BETWEEN_CHECKPOINTS:
                folder.save(result.checkpoint())
                saved = time.perf_counter()
            yield Event(item, result, None, seconds)


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


class _Pools:
    """The images of the runs, each dataset loaded once."""

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self.pools: dict[tuple[str, bool, Path], Pool] = {}

    def load(self, run: RunConfig) -> Pool | None:
        """The images of a run; None for random regression. Raises UserError."""
        if not isinstance(run.data, Images):
            return None
        data_dir = find_data_dir(self.data_dir, run.data)
        key = (run.data.name, run.data.synthetic, data_dir)
        if key not in self.pools:
            self.pools[key] = load_pool(run.data, data_dir)
        return self.pools[key]

    def dataset(self, run: RunConfig) -> Dataset:
        """The data of a run, split by its seed."""
        return load_dataset(run, self.load(run))


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
