"""The torch side of whitening."""

from typing import Any

import torch
from torch import Tensor

from bncompare.norms.modules import Tracking
from bncompare.norms.whitening import WhiteningNorm


class Whitening(Tracking[WhiteningNorm]):
    """Whitening of (N, C, …), each group of channels by itself; how Σ^(−1/2) is found is the kind's."""

    running_mean: Tensor
    running_whitening: Tensor

    def __init__(self, num_features: int, norm: WhiteningNorm) -> None:
        identity = torch.eye(num_features)  # of all groups, block by block
        super().__init__(num_features, norm, mean=torch.zeros(num_features), whitening=identity)

    def forward(self, x: Tensor) -> Tensor:
        """Σ^(−1/2)·(x − mean), scaled and shifted."""
        channels = x.transpose(0, 1).flatten(1)  # (C, m)
        if self.training:
            mean = channels.mean(1)
            whitening = self._whitening(channels - mean.unsqueeze(1))
            self.track(mean=mean.detach(), whitening=whitening.detach())
        else:
            mean, whitening = self.running_mean, self.running_whitening
        y = (whitening @ (channels - mean.unsqueeze(1))).view_as(x.transpose(0, 1)).transpose(0, 1)
        return self.scale_and_shift(y)

    def _whitening(self, centred: Tensor) -> Tensor:
        """Of centred channels, (C, m), the matrix (C, C) that whitens each group."""
        if centred.shape[1] == 1:
            raise ValueError("expected more than 1 value per channel when training")
        roots = []
        for part in centred.tensor_split(self.norm.num_groups(len(centred))):
            identity = torch.eye(len(part), dtype=part.dtype, device=part.device)
            roots.append(self.norm.inverse_square_root(part @ part.T / part.shape[1] + self.norm.eps * identity))
        blocks: Tensor = torch.block_diag(*roots)  # type: ignore[no-untyped-call]
        return blocks


class InverseSquareRoot(torch.autograd.Function):
    """A^(−1/2) of a symmetric positive definite A, (c, c).

    The gradient of eigenvectors is infinite where two eigenvalues are equal; that of A^(−1/2) is not. With
    s = √λ, (1/s_i − 1/s_j)/(λ_i − λ_j) is −1/(s_i·s_j·(s_i + s_j)), which has no difference in it
    (Daleckii & Krein 1965).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return (vectors * values.rsqrt()) @ vectors.T, values, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
        _, values, vectors = output
        ctx.mark_non_differentiable(values, vectors)
        ctx.save_for_backward(values, vectors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        roots = values.sqrt()
        factors = -1 / (roots * roots.unsqueeze(1) * (roots + roots.unsqueeze(1)))
        symmetric = (gradients[0] + gradients[0].T) / 2
        gradient: Tensor = vectors @ (factors * (vectors.T @ symmetric @ vectors)) @ vectors.T
        return gradient
