"""Probes: each against a closed form or an independent computation; none changes training."""

import functools
import io
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kit import CONFIGS, fits
from numpy.typing import NDArray
from torch import nn

from bncompare.config.expand import load_experiment
from bncompare.config.quantities import measured, plan
from bncompare.config.run import RunConfig
from bncompare.datasets import Digits
from bncompare.norms import NORMS
from bncompare.probes.activations import Activations
from bncompare.probes.base import Probe, Reading
from bncompare.probes.covariate_shift import CovariateShift
from bncompare.probes.gradients import Gradients
from bncompare.probes.landscape import LANDSCAPE_POINTS, Landscape
from bncompare.probes.norm_parameters import NormParameters
from bncompare.probes.running_statistics import RunningStatistics
from bncompare.probes.subject import Subject
from bncompare.probes.switchable_weights import SwitchableWeights
from bncompare.probes.train_eval_gap import TrainEvalGap
from bncompare.training.data import Dataset, load_dataset, probe_batch
from bncompare.training.evaluate import evaluate, loss_function
from bncompare.training.loop import Record, train
from bncompare.training.model import build_model
from bncompare.training.statistics import in_evaluation, set_evaluation_mode

CPU = torch.device("cpu")
OPTIONS = {"ghost_batch": "virtual_batch_size: 8", "batch_renorm": "start: 1, rmax_end: 5, dmax_end: 4"}
VARIED = [
    *(f"{{kind: {kind}, {OPTIONS[kind]}}}" if kind in OPTIONS else kind for kind in NORMS if fits(kind, 8)),
    *("{kind: batch, track_running_stats: false}", "{kind: batch, on_output: true, eval_stats: population}"),
]
PROBES = {
    "activations": "true",
    "gradients": "true",
    "norm_parameters": "true",
    "running_statistics": "true",
    "train_eval_gap": "true",
    "landscape": "[0.5, 4]",
    "covariate_shift": "true",
    "eval_stats": "[running, batch]",
    "one_at_a_time": "5",
    "switchable_weights": "true",
}
ALL = "{units: [0, 3], " + ", ".join(f"{probe}: {setting}" for probe, setting in PROBES.items()) + "}"
MLP = "model={name: mlp, hidden: [8, 8], activation: tanh, dropout: {p: 0.2}}"
Rows = dict[tuple[str, str], float]


def run_of(norm: str, *overrides: str, config: str = "smoke.yaml") -> RunConfig:
    settings = [f"compare.model.norm=[{norm}]", "training.early_stopping=null", *overrides]
    if config == "smoke.yaml":
        settings = ["data.train_size=64", "data.validation=20", "training.batch_size=16", *settings]
    return load_experiment(CONFIGS / config, overrides=settings, seeds="1").runs[0]


def records(run: RunConfig) -> list[Record]:
    return list(train(run, load_dataset(run, POOL), CPU))


POOL = Digits(name="digits", resize=28).read(None, download=False)


# ---------------------------------------------------------------- a probe changes nothing


def state_of(record: Record) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(io.BytesIO(record.checkpoint()), weights_only=True)
    return state


def flat(state: Any, path: str = "") -> dict[str, Any]:
    """The numbers and tensors of a nested checkpoint by their path."""
    if isinstance(state, dict):
        return {k: v for key, value in state.items() for k, v in flat(value, f"{path}/{key}").items()}
    if isinstance(state, list | tuple):
        return {k: v for i, value in enumerate(state) for k, v in flat(value, f"{path}/{i}").items()}
    return {path: state}


PURE = [MLP, "training={epochs: 2, optimizer: {name: adam, lr: 0.01}, scheduler: cosine, clip_gradient_norm: 1}"]


@functools.cache
def without_probes(norm: str) -> list[tuple[Any, ...]]:
    torch.manual_seed(1)
    got = [(r.metrics, flat(state_of(r)), r.outcome) for r in train(run_of(norm, *PURE), data_of(norm), CPU)]
    return [*got, (torch.get_rng_state(),)]


def data_of(norm: str) -> Dataset:
    return load_dataset(run_of(norm, *PURE), POOL)


EACH = [f"{{{probe}: {setting}}}" for probe, setting in PROBES.items()]


