"""What happens while runs train: a live display on a terminal, plain lines elsewhere, nothing with --json."""

import sys
import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bncompare.experiment import Event, Planned

SECONDS_BETWEEN_LINES = 10.0


def show_progress(planned: Sequence[Planned], events: Iterable[Event], *, quiet: bool) -> int:
    """Train by going through the events, and show them on stderr; returns how many runs failed."""
    finished = sum(item.state == "finished" for item in planned)
    if finished and not quiet:
        print(f"{finished} of {len(planned)} runs are finished already", file=sys.stderr)
    console = Console(stderr=True, highlight=False)
    if quiet or not console.is_terminal:
        return _plain(len(planned) - finished, events, quiet)
    return _live(console, len(planned), finished, events)


def _plain(todo: int, events: Iterable[Event], quiet: bool) -> int:
    """A line when a run ends, and one every few seconds while it goes on."""
    failures = done = 0
    printed = time.monotonic()
    for event in events:
        ended = event.failure is not None or (event.record is not None and event.record.outcome is not None)
        done += ended
        failures += event.failure is not None
        if event.failure is not None:
            print(_failure(event), file=sys.stderr)
        elif not quiet and (ended or time.monotonic() - printed >= SECONDS_BETWEEN_LINES):
            count = f"[{done}/{todo}] " if ended else ""
            print(f"{count}{_name(event)}: {_progress(event)}", file=sys.stderr)
            printed = time.monotonic()
    return failures


def _live(console: Console, total: int, finished: int, events: Iterable[Event]) -> int:
    """A bar for the running run and one for all."""
    failures = 0
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        overall = progress.add_task("runs", total=total, completed=finished, status="")
        current: TaskID | None = None
        shown: Planned | None = None
        for event in events:
            if event.planned is not shown:
                shown = event.planned
                if current is not None:
                    progress.remove_task(current)
                current = progress.add_task(_name(event), total=shown.run.total_steps, status="")
            assert current is not None
            if event.failure is not None:
                failures += 1
                console.print(_failure(event), markup=False)
                progress.advance(overall)
            elif event.record is not None:
                progress.update(current, completed=event.record.step, status=_progress(event))
                if event.record.outcome is not None:
                    console.print(f"{_name(event)}: {_progress(event)}", markup=False)
                    progress.advance(overall)
        if current is not None:
            progress.remove_task(current)
    return failures


def _name(event: Event) -> str:
    run = event.planned.run
    return f"{run.name} {run.variant.label} seed {run.seed}"


def _progress(event: Event) -> str:
    record = event.record
    assert record is not None
    metrics = [f"{name} {value:.4f}" for name, value in record.metrics.items() if name != "lr"]
    text = f"epoch {record.epoch:g}, {', '.join(metrics)}"
    if record.outcome is not None:
        text = f"{record.outcome.status.replace('_', ' ')} after {event.seconds:.1f} s, {text}"
    return text


def _failure(event: Event) -> str:
    assert event.failure is not None
    return f"{_name(event)}: FAILED: {event.failure.message}"
