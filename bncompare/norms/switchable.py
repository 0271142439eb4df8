"""Switchable normalization: a learned mixture of the statistics of other norms."""

from typing import TYPE_CHECKING, ClassVar, Literal

from bncompare.norms.base import Array, Shape
from bncompare.norms.running import TrackedNorm

if TYPE_CHECKING:
    from torch import nn


class SwitchableNorm(TrackedNorm):
    """Switchable normalization (Luo et al. 2019): the means, and the variances, that instance, layer and batch
    normalization take, each mixed by weights that are learned. After a dense layer, which has no positions, it is
    layer and batch normalization that are mixed. γ and β for each channel; the weights start equal.

    The paper evaluates with averages over batches after training; here they are running ones, as the authors' code
    can have it. The variances that are mixed are the biased ones of the paper's formulas (the authors' code has the
    unbiased one for an instance), and the running one is the unbiased one, as for batch normalization.
    """

    title: ClassVar = "SwitchableNorm"
    formula: ClassVar = "y = γ·(x − Σ w·mean)/√(Σ w'·var + eps) + β over instance, layer, batch; w, w' softmaxes"
    axes: ClassVar = "H, W; C, H, W; and N, H, W: those of instance, layer and batch normalization"

    kind: Literal["switchable"]
    """the norm"""

    def num_parameters(self, shape: Shape) -> int:
        """The weights of the means and of the variances too."""
        return super().num_parameters(shape) + 2 * len(self.mixed(len(shape) + 1))

    def mixed(self, ndim: int) -> dict[str, tuple[int, ...]]:
        """The norms that are mixed for inputs of so many axes, and what each takes its statistics over."""
        positions = tuple(range(2, ndim))
        over = {"instance": positions, "layer": (1, *positions), "batch": (0, *positions)}
        return over if positions else {"layer": (1,), "batch": (0,)}

    def statistics(self, x: Array) -> dict[str, Array]:
        """Mean and variance of each of those that are mixed."""
        over = self.mixed(x.ndim)
        means = {f"mean of {name}": x.mean(axes) for name, axes in over.items()}
        return means | {f"var of {name}": x.var(axes) for name, axes in over.items()}

    def reference(self, x: Array) -> Array:
        """With equal weights."""
        over = self.mixed(x.ndim).values()
        mean = sum(x.mean(axes, keepdims=True) for axes in over) / len(over)
        var = sum(x.var(axes, keepdims=True) for axes in over) / len(over)
        y: Array = (x - mean) / (var + self.eps) ** 0.5
        return y

    def build(self, shape: Shape) -> "nn.Module":
        """Ours."""
        from bncompare.norms import modules

        return modules.SwitchableNormNd(shape, self)
