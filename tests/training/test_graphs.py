"""Steps on a GPU: recorded and replayed, with the bits of steps that run as written; nothing waits; resumed too."""

import pytest
import torch
from kit import fits, run_of
from torch import Tensor, nn

from bncompare.config.run import RunConfig
from bncompare.extras.laws import bits_of, resumes
from bncompare.norms import NORMS
from bncompare.training import graphs
from bncompare.training.data import Datasets
from bncompare.training.graphs import Replayed
from bncompare.training.loop import Loop, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CUDA = torch.device("cuda")
MLP = "model={name: mlp, hidden: [16, 16]}"
LENET = "model={name: lenet, activation: tanh}"
ADAM = ["training.optimizer={name: adam, lr: 0.003}", "training.scheduler=none", "training.early_stopping=null"]
KINDS = [kind for kind in NORMS if fits(kind, 16)]
# Torch waits for the device: in a cumulative average, in a solver, in the gradient of a trace.
NEVER_RECORDED = ("{kind: batch, momentum: null}", "whitening", "iterative_whitening")
CASES = [
    *((MLP, kind, ADAM) for kind in [*KINDS, "{kind: batch, momentum: null}"]),
    *(
        (LENET, kind, ADAM)
        for kind in ("none", "batch", "batch_from_scratch", "layer", "group", "whitening", "weight")
    ),
    (MLP, "batch", ["training.scheduler=cosine", "training.epochs=4"]),  # SGD with momentum, a rate for each epoch
    (MLP, "batch", [*ADAM, "training.warmup=2", "training.epochs=4"]),
    (MLP, "batch", [*ADAM, "training.clip_gradient_norm=0.5", "training.l1=0.001", "training.label_smoothing=0.1"]),
    (
        MLP,
        "batch",
        ["training.optimizer={name: sgd, lr: 0.1}", "training.scheduler=none", "training.batch_size=full"],
    ),
    ("model={name: mlp, hidden: [16], dropout: {p: 0.3}}", "batch", ADAM),
]


@pytest.fixture(autouse=True)
def deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def run(model: str, norm: str, settings: list[str]) -> RunConfig:
    return run_of("smoke.yaml", model, *settings, norm=norm)


def bits(one: RunConfig) -> list[object]:
    """Of all evaluations, and of the best weights."""
    found = list(train(one, Datasets(None).of(one), CUDA))
    assert found[-1].outcome is not None
    weights = found[-1].outcome.best_weights or {}
    return [*map(bits_of, found), {name: value.tolist() for name, value in weights.items()}]


@pytest.mark.parametrize(("model", "norm", "settings"), CASES)
def test_recorded_steps_give_the_same_bits(
    model: str, norm: str, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As steps that all run as written, in every evaluation and in the weights."""
    one = run(model, norm, settings)
    recorded = bits(one)
    monkeypatch.setattr(graphs, "STEPS_AS_WRITTEN", 10**9)
    assert recorded == bits(one)


@pytest.mark.parametrize(("model", "norm", "settings"), CASES)
def test_what_is_recorded(model: str, norm: str, settings: list[str]) -> None:
    """Every step, but where numbers are drawn or a module waits for the device."""
    loop = loop_after(5, run(model, norm, [*settings, "training.batch_size=32", "training.warmup=0"]))
    if "dropout" in model or norm == "noisy_batch":
        assert loop.replayed is None
    else:
        assert loop.replayed is not None
        assert bool(loop.replayed.recorded) == loop.replayed.can_record == (norm not in NEVER_RECORDED)


def loop_after(num_steps: int, one: RunConfig) -> Loop:
    loop = Loop(one, Datasets(None).of(one), CUDA)
    for step in range(num_steps):
        loop.take(step)
    return loop


@pytest.mark.parametrize(("model", "norm", "settings"), CASES)
def test_nothing_waits_within_an_epoch(
    model: str, norm: str, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As written, a step never synchronizes with the device, but where a module does."""
    monkeypatch.setattr(graphs, "STEPS_AS_WRITTEN", 10**9)
    one = run(model, norm, settings)
    loop = loop_after(1, one)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, one.steps_per_epoch):
            loop.take(step)
    except RuntimeError:
        assert norm in NEVER_RECORDED
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("model", "norm", "settings"), CASES)
def test_resumed_is_uninterrupted(model: str, norm: str, settings: list[str]) -> None:
    """On a GPU too, to the bit, though another step is recorded first."""
    assert resumes(run(model, norm, settings), CUDA) is None


def test_a_step_that_fails_fails() -> None:
    """What a step raises while it is recorded it raises as written."""

    def step(rows: Tensor) -> None:
        if len(taken) >= graphs.STEPS_AS_WRITTEN:
            raise ValueError("a mistake in it")
        taken.append(rows)

    taken: list[Tensor] = []
    replayed = Replayed(nn.Identity(), torch.optim.SGD([torch.zeros(1, device=CUDA, requires_grad=True)], lr=1.0))
    for _ in range(graphs.STEPS_AS_WRITTEN):
        replayed(step, torch.arange(3, device=CUDA))
    with pytest.raises(ValueError, match="a mistake in it"):
        replayed(step, torch.arange(3, device=CUDA))
