"""The `model` section: layers, norm, initial weights."""

from typing import Annotated, Any, Literal, Union

from pydantic import Field, PlainValidator, SerializeAsAny
from pydantic_core import PydanticCustomError

from bncompare.norms import NORMS, NoNorm, Norm
from bncompare.options import MAX_SCALE, MAX_WIDTH, Section, shorthand

Probability = Annotated[float, Field(ge=0, lt=1)]
Scale = Annotated[float, Field(gt=0, le=MAX_SCALE)]


def _parse_norm(value: Any) -> NoNorm | Norm:
    """A kind, or a mapping with `kind` and the options of that kind, which may be one of `register_norm`."""
    if isinstance(value, NoNorm | Norm):
        return value
    options = value if isinstance(value, dict) else {"kind": value}
    if "kind" not in options:
        raise PydanticCustomError("no_kind", "missing: this key is required")
    kind = options["kind"]
    if not isinstance(kind, str) or kind not in NORMS:
        raise PydanticCustomError("unknown_kind", "unknown kind", {"choices": list(NORMS)})
    return NORMS[kind].model_validate(options)


# What people may write, for editors: the kinds that come with bncompare.
_written: Any = Union[(*NORMS.values(), str)]
AnyNorm = Annotated[SerializeAsAny[NoNorm | Norm], PlainValidator(_parse_norm, json_schema_input_type=_written)]


class GainInit(Section):
    """Glorot or He initialization of the weights; biases start at 0."""

    kind: Literal["xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"]
    """the distribution of the initial weights"""
    gain: Scale = 1.0
    """multiplies the standard deviation"""


class NormalInit(Section):
    """Gaussian weights with mean 0; biases start at 0."""

    kind: Literal["normal"]
    """the distribution of the initial weights"""
    std: Scale
    """standard deviation"""


class DefaultInit(Section):
    """What torch.nn.Linear and Conv2d do: weights and biases uniform in ±1/√fan_in."""

    kind: Literal["torch_default"]
    """the distribution of the initial weights"""


_Inits = DefaultInit | GainInit | NormalInit
AnyInit = Annotated[_Inits, Field(discriminator="kind"), shorthand("kind", _Inits | str)]


class ModelSection(Section):
    """What every model has."""

    activation: Literal["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu", "identity"] = "relu"
    """nonlinearity after each hidden layer"""
    norm: AnyNorm = NoNorm(kind="none")
    """a kind, or a mapping with `kind` and its options"""
    init: AnyInit = DefaultInit(kind="torch_default")
    """initial weights: a kind, or a mapping with `kind` and its options"""
    bias: Literal["auto", "always"] = "auto"
    """`auto` leaves out a layer's bias where a norm with its own β follows directly"""


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


Model = Annotated[MLP | LeNet, Field(discriminator="name")]
