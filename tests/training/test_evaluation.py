"""Which statistics a batch norm evaluates with; and what is trained: everything, γ and β, or all else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from kit import CONFIGS
from safetensors.torch import load_file
from torch import nn

from bncompare.config.expand import load_experiment
from bncompare.config.quantities import count_parameters
from bncompare.config.run import RunConfig
from bncompare.errors import UserError
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.norms.modules import batch_norms
from bncompare.runs.folder import RunStore
from bncompare.training.data import Dataset, Datasets, Split
from bncompare.training.evaluate import evaluate, fast_chunk, loss_function
from bncompare.training.loop import train
from bncompare.training.model import build_model, trainable_parameters
from bncompare.training.statistics import evaluation_statistics, set_evaluation_mode

CPU = torch.device("cpu")
dataset_of = Datasets(None).of
FAMILY = ["batch", "batch_from_scratch", "ghost_batch", "batch_renorm", "noisy_batch", "variance_only_batch"]


def run_of(norm: str, *overrides: str) -> RunConfig:
    settings = [f"compare.model.norm=[{norm}]", "data.train_size=128", "training.epochs=2", *overrides]
    return load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="1").runs[0]


def trained(run: RunConfig, dataset: Dataset) -> nn.Sequential:
    """A model whose running statistics are neither new nor exact."""
    *_, last = train(run, dataset, CPU)
    assert last.outcome is not None
    assert last.outcome.best_weights is not None
    model = build_model(run)
    model.load_state_dict(last.outcome.best_weights)
    return model


def inputs_of_norms(model: nn.Module, x: torch.Tensor) -> list[np.ndarray]:
    """What goes into each batch norm in evaluation mode."""
    seen: list[np.ndarray] = []
    handles = [
        norm.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].double().detach().numpy()))
        for norm in batch_norms(model)
    ]
    set_evaluation_mode(model)
    model(x)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("norm", FAMILY)
def test_population_statistics_are_exact(norm: str) -> None:
    """With population statistics, each norm's running buffers are the mean and variance of what it sees of the
    training set; afterwards they are as before, to the bit."""
    run = run_of(norm)
    dataset = dataset_of(run)
    model = trained(run, dataset)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, _ = dataset.train.batch(dataset.train.rows)
    with evaluation_statistics(model, dataset.train, "population"):
        for module, values in zip(batch_norms(model), inputs_of_norms(model, x), strict=True):
            channels = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
            assert module.running_mean is not None
            assert module.running_var is not None
            np.testing.assert_allclose(module.running_mean.numpy(), channels.mean(1), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(module.running_var.numpy(), channels.var(1, ddof=1), rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("norm", FAMILY)
def test_batch_statistics(norm: str) -> None:
    """With batch statistics an evaluation batch is normalized by its own, and nothing is remembered."""
    run = run_of(norm)
    dataset = dataset_of(run)
    model = trained(run, dataset)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, _ = dataset.train.batch(dataset.train.rows[:64])
    with evaluation_statistics(model, dataset.train, "batch"):
        set_evaluation_mode(model)
        outputs: list[torch.Tensor] = []
        handle = batch_norms(model)[0].register_forward_hook(lambda _m, _i, output: outputs.append(output))
        model(x)
        handle.remove()
    gamma, beta = model.get_submodule("conv.0.norm").weight, model.get_submodule("conv.0.norm").bias
    normalized = ((outputs[0] - beta.view(1, -1, 1, 1)) / gamma.view(1, -1, 1, 1)).transpose(0, 1).flatten(1)
    if norm != "variance_only_batch":
        assert normalized.mean(1).abs().max() < 1e-4
    assert (normalized.std(1) - 1).abs().max() < 1e-2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    set_evaluation_mode(model)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("statistics", ["running", "batch", "population"])
def test_best_weights_give_the_best_metric(statistics: str, tmp_path: Path) -> None:
    """Whatever evaluation uses, best.safetensors gives exactly the metrics recorded as best."""
    run = run_of(f"{{kind: batch, eval_stats: {statistics}}}", "training.epochs=3")
    (planned,) = plan_runs([run], RunStore(tmp_path))
    *_, last = run_experiment([planned], data_dir=None)
    assert last.record is not None
    assert last.record.outcome is not None
    assert last.record.outcome.best is not None
    dataset, model = dataset_of(run), build_model(run)
    model.load_state_dict(load_file(planned.folder.path / "best.safetensors"))
    assert dataset.validation is not None
    chunk = 64 if statistics == "batch" else 500
    with evaluation_statistics(model, dataset.train, "batch" if statistics == "batch" else "running"):
        measured = evaluate(model, dataset.validation, loss_function(run), "val", chunk)
    assert measured.items() <= last.record.outcome.best.items()


def test_eval_stats_changes_no_training() -> None:
    """Runs that differ in eval_stats alone have the same training losses, to the bit, and other validation losses."""
    losses = {}
    for statistics in ("running", "batch", "population"):
        run = run_of(f"{{kind: batch, eval_stats: {statistics}}}", "training.early_stopping=null")
        records = list(train(run, dataset_of(run), CPU))
        losses[statistics] = ([r.metrics["train/loss"] for r in records], [r.metrics["val/loss"] for r in records])
    assert losses["running"][0] == losses["batch"][0] == losses["population"][0]
    assert len({tuple(val) for _, val in losses.values()}) == 3


def test_without_running_statistics() -> None:
    """track_running_stats: false evaluates with the batch's statistics, as eval_stats: batch does."""
    results = []
    for norm in ("{kind: batch, track_running_stats: false}", "{kind: batch, eval_stats: batch}"):
        run = run_of(norm)
        results.append([record.metrics for record in train(run, dataset_of(run), CPU)])
    assert results[0] == results[1]
    with pytest.raises(UserError, match="track_running_stats"):
        run_of("{kind: batch, track_running_stats: false, eval_stats: population}")


