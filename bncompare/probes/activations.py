"""What enters and leaves the activations."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from bncompare.options import Count
from bncompare.probes.base import Probe, Reading, repeated
from bncompare.probes.plan import Plan, ProbedLayer

if TYPE_CHECKING:
    from torch import Tensor

    from bncompare.probes.subject import Subject

PERCENTILES = {"p15": 15, "p50": 50, "p85": 85}
SATURATED = {"sigmoid": (0.01, 0.99), "tanh": (-0.98, 0.98)}  # tanh x = 2 sigmoid(2x) − 1: the same, stretched


class Activations(Probe):
    """What enters and leaves each activation, over the examples of the batch, in training mode.

    Percentiles as in Ioffe & Szegedy 2015, Fig. 1. A sigmoid is saturated below .01 and above .99, a tanh beyond
    ±.98, where its slope is under 4 % of its largest; a ReLU unit is dead if it is 0 for every example and position.
    Cost: a forward pass.
    """

    order: ClassVar = 0
    captions: ClassVar = {
        "input std": "standard deviation of the input of each activation",
        "saturated": "fraction of saturated values in each layer",
        "dead": "fraction of dead units in each layer",
    }

    activations: bool = False
    """of what enters each activation: 15th, 50th and 85th percentile, mean and standard deviation; of what leaves it:
    mean, standard deviation, and the fraction of saturated values (sigmoid, tanh) or of dead units (relu)"""
    units: list[Count] = []
    """units (channels) of each of the layers whose percentiles are recorded as well"""

    def problems(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """Units that there are, each once, of activations that are measured."""
        yield from repeated("units", self.units)
        if self.units and not self.activations:
            yield "units", "needs activations: true"
        hidden = [layer for layer in plan.measured if layer.activation]
        smallest = min(hidden, key=lambda layer: layer.out_features, default=None)
        if self.units and smallest and max(self.units) >= smallest.out_features:
            last = smallest.out_features - 1
            yield "units", f"{max(self.units)} is not a unit of {smallest.name}: it has units 0 to {last}"

    def of_layer(self, plan: Plan, layer: ProbedLayer) -> Iterator[str]:
        """Of layers that have an activation."""
        if layer.activation is None:
            return
        yield from (f"input {name}" for name in PERCENTILES)
        yield from ("input mean", "input std", "output mean", "output std")
        if layer.activation in SATURATED:
            yield "saturated"
        if layer.activation == "relu":
            yield "dead"
        yield from (f"input {name} of unit {unit}" for unit in self.units for name in PERCENTILES)

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """In the order of `of_layer`."""
        kinds = {layer.name: layer.activation for layer in subject.plan.measured}
        for name, (entered, left) in _passed(subject).items():
            kind = kinds[name]
            for quantity, value in _percentiles(entered).items():
                yield Reading(name, f"input {quantity}", value)
            for where, values in (("input", entered), ("output", left)):
                yield Reading(name, f"{where} mean", values.mean().item())
                yield Reading(name, f"{where} std", values.std(correction=0).item())
            if kind in SATURATED:
                low, high = SATURATED[kind]
                yield Reading(name, "saturated", ((left < low) | (left > high)).float().mean().item())
            if kind == "relu":
                units = left.transpose(0, 1).flatten(1)
                yield Reading(name, "dead", (units == 0).all(1).float().mean().item())
            for unit in self.units:
                for quantity, value in _percentiles(entered[:, unit]).items():
                    yield Reading(name, f"input {quantity} of unit {unit}", value)


def _passed(subject: "Subject") -> dict[str, "tuple[Tensor, Tensor]"]:
    """What enters and what leaves the activation of each layer."""
    import torch

    passed: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for name, block in subject.blocks.items():
        if hasattr(block, "activation"):

            def keep(_module: Any, inputs: "tuple[Tensor, ...]", output: "Tensor", name: str = name) -> None:
                passed[name] = (inputs[0], output)

            handles.append(block.get_submodule("activation").register_forward_hook(keep))
    with torch.no_grad():
        subject.forward()
    for handle in handles:
        handle.remove()
    return passed


def _percentiles(values: "Tensor") -> dict[str, float]:
    import numpy as np

    # NumPy's: torch.quantile refuses more than 2²⁴ values.
    found: list[float] = np.percentile(values.cpu().numpy(), list(PERCENTILES.values())).tolist()
    return dict(zip(PERCENTILES, found, strict=True))
