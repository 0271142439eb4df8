"""Runs as event files for TensorBoard."""

import contextlib
import datetime
import itertools
import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from bncompare.errors import StorageError, UserError
from bncompare.runs import LoadedRun, rows_of, unused


def write_event_files(runs: Sequence[LoadedRun], folder: Path) -> list[Path]:
    """A TensorBoard run for each run, in folder/<experiment>/<run folder>: every metric by step.

    The time of an event is when the run started, by environment.json (else 1970), and the seconds in timing.csv.
    Returns the folders. Raises UserError without the tensorboard package or if one of the folders is there already,
    as TensorBoard would show both, and StorageError if they cannot be written.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise UserError("--to tensorboard needs TensorBoard: pip install 'bncompare[tensorboard]'") from None
    targets: dict[Path, LoadedRun] = {}
    for run in runs:
        targets[unused(folder / run.experiment / run.path.resolve().name, "", targets)] = run
    for target in targets:
        if target.exists():
            raise UserError(f"{target}: exists already; export into a new folder")
    try:
        for target, run in targets.items():
            with contextlib.closing(EventFileWriter(str(target))) as writer:
                for time, step, metrics in _events(run):
                    values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
                    writer.add_event(Event(wall_time=time, step=step, summary=Summary(value=values)))
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return list(targets)


def _events(run: LoadedRun) -> Iterator[tuple[float, int, dict[str, float]]]:
    """(seconds since 1970, step, metrics) of each evaluation, and its epoch among the metrics."""
    started = 0.0
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
        started = datetime.datetime.fromisoformat(run.environment["started"]).timestamp()
    times = dict(zip(run.metrics["step"], run.elapsed, strict=True))
    elapsed = 0.0
    by_step = itemgetter("step")
    for step, rows in itertools.groupby(sorted(rows_of([run]), key=by_step), key=by_step):
        evaluation = list(rows)
        elapsed = times[step] if math.isfinite(times.get(step, math.nan)) else elapsed
        metrics = {row["metric"]: row["value"] for row in evaluation}
        yield started + elapsed, step, {"epoch": evaluation[0]["epoch"]} | metrics
