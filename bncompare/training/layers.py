"""The layers of models that torch.nn has not."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bncompare.randomness import StepRandomness


class PairedDropout(StepRandomness):
    """Inverted dropout whose masks are a function of (seed, layer, step), so that variants share them."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Zero each element with probability p and scale the others by 1/(1−p); in evaluation, x itself."""
        if not self.training:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep / (1 - self.p)

    def extra_repr(self) -> str:
        """The option, as torch.nn prints it."""
        return f"p={self.p}"


class SparseConv2d(nn.Conv2d):
    """A convolution that skips some of its input: its stride is above its kernel size.

    On a CPU the gradient of one of few channels writes beyond its memory (oneDNN, seen in torch 2.14) where channels
    lie last, as a norm may leave them.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of an input that lies as it reads, (N, C, H, W)."""
        return super().forward(input.contiguous())

    def _get_name(self) -> str:
        """What torch prints, in place of the class."""
        return "Conv2d"


class Sum(nn.Module):
    """What enters from several layers, added up."""

    def forward(self, entering: Sequence[Tensor]) -> Tensor:
        """The sum of tensors of one shape."""
        return sum(entering[1:], entering[0])


class Subset(nn.Module):
    """A weight of which some entries, chosen at random, are trained; the rest keeps its initial value."""

    initial: Tensor
    chosen: Tensor

    def __init__(self, weight: Tensor, number: int, random: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("initial", weight.detach().clone())
        chosen = torch.randperm(weight.numel(), generator=random, device="cpu")[:number]
        self.register_buffer("chosen", chosen.to(weight.device))

    def forward(self, values: Tensor) -> Tensor:
        """The whole weight, from the entries that are trained."""
        return self.initial.flatten().index_copy(0, self.chosen, values).view_as(self.initial)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The entries that are trained, from the whole weight."""
        return weight.flatten()[self.chosen]
