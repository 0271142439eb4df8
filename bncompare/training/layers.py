"""The layers of models that torch.nn has not, or has not as fast."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

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


class OneChannelConv2d(nn.Conv2d):
    """A convolution of one channel with a stride of 1: that of grey images, whose gradient needs no other.

    On a CPU the gradient of its weight takes two fifths of the time of LeNet's convolutions, and two fifths of that
    as another convolution: that of the images by the gradient of what leaves, with examples as channels.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of an input (N, 1, H, W)."""
        if input.device.type != "cpu":
            return super().forward(input)
        convolved: Tensor = _OneChannel.apply(input, self.weight, self.bias, self.padding)
        return convolved

    def _get_name(self) -> str:
        """What torch prints, in place of the class."""
        return "Conv2d"


class _OneChannel(torch.autograd.Function):
    """∂L/∂w[o, 0, i, j] = Σ x[n, 0, p+i, q+j]·∂L/∂y[n, o, p, q] over n, p and q."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.padding = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), padding, (of_x, of_weight, of_bias, _) = ctx.saved_tensors, ctx.padding, ctx.needs_input_grad
        swapped = x.transpose(0, 1).contiguous(), gradient.transpose(0, 1).contiguous()
        back = conv2d_input(x.shape, weight, gradient, padding=padding) if of_x else None  # type: ignore[no-untyped-call]
        return (
            back,
            F.conv2d(*swapped, padding=padding).transpose(0, 1) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
        )


class AvgPool2x2(nn.AvgPool2d):
    """Torch's average pooling of windows of 2×2, which takes a third of the time in strided additions.

    What leaves and its gradient are torch's to the bit.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(…, H/2, W/2) of (…, H, W)."""
        pooled: Tensor = _Average.apply(input) if _is_quick_in_strides(input) else super().forward(input)
        return pooled

    def _get_name(self) -> str:
        """What torch prints, in place of the class."""
        return "AvgPool2d"


class MaxPool2x2(nn.MaxPool2d):
    """Torch's max pooling of windows of 2×2, in three fifths of the time: nobody writes down which is largest.

    What leaves and its gradient are torch's: of equal numbers the first, row by row, has it. Only an infinite
    gradient becomes NaN, and that of a window with a NaN may go to another of its numbers.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(…, H/2, W/2) of (…, H, W)."""
        pooled: Tensor = _Maximum.apply(input) if _is_quick_in_strides(input) else super().forward(input)
        return pooled

    def _get_name(self) -> str:
        """What torch prints, in place of the class."""
        return "MaxPool2d"


def _is_quick_in_strides(x: Tensor) -> bool:
    """Measured: on a CPU, if the columns lie last and the rows of all images are one long list of pairs."""
    return x.device.type == "cpu" and x.is_contiguous() and x.shape[-1] % 2 == x.shape[-2] % 2 == 0


class _Average(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        first, second, third, fourth = _windows(x)
        return (first + second).add_(third).add_(fourth).mul_(0.25)  # torch's order

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _put_together([gradient * 0.25] * 4, *ctx.saved_tensors)


class _Maximum(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        rows = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        first, second, third, fourth = _windows(x)
        # Products with 0 and 1: a choice by `where` takes four times as long.
        above = gradient * (torch.maximum(first, second) >= torch.maximum(third, fourth))
        below = gradient - above
        of_first, of_third = above * (first >= second), below * (third >= fourth)
        return _put_together([of_first, above - of_first, of_third, below - of_third], x)


def _windows(x: Tensor) -> list[Tensor]:
    """Views of x, (…, H, W): the four numbers of each window, row by row, each (…, H/2, W/2)."""
    return [x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]


def _put_together(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """What `_windows` takes apart."""
    x = torch.empty_like(like)
    x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2] = parts
    return x


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
