"""Validation with other statistics than the run's own."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from bncompare.norms import EvalStats
from bncompare.probes.base import NO_VALIDATION, Probe, Reading, repeated
from bncompare.probes.plan import Plan

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject


class OtherStatistics(Probe):
    """Validation with each of some statistics of the batch family. Cost: a validation each."""

    order: ClassVar = 7

    eval_stats: list[EvalStats] = []
    """validate with these statistics of the batch family as well, beside the norm's own eval_stats, as far as the
    norm has them. Costs a validation each, `population` a pass over the training set for each norm layer"""

    def problems(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """Each once, of examples that there are."""
        yield from repeated("eval_stats", self.eval_stats)
        if self.eval_stats and not plan.validated_by:
            yield "eval_stats", NO_VALIDATION

    def of_model(self, plan: Plan) -> Iterator[str]:
        """Of those asked for, the statistics that the norm has."""
        for statistics in self._chosen(plan):
            yield from (f"{metric} with {statistics} statistics" for metric in plan.validated_by)

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """In the order of `of_model`."""
        for statistics in self._chosen(subject.plan):
            for metric, value in subject.validate(statistics, None).items():
                yield Reading("model", f"{metric} with {statistics} statistics", value)

    def _chosen(self, plan: Plan) -> list[EvalStats]:
        return [statistics for statistics in self.eval_stats if statistics in plan.norm.available_statistics]