@pytest.mark.parametrize(
    ("norm", "probes"),
    [
        *((norm, ALL) for norm in VARIED),
        *((norm, probe) for norm in ("batch", "noisy_batch", "switchable", VARIED[-1]) for probe in EACH),
    ],
)
def test_a_probe_changes_nothing(norm: str, probes: str) -> None:
    """Metrics, weights, running statistics, optimizer and random numbers are the same to the bit with a probe."""
    run = run_of(norm, *PURE, f"diagnostics={probes}")
    number = 0
    *expected, (random_state,) = without_probes(norm)
    torch.manual_seed(1)
    for record, (metrics, state, outcome) in zip(train(run, data_of(norm), CPU), expected, strict=True):
        assert record.metrics == metrics
        probed = flat(state_of(record))
        assert probed.keys() == state.keys()
        for name, value in probed.items():
            assert torch.equal(value, state[name]) if isinstance(value, torch.Tensor) else value == state[name], name
        if outcome is not None:
            assert record.outcome is not None
            assert (record.outcome.best, record.outcome.last) == (outcome.best, outcome.last)
        number += len(record.diagnostics)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert (number > 0) == bool(measured(run))


@pytest.mark.parametrize(
    ("model", "norm"),
    [(MLP, norm) for norm in VARIED]
    + [("model={name: lenet, activation: relu}", norm) for norm in ("none", "batch")],
)
def test_what_is_measured_is_known_beforehand(model: str, norm: str) -> None:
    """`config.measured` names exactly what a run writes, each once; and at the end γ and β one by one."""
    run = run_of(norm, model, "training.epochs=2", f"diagnostics={ALL}")
    first, last = records(run)
    names = [(row.layer, row.quantity) for row in first.diagnostics]
    assert sorted(names) == sorted(measured(run))
    more = [row.quantity for row in last.diagnostics if (row.layer, row.quantity) not in names]
    assert all(quantity.startswith(("gamma[", "beta[")) for quantity in more)
    assert len(last.diagnostics) == len(names) + len(more)


@pytest.mark.parametrize("trainable", ["norm", "all_but_norm", "random"])
def test_what_is_not_trained_has_no_gradient(trainable: str) -> None:
    """With `trainable`, only what is trained is measured, and known beforehand."""
    run = run_of("batch", MLP, "training.epochs=1", f"training.trainable={trainable}", f"diagnostics={ALL}")
    (record,) = records(run)
    names = {(row.layer, row.quantity) for row in record.diagnostics if "[" not in row.quantity}
    assert names == set(measured(run))
    assert (("hidden.0", "gradient norm") in names) == (trainable != "norm")
    assert (("output", "gradient norm") in names) == (trainable == "all_but_norm")


@pytest.mark.parametrize("norm", ["none", "noisy_batch", "{kind: batch_renorm, start: 1, rmax_end: 5, dmax_end: 4}"])
def test_rows_of_a_resumed_run(norm: str) -> None:
    """Going on from a checkpoint measures what the uninterrupted run measured."""
    run = run_of(norm, *PURE, "training.epochs=3", f"diagnostics={ALL}")
    dataset = data_of(norm)
    whole, checkpoints = [], []
    for record in train(run, dataset, CPU):
        whole.append(record.diagnostics)
        checkpoints.append(record.checkpoint())
    for i, checkpoint in enumerate(checkpoints[:-1]):
        assert [record.diagnostics for record in train(run, dataset, CPU, checkpoint)] == whole[i + 1 :]


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        (["training.epochs=5"], [8, 16, 20]),
        (["training.epochs=null", "training.steps=17", "training.eval_every=3"], [6, 12, 17]),
    ],
)
def test_every(length: list[str], steps: list[int]) -> None:
    """`every: 2` measures at every second evaluation and at the last, also after a resumption."""
    run = run_of("batch", MLP, *length, "diagnostics={every: 2, norm_parameters: true, eval_stats: [batch]}")
    got, first = [], None
    for record in train(run, data_of("batch"), CPU):
        first = first or record.checkpoint()
        got += [record.step] if record.diagnostics else []
    assert got == steps
    assert [r.step for r in train(run, data_of("batch"), CPU, first) if r.diagnostics] == steps


