"""How runs end."""

from enum import StrEnum


class Status(StrEnum):
    """How a run ended, or that it has not; result.json holds all but the last."""

    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    DIVERGED = "diverged"
    FAILED = "failed"
    UNFINISHED = "unfinished"

    @property
    def has_value(self) -> bool:
        """Whether its metrics are those of a model that was trained to the end."""
        return self in (Status.COMPLETED, Status.STOPPED_EARLY)

    @property
    def has_ended(self) -> bool:
        """Whether training came to its end, a good or a bad one."""
        return self.has_value or self is Status.DIVERGED
