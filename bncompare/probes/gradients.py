"""Gradients of the weights, and the steps that follow from them."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from bncompare.probes.base import Probe, Reading
from bncompare.probes.plan import Plan, ProbedLayer

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject


class Gradients(Probe):
    """‖∇_W L‖₂ for the weight W of each layer, and ‖ΔW‖₂/‖W‖₂ of the step that the optimizer would take with it.

    The step has the learning rate of the last one. Where W is a function of other parameters (weight and spectral
    normalization), both are about these together. Cost: a training step.
    """

    order: ClassVar = 1
    captions: ClassVar = {
        "gradient norm": "norm of the gradient of each layer's weight",
        "update ratio": "norm of a step over the norm of each layer's weight",
    }

    gradients: bool = False
    """norm of the gradient for each layer's weight, and norm of the step that the optimizer would take next, with the
    learning rate of the last one, over that of the weight; of weight and spectral normalization those of the
    parameters that the weight is made of"""

    def of_layer(self, plan: Plan, layer: ProbedLayer) -> Iterator[str]:
        """Of what is trained."""
        if plan.trains_weight(layer):
            yield from ("gradient norm", "update ratio")

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """NaN for a step over a weight of 0."""
        from bncompare.probes.subject import euclidean_norm

        for layer in subject.blocks:
            names = subject.weights(layer)
            if names:
                moved = euclidean_norm([subject.after[name] - subject.start[name] for name in names])
                size = euclidean_norm([subject.start[name] for name in names])
                gradient = euclidean_norm([subject.gradients[name] for name in names])
                yield Reading(layer, "gradient norm", gradient)
                yield Reading(layer, "update ratio", moved / size if size > 0 else math.nan)