def test_a_diverged_run_is_not_measured() -> None:
    """After a loss of NaN there is nothing to measure."""
    run = run_of(
        "none", MLP, "model.activation=relu", "training.optimizer={name: sgd, lr: 1e30}", f"diagnostics={ALL}"
    )
    (record,) = records(run)
    assert record.outcome is not None
    assert record.outcome.status == "diverged"
    assert record.diagnostics == []


# ---------------------------------------------------------------- each probe against its definition


def subject(
    run: RunConfig, dataset: Dataset, model: nn.Module, optimizer: torch.optim.Optimizer, lr: float, **options: Any
) -> Subject:
    """A copy of a model with the run's batch, in the precision of the model."""
    dtype = next(model.parameters()).dtype
    x, y = probe_batch(run, dataset.train)
    options = {
        "batch": (x.to(dtype), y if run.data.is_classification else y.to(dtype)),
        "loss_fn": loss_function(run),
        "in_evaluation": functools.partial(in_evaluation, train_split=dataset.train, statistics="running"),
        "validate": lambda statistics, number: {},
        "is_last": False,
        **options,
    }
    return Subject(plan(run), model, optimizer, step=7, lr=lr, **options)


def probe_of(
    run: RunConfig, dataset: Dataset, optimizer: str = "sgd", lr: float = 0.1, *, is_last: bool = False
) -> Subject:
    """In float64, of a model with its initial weights, but for running statistics of a few batches."""
    model = build_model(run).double()
    with torch.no_grad():
        for start in range(0, 48, 16):
            model(dataset.train.batch(dataset.train.rows[start : start + 16])[0].double())
    options: dict[str, Any] = {"sgd": {}, "momentum": {"momentum": 0.9}, "adam": {}}[optimizer]
    method = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    return subject(run, dataset, model, method(model.parameters(), lr, **options), lr, is_last=is_last)


def regression(*overrides: str, norm: str = "none") -> tuple[RunConfig, Dataset]:
    settings = ["claims=[]", "data={name: random_regression, samples: 60, features: 4, signal: teacher, targets: 3}"]
    settings += ["model={name: mlp, hidden: [5, 6], activation: tanh}", "training.batch_size=20"]
    run = run_of(norm, *settings, *overrides, config="regression.yaml")
    return run, load_dataset(run, None)


def table(rows: Iterable[Reading]) -> Rows:
    return {(row.layer, row.quantity): row.value for row in rows}


def found_by(probe: Probe, subject: Subject) -> Rows:
    return table(probe.measure(subject))


def numpy(tensor: torch.Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().clone().numpy()


def test_the_batch() -> None:
    """The probe batch is a function of the seed: as many training examples as in a batch, or as asked for."""
    run = run_of("batch", MLP)
    dataset = data_of("batch")
    x, y = probe_batch(run, dataset.train)
    assert len(x) == len(y) == 16
    more, _ = probe_batch(run_of("batch", MLP, "diagnostics.examples=40"), dataset.train)
    assert len(more) == 40
    assert torch.equal(more[:16], x)
    pool, _ = dataset.train.batch(dataset.train.rows)
    assert all(any(torch.equal(example, other) for other in pool) for example in more)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu"])
def test_activations(activation: str) -> None:
    """Percentiles, moments and the saturated or dead fraction are NumPy's of activations computed by hand."""
    run, dataset = regression(f"model.activation={activation}", "diagnostics={activations: true, units: [2]}")
    probe = probe_of(run, dataset)
    with torch.no_grad():
        for parameter in probe.model.parameters():
            parameter *= 4  # so that some saturate
        if activation == "relu":
            probe.model.get_submodule("hidden.0.linear").bias[1] = -1000
    found = found_by(Activations(units=[2]), probe)
    x = numpy(probe.inputs)
    functions = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}
    for layer in ("hidden.0", "hidden.1"):
        linear = probe.model.get_submodule(f"{layer}.linear")
        z = x @ numpy(linear.weight).T + numpy(linear.bias)
        x = functions[activation](z) if activation in functions else numpy(F.gelu(torch.tensor(z)))
        for name, percent in (("p15", 15), ("p50", 50), ("p85", 85)):
            assert found[layer, f"input {name}"] == pytest.approx(np.percentile(z, percent))
            assert found[layer, f"input {name} of unit 2"] == pytest.approx(np.percentile(z[:, 2], percent))
        assert found[layer, "input mean"] == pytest.approx(z.mean())
        assert found[layer, "input std"] == pytest.approx(z.std())
        assert found[layer, "output mean"] == pytest.approx(x.mean())
        assert found[layer, "output std"] == pytest.approx(x.std())
        if activation == "sigmoid":
            assert found[layer, "saturated"] == pytest.approx(np.mean((x < 0.01) | (x > 0.99)))
            assert 0 < found[layer, "saturated"] < 1
        if activation == "tanh":
            assert found[layer, "saturated"] == pytest.approx(np.mean(np.abs(x) > 0.98))
            assert 0 < found[layer, "saturated"] < 1
    assert ("hidden.0", "dead") in found or activation != "relu"
    assert found.get(("hidden.0", "dead"), 0.2) == pytest.approx(0.2)


