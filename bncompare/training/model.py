"""The models, built from the config: a chain of named layers whose names all variants share.

hidden.0.linear → hidden.0.norm → hidden.0.activation → hidden.0.dropout → … → output.linear
conv.0.conv → conv.0.norm → conv.0.activation → conv.0.pool → … → dense.0.linear → … → output.linear
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from bncompare.config import KERNEL_SIZE, POOL_SIZE, Layer, LeNet, RunConfig, layers
from bncompare.derive import derive
from bncompare.errors import UserError
from bncompare.norms import ActivationNorm, WeightParametrization
from bncompare.randomness import StepRandomness, generator

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "identity": nn.Identity,
}


class PairedDropout(StepRandomness):
    """Inverted dropout whose masks are a function of (seed, layer, step), so that variants share them."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Zero each element with probability p and scale the others by 1/(1−p); in evaluation, x itself."""
        if not self.training:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep / (1 - self.p)

    def extra_repr(self) -> str:
        """The option, as torch.nn prints it."""
        return f"p={self.p}"


class Subset(nn.Module):
    """A weight of which some entries, chosen at random, are trained; the rest keeps its initial value."""

    initial: Tensor
    chosen: Tensor

    def __init__(self, weight: Tensor, number: int, random: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("initial", weight.detach().clone())
        chosen = torch.randperm(weight.numel(), generator=random, device="cpu")[:number]
        self.register_buffer("chosen", chosen.to(weight.device))

    def forward(self, values: Tensor) -> Tensor:
        """The whole weight, from the entries that are trained."""
        return self.initial.flatten().index_copy(0, self.chosen, values).view_as(self.initial)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The entries that are trained, from the whole weight."""
        return weight.flatten()[self.chosen]


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


def count_parameters(run: RunConfig) -> int:
    """Trainable numbers in the model."""
    with torch.device("meta"):
        model = _build(run)
        _parametrize(run, model)
    return sum(parameter.numel() for group in trainable_parameters(run, model) for parameter in group)


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


def _parametrize(run: RunConfig, model: nn.Sequential) -> None:
    """Norms of weights, or the choice of what is trained of them, on top of the initial weights, which stay as they
    are in the other variants."""
    for layer in layers(run):
        if run.training.trainable == "random" and layer.norm is not None and layer.norm.has_parameters:
            name = f"{layer.name}.{'conv' if layer.kind == 'conv' else 'linear'}"
            linear = model.get_submodule(name)
            assert isinstance(linear, nn.Linear | nn.Conv2d)
            number = sum(p.numel() for p in model.get_submodule(f"{layer.name}.norm").parameters())
            subset = Subset(linear.weight, number, generator(run.seed, f"trained entries of {name}"))
            register_parametrization(linear, "weight", subset)
        if isinstance(layer.norm, WeightParametrization):
            name = f"{layer.name}.{'conv' if layer.kind == 'conv' else 'linear'}"
            with torch.random.fork_rng(devices=[]):  # spectral norm starts its power iteration at random
                torch.manual_seed(derive(run.seed, f"init {name}.parametrization"))
                layer.norm.parametrize(model.get_submodule(name))


def _build(run: RunConfig) -> nn.Sequential:
    planned = layers(run)
    groups: OrderedDict[str, nn.Sequential] = OrderedDict()
    flattened = len(run.data.input_shape) == 1
    for layer in planned:
        group, _, index = layer.name.partition(".")
        if layer.kind == "dense" and not flattened:
            groups["flatten"] = nn.Sequential(nn.Flatten())
            flattened = True
        block = nn.Sequential(_block(run, layer))
        if index:
            groups.setdefault(group, nn.Sequential()).add_module(index, block)
        else:
            groups[group] = block
    return nn.Sequential(OrderedDict(groups))


def _block(run: RunConfig, layer: Layer) -> OrderedDict[str, nn.Module]:
    """One layer and what belongs to it, in order."""
    model = run.model
    block: OrderedDict[str, nn.Module] = OrderedDict()
    if layer.kind == "conv":
        block["conv"] = nn.Conv2d(
            layer.in_features, layer.out_features, KERNEL_SIZE, padding=layer.padding, bias=layer.bias
        )
    else:
        block["linear"] = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
    norm = layer.norm.build(layer.shape) if isinstance(layer.norm, ActivationNorm) else None
    if layer.is_output:
        if norm is not None:
            block["norm"] = norm
        return block
    dropout = PairedDropout(layer.dropout) if layer.dropout > 0 else None
    dropout_first = model.name == "mlp" and model.dropout.placement == "before_norm"
    if dropout is not None and dropout_first:
        block["dropout"] = dropout
    norm_first = isinstance(layer.norm, ActivationNorm) and layer.norm.placement == "before"
    if norm is not None and norm_first:
        block["norm"] = norm
    block["activation"] = ACTIVATIONS[model.activation]()
    if norm is not None and not norm_first:
        block["norm"] = norm
    if dropout is not None and not dropout_first:
        block["dropout"] = dropout
    if isinstance(model, LeNet) and layer.kind == "conv":
        block["pool"] = (nn.AvgPool2d if model.pooling == "avg" else nn.MaxPool2d)(POOL_SIZE)
    return block


def resolve_device(name: str) -> torch.device:
    """The device a config or --device names; raises UserError if this machine has none."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name.partition(":")[0])
    # The number is read off the text: torch keeps it in a byte, where 256 is 0.
    if device.type == "cuda" and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        found = f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no CUDA device"
        raise UserError(f"device {name}: this machine has {found}; use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device mps: this machine has no MPS device; use auto or cpu")
    return torch.device(name)
