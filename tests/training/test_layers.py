"""The layers that are quicker than torch's: the same numbers, the same gradients, the same name."""

import copy

import pytest
import torch
from torch import Tensor, nn

from bncompare.training.layers import AvgPool2x2, MaxPool2x2, OneChannelConv2d

POOLINGS = [(AvgPool2x2, nn.AvgPool2d), (MaxPool2x2, nn.MaxPool2d)]
SHAPES = [(3, 5, 8, 6), (1, 1, 2, 2), (2, 3, 7, 6), (2, 3, 6, 7), (1, 2, 3, 3), (4, 6, 8)]


def images(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_gradient(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What leaves, and the gradient of what enters for one that is given."""
    x = x.clone().requires_grad_()
    left = module(x)
    (gradient,) = torch.autograd.grad(left, x, images(*left.shape, dtype=x.dtype, seed=1))
    return left, gradient


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("ours", "torchs"), POOLINGS)
def test_pooling_is_torchs_to_the_bit(
    ours: type[nn.Module], torchs: type[nn.Module], shape: tuple[int, ...], dtype: torch.dtype, channels_last: bool
) -> None:
    """Forward and backward, sizes odd and even, with equal numbers in a window, in torch's layout of memory."""
    x = images(*shape, dtype=dtype)
    for entering in (x, x.round(), torch.zeros_like(x)):
        if channels_last and x.dim() == 4:
            entering = entering.contiguous(memory_format=torch.channels_last)
        results = [with_gradient(kind(2), entering) for kind in (ours, torchs)]
        for mine, theirs in zip(*results, strict=True):
            assert torch.equal(mine, theirs)
            assert mine.stride() == theirs.stride()


@pytest.mark.parametrize(("ours", "torchs"), POOLINGS)
def test_what_is_not_a_number_is_not_pooled_away(ours: type[nn.Module], torchs: type[nn.Module]) -> None:
    """NaN and infinity leave as they do from torch's, so that a run that diverges is noticed."""
    x = images(1, 1, 4, 4)
    x[0, 0, 0, 1], x[0, 0, 3, 3], x[0, 0, 0, 2] = torch.nan, torch.inf, -torch.inf
    assert torch.equal(ours(2)(x).nan_to_num(7), torchs(2)(x).nan_to_num(7))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("needs_input", [True, False])
@pytest.mark.parametrize(("batch", "side", "outputs", "kernel", "padding"), [(3, 9, 4, 5, 2), (1, 5, 2, 3, 0)])
def test_the_convolution_of_grey_images_is_torchs(
    batch: int, side: int, outputs: int, kernel: int, padding: int, needs_input: bool, bias: bool
) -> None:
    """What leaves to the bit, the gradients but for rounding."""
    x = images(batch, 1, side, side - 1).requires_grad_(needs_input)
    ours = OneChannelConv2d(1, outputs, kernel, padding=padding, bias=bias).double()
    torchs = nn.Conv2d(1, outputs, kernel, padding=padding, bias=bias).double()
    torchs.load_state_dict(ours.state_dict())
    gradients = []
    for module in (ours, torchs):
        left = module(x)
        gradient = images(*left.shape, seed=1)
        gradients.append(torch.autograd.grad(left, [*module.parameters(), *([x] if needs_input else [])], gradient))
    assert torch.equal(ours(x), torchs(x))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-13)


def test_the_gradient_of_grey_images_rounds_no_more_than_torchs() -> None:
    """In float32, against float64, for a batch of LeNet."""
    x, gradient = images(128, 1, 28, 28), images(128, 6, 24, 24, seed=1)
    errors = []
    exact = nn.Conv2d(1, 6, 5).double()
    (expected,) = torch.autograd.grad(exact(x), exact.weight, gradient)
    for module in (OneChannelConv2d(1, 6, 5), nn.Conv2d(1, 6, 5)):
        (weight,) = torch.autograd.grad(module(x.float()), module.weight, gradient.float())
        errors.append((weight - expected).abs().max() / expected.abs().max())
    assert errors[0] < 2 * errors[1] < 1e-4


@pytest.mark.parametrize("module", [AvgPool2x2(2), MaxPool2x2(2), OneChannelConv2d(1, 2, 3, padding=1).double()])
def test_gradients_of_gradients(module: nn.Module) -> None:
    """Against finite differences, once and twice, and for a whole stack of models or images at once."""
    x = torch.randperm(32, generator=torch.Generator().manual_seed(0)).double().view(2, 1, 4, 4).requires_grad_()
    entering = (x, *module.parameters())

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(dict(module.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(module, named, (x,))

    assert torch.autograd.gradcheck(call, entering)
    assert torch.autograd.gradgradcheck(call, entering)

    def gradient(*entering: Tensor) -> Tensor:
        return torch.func.grad(lambda *values: call(*values).square().sum())(*entering)

    stacked = [torch.stack([values.detach(), 2 * values.detach()]) for values in entering]
    at_once = torch.func.vmap(gradient)(*stacked)
    torch.testing.assert_close(at_once, torch.stack([gradient(*one) for one in zip(*stacked, strict=True)]))


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (AvgPool2x2((2, 2)), nn.AvgPool2d((2, 2))),
        (MaxPool2x2((2, 2)), nn.MaxPool2d((2, 2))),
        (OneChannelConv2d(1, 6, 5, 1, 2), nn.Conv2d(1, 6, 5, 1, 2)),
    ],
)
def test_they_print_as_torchs(ours: nn.Module, torchs: nn.Module) -> None:
    """In explain, graph and a notebook; a copy too."""
    assert str(ours) == str(copy.deepcopy(ours)) == str(torchs)