def test_dead_channels() -> None:
    """A channel of a convolution is dead if it is 0 at every position of every example."""
    run = run_of("none", "model={name: lenet}", "diagnostics.activations=true")
    probe = probe_of(run, data_of("none"))
    with torch.no_grad():
        probe.model.get_submodule("conv.1.conv").bias[:4] = -1000
    assert found_by(Activations(), probe)["conv.1", "dead"] == 4 / 16


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "weight", "population_batch"])
def test_gradients_are_finite_differences(norm: str) -> None:
    """The gradient norm of each layer is that of central differences of the loss, weight by weight."""
    run, dataset = regression("diagnostics.gradients=true", norm=norm)
    probe = probe_of(run, dataset)
    found = found_by(Gradients(), probe)
    for layer in ("hidden.0", "hidden.1", "output"):
        squares = 0.0
        for name in probe.weights(layer):
            parameter = probe.parameters[name].detach().view(-1)
            for i in range(len(parameter)):
                losses = []
                for sign in (1, -1):
                    parameter[i] += sign * 1e-6
                    with torch.no_grad():
                        losses.append(probe.loss_fn(probe.forward(), probe.targets).item())
                    parameter[i] -= sign * 1e-6
                squares += ((losses[0] - losses[1]) / 2e-6) ** 2
        assert found[layer, "gradient norm"] == pytest.approx(squares**0.5, rel=1e-5)


def test_update_ratios() -> None:
    """SGD moves a weight by lr·‖g‖, at most as far as clipping lets it; Adam's first step moves each number by lr."""
    run, dataset = regression("diagnostics.gradients=true")
    for lr in (0.1, 0.3):
        probe = probe_of(run, dataset, lr=lr)
        found = found_by(Gradients(), probe)
        for layer in ("hidden.0", "hidden.1", "output"):
            norm = np.linalg.norm(numpy(probe.model.get_submodule(f"{layer}.linear").weight))
            assert found[layer, "update ratio"] == pytest.approx(lr * found[layer, "gradient norm"] / norm)
    probe = probe_of(run, dataset, "adam", lr=0.001)
    weight = numpy(probe.model.get_submodule("hidden.1.linear").weight)
    expected = 0.001 * weight.size**0.5 / np.linalg.norm(weight)
    assert found_by(Gradients(), probe)["hidden.1", "update ratio"] == pytest.approx(expected, rel=1e-4)
    clipped, _ = regression("diagnostics.gradients=true", "training.clip_gradient_norm=0.001")
    probe = probe_of(clipped, dataset)
    moved = {name: probe.after[name] - probe.start[name] for name in probe.start}
    assert sum(m.square().sum().item() for m in moved.values()) ** 0.5 == pytest.approx(0.0001, rel=1e-3)


def test_norm_parameters() -> None:
    """Mean, smallest and largest γ and β, and all of them when asked for."""
    run, dataset = regression(norm="batch")
    probe = probe_of(run, dataset, is_last=True)
    norm = probe.model.get_submodule("hidden.1.norm")
    with torch.no_grad():
        norm.weight.copy_(torch.arange(6))
        norm.bias.copy_(-torch.arange(6) / 2)
    found = found_by(NormParameters(), probe)
    assert [found["hidden.1", f"gamma {name}"] for name in ("mean", "min", "max")] == [2.5, 0, 5]
    assert [found["hidden.1", f"beta {name}"] for name in ("mean", "min", "max")] == [-1.25, -2.5, 0]
    assert [found["hidden.1", f"gamma[{i}]"] for i in range(6)] == [0, 1, 2, 3, 4, 5]
    assert found["hidden.1", "beta[3]"] == -1.5
    assert len(found_by(NormParameters(), probe_of(run, dataset))) == 12


