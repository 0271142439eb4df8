"""The layers of a model, worked out from the config alone: names, sizes, where a norm goes."""

from dataclasses import dataclass
from typing import Literal

from bncompare.config.model import LeNet, Model
from bncompare.config.run import RunConfig
from bncompare.norms import ActivationNorm, NoNorm, Norm, Shape

KERNEL_SIZE = 5  # of LeNet's convolutions
POOL_SIZE = 2


@dataclass(frozen=True)
class Layer:
    """A convolution or a dense layer, with what belongs to it."""

    name: str
    kind: Literal["conv", "dense"]
    in_features: int
    out_features: int
    bias: bool
    norm: Norm | None
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
        features, widths, group = _flat(run.data.input_shape), model.hidden, "hidden"
    for i, width in enumerate(widths):
        dropout = 0.0
        if model.name == "mlp" and (model.dropout.layers == "all" or i == len(widths) - 1):
            dropout = model.dropout.p
        planned.append(_layer(model, f"{group}.{i}", "dense", features, width, dropout=dropout))
        features = width
    return [*planned, _layer(model, "output", "dense", features, run.data.num_outputs)]


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
    dropout_first = model.name == "mlp" and dropout > 0 and model.dropout.placement == "before_norm"
    norm_follows = isinstance(norm, ActivationNorm) and (norm.placement == "before" or name == "output")
    bias = model.bias == "always" or not (norm and norm.has_shift and norm_follows and not dropout_first)
    return Layer(name, kind, in_features, out_features, bias, norm, dropout, padding, size)


def _wants_norm(norm: Norm, name: str, kind: str) -> bool:
    if name == "output":
        return norm.on_output
    if isinstance(norm.layers, list):
        return name in norm.layers
    return norm.layers in ("all", kind)


def _flat(shape: tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
