"""The seeds of an experiment: those asked for, or as many as it takes until what is asked is decided."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from bncompare.config.ranges import MAX_SEEDS, seed_ranges, seeds_in
from bncompare.config.yaml import leading_zero
from bncompare.errors import UserError
from bncompare.options import Section, must_be

Number = Annotated[int, Field(ge=1, le=MAX_SEEDS)]
Several = Annotated[int, Field(ge=2, le=MAX_SEEDS)]  # one seed has no interval


class Listed(Section):
    """Seeds that were asked for, whatever comes out."""

    seeds: str
    """all of them, as `0-4` or `0,3,7-9`"""


class Until(Section):
    """Seeds 0, 1, … until every claim and every main comparison is decided, by what holds at every look."""

    until: Literal["decided"]
    """`decided`: every claim, and every pair of variants by the metric of the answer (the test's, if there is one)"""
    at_least: Several = 4
    """the seeds before the first look"""
    at_most: Several = 40
    """the seeds after which it ends, decided or not"""
    at_a_time: Number = 1
    """the seeds between two looks; more of them keep more cores busy"""


Design = Annotated[
    Listed | Until,
    must_be("{seeds: 0-4} or {until: decided, …}"),
    WithJsonSchema({"type": "object"}),
]


def _seeds(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """One sentence for what is neither; what is wrong within a mapping is said at its keys."""
    if isinstance(value, dict):
        return Until.model_validate(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SEEDS:
        return list(range(value))
    try:
        return handler(value)
    except ValidationError:
        expected = f"a number of seeds from 1 to {MAX_SEEDS}, a list of whole numbers such as [0, 1, 7]"
        context = {"expected": f"{expected}, or {{until: decided}}"}
        raise PydanticCustomError("must_be", "must be {expected}", context) from None


Seeds = Annotated[
    Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=MAX_SEEDS)] | Until,
    WrapValidator(_seeds, json_schema_input_type=int | list[int] | Until),
]


def seeds_of(seeds: list[int] | Until) -> Sequence[int]:
    """All that may be trained, in their order."""
    return range(seeds.at_most) if isinstance(seeds, Until) else seeds


def design_of(seeds: list[int] | Until) -> Listed | Until:
    """How the seeds of an experiment were chosen."""
    return seeds if isinstance(seeds, Until) else Listed(seeds=",".join(seed_ranges(seeds)))


def parse_seeds(text: str, option: str = "--seeds") -> list[int] | int:
    """`0-4`, `0,3,7-9`, or a number of seeds; raises UserError."""
    for number in re.findall("[0-9]+", text):
        if ambiguous := leading_zero(number):
            raise UserError(f"{option} {text}: {ambiguous}")
    if text == "0":
        raise UserError(f"{option} 0: is a number of seeds, and none; the seed 0 alone is 0-0")
    if re.fullmatch(r"[0-9]{1,5}", text):
        return int(text)
    try:
        return seeds_in(text)
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None