def test_switchable_weights() -> None:
    """The softmaxes; after a dense layer of layer and batch normalization alone."""
    run, dataset = regression(norm="switchable")
    probe = probe_of(run, dataset)
    with torch.no_grad():
        probe.model.get_submodule("hidden.1.norm").mean_logits.copy_(torch.tensor([1.0, 3.0]))
    found = found_by(SwitchableWeights(), probe)
    assert {layer for layer, _ in found} == {"hidden.0", "hidden.1"}
    assert found["hidden.1", "mean weight batch"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found["hidden.1", "mean weight layer"] == pytest.approx(1 / (1 + np.exp(2)))
    assert found["hidden.0", "var weight batch"] == 0.5
    assert not found_by(SwitchableWeights(), probe_of(*regression(norm="batch")))


@pytest.mark.parametrize(
    "norm", ["batch", "batch_from_scratch", "noisy_batch", "mean_only_batch", "population_batch"]
)
def test_running_statistics(norm: str) -> None:
    """Distance of the means in batch standard deviations, and ratio of the variances, of the first norm's input."""
    run, dataset = regression(norm=norm)
    probe = probe_of(run, dataset)
    module = probe.model.get_submodule("hidden.0.norm")
    mean, var = numpy(module.running_mean), numpy(module.running_var)
    x = numpy(probe.inputs) @ numpy(probe.model.get_submodule("hidden.0.linear").weight).T
    if (bias := probe.model.get_submodule("hidden.0.linear").bias) is not None:
        x = x + numpy(bias)
    found = found_by(RunningStatistics(), probe)
    batch_mean, batch_var = x.mean(0), x.var(0, ddof=1)
    expected = np.sqrt(np.mean((mean - batch_mean) ** 2 / batch_var))
    assert found["hidden.0", "running mean distance"] == pytest.approx(expected)
    assert found["hidden.0", "running variance ratio"] == pytest.approx(np.exp(np.mean(np.log(var / batch_var))))


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_running_mean_distance_has_no_unit(p: str, scale: float) -> None:
    """It is in batch standard deviations, whatever the norm divides by, and so the same at any scale of the input."""
    run, dataset = regression(norm=f"{{kind: lp_batch, p: {p}}}")
    probe = probe_of(run, dataset)
    with torch.no_grad():
        probe.model.get_submodule("hidden.0.linear").weight.mul_(scale)  # type: ignore[operator, union-attr]
        probe.buffers["hidden.0.norm.running_mean"].mul_(scale)
    x = numpy(probe.inputs) @ numpy(probe.model.get_submodule("hidden.0.linear").weight).T
    distance = (numpy(probe.buffers["hidden.0.norm.running_mean"]) - x.mean(0)) / x.std(0, ddof=1)
    found = found_by(RunningStatistics(), probe)["hidden.0", "running mean distance"]
    assert found == pytest.approx(np.sqrt(np.mean(distance**2)))


def test_constant_channels_are_left_out() -> None:
    """What varies by rounding alone has no spread to measure a distance in."""
    run, dataset = regression(norm="batch")
    probe = probe_of(run, dataset)
    values = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values[:, 1:] = 0.1 + 1e-9 * values[:, 1:]  # 1e-8 of the mean
    probe.model.get_submodule("hidden.0.linear").register_forward_hook(lambda _layer, _inputs, _output: values)
    mean, var = (numpy(probe.buffers[f"hidden.0.norm.running_{name}"])[0] for name in ("mean", "var"))
    x = numpy(values)[:, 0]
    found = found_by(RunningStatistics(), probe)
    expected = abs(mean - x.mean()) / x.std(ddof=1)
    assert found["hidden.0", "running mean distance"] == pytest.approx(expected)
    assert found["hidden.0", "running variance ratio"] == pytest.approx(var / x.var(ddof=1))


def test_tiny_gradients() -> None:
    """Gradients whose squares are 0 in float32 keep their length and direction."""
    run, dataset = regression("model.hidden=[5, 6, 7]")
    probe = probe_of(run, dataset)
    exact = found_by(Gradients(), probe) | found_by(CovariateShift(), probe)
    model, optimizer = probe.model.float(), torch.optim.SGD(probe.model.parameters(), 0.1)
    small = subject(run, dataset, model, optimizer, 0.1e30, loss_fn=lambda *of: 1e-30 * F.mse_loss(*of))
    found = found_by(Gradients(), small) | found_by(CovariateShift(), small)
    for (layer, quantity), value in exact.items():
        unit = 1e-30 if quantity in ("gradient norm", "covariate shift") else 1
        assert found[layer, quantity] == pytest.approx(unit * value, rel=1e-3), quantity
        if quantity.endswith("cosine"):
            assert -1 <= found[layer, quantity] <= 1 + 1e-12


def test_undefined_values_are_nan() -> None:
    """A step over a weight of 0, the direction of no gradient, the smoothness of what is no number."""
    run, dataset = regression()
    probe = probe_of(run, dataset)
    with torch.no_grad():
        for parameter in probe.parameters.values():
            parameter.zero_()
        probe.start = {name: p.detach().clone() for name, p in probe.parameters.items()}
    assert math.isnan(found_by(Gradients(), probe)["hidden.0", "update ratio"])
    assert math.isnan(found_by(CovariateShift(), probe)["hidden.1", "covariate shift cosine"])
    assert found_by(Landscape(landscape=[0.5, 4]), probe_of(run, dataset, lr=5e-324))["model", "beta smoothness"] == 0
    probe = probe_of(run, dataset)
    probe.targets = probe.targets * math.nan
    assert all(math.isnan(value) for value in found_by(Landscape(landscape=[0.5, 4]), probe).values())


def test_train_eval_gap() -> None:
    """The loss with the batch's statistics against that with the running ones, as `evaluate` computes it."""
    run, dataset = regression(norm="batch")
    probe = probe_of(run, dataset)
    found = found_by(TrainEvalGap(), probe)
    model = probe_of(run, dataset).model  # untouched by the probe
    set_evaluation_mode(model)
    evaluation = F.mse_loss(model(probe.inputs), probe.targets).item()
    model.train()
    training = F.mse_loss(model(probe.inputs), probe.targets).item()
    assert found == {
        ("model", "loss in training mode"): pytest.approx(training),
        ("model", "loss in evaluation mode"): pytest.approx(evaluation),
    }
    assert training != pytest.approx(evaluation, rel=1e-3)


def test_landscape_of_a_quadratic() -> None:
    """With the output layer alone trained the loss is quadratic, and all its numbers have a closed form."""
    run, dataset = regression("diagnostics.landscape=[0.25, 3]")
    model = build_model(run).double()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("output"))
    lr = 0.3
    probe = subject(run, dataset, model, torch.optim.SGD(model.parameters(), lr), lr)
    x, y = probe.inputs, probe.targets
    found = found_by(Landscape(landscape=[0.25, 3]), probe)
    linear = model.get_submodule("output.linear")
    features = numpy(model[0](x))
    features = np.hstack([features, np.ones((len(features), 1))])
    weights = np.hstack([numpy(linear.weight), numpy(linear.bias)[:, None]])
    residual = features @ weights.T - numpy(y)
    number = residual.size  # the loss is the mean over examples and targets
    gradient = 2 / number * residual.T @ features
    hessian = 2 / number * features.T @ features
    distances = lr * np.geomspace(0.25, 3, LANDSCAPE_POINTS)
    slope, curvature = np.sum(gradient**2), np.sum((gradient @ hessian) * gradient)
    losses = np.sum(residual**2) / number - distances * slope + distances**2 / 2 * curvature
    changes = distances * np.linalg.norm(gradient @ hessian)
    assert found == {
        ("model", "landscape loss min"): pytest.approx(losses.min()),
        ("model", "landscape loss max"): pytest.approx(losses.max()),
        ("model", "landscape loss range"): pytest.approx(losses.max() - losses.min()),
        ("model", "gradient change min"): pytest.approx(changes.min()),
        ("model", "gradient change max"): pytest.approx(changes.max()),
        ("model", "beta smoothness"): pytest.approx(np.linalg.norm(gradient @ hessian) / np.linalg.norm(gradient)),
    }


