"""The batch family: norms with statistics over the batch."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bncompare.norms.base import AffineNorm, BatchFamily, EvalStats, Momentum, Shape, TrackingBatchNorm, one_value
from bncompare.options import MAX_COUNT, MAX_NUMBER, Count, NonNegative, PositiveInt

if TYPE_CHECKING:
    from torch import nn


class BatchNorm(TrackingBatchNorm):
    """Batch normalization (Ioffe & Szegedy 2015), torch.nn's."""

    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"

    kind: Literal["batch"]
    """the norm"""

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.BatchNorm1d, 2d or 3d."""
        from torch import nn

        module = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}[len(shape)]
        return module(shape[0], **self.options)


class BatchNormFromScratch(TrackingBatchNorm):
    """Batch normalization with its formula written out, to be read (norms/from_scratch.py)."""

    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"

    kind: Literal["batch_from_scratch"]
    """the norm"""

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.from_scratch import BatchNorm

        return BatchNorm(shape[0], **self.options)


class GhostBatchNorm(BatchFamily):
    """Batch normalization over virtual batches, smaller than the optimizer's (Hoffer et al. 2017)."""

    formula: ClassVar = "batch normalization of each virtual batch"
    axes: ClassVar = "a virtual batch and the positions of one channel"

    kind: Literal["ghost_batch"]
    """the norm"""
    virtual_batch_size: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 16
    """examples in a virtual batch, at least; a batch is cut into as many as it has room for, of nearly equal size"""

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.modules import GhostBatchNorm

        return GhostBatchNorm(shape[0], self.virtual_batch_size, **self.options)


class BatchRenorm(BatchFamily):
    """Batch renormalization (Ioffe 2017): corrected towards the running statistics; r, d constant to the gradient."""

    formula: ClassVar = (
        "y = γ·((x − mean)/σ·r + d) + β, r = σ/σ_run in [1/rmax, rmax], d = (mean − mean_run)/σ_run in ±dmax"
    )

    kind: Literal["batch_renorm"]
    """the norm"""
    rmax: Annotated[float, Field(ge=1, le=MAX_NUMBER)] = 3.0
    """final limit of r"""
    dmax: NonNegative = 5.0
    """final limit of d"""
    start: Count = 5_000
    """steps of plain batch normalization (r = 1, d = 0) before the limits grow"""
    rmax_end: PositiveInt = 40_000
    """step at which rmax is reached"""
    dmax_end: PositiveInt = 25_000
    """step at which dmax is reached"""

    def doubts(self, total_steps: int) -> Iterator[tuple[str, str]]:
        """Limits that do not grow."""
        if self.start >= total_steps:
            message = f"{self.start} is not before the end, step {total_steps}: this is plain batch normalization"
            yield "start", message
            return
        for name, end in {"rmax_end": self.rmax_end, "dmax_end": self.dmax_end}.items():
            if end < self.start:
                written = name in self.model_fields_set
                relation = (
                    f"{end} is before start, {self.start}" if written else f"{self.start} is after {name}, {end}"
                )
                yield name if written else "start", f"{relation}: the limit jumps instead of growing"

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.modules import BatchRenorm

        schedule = {name: getattr(self, name) for name in ("rmax", "dmax", "start", "rmax_end", "dmax_end")}
        return BatchRenorm(shape[0], **schedule, **self.options)


class NoisyBatchNorm(BatchFamily):
    """Batch normalization followed by noise that shifts at every step (Santurkar et al. 2018)."""

    formula: ClassVar = "y = s·batch(x) + m, m ~ U(μ ± spread_mean), s ~ N(σ, spread_std); μ, σ per channel and step"

    kind: Literal["noisy_batch"]
    """the norm"""
    noise_mean: NonNegative = 0.5
    """μ ~ U(−noise_mean, noise_mean), per channel and step"""
    noise_std: Annotated[float, Field(ge=1, le=MAX_NUMBER)] = 1.25
    """σ ~ U(1, noise_std), per channel and step"""
    spread_mean: NonNegative = 0.1
    """m ~ U(μ − spread_mean, μ + spread_mean), per element"""
    spread_std: NonNegative = 0.1
    """s ~ N(σ, spread_std), per element"""

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.modules import NoisyBatchNorm

        noise = {name: getattr(self, name) for name in ("noise_mean", "noise_std", "spread_mean", "spread_std")}
        return NoisyBatchNorm(shape[0], **noise, **self.options)


class MeanOnlyBatchNorm(BatchFamily):
    """Subtracts the batch mean and divides by nothing (Salimans & Kingma 2016); `affine` learns β alone."""

    formula: ClassVar = "y = x − mean + β"

    kind: Literal["mean_only_batch"]
    """the norm"""

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.modules import MeanOnlyBatchNorm

        return MeanOnlyBatchNorm(shape[0], **self.options)


class VarianceOnlyBatchNorm(BatchFamily):
    """Divides by the batch standard deviation and subtracts nothing."""

    formula: ClassVar = "y = γ·x/√(var + eps) + β"

    kind: Literal["variance_only_batch"]
    """the norm"""

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.modules import VarianceOnlyBatchNorm

        return VarianceOnlyBatchNorm(shape[0], **self.options)


class LpBatchNorm(BatchFamily):
    """The p-th absolute moment of the centred batch in place of its variance (Santurkar et al. 2018, ℓp)."""

    formula: ClassVar = "y = γ·(x − mean)/(mean|x − mean|^p + eps)^(1/p) + β; inf: the largest |x − mean|"

    kind: Literal["lp_batch"]
    """the norm"""
    p: Literal[1, 2, "inf"] = 1
    """1, 2 (batch normalization itself), or inf"""

    @property
    def available_statistics(self) -> list[EvalStats]:
        """Exact ones are computed for means and variances."""
        return super().available_statistics if self.p == 2 else ["running", "batch"]

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """See `available_statistics`."""
        if self.eval_stats == "population" and self.p != 2:
            return f"with p: {self.p} has no eval_stats: population"
        return super().problem(shape, batch_size)

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.modules import LpBatchNorm

        return LpBatchNorm(shape[0], math.inf if self.p == "inf" else float(self.p), **self.options)


class PopulationBatchNorm(AffineNorm):
    """Normalizes by the running statistics in training too, as constants; the batch only moves them."""

    formula: ClassVar = "y = γ·(x − mean_run)/√(var_run + eps) + β"
    axes: ClassVar = "all batches so far and the positions of one channel"

    kind: Literal["population_batch"]
    """the norm"""
    momentum: Momentum = 0.1
    """weight of the newest batch in the running statistics; null = cumulative average"""

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """One value has no variance."""
        return one_value(shape, batch_size)

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.modules import PopulationBatchNorm

        return PopulationBatchNorm(shape[0], eps=self.eps, momentum=self.momentum, affine=self.affine)
