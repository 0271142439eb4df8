"""Train runs one after the other in this process."""

import time
import traceback
from collections.abc import Callable, Container, Generator, Iterable, Iterator

import torch

from bncompare.config import RunConfig
from bncompare.errors import UserError
from bncompare.execution.environment import differences, environment
from bncompare.execution.messages import Evaluated, Failure, Job, Result, Started
from bncompare.runs import Checkpoint, Tables
from bncompare.training import Dataset, Record, train


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


SECONDS_BETWEEN_CHECKPOINTS = 2.0


def followed(run: RunConfig, records: Iterator[Record], checkpoint: Checkpoint | None) -> Iterator[Evaluated]:
    """Take a snapshot of the last record and of every `training.checkpoint_every`-th, and draw the curves at the end.

    Without `checkpoint_every` of each, but at most one every few seconds, as tiny runs need none in between.
    """
    taken = time.perf_counter()
    every = run.training.checkpoint_every
    metrics = (checkpoint.tables if checkpoint else Tables(run.metrics_header)).columns()
    for i, record in enumerate(records, start=1):
        for name, value in {"epoch": record.epoch, "step": record.step, **record.metrics}.items():
            metrics[name].append(value)
        is_last = record.outcome is not None
        due = time.perf_counter() - taken >= SECONDS_BETWEEN_CHECKPOINTS if every is None else i % every == 0
        snapshot = record.checkpoint() if due or is_last else None
        yield Evaluated(record, snapshot, draw_curves(run, metrics) if is_last else None)
        if due:
            taken = time.perf_counter()


def draw_curves(run: RunConfig, metrics: dict[str, list[float]]) -> bytes:
    """The curves.png of a run, from the columns of its metrics.csv."""
    from bncompare.figures import render, run_curves

    title = f"{run.name}: {run.variant.label}, seed {run.seed}"
    return render(run_curves(metrics, title, run.data.is_classification), "png")
