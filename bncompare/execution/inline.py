"""Train runs one after the other in this process."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from bncompare.config.schema import RunConfig
from bncompare.data import Dataset
from bncompare.training import Record, train


@dataclass(frozen=True)
class Job:
    """A run to train, and the checkpoint to go on from."""

    run: RunConfig
    checkpoint: bytes | None


@dataclass(frozen=True)
class Failure:
    """A run that ended with an exception: its text and traceback."""

    message: str
    details: str


def execute(
    jobs: Iterable[Job], load: Callable[[RunConfig], Dataset], device: torch.device
) -> Iterator[tuple[Job, Record | Failure]]:
    """Train each job; an exception ends its run alone."""
    torch.backends.cudnn.deterministic = True
    for job in jobs:
        torch.set_num_threads(job.run.training.threads)
        try:
            for record in train(job.run, load(job.run), device, job.checkpoint):
                yield job, record
        except Exception as error:  # whatever went wrong, the other runs go on
            yield job, Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
