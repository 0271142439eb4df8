"""The points of hyperparameters at which every norm is tried, the same for all of them."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from bncompare.derive import derive
from bncompare.errors import UserError
from bncompare.options import Section, must_be

MAX_TRIALS = 10_000
BITS = 30  # of a coordinate
DIGITS = 3  # of a value, which stands in labels

SomeSeeds = Annotated[
    Annotated[int, Field(ge=1, le=10_000)]
    | Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=10_000)],
    must_be("a number of seeds from 1 to 10000, or a list of whole numbers such as [2, 3, 7]"),
]


@dataclass(frozen=True)
class Values:
    """What a hyperparameter may be: all numbers between two ends, on either scale, or one of several values."""

    scale: Literal["log", "linear", "choices"]
    values: tuple[Any, ...]
    """the two ends, or the choices"""

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the way; a number has three digits, or is whole if both ends are."""
        if self.scale == "choices":
            return self.values[int(share * len(self.values))]
        low, high = self.values
        value = low * (high / low) ** share if self.scale == "log" else low + (high - low) * share
        value = round(value) if all(isinstance(end, int) for end in self.values) else float(f"{value:.{DIGITS}g}")
        return min(max(value, low), high)


def _values(written: Any) -> Values:
    """`{log: [low, high]}`, `{linear: [low, high]}`, `{choices: [a, b]}` or a plain list."""
    if isinstance(written, Values):
        return written
    written = {"choices": written} if isinstance(written, list) else written
    match written:
        case {"choices": [_, *_] as values, **others} if not others:
            return Values("choices", tuple(values))
        case {"log": [low, high], **others} if not others and _are_ends(low, high) and low > 0:
            return Values("log", (low, high))
        case {"linear": [low, high], **others} if not others and _are_ends(low, high):
            return Values("linear", (low, high))
    expected = "{log: [low, high]} with 0 < low < high, {linear: [low, high]} with low < high, or a list of values"
    raise PydanticCustomError("must_be", "must be {expected}", {"expected": expected})


def _are_ends(*ends: Any) -> bool:
    are_numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    return are_numbers and all(map(math.isfinite, ends)) and ends[0] < ends[1]


Over = Annotated[Values, PlainValidator(_values, json_schema_input_type=dict[str, list[Any]] | list[Any])]


class Tune(Section):
    """Each norm is tried at the same points; the best of each on validation is trained again on fresh seeds."""

    over: Annotated[dict[str, Over], Field(min_length=1, max_length=20)]
    """the hyperparameters by dotted key, each with `{log: [low, high]}`, `{linear: [low, high]}` (whole numbers where
    both ends are) or a list of values"""
    trials: Annotated[int, Field(ge=2, le=MAX_TRIALS)] = 16
    """the points at which each norm is tried; more go on from fewer"""
    seeds: SomeSeeds = 2
    """the seeds of a trial, on which the best is chosen: a number n for 0…n-1, or a list"""
    judge_seeds: SomeSeeds = 6
    """the fresh seeds on which the chosen are trained and judged: a number of them, or a list"""


def sobol_points(over: Mapping[str, Values], trials: int) -> Iterator[dict[str, float]]:
    """The shares, by key, at which so many different combinations of values lie; raises UserError if there are fewer.

    Sobol' points, digitally shifted (each coordinate is XORed with one number): more even than independent ones, and
    the first of many are those of few. What is drawn depends on the keys alone.
    """
    from scipy.stats import qmc

    sobol = qmc.Sobol(len(over), scramble=False, bits=BITS)
    shifts = [derive(0, f"tuning {key}") >> (63 - BITS) for key in over]
    seen: set[str] = set()
    # Where values are few, points coincide; those of a plain grid have come long before the end.
    for point in sobol.random_base2(math.ceil(math.log2(trials)) + 6):
        cells = [int(share * 2**BITS) ^ shift for share, shift in zip(point, shifts, strict=True)]
        shares = {key: (cell + 0.5) / 2**BITS for key, cell in zip(over, cells, strict=True)}
        values = json.dumps([over[key].at(share) for key, share in shares.items()])
        if values not in seen:
            seen.add(values)
            yield shares
        if len(seen) == trials:
            return
    raise UserError(f"there are only {len(seen)} different points, fewer than {trials} trials")


def written_seeds(some: int | Sequence[int], after: Sequence[int] = ()) -> list[int]:
    """The seeds written as a list, or so many of them from those before on."""
    first = max(after, default=-1) + 1
    return list(itertools.islice(itertools.count(first), some)) if isinstance(some, int) else list(some)
