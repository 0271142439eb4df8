"""Each norm against torch.nn, and against its formula written independently in float64 NumPy."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import CONFIGS
from numpy.typing import NDArray
from torch import nn

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.errors import UserError
from bncompare.extras.laws import MODULE_LAWS, SHAPES, built, equals_reference
from bncompare.norms.base import NORMS, ActivationNorm
from bncompare.norms.from_scratch import BatchNormNd
from bncompare.randomness import StepRandomness
from bncompare.training.data import Datasets
from bncompare.training.evaluate import loss_function
from bncompare.training.loop import train
from bncompare.training.model import build_model

Array = NDArray[np.float64]
dataset_of = Datasets(None).of
TORCH_BATCH_NORM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
BATCH_SHAPES = [(8, 3), (5, 3, 7), (4, 3, 5, 6), (3, 3, 2, 4, 5)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pair(shape: tuple[int, ...], momentum: float | None = 0.1, affine: bool = True) -> tuple[BatchNormNd, nn.Module]:
    ours = BatchNormNd(shape[1], momentum=momentum, affine=affine).double()
    theirs = TORCH_BATCH_NORM[len(shape)](shape[1], momentum=momentum, affine=affine).double()
    if affine:
        with torch.no_grad():
            for norm in (ours, theirs):
                norm.weight.copy_(random(shape[1], seed=1))
                norm.bias.copy_(random(shape[1], seed=2))
    return ours, theirs


@pytest.mark.parametrize("shape", BATCH_SHAPES, ids=str)
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


@pytest.mark.parametrize("shape", BATCH_SHAPES, ids=str)
def test_from_scratch_gradcheck(shape: tuple[int, ...]) -> None:
    """The gradients are those of finite differences."""
    norm, _ = pair(shape)
    x = random(*shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w, b: functional(norm, x, w, b), (x, norm.weight, norm.bias))


def functional(norm: BatchNormNd, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))


def test_running_variance_is_unbiased() -> None:
    """running ← 0.9·running + 0.1·batch, with the variance over m − 1: the update rule, by hand."""
    norm = BatchNormNd(2, momentum=0.1).double()
    x = random(5, 2)
    norm(x)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * x.numpy().mean(0), rtol=1e-13)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * x.numpy().var(0, ddof=1), rtol=1e-13)


def test_cumulative_average() -> None:
    """momentum = None makes the running statistics the plain mean of those of all batches."""
    norm = BatchNormNd(3, momentum=None).double()
    batches = [random(7, 3, seed=i).numpy() for i in range(6)]
    for batch in batches:
        norm(torch.from_numpy(batch))
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean([b.mean(0) for b in batches], 0), atol=1e-13)
    np.testing.assert_allclose(norm.running_var.numpy(), np.mean([b.var(0, ddof=1) for b in batches], 0), atol=1e-13)


def test_mode_is_the_modules_own() -> None:
    """train/eval decides, not torch.is_grad_enabled(): batch statistics under no_grad, running ones with grad."""
    norm = BatchNormNd(3).double()
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
    norm = BatchNormNd(3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(torch.ones(1, 3))
    assert norm.eval()(torch.ones(1, 3)).shape == (1, 3)


# ---------------------------------------------------------------- every kind: formulas in NumPy

KINDS = [kind for kind, norm in NORMS.items() if issubclass(norm, ActivationNorm)]
# One value per channel is refused.
CONV_ONLY = ("instance", "filter_response")
BATCH_KINDS = [kind for kind in KINDS if "batch" in kind]


def options(kind: str, **given: Any) -> Any:
    return NORMS[kind].model_validate({"kind": kind, **NORMS[kind].tested_with, **given})


def build(kind: str, shape: tuple[int, ...], **given: Any) -> nn.Module:
    return built(options(kind, **given), shape)


@pytest.mark.parametrize("law", MODULE_LAWS)
@pytest.mark.parametrize("kind", KINDS)
def test_laws_of_a_module(kind: str, law: str) -> None:
    """Every kind passes every law, at each shape that it takes."""
    shapes = [shape for shape in SHAPES if options(kind).problem(shape, 8) is None]
    assert [MODULE_LAWS[law](options(kind), shape) for shape in shapes] == [None] * len(shapes)
    assert shapes


@pytest.mark.parametrize("shape", [(6,), (6, 5, 5)], ids=str)
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        *(("lp_batch", {"p": p}) for p in (2, "inf")),
        *(("local_response", {"size": size, "alpha": 2, "beta": 0.5, "k": 3}) for size in (1, 4, 11)),
        *(("group", {"groups": groups}) for groups in (1, 3)),
        ("group", {"channels_per_group": 2}),
        ("ghost_batch", {"virtual_batch_size": 3}),
        ("layer", {"eps": 0.5}),
        ("derf", {"alpha": 2.0}),
        ("dyisru", {"b": 0.1}),
        ("filter_response", {"tlu": False, "learn_eps": True}),
        ("whitening", {"group_size": 4}),
        ("iterative_whitening", {"group_size": 2, "iterations": 9}),
    ],
    ids=str,
)
def test_options_in_the_reference(kind: str, given: dict[str, Any], shape: tuple[int, ...]) -> None:
    """With other options too it computes what its definition says."""
    assert equals_reference(options(kind, **given), shape) is None


def learned(module: nn.Module) -> list[str]:
    return [name for name in ("weight", "bias") if getattr(module, name, None) is not None]


@pytest.mark.parametrize("shape", [(6,), (6, 5, 5)], ids=str)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "bias" in NORMS[kind].model_fields])
def test_without_bias_there_is_no_shift(kind: str, shape: tuple[int, ...]) -> None:
    """`bias: false` leaves out β and nothing else: the output is what it is with β = 0, and so is γ's gradient."""
    both, one = options(kind), options(kind, bias=False)
    if both.problem(shape, 8):
        pytest.skip("one value per channel")
    found = []
    for norm in (both, one):
        module = build(kind, shape, bias=norm.bias)
        assert learned(module) == ["weight"] * norm.has_scale + ["bias"] * norm.has_shift
        assert sum(p.numel() for p in module.parameters()) == norm.num_parameters(shape)
        y = module(random(8, *shape))
        (y * random(8, *shape, seed=1)).sum().backward() if norm.has_scale else None
        found.append((y, module.eval()(random(8, *shape, seed=2)), module.weight.grad if norm.has_scale else None))
    torch.testing.assert_close(*found, rtol=0, atol=0)
    assert not learned(build(kind, shape, affine=False, bias=False))


