"""What enters and leaves the activations."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from bncompare.config import PERCENTILES
from bncompare.probes.base import Measurement, Probe

SATURATED = {"sigmoid": (0.01, 0.99), "tanh": (-0.98, 0.98)}  # tanh x = 2 sigmoid(2x) − 1: the same, stretched


@torch.no_grad()
def activations(probe: Probe) -> Iterator[Measurement]:
    """What enters and leaves each activation, over the examples of the batch, in training mode.

    Percentiles as in Ioffe & Szegedy 2015, Fig. 1. A sigmoid is saturated below .01 and above .99, a tanh beyond
    ±.98, where its slope is under 4 % of its largest; a ReLU unit is dead if it is 0 for every example and position.
    Cost: a forward pass.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for name, block in probe.blocks.items():
        if hasattr(block, "activation"):

            def keep(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                seen[name] = (inputs[0], output)

            handles.append(block.get_submodule("activation").register_forward_hook(keep))
    probe.forward()
    for handle in handles:
        handle.remove()
    kind = probe.run.model.activation
    for name, (entered, left) in seen.items():
        for quantity, value in zip(PERCENTILES, _percentiles(entered), strict=True):
            yield Measurement(name, f"input {quantity}", value)
        for where, values in (("input", entered), ("output", left)):
            yield Measurement(name, f"{where} mean", values.mean().item())
            yield Measurement(name, f"{where} std", values.std(correction=0).item())
        if kind in SATURATED:
            low, high = SATURATED[kind]
            yield Measurement(name, "saturated", ((left < low) | (left > high)).float().mean().item())
        if kind == "relu":
            units = left.transpose(0, 1).flatten(1)
            yield Measurement(name, "dead", (units == 0).all(1).float().mean().item())
        for unit in probe.run.diagnostics.units:
            for quantity, value in zip(PERCENTILES, _percentiles(entered[:, unit]), strict=True):
                yield Measurement(name, f"input {quantity} of unit {unit}", value)


def _percentiles(values: Tensor) -> list[float]:
    # NumPy's: torch.quantile refuses more than 2²⁴ values.
    found: list[float] = np.percentile(values.cpu().numpy(), list(PERCENTILES.values())).tolist()
    return found
