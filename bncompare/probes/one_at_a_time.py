"""Validation one example at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from bncompare.norms import EvalStats
from bncompare.options import PositiveInt
from bncompare.probes.base import NO_VALIDATION, Probe, Reading
from bncompare.probes.plan import Plan

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject


class OneAtATime(Probe):
    """Validation one example at a time, with running statistics and with those of the one example.

    Cost: two forward passes of two examples for each.
    """

    order: ClassVar = 8

    one_at_a_time: PositiveInt | None = None
    """validation examples, the first ones, that are classified one at a time, with the running statistics of the
    batch family and with those of the one example. Costs two forward passes of two examples for each"""

    def problems(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """As many as there are."""
        if self.one_at_a_time is not None and not plan.validated_by:
            yield "one_at_a_time", NO_VALIDATION
        elif self.one_at_a_time is not None and self.one_at_a_time > plan.num_validation:
            yield "one_at_a_time", f"{self.one_at_a_time} is more than the {plan.num_validation} validation examples"

    def of_model(self, plan: Plan) -> Iterator[str]:
        """With each of the statistics that do not need the training set."""
        for statistics in _chosen(plan):
            yield from (f"{metric} one at a time with {statistics} statistics" for metric in plan.validated_by)

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """In the order of `of_model`."""
        for statistics in _chosen(subject.plan):
            for metric, value in subject.validate(statistics, self.one_at_a_time).items():
                yield Reading("model", f"{metric} one at a time with {statistics} statistics", value)


def _chosen(plan: Plan) -> list[EvalStats]:
    return [statistics for statistics in plan.norm.available_statistics if statistics != "population"]
