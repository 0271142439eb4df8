"""What a comparison is asked for."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

from bncompare.errors import UserError


@dataclass(frozen=True)
class Ask:
    """By what to compare, and whom; what is left out follows from the runs. Raises UserError for no valid choice.

    Whether there are such metrics and such a variant only the runs can tell.
    """

    metrics: Sequence[str] | None = None
    """by default those of the experiment's claims; without claims validation or training loss, and the test's"""
    at: Literal["best", "last"] | None = None
    """by default the claim's, else best; last where the best is chosen on the test set"""
    versus: str | None = None
    """the variant that each is compared with alone"""
    threshold: float | None = None
    """for the time to reach it; by default half-way from the first evaluation of the best variant to its best"""
    window: int = 5
    """the evaluations over which stability is taken"""
    within: str | None = None
    """a hyperparameter of the grid, by dotted key, at each value of which the norms are compared by themselves"""

    @property
    def chosen(self) -> dict[str, Any]:
        """What does not follow from the runs, by name."""
        given = {"metrics": self.metrics, "at": self.at, "versus": self.versus, "threshold": self.threshold}
        return {name: value for name, value in (given | {"within": self.within}).items() if value is not None}

    def __post_init__(self) -> None:
        problems = [*_problems_of_at(self.at), *_problems_of_threshold(self.threshold)]
        if isinstance(self.window, bool) or not isinstance(self.window, Integral) or self.window < 2:
            problems.append(f"window={self.window!r}: must be a whole number of evaluations, at least 2")
        if problems:
            raise UserError(*problems)


def _problems_of_at(at: Any) -> list[str]:
    return [] if at in (None, "best", "last") else [f"at={at!r}: no such evaluation; valid: best, last"]


def _problems_of_threshold(threshold: Any) -> list[str]:
    if isinstance(threshold, int) and abs(threshold) > sys.float_info.max:
        return [f"threshold: must be a finite number, at most {sys.float_info.max:.2g} in size"]
    is_number = isinstance(threshold, Real) and not isinstance(threshold, bool) and math.isfinite(threshold)
    return [] if threshold is None or is_number else [f"threshold={threshold!r}: must be a finite number"]
