"""The `model` section: layers, norm, initial weights."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator

from bncompare.config.architecture import INPUT, Layer, Part, Pooling
from bncompare.config.keys import Problem
from bncompare.norms import NORMS, ActivationNorm, NoNorm, Norm, Shape, together
from bncompare.options import MAX_SCALE, MAX_WIDTH, OneOf, Section, one_of, shorthand
from bncompare.plugins import Registry

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


class Dropout(Section):
    """Dropout in the hidden layers."""

    p: Probability = 0.0
    """probability of zeroing a unit"""
    placement: Literal["after_activation", "before_norm"] = "after_activation"
    """where in the layer"""
    layers: Literal["all", "last"] = "all"
    """in every hidden layer, or the last alone"""


NO_DROPOUT = Dropout()


class Unsuited(ValueError):
    """A model can't take inputs of a shape; the message says which layer can't."""


class ModelSection(Section):
    """What every model has; one of your own says its `name` and its options, and plans its `layers`."""

    title: ClassVar[str] = ""
    """the name people use, if it is another"""

    name: str
    """the model"""
    activation: Literal["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu", "selu", "identity"] = "relu"
    """nonlinearity after each hidden layer; selu (Klambauer et al. 2017) is meant for init: lecun_normal"""
    norm: AnyNorm = NoNorm(kind="none")
    """a kind, a mapping with `kind` and its options, or a list of two, of which one is a norm of the weight"""
    init: Init = DefaultInit(kind="torch_default")
    """initial weights: a kind, or a mapping with `kind` and its options"""
    bias: Literal["auto", "always"] = "auto"
    """`auto` leaves out a layer's bias where a norm with its own β follows directly"""

    def layers(self, input_shape: Shape, num_outputs: int) -> list[Layer]:
        """Its layers for examples of this shape, (features,) or (channels, height, width), each after those that it
        follows. Their names are what variants share. Raises Unsuited for a shape that it can't take."""
        raise NotImplementedError

    def problems(self, input_shape: Shape) -> Iterator[Problem]:
        """Why it can't take inputs of this shape, or its plan is none."""
        try:
            planned = self.layers(input_shape, 1)
        except Unsuited as error:
            yield ("name",), f"{self.name} cannot take inputs of {_by(input_shape)}: {error}"
            return
        before = {INPUT}
        for layer in planned:
            if layer.name in before or not before.issuperset(layer.follows):
                yield ("name",), f"{self.name}.layers has {layer.name} twice, or before a layer that it follows"
            before.add(layer.name)
        if not planned[-1].is_output:
            yield ("name",), f"{self.name}.layers does not end with self.output(…)"

    # ------------------------------------------------------------ what a plan is made of

    def conv(
        self,
        name: str,
        after: Layer | Shape,
        channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        pool: Pooling | None = None,
        activation: bool = True,
        dropout: Dropout = NO_DROPOUT,
    ) -> Layer:
        """A convolution of what leaves a layer, or of the inputs, with its norm; without an activation where a sum
        follows that has one. Raises Unsuited."""
        shape, follows = _entering(after)
        if len(shape) != 3:
            raise Unsuited(f"{name} needs images, (channels, height, width); use mlp")
        layer = Layer(name, "conv", shape, channels, follows, kernel_size, stride, padding, pool)
        if min(layer.output_shape) < 1:
            raise Unsuited(f"{name} leaves nothing of {_by(shape[1:])}")
        return self._complete(layer, activation, dropout)

    def dense(
        self,
        name: str,
        after: Layer | Shape,
        width: int,
        *,
        activation: bool = True,
        dropout: Dropout = NO_DROPOUT,
    ) -> Layer:
        """A dense layer with its norm, of all numbers that leave a layer, or of the inputs."""
        shape, follows = _entering(after)
        return self._complete(Layer(name, "dense", shape, width, follows), activation, dropout)

    def output(self, after: Layer | Shape, num_outputs: int) -> Layer:
        """The last layer, dense and without an activation."""
        return self.dense("output", after, num_outputs, activation=False)

    def sum(
        self, name: str, after: Sequence[Layer], *, pool: Pooling | None = None, activation: bool = True
    ) -> Layer:
        """The sum of what leaves some layers, all of one shape. Raises Unsuited."""
        shape = after[0].output_shape
        if any(layer.output_shape != shape for layer in after):
            shapes = " and ".join(_by(layer.output_shape) for layer in after)
            raise Unsuited(f"{name} is a sum of layers of one shape, not {shapes}")
        layer = Layer(name, "sum", shape, shape[0], tuple(layer.name for layer in after), pool=pool)
        return self._complete(layer, activation, NO_DROPOUT)

    def _complete(self, layer: Layer, activation: bool, dropout: Dropout) -> Layer:
        """What belongs to a layer, and the order in which data goes through it."""
        norm = self._norm_of(layer)
        has_norm = isinstance(norm, ActivationNorm)
        norm_first = isinstance(norm, ActivationNorm) and (norm.placement == "before" or not activation)
        dropout_first = dropout.placement == "before_norm"
        places: list[tuple[Part, bool]] = [
            ("flatten", layer.kind == "dense" and len(layer.entering) > 1),
            (layer.operation, True),
            ("dropout", dropout.p > 0 and dropout_first),
            ("norm", norm_first),
            ("activation", activation),
            ("norm", has_norm and not norm_first),
            ("dropout", dropout.p > 0 and not dropout_first),
            ("pool", layer.pool is not None),
        ]
        parts = tuple(part for part, is_there in places if is_there)
        has_shift = norm is not None and norm.has_shift and (layer.operation, "norm") in pairwise(parts)
        return replace(
            layer,
            parts=parts,
            norm=norm,
            bias=layer.has_weight and (self.bias == "always" or not has_shift),
            activation=self.activation if activation else None,
            dropout=dropout.p,
        )

    def _norm_of(self, layer: Layer) -> Norm | None:
        norm = self.norm
        if isinstance(norm, NoNorm) or not layer.has_weight:
            return None
        if layer.is_output:
            return norm if norm.on_output else None
        chosen = layer.name in norm.layers if isinstance(norm.layers, list) else norm.layers in ("all", layer.kind)
        return norm if chosen else None


