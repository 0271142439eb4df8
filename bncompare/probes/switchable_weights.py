"""What a switchable norm mixes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from bncompare.norms import SwitchableNorm
from bncompare.probes.base import Probe, Reading
from bncompare.probes.plan import Plan, ProbedLayer

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject

NORMS = ("instance", "layer", "batch")


class SwitchableWeights(Probe):
    """The weights of each switchable norm (Luo et al. 2019, their Fig. 1). Cost: none to speak of."""

    order: ClassVar = 3
    captions: ClassVar = {
        f"{quantity} weight {name}": f"share of {name} normalization in the {quantity} of each switchable norm"
        for quantity in ("mean", "var")
        for name in NORMS
    }

    switchable_weights: bool = False
    """shares of instance, layer and batch normalization in each switchable norm"""

    def of_layer(self, plan: Plan, layer: ProbedLayer) -> Iterator[str]:
        """Those of means and of variances."""
        if isinstance(layer.norm, SwitchableNorm):
            names = layer.norm.mixed(len(layer.shape) + 1)
            yield from (f"{quantity} weight {name}" for quantity in ("mean", "var") for name in names)

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """The softmaxes."""
        for layer, block in subject.blocks.items():
            norm = getattr(block, "norm", None)
            for quantity in ("mean", "var"):
                logits = getattr(norm, f"{quantity}_logits", None)
                if norm is not None and logits is not None:
                    for name, weight in zip(norm.mixed, logits.softmax(0).tolist(), strict=True):
                        yield Reading(layer, f"{quantity} weight {name}", weight)
