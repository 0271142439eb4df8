"""The layers of a model, worked out from the config alone: names, sizes, what each is made of and follows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bncompare.norms import Norm, Shape, WeightParametrization

Part = Literal["flatten", "conv", "linear", "sum", "norm", "activation", "dropout", "pool"]
INPUT = "input"  # what the first layer follows

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
class Pooling:
    """Pooling after a layer, without overlap; what is left at the edges is left out."""

    kind: Literal["avg", "max"]
    size: tuple[int, ...]
    """(height, width) that become one number; the whole map for global pooling"""

    @property
    def module_name(self) -> str:
        """Its class in torch.nn."""
        return {"avg": "AvgPool2d", "max": "MaxPool2d"}[self.kind]


@dataclass(frozen=True)
class Layer:
    """A convolution, a dense layer or a sum of layers, with what belongs to it."""

    name: str
    kind: Literal["conv", "dense", "sum"]
    entering: Shape
    """of what enters it for one example"""
    out_features: int
    follows: tuple[str, ...]
    """the layers whose outputs enter it, several for a sum"""
    kernel_size: int = 1
    stride: int = 1
    padding: int = 0
    pool: Pooling | None = None
    # What the model's options make of it:
    parts: tuple[Part, ...] = ()
    """in the order data goes through them"""
    norm: Norm | None = None
    bias: bool = False
    activation: str | None = None
    """one of `ACTIVATIONS`; none in the output layer, or where a sum follows"""
    dropout: float = 0.0

    @property
    def in_features(self) -> int:
        """Channels that a convolution has entering it, or numbers that a dense layer has."""
        return self.entering[0] if self.kind == "conv" else math.prod(self.entering)

    @property
    def shape(self) -> Shape:
        """Of what leaves the convolution, matrix or sum for one example, before pooling: (C,), or (C, H, W)."""
        if self.kind == "sum":
            return self.entering
        taken = self.kernel_size - 2 * self.padding
        sides = self.entering[1:] if self.kind == "conv" else ()
        return (self.out_features, *((side - taken) // self.stride + 1 for side in sides))

    @property
    def output_shape(self) -> Shape:
        """Of what leaves it."""
        if self.pool is None:
            return self.shape
        return (self.out_features, *(a // b for a, b in zip(self.shape[1:], self.pool.size, strict=True)))

    @property
    def operation(self) -> Part:
        """The part that it is about."""
        return "linear" if self.kind == "dense" else self.kind

    @property
    def has_weight(self) -> bool:
        """Whether it is no sum."""
        return self.kind != "sum"

    @property
    def weight_norm(self) -> WeightParametrization | None:
        """The norm of its weight."""
        return self.norm.of_weight if self.norm else None

    @property
    def num_weights(self) -> int:
        """Numbers in its weight, without the bias."""
        return self.in_features * self.out_features * self.kernel_size**2 * self.has_weight

    @property
    def is_output(self) -> bool:
        """Whether it is the last layer."""
        return self.name == "output"

    def shape_after(self, part: Part) -> Shape:
        """Of what leaves a part of it for one example."""
        return {"flatten": (self.in_features,), "pool": self.output_shape}.get(part, self.shape)

    def num_parameters(self, part: Part) -> int:
        """Numbers that a part of it learns; those of a norm of its weight are the weight's."""
        if part == "norm":
            return self.norm.num_parameters(self.shape) if self.norm else 0
        if part != self.operation:
            return 0
        of_norm = self.weight_norm.num_parameters(self.shape) if self.weight_norm else 0
        return self.num_weights + self.out_features * self.bias + of_norm

    def num_trained(self, part: Part, trainable: str) -> int:
        """How many of them `training.trainable` trains."""
        if trainable == "random":  # as many entries of the weight as the norm has γ and β
            return min(self.num_parameters("norm"), self.num_weights) if part == self.operation else 0
        return 0 if trainable == ("all_but_norm" if part == "norm" else "norm") else self.num_parameters(part)
