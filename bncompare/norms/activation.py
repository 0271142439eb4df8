"""Norms of what leaves a layer, one example at a time."""

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bncompare.norms.base import ActivationNorm, AffineNorm, Array, Eps, Shape
from bncompare.options import MAX_WIDTH, NonNegative, Positive, PositiveInt

if TYPE_CHECKING:
    from torch import nn


class ExampleNorm(ActivationNorm):
    """A norm of all that leaves a layer for one example, with its parameters for each unit."""

    axes: ClassVar = "all units of one example: C, or C, H, W"

    def axes_of(self, shape: Shape) -> Shape:
        """All but the examples."""
        return tuple(range(1, len(shape)))

    def num_parameters(self, shape: Shape) -> int:
        """Of each unit, not of each channel."""
        return math.prod(shape) * (self.has_scale + self.has_shift)


class LayerNorm(ExampleNorm, AffineNorm):
    """Layer normalization (Ba et al. 2016); γ and β for each unit."""

    title: ClassVar = "LayerNorm"
    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"

    kind: Literal["layer"]
    """the norm"""

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.LayerNorm over all of `shape`."""
        from torch import nn

        return self.chosen(nn.LayerNorm(shape, self.eps, self.affine))


class ChannelLayerNorm(AffineNorm):
    """Layer normalization of the channels at one position, as ConvNeXt has it (Liu et al. 2022); γ and β for each
    channel. After a dense layer it is `layer`."""

    title: ClassVar = "LayerNorm (channels)"
    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"
    axes: ClassVar = "the channels at one position of one example: C"

    kind: Literal["channel_layer"]
    """the norm"""

    def axes_of(self, shape: Shape) -> Shape:
        """The channels."""
        return (1,)

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """One value has no variance."""
        return "has one channel, so its output would be constant" if shape[0] == 1 else None

    def module_name(self, shape: Shape) -> str:
        """Ours."""
        return "ChannelLayerNormNd"

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.LayerNorm with the channels last."""
        from bncompare.norms import modules

        return self.chosen(modules.ChannelLayerNormNd(shape[0], self.eps, self.affine))


class RMSNorm(ExampleNorm):
    """Root mean square normalization (Zhang & Sennrich 2019); γ for each unit, no centring, no β."""

    title: ClassVar = "RMSNorm"
    formula: ClassVar = "y = γ·x/√(mean(x²) + eps)"

    kind: Literal["rms"]
    """the norm"""
    eps: Eps = 1e-5
    """added to the mean square"""
    affine: bool = True
    """learn a scale γ"""

    @property
    def has_scale(self) -> bool:
        """γ, but no β."""
        return self.affine

    def statistics(self, x: Array) -> dict[str, Array]:
        """The mean square of each example."""
        return {"mean_square": (x**2).mean(self.axes_of(x.shape))}

    def reference(self, x: Array) -> Array:
        """x/√(mean(x²) + eps)."""
        y: Array = x / ((x**2).mean(self.axes_of(x.shape), keepdims=True) + self.eps) ** 0.5
        return y

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.RMSNorm over all of `shape`."""
        from torch import nn

        return nn.RMSNorm(shape, self.eps, self.affine)


class InstanceNorm(AffineNorm):
    """Instance normalization (Ulyanov et al. 2016); γ and β for each channel."""

    title: ClassVar = "InstanceNorm"
    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"
    axes: ClassVar = "the positions of one channel of one example: H, W"

    kind: Literal["instance"]
    """the norm"""

    def axes_of(self, shape: Shape) -> Shape:
        """The positions."""
        return tuple(range(2, len(shape)))

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """One value has no variance."""
        if math.prod(shape[1:]) > 1:
            return None
        return "has one value per channel, so its output would be constant; use layers: conv (lenet), or another kind"

    def module_name(self, shape: Shape) -> str:
        """By the number of positions' axes."""
        return f"InstanceNorm{len(shape) - 1}d"

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.InstanceNorm1d, 2d or 3d."""
        from torch import nn

        module: nn.Module = getattr(nn, self.module_name(shape))(shape[0], self.eps, affine=self.affine)
        return self.chosen(module)


class GroupNorm(AffineNorm):
    """Group normalization (Wu & He 2018); γ and β for each channel."""

    title: ClassVar = "GroupNorm({norm.grouping})"
    in_title: ClassVar = ("groups", "channels_per_group")
    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"
    axes: ClassVar = "a group of channels of one example, and its positions"

    kind: Literal["group"]
    """the norm"""
    groups: PositiveInt | None = None
    """number of groups; 2 where channels_per_group is not given either"""
    channels_per_group: PositiveInt | None = None
    """channels in a group, instead of the number of groups"""

    @model_validator(mode="before")
    @classmethod
    def _default_groups(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("groups") is None and value.get("channels_per_group") is None:
            return {**value, "groups": 2}
        return value

    @property
    def grouping(self) -> str:
        """The groups, as the title says them."""
        return str(self.groups) if self.groups else f"groups of {self.channels_per_group}"

    def num_groups(self, num_channels: int) -> int:
        """Groups for a layer of `num_channels`."""
        return self.groups or num_channels // (self.channels_per_group or 1)

    def axes_of(self, shape: Shape) -> Shape:
        """All but the examples; of the channels, those of a group."""
        return tuple(range(1, len(shape)))

    def statistics(self, x: Array) -> dict[str, Array]:
        """Mean and biased variance of each group, (N, groups)."""
        grouped = self._grouped(x)
        return {"mean": grouped.mean(2), "var": grouped.var(2)}

    def reference(self, x: Array) -> Array:
        """(x − mean)/√(var + eps)."""
        grouped = self._grouped(x)
        centred = grouped - grouped.mean(2, keepdims=True)
        y: Array = (centred / (grouped.var(2, keepdims=True) + self.eps) ** 0.5).reshape(x.shape)
        return y

    def _grouped(self, x: Array) -> Array:
        return x.reshape(len(x), self.num_groups(x.shape[1]), -1)

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """Groups are of equal size, and of more than one value."""
        if self.groups and self.channels_per_group:
            return "has groups and channels_per_group: give one of them"
        key, number = ("groups", self.groups) if self.groups else ("channels_per_group", self.channels_per_group)
        if shape[0] % (number or 1):
            return f"has {key}: {number}, which does not divide its {shape[0]} channels"
        if math.prod(shape) == self.num_groups(shape[0]):
            return f"has {key}: {number}, which makes groups of one value, so its output would be constant"
        return None

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.GroupNorm."""
        from torch import nn

        return self.chosen(nn.GroupNorm(self.num_groups(shape[0]), shape[0], self.eps, self.affine))


