"""The torch side of the norms that torch.nn has not."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bncompare.norms.base import RunningNorm
from bncompare.norms.from_scratch import BatchNormNd
from bncompare.randomness import StepRandomness


class ChosenBatchNorm(BatchNormNd):
    """A relative of batch normalization: shapes, parameters, statistics and their tracking as in `BatchNormNd`; the
    formula is that of the kind of norm, which holds the options."""

    def __init__(self, num_features: int, norm: RunningNorm) -> None:
        super().__init__(num_features, **norm.options)
        self.norm = norm
        if not norm.has_scale:
            self.weight = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, (N, C, …)."""
        return self.norm.forward(self, x)

    def _get_name(self) -> str:
        """What torch prints, in place of the class."""
        return type(self.norm).__name__


class RandomBatchNorm(StepRandomness, ChosenBatchNorm):
    """One that draws random numbers in training."""


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
