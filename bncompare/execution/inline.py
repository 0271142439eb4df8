"""Train runs one after the other in this process."""

import traceback
from collections.abc import Callable, Generator, Iterable

import torch

from bncompare.config.schema import RunConfig
from bncompare.data import Dataset
from bncompare.execution import Failure, Job, Result, with_snapshots
from bncompare.training import train


def execute(
    jobs: Iterable[Job], load: Callable[[RunConfig], Dataset], device: torch.device
) -> Generator[tuple[Job, Result], None, None]:
    """Train each job; an exception ends its run alone."""
    torch.backends.cudnn.deterministic = True
    for job in jobs:
        torch.set_num_threads(job.run.training.threads)
        try:
            for progress in with_snapshots(train(job.run, load(job.run), device, job.checkpoint)):
                yield job, progress
        except Exception as error:  # whatever went wrong, the other runs go on
            yield job, Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