class FilterResponseNorm(AffineNorm):
    """Filter response normalization with its thresholded linear unit (Singh & Krishnan 2020); γ, β and τ for each
    channel. The unit takes the place of an activation: `activation: identity` leaves it alone. τ starts at 0.

    The formula is that of the paper's listing, which leaves open whether a learned eps is one number for each
    channel, as here, or for the layer.
    """

    title: ClassVar = "FilterResponseNorm"
    formula: ClassVar = "y = max(γ·x/√(mean(x²) + |eps|) + β, τ)"
    axes: ClassVar = "the positions of one channel of one example: H, W"

    kind: Literal["filter_response"]
    """the norm"""
    eps: Eps = 1e-6
    """added to the mean square"""
    tlu: bool = True
    """whether max(·, τ) follows, with a learned threshold τ"""
    learn_eps: bool = False
    """learn eps for each channel, as the paper does where a channel has one value, and starts it from 1e-4"""

    def axes_of(self, shape: Shape) -> Shape:
        """The positions."""
        return tuple(range(2, len(shape)))

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """Of one value there is nothing left but its sign."""
        if math.prod(shape[1:]) > 1 or self.learn_eps:
            return None
        return (
            "has one value per channel, of which it would keep the sign; use learn_eps: true, or layers: conv (lenet)"
        )

    def num_parameters(self, shape: Shape) -> int:
        """τ and eps too, where they are learned."""
        return super().num_parameters(shape) + shape[0] * (self.tlu + self.learn_eps)

    def statistics(self, x: Array) -> dict[str, Array]:
        """The mean square of each channel, (N, C)."""
        return {"mean_square": (x**2).mean(self.axes_of(x.shape))}

    def reference(self, x: Array) -> Array:
        """x/√(mean(x²) + eps), where it is above 0."""
        y: Array = x / ((x**2).mean(self.axes_of(x.shape), keepdims=True) + self.eps) ** 0.5
        return y.clip(0) if self.tlu else y

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms import modules

        return modules.FilterResponseNormNd(shape[0], self)


class LocalResponseNorm(ActivationNorm):
    """Local response normalization (Krizhevsky et al. 2012) across neighbouring channels; nothing is learned."""

    title: ClassVar = "LocalResponseNorm"
    formula: ClassVar = "y = x/(k + alpha·mean(x²))^beta"
    axes: ClassVar = "`size` neighbouring channels at one position of one example"

    kind: Literal["local_response"]
    """the norm"""
    size: Annotated[int, Field(ge=1, le=2 * MAX_WIDTH - 1)] = 5
    """neighbouring channels"""
    alpha: NonNegative = 1e-4
    """weight of the mean square"""
    beta: Positive = 0.75
    """exponent"""
    k: Positive = 1.0
    """added to the weighted mean square"""

    def reference(self, x: Array) -> Array:
        """x/(k + alpha·mean(x²))^beta; beyond the first and the last channel there are zeros."""
        import numpy as np

        before = self.size // 2
        padded = np.pad(x**2, [(0, 0), (before, self.size - 1 - before)] + [(0, 0)] * (x.ndim - 2))
        mean = sum(padded[:, i : i + x.shape[1]] for i in range(self.size)) / self.size
        y: Array = x / (self.k + self.alpha * mean) ** self.beta
        return y

    def module_name(self, shape: Shape) -> str:
        """One for every shape."""
        return "LocalResponseNormNd"

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.LocalResponseNorm, for dense layers too."""
        from bncompare.norms.modules import LocalResponseNormNd

        return LocalResponseNormNd(self.size, self.alpha, self.beta, self.k)
