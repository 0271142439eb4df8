"""What norms over the batch have, which keep running averages."""

import math
from typing import TYPE_CHECKING, Any, ClassVar

from bncompare.norms.base import AffineNorm, Array, EvalStats, Momentum, Shape

if TYPE_CHECKING:
    from torch import Tensor, nn


class TrackedNorm(AffineNorm):
    """Norms over the batch, which evaluate with running averages."""

    momentum: Momentum = 0.1
    """weight of the newest batch in the running statistics; null = cumulative average"""

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """One value has no variance."""
        if batch_size * math.prod(shape[1:]) > 1:
            return None
        return (
            "has one value per channel: the batch is of one example (training.batch_size, data), whose variance is 0"
        )

    def axes_of(self, shape: Shape) -> Shape:
        """All but the channels."""
        return (0, *range(2, len(shape)))


class RunningNorm(TrackedNorm):
    """Relatives of batch normalization. A kind of one's own overrides `reference` and `forward`."""

    axes: ClassVar = "the batch and the positions of one channel: N, or N, H, W"

    @property
    def options(self) -> dict[str, Any]:
        """What the constructor of every module of the family takes."""
        return {"eps": self.eps, "momentum": self.momentum, "affine": self.affine}

    def moments(self, x: Array, ddof: int = 0) -> tuple[Array, Array]:
        """Mean and variance of a batch, each (C,), the variance over m − `ddof`."""
        return x.mean(self.axes_of(x.shape)), x.var(self.axes_of(x.shape), ddof=ddof)

    def build(self, shape: Shape) -> "nn.Module":
        """A module whose `forward` is this one's."""
        from bncompare.norms.modules import ChosenBatchNorm

        return self.chosen(ChosenBatchNorm(shape[0], self))

    def forward(self, module: Any, x: "Tensor") -> "Tensor":
        """Normalize x, (N, C, …), with the parameters and statistics of a `norms.from_scratch.BatchNormNd`."""
        from bncompare.norms.from_scratch import BatchNormNd

        return BatchNormNd.forward(module, x)


class BatchFamily(RunningNorm):
    """Norms with statistics over the batch."""

    eval_stats: EvalStats = "running"
    """statistics in evaluation: the running ones; those of the evaluation batch (nearly as large as in training); or
    exact ones of the training set, recomputed before each evaluation at the cost of a pass over it for each norm
    layer"""

    @property
    def available_statistics(self) -> list[EvalStats]:
        """All there are."""
        return ["running", "batch", "population"]

    @property
    def evaluated_with(self) -> EvalStats:
        """`eval_stats`, as far as it has them."""
        return self.eval_stats if self.eval_stats in self.available_statistics else "batch"


class TrackingBatchNorm(BatchFamily):
    """A batch norm whose running statistics can be left out."""

    track_running_stats: bool = True
    """keep running statistics; without, evaluation uses those of the evaluation batch"""

    @property
    def available_statistics(self) -> list[EvalStats]:
        """Without a place to keep some, the batch's."""
        return super().available_statistics if self.track_running_stats else ["batch"]

    @property
    def options(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().options, "track_running_stats": self.track_running_stats}

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """Exact statistics need a place to be kept."""
        if self.eval_stats == "population" and not self.track_running_stats:
            return "with eval_stats: population needs track_running_stats: true"
        return super().problem(shape, batch_size)
