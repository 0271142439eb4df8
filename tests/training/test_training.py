"""The loop: against one written by hand; early stopping, divergence, schedules, evaluation points."""

import io
import math

import pytest
import torch
import torch.nn.functional as F
from kit import CONFIGS

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.errors import UserError
from bncompare.training.data import Datasets, epoch_rows
from bncompare.training.device import resolve_device
from bncompare.training.loop import Record, train
from bncompare.training.model import build_model

CPU = torch.device("cpu")
dataset_of = Datasets(None).of
MLP = "model={name: mlp, hidden: [16]}"


def run_of(*overrides: str, config: str = "smoke.yaml", norm: str = "batch") -> RunConfig:
    settings = [f"compare.model.norm=[{norm}]", *overrides]
    return load_experiment(CONFIGS / config, overrides=settings, seeds="1").runs[0]


def records(run: RunConfig) -> list[Record]:
    return list(train(run, dataset_of(run), CPU))


def test_equals_a_loop_written_by_hand() -> None:
    """Two epochs give the losses, accuracies and weights of plain PyTorch code without any of our loop."""
    settings = ["training.optimizer={name: sgd, lr: 0.1}", "training.scheduler=none"]
    run = run_of(MLP, "data.train_size=100", "training.epochs=2", *settings)
    dataset = dataset_of(run)
    model = build_model(run)
    expected = []
    for epoch in range(2):
        rows = epoch_rows(run, dataset.train, epoch)
        losses, correct = [], 0
        for start in range(0, 100, 64):
            x, y = dataset.train.batch(rows[start : start + 64])
            outputs = model(x)
            losses += F.cross_entropy(outputs, y, reduction="none").tolist()
            correct += int((outputs.argmax(1) == y).sum())
            model.zero_grad()
            F.cross_entropy(outputs, y).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter -= 0.1 * parameter.grad
        model.eval()
        assert dataset.validation is not None
        x, y = dataset.validation.batch(dataset.validation.rows)
        with torch.no_grad():
            val_loss = F.cross_entropy(model(x), y).item()
        model.train()
        expected.append((sum(losses) / 100, correct / 100, val_loss))
    got = list(train(run, dataset, CPU))
    for record, (loss, accuracy, val_loss) in zip(got, expected, strict=True):
        assert record.metrics["train/loss"] == pytest.approx(loss, rel=1e-5)
        assert record.metrics["train/accuracy"] == accuracy
        assert record.metrics["val/loss"] == pytest.approx(val_loss, rel=1e-5)
    outcome = got[-1].outcome
    assert outcome is not None
    assert outcome.best_weights is not None
    for name, value in model.state_dict().items():
        torch.testing.assert_close(outcome.best_weights[name], value, rtol=1e-4, atol=1e-6)


def test_loss_is_averaged_over_examples() -> None:
    """A ragged last batch counts by its examples: with lr near 0 the loss is that of all examples at once."""
    run = run_of(MLP, "data.train_size=70", "training.optimizer.lr=1e-12", "training.epochs=1", norm="none")
    dataset = dataset_of(run)
    x, y = dataset.train.batch(dataset.train.rows)
    expected = F.cross_entropy(build_model(run)(x), y).item()
    assert records(run)[0].metrics["train/loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_ragged_batch_of_one_is_dropped(norm: str) -> None:
    """65 examples in batches of 64 are one step an epoch, for every norm, and the one left out is counted."""
    run = run_of(MLP, "data.train_size=65", "training.epochs=3", norm=norm)
    assert run.dropped_examples == 1
    assert [record.step for record in records(run)] == [1, 2, 3]
    assert len(epoch_rows(run, dataset_of(run).train, 0)) == 64


def test_evaluation_points_in_steps() -> None:
    """`steps` with `eval_every` evaluates every so many steps and at the end; epochs may be fractions."""
    run = run_of(
        MLP,
        "data.train_size=256",
        "training.epochs=null",
        "training.steps=10",
        "training.eval_every=3",
        "training.early_stopping=null",
    )
    got = records(run)
    assert [record.step for record in got] == [3, 6, 9, 10]
    assert [record.epoch for record in got] == [0.75, 1.5, 2.25, 2.5]
    assert got[-1].outcome is not None
    assert got[-1].outcome.status == "completed"


def test_full_batch() -> None:
    """batch_size: full is one step an epoch over all examples."""
    run = run_of("training.epochs=4", config="regression.yaml")
    assert run.batch_size == 1000
    assert [record.step for record in records(run)] == [1, 2, 3, 4]


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[float], *overrides: str) -> list[Record]:
    """Train with the validation loss replaced by a script."""
    script = iter(values)

    def fake(model: object, split: object, loss_fn: object, prefix: str, *_: object) -> dict[str, float]:
        if prefix == "test":
            return {"test/loss": 1.0, "test/accuracy": 0.5}
        value = next(script)
        return {"val/loss": value, "val/accuracy": 1 - value}

    monkeypatch.setattr("bncompare.training.loop.evaluate", fake)
    return records(run_of(MLP, "data.train_size=64", "training.scheduler=none", *overrides))


