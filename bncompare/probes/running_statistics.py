"""Running statistics against those of the batch."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bncompare.norms import batch_norms
from bncompare.probes.base import Measurement, Probe

ROUNDING = 1e-5  # of a mean: a standard deviation below it is that of float32


@torch.no_grad()
def running_statistics(probe: Probe) -> Iterator[Measurement]:
    """Running statistics of each norm layer against those of the batch, over its channels.

    `running mean distance`: root mean square of (running mean − batch mean) / batch standard deviation.
    `running variance ratio`: geometric mean of running / batch variance, the latter unbiased (of ℓp norms, moments;
    of ghost batches, the mean over the virtual ones). A channel that is constant but for rounding is left out.
    Cost: a forward pass, and one of the norm layers.
    """
    inputs: dict[nn.Module, Tensor] = {}
    names = {block.norm: layer for layer, block in probe.blocks.items() if hasattr(block, "norm")}
    norms = [norm for norm in batch_norms(probe.model) if norm in names and norm.running_mean is not None]
    handles = [
        norm.register_forward_pre_hook(lambda module, args: inputs.__setitem__(module, args[0])) for norm in norms
    ]
    probe.forward()
    for handle in handles:
        handle.remove()
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        layer = names[norm]
        running_mean, running_var = (probe.buffers[f"{layer}.norm.running_{name}"] for name in ("mean", "var"))
        # The cumulative average of one batch is that batch's statistics, whatever the kind of norm.
        momentum, norm.momentum = norm.momentum, None
        norm.num_batches_tracked.zero_()
        norm(inputs[norm])
        norm.momentum = momentum
        std = inputs[norm].transpose(0, 1).flatten(1).std(1)
        kept = std > ROUNDING * norm.running_mean.abs()
        distance = (running_mean - norm.running_mean)[kept] / std[kept]
        ratio = (running_var[kept] / norm.running_var[kept]).log().mean().exp()
        yield Measurement(layer, "running mean distance", distance.square().mean().sqrt().item())
        yield Measurement(layer, "running variance ratio", ratio.item())
