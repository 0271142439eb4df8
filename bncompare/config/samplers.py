"""How batches are drawn: each way with its options, what is wrong with them, and the order it makes of an epoch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from bncompare.config.keys import Problem
from bncompare.options import PositiveInt, Section, one_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SamplerSection(Section):
    """What every sampler has."""

    def problems(self, batch_size: int | Literal["full"], dataset: str, *, has_classes: bool) -> Iterator[Problem]:
        """Why it can't draw such batches from this dataset."""
        yield from ()

    def at_most(self, batch_size: int) -> int:
        """The largest batch size up to this one that it can draw, or the smallest there is."""
        return batch_size

    def arrange(self, order: "Tensor", targets: "Tensor", batch_size: int, random: "torch.Generator") -> "Tensor":
        """The order (N,) of an epoch, from a random one; `targets` are those of the examples as they are."""
        raise NotImplementedError


class ShuffledSampler(SamplerSection):
    """Every example once an epoch, in a random order."""

    name: Literal["shuffled"]
    """how batches are drawn"""

    def arrange(self, order: "Tensor", targets: "Tensor", batch_size: int, random: "torch.Generator") -> "Tensor":
        """The random one."""
        return order


class ClassClusteredSampler(SamplerSection):
    """Batches of few classes (Ioffe 2017): random blocks of one class each; what is left ends the epoch, mixed."""

    name: Literal["class_clustered"]
    """how batches are drawn"""
    classes_per_batch: PositiveInt
    """blocks in a batch, and so its classes at most; divides the batch size"""

    def problems(self, batch_size: int | Literal["full"], dataset: str, *, has_classes: bool) -> Iterator[Problem]:
        """There are classes, and blocks of equal size."""
        if not has_classes:
            yield (), f"class_clustered: {dataset} has no classes"
        elif batch_size == "full" or batch_size % self.classes_per_batch:
            yield ("classes_per_batch",), f"{self.classes_per_batch} does not divide the batch size, {batch_size}"

    def at_most(self, batch_size: int) -> int:
        """A multiple of the number of blocks."""
        return max(1, batch_size // self.classes_per_batch) * self.classes_per_batch

    def arrange(self, order: "Tensor", targets: "Tensor", batch_size: int, random: "torch.Generator") -> "Tensor":
        """Blocks of examples of one class, shuffled; then what is left of the classes, in the given order."""
        import torch

        size, labels = batch_size // self.classes_per_batch, targets.cpu()[order]
        blocks, rest = [], torch.ones(len(order), dtype=torch.bool)
        for label in torch.unique(labels):
            places = (labels == label).nonzero().squeeze(1)
            places = places[: len(places) - len(places) % size]
            rest[places] = False
            blocks.append(order[places].view(-1, size))
        stacked = torch.cat(blocks)
        shuffled = stacked[torch.randperm(len(stacked), generator=random)]
        return torch.cat([shuffled.flatten(), order[rest]])


Sampler = Annotated[
    ShuffledSampler | ClassClusteredSampler, one_of("name", ShuffledSampler, ClassClusteredSampler, short=True)
]
