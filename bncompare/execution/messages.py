"""What a driver and the places where runs train tell each other. Importing this imports no torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bncompare.config import RunConfig
from bncompare.errors import StorageError, printable
from bncompare.runs import Checkpoint

if TYPE_CHECKING:
    from bncompare.training import Record

MAX_STARTS = 3  # of a run whose process dies
MAX_MESSAGE_LENGTH = 500


OnMismatch = Literal["fail", "start over", "go on"]


@dataclass(frozen=True)
class Job:
    """A run to train, and the checkpoint to go on from."""

    number: int
    """its place in the plan"""
    run: RunConfig
    checkpoint: Checkpoint | None
    on_mismatch: OnMismatch = "fail"
    """what to do if the checkpoint comes from an environment that may give other bits"""
    keep_checkpoint: bool = False
    """whether a longer run may go on from the end of this one"""


@dataclass(frozen=True)
class Started:
    """A run has begun, or goes on."""

    environment: dict[str, Any]
    """where: what environment.json says"""
    from_checkpoint: bool
    """whether it goes on from the job's checkpoint"""


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and now and then what to go on from."""

    record: "Record"
    snapshot: bytes | None


@dataclass(frozen=True)
class Restart:
    """A run that starts again, as its process died or could not be started."""

    reason: str
    """what happened, and from where it goes on"""


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result: why, and a traceback where there is one."""

    message: str
    """a printable line, whatever was said: exceptions quote what a checkpoint or a dataset holds"""
    details: str

    def __post_init__(self) -> None:
        line = printable(" ".join(self.message.split()))
        shown = line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[:MAX_MESSAGE_LENGTH]}…"
        object.__setattr__(self, "message", shown)


Result = Started | Evaluated | Restart | Failure


@dataclass(frozen=True)
class Gone:
    """That nothing more comes of an attempt; before its last result, the process or task has died."""

    why: str


@dataclass(eq=False)
class Attempt:
    """A run on its way, in a process or task which may die."""

    job: Job
    starts: int = 1
    has_ended: bool = False
    """whether its last result has come"""

    def after_death(self, again: Callable[[Job], Job], why: str) -> "tuple[Attempt | None, Result]":
        """The attempt that follows, from `again(job)`, unless it has died too often; and what to say of it."""
        if self.starts == MAX_STARTS:
            return None, Failure(f"{why}; given up after {MAX_STARTS} starts", "")
        try:
            following = Attempt(again(self.job), self.starts + 1)
        except StorageError as error:
            return None, Failure(f"{why}; {error}", "")
        return following, Restart(f"{why}; it starts again from its last checkpoint")


class Place(Protocol):
    """Where runs train: this process, processes of their own, or a Ray cluster. All give the same bytes."""

    @property
    def is_busy(self) -> bool:
        """Whether an attempt is not gone yet."""

    @property
    def has_room(self) -> bool:
        """Whether another attempt may start."""

    def start(self, attempt: Attempt) -> Failure | None:
        """Begin to train; returns why that cannot be. Raises UserError if the place is not to be had."""

    def wait(self) -> Iterable[tuple[Attempt, Result | Gone]]:
        """What has come of the attempts, when there is something."""

    def end(self, attempt: Attempt) -> None:
        """Train this one no further."""

    def close(self) -> None:
        """Train nothing further."""


def is_end(result: Result) -> bool:
    """Whether nothing comes after this result of a run."""
    return isinstance(result, Failure) or (isinstance(result, Evaluated) and result.record.outcome is not None)
