"""PowerNorm: a norm for bncompare."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bncompare.norms import AffineNorm, Array, Eps, Shape

if TYPE_CHECKING:  # not at run time: configs are checked without torch
    from torch import nn


class PowerNorm(AffineNorm):
    """PowerNorm without its approximate gradient, PN-V (Shen et al. 2020, §4.1): the quadratic mean of a batch takes
    the place of its mean and variance, which vary more from batch to batch."""

    title: ClassVar = "PowerNorm"
    formula: ClassVar = "y = γ·x/√(mean x² + eps) + β; in evaluation the running mean of x²"
    axes: ClassVar = "the batch and the positions of one channel: N, or N, H, W"

    kind: Literal["power"]
    """the norm"""
    eps: Eps = 1e-5
    """added to the quadratic mean"""
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """weight of the newest batch in the running quadratic mean"""

    def axes_of(self, shape: Shape) -> Shape:
        """All but the channels."""
        return (0, *range(2, len(shape)))

    def statistics(self, x: Array) -> dict[str, Array]:
        """The quadratic mean of each channel, (C,)."""
        return {"quadratic mean": (x**2).mean(self.axes_of(x.shape))}

    def reference(self, x: Array) -> Array:
        """x/√(mean x² + eps)."""
        y: Array = x / ((x**2).mean(self.axes_of(x.shape), keepdims=True) + self.eps) ** 0.5
        return y

    def build(self, shape: Shape) -> "nn.Module":
        """The module for inputs (N, *shape)."""
        import torch
        from torch import nn

        norm = self

        class Module(nn.Module):
            running_square: torch.Tensor

            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(shape[0])) if norm.has_scale else None  # γ
                self.bias = nn.Parameter(torch.zeros(shape[0])) if norm.has_shift else None  # β
                self.register_buffer("running_square", torch.ones(shape[0]))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                channels = (1, -1) + (1,) * (x.dim() - 2)
                square = self.running_square
                if self.training:
                    square = x.square().mean(norm.axes_of(x.shape))
                    self.running_square.lerp_(square.detach(), norm.momentum)
                y = x * (square + norm.eps).rsqrt().view(channels)
                y = y if self.weight is None else y * self.weight.view(channels)
                return y if self.bias is None else y + self.bias.view(channels)

            def _get_name(self) -> str:
                return "PowerNorm"

        return Module()