def test_covariate_shift_of_a_linear_network() -> None:
    """Definition 2.1 by hand, for three linear layers and plain SGD."""
    run, dataset = regression("model.activation=identity", "diagnostics.covariate_shift=true")
    probe = probe_of(run, dataset, lr=0.5)
    found = found_by(CovariateShift(), probe)
    x, y = numpy(probe.inputs), numpy(probe.targets)
    names = ("hidden.0", "hidden.1", "output")
    start = [(numpy(m.weight), numpy(m.bias)) for m in (probe.model.get_submodule(f"{n}.linear") for n in names)]

    def gradient(layers: list[Any]) -> list[Any]:
        """(∂L/∂W, ∂L/∂b) of each layer."""
        inputs = [x]
        for weight, bias in layers:
            inputs.append(inputs[-1] @ weight.T + bias)
        delta = 2 * (inputs[-1] - y) / y.size
        found = []
        for (weight, _), entered in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
            found.append((delta.T @ entered, delta.sum(0)))
            delta = delta @ weight
        return found[::-1]

    own = gradient(start)
    moved = [(w - 0.5 * gw, b - 0.5 * gb) for (w, b), (gw, gb) in zip(start, own, strict=True)]
    assert len(found) == 4
    for i, name in list(enumerate(names))[1:]:
        there, here = gradient([*moved[:i], *start[i:]])[i][0], own[i][0]
        assert found[name, "covariate shift"] == pytest.approx(np.linalg.norm(here - there))
        cosine = np.sum(here * there) / np.linalg.norm(here) / np.linalg.norm(there)
        assert found[name, "covariate shift cosine"] == pytest.approx(cosine)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_covariate_shift_takes_the_optimizers_step(optimizer: str) -> None:
    """With another optimizer, layers before move as its own step moves them: shown with a second model."""
    run, dataset = regression(norm="batch")
    probe = probe_of(run, dataset, optimizer)
    found = found_by(CovariateShift(), probe)
    stepped = probe_of(run, dataset, optimizer)
    loss = F.mse_loss(stepped.model(probe.inputs), probe.targets)
    loss.backward()
    stepped.optimizer.step()
    model: nn.Module = probe_of(run, dataset).model
    weight = model.get_submodule("output.linear").weight
    (here,) = torch.autograd.grad(F.mse_loss(model(probe.inputs), probe.targets), weight)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("output"):
                parameter.copy_(stepped.parameters[name])
    (there,) = torch.autograd.grad(F.mse_loss(model(probe.inputs), probe.targets), weight)
    assert found["output", "covariate shift"] == pytest.approx((here - there).norm().item())


