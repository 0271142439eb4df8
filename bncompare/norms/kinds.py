"""The kinds of norm: one class each, with its options, its formula, and how to build it.

Importing this imports no torch, so that configs are checked without it; `build` does. To add a norm, write a class
with a `kind`, `formula`, `axes` and `build`, and list it in `NORMS` (in this package) or pass it to `register_norm`
(in yours).
"""

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from bncompare.config.section import (
    MAX_COUNT,
    MAX_NUMBER,
    MAX_WIDTH,
    Count,
    NonNegative,
    Positive,
    PositiveInt,
    Section,
    must_be,
)

if TYPE_CHECKING:
    from torch import nn

# The shape of one example where the norm is: (C,) after a dense layer, (C, H, W) after a convolution; (C, L) and
# (C, D, H, W) are for `bncompare explain`.
Shape = tuple[int, ...]
ONE_VALUE = "has one value per channel: the batch is of one example (training.batch_size, data), whose variance is 0"
Eps = Positive
Momentum = Annotated[float, Field(ge=0, le=1)] | None
Layers = Annotated[Literal["all", "conv", "dense"] | list[str], must_be("all, conv, dense, or a list of layer names")]


class NoNorm(Section):
    """No normalization."""

    formula: ClassVar = "y = x"
    axes: ClassVar = "none"

    kind: Literal["none"]
    """the norm"""


class Norm(Section):
    """What every norm has: the layers it is in."""

    formula: ClassVar[str]
    """in one line"""
    axes: ClassVar[str]
    """over which its statistics are taken"""

    kind: str
    """the norm"""
    layers: Layers = "all"
    """which hidden layers have one: all, conv, dense, or a list of names such as [hidden.0]"""
    on_output: bool = False
    """whether the output layer has one too"""

    @property
    def has_shift(self) -> bool:
        """Whether it adds a β of its own, which makes a bias before it superfluous."""
        return False

    @property
    def has_parameters(self) -> bool:
        """Whether it learns a γ or β."""
        return self.has_shift

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """Why it can't be in a place with this shape of an example and this many examples in a batch."""
        return None

    def build(self, shape: Shape) -> "nn.Module":
        """The module, for inputs (N, *shape)."""
        raise NotImplementedError


class WeightParametrization(Norm):
    """A norm of a layer's weight: it has no place of its own among the layers."""

    def parametrize(self, layer: "nn.Module") -> None:
        """Replace the layer's `weight` by a function of other parameters that starts with the same value."""
        raise NotImplementedError


class ActivationNorm(Norm):
    """A norm of what leaves a layer."""

    placement: Literal["before", "after"] = "before"
    """before or after the activation"""


class AffineNorm(ActivationNorm):
    """A norm with γ and β."""

    eps: Eps = 1e-5
    """added to the variance"""
    affine: bool = True
    """learn a scale γ and a shift β"""

    @property
    def has_shift(self) -> bool:
        """Whether it adds a β of its own."""
        return self.affine


class LayerNorm(AffineNorm):
    """Layer normalization (Ba et al. 2016); γ and β for each unit."""

    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"
    axes: ClassVar = "all units of one example: C, or C, H, W"

    kind: Literal["layer"]
    """the norm"""

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.LayerNorm over all of `shape`."""
        from torch import nn

        return nn.LayerNorm(shape, self.eps, self.affine)


class RMSNorm(ActivationNorm):
    """Root mean square normalization (Zhang & Sennrich 2019); γ for each unit, no centring, no β."""

    formula: ClassVar = "y = γ·x/√(mean(x²) + eps)"
    axes: ClassVar = "all units of one example: C, or C, H, W"

    kind: Literal["rms"]
    """the norm"""
    eps: Eps = 1e-5
    """added to the mean square"""
    affine: bool = True
    """learn a scale γ"""

    @property
    def has_parameters(self) -> bool:
        """γ, but no β."""
        return self.affine

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.RMSNorm over all of `shape`."""
        from torch import nn

        return nn.RMSNorm(shape, self.eps, self.affine)


