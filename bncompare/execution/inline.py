"""Train runs one after the other in this process."""

import traceback
from collections.abc import Callable, Generator, Iterable

import torch

from bncompare.config.schema import RunConfig
from bncompare.data import Dataset
from bncompare.execution import Failure, Job, Result, Started, differences, environment, followed
from bncompare.training import train


def execute(
    jobs: Iterable[Job], load: Callable[[RunConfig], Dataset], device: torch.device
) -> Generator[tuple[Job, Result], None, None]:
    """Train each job; an exception ends its run alone."""
    torch.backends.cudnn.deterministic = True
    for job in jobs:
        run, checkpoint = job.run, job.checkpoint
        torch.set_num_threads(run.training.threads)
        here = environment(run, device)
        if checkpoint is not None and (other := differences(checkpoint.made_on, here)):
            if job.on_mismatch == "fail":
                yield job, Failure(_mismatch(other), "")
                continue
            if job.on_mismatch == "start over":
                checkpoint = None
            else:
                here["went_on_from"] = checkpoint.made_on
        yield job, Started(here, checkpoint is not None)
        try:
            records = train(run, load(run), device, checkpoint.snapshot if checkpoint else None)
            for progress in followed(run, records, checkpoint):
                yield job, progress
        except Exception as error:  # whatever went wrong, the other runs go on
            yield job, Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def _mismatch(differences: list[str]) -> str:
    return (
        f"its checkpoint was made elsewhere ({'; '.join(differences)}), and going on would not give the numbers of "
        "an uninterrupted run; --allow-inexact goes on all the same, --fresh starts over"
    )
