"""The torch side of a plan of layers."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from bncompare.config import ACTIVATIONS, INPUT, Layer, Part
from bncompare.training.layers import AvgPool2x2, MaxPool2x2, OneChannelConv2d, PairedDropout, SparseConv2d, Sum


class Network(nn.Sequential):
    """The layers as planned, each a block of its parts at its dotted name; what enters one is what it follows."""

    def __init__(self, planned: Sequence[Layer]) -> None:
        super().__init__()
        self.steps: list[tuple[Layer, nn.Module]] = []
        self.last_use = {name: layer.name for layer in planned for name in layer.follows}
        for layer in planned:
            block = nn.Sequential(OrderedDict((part, _module(layer, part)) for part in layer.parts))
            *groups, last = layer.name.split(".")
            place: nn.Module = self
            for group in groups:
                if group not in dict(place.named_children()):
                    place.add_module(group, nn.Sequential())
                place = place.get_submodule(group)
            place.add_module(last, block)
            self.steps.append((layer, block))

    def forward(self, x: Tensor) -> Tensor:
        """(N, outputs) of inputs (N, *input_shape)."""
        left = {INPUT: x}
        for layer, block in self.steps:
            entering = [left[name] for name in layer.follows]
            x = left[layer.name] = block(entering if layer.kind == "sum" else entering[0])
            for name in layer.follows:
                if self.last_use[name] == layer.name:
                    left.pop(name, None)
        return x


def _module(layer: Layer, part: Part) -> nn.Module:
    """A part of a layer."""
    match part:
        case "flatten":
            return nn.Flatten()
        case "conv":
            sizes = layer.in_features, layer.out_features, layer.kernel_size
            return _convolution(layer)(*sizes, layer.stride, layer.padding, bias=layer.bias)
        case "linear":
            return nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
        case "sum":
            return Sum()
        case "norm":
            assert layer.norm is not None
            return layer.norm.build(layer.shape)
        case "activation":
            assert layer.activation is not None
            return _torch(ACTIVATIONS[layer.activation])
        case "dropout":
            return PairedDropout(layer.dropout)
        case "pool":
            assert layer.pool is not None
            if layer.pool.size == (2, 2):
                return {"avg": AvgPool2x2, "max": MaxPool2x2}[layer.pool.kind](layer.pool.size)
            return _torch(layer.pool.module_name, layer.pool.size)


def _convolution(layer: Layer) -> type[nn.Conv2d]:
    """Torch's, or one that does better."""
    if layer.stride > layer.kernel_size:
        return SparseConv2d
    return OneChannelConv2d if layer.in_features == layer.stride == 1 else nn.Conv2d


def _torch(name: str, *arguments: Any) -> nn.Module:
    """A module of torch.nn."""
    module: nn.Module = getattr(nn, name)(*arguments)
    return module
