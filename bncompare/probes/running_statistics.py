"""Running statistics against those of the batch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from bncompare.norms import PopulationBatchNorm
from bncompare.probes.base import Probe, Reading
from bncompare.probes.plan import Plan, ProbedLayer

if TYPE_CHECKING:
    from torch import Tensor

    from bncompare.probes.subject import Subject

ROUNDING = 1e-5  # of a mean: a standard deviation below it is that of float32


class RunningStatistics(Probe):
    """Running statistics of each norm layer against those of the batch, over its channels.

    `running mean distance`: root mean square of (running mean − batch mean) / batch standard deviation.
    `running variance ratio`: geometric mean of running / batch variance, the latter unbiased (of ℓp norms, moments;
    of ghost batches, the mean over the virtual ones). A channel that is constant but for rounding is left out.
    Cost: a forward pass, and one of the norm layers.
    """

    order: ClassVar = 3
    captions: ClassVar = {
        "running mean distance": "running mean against batch mean, in batch standard deviations",
        "running variance ratio": "running variance over batch variance",
    }

    running_statistics: bool = False
    """running statistics of each norm layer against those of the batch"""

    def of_layer(self, plan: Plan, layer: ProbedLayer) -> Iterator[str]:
        """Of norms that keep some."""
        norm = layer.norm
        if norm and (isinstance(norm, PopulationBatchNorm) or "running" in norm.available_statistics):
            yield from ("running mean distance", "running variance ratio")

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """In the order of the norm layers."""
        import torch

        from bncompare.norms import batch_norms

        names = {block.norm: layer for layer, block in subject.blocks.items() if hasattr(block, "norm")}
        norms = [norm for norm in batch_norms(subject.model) if norm in names and norm.running_mean is not None]
        for norm, entered in _inputs(subject, norms).items():
            layer = names[norm]
            running_mean, running_var = (subject.buffers[f"{layer}.norm.running_{name}"] for name in ("mean", "var"))
            # The cumulative average of one batch is that batch's statistics, whatever the kind of norm.
            momentum, norm.momentum = norm.momentum, None
            norm.num_batches_tracked.zero_()
            with torch.no_grad():
                norm(entered)
            norm.momentum = momentum
            std = entered.transpose(0, 1).flatten(1).std(1)
            kept = std > ROUNDING * norm.running_mean.abs()
            distance = (running_mean - norm.running_mean)[kept] / std[kept]
            ratio = (running_var[kept] / norm.running_var[kept]).log().mean().exp()
            yield Reading(layer, "running mean distance", distance.square().mean().sqrt().item())
            yield Reading(layer, "running variance ratio", ratio.item())


def _inputs(subject: "Subject", norms: list[Any]) -> dict[Any, "Tensor"]:
    """What enters each of some norms, by norm."""
    import torch

    inputs = dict.fromkeys(norms, torch.empty(0))  # in this order
    handles = [
        norm.register_forward_pre_hook(lambda module, args: inputs.__setitem__(module, args[0])) for norm in norms
    ]
    with torch.no_grad():
        subject.forward()
    for handle in handles:
        handle.remove()
    return inputs
