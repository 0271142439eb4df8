"""Plan → train → keep: the join of config, training and run folders. Imports torch when there is a run to train."""

import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, MutableSequence, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bncompare.errors import StorageError, UserError
from bncompare.execution.keep import keep, predict_again
from bncompare.execution.messages import (
    Attempt,
    Evaluated,
    Failure,
    Gone,
    Job,
    OnMismatch,
    Place,
    Restart,
    Result,
    Started,
    is_end,
)
from bncompare.execution.plan import Planned
from bncompare.runs import Checkpoint, Condition, make_folder

if TYPE_CHECKING:
    from bncompare.training import Record

SECONDS_BETWEEN_LOOKS = 0.5  # at runs that another process is training


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, already in its folder."""

    planned: Planned
    what: Started | Evaluated | Restart | Failure | Literal["waiting", "finished elsewhere", "written again"]
    """the last three: another process is training it; another process has finished it; it was finished, and has
    again the files that it had lost"""
    seconds: float = 0.0
    """wall-clock of the run so far"""

    @property
    def record(self) -> "Record | None":
        """The evaluation, if it is one."""
        return self.what.record if isinstance(self.what, Evaluated) else None

    @property
    def is_end(self) -> bool:
        """Whether nothing more will be heard of the run."""
        return self.what != "waiting" if isinstance(self.what, str) else is_end(self.what)


def run_experiment(
    planned: Sequence[Planned],
    *,
    data_dir: Path | None,
    num_processes: int | None = 1,
    allow_inexact: bool = False,
    cluster: str | None = None,
    keep_checkpoints: bool = False,
    waiting: Callable[[str], object] = lambda what: None,
    steps: MutableSequence[int] | None = None,
) -> Generator[Event, None, None]:
    """Train what is not finished, several runs at a time, and keep their folders; write again what others lost.

    `data_dir` goes before what the configs say. `num_processes` None stands for one a core, or one on a GPU.
    `cluster` is the address of a Ray cluster to train on, or `local` to start one here. A run that another process
    is training is left to it, and taken over should that process die. `keep_checkpoints` keeps the checkpoint of a
    finished run, from which a longer one can go on. `waiting` is told what takes time before the first event: torch,
    images. Into `steps`, in memory that processes share, goes at once how many each of the runs that are not finished
    has taken, in the order of the plan; a cluster leaves it as it is. A run whose folder cannot be read or written
    fails, and the others go on. Raises UserError before the first run if a device or a dataset is not to be had, or
    if checkpoints are to be kept where `training.stack` has none, and StorageError if the folder of an experiment
    cannot be made.
    """
    if keep_checkpoints and any(item.run.training.stack for item in planned):
        raise UserError("--keep-checkpoints: runs that are trained as one program (training.stack) have none")
    todo = [item for item in planned if item.state != "finished"]
    places: list[tuple[Place, list[int]]] = []
    if todo:
        waiting("loading torch")
        from bncompare.execution.places import choose_places

        runs = [item.run for item in todo]
        places = choose_places(
            runs,
            data_dir=data_dir,
            num_processes=num_processes,
            cluster=cluster,
            waiting=waiting,
            steps=steps,
        )
    yield from _mend((item for item in planned if item.state == "finished"), data_dir)
    for folder in dict.fromkeys(item.folder.path.parent for item in todo):
        make_folder(folder)
    with ExitStack() as at_the_end:
        for item in todo:
            at_the_end.callback(item.folder.unlock)
        for place, _ in places:
            at_the_end.callback(place.close)
        yield from Sweep(todo, places, allow_inexact, keep_checkpoints).train()


def _mend(finished: Iterable[Planned], data_dir: Path | None) -> Iterator[Event]:
    """See that finished runs have all their files, and no lock of a process that was killed."""
    for item in finished:
        if item.is_done:
            item.folder.remove_stale_lock()
        else:
            try:
                yield Event(item, _write_again(item, data_dir))
            except (OSError, ValueError, UserError) as error:
                yield Event(item, Failure(str(error), ""))


def _write_again(item: Planned, data_dir: Path | None) -> Failure | Literal["finished elsewhere", "written again"]:
    folder = item.folder
    if not folder.lock():
        return "finished elsewhere"  # and being mended there
    try:
        found = folder.examine()
        if found.state != "finished":
            return Failure("; ".join(found.problems), "")
        folder.write_again(found.lost, partial(predict_again, item, data_dir))
    finally:
        folder.unlock()
    return "written again"


class Sweep:
    """Runs on their way to being finished; each is claimed, trained, kept and released."""

    def __init__(
        self,
        todo: Sequence[Planned],
        places: Sequence[tuple[Place, list[int]]],
        allow_inexact: bool,
        keep_checkpoints: bool,
    ) -> None:
        self.todo = todo
        self.places = places
        """where to train, and the numbers of the runs that train there"""
        self.allow_inexact = allow_inexact
        self.keep_checkpoints = keep_checkpoints
        self.locked: set[int] = set()
        """runs that another process was training when their turn came"""
        self.was_locked: set[int] = set()
        self.started: dict[int, float] = {}

    def train(self) -> Iterator[Event]:
        """Train them all; wait for those that another process trains, or take them over."""
        yield from self._train(range(len(self.todo)))
        yield from [Event(self.todo[number], "waiting") for number in sorted(self.locked)]
        while self.locked:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            numbers, self.locked = self.locked, set()
            yield from self._train(numbers)

    def _train(self, numbers: Collection[int]) -> Iterator[Event]:
        """As many at a time as there is room for."""
        for place, mine in self.places:
            waiting = deque(number for number in mine if number in numbers)
            while waiting or place.is_busy:
                while waiting and place.has_room:
                    claimed = self._claim(waiting.popleft())
                    if isinstance(claimed, Event):
                        yield claimed
                    elif claimed and (failure := place.start(claimed)):
                        yield self._keep(place, claimed, failure)
                for attempt, sent in place.wait() if place.is_busy else ():
                    if not isinstance(sent, Gone):
                        yield self._keep(place, attempt, sent)
                    elif not attempt.has_ended:
                        yield self._keep(place, attempt, self._start_again(place, attempt, sent))

    def _claim(self, number: int) -> Attempt | Event | None:
        """A run that is this process's to train, from its last checkpoint; None if another process is training it."""
        item = self.todo[number]
        folder = item.folder
        try:
            if not folder.lock():
                self.locked.add(number)
                self.was_locked.add(number)
                return None
            # What the plan saw may be of yesterday.
            is_fresh = item.fresh and number not in self.was_locked
            found = Condition("new") if is_fresh else folder.examine(extend=not item.fresh)
            if found.state == "finished":
                folder.unlock()
                return Event(item, "finished elsewhere")
            if found.state in ("new", "damaged"):
                folder.clear()
            # A shorter run that was trained elsewhere is no reason to fail.
            return Attempt(self._job(number, folder.go_on(found), "fail" if found.state == "begun" else "start over"))
        except StorageError as error:
            folder.unlock()
            return Event(item, Failure(str(error), ""))

    def _job(self, number: int, checkpoint: Checkpoint | None, on_mismatch: OnMismatch) -> Job:
        on_mismatch = "go on" if self.allow_inexact else on_mismatch
        return Job(number, self.todo[number].run, checkpoint, on_mismatch, self.keep_checkpoints)

    def _start_again(self, place: Place, attempt: Attempt, gone: Gone) -> Result:
        """After a death: from the last checkpoint, if the run lands on the same kind of machine."""

        def again(job: Job) -> Job:
            item = self.todo[job.number]
            return self._job(job.number, item.folder.resume(extend=not item.fresh), "start over")

        following, result = attempt.after_death(again, gone.why)
        return (following and place.start(following)) or result

    def _keep(self, place: Place, attempt: Attempt, result: Result) -> Event:
        """Write what happened to the run's folder, and release it at the end; if that cannot be, it has failed."""
        number = attempt.job.number
        item, now = self.todo[number], time.perf_counter()
        if isinstance(result, Started):
            self.started.setdefault(number, now)
        try:
            keep(item, attempt.job, result)
        except StorageError as error:
            place.end(attempt)
            result = Failure(str(error), "")
        attempt.has_ended = is_end(result)
        if attempt.has_ended:
            item.folder.unlock()
        return Event(item, result, now - self.started.get(number, now))
