"""Each norm against torch.nn, and against its formula written independently in float64 NumPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from bncompare.config.architecture import Layer
from bncompare.config.expansion import load_experiment
from bncompare.config.schema import BatchNorm as BatchNormConfig
from bncompare.config.schema import ExampleNorm, GroupNorm, RunConfig
from bncompare.data import load_dataset, load_pool
from bncompare.models import build_model
from bncompare.norms import NORMS, build_norm
from bncompare.norms.from_scratch import BatchNorm
from bncompare.training import loss_function

Array = NDArray[np.float64]
CONFIGS = Path(__file__).parents[1] / "configs"
TORCH_BATCH_NORM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
SHAPES = [(8, 3), (5, 3, 7), (4, 3, 5, 6), (3, 3, 2, 4, 5)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pair(shape: tuple[int, ...], momentum: float | None = 0.1, affine: bool = True) -> tuple[BatchNorm, nn.Module]:
    ours = BatchNorm(shape[1], momentum=momentum, affine=affine).double()
    theirs = TORCH_BATCH_NORM[len(shape)](shape[1], momentum=momentum, affine=affine).double()
    if affine:
        with torch.no_grad():
            for norm in (ours, theirs):
                norm.weight.copy_(random(shape[1], seed=1))
                norm.bias.copy_(random(shape[1], seed=2))
    return ours, theirs


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0, None])
@pytest.mark.parametrize("affine", [True, False])
def test_from_scratch_equals_torch(shape: tuple[int, ...], momentum: float | None, affine: bool) -> None:
    """Outputs, gradients and running statistics equal torch.nn's over several batches, then in evaluation mode."""
    ours, theirs = pair(shape, momentum, affine)
    for step in range(4):
        x = (random(*shape, seed=step) * 3 + 5).requires_grad_()
        x2 = x.detach().clone().requires_grad_()
        upstream = random(*shape, seed=100 + step)
        y, y2 = ours(x), theirs(x2)
        y.backward(upstream)
        y2.backward(upstream)
        torch.testing.assert_close(y, y2, rtol=0, atol=1e-12)
        assert x.grad is not None
        torch.testing.assert_close(x.grad, x2.grad, rtol=0, atol=1e-12)
    for (name, a), (name2, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == name2
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-11)
    x = random(*shape, seed=50)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_from_scratch_gradcheck(shape: tuple[int, ...]) -> None:
    """The gradients are those of finite differences."""
    norm, _ = pair(shape)
    x = random(*shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w, b: functional(norm, x, w, b), (x, norm.weight, norm.bias))


def functional(norm: BatchNorm, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))


def test_running_variance_is_unbiased() -> None:
    """running ← 0.9·running + 0.1·batch, with the variance over m − 1: the update rule, by hand."""
    norm = BatchNorm(2, momentum=0.1).double()
    x = random(5, 2)
    norm(x)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * x.numpy().mean(0), rtol=1e-13)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * x.numpy().var(0, ddof=1), rtol=1e-13)


def test_cumulative_average() -> None:
    """momentum = None makes the running statistics the plain mean of those of all batches."""
    norm = BatchNorm(3, momentum=None).double()
    batches = [random(7, 3, seed=i).numpy() for i in range(6)]
    for batch in batches:
        norm(torch.from_numpy(batch))
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean([b.mean(0) for b in batches], 0), atol=1e-13)
    np.testing.assert_allclose(norm.running_var.numpy(), np.mean([b.var(0, ddof=1) for b in batches], 0), atol=1e-13)


def test_mode_is_the_modules_own() -> None:
    """train/eval decides, not torch.is_grad_enabled(): batch statistics under no_grad, running ones with grad."""
    norm = BatchNorm(3).double()
    x = random(6, 3) + 10
    with torch.no_grad():
        y = norm(x)
    assert abs(y.mean()) < 1e-9
    assert norm.num_batches_tracked == 1
    norm.eval()
    y = norm(x.requires_grad_())
    assert y.requires_grad
    assert y.mean() > 5
    assert norm.num_batches_tracked == 1


def test_one_value_per_channel_is_refused() -> None:
    """A training batch whose variance is 0 by construction is an error, in evaluation it is fine."""
    norm = BatchNorm(3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(torch.ones(1, 3))
    assert norm.eval()(torch.ones(1, 3)).shape == (1, 3)


# ---------------------------------------------------------------- formulas in NumPy


def normalize(x: Array, axes: tuple[int, ...], eps: float = 1e-5) -> Array:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def by_formula(kind: str, x: Array) -> Array:
    """The norm of x, (N, C) or (N, C, H, W), with γ = 1 and β = 0."""
    if kind.startswith("batch"):
        return normalize(x, (0, *range(2, x.ndim)))
    if kind == "layer":
        return normalize(x, tuple(range(1, x.ndim)))
    if kind == "instance":
        return normalize(x, tuple(range(2, x.ndim)))
    groups = x.reshape(x.shape[0], 2, -1)
    return normalize(groups, (2,)).reshape(x.shape)


def layer_with(kind: str, conv: bool) -> Layer:
    if kind.startswith("batch"):
        norm = BatchNormConfig(kind=kind)  # type: ignore[arg-type]
    elif kind == "group":
        norm = GroupNorm(kind="group")
    else:
        norm = ExampleNorm(kind=kind)  # type: ignore[arg-type]
    return Layer("x", "conv" if conv else "dense", 4, 6, False, norm, 0.0, size=5 if conv else 1)


CASES = [(kind, conv) for kind in NORMS for conv in (False, True) if conv or kind != "instance"]


@pytest.mark.parametrize(("kind", "conv"), CASES)
def test_norm_equals_its_formula(kind: str, conv: bool) -> None:
    """Every kind normalizes over the axes its definition says, in float64."""
    module = build_norm(layer_with(kind, conv))
    assert module is not None
    x = random(8, 6, 5, 5) * 3 + 2 if conv else random(8, 6) * 3 + 2
    np.testing.assert_allclose(module.double()(x).detach().numpy(), by_formula(kind, x.numpy()), atol=1e-12)


@pytest.mark.parametrize(("kind", "conv"), CASES)
def test_state_dict_round_trip(kind: str, conv: bool) -> None:
    """A norm restored from its state gives the same output in evaluation mode."""
    first, second = build_norm(layer_with(kind, conv)), build_norm(layer_with(kind, conv))
    assert first is not None
    assert second is not None
    x = random(8, 6, 5, 5).float() if conv else random(8, 6).float()
    first(x)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first.eval()(x), second.eval()(x), rtol=0, atol=0)


def lenet(kind: str) -> RunConfig:
    overrides = [f"compare.model.norm=[{kind}]", "model.activation=sigmoid", "data.validation=0"]
    (run,) = load_experiment(
        CONFIGS / "smoke.yaml", overrides=[*overrides, "training.early_stopping=null"], seeds="1"
    ).runs
    return run


def test_lenet_training_equals_torch() -> None:
    """20 float64 steps of a LeNet give the same weights and buffers with the norm from scratch as with torch's."""
    states = []
    for kind in ("batch", "batch_from_scratch"):
        run = lenet(kind)
        assert run.data.name != "random_regression"
        split = load_dataset(run, load_pool(run.data, Path())).train
        model = build_model(run).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for step in range(20):
            inputs, targets = split.batch(split.rows[step * 16 : step * 16 + 16])
            optimizer.zero_grad()
            loss_function(run)(model(inputs.double()), targets).backward()
            optimizer.step()
        states.append(model.state_dict())
    assert list(states[0]) == list(states[1])
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=0, atol=1e-12, msg=name)
