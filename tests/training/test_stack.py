"""Seeds of a variant as one program: the numbers of runs alone but for rounding, and what can't be one program."""

import gc
import math
import time
import weakref
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from kit import CONFIGS, fits
from torch import Tensor, nn

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.errors import UserError
from bncompare.extras.laws import bits_of
from bncompare.norms import NORMS, ActivationNorm, Shape
from bncompare.training.data import Dataset, Datasets
from bncompare.training.graphs import STEPS_AS_WRITTEN, Replayed
from bncompare.training.loop import Loop, Record, train
from bncompare.training.stack import Stack, train_stack

DEVICES = [torch.device(name) for name in ("cpu", "cuda") if name == "cpu" or torch.cuda.is_available()]
MLP = "model={name: mlp, hidden: [16, 16]}"
PLAIN = ["training.scheduler=none", "training.early_stopping=null"]
# At a rate at which rounding grows slowly: at ten times of it LeNet's losses are 10 % apart after 24 steps.
SGD = [*PLAIN, "training.optimizer={name: sgd, lr: 0.005, momentum: 0.9}"]
ADAM = [*PLAIN, "training.optimizer={name: adam, lr: 0.003}"]
ADAMW = [*PLAIN, "training.optimizer={name: adamw, lr: 0.003, weight_decay: 0.1, decay_norm: false}"]
PROBES = "diagnostics={gradients: true, activations: true, covariate_shift: true, landscape: [0.001, 0.01]}"
ROUNDING = 0.011  # after some twenty steps; of 200 examples two may be classified otherwise
RANDOM, NO_RULE = ("noisy_batch",), ("spectral",)
# Of whitening, nearly equal eigenvalues turn rounding into other directions.
KINDS = [kind for kind in NORMS if fits(kind, 16) and kind not in (*RANDOM, *NO_RULE, "whitening")]
CASES = [
    *((MLP, kind, SGD) for kind in KINDS),
    ("model={name: lenet}", "batch", [*SGD, "training.epochs=1"]),
    ("model={name: lenet}", "weight", SGD),
    # Not with BatchNorm: a bias before it has gradients of rounding alone, from which Adam makes whole steps.
    *((MLP, kind, ADAM) for kind in ("none", "layer", "group")),
    (MLP, "rms", ADAMW),
    (
        MLP,
        "batch",
        ["training.early_stopping=null", "training.warmup=1", "data.train_size=200"],
    ),  # cosine; 3.1 batches
    (MLP, "batch", [*SGD, "training.l1=0.001", "training.label_smoothing=0.1", "training.evaluate_at_start=true"]),
    (MLP, "batch", [*SGD, "training.batch_size=full", PROBES]),
    (MLP, "none", [*ADAM, PROBES]),
    (MLP, "batch", [*SGD, "training.trainable=random", PROBES]),
    (MLP, "{kind: batch, eval_stats: population}", SGD),
]


def runs_of(*overrides: str, norm: str = "batch", config: str = "smoke.yaml", seeds: str = "3") -> list[RunConfig]:
    settings = [f"compare.model.norm=[{norm}]", "claims=[]", *overrides]
    return load_experiment(CONFIGS / config, overrides=settings, seeds=seeds, stack=True).runs


def data_of(runs: list[RunConfig]) -> list[Dataset]:
    datasets = Datasets(None)
    return [datasets.of(run) for run in runs]


def stacked(runs: list[RunConfig], device: torch.device) -> list[list[Record]]:
    """The records of each run."""
    found: list[list[Record]] = [[] for _ in runs]
    for i, record in train_stack(runs, data_of(runs), device):
        found[i].append(record)
    return found


