"""Whitening: the channels of a batch not only standardized, but decorrelated."""

from typing import TYPE_CHECKING, ClassVar, Literal

from bncompare.norms.base import Array, Shape
from bncompare.norms.running import TrackedNorm
from bncompare.options import PositiveInt

if TYPE_CHECKING:
    from torch import Tensor, nn


class WhiteningNorm(TrackedNorm):
    """Whitening of groups of channels over the batch; γ and β for each channel.

    In evaluation the running averages of the mean and of the whitening matrix take the place of the batch's. A group
    needs more values in a batch than it has channels: else `eps` alone keeps its covariance from being singular.
    """

    axes: ClassVar = "the batch and the positions of a group of channels: N, or N, H, W"

    group_size: PositiveInt = 16
    """channels whitened together, at most; those of a layer are cut into groups of nearly equal size"""

    def num_groups(self, num_channels: int) -> int:
        """⌈C / group_size⌉."""
        return -(-num_channels // self.group_size)

    def inverse_root(self, covariance: Array) -> Array:
        """What a group of centred channels, (c, m), is multiplied by, from its covariance, (c, c)."""
        raise NotImplementedError

    def inverse_square_root(self, covariance: "Tensor") -> "Tensor":
        """The same in torch, with its gradient."""
        raise NotImplementedError

    def statistics(self, x: Array) -> dict[str, Array]:
        """The mean of each channel, (C,), and the covariance of those of a group, (C, C): 0 between groups."""
        import numpy as np

        channels = x.swapaxes(0, 1).reshape(x.shape[1], -1)
        parts = np.array_split(np.arange(len(channels)), self.num_groups(len(channels)))
        group = np.repeat(range(len(parts)), [len(part) for part in parts])
        covariance = np.cov(channels, bias=True).reshape(len(channels), -1)
        return {"mean": channels.mean(1), "covariance": covariance * (group[:, None] == group)}

    def reference(self, x: Array) -> Array:
        """Σ^(−1/2)·(x − mean) of each group."""
        import numpy as np

        channels = x.swapaxes(0, 1).reshape(x.shape[1], -1)
        whitened = []
        for part in np.array_split(channels - channels.mean(1, keepdims=True), self.num_groups(len(channels))):
            covariance = part @ part.T / part.shape[1] + self.eps * np.eye(len(part))
            whitened.append(self.inverse_root(covariance) @ part)
        return np.concatenate(whitened).reshape(x.swapaxes(0, 1).shape).swapaxes(0, 1)

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.whitening_module import Whitening

        return Whitening(shape[0], self)


class ZCAWhitening(WhiteningNorm):
    """Decorrelated batch normalization (Huang et al. 2018): ZCA whitening, by the eigenvectors of the covariance."""

    title: ClassVar = "Whitening"
    formula: ClassVar = "y = γ·Σ^(−1/2)·(x − mean) + β, Σ = cov + eps·I"

    kind: Literal["whitening"]
    """the norm"""

    def inverse_root(self, covariance: Array) -> Array:
        """U·Λ^(−1/2)·Uᵀ."""
        import numpy as np

        values, vectors = np.linalg.eigh(covariance)
        root: Array = vectors @ np.diag(values**-0.5) @ vectors.T
        return root

    def inverse_square_root(self, covariance: "Tensor") -> "Tensor":
        """U·Λ^(−1/2)·Uᵀ."""
        from bncompare.norms.whitening_module import InverseSquareRoot

        root: Tensor = InverseSquareRoot.apply(covariance)[0]
        return root


class IterativeWhitening(WhiteningNorm):
    """Iterative normalization (Huang et al. 2019): Newton's iteration towards Σ^(−1/2), which a few steps leave
    short of it in the directions of little variance."""

    title: ClassVar = "Iterative Whitening"
    formula: ClassVar = "y = γ·P·(x − mean)/√tr(Σ) + β, P ← ½·(3P − P³·Σ/tr(Σ)) from I, `iterations` times"

    kind: Literal["iterative_whitening"]
    """the norm"""
    iterations: PositiveInt = 5
    """steps of Newton's method"""

    def inverse_root(self, covariance: Array) -> Array:
        """P/√tr(Σ)."""
        import numpy as np

        trace, root = np.trace(covariance), np.eye(len(covariance))
        for _ in range(self.iterations):
            root = (3 * root - np.linalg.matrix_power(root, 3) @ covariance / trace) / 2
        scaled: Array = root / trace**0.5
        return scaled

    def inverse_square_root(self, covariance: "Tensor") -> "Tensor":
        """P/√tr(Σ)."""
        import torch

        trace = covariance.trace()
        normalized = covariance / trace
        root = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        for _ in range(self.iterations):
            root = 1.5 * root - 0.5 * (root @ root @ root @ normalized)
        return root * trace.rsqrt()
