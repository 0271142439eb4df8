"""The loss along the gradient."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bncompare.options import Positive
from bncompare.probes.base import Probe, Reading
from bncompare.probes.plan import Plan

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject

LANDSCAPE_POINTS = 8  # along the negative gradient, evenly spaced in the logarithm
LANDSCAPE = (
    *("landscape loss min", "landscape loss max", "landscape loss range"),
    *("gradient change min", "gradient change max", "beta smoothness"),
)


class Landscape(Probe):
    """The loss L and its gradient along a line (Santurkar et al. 2018, §3.1 and Fig. 4).

    At w − s·lr·∇L(w), for `LANDSCAPE_POINTS` values of s between the shortest and the longest, with the learning rate
    of the last step, over all that is trained: the range of L; the range of ‖∇L(w) − ∇L(w − s·lr·∇L)‖₂ (gradient
    predictiveness); and the largest of the latter over the distance s·lr·‖∇L‖₂ (effective β-smoothness).
    Cost: `LANDSCAPE_POINTS` + 1 training steps.
    """

    order: ClassVar = 5

    landscape: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    """[shortest, longest] step, in learning rates, along the negative gradient: range of the loss, of the change of
    the gradient, and the largest change over the distance (Santurkar et al. 2018, who take [0.5, 4]). Costs 9
    training steps"""

    def problems(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """The longest is longer than the shortest."""
        if self.landscape is not None and self.landscape[0] >= self.landscape[1]:
            yield "landscape", f"must increase, not {self.landscape}"

    def of_model(self, plan: Plan) -> Iterator[str]:
        """`LANDSCAPE`."""
        yield from LANDSCAPE

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """NaN wherever a NaN is among what is compared."""
        import numpy as np

        from bncompare.probes.subject import euclidean_norm

        assert self.landscape is not None
        # Of a step: 0 where the learning rate or it underflows.
        length = subject.lr * euclidean_norm(subject.gradients.values())
        losses, changes, smoothness = [], [], []
        shortest, longest = self.landscape
        for s in np.geomspace(shortest, longest, LANDSCAPE_POINTS).tolist():
            subject.set({name: w - s * subject.lr * subject.gradients[name] for name, w in subject.start.items()})
            loss, there = subject.loss_and_gradients()
            losses.append(loss)
            changes.append(euclidean_norm([there[name] - here for name, here in subject.gradients.items()]))
            smoothness.append(changes[-1] / (s * length) if s * length != 0 else 0.0)
        subject.set(subject.start)
        found = (
            *(np.min(losses), np.max(losses), np.ptp(losses)),
            *(np.min(changes), np.max(changes), np.max(smoothness)),
        )
        for quantity, value in zip(LANDSCAPE, found, strict=True):
            yield Reading("model", quantity, float(value))
