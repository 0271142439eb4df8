"""Train runs that differ in their seed alone as one program, in this process: `training.stack`."""

import re
from collections.abc import Callable, Generator, Iterator, MutableSequence, Sequence
from typing import Any

import torch

from bncompare.config import RunConfig
from bncompare.execution.environment import environment
from bncompare.execution.inline import failure_of
from bncompare.execution.messages import Attempt, Evaluated, Gone, Job, Result, Started, is_end
from bncompare.training import Dataset, train_stack


class Stacked:
    """This process, which trains the seeds of a variant together: as many as have started by the first `wait`."""

    def __init__(
        self, load: Callable[[RunConfig], Dataset], device: torch.device, steps: MutableSequence[int] | None = None
    ) -> None:
        self.load, self.device, self.steps = load, device, steps
        self.attempts: list[Attempt] = []
        self.results: Generator[tuple[int, Result], None, None] | None = None

    @property
    def is_busy(self) -> bool:
        return bool(self.attempts)

    @property
    def has_room(self) -> bool:
        return self.results is None

    def start(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    def wait(self) -> Iterator[tuple[Attempt, Result | Gone]]:
        if self.results is None:
            jobs = [attempt.job for attempt in self.attempts]
            self.results = train_jobs(jobs, self.load, self.device, self.steps)
        while not all(attempt.has_ended for attempt in self.attempts) and (sent := next(self.results, None)):
            i, result = sent
            if not self.attempts[i].has_ended:
                yield self.attempts[i], result
                return
        gone = self.attempts
        self.close()
        yield from [(attempt, Gone("")) for attempt in gone]

    def end(self, attempt: Attempt) -> None:
        """The others, if there are any, go on with it, as their numbers must not depend on it."""

    def close(self) -> None:
        if self.results is not None:
            self.results.close()
        self.attempts, self.results = [], None


def stacked_seeds(environment: dict[str, Any]) -> list[int]:
    """The seeds that a run was trained with, itself among them, in their order; none if it was trained alone."""
    return [int(seed) for seed in dict.fromkeys(re.findall("[0-9]+", str(environment.get("stacked"))))]


def train_jobs(
    jobs: Sequence[Job],
    load: Callable[[RunConfig], Dataset],
    device: torch.device,
    steps: MutableSequence[int] | None = None,
) -> Generator[tuple[int, Result], None, None]:
    """Train runs together from their beginning, and say what happens to each, by its place among the jobs."""
    torch.backends.cudnn.deterministic = True
    runs = [job.run for job in jobs]
    torch.set_num_threads(runs[0].training.threads)
    here = environment(runs[0], device) | {"stacked": f"seeds {', '.join(str(run.seed) for run in runs)}"}
    for i in range(len(jobs)):
        yield i, Started(here, from_checkpoint=False)
    going = set(range(len(jobs)))

    def stepped(i: int, number: int) -> None:
        if steps is not None:
            steps[jobs[i].number] = number

    try:
        for i, record in train_stack(runs, list(map(load, runs)), device, stepped):
            result = Evaluated(record, None)
            going -= {i} if is_end(result) else set()
            yield i, result
    except Exception as error:
        failure = failure_of(error)
        yield from [(i, failure) for i in sorted(going)]