def numbers(record: Record) -> dict[object, float]:
    """Metrics and diagnostics."""
    measured = {(reading.layer, reading.quantity): reading.value for reading in record.diagnostics}
    return {**record.metrics, **measured}


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(("model", "norm", "settings"), CASES)
def test_agrees_with_runs_alone(model: str, norm: str, settings: list[str], device: torch.device) -> None:
    """Every metric and reading, at every evaluation; and the best weights."""
    runs = runs_of(model, *settings, norm=norm)
    for one, found in zip(runs, stacked(runs, device), strict=True):
        alone = list(train(one, Datasets(None).of(one), device))
        assert [(record.epoch, record.step) for record in found] == [(record.epoch, record.step) for record in alone]
        for ours, theirs in zip(found, alone, strict=True):
            assert numbers(ours) == pytest.approx(numbers(theirs), rel=ROUNDING, abs=ROUNDING)
            if device.type == "cpu":  # a GPU has TF32
                assert ours.metrics["train/loss"] == pytest.approx(theirs.metrics["train/loss"], rel=1e-4)
        ours, theirs = found[-1].outcome, alone[-1].outcome
        assert ours is not None
        assert theirs is not None
        assert ours.status == theirs.status
        assert ours.best == pytest.approx(theirs.best, rel=ROUNDING, abs=ROUNDING)
        assert ours.best_weights is not None
        assert theirs.best_weights is not None
        for name, value in theirs.best_weights.items():
            torch.testing.assert_close(ours.best_weights[name], value, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_same_seeds_give_the_same_bits(device: torch.device) -> None:
    """Each time."""
    runs = runs_of(MLP, *SGD)
    first, second = ([[bits_of(record) for record in found] for found in stacked(runs, device)] for _ in range(2))
    assert first == second


def test_whitening_too() -> None:
    """The first epoch of training, before its eigenvectors part."""
    runs = runs_of(MLP, *SGD, "training.epochs=1", norm="whitening")
    for one, (found,) in zip(runs, stacked(runs, DEVICES[0]), strict=True):
        (alone,) = train(one, Datasets(None).of(one), DEVICES[0])
        assert found.metrics["train/loss"] == pytest.approx(alone.metrics["train/loss"], rel=ROUNDING)


def test_data_that_each_seed_draws() -> None:
    """Random regression, whose examples are other ones for each seed."""
    runs = runs_of("training.epochs=5", config="regression.yaml")
    for one, found in zip(runs, stacked(runs, DEVICES[0]), strict=True):
        (*_, last) = train(one, Datasets(None).of(one), DEVICES[0])
        assert found[-1].metrics == pytest.approx(last.metrics, rel=1e-4)


def test_runs_end_for_themselves() -> None:
    """One that stops early or diverges leaves the others as they are, which go on."""
    early = ["training.early_stopping={patience: 1, min_delta: 0.01}", "training.scheduler=none"]
    runs = runs_of(MLP, *early, "training.epochs=12", "training.optimizer={name: sgd, lr: 0.3}", seeds="4")
    found = stacked(runs, DEVICES[0])
    alone = [list(train(one, Datasets(None).of(one), DEVICES[0])) for one in runs]
    assert len({len(records) for records in alone}) > 1
    assert list(map(len, found)) == list(map(len, alone))

    wild = ["training.optimizer={name: sgd, lr: 12}", "training.scheduler=none", "training.diverged_above=40"]
    runs = runs_of(MLP, *wild, "training.epochs=8", "training.early_stopping=null", norm="none", seeds="6")
    ends = [records[-1].outcome for records in stacked(runs, DEVICES[0])]
    assert {end.status for end in ends if end} == {"diverged", "completed"}
    for records in stacked(runs, DEVICES[0]):
        for record in records[:-1]:
            assert all(map(math.isfinite, record.metrics.values()))


@pytest.mark.parametrize(
    ("overrides", "norm", "message"),
    [
        ([MLP], "noisy_batch", "training.stack: hidden.0.norm, hidden.1.norm: draw random numbers in training"),
        ([MLP], "spectral", "training.stack: torch cannot stack this model: Batching rule not implemented"),
    ],
)
def test_what_cannot_be_one_program(overrides: list[str], norm: str, message: str) -> None:
    """It says so before it trains."""
    runs = runs_of(*overrides, norm=norm)
    with pytest.raises(UserError, match=message):
        next(train_stack(runs, data_of(runs), DEVICES[0]))


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_what_has_trained_leaves_at_once(device: torch.device) -> None:
    """A run alone and a stack: the examples on a GPU must not stay until Python collects garbage."""
    runs = runs_of(MLP, *SGD)
    gc.collect()
    gc.disable()
    try:
        for kind in (lambda: Loop(runs[0], data_of(runs)[0], device), lambda: Stack(runs, data_of(runs), device)):
            training = kind()
            for step in range(5):
                training.take(step)
            left = weakref.ref(training)
            del training
            assert left() is None
    finally:
        gc.enable()


class Centred(ActivationNorm):
    """What leaves has mean 0 over the batch; of three ways to remember the mean."""

    kind: Literal["centred"]
    formula, axes = "y = x − E[x]", "the batch"
    memory: Literal["a tensor written into", "another tensor", "no buffer"]

    def build(self, shape: Shape) -> nn.Module:
        """See `Centring`."""
        return Centring(self.memory, shape)


class Centring(nn.Module):
    def __init__(self, memory: str, shape: Shape) -> None:
        super().__init__()
        self.memory = memory
        self.mean: Tensor = torch.zeros(shape) if memory == "no buffer" else nn.Buffer(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x - self.mean
        mean = x.mean(0)
        if self.memory == "a tensor written into":
            self.mean.lerp_(mean.detach(), 0.1)
        else:
            self.mean = self.mean.lerp(mean.detach(), 0.1)
        return x - mean


@pytest.fixture(autouse=True, scope="module")
def centred() -> Iterator[None]:
    """The kind for these tests."""
    NORMS.add(Centred)
    yield
    del NORMS["centred"]


@pytest.mark.parametrize("memory", ["a tensor written into", "another tensor"])
def test_what_a_plugin_remembers(memory: str) -> None:
    """In buffers, whether it writes into them or puts others in their place."""
    runs = runs_of(MLP, *SGD, norm=f"{{kind: centred, memory: {memory}}}")
    for one, found in zip(runs, stacked(runs, DEVICES[0]), strict=True):
        (*_, last) = train(one, Datasets(None).of(one), DEVICES[0])
        assert found[-1].metrics == pytest.approx(last.metrics, rel=1e-4)


def test_what_is_remembered_in_no_buffer() -> None:
    """It is said, as a stack would forget it."""
    runs = runs_of(MLP, *SGD, norm="{kind: centred, memory: no buffer}")
    with pytest.raises(UserError, match=r"training.stack: hidden.0.norm.mean, hidden.1.norm.mean: changes in a step"):
        next(train_stack(runs, data_of(runs), DEVICES[0]))


@pytest.mark.parametrize(
    "norm", [*KINDS, *(f"{{kind: centred, memory: {m}}}" for m in ("another tensor", "no buffer"))]
)
def test_what_can_be_recorded(norm: str) -> None:
    """On a GPU, a step that writes into its tensors; one that puts others in their place would begin with the same
    ones each time."""
    (one, *_) = runs_of(MLP, *SGD, norm=norm)
    loop = Loop(one, Datasets(None).of(one), DEVICES[0])
    loop.replayed = Replayed(loop.model, loop.optimizer)
    for step in range(STEPS_AS_WRITTEN):
        loop.take(step)
    assert loop.replayed.can_record == ("centred" not in norm and norm != "whitening")


def test_no_learning_rate_is_kept() -> None:
    """Of a schedule that moves at each step."""
    (one, *_) = runs_of(MLP, "training.epochs=null", "training.steps=9", "training.early_stopping=null")
    loop = Loop(one, Datasets(None).of(one), DEVICES[0])
    loop.replayed = Replayed(loop.model, loop.optimizer)
    for step in range(9):
        loop.take(step)
        assert len(loop.replayed.seen) == 1


def test_what_a_run_holds() -> None:
    """Slices of its own of what the optimizer keeps, where a probe copies it; a share of the time that passed."""
    runs = runs_of(MLP, *SGD, PROBES)
    stack = Stack(runs, data_of(runs), DEVICES[0])
    started = time.perf_counter()
    stack.take(0)
    time.sleep(0.1)
    going = [1, 2]
    records = [record for _, record in stack.evaluate(0, going)]
    passed = time.perf_counter() - started
    assert all(record.seconds > 0.05 for record in records)
    assert sum(record.seconds for record in records) < passed
    kept = [value for state in stack.loops[1].optimizer.state.values() for value in state.values()]
    assert kept
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in kept)
