"""What a probe has to know of a run, and of its layers, before anything is measured."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from bncompare.norms import NoNorm, Norm, Shape


class ProbedLayer(Protocol):
    """What a probe has to know of a layer."""

    @property
    def name(self) -> str: ...
    @property
    def out_features(self) -> int: ...
    @property
    def shape(self) -> Shape: ...
    @property
    def norm(self) -> Norm | None: ...
    @property
    def has_weight(self) -> bool: ...
    @property
    def activation(self) -> str | None: ...


@dataclass(frozen=True)
class Plan:
    """What a probe has to know of a run."""

    seed: int
    layers: Sequence[ProbedLayer]
    """from input to output"""
    chosen: Collection[str]
    """names of the layers that are measured one by one"""
    norm: NoNorm | Norm
    trainable: str
    """all, norm, all_but_norm or random"""
    clip_gradient_norm: float | None
    l1: float
    validated_by: Sequence[str]
    """metrics of a validation, such as val/loss"""
    num_validation: int
    """examples to validate on"""

    @property
    def measured(self) -> list[ProbedLayer]:
        """The layers that are measured one by one."""
        return [layer for layer in self.layers if layer.name in self.chosen]

    def trains_weight(self, layer: ProbedLayer) -> bool:
        """Whether it has a weight of which anything is trained."""
        if self.trainable == "random":
            return layer.norm is not None and layer.norm.has_parameters
        return layer.has_weight and self.trainable != "norm"
