"""Train runs one after the other in this process."""

import operator
import time
import traceback
from collections.abc import Callable, Generator, Iterator, MutableSequence
from functools import partial

import torch

from bncompare.config import RunConfig
from bncompare.errors import UserError
from bncompare.execution.environment import differences, environment
from bncompare.execution.messages import Attempt, Evaluated, Failure, Gone, Job, Result, Started
from bncompare.training import Dataset, Record, train


class Inline:
    """This process, which trains one run after the other."""

    def __init__(
        self, load: Callable[[RunConfig], Dataset], device: torch.device, steps: MutableSequence[int] | None = None
    ) -> None:
        self.load, self.device, self.steps = load, device, steps
        self.running: tuple[Attempt, Generator[Result, None, None]] | None = None

    @property
    def is_busy(self) -> bool:
        return self.running is not None

    @property
    def has_room(self) -> bool:
        return self.running is None

    def start(self, attempt: Attempt) -> None:
        self.running = attempt, train_job(attempt.job, self.load, self.device, self.steps)

    def wait(self) -> Iterator[tuple[Attempt, Result | Gone]]:
        assert self.running is not None
        attempt, results = self.running
        for result in results:
            yield attempt, result
            return
        self.running = None
        yield attempt, Gone("")

    def end(self, attempt: Attempt) -> None:
        self.close()

    def close(self) -> None:
        if self.running is not None:
            self.running[1].close()
        self.running = None


def train_job(
    job: Job,
    load: Callable[[RunConfig], Dataset],
    device: torch.device,
    steps: MutableSequence[int] | None = None,
) -> Generator[Result, None, None]:
    """Train a run and say what happens; an exception is a result too. Into `steps` goes how many it has taken."""
    torch.backends.cudnn.deterministic = True
    run, checkpoint = job.run, job.checkpoint
    torch.set_num_threads(run.training.threads)
    if run.plugins_here != run.plugins:
        yield Failure(f"its plugins are others where it trains: {run.plugins_here}, not {run.plugins}", "")
        return
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
        stepped = None if steps is None else partial(operator.setitem, steps, job.number)
        records = train(run, load(run), device, checkpoint.snapshot if checkpoint else None, stepped)
        yield from followed(job, records)
    except Exception as error:  # whatever went wrong, the other runs go on
        yield failure_of(error)


def failure_of(error: Exception) -> Failure:
    """What is said of it; raises the signal that led to it, if one did."""
    if isinstance(error, UserError):
        return Failure(str(error), "")
    if interruption := _interruption(error):
        raise interruption from None
    details = "".join(traceback.format_exception(error))
    return Failure(f"{type(error).__name__}: {error}", details)


def _interruption(error: BaseException) -> BaseException | None:
    """The signal that led to an error: torch.save, interrupted, says that its file is not whole."""
    while error.__context__ is not None:
        error = error.__context__
    return None if isinstance(error, Exception) else error


def _mismatch(differences: list[str]) -> str:
    return (
        f"its checkpoint was made elsewhere ({'; '.join(differences)}), and going on would not give the numbers of "
        "an uninterrupted run; --allow-inexact goes on all the same, --fresh starts over"
    )


SECONDS_BETWEEN_CHECKPOINTS = 2.0


def followed(job: Job, records: Iterator[Record]) -> Iterator[Evaluated]:
    """Take a snapshot of every `training.checkpoint_every`-th record, of the last one only if it is to be kept.

    Without `checkpoint_every` of each, but at most one every few seconds, as tiny runs need none in between.
    """
    taken = time.perf_counter()
    every = job.run.training.checkpoint_every
    for i, record in enumerate(records, start=1):
        due = time.perf_counter() - taken >= SECONDS_BETWEEN_CHECKPOINTS if every is None else i % every == 0
        wanted = due if record.outcome is None else job.keep_checkpoint
        yield Evaluated(record, record.checkpoint() if wanted else None)
        if due:
            taken = time.perf_counter()
