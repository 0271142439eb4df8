"""What every kind of norm has, and the registry of kinds.

Importing this imports no torch, so that configs are checked without it; `build` does.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from bncompare.options import OneOf, Positive, Section, must_be, option_words
from bncompare.plugins import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


# The shape of one example where the norm is: (C,) after a dense layer, (C, H, W) after a convolution; (C, L) and
# (C, D, H, W) are for `bncompare explain`.
Shape = tuple[int, ...]
Array: TypeAlias = "NDArray[np.float64]"
Eps = Positive
Momentum = Annotated[float, Field(ge=0, le=1)] | None
EvalStats = Literal["running", "batch", "population"]
Layers = Annotated[Literal["all", "conv", "dense"] | list[str], must_be("all, conv, dense, or a list of layer names")]


class NormKind(Section):
    """What every kind has, none included."""

    title: ClassVar[str] = ""
    """the name people use, in which {norm} is the norm with its options; of a kind without one, the kind"""
    in_title: ClassVar[Sequence[str]] = ()
    """the options that it says"""
    tested_with: ClassVar[Mapping[str, Any]] = {}
    """options with which the laws of a norm hold on small tensors: without noise, for one"""

    @property
    def available_statistics(self) -> list[EvalStats]:
        """The statistics over the batch that it can be evaluated with; none outside the batch family."""
        return []

    @property
    def evaluated_with(self) -> EvalStats:
        """The statistics that it is evaluated with."""
        return "running"

    def called(self, said: Collection[str] = ()) -> str:
        """The name people use, with the options that are not the usual ones or are in `said`:
        `BatchNorm (momentum 0.9)`, `GroupNorm(8, eps 0.1)`."""
        title = self.title.format(norm=self) if self.title else str(dict(self)["kind"])
        fields = type(self).model_fields
        options = [
            option_words(name, value)
            for name, value in self
            if name not in ("kind", "weight_norm", *self.in_title) and (name in said or value != fields[name].default)
        ]
        if not options:
            return title
        return f"{title[:-1]}, {', '.join(options)})" if title.endswith(")") else f"{title} ({', '.join(options)})"

    def doubts(self, total_steps: int) -> Iterator[tuple[str, str]]:
        """Options that have no effect in a run of so many steps, as (key, why)."""
        yield from ()


class NoNorm(NormKind):
    """No normalization."""

    title: ClassVar = "no norm"
    formula: ClassVar = "y = x"
    axes: ClassVar = "none"

    kind: Literal["none"]
    """the norm"""


class Norm(NormKind):
    """What every norm has: the layers it is in."""

    formula: ClassVar[str] = "not given"
    """in one line"""
    axes: ClassVar[str] = "not given"
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
    def has_scale(self) -> bool:
        """Whether it learns a γ."""
        return False

    @property
    def has_parameters(self) -> bool:
        """Whether it learns a γ or β."""
        return self.has_scale or self.has_shift

    @property
    def of_weight(self) -> "WeightParametrization | None":
        """The norm of the layer's weight that it is, or that is in its layers too."""
        return None

    def num_parameters(self, shape: Shape) -> int:
        """Numbers that it learns in a place with this shape of an example: γ and β of each channel."""
        return shape[0] * (self.has_scale + self.has_shift)

    def problem(self, shape: Shape, batch_size: int) -> str | None:
        """Why it can't be in a place with this shape of an example and this many examples in a batch."""
        return None

    def build(self, shape: Shape) -> "nn.Module":
        """The module, for inputs (N, *shape)."""
        raise NotImplementedError


NORMS = Registry[type[NoNorm] | type[Norm]]("norms", Norm, "kind")
"""every kind of norm"""


class WeightParametrization(Norm):
    """A norm of a layer's weight: it has no place of its own among the layers."""

    @property
    def of_weight(self) -> "WeightParametrization":
        """Itself."""
        return self

    def parametrize(self, layer: "nn.Module") -> None:
        """Replace the layer's `weight` by a function of other parameters that starts with the same value."""
        raise NotImplementedError


WeightNormChoice = Annotated[
    NoNorm | WeightParametrization, OneOf("kind", NORMS, short=True, only=(NoNorm, WeightParametrization))
]


