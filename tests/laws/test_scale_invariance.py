"""Laws: what follows from the loss not changing when a normalized layer's weights are scaled."""

import math
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from kit import CONFIGS
from torch.nn.functional import cross_entropy

from bncompare.config import load_experiment
from bncompare.training.data import Datasets
from bncompare.training.loop import train
from bncompare.training.model import build_model
from bncompare.training.optimizer import build_optimizer

LR, WEIGHT_DECAY, STEPS = 0.1, 0.01, 200

# Every layer is followed by one without γ and β, so that the loss depends on the directions of all weights alone.
SCALE_INVARIANT = [
    f"{{kind: {kind}, affine: false, on_output: true, eps: 1.0e-30}}" for kind in ("batch", "layer", "rms")
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As an executor has it for a run: threads that wait for each other would take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def root(momentum: float) -> float:
    """α of Li & Arora 2020, the larger root of α² − (1 + μ − ηλ)·α + μ = 0; without momentum 1 − ηλ."""
    half = (1 + momentum - LR * WEIGHT_DECAY) / 2
    return half + math.sqrt(half**2 - momentum)


def losses(
    norm: str, momentum: float, shrinking: Literal["weight decay", "exponential rate", "nothing"]
) -> torch.Tensor:
    """The loss at each step of SGD in float64, with weight decay, or with a rate that grows in its place."""
    decay = WEIGHT_DECAY if shrinking == "weight decay" else 0.0
    settings = [f"compare.model.norm=[{norm}]", "model={name: mlp, hidden: [20, 20]}"]
    settings += [f"training.optimizer={{name: sgd, lr: {LR}, momentum: {momentum}, weight_decay: {decay}}}"]
    (run,) = load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="3-3").runs
    model = build_model(run).double()
    optimizer = build_optimizer(run, model)
    alpha = root(momentum) if shrinking == "exponential rate" else 1.0
    (group,) = optimizer.param_groups
    group["lr"] /= alpha
    if momentum and alpha < 1:
        # Weights scaled by α^(−t) have come from α·w before the first step, so that their momentum is not 0.
        for weight in model.parameters():
            optimizer.state[weight]["momentum_buffer"] = weight.detach() * (alpha - 1) / (LR * alpha)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(128, 1, 28, 28, generator=generator, dtype=torch.float64)
    classes = torch.randint(0, 10, (128,), generator=generator)
    found = []
    for _ in range(STEPS):
        rows = torch.randint(0, 128, (32,), generator=generator)
        optimizer.zero_grad()
        loss = cross_entropy(model(images[rows]), classes[rows])
        loss.backward()
        optimizer.step()
        group["lr"] /= alpha**2
        found.append(loss.detach())
    return torch.stack(found)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("norm", SCALE_INVARIANT)
def test_an_exponential_rate_is_weight_decay(norm: str, momentum: float) -> None:
    """Under a norm, SGD at rate η with weight decay λ has the losses of SGD at rate η·α^(−2t−1) in step t without, to
    rounding; and not those at rate η.

    Li & Arora 2020, An Exponential Learning Rate Schedule for Deep Learning: with w_t = α^(−t)·θ_t, where θ are the
    weights that decay, the gradient at w_t is α^t times that at θ_t, as the loss does not change with the scale. So
    θ_{t+1} = (1 + μ − ηλ)·θ_t − μ·θ_{t−1} − η·∇L(θ_t) is, divided by α^(t+1), the step of w at that rate with
    momentum μ, if 1 + μ/α² = (1 + μ − ηλ)/α.
    """
    decaying = losses(norm, momentum, "weight decay")
    assert torch.allclose(decaying, losses(norm, momentum, "exponential rate"), rtol=0, atol=1e-10)
    assert (decaying - losses(norm, momentum, "nothing")).abs().max() > 0.01


def test_the_config_of_the_published_result_is_such_a_pair() -> None:
    """Its rate and its growth are those of its weight decay: trained as configs are, in float32, the losses agree."""
    short = ["data={name: digits, validation: 0.1}", "training.steps=300", "training.eval_every=50", "claims=[]"]
    experiment = load_experiment(CONFIGS / "papers/li-2020-exponential-rate.yaml", overrides=short, seeds="1")
    trained = [
        [record.metrics["train/loss"] for record in train(run, Datasets(None).of(run), torch.device("cpu"))]
        for run in experiment.runs[:3]
    ]
    decaying, growing, neither = torch.tensor(trained, dtype=torch.float64)
    assert torch.allclose(decaying, growing, rtol=0, atol=1e-4)
    assert (decaying - neither).abs().max() > 1e-3


def test_without_a_norm_it_is_not() -> None:
    """The law is the norm's."""
    difference = losses("none", 0.0, "weight decay") - losses("none", 0.0, "exponential rate")
    assert difference.abs().max() > 0.01