@pytest.mark.parametrize("hidden", ["[12, 10, 8]", "[50, 50, 50, 50]"])
def test_one_at_a_time_is_not_rounding(hidden: str) -> None:
    """Whatever the shapes of the layers, of one example a dense batch norm gives β, and not blown-up rounding."""
    data = "data={name: random_regression, samples: 60, features: 10, validation: 12}"
    settings = ["claims=[]", data, f"model={{name: mlp, hidden: {hidden}}}", "diagnostics.one_at_a_time=12"]
    run = run_of("batch", *settings, "training.epochs=2", "training.batch_size=16", config="regression.yaml")
    dataset = load_dataset(run, None)
    *_, record = train(run, dataset, CPU)
    assert dataset.validation is not None
    assert record.outcome is not None
    model = build_model(run)
    model.load_state_dict(torch.load(io.BytesIO(record.checkpoint()), weights_only=False)["model"])
    last = len(run.model.hidden) - 1  # type: ignore[union-attr]
    beta = model.get_submodule(f"hidden.{last}.norm").bias
    answer = model.get_submodule("output")(torch.relu(beta).unsqueeze(0))  # type: ignore[arg-type]
    targets = dataset.validation.batch(dataset.validation.rows[:12])[1]
    expected = F.mse_loss(answer.expand_as(targets), targets).item()
    found = table(record.diagnostics)["model", "val/loss one at a time with batch statistics"]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("norm", "measured"),
    [
        ("batch", ["running", "batch", "population"]),
        ("{kind: batch, track_running_stats: false}", ["batch"]),
        ("{kind: lp_batch, p: 1}", ["running", "batch"]),
        ("{kind: lp_batch, p: 2}", ["running", "batch", "population"]),
        ("layer", []),
    ],
)
def test_statistics_that_a_norm_has(norm: str, measured: list[str]) -> None:
    """Of the statistics asked for those are measured that the norm has: no other stands under their name."""
    run = run_of(norm, "diagnostics.eval_stats=[running, batch, population]", "training.epochs=1")
    (record,) = train(run, load_dataset(run, POOL), CPU)
    names = [row.quantity for row in record.diagnostics if row.quantity.startswith("val/loss")]
    assert names == [f"val/loss with {statistics} statistics" for statistics in measured]


