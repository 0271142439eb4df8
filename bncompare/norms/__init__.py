"""The registry of normalization layers: which module a kind stands for."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from bncompare.config.architecture import Layer
from bncompare.config.schema import BatchNorm, ExampleNorm, GroupNorm, Norm
from bncompare.norms import from_scratch

Builder = Callable[[Layer], nn.Module]
Options = TypeVar("Options", bound=Norm)


def _batch(layer: Layer) -> nn.Module:
    norm = _options(layer, BatchNorm)
    module = nn.BatchNorm2d if layer.kind == "conv" else nn.BatchNorm1d
    return module(layer.out_features, norm.eps, norm.momentum, norm.affine)


def _batch_from_scratch(layer: Layer) -> nn.Module:
    norm = _options(layer, BatchNorm)
    return from_scratch.BatchNorm(layer.out_features, norm.eps, norm.momentum, norm.affine)


def _layer(layer: Layer) -> nn.Module:
    norm = _options(layer, ExampleNorm)
    shape = (layer.out_features, layer.size, layer.size) if layer.kind == "conv" else (layer.out_features,)
    return nn.LayerNorm(shape, norm.eps, norm.affine)


def _group(layer: Layer) -> nn.Module:
    norm = _options(layer, GroupNorm)
    groups = norm.num_groups(layer.out_features)
    assert groups is not None, "checked with the config"
    return nn.GroupNorm(groups, layer.out_features, norm.eps, norm.affine)


def _instance(layer: Layer) -> nn.Module:
    norm = _options(layer, ExampleNorm)
    return nn.InstanceNorm2d(layer.out_features, norm.eps, affine=norm.affine)


NORMS: dict[str, Builder] = {
    "batch": _batch,
    "batch_from_scratch": _batch_from_scratch,
    "layer": _layer,
    "group": _group,
    "instance": _instance,
}


def build_norm(layer: Layer) -> nn.Module | None:
    """The norm after `layer`, for inputs (N, C) if it is dense and (N, C, H, W) if a convolution."""
    return None if layer.norm is None else NORMS[layer.norm.kind](layer)


def _options(layer: Layer, section: type[Options]) -> Options:
    assert isinstance(layer.norm, section)
    return layer.norm
