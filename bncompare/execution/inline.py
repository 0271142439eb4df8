"""Train runs one after the other in this process."""

import traceback
from collections.abc import Callable, Container, Generator, Iterable, Iterator

import torch

from bncompare.config.schema import RunConfig
from bncompare.data import Dataset
from bncompare.errors import UserError
from bncompare.execution import Failure, Job, Result, Started, differences, environment, followed
from bncompare.training import train


def execute(
    jobs: Iterable[Job],
    load: Callable[[RunConfig], Dataset],
    device: torch.device,
    abandoned: Container[int] = (),
) -> Generator[tuple[Job, Result], None, None]:
    """Train each job, until its number is among the abandoned ones; an exception ends its run alone."""
    torch.backends.cudnn.deterministic = True
    for job in jobs:
        for result in _train(job, load, device):
            yield job, result
            if job.number in abandoned:
                break


def _train(job: Job, load: Callable[[RunConfig], Dataset], device: torch.device) -> Iterator[Result]:
    run, checkpoint = job.run, job.checkpoint
    torch.set_num_threads(run.training.threads)
    here = environment(run, device)
    if checkpoint is not None and (other := differences(checkpoint.made_on, here)):
        if job.on_mismatch == "fail":
            yield Failure(_mismatch(other), "")
            return
        if job.on_mismatch == "start over":
            checkpoint = None
        else:
            here["went_on_from"] = checkpoint.made_on
    yield Started(here, checkpoint is not None)
    try:
        records = train(run, load(run), device, checkpoint.snapshot if checkpoint else None)
        yield from followed(run, records, checkpoint)
    except UserError as error:
        yield Failure(str(error), "")
    except Exception as error:  # whatever went wrong, the other runs go on
        yield Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def _mismatch(differences: list[str]) -> str:
    return (
        f"its checkpoint was made elsewhere ({'; '.join(differences)}), and going on would not give the numbers of "
        "an uninterrupted run; --allow-inexact goes on all the same, --fresh starts over"
    )
