"""Functions of one number in a norm's place: no statistics, but a squashing that is learned."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from bncompare.norms.base import Array, ScaleShiftNorm, Shape
from bncompare.options import Positive

if TYPE_CHECKING:
    from torch import Tensor, nn


class PointwiseNorm(ScaleShiftNorm):
    """y = γ·f(x) + β with γ and β for each channel; f has a few numbers that are learned for the whole layer."""

    axes: ClassVar = "none"

    def num_parameters(self, shape: Shape) -> int:
        """The numbers of f too."""
        return super().num_parameters(shape) + len(self.initial(shape[0]))

    def initial(self, num_channels: int) -> dict[str, float]:
        """The numbers of f as training begins, by name."""
        raise NotImplementedError

    def function(self, x: "Tensor", **learned: "Tensor") -> "Tensor":
        """f(x), element by element."""
        raise NotImplementedError

    def build(self, shape: Shape) -> "nn.Module":
        """A module whose f is this one's."""
        from bncompare.norms.modules import Pointwise

        return Pointwise(shape[0], self)


class ScaledPointwiseNorm(PointwiseNorm):
    """Those whose f is a squashing of α·x."""

    alpha: Positive = 0.5
    """initial α, one number for the whole layer"""

    def initial(self, num_channels: int) -> dict[str, float]:
        """α."""
        return {"alpha": self.alpha}


class DyT(ScaledPointwiseNorm):
    """Dynamic Tanh (Zhu et al. 2025)."""

    title: ClassVar = "DyT"
    formula: ClassVar = "y = γ·tanh(α·x) + β"

    kind: Literal["dyt"]
    """the norm"""

    def reference(self, x: Array) -> Array:
        """tanh(α·x)."""
        import numpy as np

        y: Array = np.tanh(self.alpha * x)
        return y

    def function(self, x: "Tensor", **learned: "Tensor") -> "Tensor":
        """tanh(α·x)."""
        return (learned["alpha"] * x).tanh()


class Derf(ScaledPointwiseNorm):
    """Dynamic erf (Chen et al. 2025): the error function of α·x + s; s, as α, is one number for the whole layer.

    That s starts at 0 is how we read the paper.
    """

    title: ClassVar = "Derf"
    formula: ClassVar = "y = γ·erf(α·x + s) + β"

    kind: Literal["derf"]
    """the norm"""

    def initial(self, num_channels: int) -> dict[str, float]:
        """α, and s = 0."""
        return {"alpha": self.alpha, "shift": 0.0}

    def reference(self, x: Array) -> Array:
        """erf(α·x)."""
        import numpy as np

        y: Array = np.vectorize(math.erf)(self.alpha * x)
        return y

    def function(self, x: "Tensor", **learned: "Tensor") -> "Tensor":
        """erf(α·x + s)."""
        return (learned["alpha"] * x + learned["shift"]).erf()


class HardTanh(ScaledPointwiseNorm):
    """α·x cut off at ±1: a control for DyT and Derf, of the same range without their smoothness."""

    title: ClassVar = "HardTanh"
    formula: ClassVar = "y = γ·min(max(α·x, −1), 1) + β"

    kind: Literal["hard_tanh"]
    """the norm"""

    def reference(self, x: Array) -> Array:
        """α·x within ±1."""
        return (self.alpha * x).clip(-1, 1)

    def function(self, x: "Tensor", **learned: "Tensor") -> "Tensor":
        """α·x within ±1."""
        return (learned["alpha"] * x).clamp(-1, 1)


class DyISRU(PointwiseNorm):
    """Dynamic inverse square root unit (Stollenwerk 2025): RMSNorm with one learned number, b, in the place of what
    the other C − 1 channels contribute to the mean square.

    The paper trains none: that b starts at C − 1, which it stands for where channels have variance 1, is our choice.
    A b that becomes negative makes the run diverge.
    """

    title: ClassVar = "DyISRU"
    formula: ClassVar = "y = γ·√C·x/√(b + x²) + β"

    kind: Literal["dyisru"]
    """the norm"""
    b: Positive | None = None
    """initial b, one number for the whole layer; null = C − 1 for C channels, 1 at least"""

    def initial(self, num_channels: int) -> dict[str, float]:
        """b."""
        return {"b": self.b or max(1.0, num_channels - 1.0)}

    def reference(self, x: Array) -> Array:
        """√C·x/√(b + x²)."""
        y: Array = x.shape[1] ** 0.5 * x / (self.initial(x.shape[1])["b"] + x**2) ** 0.5
        return y

    def function(self, x: "Tensor", **learned: "Tensor") -> "Tensor":
        """√C·x/√(b + x²)."""
        y: Tensor = x.shape[1] ** 0.5 * x * (learned["b"] + x.square()).rsqrt()
        return y