def test_early_stopping_counts_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training stops after `patience` evaluations in a row that did not improve by more than min_delta."""
    values = [1.0, 0.8, 0.79, 0.81, 0.70, 0.695, 0.691, 0.70, 0.1]
    stopping = "training.early_stopping={monitor: val/loss, patience: 3, min_delta: 0.02}"
    got = scripted(monkeypatch, values, stopping, "training.epochs=20")
    assert len(got) == 8
    outcome = got[-1].outcome
    assert outcome is not None
    assert outcome.status == "stopped_early"
    assert outcome.best is not None
    assert outcome.best["val/loss"] == 0.691, "the best is the lowest, whatever min_delta says of patience"
    assert outcome.best["epoch"] == 7
    assert outcome.last["val/loss"] == 0.70


def test_small_steps_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Improvements below min_delta count together: patience compares with where it last restarted."""
    values = [1.0, 0.96, 0.92, 0.88, 0.84, 0.80]
    stopping = "training.early_stopping={monitor: val/loss, patience: 2, min_delta: 0.05}"
    got = scripted(monkeypatch, values, stopping, "training.epochs=6")
    assert len(got) == 6


def test_accuracy_is_better_high(monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitoring an accuracy, higher is better."""
    values = [0.5, 0.3, 0.4, 0.4]
    stopping = "training.early_stopping={monitor: val/accuracy, patience: 2}"
    got = scripted(monkeypatch, values, stopping, "training.epochs=9")
    outcome = got[-1].outcome
    assert outcome is not None
    assert outcome.best is not None
    assert (len(got), outcome.best["epoch"], outcome.best["val/accuracy"]) == (4, 2, 0.7)


def test_best_weights_are_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best weights stay those of the best epoch while training goes on."""
    first = scripted(monkeypatch, [0.5], "training.epochs=1", "training.early_stopping=null")
    later = scripted(monkeypatch, [0.5, 0.6, 0.7], "training.epochs=3", "training.early_stopping=null")
    assert first[-1].outcome is not None
    assert later[-1].outcome is not None
    a, b = first[-1].outcome.best_weights, later[-1].outcome.best_weights
    assert a is not None
    assert b is not None
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_nan_never_becomes_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation loss of NaN ends the run as diverged; the best is an evaluation before it."""
    got = scripted(monkeypatch, [0.9, 0.5, math.nan, 0.1], "training.epochs=9", "training.early_stopping=null")
    outcome = got[-1].outcome
    assert outcome is not None
    assert outcome.best is not None
    assert (len(got), outcome.status, outcome.best["epoch"]) == (3, "diverged", 2)
    assert math.isnan(outcome.last["val/loss"])


def test_divergence_ends_the_run_at_once() -> None:
    """A loss of NaN or infinity within an epoch ends the run at that step, with a record and no best."""
    run = run_of(MLP, "training.optimizer={name: sgd, lr: 1e30}", "training.epochs=5", norm="none")
    (record,) = records(run)
    assert record.step < run.steps_per_epoch
    assert record.outcome is not None
    assert record.outcome.status == "diverged"
    assert record.outcome.best is None
    assert record.outcome.best_weights is None
    assert not math.isfinite(record.metrics["train/loss"])


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("none", [1, 1, 1, 1, 1, 1]),
        ("{name: step, step_size: 2, gamma: 0.5}", [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ("{name: multistep, milestones: [1, 4], gamma: 0.1}", [1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ("{name: exponential, gamma: 0.5}", [0.5**i for i in range(6)]),
        ("{name: exponential, gamma: 1.5}", [1.5**i for i in range(6)]),
        ("{name: cosine, eta_min: 0.1}", [0.1 + 0.45 * (1 + math.cos(math.pi * i / 6)) for i in range(6)]),
    ],
)
@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_learning_rates(scheduler: str, expected: list[float], unit: str) -> None:
    """The `lr` of each record is the closed form of the schedule, in epochs or in steps as the run's length is."""
    size = "data.train_size=128" if unit == "epochs" else "data.train_size=64"
    length = [f"training.{unit}=6"] + (["training.epochs=null"] if unit == "steps" else [])
    settings = [MLP, size, "training.optimizer={name: sgd, lr: 1}", f"training.scheduler={scheduler}"]
    run = run_of(*settings, *length, "training.early_stopping=null")
    assert [record.metrics["lr"] for record in records(run)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("none", [1, 1, 1, 1]),
        ("{name: step, step_size: 2, gamma: 0.5}", [1, 1, 0.5, 0.5]),
        ("{name: multistep, milestones: [1, 3], gamma: 0.5}", [1, 0.5, 0.5, 0.25]),
        ("{name: exponential, gamma: 2}", [1, 2, 4, 8]),
        ("{name: cosine}", [0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4)]),
    ],
)
@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_warmup(scheduler: str, expected: list[float], unit: str) -> None:
    """The rate grows in equal parts, step by step, to all of `lr` in the last; then the schedule begins."""
    per_unit = 3 if unit == "epochs" else 1
    size = ["data.train_size=192", "training.batch_size=64", "training.eval_every=1", f"training.{unit}=6"]
    settings = [MLP, *size, "training.optimizer={name: sgd, lr: 1}", f"training.scheduler={scheduler}"]
    settings += ["training.epochs=null"] * (unit == "steps") + ["training.early_stopping=null"]
    run = run_of(*settings, "training.warmup=2", "training.evaluate_at_start=true")
    number = 2 * per_unit
    growing = [(step + 1) / number for step in range(number)]
    rates = growing + [rate for rate in expected for _ in range(per_unit)]
    assert [record.metrics["lr"] for record in records(run)] == pytest.approx([rates[0], *rates])


