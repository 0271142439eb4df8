"""The torch side of the norms that torch.nn has not."""

from typing import TYPE_CHECKING, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bncompare.norms.base import ScaleShiftNorm, Shape
from bncompare.norms.from_scratch import BatchNormNd, batch_statistics, per_channel, scaled_and_shifted
from bncompare.norms.pointwise import PointwiseNorm
from bncompare.norms.running import RunningNorm, TrackedNorm
from bncompare.norms.switchable import SwitchableNorm
from bncompare.norms.weight import WeightStandardization
from bncompare.randomness import StepRandomness

if TYPE_CHECKING:
    from bncompare.norms.activation import FilterResponseNorm

N = TypeVar("N", bound=ScaleShiftNorm)
T = TypeVar("T", bound=TrackedNorm)


class ChosenBatchNorm(BatchNormNd):
    """A relative of batch normalization: shapes, parameters, statistics and their tracking as in `BatchNormNd`; the
    formula is that of the kind of norm, which holds the options."""

    def __init__(self, num_features: int, norm: RunningNorm) -> None:
        super().__init__(num_features, **norm.options)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, (N, C, …)."""
        return self.norm.forward(self, x)

    def _get_name(self) -> str:
        """What torch prints, in place of the class."""
        return type(self.norm).__name__


class RandomBatchNorm(StepRandomness, ChosenBatchNorm):
    """One that draws random numbers in training."""


class ScaledAndShifted(nn.Module, Generic[N]):
    """What has γ and β, and else is as its kind of norm says, which holds the options."""

    def __init__(self, num_features: int, norm: N) -> None:
        super().__init__()
        self.norm = norm
        self.weight = nn.Parameter(torch.ones(num_features)) if norm.has_scale else None  # γ
        self.bias = nn.Parameter(torch.zeros(num_features)) if norm.has_shift else None  # β

    def scale_and_shift(self, x_hat: Tensor) -> Tensor:
        """γ·x̂ + β, without those that there are not."""
        return scaled_and_shifted(x_hat, self.weight, self.bias)

    def _get_name(self) -> str:
        """What torch prints, in place of the class."""
        return type(self.norm).__name__


class Tracking(ScaledAndShifted[T]):
    """What keeps running averages too, of what `track` is given in training."""

    num_batches_tracked: Tensor

    def __init__(self, num_features: int, norm: T, **initial: Tensor) -> None:
        super().__init__(num_features, norm)
        for name, value in initial.items():
            self.register_buffer(f"running_{name}", value)
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    @torch.no_grad()
    def track(self, **batch: Tensor) -> None:
        """Move the running averages towards a batch's."""
        self.num_batches_tracked += 1
        for name, value in batch.items():
            momentum = self.norm.momentum
            weight = self.num_batches_tracked.to(value.dtype).reciprocal() if momentum is None else momentum
            self.get_buffer(f"running_{name}").lerp_(value, weight)


class ChannelLayerNormNd(nn.LayerNorm):
    """Layer normalization over C at each position of (N, C, …)."""

    def forward(self, input: Tensor) -> Tensor:
        """torch.nn's normalizes the last axes."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class FilterResponseNormNd(ScaledAndShifted["FilterResponseNorm"]):
    """γ·x/√(ν² + |ε|) + β, then the thresholded linear unit max(·, τ), of (N, C, …)."""

    def __init__(self, num_features: int, norm: "FilterResponseNorm") -> None:
        super().__init__(num_features, norm)
        self.eps = nn.Parameter(torch.full((num_features,), norm.eps)) if norm.learn_eps else norm.eps
        self.threshold = nn.Parameter(torch.zeros(num_features)) if norm.tlu else None  # τ

    def forward(self, x: Tensor) -> Tensor:
        """Each example and channel by itself."""
        mean_square = x.square().mean(tuple(range(2, x.dim())), keepdim=True) if x.dim() > 2 else x.square()
        eps = self.eps if isinstance(self.eps, float) else per_channel(self.eps.abs(), x)
        y = self.scale_and_shift(x * (mean_square + eps).rsqrt())
        return y if self.threshold is None else torch.maximum(y, per_channel(self.threshold, y))


class LocalResponseNormNd(nn.LocalResponseNorm):
    """torch.nn's local response normalization (Krizhevsky et al. 2012), which also takes (N, C)."""

    def forward(self, input: Tensor) -> Tensor:
        """Divide each channel by its neighbourhood's response; (N, C) or (N, C, …)."""
        if input.dim() > 2:
            return super().forward(input)
        return F.local_response_norm(input.unsqueeze(2), self.size, self.alpha, self.beta, self.k).squeeze(2)