def test_batch_statistics_of_an_odd_number() -> None:
    """Batches of two, and an odd number of examples to evaluate on: none is left alone."""
    data = "data={name: random_regression, samples: 60, features: 4, validation: 11, test_samples: 5}"
    settings = ["claims=[]", data, "model={name: mlp, hidden: [5]}", "training.epochs=1", "training.batch_size=2"]
    run = run_of("{kind: batch, eval_stats: batch}", *settings, config="regression.yaml")
    (record,) = train(run, load_dataset(run, None), CPU)
    assert record.outcome is not None
    assert record.outcome.status == "completed"


@pytest.mark.parametrize("layers", ["all", "conv"])
def test_one_at_a_time(layers: str) -> None:
    """Classified alone, an example has its own statistics: a dense layer's norm then gives β whatever it is."""
    norm = f"{{kind: batch, layers: {layers}}}"
    run = run_of(norm, "model={name: lenet}", "training.epochs=1", "diagnostics.one_at_a_time=12")
    dataset = load_dataset(run, POOL)
    (record,) = train(run, dataset, CPU)
    found = table(record.diagnostics)
    assert record.outcome is not None
    assert record.outcome.best_weights is not None
    assert dataset.validation is not None
    model = build_model(run)
    model.load_state_dict(record.outcome.best_weights)
    x, y = dataset.validation.batch(dataset.validation.rows[:12])
    losses, correct = [], []
    for example, label in zip(x, y, strict=True):
        out = example.unsqueeze(0)
        with torch.no_grad():
            for name, module in model.named_modules():
                if any(True for _ in module.children()):
                    continue
                if name.endswith("norm") and out.dim() == 2:
                    out = module.bias.unsqueeze(0)
                elif name.endswith("norm"):
                    out = F.batch_norm(out, None, None, module.weight, module.bias, training=True)
                else:
                    out = module(out)
        losses.append(F.cross_entropy(out, label.view(1)).item())
        correct.append(out.argmax().item() == label)
    assert found["model", "val/loss one at a time with batch statistics"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert found["model", "val/accuracy one at a time with batch statistics"] == pytest.approx(np.mean(correct))
    few = evaluate(model, replace(dataset.validation, rows=dataset.validation.rows[:12]), loss_function(run), "val")
    assert found["model", "val/loss one at a time with running statistics"] == pytest.approx(
        few["val/loss"], rel=1e-4
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch", "weight"])
def test_on_a_gpu(norm: str) -> None:
    """Every probe works on a GPU, changes nothing there, and measures what it measures on a CPU."""
    settings = ["model={name: lenet, activation: tanh}", "training={epochs: 1, optimizer: {name: adam, lr: 0.001}}"]
    plain, probed = run_of(norm, *settings), run_of(norm, *settings, f"diagnostics={ALL}")
    dataset, cuda = load_dataset(plain, POOL), torch.device("cuda")
    torch.backends.cudnn.deterministic = True
    (without,), (record,) = train(plain, dataset, cuda), train(probed, dataset, cuda)
    assert record.metrics == without.metrics
    if norm == "noisy_batch":
        return  # each device draws numbers of its own
    on_cpu = table(next(train(probed, dataset, CPU)).diagnostics)
    on_gpu = table(record.diagnostics)
    assert on_gpu.keys() == on_cpu.keys()
    for name in ("gradient norm", "input p50", "update ratio"):
        assert on_gpu["dense.0", name] == pytest.approx(on_cpu["dense.0", name], rel=0.05, abs=0.01)
