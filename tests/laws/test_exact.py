"""Laws: same seed same bytes; interrupted and resumed = uninterrupted; best weights give the recorded best metric."""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from kit import CONFIGS, content, fits
from safetensors.torch import load_file

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.extras.laws import bits_of, resumes
from bncompare.norms import NORMS
from bncompare.runs.folder import RunStore
from bncompare.training.data import Datasets
from bncompare.training.evaluate import evaluate, loss_function
from bncompare.training.loop import Record, train
from bncompare.training.model import build_model

CPU = torch.device("cpu")
dataset_of = Datasets(None).of

MLP = "model={name: mlp, hidden: [16, 16], dropout: {p: 0.3}}"
LENET = "model={name: lenet, activation: tanh}"
CASES = {
    "sgd momentum, cosine, lenet, early stopping": [LENET, "training.early_stopping.patience=2"],
    "adam, plateau, dropout": [
        MLP,
        "training.optimizer={name: adam, lr: 0.003}",
        "training.scheduler={name: reduce_on_plateau, patience: 0, threshold: 0.5}",
        "training.epochs=5",
        "training.early_stopping=null",
    ],
    "adamw, steps, evaluations within an epoch, multistep": [
        MLP,
        "training.epochs=null",
        "training.steps=23",
        "training.eval_every=5",
        "training.optimizer={name: adamw, lr: 0.003, weight_decay: 0.1}",
        "training.scheduler={name: multistep, milestones: [7, 16]}",
        "training.early_stopping=null",
    ],
    "nesterov, exponential, clipping": [
        MLP,
        "training.optimizer={name: sgd, lr: 0.1, momentum: 0.9, nesterov: true}",
        "training.scheduler={name: exponential, gamma: 0.9}",
        "training.clip_gradient_norm=0.5",
    ],
    "step, early stopping on accuracy": [
        MLP,
        "training.scheduler={name: step, step_size: 2}",
        "training.epochs=8",
        "training.early_stopping={monitor: val/accuracy, patience: 2, min_delta: 0.05}",
    ],
    "warm-up, then plateau, l1, label smoothing": [
        MLP,
        "training.warmup=2",
        "training.scheduler={name: reduce_on_plateau, patience: 0, threshold: 0.5}",
        "training.epochs=5",
        "training.l1=0.001",
        "training.label_smoothing=0.1",
        "training.early_stopping=null",
    ],
    "warm-up in steps, cosine, adam": [
        MLP,
        "training.epochs=null",
        "training.steps=19",
        "training.eval_every=4",
        "training.warmup=10",
        "training.optimizer={name: adam, lr: 0.003}",
        "training.scheduler=cosine",
        "training.early_stopping=null",
    ],
    "evaluated at the start, dropout, plateau": [
        MLP,
        "training.evaluate_at_start=true",
        "training.scheduler={name: reduce_on_plateau, patience: 0, threshold: 0.5}",
        "training.epochs=5",
    ],
}
OPTIONS = {
    "ghost_batch": "virtual_batch_size: 16",
    "batch_renorm": "start: 3, rmax_end: 9, dmax_end: 6",
    "filter_response": "learn_eps: true",
    "weight_standardization": "scaled: true",
}
KINDS = [kind for kind in NORMS if kind in OPTIONS or fits(kind, 16)]
VARIED = [
    *(f"{{kind: {kind}, {OPTIONS[kind]}}}" if kind in OPTIONS else kind for kind in KINDS),
    "[{kind: weight_standardization, scaled: true}, {kind: batch, bias: false, momentum: null}]",
    *("{kind: batch, eval_stats: batch}", "{kind: batch_renorm, start: 0, eval_stats: population, momentum: null}"),
]


def run_of(overrides: Sequence[str], norm: str = "batch") -> RunConfig:
    settings = [*overrides, f"compare.model.norm=[{norm}]", "data.train_size=200"]
    (run,) = load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="5-5").runs
    return run


