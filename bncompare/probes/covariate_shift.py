"""Internal covariate shift."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from bncompare.probes.base import Probe, Reading
from bncompare.probes.plan import Plan, ProbedLayer

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject


class CovariateShift(Probe):
    """Internal covariate shift of each layer (Santurkar et al. 2018, Definition 2.1): ‖G − G′‖₂ and cos(G, G′).

    G is the gradient of the batch's loss for the weight of layer i; G′ the same after layers 1 to i−1, with their
    norms, have taken the step that the optimizer would take with this batch and the learning rate of the last step.
    The first layer has none. Cost: a training step for each layer.
    """

    order: ClassVar = 4
    captions: ClassVar = {
        "covariate shift": "internal covariate shift: change of each layer's gradient, Euclidean norm",
        "covariate shift cosine": "internal covariate shift: cosine of each layer's gradient before and after",
    }

    covariate_shift: bool = False
    """internal covariate shift of each layer (Santurkar et al. 2018, Definition 2.1), with the learning rate of the
    last step. Costs a training step for each layer"""

    def of_layer(self, plan: Plan, layer: ProbedLayer) -> Iterator[str]:
        """Of what is trained, but for the first layer."""
        if plan.trains_weight(layer) and layer.name != plan.layers[0].name:
            yield from ("covariate shift", "covariate shift cosine")

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """NaN for the cosine of no gradient."""
        from bncompare.probes.subject import euclidean_norm, flat

        own, after = subject.gradients, subject.after
        for i, layer in enumerate(subject.plan.layers):
            names = subject.weights(layer.name)
            if i > 0 and layer.name in subject.blocks and names:
                moved = subject.loss_and_gradients()[1]
                here, there = (flat(g[name] for name in names) for g in (own, moved))
                yield Reading(layer.name, "covariate shift", euclidean_norm([here - there]))
                lengths = euclidean_norm([here]) * euclidean_norm([there])
                cosine = float(here @ there) / lengths if lengths != 0 else math.nan
                yield Reading(layer.name, "covariate shift cosine", cosine)
            subject.set({name: value for name, value in after.items() if name.startswith(f"{layer.name}.")})
        subject.set(subject.start)
