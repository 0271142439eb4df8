"""Models: their layers, names, sizes, initial weights and the place of each norm."""

import math

import pytest
import torch
from kit import CONFIGS
from torch import nn

from bncompare.config.expand import load_experiment
from bncompare.config.quantities import count_parameters, layers
from bncompare.config.run import RunConfig
from bncompare.training.layers import AvgPool2x2, MaxPool2x2, OneChannelConv2d, PairedDropout, SparseConv2d
from bncompare.training.model import build_model
from bncompare.training.network import Network


def run_of(model: str, norm: str = "none", config: str = "smoke.yaml") -> RunConfig:
    settings = [f"model={model}", f"compare.model.norm=[{norm}]"]
    return load_experiment(CONFIGS / config, overrides=settings, seeds="1").runs[0]


def names(run: RunConfig) -> list[str]:
    return [name for name, module in build_model(run).named_modules() if not list(module.children()) and name]


def test_mlp() -> None:
    """784-128-10 with a norm: the order and names of its layers, 784·128 + 2·128 + 128·10 + 10 parameters."""
    run = run_of("{name: mlp, hidden: [128]}", "batch")
    assert names(run) == [
        "hidden.0.flatten",
        "hidden.0.linear",
        "hidden.0.norm",
        "hidden.0.activation",
        "output.linear",
    ]
    assert count_parameters(run) == 784 * 128 + 2 * 128 + 128 * 10 + 10


@pytest.mark.parametrize(("padding", "flat"), [(2, 400), (0, 256)])
def test_lenet(padding: int, flat: int) -> None:
    """LeNet's published sizes: 400 inputs to the first dense layer with padding 2, 256 without."""
    run = run_of(f"{{name: lenet, padding: {padding}, bias: always}}")
    expected = (25 * 6 + 6) + (25 * 6 * 16 + 16) + (flat * 120 + 120) + (120 * 84 + 84) + (84 * 10 + 10)
    assert count_parameters(run) == expected
    assert build_model(run)(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
    assert names(run) == [
        *("conv.0.conv", "conv.0.activation", "conv.0.pool", "conv.1.conv", "conv.1.activation", "conv.1.pool"),
        *(
            "dense.0.flatten",
            "dense.0.linear",
            "dense.0.activation",
            "dense.1.linear",
            "dense.1.activation",
            "output.linear",
        ),
    ]


def test_lenet_takes_shape_and_classes_from_the_data() -> None:
    """Channels, height, width and classes go through to the layers; too small images are a problem."""
    lenet = run_of("{name: lenet}").model
    first, second, third, _, output = lenet.layers((3, 32, 40), 100)
    assert (first.num_weights, second.output_shape, third.in_features) == (3 * 6 * 25, (16, 6, 8), 16 * 6 * 8)
    assert (output.out_features, third.out_features) == (100, 120)
    assert list(lenet.problems((1, 12, 12))) == []
    ((key, message),) = lenet.problems((3, 12, 11))
    assert (key, message) == (
        ("name",),
        "lenet cannot take inputs of 3×12×11: conv.1 leaves nothing of 6×5",
    )


@pytest.mark.parametrize("padding", [0, 2])
def test_planned_sizes_are_the_real_ones(padding: int) -> None:
    """The sizes worked out from the config are those of the tensors that leave each layer."""
    run = run_of(f"{{name: lenet, padding: {padding}}}")
    model = build_model(run)
    seen: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: tuple(o.shape[1:])}))
    model(torch.zeros(1, 1, 28, 28))
    for layer in layers(run):
        assert layer.shape == seen[f"{layer.name}.{layer.operation}"]


def test_pooling_and_activation() -> None:
    """The pooling and the activation are the ones asked for."""
    model = build_model(run_of("{name: lenet, pooling: max, activation: tanh}"))
    assert isinstance(model.get_submodule("conv.0.pool"), MaxPool2x2)
    assert isinstance(model.get_submodule("dense.1.activation"), nn.Tanh)
    model = build_model(run_of("{name: lenet, pooling: avg, activation: sigmoid}"))
    assert isinstance(model.get_submodule("conv.0.pool"), AvgPool2x2)
    assert isinstance(model.get_submodule("conv.0.activation"), nn.Sigmoid)
    assert isinstance(model.get_submodule("conv.0.conv"), OneChannelConv2d)
    assert type(model.get_submodule("conv.1.conv")) is nn.Conv2d


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "kind"),
    [(1, 3, 1, OneChannelConv2d), (1, 3, 2, nn.Conv2d), (2, 3, 1, nn.Conv2d), (1, 2, 3, SparseConv2d)],
)
def test_every_convolution_is_torchs(channels: int, kernel: int, stride: int, kind: type[nn.Conv2d]) -> None:
    """Whichever class computes it: its stride and padding are those of the plan."""
    planned = run_of("{name: lenet}").model.conv("a", (channels, 7, 6), 4, kernel, stride=stride, padding=1)
    conv = Network([planned]).get_submodule("a.conv")
    assert type(conv) is kind
    torchs = nn.Conv2d(channels, 4, kernel, stride, 1)
    torchs.load_state_dict(conv.state_dict())
    x = torch.arange(3.0 * channels * 7 * 6).view(3, channels, 7, 6)
    assert torch.equal(conv(x), torchs(x))
    assert conv(x).shape[1:] == planned.shape