def weights(record: Record) -> dict[str, torch.Tensor]:
    assert record.outcome is not None
    assert record.outcome.best_weights is not None
    return record.outcome.best_weights


@pytest.mark.parametrize(
    ("case", "norm"),
    [(case, "noisy_batch") for case in CASES]
    + [(list(CASES)[i % len(CASES)], norm) for i, norm in enumerate(VARIED)],
)
def test_resumed_is_uninterrupted(case: str, norm: str) -> None:
    """In every kind of training, and with every norm."""
    assert resumes(run_of(CASES[case], norm)) is None


@pytest.mark.parametrize("norm", ["none", "noisy_batch", "{kind: batch, eval_stats: population}", "spectral"])
def test_an_evaluation_at_the_start_changes_nothing(norm: str) -> None:
    """With it a run has one record more, at step 0, and every other is the same, diagnostics and weights included."""
    settings = [MLP, "training.early_stopping.patience=2", "diagnostics={activations: true, gradients: true}"]
    without, run = (run_of([*settings, f"training.evaluate_at_start={on}"], norm) for on in ("false", "true"))
    assert without.digest != run.digest
    straight, (start, *others) = (list(train(one, dataset_of(one), CPU)) for one in (without, run))
    assert [bits_of(record) for record in others] == [bits_of(record) for record in straight]
    assert [record.diagnostics for record in others] == [record.diagnostics for record in straight]
    assert all(torch.equal(value, weights(others[-1])[name]) for name, value in weights(straight[-1]).items())
    assert (start.epoch, start.step, start.outcome, list(start.metrics)) == (0, 0, None, list(straight[0].metrics))
    assert len(start.diagnostics) == len(straight[0].diagnostics)


@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch"])
def test_what_is_evaluated_at_the_start(norm: str) -> None:
    """The metrics of training are those of an epoch in which nothing is learned; without a norm so are the others."""
    run = run_of([MLP, "training.evaluate_at_start=true", "training.optimizer={name: sgd, lr: 1.0e-30}"], norm)
    start, first, *_ = train(run, dataset_of(run), CPU)
    same = (
        start.metrics if norm == "none" else {name: start.metrics[name] for name in ("train/loss", "train/accuracy")}
    )
    assert same == {name: first.metrics[name] for name in same}


def finish(config: str, folder: Path, *overrides: str, seeds: str = "2") -> dict[str, bytes]:
    """Train a config and return the bytes of every file, without those that hold wall-clock times."""
    experiment = load_experiment(CONFIGS / config, overrides=overrides, seeds=seeds)
    for _ in run_experiment(plan_runs(experiment.runs, RunStore(folder)), data_dir=None):
        pass
    return content(folder)


@pytest.mark.parametrize("config", ["smoke.yaml", "regression.yaml"])
def test_same_seed_same_bytes(config: str, tmp_path: Path) -> None:
    """The same command twice, into two folders, writes the same bytes: metrics, weights, results, figures."""
    short = ["compare.model.norm=[none, batch]", "training.epochs=2"]
    first, second = finish(config, tmp_path / "a", *short), finish(config, tmp_path / "b", *short)
    assert len(first) == 4 * (4 if config == "regression.yaml" else 5)  # which has no classes to predict
    assert first == second


def test_order_of_runs_changes_nothing(tmp_path: Path) -> None:
    """A run alone gives the bytes it gives after others."""
    short = ["training.epochs=2", "data.train_size=128", "compare.model.norm=[none, batch, layer]"]
    together = finish("smoke.yaml", tmp_path / "a", *short)
    alone = finish("smoke.yaml", tmp_path / "b", *short, seeds="1-1")
    configs = {name for name in alone if name.endswith("config.yaml")}  # which say what seeds were asked for
    assert {name: of for name, of in alone.items() if name not in configs}.items() <= together.items()
    assert len(configs) == 3
    for name in configs:
        assert alone[name].replace(b'design:\n  seeds: "1"', b"design: {seeds: 0-1}") == together[name]


