"""The layers of a model, worked out from the config alone: names, sizes, where a norm goes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bncompare.config.model import LeNet, Model
from bncompare.config.run import RunConfig
from bncompare.norms import ActivationNorm, NoNorm, Norm, Shape

KERNEL_SIZE = 5  # of LeNet's convolutions
POOL_SIZE = 2

Part = Literal["conv", "linear", "norm", "activation", "dropout", "pool"]

# The classes of torch.nn.
ACTIVATIONS: Mapping[str, str] = {
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "leaky_relu": "LeakyReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "selu": "SELU",
    "identity": "Identity",
}


@dataclass(frozen=True)
class Layer:
    """A convolution or a dense layer, with what belongs to it."""

    name: str
    kind: Literal["conv", "dense"]
    in_features: int
    out_features: int
    bias: bool
    norm: Norm | None
    parts: tuple[Part, ...]
    """in the order data goes through them, the convolution or matrix first"""
    dropout: float
    padding: int = 0
    size: int = 1
    """side of the square feature map that leaves the convolution, before pooling; 1 for dense layers"""

    @property
    def shape(self) -> Shape:
        """Of what leaves it for one example: (C,), or (C, H, W)."""
        return (self.out_features, self.size, self.size) if self.kind == "conv" else (self.out_features,)

    @property
    def num_weights(self) -> int:
        """Numbers in its weight, without the bias."""
        kernel = KERNEL_SIZE**2 if self.kind == "conv" else 1
        return self.in_features * self.out_features * kernel

    @property
    def is_output(self) -> bool:
        """The output layer has no activation."""
        return self.name == "output"

    def num_parameters(self, part: Part) -> int:
        """Numbers that a part of it learns; those of a norm of its weight are the weight's."""
        if part == "norm":
            assert self.norm is not None
            return self.norm.num_parameters(self.shape)
        if part != self.parts[0]:
            return 0
        of_weight = self.norm and self.norm.of_weight
        of_norm = of_weight.num_parameters(self.shape) if of_weight else 0
        return self.num_weights + self.out_features * self.bias + of_norm

    def num_trained(self, part: Part, trainable: str) -> int:
        """How many of them `training.trainable` trains."""
        if trainable == "random":  # as many entries of the weight as the norm has γ and β
            return min(self.num_parameters("norm"), self.num_weights) if part == self.parts[0] else 0
        return 0 if trainable == ("all_but_norm" if part == "norm" else "norm") else self.num_parameters(part)


def layers(run: RunConfig) -> list[Layer]:
    """The layers from input to output."""
    model = run.model
    planned: list[Layer] = []
    features, size = run.data.input_shape[0], run.data.input_shape[-1]
    widths: list[int]
    if isinstance(model, LeNet):
        for i, channels in enumerate((6, 16)):
            padding = model.padding if i == 0 else 0
            size = size + 2 * padding - (KERNEL_SIZE - 1)
            name = f"conv.{i}"
            planned.append(_layer(model, name, "conv", features, channels, padding=padding, size=size))
            features, size = channels, size // POOL_SIZE
        features, widths, group = features * size * size, [120, 84], "dense"
    else:
        features, widths, group = math.prod(run.data.input_shape), model.hidden, "hidden"
    for i, width in enumerate(widths):
        dropout = 0.0
        if model.name == "mlp" and (model.dropout.layers == "all" or i == len(widths) - 1):
            dropout = model.dropout.p
        planned.append(_layer(model, f"{group}.{i}", "dense", features, width, dropout=dropout))
        features = width
    return [*planned, _layer(model, "output", "dense", features, run.data.num_outputs)]


def count_parameters(run: RunConfig) -> int:
    """Trainable numbers in the model."""
    trainable = run.training.trainable
    return sum(layer.num_trained(part, trainable) for layer in layers(run) for part in layer.parts)


def _layer(
    model: Model,
    name: str,
    kind: Literal["conv", "dense"],
    in_features: int,
    out_features: int,
    *,
    dropout: float = 0.0,
    padding: int = 0,
    size: int = 1,
) -> Layer:
    norm = None if isinstance(model.norm, NoNorm) or not _wants_norm(model.norm, name, kind) else model.norm
    parts = _parts(model, name, kind, norm, dropout)
    bias = model.bias == "always" or not (norm and norm.has_shift and parts[1:2] == ("norm",))
    return Layer(name, kind, in_features, out_features, bias, norm, parts, dropout, padding, size)


def _parts(model: Model, name: str, kind: str, norm: Norm | None, dropout: float) -> tuple[Part, ...]:
    """What a layer is made of, in order."""
    is_output, has_norm = name == "output", isinstance(norm, ActivationNorm)
    norm_first = isinstance(norm, ActivationNorm) and (norm.placement == "before" or is_output)
    dropout_first = model.name == "mlp" and model.dropout.placement == "before_norm"
    places: list[tuple[Part, bool]] = [
        ("conv", kind == "conv"),
        ("linear", kind == "dense"),
        ("dropout", dropout > 0 and dropout_first),
        ("norm", norm_first),
        ("activation", not is_output),
        ("norm", has_norm and not norm_first),
        ("dropout", dropout > 0 and not dropout_first),
        ("pool", kind == "conv"),
    ]
    return tuple(part for part, is_there in places if is_there)


def _wants_norm(norm: Norm, name: str, kind: str) -> bool:
    if name == "output":
        return norm.on_output
    if isinstance(norm.layers, list):
        return name in norm.layers
    return norm.layers in ("all", kind)