ONE_STEP = [
    *("training.epochs=null", "training.steps=1", "training.scheduler=none", "training.early_stopping=null"),
    *("training.optimizer={name: sgd, lr: 0.5}", "data.train_size=64", "training.batch_size=64", "model.bias=always"),
]


def test_the_warm_rate_is_what_moves_the_weights() -> None:
    """The first step of plain SGD is a fifth of what it is without a warm-up of five."""
    five = [*ONE_STEP[:1], "training.steps=6", "training.eval_every=1", *ONE_STEP[2:], "training.optimizer.lr=1.0e-3"]
    moved = []
    for warmup in (0, 5):
        run = run_of(MLP, *five, f"training.warmup={warmup}", norm="none")
        start = build_model(run).state_dict()["output.linear.weight"]
        state = load_state_of(next(train(run, dataset_of(run), CPU)))
        moved.append(state["output.linear.weight"] - start)
    torch.testing.assert_close(moved[1], moved[0] / 5, rtol=1e-3, atol=1e-7)


def load_state_of(record: Record) -> dict[str, torch.Tensor]:
    """The weights in its checkpoint."""
    weights: dict[str, torch.Tensor] = torch.load(io.BytesIO(record.checkpoint()), weights_only=True)["model"]
    return weights


def test_a_plateau_begins_after_the_warmup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations within the warm-up are none that a schedule counts."""
    script = iter([1.0, 2.0, 2.0, 1.9, 1.9, 1.9, 1.9])

    def fake(model: object, split: object, loss_fn: object, prefix: str, *_: object) -> dict[str, float]:
        return {f"{prefix}/loss": next(script) if prefix == "val" else 1.0}

    monkeypatch.setattr("bncompare.training.loop.evaluate", fake)
    plateau = "training.scheduler={name: reduce_on_plateau, factor: 0.1, patience: 1}"
    settings = [MLP, "training.epochs=7", "training.optimizer={name: sgd, lr: 1}", "training.early_stopping=null"]
    got = records(run_of(*settings, plateau, "training.warmup=3"))
    assert [record.metrics["lr"] for record in got] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 0.1])


def stepped(run: RunConfig) -> tuple[RunConfig, dict[str, torch.Tensor], dict[str, torch.Tensor], Record]:
    """The weights before and after the one step of a run, in which they are the best."""
    before = {name: value.clone() for name, value in build_model(run).state_dict().items()}
    (record,) = records(run)
    assert record.outcome is not None
    assert record.outcome.best_weights is not None
    return run, before, record.outcome.best_weights, record


@pytest.mark.parametrize("norm", ["batch", "weight", "none"])
def test_l1(norm: str) -> None:
    """A step moves each weight by lr·l1·sign(w) more, and nothing else; the recorded loss is the same."""
    _, before, plain, without = stepped(run_of(MLP, *ONE_STEP, norm=norm))
    _, _, moved, record = stepped(run_of(MLP, *ONE_STEP, "training.l1=0.01", norm=norm))
    assert record.metrics["train/loss"] == without.metrics["train/loss"]
    for name, value in before.items():
        penalized = name.endswith((".weight", ".original0", ".original1")) and ".norm." not in name
        step = 0.5 * 0.01 * value.sign() if penalized else torch.zeros_like(value)
        torch.testing.assert_close(plain[name] - moved[name], step, rtol=0, atol=1e-6, msg=name)


def test_l1_is_in_the_step_that_is_measured() -> None:
    """The measured step is the one that the optimizer takes: with plain SGD lr·(gradient + l1·sign(w))."""
    measure = ["diagnostics={gradients: true}", "training.epochs=null", "training.steps=1"]
    settings = [
        MLP,
        *measure,
        "training.optimizer={name: sgd, lr: 1.0e-3}",
        "training.l1=1000",
        "training.scheduler=none",
    ]
    run = run_of(*settings, "training.early_stopping=null", norm="none")
    (record,) = records(run)
    assert record.outcome is not None
    assert record.outcome.best_weights is not None
    weight = record.outcome.best_weights["hidden.0.linear.weight"]
    (ratio,) = [r.value for r in record.diagnostics if (r.layer, r.quantity) == ("hidden.0", "update ratio")]
    assert ratio == pytest.approx(1e-3 * 1000 * math.sqrt(weight.numel()) / weight.norm().item(), rel=1e-2)


def test_label_smoothing() -> None:
    """A step is that of PyTorch's smoothed loss; what is recorded, of training too, is the loss without."""
    run, before, after, record = stepped(run_of(MLP, *ONE_STEP, "training.label_smoothing=0.2", norm="none"))
    dataset, model = dataset_of(run), build_model(run)
    x, y = dataset.train.batch(epoch_rows(run, dataset.train, 0))
    outputs = model(x)
    target = F.one_hot(y, 10) * 0.8 + 0.2 / 10
    loss = -(target * outputs.log_softmax(1)).sum(1).mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(after[name], before[name] - 0.5 * parameter.grad, rtol=0, atol=1e-6)
    assert record.metrics["train/loss"] == pytest.approx(F.cross_entropy(outputs, y).item(), rel=1e-6)
    assert dataset.validation is not None
    model.load_state_dict(after)
    x, y = dataset.validation.batch(dataset.validation.rows)
    assert record.metrics["val/loss"] == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-5)


