"""The `claims` section: what an experiment is expected to show."""

import json
import re
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from bncompare.config.ranges import listed
from bncompare.options import PositiveInt, Section, must_be


class At(Section):
    """An evaluation, by its epoch or its step."""

    epoch: PositiveInt | None = None
    """the epoch"""
    step: PositiveInt | None = None
    """the step"""


DIAGNOSTIC = re.compile(r"diagnostics/([^/]+)/(.+)")
ClaimMetric = Literal[
    "train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy", "diverged"
]


def _check_metric(value: Any) -> Any:
    choices = [*get_args(ClaimMetric), "diagnostics/LAYER/QUANTITY"]
    if isinstance(value, str) and (value in choices[:-1] or DIAGNOSTIC.fullmatch(value)):
        return value
    raise PydanticCustomError("unknown_choice", "unknown metric", {"choices": choices})


def _listed(value: Any) -> Any:
    return listed(value) if isinstance(value, str) else value


ClaimSeeds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**63)]],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=str | list[int]),
    must_be("seeds such as 6-11, 0,3,7 or [0, 3, 7]"),
]


class Claim(Section):
    """A statement about one variant, or about the difference of two (variant − versus)."""

    statement: Annotated[str, Field(min_length=1, max_length=500)]
    """the claim in words"""
    published: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """what was published, as `0.984 against 0.978`"""
    metric: Annotated[str, BeforeValidator(_check_metric, json_schema_input_type=ClaimMetric | str)]
    """train/loss, train/accuracy, val/loss, val/accuracy, test/loss, test/accuracy; `diverged`, 1 or 0; or
    `diagnostics/LAYER/QUANTITY` from diagnostics.csv, where LAYER may be `*` for the mean over the layers"""
    at: Annotated[Literal["best", "last", "mean"] | At, must_be("best, last, mean, {epoch: N} or {step: N}")] = "best"
    """the evaluation it is about, or the mean over all of them"""
    variant: Annotated[dict[str, Any], Field(min_length=1)]
    """the settings that tell the variant from others, as `model.norm: batch`; or `label: …`"""
    versus: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    """the variant it is compared with"""
    seeds: ClaimSeeds | None = None
    """the seeds that speak for it, as `6-11`, where others were seen before it was stated; by default all"""
    at_least: float | None = None
    """least value"""
    at_most: float | None = None
    """greatest value"""
    difference_at_least: float | None = None
    """least difference"""
    difference_at_most: float | None = None
    """greatest difference"""
    difference_within: Annotated[float, Field(gt=0)] | None = None
    """greatest absolute difference"""

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are given, by name."""
        names = ("at_least", "at_most", "difference_at_least", "difference_at_most", "difference_within")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @cached_property
    def decisive(self) -> str:
        """All that decides what is claimed, as text; a claim in other words is the same."""
        return json.dumps(self.model_dump(exclude={"statement", "published"}), sort_keys=True, default=str)

    def is_about(self, seed: int) -> bool:
        """Whether the runs of a seed speak for it or against it."""
        return self.seeds is None or seed in self.seeds

    @property
    def problem(self) -> str | None:
        """Why its bounds do not fit the number of variants that it is about."""
        differences = [name.startswith("difference") for name in self.bounds]
        if not differences:
            return "needs a bound: at_least, at_most, or difference_at_least, …"
        if self.versus is None and any(differences):
            return "difference_… is about two variants: name the other one in versus"
        if self.versus is not None and not all(differences):
            bounds = ", ".join(name for name in self.bounds if not name.startswith("difference"))
            return f"{bounds} is about one variant: leave out versus, or use difference_…"
        return None

    @property
    def diagnostic(self) -> tuple[str, str] | None:
        """Layer and quantity, if the metric is one of diagnostics.csv."""
        match = DIAGNOSTIC.fullmatch(self.metric)
        return match and (match[1], match[2])
