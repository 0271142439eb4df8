"""Ways to run many `train()`s; each yields (job, result) pairs and gives the same numbers."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from bncompare.checkpoint import Checkpoint
from bncompare.config.schema import RunConfig
from bncompare.errors import StorageError, printable
from bncompare.results import parse_metrics
from bncompare.training import Record

MAX_STARTS = 3  # of a run whose process dies
SECONDS_BETWEEN_CHECKPOINTS = 2.0
MAX_MESSAGE_LENGTH = 500

# What the bits of a number depend on, beside the config.
DECISIVE = ("bncompare", "torch", "machine", "cpu", "cpu_capability", "device_name")


OnMismatch = Literal["fail", "start over", "go on"]


@dataclass(frozen=True)
class Job:
    """A run to train, and the checkpoint to go on from."""

    number: int
    """its place in the plan"""
    run: RunConfig
    checkpoint: Checkpoint | None
    on_mismatch: OnMismatch = "fail"
    """what to do if the checkpoint comes from an environment that may give other bits"""


@dataclass(frozen=True)
class Started:
    """A run has begun, or goes on."""

    environment: dict[str, Any]
    """where: what environment.json says"""
    from_checkpoint: bool
    """whether it goes on from the job's checkpoint"""


@dataclass(frozen=True)
class Progress:
    """An evaluation, and now and then what to go on from."""

    record: Record
    snapshot: bytes | None
    curves: bytes | None
    """in the last one of a run: its curves.png, drawn where the run trains, as that takes longer than to write it"""


@dataclass(frozen=True)
class Restart:
    """A run that starts again, as its process died or could not be started."""

    reason: str
    """what happened, and from where it goes on"""


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result: why, and a traceback where there is one."""

    message: str
    """a printable line, whatever was said: exceptions quote what a checkpoint or a dataset holds"""
    details: str

    def __post_init__(self) -> None:
        line = printable(" ".join(self.message.split()))
        shown = line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[:MAX_MESSAGE_LENGTH]}…"
        object.__setattr__(self, "message", shown)


Result = Started | Progress | Restart | Failure


@dataclass
class Attempt:
    """A run in a process or task of its own, which may die."""

    job: Job
    starts: int = 1
    has_ended: bool = False
    """whether its last result has come"""

    def after_death(self, again: Callable[[Job], Job], reason: str) -> "tuple[Attempt | None, Result]":
        """The attempt that follows, from `again(job)`, unless it has died too often; and what to say of it."""
        if self.starts < MAX_STARTS:
            try:
                return Attempt(again(self.job), self.starts + 1), Restart(
                    f"{reason}; it starts again from its last checkpoint"
                )
            except StorageError as error:
                reason = f"{reason}; {error}"
                return None, Failure(reason, "")
        return None, Failure(f"{reason}; given up after {MAX_STARTS} starts", "")


def is_end(result: Result) -> bool:
    """Whether nothing comes after this result of a run."""
    return isinstance(result, Failure) or (isinstance(result, Progress) and result.record.outcome is not None)


def followed(run: RunConfig, records: Iterator[Record], checkpoint: Checkpoint | None) -> Iterator[Progress]:
    """Take a snapshot of the last record and of every `training.checkpoint_every`-th, and draw the curves at the end.

    Without `checkpoint_every` of each, but at most one every few seconds, as tiny runs need none in between.
    """
    taken = time.perf_counter()
    every = run.training.checkpoint_every
    lines = checkpoint.tables["metrics"] if checkpoint else []
    metrics = parse_metrics("".join([run.metrics_header, *lines]))
    for i, record in enumerate(records, start=1):
        for name, value in {"epoch": record.epoch, "step": record.step, **record.metrics}.items():
            metrics[name].append(value)
        is_last = record.outcome is not None
        due = time.perf_counter() - taken >= SECONDS_BETWEEN_CHECKPOINTS if every is None else i % every == 0
        snapshot = record.checkpoint() if due or is_last else None
        yield Progress(record, snapshot, _draw_curves(run, metrics) if is_last else None)
        if due:
            taken = time.perf_counter()


def _draw_curves(run: RunConfig, metrics: dict[str, list[float]]) -> bytes:
    from bncompare.curve_plots import run_curves
    from bncompare.plotting import render

    title = f"{run.name}: {run.variant.label}, seed {run.seed}"
    return render(run_curves(metrics, title, run.data.is_classification), "png")


def environment(run: RunConfig, device: torch.device) -> dict[str, Any]:
    """Where a run trains: environment.json."""
    packages = ("bncompare", "torch", "torchvision", "numpy")
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpus": os.cpu_count(),
        "threads": run.training.threads,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def _cpu_name() -> str:
    """Kernels are chosen by the model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def differences(made_on: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """`torch 2.4.0, here 2.5.1`: where two environments differ in what decides the bits."""
    pairs = [(name, _value(made_on, name), _value(here, name)) for name in DECISIVE]
    return [f"{name} {theirs}, here {ours}" for name, theirs, ours in pairs if theirs != ours]


def _value(environment: dict[str, Any], name: str) -> Any:
    return environment.get("versions", {}).get(name) or environment.get(name, "unknown")
