"""The batch family: norms with statistics over the batch. One class each: options, formula, reference."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bncompare.norms.base import Array, EvalStats, Shape
from bncompare.norms.running import BatchFamily, RunningNorm, TrackingBatchNorm
from bncompare.options import MAX_COUNT, MAX_NUMBER, Count, NonNegative, PositiveInt

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bncompare.norms.from_scratch import BatchNormNd
    from bncompare.norms.modules import RandomBatchNorm


class BatchNorm(TrackingBatchNorm):
    """Batch normalization (Ioffe & Szegedy 2015), torch.nn's."""

    title: ClassVar = "BatchNorm"
    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"

    kind: Literal["batch"]
    """the norm"""

    def module_name(self, shape: Shape) -> str:
        """By the number of positions' axes; (N, C) are one position."""
        return f"BatchNorm{max(len(shape) - 1, 1)}d"

    def build(self, shape: Shape) -> "nn.Module":
        """torch.nn.BatchNorm1d, 2d or 3d."""
        from torch import nn

        module: nn.Module = getattr(nn, self.module_name(shape))(shape[0], **self.options)
        return self.chosen(module)


class BatchNormFromScratch(TrackingBatchNorm):
    """Batch normalization with its formula written out, to be read (norms/from_scratch.py)."""

    title: ClassVar = "BatchNorm (from scratch)"
    formula: ClassVar = "y = γ·(x − mean)/√(var + eps) + β"

    kind: Literal["batch_from_scratch"]
    """the norm"""

    def module_name(self, shape: Shape) -> str:
        """One for every shape."""
        return "BatchNormNd"

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms.from_scratch import BatchNormNd

        return self.chosen(BatchNormNd(shape[0], **self.options))


