"""The models, built from the config: named layers, which all variants share.

hidden.0.linear → hidden.0.norm → hidden.0.activation → hidden.0.dropout → … → output.linear
conv.0.conv → conv.0.norm → conv.0.activation → conv.0.pool → … → dense.0.linear → … → output.linear
"""

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from bncompare.config import RunConfig, layers
from bncompare.derive import derive
from bncompare.randomness import generator
from bncompare.training.layers import Subset
from bncompare.training.network import Network


def build_model(run: RunConfig, device: torch.device | str = "cpu") -> nn.Module:
    """The model of a run with its initial weights, which depend on the seed and a layer's name alone.

    Weights are drawn on the CPU, so that they are the same on every device.
    """
    model = Network(layers(run))
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


def _parametrize(run: RunConfig, model: nn.Module) -> None:
    """Norms of weights, or the choice of what is trained of them, on top of the initial weights, which stay as they
    are in the other variants."""
    for layer in layers(run):
        name = f"{layer.name}.{layer.operation}"
        if run.training.trainable == "random" and layer.norm is not None and layer.norm.has_parameters:
            linear = model.get_submodule(name)
            assert isinstance(linear, nn.Linear | nn.Conv2d)
            number = sum(p.numel() for p in model.get_submodule(f"{layer.name}.norm").parameters())
            subset = Subset(linear.weight, number, generator(run.seed, f"trained entries of {name}"))
            register_parametrization(linear, "weight", subset)
        if layer.weight_norm is not None:
            with torch.random.fork_rng(devices=[]):  # spectral norm starts its power iteration at random
                torch.manual_seed(derive(run.seed, f"init {name}.parametrization"))
                layer.weight_norm.parametrize(model.get_submodule(name))