def test_a_layer_keeps_its_bias_before_a_norm_without() -> None:
    """β takes the place of the bias before it; γ alone does not."""
    biases = [run_of("{name: lenet}", f"{{kind: batch, bias: {bias}}}") for bias in ("true", "false")]
    names = [[name for name, _ in build_model(run).named_parameters()] for run in biases]
    assert "conv.0.norm.bias" in names[0]
    assert "conv.0.conv.bias" in names[1]
    assert len(names[0]) == len(names[1])
    assert biases[1].variant_name == "BatchNorm (no bias)"


# Of what torch.nn has not, and of what neighbours in a class could get wrong alike: one channel (m,) at a time.
BY_HAND: dict[str, Callable[[Array], Array]] = {
    "ghost_batch": lambda c: np.concatenate([(part - part.mean()) / part.std() for part in (c[:4], c[4:])]),
    "batch_renorm": lambda c: (c - c.mean()) / c.std(),
    "mean_only_batch": lambda c: c - c.mean(),
    "variance_only_batch": lambda c: c / c.std(),
    "lp_batch": lambda c: (c - c.mean()) / np.abs(c - c.mean()).mean(),
    "population_batch": lambda c: c,
    "dyt": lambda c: np.tanh(c / 2),
    "hard_tanh": lambda c: np.minimum(np.maximum(c / 2, -1), 1),
    "dyisru": lambda c: np.sqrt(3) * c / np.sqrt(2 + c**2),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_reference_by_hand(kind: str) -> None:
    """The reference is the formula, channel by channel."""
    x = random(8, 3).numpy() * 3 + 2
    expected = np.stack([BY_HAND[kind](channel) for channel in x.T], axis=1)
    given = {"eps": 1e-14} if "eps" in NORMS[kind].model_fields else {}
    np.testing.assert_allclose(options(kind, **given).reference(x), expected, atol=1e-12)


def covariance(y: torch.Tensor) -> Array:
    channels = y.detach().transpose(0, 1).flatten(1).numpy()
    return np.cov(channels, bias=True)


def test_whitening_decorrelates() -> None:
    """The covariance of a group becomes the identity; across groups it stays what it is; Newton gets there slowly."""
    x = random(200, 5, 5) @ random(5, 5, seed=1) + 3
    whole, halves = (build("whitening", (5, 5), eps=1e-12, group_size=size)(x) for size in (16, 3))
    np.testing.assert_allclose(covariance(whole), np.eye(5), atol=1e-8)
    found = covariance(halves)
    np.testing.assert_allclose(found[:3, :3], np.eye(3), atol=1e-8)
    np.testing.assert_allclose(found[3:, 3:], np.eye(2), atol=1e-8)
    assert np.abs(found[:3, 3:]).max() > 1e-3
    errors = [
        np.abs(covariance(build("iterative_whitening", (5, 5), eps=1e-12, iterations=number)(x)) - np.eye(5)).max()
        for number in (1, 5, 40)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_whitening_where_eigenvalues_are_equal() -> None:
    """The gradient is finite, and that of finite differences, where that of the eigenvectors is infinite."""
    x = torch.cat([torch.eye(4, dtype=torch.float64), -torch.eye(4, dtype=torch.float64)]).requires_grad_()
    upstream = random(8, 4)
    build("whitening", (4,))(x).backward(upstream)
    moved = x.detach().clone()
    steps = []
    for change in (1e-6, -1e-6):
        moved[0, 1] = change
        steps.append((build("whitening", (4,))(moved) * upstream).sum().item())
    assert x.grad is not None
    assert x.grad[0, 1].item() == pytest.approx((steps[0] - steps[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("kind", ["whitening", "iterative_whitening", "switchable"])
def test_evaluation_takes_running_statistics(kind: str) -> None:
    """In evaluation an example does not depend on the others, and with momentum 1 it is as in the last batch."""
    module = build(kind, (6,), momentum=1.0)
    x = random(50, 6)
    y = module(x)
    module.eval()
    torch.testing.assert_close(module(x[:1]), module(x)[:1], rtol=1e-12, atol=1e-12)
    tolerance = 0.02 if kind == "switchable" else 1e-12  # its running variance is the unbiased one
    torch.testing.assert_close(module(x), y, rtol=0, atol=tolerance)


def test_switchable_weights_pick_a_norm() -> None:
    """With all the weight on one of them it is that norm."""
    x = random(8, 6, 5, 5)
    for i, kind in enumerate(("instance", "layer", "batch")):
        module = build("switchable", (6, 5, 5))
        with torch.no_grad():
            for logits in (module.mean_logits, module.var_logits):
                logits.fill_(-100)
                logits[i] = 100
        torch.testing.assert_close(module(x), build(kind, (6, 5, 5))(x), rtol=1e-10, atol=1e-10)


def test_channel_layer_is_over_channels_alone() -> None:
    """At each position by itself; after a dense layer it is layer normalization."""
    x = random(3, 6, 4, 4)
    y = build("channel_layer", (6, 4, 4))(x)
    torch.testing.assert_close(y[:, :, 1, 2], nn.LayerNorm(6).double()(x[:, :, 1, 2]))
    torch.testing.assert_close(build("channel_layer", (6,))(x[:, :, 0, 0]), build("layer", (6,))(x[:, :, 0, 0]))


@pytest.mark.parametrize("kind", BATCH_KINDS)
@pytest.mark.parametrize("shape", [(6,), (6, 5, 5)], ids=str)
def test_running_statistics(kind: str, shape: tuple[int, ...]) -> None:
    """After two batches the running statistics are what the update rule gives, and evaluation uses them."""
    module = build(kind, shape, momentum=0.3)
    mean, var = np.zeros(6), np.ones(6)
    batches = [random(8, *shape, seed=i).numpy() * 2 + i for i in range(2)]
    for batch in batches:
        module(torch.from_numpy(batch))
        for part in np.array_split(batch, 2) if kind == "ghost_batch" else [batch]:
            values = np.moveaxis(part, 1, 0).reshape(6, -1)
            moment = (
                np.abs(values - values.mean(1, keepdims=True)).mean(1)
                if kind == "lp_batch"
                else values.var(1, ddof=1)
            )
            mean, var = 0.7 * mean + 0.3 * values.mean(1), 0.7 * var + 0.3 * moment
    np.testing.assert_allclose(module.running_mean.numpy(), mean, atol=1e-13)
    np.testing.assert_allclose(module.running_var.numpy(), var, atol=1e-12)
    x = random(5, *shape, seed=9)
    columns = (1, -1) + (1,) * (len(shape) - 1)
    centre, scale = mean.reshape(columns), np.sqrt(var + 1e-5).reshape(columns)
    expected = (x.numpy() - centre) / scale
    if kind == "mean_only_batch":
        expected = x.numpy() - centre
    elif kind == "variance_only_batch":
        expected = x.numpy() / scale
    elif kind == "lp_batch":
        expected = (x.numpy() - centre) / (var + 1e-5).reshape(columns)
    np.testing.assert_allclose(module.eval()(x).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("kind", BATCH_KINDS)
def test_momentum_null(kind: str) -> None:
    """momentum: null is the plain average of the batches' means, for the whole family."""
    module = build(kind, (6,), momentum=None)
    batches = [random(8, 6, seed=i) for i in range(5)]
    for batch in batches:
        module(batch)
    np.testing.assert_allclose(
        module.running_mean.numpy(), np.mean([b.numpy().mean(0) for b in batches], 0), atol=1e-13
    )


def test_renorm_gradient() -> None:
    """In batch renorm r and d are constants: the gradient is r times that of batch normalization."""
    renorm = build("batch_renorm", (3,), rmax=3.0, dmax=5.0)
    renorm.num_batches_tracked += 1
    plain = BatchNormNd(3).double()
    x, x2 = (random(8, 3) * 2).requires_grad_(), (random(8, 3) * 2).requires_grad_()
    upstream = random(8, 3, seed=1)
    renorm(x).backward(upstream)
    plain(x2).backward(upstream)
    r = np.sqrt(x2.detach().numpy().var(0) + 1e-5) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(x.grad.numpy(), r * x2.grad.numpy(), atol=1e-12)


def test_renorm_schedule() -> None:
    """rmax grows from 1 and dmax from 0, linearly between `start` and their ends; before, it is batch norm."""
    given = {"rmax": 3.0, "dmax": 5.0, "start": 10, "rmax_end": 30, "dmax_end": 20}
    renorm = build("batch_renorm", (3,), **given).float()
    assert [options("batch_renorm", **given).limits(step) for step in (0, 10, 15, 20, 30, 99)] == [
        *((1, 0), (1, 0), (1.5, 2.5), (2, 5), (3, 5), (3, 5))
    ]
    x = random(8, 3).float() * 4
    torch.testing.assert_close(renorm(x), BatchNormNd(3)(x), rtol=0, atol=1e-6)


def test_renorm_far_from_its_limits_uses_the_running_statistics() -> None:
    """Where r and d are not clipped, batch renorm normalizes by the running statistics, in training too."""
    renorm = build("batch_renorm", (3,), rmax=1e9, dmax=1e9)
    renorm.num_batches_tracked += 1
    renorm.running_mean.copy_(random(3))
    x = random(8, 3, seed=4)
    expected = (x - random(3)) / np.sqrt(1 + 1e-5)
    torch.testing.assert_close(renorm(x), expected, rtol=0, atol=1e-12)


def test_ghost_batches_are_nearly_equal() -> None:
    """A batch is cut into as many virtual batches as it has room for; a small one is left whole."""
    norm = build("ghost_batch", (3,))
    norm(random(10, 3))
    assert norm.num_batches_tracked == 2
    norm(random(3, 3))
    assert norm.num_batches_tracked == 3


def test_noise_distribution() -> None:
    """Noisy BN draws m and s around values of the channel and the step, as published; none in evaluation."""
    module = NORMS["noisy_batch"].model_validate({"kind": "noisy_batch"}).build((4,)).double()
    assert isinstance(module, StepRandomness)
    shifts, scales = [], []
    x = random(20_000, 4)
    clean = BatchNormNd(4).double()(x).detach().numpy()
    for step in range(40):
        module.reseed(1, "x", step, torch.device("cpu"))
        y = module(x).detach().numpy()
        for c in range(4):
            scale, shift = np.polyfit(clean[:, c], y[:, c], 1)
            residual = y[:, c] - scale * clean[:, c] - shift
            # Var = 0.2²/12 (m about its mean) + 0.1²·x² (s about its mean)
            assert residual.var() == pytest.approx(0.2**2 / 12 + 0.01, rel=0.1)
            shifts.append(shift)
            scales.append(scale)
    assert min(shifts) > -0.52
    assert max(shifts) < 0.52
    assert np.std(shifts) == pytest.approx(1 / np.sqrt(12), rel=0.2)
    assert min(scales) > 0.98
    assert max(scales) < 1.27
    torch.testing.assert_close(module.eval()(x), module(x))


# ---------------------------------------------------------------- properties the theory promises

SHIFT_INVARIANT = {"batch", "batch_from_scratch", "layer", "group", "instance", "ghost_batch", "noisy_batch"} | {
    "mean_only_batch",
    "lp_batch",
}
SHIFT_INVARIANT |= {"channel_layer", "whitening", "iterative_whitening", "switchable"}
SCALE_INVARIANT = SHIFT_INVARIANT - {"mean_only_batch"} | {"rms", "variance_only_batch", "filter_response"}


@settings(max_examples=15, deadline=None)
@given(shift=st.floats(-100, 100), scale=st.floats(0.5, 100), data=st.data())
@pytest.mark.parametrize("kind", sorted(SHIFT_INVARIANT | SCALE_INVARIANT))
def test_invariance(kind: str, shift: float, scale: float, data: st.DataObject) -> None:
    """Adding a constant, or multiplying by one, changes nothing where the statistics take it out."""
    x = random(8, 6, 5, 5, seed=data.draw(st.integers(0, 1000)))
    y = build(kind, (6, 5, 5), eps=1e-14)(x)
    if kind in SHIFT_INVARIANT:
        torch.testing.assert_close(build(kind, (6, 5, 5), eps=1e-14)(x + shift), y, rtol=1e-7, atol=1e-7)
    if kind in SCALE_INVARIANT:
        torch.testing.assert_close(build(kind, (6, 5, 5), eps=1e-14)(x * scale), y, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("scaled", [False, True])
def test_weight_standardization(scaled: bool) -> None:
    """Each unit's incoming weights have mean 0 and variance 1, or 1/fan_in; the gain multiplies them."""
    layer = nn.Conv2d(3, 4, 5).double()
    options("weight_standardization", scaled=scaled, eps=1e-14).parametrize(layer)
    weight = layer.weight.detach().flatten(1).numpy()
    np.testing.assert_allclose(weight.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(weight.var(1), 1 / 75 if scaled else 1, rtol=1e-8)
    assert ("parametrizations.weight.0.gain" in dict(layer.named_parameters())) == scaled


@pytest.mark.parametrize("kind", ["weight", "spectral"])
@pytest.mark.parametrize("model", ["{name: lenet}", "{name: mlp, hidden: [8, 8]}"])
def test_weight_parametrizations(kind: str, model: str) -> None:
    """Weight norm starts with the weights of the other variants; spectral norm makes the largest singular value 1."""
    runs = {norm: run_of(model, norm) for norm in ("none", kind)}
    plain, normed = build_model(runs["none"]), build_model(runs[kind])
    for name, module in normed.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not name.startswith("output"):
            weight = plain.get_submodule(name).weight
            if kind == "weight":
                torch.testing.assert_close(module.weight, weight)
                directions = module.parametrizations.weight.original1.flatten(1)
                lengths = module.parametrizations.weight.original0.flatten()
                torch.testing.assert_close(
                    (directions / directions.norm(dim=1, keepdim=True)) * lengths[:, None], weight.flatten(1)
                )
            else:
                for _ in range(1000):
                    module.weight  # noqa: B018  (each read in training is a power iteration)
                assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


# ---------------------------------------------------------------- in a model


def run_of(model: str, norm: str, *overrides: str) -> RunConfig:
    settings = [f"model={model}", f"compare.model.norm=[{norm}]", "data.validation=20", *overrides]
    return load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="1").runs[0]


SIZES = [(1, 1), (3, 1), (5, 2), (8, 4), (9, 4)]
REMAINDERS = [(1, 3), (2, 3), (3, 2), (4, 3)]  # and of one example, which has no statistics of its own


@pytest.mark.parametrize("model", ["{name: lenet}", "{name: mlp, hidden: [6]}"])
@pytest.mark.parametrize("kind", NORMS)
def test_small_batches_train_or_say_why_not(kind: str, model: str) -> None:
    """1…9 examples in batches of 1…4, all of these for batch norm: a result, or one clear message."""
    over_the_batch = "batch" in kind or "whitening" in kind or kind == "switchable"
    every = itertools.product(range(1, 10), range(1, 5))
    for num_examples, batch_size in every if kind == "batch" else SIZES + REMAINDERS * over_the_batch:
        sizes = [f"data.train_size={num_examples}", f"training.batch_size={batch_size}", "training.epochs=1"]
        if (kind in CONV_ONLY and "mlp" in model) or (over_the_batch and min(num_examples, batch_size) == 1):
            with pytest.raises(UserError, match=r"model\.norm: .* has one value per channel") as error:
                run_of(model, kind, *sizes)
            assert len(error.value.problems) == 1
            continue
        run = run_of(model, kind if kind not in CONV_ONLY else f"{{kind: {kind}, layers: conv}}", *sizes)
        *_, last = train(run, dataset_of(run), torch.device("cpu"))
        assert last.outcome is not None
        assert last.outcome.status == "completed"


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
        split = dataset_of(run).train
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