class ActivationNorm(Norm):
    """A norm of what leaves a layer, and of the layer's weight too if it is to be."""

    placement: Literal["before", "after"] = "before"
    """before or after the activation"""
    weight_norm: WeightNormChoice = NoNorm(kind="none")
    """a norm of the weights of the same layers; `norm: [weight_standardization, group]` sets it as well"""

    @property
    def of_weight(self) -> WeightParametrization | None:
        """`weight_norm`."""
        return self.weight_norm if isinstance(self.weight_norm, WeightParametrization) else None

    def called(self, said: Collection[str] = ()) -> str:
        """Both: `Weight Standardization + GroupNorm(4)`."""
        own = super().called(said)
        if self.of_weight is None:
            return own
        below = [name.removeprefix("weight_norm.") for name in said if name.startswith("weight_norm.")]
        return f"{self.of_weight.called(below)} + {own}"

    def module_name(self, shape: Shape) -> str:
        """The class of its module, as torch prints it."""
        return type(self).__name__

    def axes_of(self, shape: Shape) -> Shape:
        """Those of a batch of shape (N, C, …) that its statistics are taken over; none where there are none."""
        return ()

    def batches(self, x: Array) -> list[Array]:
        """The parts of a batch that are normalized each by itself."""
        return [x]

    def statistics(self, x: Array) -> dict[str, Array]:
        """What its formula calls mean, var, …, of a batch x, (N, C, …)."""
        return {}

    def reference(self, x: Array) -> Array:
        """Its formula with γ = 1 and β = 0 of a first batch of training x, (N, C, …), without noise, in NumPy: what
        the module is held against."""
        raise NotImplementedError


class ScaleShiftNorm(ActivationNorm):
    """A norm with γ and β."""

    affine: bool = True
    """learn a scale γ and a shift β"""
    bias: bool = True
    """false: γ without β. The layer before then keeps its bias"""

    @property
    def has_shift(self) -> bool:
        """Whether it adds a β of its own."""
        return self.affine and self.bias

    @property
    def has_scale(self) -> bool:
        """Whether it learns a γ."""
        return self.affine

    def chosen(self, module: "nn.Module") -> "nn.Module":
        """A module that was built with γ and β, with those of them that it is to have."""
        for name, is_there in (("weight", self.has_scale), ("bias", self.has_shift)):
            if not is_there:
                setattr(module, name, None)
        return module


class AffineNorm(ScaleShiftNorm):
    """A norm by mean and variance, then γ and β."""

    eps: Eps = 1e-5
    """added to the variance"""

    def statistics(self, x: Array) -> dict[str, Array]:
        """Mean and biased variance over `axes_of`."""
        axes = self.axes_of(x.shape)
        return {"mean": x.mean(axes), "var": x.var(axes)}

    def reference(self, x: Array) -> Array:
        """(x − mean)/√(var + eps)."""
        axes = self.axes_of(x.shape)
        y: Array = (x - x.mean(axes, keepdims=True)) / (x.var(axes, keepdims=True) + self.eps) ** 0.5
        return y


def together(norms: Sequence[Any]) -> ActivationNorm:
    """A norm of the weight and one of what leaves the layer, in either order, as one; raises PydanticCustomError."""
    of_weight = [norm for norm in norms if isinstance(norm, WeightParametrization)]
    others = [norm for norm in norms if isinstance(norm, ActivationNorm) and norm.of_weight is None]
    if not len(of_weight) == len(others) == len(norms) / 2 == 1:
        expected = "a norm of the weight and one of what leaves the layer, such as [weight_standardization, group]"
        raise PydanticCustomError("must_be", "must be, where it is a list, {expected}", {"expected": expected})
    return others[0].model_copy(update={"weight_norm": of_weight[0]})


def name_of(norm: Any, said: Collection[str] = ()) -> str:
    """What people call a norm that is given as a config has it, a kind or a mapping of options.

    Options in `said` are named even where they are the usual ones. A kind that is not known here, and options that
    are not valid, as runs from elsewhere may have, leave the kind.
    """
    if isinstance(norm, list):
        return " + ".join(map(name_of, norm))
    options = norm if isinstance(norm, Mapping) else {"kind": norm}
    section = NORMS.get(str(options.get("kind")))
    try:
        return section.model_validate(options).called(said) if section else str(options.get("kind"))
    except ValidationError:
        return str(options.get("kind"))
