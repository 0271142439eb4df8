"""The models, built from the config: a chain of named layers whose names all variants share.

hidden.0.linear → hidden.0.norm → hidden.0.activation → hidden.0.dropout → … → output.linear
conv.0.conv → conv.0.norm → conv.0.activation → conv.0.pool → … → dense.0.linear → … → output.linear
"""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from bncompare.config import ACTIVATIONS, KERNEL_SIZE, POOL_SIZE, Layer, LeNet, Part, RunConfig, layers
from bncompare.derive import derive
from bncompare.randomness import generator
from bncompare.training.layers import PairedDropout, Subset


def build_model(run: RunConfig, device: torch.device | str = "cpu") -> nn.Sequential:
    """The model of a run with its initial weights, which depend on the seed and a layer's name alone.

    Weights are drawn on the CPU, so that they are the same on every device.
    """
    model = _build(run)
    _draw(run, model)
    _parametrize(run, model)
    return model.to(device)


@torch.no_grad()
def _draw(run: RunConfig, model: nn.Module) -> None:
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            run.model.init.draw_weight(layer.weight, generator(run.seed, f"init {name}.weight"))
            if layer.bias is not None:
                fan_in = layer.weight[0].numel()
                run.model.init.draw_bias(layer.bias, fan_in, generator(run.seed, f"init {name}.bias"))


def trainable_parameters(run: RunConfig, model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """What `training.trainable` trains: γ and β of the norm layers, and all else."""
    norms, others = list[nn.Parameter](), list[nn.Parameter]()
    trainable = run.training.trainable
    for name, module in model.named_modules():
        is_norm = name.rpartition(".")[2] == "norm"
        if is_norm or trainable != "random" or ".parametrizations." in name:
            (norms if is_norm else others).extend(module.parameters(recurse=False))
    if trainable == "random":
        norms = []
    return norms if trainable != "all_but_norm" else [], others if trainable != "norm" else []


def weights_of(run: RunConfig, model: nn.Module) -> list[nn.Parameter]:
    """What is trained of the weights of dense layers and convolutions, their biases left out."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    biases = {id(module.bias) for module in linear}
    return [parameter for parameter in trainable_parameters(run, model)[1] if id(parameter) not in biases]


def _parametrize(run: RunConfig, model: nn.Sequential) -> None:
    """Norms of weights, or the choice of what is trained of them, on top of the initial weights, which stay as they
    are in the other variants."""
    for layer in layers(run):
        name = f"{layer.name}.{layer.parts[0]}"
        if run.training.trainable == "random" and layer.norm is not None and layer.norm.has_parameters:
            linear = model.get_submodule(name)
            assert isinstance(linear, nn.Linear | nn.Conv2d)
            number = sum(p.numel() for p in model.get_submodule(f"{layer.name}.norm").parameters())
            subset = Subset(linear.weight, number, generator(run.seed, f"trained entries of {name}"))
            register_parametrization(linear, "weight", subset)
        if layer.norm is not None and layer.norm.of_weight is not None:
            with torch.random.fork_rng(devices=[]):  # spectral norm starts its power iteration at random
                torch.manual_seed(derive(run.seed, f"init {name}.parametrization"))
                layer.norm.of_weight.parametrize(model.get_submodule(name))


def _build(run: RunConfig) -> nn.Sequential:
    groups: OrderedDict[str, nn.Sequential] = OrderedDict()
    flattened = len(run.data.input_shape) == 1
    for layer in layers(run):
        group, _, index = layer.name.partition(".")
        if layer.kind == "dense" and not flattened:
            groups["flatten"] = nn.Sequential(nn.Flatten())
            flattened = True
        block = nn.Sequential(OrderedDict((part, _module(run, layer, part)) for part in layer.parts))
        if index:
            groups.setdefault(group, nn.Sequential()).add_module(index, block)
        else:
            groups[group] = block
    return nn.Sequential(OrderedDict(groups))


def _module(run: RunConfig, layer: Layer, part: Part) -> nn.Module:
    """A part of a layer."""
    match part:
        case "conv":
            sizes = layer.in_features, layer.out_features, KERNEL_SIZE
            return nn.Conv2d(*sizes, padding=layer.padding, bias=layer.bias)
        case "linear":
            return nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
        case "norm":
            assert layer.norm is not None
            return layer.norm.build(layer.shape)
        case "dropout":
            return PairedDropout(layer.dropout)
        case "pool":
            assert isinstance(run.model, LeNet)
            return nn.AvgPool2d(POOL_SIZE) if run.model.pooling == "avg" else nn.MaxPool2d(POOL_SIZE)
        case "activation":
            activation: nn.Module = getattr(nn, ACTIVATIONS[run.model.activation])()
            return activation
