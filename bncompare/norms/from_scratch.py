"""Batch normalization with its formula written out, to be read; equal to torch.nn's."""

import torch
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """Batch normalization of (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W) inputs.

    In training, each channel is normalized with the mean and the *biased* variance of the batch
    (Ioffe & Szegedy 2015, Algorithm 1):

        x̂ = (x − mean) / √(var + eps),    y = γ·x̂ + β

    and the running statistics move towards the batch's, with the *unbiased* variance (Algorithm 2):

        running ← (1 − momentum)·running + momentum·batch

    With `momentum=None` they are the cumulative average: momentum = 1/k at the k-th batch. In evaluation
    (`module.eval()`) the running statistics are used in place of the batch's.

    Raises ValueError for a training batch with one value per channel, whose variance is 0.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None  # γ
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None  # β
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, of shape (N, C, …), over every axis but C."""
        # The mode is the module's own: gradients are also off where a training batch is only measured.
        if self.training:
            axes = [axis for axis in range(x.dim()) if axis != 1]
            num_values = x.numel() // self.num_features
            if num_values == 1:
                raise ValueError(f"expected more than 1 value per channel when training, got {tuple(x.shape)}")
            mean = x.mean(axes)
            centred = x - _per_channel(mean, x)
            var = centred.square().mean(axes)
            self._track(mean.detach(), var.detach() * (num_values / (num_values - 1)))
        else:
            centred = x - _per_channel(self.running_mean, x)
            var = self.running_var

        x_hat = centred * _per_channel((var + self.eps).rsqrt(), x)
        if self.weight is None or self.bias is None:
            return x_hat
        return x_hat * _per_channel(self.weight, x) + _per_channel(self.bias, x)

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased_var: Tensor) -> None:
        self.num_batches_tracked += 1
        # A tensor, not .item(): on a GPU that would wait for the batch.
        momentum = self.num_batches_tracked.to(mean.dtype).reciprocal() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(unbiased_var, momentum)

    def extra_repr(self) -> str:
        """The options, as torch.nn prints them."""
        affine = self.weight is not None
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={affine}"


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """(C,) → (1, C, 1, …), to broadcast against x."""
    return values.view(1, -1, *[1] * (x.dim() - 2))