class GhostBatchNorm(BatchFamily):
    """Batch normalization over virtual batches, smaller than the optimizer's (Hoffer et al. 2017)."""

    title: ClassVar = "Ghost BatchNorm({norm.virtual_batch_size})"
    in_title: ClassVar = ("virtual_batch_size",)
    formula: ClassVar = "batch normalization of each virtual batch"
    axes: ClassVar = "a virtual batch and the positions of one channel"
    tested_with: ClassVar = {"virtual_batch_size": 4}

    kind: Literal["ghost_batch"]
    """the norm"""
    virtual_batch_size: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 16
    """examples in a virtual batch, at least; a batch is cut into as many as it has room for, of nearly equal size"""

    def num_batches(self, batch_size: int) -> int:
        """⌊N / virtual_batch_size⌋, one at least."""
        return max(1, batch_size // self.virtual_batch_size)

    def batches(self, x: Array) -> list[Array]:
        """The virtual ones."""
        import numpy as np

        return np.array_split(x, self.num_batches(len(x)))

    def statistics(self, x: Array) -> dict[str, Array]:
        """Mean and variance, each (virtual batches, C)."""
        import numpy as np

        of_each = [self.moments(part) for part in self.batches(x)]
        return {"mean": np.stack([mean for mean, _ in of_each]), "var": np.stack([var for _, var in of_each])}

    def reference(self, x: Array) -> Array:
        """That of batch normalization, for each virtual batch."""
        import numpy as np

        return np.concatenate([super(GhostBatchNorm, self).reference(part) for part in self.batches(x)])

    def forward(self, module: "BatchNormNd", x: "Tensor") -> "Tensor":
        """Each virtual batch is normalized with, and tracked by, its own statistics."""
        import torch

        from bncompare.norms.from_scratch import batch_statistics, per_channel

        if not module.training:
            return super().forward(module, x)
        number = self.num_batches(len(x))
        if len(x) % number:
            return torch.cat([super(GhostBatchNorm, self).forward(module, part) for part in x.tensor_split(number)])
        # Of equal size, as channels of their own: (N, C, …) → (N/number, number·C, …), all in one go.
        parts = x.reshape(number, -1, *x.shape[1:]).transpose(0, 1).flatten(1, 2)
        mean, var = batch_statistics(parts)
        if module.track_running_stats:
            num_values = parts.numel() // parts.shape[1]
            unbiased = var.detach() * (num_values / (num_values - 1))
            for part in zip(mean.detach().chunk(number), unbiased.chunk(number), strict=True):
                module.track(*part)
        x_hat = (parts - per_channel(mean, parts)) * per_channel((var + self.eps).rsqrt(), parts)
        x_hat = x_hat.view(len(parts), number, *x.shape[1:]).transpose(0, 1).flatten(0, 1)
        return module.scale_and_shift(x_hat)


class BatchRenorm(BatchFamily):
    """Batch renormalization (Ioffe 2017): corrected towards the running statistics; r, d constant to the gradient."""

    title: ClassVar = "Batch Renorm"
    formula: ClassVar = (
        "y = γ·((x − mean)/σ·r + d) + β, r = σ/σ_run in [1/rmax, rmax], d = (mean − mean_run)/σ_run in ±dmax"
    )
    tested_with: ClassVar = {"start": 0, "rmax_end": 1, "dmax_end": 1, "rmax": 1.5, "dmax": 0.25}

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

    def limits(self, step: Any) -> tuple[Any, Any]:
        """rmax and dmax after `step` batches: they grow linearly, from 1 and 0, between `start` and their ends.

        Of a tensor they are tensors, so that a GPU is not waited for.
        """

        def progress(end: int) -> Any:
            grown = (step < end) * (step - self.start) / max(end - self.start, 1) + (step >= end)
            return grown * (step >= self.start)

        return 1 + (self.rmax - 1) * progress(self.rmax_end), self.dmax * progress(self.dmax_end)

    def reference(self, x: Array) -> Array:
        """The running mean and variance start as 0 and 1; the limits are those of step 0."""
        mean, var = (values.reshape(1, -1, *[1] * (x.ndim - 2)) for values in self.moments(x))
        (rmax, dmax), std, running_std = self.limits(0), (var + self.eps) ** 0.5, (1 + self.eps) ** 0.5
        y: Array = (x - mean) / std * (std / running_std).clip(1 / rmax, rmax) + (mean / running_std).clip(
            -dmax, dmax
        )
        return y

    def forward(self, module: "BatchNormNd", x: "Tensor") -> "Tensor":
        """The running statistics in r and d are those before the batch."""
        import torch

        from bncompare.norms.from_scratch import per_channel

        if not module.training or not module.track_running_stats:  # without tracking, a batch is only measured
            return super().forward(module, x)
        assert module.running_mean is not None
        assert module.running_var is not None
        assert module.num_batches_tracked is not None
        precise = torch.float32 if x.device.type == "mps" else torch.float64  # MPS has no float64
        rmax, dmax = self.limits(module.num_batches_tracked.to(precise))
        rmin, rmax, dmax = (limit.to(x.dtype) for limit in (1 / rmax, rmax, dmax))
        running_mean, running_std = module.running_mean.clone(), (module.running_var + self.eps).sqrt()
        mean, var = module.statistics(x)
        std = (var + self.eps).sqrt()
        r = (std.detach() / running_std).clamp(rmin, rmax)
        d = ((mean.detach() - running_mean) / running_std).clamp(-dmax, dmax)
        x_hat = (x - per_channel(mean, x)) * per_channel(r / std, x) + per_channel(d, x)
        return module.scale_and_shift(x_hat)


class NoisyBatchNorm(BatchFamily):
    """Batch normalization followed by noise that shifts at every step (Santurkar et al. 2018)."""

    title: ClassVar = "BatchNorm (noisy)"
    formula: ClassVar = "y = s·batch(x) + m, m ~ U(μ ± spread_mean), s ~ N(σ, spread_std); μ, σ per channel and step"
    tested_with: ClassVar = {"noise_mean": 0.0, "noise_std": 1.0, "spread_mean": 0.0, "spread_std": 0.0}

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
        """Ours; call its `reseed` before each forward pass in training."""
        from bncompare.norms.modules import RandomBatchNorm

        return self.chosen(RandomBatchNorm(shape[0], self))

    def forward(self, module: "RandomBatchNorm", x: "Tensor") -> "Tensor":
        """The noise is a function of the seed, the layer and the step."""
        import torch

        from bncompare.norms.from_scratch import per_channel

        y = super().forward(module, x)
        if not module.training or not module.track_running_stats:  # without tracking, a batch is only measured
            return y
        random = module.generator

        def uniform(like: "Tensor") -> "Tensor":
            return torch.rand(like.shape, generator=random, dtype=like.dtype, device=like.device)

        channel = y.new_empty(module.num_features)
        mean = (2 * uniform(channel) - 1) * self.noise_mean
        std = 1 + uniform(channel) * (self.noise_std - 1)
        shift = per_channel(mean, y) + (2 * uniform(y) - 1) * self.spread_mean
        normal = torch.randn(y.shape, generator=random, dtype=y.dtype, device=y.device)
        return y * (per_channel(std, y) + self.spread_std * normal) + shift


class MeanOnlyBatchNorm(BatchFamily):
    """Subtracts the batch mean and divides by nothing (Salimans & Kingma 2016); `affine` learns β alone."""

    title: ClassVar = "BatchNorm (mean only)"
    formula: ClassVar = "y = x − mean + β"

    kind: Literal["mean_only_batch"]
    """the norm"""

    @property
    def has_scale(self) -> bool:
        """No γ."""
        return False

    def reference(self, x: Array) -> Array:
        """x − mean."""
        y: Array = x - x.mean(self.axes_of(x.shape), keepdims=True)
        return y

    def forward(self, module: "BatchNormNd", x: "Tensor") -> "Tensor":
        """The variance is tracked all the same."""
        from bncompare.norms.from_scratch import per_channel

        mean, _ = module.statistics(x)
        centred = x - per_channel(mean, x)
        return centred if module.bias is None else centred + per_channel(module.bias, x)


class VarianceOnlyBatchNorm(BatchFamily):
    """Divides by the batch standard deviation and subtracts nothing."""

    title: ClassVar = "BatchNorm (variance only)"
    formula: ClassVar = "y = γ·x/√(var + eps) + β"

    kind: Literal["variance_only_batch"]
    """the norm"""

    def reference(self, x: Array) -> Array:
        """x/√(var + eps)."""
        y: Array = x / (x.var(self.axes_of(x.shape), keepdims=True) + self.eps) ** 0.5
        return y

    def forward(self, module: "BatchNormNd", x: "Tensor") -> "Tensor":
        """The mean is tracked all the same."""
        from bncompare.norms.from_scratch import per_channel

        _, var = module.statistics(x)
        return module.scale_and_shift(x * per_channel((var + self.eps).rsqrt(), x))


class LpBatchNorm(BatchFamily):
    """The p-th absolute moment of the centred batch in place of its variance (Santurkar et al. 2018, ℓp)."""

    title: ClassVar = "L{norm.order} BatchNorm"
    in_title: ClassVar = ("p",)
    formula: ClassVar = "y = γ·(x − mean)/(mean|x − mean|^p + eps)^(1/p) + β; inf: the largest |x − mean|"

    kind: Literal["lp_batch"]
    """the norm"""
    p: Literal[1, 2, "inf"] = 1
    """1, 2 (batch normalization itself), or inf"""

    @property
    def order(self) -> str:
        """p, as the title says it."""
        return "∞" if self.p == "inf" else str(self.p)

    @property
    def available_statistics(self) -> list[EvalStats]:
        """Exact ones are computed for means and variances."""
        return super().available_statistics if self.p == 2 else ["running", "batch"]

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """See `available_statistics`."""
        if self.eval_stats == "population" and self.p != 2:
            return f"with p: {self.p} has no eval_stats: population"
        return super().problem(shape, batch_size)

    def moments(self, x: Array, ddof: int = 0) -> tuple[Array, Array]:
        """The moment has no unbiased form but for p = 2."""
        if self.p == 2:
            return super().moments(x, ddof)
        values = x.swapaxes(0, 1).reshape(x.shape[1], -1)
        distance = abs(values - values.mean(1, keepdims=True))
        return values.mean(1), distance.max(1) if self.p == "inf" else (distance**self.p).mean(1)

    def statistics(self, x: Array) -> dict[str, Array]:
        """Mean and moment, each (C,)."""
        mean, moment = self.moments(x)
        return {"mean": mean, "moment": moment}

    def reference(self, x: Array) -> Array:
        """(x − mean)/(moment + eps)^(1/p)."""
        mean, moment = (values.reshape(1, -1, *[1] * (x.ndim - 2)) for values in self.moments(x))
        y: Array = (x - mean) / (moment + self.eps) ** (1 if self.p == "inf" else 1 / self.p)
        return y

    def forward(self, module: "BatchNormNd", x: "Tensor") -> "Tensor":
        """`running_var` holds the running moment."""
        from bncompare.norms.from_scratch import per_channel

        mean, moment = module.statistics(x) if self.p == 2 else self._statistics(module, x)
        size = moment + self.eps if self.p == "inf" else (moment + self.eps) ** (1 / self.p)
        return module.scale_and_shift((x - per_channel(mean, x)) / per_channel(size, x))

    def _statistics(self, module: "BatchNormNd", x: "Tensor") -> "tuple[Tensor, Tensor]":
        from bncompare.norms.from_scratch import per_channel

        if not module.training and module.running_mean is not None and module.running_var is not None:
            return module.running_mean, module.running_var
        axes = self.axes_of(tuple(x.shape))
        if x.numel() // x.shape[1] == 1:
            raise ValueError(f"expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
        mean = x.mean(axes)
        distance = (x - per_channel(mean, x)).abs()
        moment = distance.amax(axes) if self.p == "inf" else distance.pow(float(self.p)).mean(axes)
        if module.training and module.track_running_stats:
            module.track(mean.detach(), moment.detach())
        return mean, moment


class PopulationBatchNorm(RunningNorm):
    """Normalizes by the running statistics in training too, as constants; the batch only moves them."""

    title: ClassVar = "BatchNorm (population statistics)"
    formula: ClassVar = "y = γ·(x − mean_run)/√(var_run + eps) + β"
    axes: ClassVar = "all batches so far and the positions of one channel"

    kind: Literal["population_batch"]
    """the norm"""

    def reference(self, x: Array) -> Array:
        """The running mean and variance start as 0 and 1."""
        y: Array = x / (1 + self.eps) ** 0.5
        return y

    def forward(self, module: "BatchNormNd", x: "Tensor") -> "Tensor":
        """With the running statistics as they were before the batch."""
        from bncompare.norms.from_scratch import per_channel

        assert module.running_mean is not None
        assert module.running_var is not None
        mean, std = module.running_mean.clone(), (module.running_var + self.eps).sqrt()
        if module.training:
            module.statistics(x.detach())
        return module.scale_and_shift((x - per_channel(mean, x)) / per_channel(std, x))