AnyBatchNorm = BatchNormNd | _BatchNorm


def batch_norms(model: nn.Module) -> list[AnyBatchNorm]:
    """The modules of the batch family, in the order data goes through them."""
    return [module for module in model.modules() if isinstance(module, BatchNormNd | _BatchNorm)]


class Pointwise(ScaledAndShifted[PointwiseNorm]):
    """y = γ·f(x) + β of (N, C, …); f is that of the kind of norm."""

    def __init__(self, num_features: int, norm: PointwiseNorm) -> None:
        super().__init__(num_features, norm)
        self.learned = norm.initial(num_features)
        """the numbers that f has, and what they start from"""
        for name, value in self.learned.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))

    def forward(self, x: Tensor) -> Tensor:
        """Each element by itself."""
        return self.scale_and_shift(self.norm.function(x, **{name: getattr(self, name) for name in self.learned}))


class StandardizedWeight(nn.Module):
    """A weight, (out, in, …), whose incoming weights of a unit have mean 0 and variance 1, or 1/fan_in and a gain."""

    def __init__(self, layer: nn.Module, norm: WeightStandardization) -> None:
        super().__init__()
        self.norm = norm
        weight = layer.get_parameter("weight")
        self.gain = nn.Parameter(torch.ones(len(weight))) if norm.scaled else None

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer has."""
        incoming = weight.flatten(1)
        fan_in = incoming.shape[1]
        centred = incoming - incoming.mean(1, keepdim=True)
        var = centred.square().mean(1, keepdim=True)
        scale = (var * (fan_in if self.norm.scaled else 1) + self.norm.eps).rsqrt()
        if self.gain is not None:
            scale = scale * self.gain.unsqueeze(1)
        return (centred * scale).view_as(weight)


class SwitchableNormNd(Tracking[SwitchableNorm]):
    """A learned mixture of the statistics of instance, layer and batch normalization of (N, C, …)."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, shape: Shape, norm: SwitchableNorm) -> None:
        super().__init__(shape[0], norm, mean=torch.zeros(shape[0]), var=torch.ones(shape[0]))
        self.mixed = norm.mixed(len(shape) + 1)
        self.mean_logits = nn.Parameter(torch.ones(len(self.mixed)))
        self.var_logits = nn.Parameter(torch.ones(len(self.mixed)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize with the mixtures."""
        mean, var = x.new_zeros(()), x.new_zeros(())
        weights = zip(self.mean_logits.softmax(0), self.var_logits.softmax(0), strict=True)
        for (name, axes), (mean_weight, var_weight) in zip(self.mixed.items(), weights, strict=True):
            one_mean, one_var = self._batch_statistics(x) if name == "batch" else _moments(x, axes)
            mean, var = mean + mean_weight * one_mean, var + var_weight * one_var
        return self.scale_and_shift((x - mean) * (var + self.norm.eps).rsqrt())

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's, which are tracked, or the running ones."""
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = batch_statistics(x)
            num_values = x.numel() // x.shape[1]
            self.track(mean=mean.detach(), var=var.detach() * (num_values / (num_values - 1)))
        return per_channel(mean, x), per_channel(var, x)


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mean = x.mean(axes, keepdim=True)
    return mean, (x - mean).square().mean(axes, keepdim=True)