def test_reduce_on_plateau(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning rate falls after `patience` evaluations without improvement, and one more."""
    script = iter([1.0, 0.9, 0.95, 0.95, 0.95, 0.95])

    def fake(model: object, split: object, loss_fn: object, prefix: str, *_: object) -> dict[str, float]:
        return {f"{prefix}/loss": next(script) if prefix == "val" else 1.0}

    monkeypatch.setattr("bncompare.training.loop.evaluate", fake)
    plateau = "training.scheduler={name: reduce_on_plateau, factor: 0.1, patience: 1}"
    settings = [MLP, "training.epochs=6", "training.optimizer={name: sgd, lr: 1}", "training.early_stopping=null"]
    got = records(run_of(*settings, plateau))
    assert [record.metrics["lr"] for record in got] == pytest.approx([1, 1, 1, 1, 0.1, 0.1])


def test_gradient_clipping() -> None:
    """With plain SGD no step moves the weights farther than lr × clip_gradient_norm."""
    settings = [
        MLP,
        "training.optimizer={name: sgd, lr: 1}",
        "training.scheduler=none",
        "training.early_stopping=null",
    ]
    run = run_of(*settings, "training.clip_gradient_norm=0.01", "training.epochs=null", "training.steps=1")
    before = build_model(run).state_dict()
    (record,) = records(run)
    assert record.outcome is not None
    assert record.outcome.best_weights is not None
    trained = [name for name in before if name.endswith(("weight", "bias"))]
    moved = sum((record.outcome.best_weights[name] - before[name]).square().sum().item() for name in trained)
    assert math.sqrt(moved) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_diverged_above(checkpointed: bool) -> None:
    """A finite loss above so many times the first batch's ends the run as diverged, after a resumption too."""
    settings = [MLP, "data.train_size=64", "training.epochs=9", "training.early_stopping=null"]
    settings += ["training.optimizer={name: sgd, lr: 3}", "training.scheduler=none"]
    free = [record.metrics["train/loss"] for record in records(run_of(*settings, norm="none"))]
    assert len(free) == 9
    assert all(math.isfinite(loss) for loss in free)
    first = next(i for i, loss in enumerate(free) if loss > 1.5 * free[0])
    assert first >= 1
    run = run_of(*settings, "training.diverged_above=1.5", norm="none")
    checkpoint = next(train(run, dataset_of(run), CPU)).checkpoint() if checkpointed else None
    *_, last = train(run, dataset_of(run), CPU, checkpoint)
    assert last.step == first + 1
    assert last.metrics["train/loss"] == free[first]
    assert last.outcome is not None
    assert last.outcome.status == "diverged"


@pytest.mark.parametrize(("train_size", "batch_size", "classes"), [(512, 64, 2), (500, 48, 3), (100, 60, 1)])
def test_class_clustered_batches(train_size: int, batch_size: int, classes: int) -> None:
    """Batches hold few classes, but for what is left at the end; every example comes once an epoch, in an order of
    the epoch's own."""
    sampler = f"training.sampler={{name: class_clustered, classes_per_batch: {classes}}}"
    run = run_of(MLP, sampler, f"data.train_size={train_size}", f"training.batch_size={batch_size}")
    split = dataset_of(run).train
    epochs = [epoch_rows(run, split, epoch) for epoch in (0, 1)]
    assert torch.equal(epochs[0], epoch_rows(run, split, 0))
    assert not torch.equal(*epochs)
    for rows in epochs:
        assert torch.equal(rows.sort().values, split.rows.sort().values)
        batches = [split.targets[batch].unique() for batch in rows.split(batch_size)]
        left = 10 * (batch_size // classes - 1)  # at most a block less one of each class
        for batch in batches[: (train_size - left) // batch_size]:
            assert len(batch) <= classes
        assert len(torch.cat(batches).unique()) == 10


def test_the_mean_over_several_targets() -> None:
    """The squared error of an evaluation is the mean over examples and targets, as in training."""
    settings = ["data.targets=3", "data.signal=linear", "data.validation=100", "training.epochs=1"]
    run = run_of(*settings, "claims=[]", "training.optimizer.lr=1e-12", config="regression.yaml", norm="none")
    dataset = dataset_of(run)
    (record,) = records(run)
    for split, name in ((dataset.train, "train"), (dataset.validation, "val")):
        assert split is not None
        x, y = split.batch(split.rows)
        assert y.shape == (len(split), 3)
        expected = F.mse_loss(build_model(run)(x), y).item()
        assert record.metrics[f"{name}/loss"] == pytest.approx(expected, rel=1e-5)


def test_devices() -> None:
    """auto is a device this machine has; one it lacks is an error that says so."""
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(UserError, match=r"cuda:99: this machine has .* use auto or cpu"):
        resolve_device("cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("norm", ["none", "batch", "batch_from_scratch", "layer"])
def test_gpu_trains_as_the_cpu_does(norm: str) -> None:
    """On a GPU the same run gives nearly the same metrics, and exactly the same ones each time."""
    run = run_of("model={name: lenet}", "training.epochs=2", norm=norm)
    dataset = dataset_of(run)
    cuda = torch.device("cuda")
    torch.backends.cudnn.deterministic = True
    first, second = list(train(run, dataset, cuda)), list(train(run, dataset, cuda))
    assert [record.metrics for record in first] == [record.metrics for record in second]
    for on_gpu, on_cpu in zip(first, train(run, dataset, CPU), strict=True):
        assert on_gpu.metrics["train/loss"] == pytest.approx(on_cpu.metrics["train/loss"], rel=0.01)
