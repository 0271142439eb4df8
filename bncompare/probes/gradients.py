"""Gradients of the weights, and the steps that follow from them."""

import math
from collections.abc import Iterator

from bncompare.probes.base import Measurement, Probe, euclidean_norm


def gradients(probe: Probe) -> Iterator[Measurement]:
    """‖∇_W L‖₂ for the weight W of each layer, and ‖ΔW‖₂/‖W‖₂ of the step that the optimizer would take with it.

    The step has the learning rate of the last one. Where W is a function of other parameters (weight and spectral
    normalization), both are about these together. Cost: a training step.
    """
    for layer in probe.blocks:
        names = probe.weights(layer)
        if names:
            moved = euclidean_norm([probe.after[name] - probe.start[name] for name in names])
            size = euclidean_norm([probe.start[name] for name in names])
            yield Measurement(layer, "gradient norm", euclidean_norm([probe.gradients[name] for name in names]))
            yield Measurement(layer, "update ratio", moved / size if size > 0 else math.nan)