class InstanceNorm(AffineNorm):
    """Instance normalization (Ulyanov et al. 2016); γ and β for each channel."""

    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"
    axes: ClassVar = "the positions of one channel of one example: H, W"

    kind: Literal["instance"]
    """the norm"""

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """One value has no variance."""
        if math.prod(shape[1:]) > 1:
            return None
        return "has one value per channel, so its output would be constant; use layers: conv (lenet), or another kind"

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.InstanceNorm1d, 2d or 3d."""
        from torch import nn

        module = {2: nn.InstanceNorm1d, 3: nn.InstanceNorm2d, 4: nn.InstanceNorm3d}[len(shape)]
        return module(shape[0], self.eps, affine=self.affine)


class GroupNorm(AffineNorm):
    """Group normalization (Wu & He 2018); γ and β for each channel."""

    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"
    axes: ClassVar = "a group of channels of one example, and its positions"

    kind: Literal["group"]
    """the norm"""
    groups: PositiveInt | None = None
    """number of groups; 2 where channels_per_group is not given either"""
    channels_per_group: PositiveInt | None = None
    """channels in a group, instead of the number of groups"""

    @model_validator(mode="before")
    @classmethod
    def _default_groups(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("groups") is None and value.get("channels_per_group") is None:
            return {**value, "groups": 2}
        return value

    def num_groups(self, num_channels: int) -> int:
        """Groups for a layer of `num_channels`."""
        return self.groups or num_channels // (self.channels_per_group or 1)

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """Groups are of equal size, and of more than one value."""
        if self.groups and self.channels_per_group:
            return "has groups and channels_per_group: give one of them"
        key, number = ("groups", self.groups) if self.groups else ("channels_per_group", self.channels_per_group)
        if shape[0] % (number or 1):
            return f"has {key}: {number}, which does not divide its {shape[0]} channels"
        if math.prod(shape) == self.num_groups(shape[0]):
            return f"has {key}: {number}, which makes groups of one value, so its output would be constant"
        return None

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.GroupNorm."""
        from torch import nn

        return nn.GroupNorm(self.num_groups(shape[0]), shape[0], self.eps, self.affine)


class LocalResponseNorm(ActivationNorm):
    """Local response normalization (Krizhevsky et al. 2012) across neighbouring channels; nothing is learned."""

    formula: ClassVar = "y = x/(k + alpha·mean(x²))^beta"
    axes: ClassVar = "`size` neighbouring channels at one position of one example"

    kind: Literal["local_response"]
    """the norm"""
    size: Annotated[int, Field(ge=1, le=2 * MAX_WIDTH - 1)] = 5
    """neighbouring channels"""
    alpha: NonNegative = 1e-4
    """weight of the mean square"""
    beta: Positive = 0.75
    """exponent"""
    k: Positive = 1.0
    """added to the weighted mean square"""

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.LocalResponseNorm, for dense layers too."""
        from bncompare.norms.variants import LocalResponseNorm

        return LocalResponseNorm(self.size, self.alpha, self.beta, self.k)


class WeightNorm(WeightParametrization):
    """Weight normalization (Salimans & Kingma 2016): the weight's length and direction are learned apart."""

    formula: ClassVar = "W = g·V/‖V‖"
    axes: ClassVar = "the incoming weights of one unit"

    kind: Literal["weight"]
    """the norm"""

    def parametrize(self, layer: "nn.Module") -> None:
        """torch.nn.utils.parametrizations.weight_norm."""
        from torch.nn.utils.parametrizations import weight_norm

        weight_norm(layer)


class SpectralNorm(WeightParametrization):
    """Spectral normalization (Miyato et al. 2018): the weight divided by its largest singular value."""

    formula: ClassVar = "W = V/σ(V)"
    axes: ClassVar = "the whole weight matrix"

    kind: Literal["spectral"]
    """the norm"""
    n_power_iterations: Annotated[int, Field(ge=1, le=1000)] = 1
    """power iterations a training step, to estimate the singular value"""

    def parametrize(self, layer: "nn.Module") -> None:
        """torch.nn.utils.parametrizations.spectral_norm."""
        from torch.nn.utils.parametrizations import spectral_norm

        spectral_norm(layer, n_power_iterations=self.n_power_iterations)


