"""Internal covariate shift."""

import math
from collections.abc import Iterator

from bncompare.config import layers
from bncompare.probes.base import Measurement, Probe, euclidean_norm, flat


def covariate_shift(probe: Probe) -> Iterator[Measurement]:
    """Internal covariate shift of each layer (Santurkar et al. 2018, Definition 2.1): ‖G − G′‖₂ and cos(G, G′).

    G is the gradient of the batch's loss for the weight of layer i; G′ the same after layers 1 to i−1, with their
    norms, have taken the step that the optimizer would take with this batch and the learning rate of the last step.
    The first layer has none. Cost: a training step for each layer.
    """
    own, after = probe.gradients, probe.after
    for i, layer in enumerate(layers(probe.run)):
        names = probe.weights(layer.name)
        if i > 0 and layer.name in probe.blocks and names:
            moved = probe.loss_and_gradients()[1]
            here, there = (flat(g[name] for name in names) for g in (own, moved))
            yield Measurement(layer.name, "covariate shift", euclidean_norm([here - there]))
            lengths = euclidean_norm([here]) * euclidean_norm([there])
            cosine = float(here @ there) / lengths if lengths != 0 else math.nan
            yield Measurement(layer.name, "covariate shift cosine", cosine)
        probe.set({name: value for name, value in after.items() if name.startswith(f"{layer.name}.")})
    probe.set(probe.start)
