"""The torch side of the norms that torch.nn has not."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bncompare.norms.base import Shape
from bncompare.norms.from_scratch import BatchNormNd, per_channel, scaled_and_shifted
from bncompare.norms.pointwise import PointwiseNorm
from bncompare.norms.running import RunningNorm
from bncompare.norms.switchable import SwitchableNorm
from bncompare.norms.weight import WeightStandardization
from bncompare.randomness import StepRandomness


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


class ChannelLayerNormNd(nn.LayerNorm):
    """Layer normalization over C at each position of (N, C, …)."""

    def forward(self, input: Tensor) -> Tensor:
        """torch.nn's normalizes the last axes."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class FilterResponseNormNd(nn.Module):
    """γ·x/√(ν² + |ε|) + β, then the thresholded linear unit max(·, τ), of (N, C, …)."""

    def __init__(self, num_features: int, eps: float, affine: bool, tlu: bool, learn_eps: bool) -> None:
        super().__init__()
        self.eps = nn.Parameter(torch.full((num_features,), eps)) if learn_eps else eps
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.threshold = nn.Parameter(torch.zeros(num_features)) if tlu else None  # τ

    def forward(self, x: Tensor) -> Tensor:
        """Each example and channel by itself."""
        mean_square = x.square().mean(tuple(range(2, x.dim())), keepdim=True) if x.dim() > 2 else x.square()
        eps = self.eps if isinstance(self.eps, float) else per_channel(self.eps.abs(), x)
        y = scaled_and_shifted(x * (mean_square + eps).rsqrt(), self.weight, self.bias)
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


class Pointwise(nn.Module):
    """y = γ·f(x) + β of (N, C, …); f is that of the kind of norm, which holds the options."""

    def __init__(self, num_features: int, norm: PointwiseNorm) -> None:
        super().__init__()
        self.norm = norm
        self.learned = norm.initial(num_features)
        """the numbers that f has, and what they start from"""
        for name, value in self.learned.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))
        self.weight = nn.Parameter(torch.ones(num_features)) if norm.has_scale else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if norm.has_shift else None

    def forward(self, x: Tensor) -> Tensor:
        """Each element by itself."""
        y = self.norm.function(x, **{name: self.get_parameter(name) for name in self.learned})
        return scaled_and_shifted(y, self.weight, self.bias)

    def _get_name(self) -> str:
        """What torch prints, in place of the class."""
        return type(self.norm).__name__


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


class SwitchableNormNd(nn.Module):
    """A learned mixture of the statistics of instance, layer and batch normalization of (N, C, …)."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, shape: Shape, norm: SwitchableNorm) -> None:
        super().__init__()
        self.norm = norm
        self.mixed = norm.mixed(len(shape) + 1)
        self.weight = nn.Parameter(torch.ones(shape[0])) if norm.has_scale else None
        self.bias = nn.Parameter(torch.zeros(shape[0])) if norm.has_shift else None
        self.mean_logits = nn.Parameter(torch.ones(len(self.mixed)))
        self.var_logits = nn.Parameter(torch.ones(len(self.mixed)))
        self.register_buffer("running_mean", torch.zeros(shape[0]))
        self.register_buffer("running_var", torch.ones(shape[0]))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize with the mixtures."""
        mean, var = x.new_zeros(()), x.new_zeros(())
        weights = zip(self.mean_logits.softmax(0), self.var_logits.softmax(0), strict=True)
        for (name, axes), (mean_weight, var_weight) in zip(self.mixed.items(), weights, strict=True):
            one_mean, one_var = self._statistics(x, axes, is_batch=name == "batch")
            mean, var = mean + mean_weight * one_mean, var + var_weight * one_var
        return scaled_and_shifted((x - mean) * (var + self.norm.eps).rsqrt(), self.weight, self.bias)

    def _statistics(self, x: Tensor, axes: tuple[int, ...], *, is_batch: bool) -> tuple[Tensor, Tensor]:
        if is_batch and not self.training:
            return per_channel(self.running_mean, x), per_channel(self.running_var, x)
        mean = x.mean(axes, keepdim=True)
        var = (x - mean).square().mean(axes, keepdim=True)
        if is_batch:
            self._track(mean.detach().flatten(), var.detach().flatten(), x.numel() // x.shape[1])
        return mean, var

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, num_values: int) -> None:
        if num_values == 1:
            raise ValueError("expected more than 1 value per channel when training")
        self.num_batches_tracked += 1
        momentum = self.norm.momentum
        weight = self.num_batches_tracked.to(mean.dtype).reciprocal() if momentum is None else momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(var * (num_values / (num_values - 1)), weight)