@pytest.mark.parametrize(
    ("norm", "normed"),
    [
        ("batch", ["conv.0", "conv.1", "dense.0", "dense.1"]),
        ("{kind: batch, layers: conv}", ["conv.0", "conv.1"]),
        ("{kind: batch, layers: dense}", ["dense.0", "dense.1"]),
        ("{kind: batch, layers: [conv.1, dense.0]}", ["conv.1", "dense.0"]),
        ("{kind: batch, layers: [dense.1], on_output: true}", ["dense.1", "output"]),
    ],
)
def test_which_layers_have_a_norm(norm: str, normed: list[str]) -> None:
    """`layers` and `on_output` choose the layers that are normalized."""
    found = [name.removesuffix(".norm") for name in names(run_of("{name: lenet}", norm)) if name.endswith(".norm")]
    assert found == normed


def test_placement() -> None:
    """A norm sits before the activation, or after it."""
    before = names(run_of("{name: mlp, hidden: [8]}", "{kind: batch, placement: before}"))
    after = names(run_of("{name: mlp, hidden: [8]}", "{kind: batch, placement: after}"))
    assert before[1:4] == ["hidden.0.linear", "hidden.0.norm", "hidden.0.activation"]
    assert after[1:4] == ["hidden.0.linear", "hidden.0.activation", "hidden.0.norm"]


@pytest.mark.parametrize(
    ("norm", "bias", "has_bias"),
    [
        ("batch", "auto", False),
        ("{kind: batch, placement: after}", "auto", True),
        ("{kind: batch, affine: false}", "auto", True),
        ("batch", "always", True),
        ("none", "auto", True),
        ("layer", "auto", False),
        ("group", "auto", False),
    ],
)
def test_bias_before_a_norm(norm: str, bias: str, has_bias: bool) -> None:
    """`bias: auto` leaves the bias out where a norm with its own β follows directly."""
    model = build_model(run_of(f"{{name: mlp, hidden: [8], bias: {bias}}}", norm))
    assert (model.get_submodule("hidden.0.linear").bias is not None) == has_bias
    assert model.get_submodule("output.linear").bias is not None


def test_dropout_places() -> None:
    """Dropout sits after the activation or before the norm, in every hidden layer or the last alone."""
    after = names(run_of("{name: mlp, hidden: [8, 8], dropout: 0.5}", "batch"))
    assert [n for n in after if n.startswith("hidden.1")] == [
        f"hidden.1.{part}" for part in ("linear", "norm", "activation", "dropout")
    ]
    before = names(run_of("{name: mlp, hidden: [8], dropout: {p: 0.5, placement: before_norm}}", "batch"))
    assert before[1:] == [
        *(f"hidden.0.{part}" for part in ("linear", "dropout", "norm", "activation")),
        "output.linear",
    ]
    last = names(run_of("{name: mlp, hidden: [8, 8], dropout: {p: 0.5, layers: last}}"))
    assert [n for n in last if "dropout" in n] == ["hidden.1.dropout"]


def test_dropout_keeps_the_mean() -> None:
    """Dropout zeroes a fraction p and scales the rest so that the mean stays; in evaluation it does nothing."""
    dropout = PairedDropout(0.3)
    dropout.reseed(0, "x", 0, torch.device("cpu"))
    x = torch.ones(100_000)
    y = dropout(x)
    assert (y == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert y.mean().item() == pytest.approx(1, abs=0.02)
    assert dropout.eval()(x) is x


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("torch_default", 1 / math.sqrt(3 * 784)),
        ("xavier_uniform", math.sqrt(2 / (784 + 500))),
        ("xavier_normal", math.sqrt(2 / (784 + 500))),
        ("{kind: xavier_normal, gain: 3}", 3 * math.sqrt(2 / (784 + 500))),
        ("kaiming_uniform", math.sqrt(2 / 784)),
        ("kaiming_normal", math.sqrt(2 / 784)),
        ("{kind: kaiming_normal, gain: 0.5}", 0.5 * math.sqrt(2 / 784)),
        ("lecun_normal", math.sqrt(1 / 784)),
        ("{kind: lecun_normal, gain: 2}", 2 * math.sqrt(1 / 784)),
        ("{kind: normal, std: 0.05}", 0.05),
    ],
)
def test_initial_scale(init: str, std: float) -> None:
    """Initial weights have mean 0 and the standard deviation of their published formula; biases are 0 or torch's."""
    layer = build_model(run_of(f"{{name: mlp, hidden: [500], init: {init}}}")).get_submodule("hidden.0.linear")
    assert isinstance(layer, nn.Linear)
    assert layer.weight.std().item() == pytest.approx(std, rel=0.01)
    assert abs(layer.weight.mean().item()) < 0.01 * std
    if init == "torch_default":
        assert layer.bias.abs().max().item() == pytest.approx(1 / 28, rel=0.05)
    else:
        assert layer.bias.abs().max().item() == 0


def test_torch_default_is_torchs_distribution() -> None:
    """The default weights stay within ±1/√fan_in, as torch.nn.Linear's and Conv2d's do."""
    model = build_model(run_of("{name: lenet}"))
    conv, linear = model.get_submodule("conv.1.conv"), model.get_submodule("dense.0.linear")
    assert 0.95 < conv.weight.abs().max().item() * math.sqrt(6 * 25) <= 1
    assert 0.95 < linear.weight.abs().max().item() * math.sqrt(400) <= 1