# ---------------------------------------------------------------- the batch family

EvalStats = Literal["running", "batch", "population"]


def _one_value(shape: Shape, batch_size: int) -> str | None:
    return None if batch_size * math.prod(shape[1:]) > 1 else ONE_VALUE


class BatchFamily(AffineNorm):
    """Norms with statistics over the batch."""

    axes: ClassVar = "the batch and the positions of one channel: N, or N, H, W"

    momentum: Momentum = 0.1
    """weight of the newest batch in the running statistics; null = cumulative average"""
    eval_stats: EvalStats = "running"
    """statistics in evaluation: the running ones; those of the evaluation batch (nearly as large as in training); or
    exact ones of the training set, recomputed before each evaluation at the cost of a pass over it for each norm
    layer"""

    @property
    def available_statistics(self) -> list[EvalStats]:
        """Those that it can be evaluated with."""
        return ["running", "batch", "population"]

    @property
    def evaluated_with(self) -> EvalStats:
        """`eval_stats`, as far as it has them."""
        return self.eval_stats if self.eval_stats in self.available_statistics else "batch"

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """One value has no variance."""
        return _one_value(shape, batch_size)

    @property
    def options(self) -> dict[str, Any]:
        """What the constructor of every module of the family takes."""
        return {"eps": self.eps, "momentum": self.momentum, "affine": self.affine}


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
        from bncompare.norms.variants import GhostBatchNorm

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

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.variants import BatchRenorm

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
        from bncompare.norms.variants import NoisyBatchNorm

        noise = {name: getattr(self, name) for name in ("noise_mean", "noise_std", "spread_mean", "spread_std")}
        return NoisyBatchNorm(shape[0], **noise, **self.options)


class MeanOnlyBatchNorm(BatchFamily):
    """Subtracts the batch mean and divides by nothing (Salimans & Kingma 2016); `affine` learns β alone."""

    formula: ClassVar = "y = x − mean + β"

    kind: Literal["mean_only_batch"]
    """the norm"""

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.variants import MeanOnlyBatchNorm

        return MeanOnlyBatchNorm(shape[0], **self.options)


class VarianceOnlyBatchNorm(BatchFamily):
    """Divides by the batch standard deviation and subtracts nothing."""

    formula: ClassVar = "y = γ·x/√(var + eps) + β"

    kind: Literal["variance_only_batch"]
    """the norm"""

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.variants import VarianceOnlyBatchNorm

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
        from bncompare.norms.variants import LpBatchNorm

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
        return _one_value(shape, batch_size)

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.variants import PopulationBatchNorm

        return PopulationBatchNorm(shape[0], eps=self.eps, momentum=self.momentum, affine=self.affine)


NORMS: dict[str, type[NoNorm] | type[Norm]] = {}


def register_norm(norm: type[NoNorm] | type[Norm]) -> None:
    """Make a kind of norm known, so that configs may name it; raises ValueError if the kind is taken.

    For norms of your own: import the module that calls this, then use bncompare from Python. A config never names
    code to import.
    """
    (kind,) = get_args(norm.model_fields["kind"].annotation)
    if kind in NORMS:
        raise ValueError(f"there is a norm {kind!r} already: {NORMS[kind].__name__}")
    NORMS[kind] = norm


for _norm in (
    *(NoNorm, BatchNorm, BatchNormFromScratch, LayerNorm, GroupNorm, InstanceNorm, RMSNorm, LocalResponseNorm),
    *(WeightNorm, SpectralNorm, GhostBatchNorm, BatchRenorm, NoisyBatchNorm, MeanOnlyBatchNorm),
    *(VarianceOnlyBatchNorm, LpBatchNorm, PopulationBatchNorm),
):
    register_norm(_norm)
