"""The `model` section: layers, norm, initial weights."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator

from bncompare.config.keys import Problem
from bncompare.norms import NORMS, NoNorm, Norm, together
from bncompare.options import MAX_SCALE, MAX_WIDTH, OneOf, Section, one_of, shorthand

if TYPE_CHECKING:
    from torch import Generator, Tensor

Probability = Annotated[float, Field(ge=0, lt=1)]
Scale = Annotated[float, Field(gt=0, le=MAX_SCALE)]


OneNorm = Annotated[NoNorm | Norm, OneOf("kind", NORMS, short=True)]


def _two(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    return together(_NORMS.validate_python(value)) if isinstance(value, list) else handler(value)


_NORMS = TypeAdapter(list[OneNorm], config=ConfigDict(defer_build=True))
AnyNorm = Annotated[OneNorm, WrapValidator(_two, json_schema_input_type=OneNorm | list[OneNorm])]


class InitSection(Section):
    """What every initialization has. All is drawn in place."""

    def draw_weight(self, weight: "Tensor", random: "Generator") -> None:
        """Fill a weight, (out, in) or (out, in, height, width)."""
        raise NotImplementedError

    def draw_bias(self, bias: "Tensor", fan_in: int, random: "Generator") -> None:
        """Fill a bias, (out,)."""
        bias.zero_()


class GainInit(InitSection):
    """Glorot, He or LeCun initialization of the weights; biases start at 0."""

    kind: Literal["xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "lecun_normal"]
    """the distribution of the initial weights"""
    gain: Scale = 1.0
    """multiplies the standard deviation"""

    def draw_weight(self, weight: "Tensor", random: "Generator") -> None:
        """Glorot's variance is 2 / (fan in + fan out), He's 2 / fan in, LeCun's 1 / fan in (LeCun et al. 1998)."""
        from torch.nn import init

        if self.kind == "lecun_normal":
            init.kaiming_normal_(weight, nonlinearity="linear", generator=random).mul_(self.gain)
        elif self.kind.startswith("xavier"):
            getattr(init, f"{self.kind}_")(weight, self.gain, generator=random)
        else:
            getattr(init, f"{self.kind}_")(weight, nonlinearity="relu", generator=random).mul_(self.gain)


class NormalInit(InitSection):
    """Gaussian weights with mean 0; biases start at 0."""

    kind: Literal["normal"]
    """the distribution of the initial weights"""
    std: Scale
    """standard deviation"""

    def draw_weight(self, weight: "Tensor", random: "Generator") -> None:
        """All numbers alike."""
        weight.normal_(0, self.std, generator=random)


class DefaultInit(InitSection):
    """What torch.nn.Linear and Conv2d do: weights and biases uniform in ±1/√fan_in."""

    kind: Literal["torch_default"]
    """the distribution of the initial weights"""

    def draw_weight(self, weight: "Tensor", random: "Generator") -> None:
        """He's, with the gain that gives the bound 1/√fan_in."""
        from torch.nn import init

        init.kaiming_uniform_(weight, a=math.sqrt(5), generator=random)

    def draw_bias(self, bias: "Tensor", fan_in: int, random: "Generator") -> None:
        """Within the same bound."""
        bound = 1 / math.sqrt(fan_in)
        bias.uniform_(-bound, bound, generator=random)


Init = Annotated[DefaultInit | GainInit | NormalInit, one_of("kind", DefaultInit, GainInit, NormalInit, short=True)]


class ModelSection(Section):
    """What every model has."""

    activation: Literal["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu", "selu", "identity"] = "relu"
    """nonlinearity after each hidden layer; selu (Klambauer et al. 2017) is meant for init: lecun_normal"""
    norm: AnyNorm = NoNorm(kind="none")
    """a kind, a mapping with `kind` and its options, or a list of two, of which one is a norm of the weight"""
    init: Init = DefaultInit(kind="torch_default")
    """initial weights: a kind, or a mapping with `kind` and its options"""
    bias: Literal["auto", "always"] = "auto"
    """`auto` leaves out a layer's bias where a norm with its own β follows directly"""

    def problems(self, input_shape: tuple[int, ...]) -> Iterator[Problem]:
        """Why it can't take inputs of this shape."""
        yield from ()


class Dropout(Section):
    """Dropout in the hidden layers."""

    p: Probability = 0.0
    """probability of zeroing a unit"""
    placement: Literal["after_activation", "before_norm"] = "after_activation"
    """where in the layer"""
    layers: Literal["all", "last"] = "all"
    """in every hidden layer, or the last alone"""


class MLP(ModelSection):
    """Dense layers; an image is flattened."""

    name: Literal["mlp"]
    """the model"""
    hidden: Annotated[list[Annotated[int, Field(ge=1, le=MAX_WIDTH)]], Field(min_length=1, max_length=200)]
    """units of each hidden layer"""
    dropout: Annotated[Dropout, shorthand("p", Dropout | float)] = Dropout()
    """a probability, or a mapping with `p`, `placement` and `layers`"""


class LeNet(ModelSection):
    """LeCun et al. 1998 as in Dive into Deep Learning: conv 6@5×5, conv 16@5×5, dense 120, 84, 10."""

    name: Literal["lenet"]
    """the model"""
    padding: Literal[0, 2] = 2
    """padding of the first convolution"""
    pooling: Literal["avg", "max"] = "avg"
    """2×2 pooling after each convolution"""

    def problems(self, input_shape: tuple[int, ...]) -> Iterator[Problem]:
        """Convolutions need rows and columns."""
        if len(input_shape) == 1:
            yield ("name",), "lenet needs images (mnist, fashion_mnist, digits); use mlp"


Model = Annotated[MLP | LeNet, one_of("name", MLP, LeNet)]
