"""The loss in training and in evaluation mode."""

from collections.abc import Iterator

import torch

from bncompare.probes.base import Measurement, Probe


@torch.no_grad()
def train_eval_gap(probe: Probe) -> Iterator[Measurement]:
    """The loss of the batch in training mode and in evaluation mode.

    Cost: two forward passes; with population statistics, a pass over the training set for each norm layer.
    """
    loss = probe.loss_fn(probe.forward(), probe.targets)
    yield Measurement("model", "loss in training mode", loss.item())
    probe.restore_buffers()
    with probe.in_evaluation(probe.model):
        loss = probe.loss_fn(probe.model(probe.inputs), probe.targets)
    yield Measurement("model", "loss in evaluation mode", loss.item())
