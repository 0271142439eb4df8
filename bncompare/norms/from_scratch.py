"""Batch normalization with its formula written out, to be read; equal to torch.nn's."""

import torch
from torch import Tensor, nn


class BatchNormNd(nn.Module):
    """Batch normalization of (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W) inputs.

    In training, each channel is normalized with the mean and the *biased* variance of the batch
    (Ioffe & Szegedy 2015, Algorithm 1):

        x̂ = (x − mean) / √(var + eps),    y = γ·x̂ + β

    and the running statistics move towards the batch's, with the *unbiased* variance (Algorithm 2):

        running ← (1 − momentum)·running + momentum·batch

    With `momentum=None` they are the cumulative average: momentum = 1/k at the k-th batch. In evaluation
    (`module.eval()`) the running statistics take the place of the batch's, unless there are none
    (`track_running_stats=False`).

    Raises ValueError for batch statistics of one value per channel, whose variance is 0.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None  # γ
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None  # β
        self.register_buffer("running_mean", torch.zeros(num_features) if track_running_stats else None)
        self.register_buffer("running_var", torch.ones(num_features) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if track_running_stats else None)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, of shape (N, C, …), over every axis but C."""
        mean, var = self.statistics(x)
        x_hat = (x - per_channel(mean, x)) * per_channel((var + self.eps).rsqrt(), x)
        return self.scale_and_shift(x_hat)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance to normalize x with, each (C,): the batch's, which are tracked, or the running ones."""
        # The mode is the module's own: gradients are also off where a training batch is only measured.
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return self.running_mean, self.running_var
        mean, var = batch_statistics(x)
        if self.training and self.track_running_stats:
            num_values = x.numel() // self.num_features
            self.track(mean.detach(), var.detach() * (num_values / (num_values - 1)))
        return mean, var

    @torch.no_grad()
    def track(self, mean: Tensor, unbiased_var: Tensor) -> None:
        """Move the running statistics towards a batch's."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        # A tensor, not .item(): on a GPU that would wait for the batch.
        momentum = self.num_batches_tracked.to(mean.dtype).reciprocal() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(unbiased_var, momentum)

    def scale_and_shift(self, x_hat: Tensor) -> Tensor:
        """γ·x̂ + β, or x̂ where there are none."""
        return scaled_and_shifted(x_hat, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The options, as torch.nn prints them."""
        affine = self.weight is not None
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of x, (N, C, …): two tensors (C,). Raises ValueError."""
    if x.numel() // x.shape[1] == 1:
        raise ValueError(f"expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
    axes = [axis for axis in range(x.dim()) if axis != 1]
    mean = x.mean(axes)
    # By hand: torch.var over these axes was measured to take four times as long (tests/benchmarks/norms.py).
    return mean, (x - per_channel(mean, x)).square().mean(axes)


def scaled_and_shifted(x_hat: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """γ·x̂ + β for x̂, (N, C, …), without those that there are not."""
    y = x_hat if weight is None else x_hat * per_channel(weight, x_hat)
    return y if bias is None else y + per_channel(bias, y)


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """(C,) → (1, C, 1, …), to broadcast against x."""
    return values.view(1, -1, *[1] * (x.dim() - 2))
