"""Relatives of batch normalization that papers compare it with; torch.nn has none of them.

Each is a `BatchNorm` with one thing changed, and takes the same shapes, (N, C) to (N, C, D, H, W).
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bncompare.norms.from_scratch import BatchNorm, batch_statistics, per_channel
from bncompare.randomness import StepRandomness


class GhostBatchNorm(BatchNorm):
    """Batch normalization over virtual batches, smaller than those the optimizer sees (Hoffer et al. 2017).

    A batch of N is cut into ⌊N / virtual_batch_size⌋ virtual batches of nearly equal size (one at least), each
    normalized with, and tracked by, its own statistics.
    """

    def __init__(self, num_features: int, virtual_batch_size: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.virtual_batch_size = virtual_batch_size

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each virtual batch of x, (N, C, …)."""
        if not self.training:
            return super().forward(x)
        number = max(1, len(x) // self.virtual_batch_size)
        if len(x) % number:
            return torch.cat([super(GhostBatchNorm, self).forward(part) for part in x.tensor_split(number)])
        # Of equal size, as channels of their own: (N, C, …) → (N/number, number·C, …), all in one go.
        parts = x.reshape(number, -1, *x.shape[1:]).transpose(0, 1).flatten(1, 2)
        mean, var = batch_statistics(parts)
        if self.track_running_stats:
            num_values = parts.numel() // parts.shape[1]
            unbiased = var.detach() * (num_values / (num_values - 1))
            for part in zip(mean.detach().chunk(number), unbiased.chunk(number), strict=True):
                self.track(*part)
        x_hat = (parts - per_channel(mean, parts)) * per_channel((var + self.eps).rsqrt(), parts)
        x_hat = x_hat.view(len(parts), number, *x.shape[1:]).transpose(0, 1).flatten(0, 1)
        return self.scale_and_shift(x_hat)


class BatchRenorm(BatchNorm):
    """Batch Renormalization (Ioffe 2017): batch statistics corrected towards the running ones.

        x̂ = (x − mean_B)/σ_B · r + d,    r = σ_B/σ within [1/rmax, rmax],    d = (mean_B − mean)/σ within ±dmax

    r and d are constants to the gradient. σ = √(var + eps) with the running statistics as they were before the
    batch. rmax grows linearly from 1 and dmax from 0 between the steps `start` and `rmax_end`, `dmax_end`; before,
    this is batch normalization.
    """

    def __init__(
        self, num_features: int, *, rmax: float, dmax: float, start: int, rmax_end: int, dmax_end: int, **options: Any
    ) -> None:
        super().__init__(num_features, **options)
        self.rmax, self.dmax = rmax, dmax
        self.start, self.rmax_end, self.dmax_end = start, rmax_end, dmax_end

    def limits(self, step: int) -> tuple[float, float]:
        """rmax and dmax after `step` batches."""

        def progress(end: int) -> float:
            return 0.0 if step < self.start else 1.0 if step >= end else (step - self.start) / (end - self.start)

        return 1 + (self.rmax - 1) * progress(self.rmax_end), self.dmax * progress(self.dmax_end)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, (N, C, …)."""
        if not self.training or not self.track_running_stats:  # without tracking, a batch is only measured
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        rmax, dmax = self.limits(int(self.num_batches_tracked))
        running_mean, running_std = self.running_mean.clone(), (self.running_var + self.eps).sqrt()
        mean, var = self.statistics(x)
        std = (var + self.eps).sqrt()
        r = (std.detach() / running_std).clamp(1 / rmax, rmax)
        d = ((mean.detach() - running_mean) / running_std).clamp(-dmax, dmax)
        x_hat = (x - per_channel(mean, x)) * per_channel(r / std, x) + per_channel(d, x)
        return self.scale_and_shift(x_hat)


class PopulationBatchNorm(BatchNorm):
    """Normalization by the running statistics in training too: constants to the gradient, as before the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, (N, C, …)."""
        assert self.running_mean is not None
        assert self.running_var is not None
        mean, std = self.running_mean.clone(), (self.running_var + self.eps).sqrt()
        if self.training:
            self.statistics(x.detach())
        return self.scale_and_shift((x - per_channel(mean, x)) / per_channel(std, x))


class MeanOnlyBatchNorm(BatchNorm):
    """Subtracts the batch mean and divides by nothing: y = x − mean + β (Salimans & Kingma 2016)."""

    def __init__(self, num_features: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.weight = None

    def forward(self, x: Tensor) -> Tensor:
        """Centre x, (N, C, …)."""
        mean, _ = self.statistics(x)
        centred = x - per_channel(mean, x)
        return centred if self.bias is None else centred + per_channel(self.bias, x)


class VarianceOnlyBatchNorm(BatchNorm):
    """Divides by the batch standard deviation and subtracts nothing: y = γ·x/√(var + eps) + β."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale x, (N, C, …)."""
        _, var = self.statistics(x)
        return self.scale_and_shift(x * per_channel((var + self.eps).rsqrt(), x))


class LpBatchNorm(BatchNorm):
    """The p-th absolute moment of the centred batch in place of its variance (Santurkar et al. 2018, ℓp).

        x̂ = (x − mean) / (E|x − mean|^p + eps)^(1/p),    with p = ∞: (x − mean) / (max|x − mean| + eps)

    For p = 2 this is batch normalization. `running_var` holds the running moment.
    """

    def __init__(self, num_features: int, p: float, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, (N, C, …)."""
        mean, moment = self.statistics(x)
        size = moment + self.eps if math.isinf(self.p) else (moment + self.eps) ** (1 / self.p)
        return self.scale_and_shift((x - per_channel(mean, x)) / per_channel(size, x))

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and moment, each (C,)."""
        if self.p == 2:
            return super().statistics(x)
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return self.running_mean, self.running_var
        axes = [axis for axis in range(x.dim()) if axis != 1]
        if x.numel() // x.shape[1] == 1:
            raise ValueError(f"expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
        mean = x.mean(axes)
        distance = (x - per_channel(mean, x)).abs()
        moment = distance.amax(axes) if math.isinf(self.p) else distance.pow(self.p).mean(axes)
        if self.training and self.track_running_stats:
            self.track(mean.detach(), moment.detach())
        return mean, moment


class NoisyBatchNorm(StepRandomness, BatchNorm):
    """Batch normalization, then noise whose distribution changes each step (Santurkar et al. 2018, App. A).

    In training, per channel and step μ ~ U(−noise_mean, noise_mean) and σ ~ U(1, noise_std); per element
    m ~ U(μ − spread_mean, μ + spread_mean) and s ~ N(σ, spread_std); y ← s·y + m. The noise is a function of the
    seed, the layer and the step: call `reseed` before each forward pass in training.
    """

    def __init__(
        self,
        num_features: int,
        *,
        noise_mean: float,
        noise_std: float,
        spread_mean: float,
        spread_std: float,
        **options: Any,
    ) -> None:
        super().__init__(num_features, **options)
        self.noise_mean, self.noise_std = noise_mean, noise_std
        self.spread_mean, self.spread_std = spread_mean, spread_std

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, (N, C, …), and in training add noise."""
        y = super().forward(x)
        if not self.training or not self.track_running_stats:  # without tracking, a batch is only measured
            return y
        random = self.generator

        def uniform(like: Tensor) -> Tensor:
            return torch.rand(like.shape, generator=random, dtype=like.dtype, device=like.device)

        channel = y.new_empty(self.num_features)
        mean = (2 * uniform(channel) - 1) * self.noise_mean
        std = 1 + uniform(channel) * (self.noise_std - 1)
        shift = per_channel(mean, y) + (2 * uniform(y) - 1) * self.spread_mean
        normal = torch.randn(y.shape, generator=random, dtype=y.dtype, device=y.device)
        return y * (per_channel(std, y) + self.spread_std * normal) + shift


class LocalResponseNorm(nn.LocalResponseNorm):
    """torch.nn's local response normalization (Krizhevsky et al. 2012), which also takes (N, C)."""

    def forward(self, input: Tensor) -> Tensor:
        """Divide each channel by its neighbourhood's response; (N, C) or (N, C, …)."""
        if input.dim() > 2:
            return super().forward(input)
        return F.local_response_norm(input.unsqueeze(2), self.size, self.alpha, self.beta, self.k).squeeze(2)


AnyBatchNorm = BatchNorm | _BatchNorm


def batch_norms(model: nn.Module) -> list[AnyBatchNorm]:
    """The modules of the batch family, in the order data goes through them."""
    return [module for module in model.modules() if isinstance(module, BatchNorm | _BatchNorm)]
