"""γ and β."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from bncompare.probes.base import Probe, Reading
from bncompare.probes.plan import Plan, ProbedLayer

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject


class NormParameters(Probe):
    """γ and β of each norm layer; at the end of a run one by one as well. Cost: none to speak of."""

    order: ClassVar = 2
    more_at_end: ClassVar = True
    captions: ClassVar = {"gamma mean": "mean γ of each norm layer", "beta mean": "mean β of each norm layer"}

    norm_parameters: bool = False
    """mean, smallest and largest γ and β of each norm layer, and all of them at the end"""

    def of_layer(self, plan: Plan, layer: ProbedLayer) -> Iterator[str]:
        """All but single values."""
        norm = layer.norm
        if norm is not None:
            for symbol, is_there in (("gamma", norm.has_scale), ("beta", norm.has_shift)):
                yield from (f"{symbol} {name}" for name in ("mean", "min", "max") if is_there)

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """γ before β."""
        for layer, block in subject.blocks.items():
            norm = getattr(block, "norm", None)
            for quantity, symbol in (("weight", "gamma"), ("bias", "beta")):
                values = getattr(norm, quantity, None)
                if values is None:
                    continue
                for name, value in (("mean", values.mean()), ("min", values.min()), ("max", values.max())):
                    yield Reading(layer, f"{symbol} {name}", value.item())
                if subject.is_last:
                    for i, value in enumerate(values.flatten().tolist()):
                        yield Reading(layer, f"{symbol}[{i}]", value)