@pytest.mark.parametrize("norm", ["batch", "batch_renorm", "noisy_batch"])
def test_the_gap_is_recorded_and_changes_nothing(norm: str, tmp_path: Path) -> None:
    """diagnostics.eval_stats writes validation with other statistics to diagnostics.csv and changes no metric."""
    texts = []
    for setting in ("[]", "[running, batch, population]"):
        run = run_of(norm, f"diagnostics.eval_stats={setting}", "training.early_stopping=null")
        (planned,) = plan_runs([run], RunStore(tmp_path))
        for _ in run_experiment([planned], data_dir=None):
            pass
        texts.append((planned.folder.path / "metrics.csv").read_bytes())
        assert (planned.folder.path / "diagnostics.csv").exists() == (setting != "[]")
    assert texts[0] == texts[1]
    lines = (planned.folder.path / "diagnostics.csv").read_text().splitlines()
    assert lines[0] == "epoch,step,layer,quantity,value"
    assert len(lines) == 1 + 2 * 3 * 2
    val_loss = texts[1].decode().splitlines()[1].split(",")[4]
    assert f"1,2,model,val/loss with running statistics,{val_loss}" in lines


# ---------------------------------------------------------------- what is trained


@pytest.mark.parametrize("trainable", ["all", "norm", "all_but_norm"])
@pytest.mark.parametrize("norm", ["batch", "layer", "rms", "mean_only_batch"])
def test_trainable(trainable: str, norm: str) -> None:
    """`norm` moves γ and β alone, `all_but_norm` everything else; the parameter count is of what is trained."""
    run = run_of(norm, f"training.trainable={trainable}", "training.early_stopping=null")
    dataset = dataset_of(run)
    before, after = build_model(run).state_dict(), trained(run, dataset).state_dict()
    parameters = dict(build_model(run).named_parameters())
    moved = {name for name in parameters if not torch.equal(before[name], after[name])}
    norms = {name for name in parameters if ".norm." in name}
    assert moved == {"all": set(parameters), "norm": norms, "all_but_norm": set(parameters) - norms}[trainable]
    assert count_parameters(run) == sum(parameters[name].numel() for name in moved)


def test_random_entries_are_trained() -> None:
    """`random` moves as many entries of each normalized layer's weight as its norm has γ and β, and nothing else."""
    settings = ["training.early_stopping=null", "model.activation=sigmoid"]  # a ReLU may be dead
    run = run_of("batch", "training.trainable=random", *settings)
    start, model = build_model(run), trained(run, dataset_of(run))
    x = torch.rand(4, 1, 28, 28)
    assert torch.equal(start(x), build_model(run_of("batch", *settings))(x))
    for name, layer in start.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            moved = (layer.weight != model.get_submodule(name).weight).sum().item()
            assert moved == (0 if name == "output.linear" else 2 * len(layer.weight)), name
            assert layer.bias is None or torch.equal(layer.bias, model.get_submodule(name).bias)
        elif name.endswith(".norm"):
            assert torch.equal(layer.weight, model.get_submodule(name).weight)
    assert count_parameters(run) == count_parameters(run_of("batch", "training.trainable=norm"))


@pytest.mark.parametrize("trainable", ["norm", "random"])
def test_nothing_to_train(trainable: str) -> None:
    """Training γ and β alone, or as many random entries, is refused where there are none."""
    for norm in ("none", "{kind: batch, affine: false}", "weight", "local_response"):
        with pytest.raises(UserError, match=rf"training\.trainable: {trainable}: "):
            run_of(norm, f"training.trainable={trainable}")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_of_norms(optimizer: str) -> None:
    """With decay_norm: false γ and β feel no weight decay; all other weights do."""
    weights = {}
    for decay_norm in ("true", "false"):
        setting = f"training.optimizer={{name: {optimizer}, lr: 1e-12, weight_decay: 1e10, decay_norm: {decay_norm}}}"
        run = run_of("batch", setting, "training.epochs=null", "training.steps=1", "training.scheduler=none")
        weights[decay_norm] = trained(run, dataset_of(run)).state_dict()
    assert torch.allclose(weights["false"]["conv.0.norm.weight"], torch.ones(6), atol=1e-6)
    assert torch.allclose(weights["true"]["conv.0.norm.weight"], torch.full((6,), 0.99), atol=1e-6)
    assert torch.equal(weights["true"]["conv.0.conv.weight"], weights["false"]["conv.0.conv.weight"])


def test_groups_of_parameters() -> None:
    """Every parameter belongs to one group, also those of weight parametrizations."""
    for norm in ("batch", "weight", "spectral", "none"):
        run = run_of(norm)
        model = build_model(run)
        norms, others = trainable_parameters(run, model)
        assert {id(p) for p in [*norms, *others]} == {id(p) for p in model.parameters()}
        assert len([*norms, *others]) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("device", "shape", "chunk"),
    [
        ("cpu", (1, 28, 28), 500),
        ("meta", (1, 28, 28), 10_000),
        ("meta", (3, 32, 32), 2_552),
        ("meta", (3, 224, 224), 500),
        ("meta", (3,), 10_000),
    ],
)
def test_examples_at_once(device: str, shape: tuple[int, ...], chunk: int) -> None:
    """Fewer if they are larger, on anything but a CPU."""
    examples, rows = torch.empty(1, *shape, device=device), torch.empty(1, dtype=torch.int64, device=device)
    assert fast_chunk(Split(examples, rows, rows)) == chunk
