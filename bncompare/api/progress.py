"""What happens while runs train: how far they are, in bars or in lines."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bncompare.api.screens import Bar, Lines, Screen, Tell
from bncompare.errors import printable
from bncompare.execution import Evaluated, Failure, Restart, Round, Started

if TYPE_CHECKING:
    from bncompare.config import RunConfig
    from bncompare.execution import Evaluated, Event, Planned, Round

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BEFORE_ESTIMATE = 3.0
MAX_RUNS_LISTED = 24  # a line for each that ends; of more, a count


class Waiting:
    """What is being waited for before the first event of a run."""

    def __init__(self, screen: Lines | Screen) -> None:
        self.screen, self.told, self.is_over = screen, set[str](), False

    def __call__(self, what: str) -> None:
        """Show it in place of what was waited for before, each thing once."""
        if not self.is_over and what not in self.told:
            self.told.add(what)
            self.screen.wait_for(f"{what}…")

    def before(self, events: "Iterable[Event | Round]") -> "Iterator[Event | Round]":
        """The events, of which the first of a run ends the waiting for good."""
        try:
            for event in events:
                if not self.is_over and not isinstance(event, Round):
                    self.is_over = True
                    self.screen.wait_for("")
                yield event
        finally:
            self.screen.wait_for("")


def shared_steps(planned: "Sequence[Planned]") -> "MutableSequence[int]":
    """Where runs say how many steps they have taken, for bars that move between their evaluations."""
    from multiprocessing.sharedctypes import RawArray

    steps: MutableSequence[int] = RawArray("q", len(planned))
    return steps


def show_progress(
    events: "Iterable[Event | Round]",
    screen: Lines | Screen,
    warn: Tell,
    steps: "MutableSequence[int] | None" = None,
) -> list[str]:
    """Train by going through the events, and show them; returns which runs failed, and why.

    Lines that are quiet are told all the same of a run that failed, or started again. `warn` is told of what a run
    lost.
    """
    tally = Tally([], steps=steps)
    if isinstance(screen, Lines):
        _in_lines(screen, tally, _count_rounds(tally, events, screen.tell, warn, quiet=screen.quiet))
    else:
        _in_bars(screen, tally, _count_rounds(tally, events, screen.tell, warn))
    if len(tally.failures) > 1 or (tally.failures and tally.total > 1):
        screen.tell(f"{len(tally.failures)} of {tally.total} runs failed:")
        for failure in tally.failures:
            screen.tell(f"  {failure}")
    return tally.failures


def _count_rounds(
    tally: "Tally", events: "Iterable[Event | Round]", tell: Tell, warn: Tell, *, quiet: bool = False
) -> "Iterator[Event]":
    """The events of runs. Of rounds it is said what was finished before, and why another one begins."""
    finished = total = 0

    def tell_finished() -> None:
        if finished and not quiet:
            tell(f"{finished} of {total} runs are finished already")

    for event in events:
        if not isinstance(event, Round):
            yield event
            continue
        for problem in problems_of(item for item in event.planned if item.state != "unreadable"):
            warn(problem)  # of one that is unreadable, its failure says why
        finished, total = finished + sum(item.is_done for item in event.planned), total + len(event.planned)
        if not all(item.is_done for item in event.planned):
            tally.begin(event.planned, is_last=event.is_last)
            tell_finished()
            finished = 0
            for line in event.undecided if not quiet else ():
                tell(line)
    tell_finished()


def problems_of(planned: "Iterable[Planned]") -> list[str]:
    """Each file that a run lost, and what follows."""
    return [problem for item in planned for problem in item.problems]


class Tally:
    """How far the runs are, and how long the rest may take by a clock of seconds."""

    def __init__(
        self,
        planned: "Sequence[Planned]",
        clock: Callable[[], float] = time.monotonic,
        steps: "MutableSequence[int] | None" = None,
    ) -> None:
        self.clock = clock
        self.total = self.ended = self.steps_left = 0
        self.is_last = True
        """whether there is no other round"""
        self.failures: list[str] = []
        self.diverged = 0
        self.steps_done = 0
        self.started: float | None = None
        """when the first run began: what came before says nothing about the speed"""
        self._at: dict[Path, int] = {}
        self._steps = steps
        """of the runs of this round that are not finished, in their order"""
        self.begin(planned)

    def begin(self, planned: "Sequence[Planned]", *, is_last: bool = True) -> None:
        """Count the runs of a round that are to be trained, or have lost files."""
        todo = [item for item in planned if not item.is_done]
        trained = [item for item in planned if item.state != "finished"]
        self._numbers = {item.folder.path: i for i, item in enumerate(trained)}
        if self._steps is not None:
            self._steps[:] = [0] * len(self._steps)
        self.total += len(todo)
        self.steps_left += sum(item.run.total_steps for item in todo)
        self.is_last = is_last

    def add(self, event: "Event") -> None:
        """Count an event."""
        path, run, what = event.planned.folder.path, event.planned.run, event.what
        if isinstance(what, Started) and self.started is None:
            self.started = self.clock()
        elif isinstance(what, Evaluated):
            before = self._at.get(path)
            advance = what.record.step - (before or 0)
            self.steps_left -= advance
            # Where a run goes on from a checkpoint, the steps up to there cost nothing today.
            self.steps_done += advance if before is not None or advance <= run.steps_per_epoch else 0
            self._at[path] = what.record.step
        if event.is_end:
            self.ended += 1
            self.steps_left -= run.total_steps - self._at.get(path, 0)
            if isinstance(what, Evaluated) and what.record.outcome is not None:
                self.diverged += what.record.outcome.status == "diverged"
            if isinstance(what, Failure):
                self.failures.append(f"{_name(event)}: {what.message}")

    def step(self, path: "Path") -> int:
        """Steps of a run, as it says or at its last evaluation."""
        said = self._steps[self._numbers[path]] if self._steps is not None and path in self._numbers else 0
        return max(said, self._at.get(path, 0))

    @property
    def ill(self) -> str:
        """`2 diverged, 1 failed`; nothing if all is well."""
        counts = {"diverged": self.diverged, "failed": len(self.failures)}
        return ", ".join(f"{number} {what}" for what, number in counts.items() if number)

    @property
    def left(self) -> str:
        """`about 3 min left`, if all runs go to their ends at the speed so far; nothing before that can be told."""
        elapsed = self.clock() - (self.started or math.inf)
        if elapsed < SECONDS_BEFORE_ESTIMATE or not self.steps_done or self.ended == self.total:
            return ""
        where = "" if self.is_last else " of this round"
        return f"about {duration(elapsed * self.steps_left / self.steps_done)} left{where}"


def _in_lines(lines: Lines, tally: Tally, events: "Iterable[Event]") -> None:
    """A line when a run ends, or every few seconds; what went wrong even when quiet."""
    printed = math.inf
    for event in events:
        tally.add(event)
        printed = min(printed, time.monotonic())
        is_trouble = isinstance(event.what, Restart | Failure)
        is_told = event.is_end and tally.total <= MAX_RUNS_LISTED
        is_due = time.monotonic() - printed >= SECONDS_BETWEEN_LINES and isinstance(event.what, Evaluated)
        if is_trouble or (not lines.quiet and (is_told or is_due or event.what == "waiting")):
            more = "" if is_trouble else ", ".join(filter(None, (tally.ill, tally.left)))
            lines.tell(f"[{tally.ended}/{tally.total}] {_line(event)}{f' ({more})' if more else ''}")
            printed = time.monotonic()


def _in_bars(screen: Screen, tally: Tally, events: "Iterable[Event]") -> None:
    """A bar for all runs, at once, and one for each that is running, which moves with its steps."""
    running: dict[Path, tuple[Event, str]] = {}

    def bars() -> Iterator[Bar]:
        status = ", ".join(filter(None, (tally.ill, tally.left)))
        if tally.total:
            yield Bar("runs", tally.ended, tally.total, f"{tally.ended}/{tally.total}", status)
        for path, (event, status) in list(running.items()):
            run, step = event.planned.run, tally.step(path)
            yield Bar(_name(event), step, run.total_steps, _epochs(run, step), status)

    with screen.showing(bars):
        for event in events:
            tally.add(event)
            path, what = event.planned.folder.path, event.what
            if isinstance(what, Started):
                running[path] = event, ""
            elif isinstance(what, Evaluated):
                running[path] = event, _metrics(what, "train").removeprefix("training ")
            if event.is_end:
                running.pop(path, None)
            is_listed = event.is_end and screen.lists_runs and tally.total <= MAX_RUNS_LISTED
            if is_listed or isinstance(what, Restart | Failure) or what == "waiting":
                screen.tell(_line(event))


def _epochs(run: "RunConfig", step: int) -> str:
    """`epoch 0.4/10`, of the steps taken."""
    total = f"{run.total_steps / run.steps_per_epoch:.1f}".removesuffix(".0")
    return f"epoch {step / run.steps_per_epoch:.1f}/{total}"


def _name(event: "Event") -> str:
    run = event.planned.run
    return printable(f"{run.name} {run.variant_name} seed {run.seed}")


def _metrics(progress: "Evaluated", *splits: str) -> str:
    """`training loss 0.140, accuracy 95.2 %, validation loss 0.18, accuracy 96 %`"""
    from bncompare.config import Metric

    metrics = {Metric(name): value for name, value in progress.record.metrics.items()}
    return ", ".join(
        f"{metric.quantity if metric.is_accuracy else metric.words} {metric.shown(value)}{' %' * metric.is_accuracy}"
        for metric, value in metrics.items()
        if metric.split in splits
    )


def _line(event: "Event") -> str:
    """What happened to a run, in a line."""
    what = event.what
    if isinstance(what, Failure):
        said = f"FAILED: {what.message}"
    elif isinstance(what, Restart):
        said = what.reason
    elif isinstance(what, Started):
        said = "started"
    elif what == "waiting":
        said = "another process is training it; waiting"
    elif what == "finished elsewhere":
        said = "finished by another process"
    elif what == "written again":
        said = "finished already; what it had lost is written again"
    else:
        assert isinstance(what, Evaluated)
        outcome = what.record.outcome
        ended = f"{outcome.status.replace('_', ' ')}, {event.seconds:.1f} s, " if outcome else ""
        said = f"{ended}epoch {what.record.epoch:.4g}, {_metrics(what, 'train', 'val')}"
    return f"{_name(event)}: {said}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`"""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