def test_finished_is_not_trained_again(tmp_path: Path) -> None:
    """A finished experiment, run again, yields no event and touches no file."""
    experiment = load_experiment(CONFIGS / "regression.yaml", overrides=["training.epochs=3"], seeds="2")
    for _ in run_experiment(plan_runs(experiment.runs, RunStore(tmp_path)), data_dir=None):
        pass
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert list(run_experiment(plan_runs(experiment.runs, RunStore(tmp_path)), data_dir=None)) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("model", "norm"),
    [*((MLP, norm) for norm in VARIED[:-2]), *((LENET, norm) for norm in ("batch", "noisy_batch", "weight"))],
)
def test_best_weights_give_the_best_metric(model: str, norm: str, tmp_path: Path) -> None:
    """best.safetensors, loaded into a new model, gives exactly the validation and test metrics recorded as best."""
    settings = [model, "training.epochs=6", "training.optimizer.lr=1.5", "training.early_stopping=null"]
    settings += ["training.scheduler=none", "training.monitor=val/accuracy", f"compare.model.norm=[{norm}]"]
    settings += ["data.train_size=128"]
    for run in load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="9").runs:
        (planned,) = plan_runs([run], RunStore(tmp_path))
        *_, last = run_experiment([planned], data_dir=None)
        assert last.record is not None
        outcome = last.record.outcome
        assert outcome is not None
        if outcome.best is not None and outcome.best["step"] < outcome.last["step"]:
            break  # else the best weights are the last ones, and this shows nothing
    else:
        pytest.fail("no seed whose best is not the last")
    dataset, model = dataset_of(run), build_model(run)
    model.load_state_dict(load_file(planned.folder.path / "best.safetensors"))
    assert dataset.validation is not None
    assert dataset.test is not None
    measured = evaluate(model, dataset.validation, loss_function(run), "val")
    measured |= evaluate(model, dataset.test, loss_function(run), "test")
    assert measured.items() <= outcome.best.items()


def test_interrupting_between_records_loses_nothing(tmp_path: Path) -> None:
    """Closing the generator after any record and running again gives the bytes of an uninterrupted run."""
    settings = ["compare.model.norm=[batch]", "training.epochs=4", "training.early_stopping=null"]
    settings += ["data.train_size=128"]
    whole = finish("smoke.yaml", tmp_path / "whole", *settings, seeds="1")
    experiment = load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="1")
    for stop_after in (1, 2, 3):
        folder = tmp_path / f"stopped-{stop_after}"
        events = run_experiment(plan_runs(experiment.runs, RunStore(folder)), data_dir=None)
        for event in itertools.islice((event for event in events if event.record), stop_after):
            assert event.record is not None
            event.planned.folder.save(event.record.checkpoint())
        events.close()
        assert plan_runs(experiment.runs, RunStore(folder))[0].state == "begun"
        assert finish("smoke.yaml", folder, *settings, seeds="1") == whole


def test_the_last_checkpoint_holds_the_last_weights() -> None:
    """Testing the best weights at the end does not leave them in the model: the last checkpoint has the last."""
    # The penalty drives all weights to 0, so that the first evaluation is the best.
    settings = ["training.epochs=6", "training.l1=0.05", "training.early_stopping=null"]
    run = run_of([*settings, "training.monitor=val/accuracy"])
    dataset = dataset_of(run)
    *_, last = train(run, dataset, CPU)
    assert last.outcome is not None
    assert last.outcome.best is not None
    assert last.outcome.best["step"] < last.outcome.last["step"]
    model = build_model(run)
    model.load_state_dict(torch.load(io.BytesIO(last.checkpoint()), weights_only=True)["model"])
    assert dataset.validation is not None
    measured = evaluate(model, dataset.validation, loss_function(run), "val")
    assert measured["val/loss"] == last.outcome.last["val/loss"] != last.outcome.best["val/loss"]