def _entering(after: Layer | Shape) -> tuple[Shape, tuple[str, ...]]:
    """The shape of what enters a layer, and whose output it is."""
    return (after.output_shape, (after.name,)) if isinstance(after, Layer) else (after, (INPUT,))


def _by(shape: Shape) -> str:
    """`28×28`"""
    return "×".join(map(str, shape))


class MLP(ModelSection):
    """Dense layers; an image is flattened."""

    title: ClassVar = "MLP"

    name: Literal["mlp"]
    """the model"""
    hidden: Annotated[list[Annotated[int, Field(ge=1, le=MAX_WIDTH)]], Field(min_length=1, max_length=200)]
    """units of each hidden layer"""
    dropout: Annotated[Dropout, shorthand("p", Dropout | float)] = NO_DROPOUT
    """a probability, or a mapping with `p`, `placement` and `layers`"""

    def layers(self, input_shape: Shape, num_outputs: int) -> list[Layer]:
        """hidden.0, hidden.1, …, output."""
        planned, last, every = list[Layer](), len(self.hidden) - 1, self.dropout.layers == "all"
        for i, width in enumerate(self.hidden):
            dropout = self.dropout if every or i == last else NO_DROPOUT
            planned.append(self.dense(f"hidden.{i}", planned[-1] if planned else input_shape, width, dropout=dropout))
        return [*planned, self.output(planned[-1], num_outputs)]


class LeNet(ModelSection):
    """LeCun et al. 1998 as in Dive into Deep Learning: conv 6@5×5, conv 16@5×5, dense 120, 84, and the output."""

    title: ClassVar = "LeNet"

    name: Literal["lenet"]
    """the model"""
    padding: Literal[0, 2] = 2
    """padding of the first convolution"""
    pooling: Literal["avg", "max"] = "avg"
    """2×2 pooling after each convolution"""

    def layers(self, input_shape: Shape, num_outputs: int) -> list[Layer]:
        """conv.0, conv.1, dense.0, dense.1, output."""
        pool = Pooling(self.pooling, (2, 2))
        first = self.conv("conv.0", input_shape, 6, 5, padding=self.padding, pool=pool)
        second = self.conv("conv.1", first, 16, 5, pool=pool)
        third = self.dense("dense.0", second, 120)
        fourth = self.dense("dense.1", third, 84)
        return [first, second, third, fourth, self.output(fourth, num_outputs)]


MODELS = Registry[type[ModelSection]]("models", ModelSection, "name")
"""every model"""
AnyModel = Annotated[ModelSection, OneOf("name", MODELS, short=False)]

for _model in (MLP, LeNet):
    MODELS.add(_model)
