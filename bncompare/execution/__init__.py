"""Ways to run many `train()`s; each yields (job, result) pairs and gives the same numbers."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from bncompare.config.schema import RunConfig
from bncompare.training import Record

SECONDS_BETWEEN_CHECKPOINTS = 2.0


@dataclass(frozen=True)
class Job:
    """A run to train, and the checkpoint to go on from."""

    number: int
    """its place in the plan"""
    run: RunConfig
    checkpoint: bytes | None


@dataclass(frozen=True)
class Progress:
    """An evaluation, and now and then what to go on from."""

    record: Record
    snapshot: bytes | None


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result: why, and a traceback where there is one."""

    message: str
    details: str


Result = Progress | Failure


def with_snapshots(records: Iterator[Record]) -> Iterator[Progress]:
    """Take a snapshot of the last record, and of others every few seconds: tiny runs need none in between."""
    taken = time.perf_counter()
    for record in records:
        due = record.outcome is not None or time.perf_counter() - taken >= SECONDS_BETWEEN_CHECKPOINTS
        yield Progress(record, record.checkpoint() if due else None)
        if due:
            taken = time.perf_counter()
