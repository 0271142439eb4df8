"""The loss along the gradient."""

from collections.abc import Iterator

import numpy as np

from bncompare.config import LANDSCAPE
from bncompare.probes.base import Measurement, Probe, euclidean_norm

LANDSCAPE_POINTS = 8  # along the negative gradient, evenly spaced in the logarithm


def landscape(probe: Probe, shortest: float, longest: float) -> Iterator[Measurement]:
    """The loss L and its gradient along a line (Santurkar et al. 2018, §3.1 and Fig. 4).

    At w − s·lr·∇L(w), for `LANDSCAPE_POINTS` values of s between `shortest` and `longest`, with the learning rate of
    the last step, over all that is trained: the range of L; the range of ‖∇L(w) − ∇L(w − s·lr·∇L)‖₂ (gradient
    predictiveness); and the largest of the latter over the distance s·lr·‖∇L‖₂ (effective β-smoothness).
    Cost: `LANDSCAPE_POINTS` + 1 training steps.
    """
    # Of a step: 0 where the learning rate or it underflows.
    length = probe.lr * euclidean_norm(probe.gradients.values())
    losses, changes, smoothness = [], [], []
    for s in np.geomspace(shortest, longest, LANDSCAPE_POINTS).tolist():
        probe.set({name: value - s * probe.lr * probe.gradients[name] for name, value in probe.start.items()})
        loss, there = probe.loss_and_gradients()
        losses.append(loss)
        changes.append(euclidean_norm([there[name] - gradient for name, gradient in probe.gradients.items()]))
        smoothness.append(changes[-1] / (s * length) if s * length != 0 else 0.0)
    probe.set(probe.start)
    # NumPy's: of values that include a NaN they are NaN.
    found = (
        *(np.min(losses), np.max(losses), np.ptp(losses)),
        *(np.min(changes), np.max(changes), np.max(smoothness)),
    )
    for quantity, value in zip(LANDSCAPE, found, strict=True):
        yield Measurement("model", quantity, float(value))
