"""What happens while runs train: a live display on a terminal, plain lines elsewhere, nothing with --json."""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

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
    """A line when a run ends, and one every few seconds while it goes on; failures even when quiet."""
    failures = done = 0
    printed = time.monotonic()
    for event in events:
        ended = _has_ended(event)
        done += ended
        failures += event.failure is not None
        due = ended or time.monotonic() - printed >= SECONDS_BETWEEN_LINES
        if event.failure is not None or (due and not quiet):
            print(f"[{done}/{todo}] {_line(event)}", file=sys.stderr)
            printed = time.monotonic()
    return failures


def _live(console: Console, total: int, finished: int, events: Iterable[Event]) -> int:
    """A bar for the running run and one for all."""
    failures = 0
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[count]}", markup=False, table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[status]}", markup=False, table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console) as progress:
        done = finished
        overall = progress.add_task("runs", total=total, completed=done, count=f"{done}/{total}", status="")
        running: dict[Path, TaskID] = {}
        for event in events:
            run, path = event.planned.run, event.planned.folder.path
            if path not in running:
                running[path] = progress.add_task(_name(event), total=run.total_steps, count="", status="")
            if event.record is not None:
                count = f"epoch {event.record.epoch:g}/{run.total_steps / run.steps_per_epoch:g}"
                progress.update(running[path], completed=event.record.step, count=count, status=_metrics(event))
            if _has_ended(event):
                done += 1
                failures += event.failure is not None
                progress.remove_task(running.pop(path))
                console.print(_line(event), markup=False)
                progress.update(overall, completed=done, count=f"{done}/{total}")
    return failures


def _has_ended(event: Event) -> bool:
    return event.failure is not None or (event.record is not None and event.record.outcome is not None)


def _name(event: Event) -> str:
    run = event.planned.run
    return f"{run.name} {run.variant.label} seed {run.seed}"


def _metrics(event: Event) -> str:
    """Loss and accuracy in validation, or in training where there is none."""
    assert event.record is not None
    metrics = event.record.metrics
    split = "val" if "val/loss" in metrics else "train"
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name.startswith(f"{split}/"))


def _line(event: Event) -> str:
    """What happened to a run, in a line."""
    if event.failure is not None:
        return f"{_name(event)}: FAILED: {event.failure.message}"
    assert event.record is not None
    outcome = event.record.outcome
    ended = f"{outcome.status.replace('_', ' ')}, {event.seconds:.1f} s, " if outcome else ""
    return f"{_name(event)}: {ended}epoch {event.record.epoch:g}, {_metrics(event)}"
