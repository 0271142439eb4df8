"""One run: a loop that yields a record at every evaluation. It opens no file, prints nothing, knows no folder."""

import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler

from bncompare.config.measured import one_at_a_time_statistics, validated_with
from bncompare.config.schema import (
    SGD,
    ClassClusteredSampler,
    CosineLR,
    EarlyStopping,
    ExponentialLR,
    MultiStepLR,
    ReduceOnPlateau,
    RunConfig,
    StepLR,
    is_better_high,
)
from bncompare.data import Dataset, Split
from bncompare.diagnostics import Measurement, Probe, measure, probe_batch
from bncompare.errors import UserError
from bncompare.models import build_model, trainable_parameters
from bncompare.norms.evaluation import batch_norms, evaluation_statistics, set_evaluation_mode
from bncompare.norms.kinds import BatchFamily, EvalStats
from bncompare.randomness import StepRandomness, generator
from bncompare.snapshot import load_state

EVALUATION_CHUNK = 500  # examples; a few MB of activations, and small enough for the caches

Weights = dict[str, Tensor]
Status = Literal["completed", "stopped_early", "diverged"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: Status
    best: dict[str, float] | None
    """the best evaluation: epoch, step, its metrics, and the test metrics with its weights; None if there is none"""
    last: dict[str, float]
    """the last evaluation, likewise"""
    best_weights: Weights | None


@dataclass(frozen=True)
class Record:
    """One evaluation."""

    epoch: float
    """passes over the training examples so far"""
    step: int
    """optimizer steps so far"""
    metrics: dict[str, float]
    """`train/…` averaged over the examples since the last evaluation, `val/…`, and `lr` of the last step"""
    diagnostics: list[Measurement]
    """what the `diagnostics` section asks for"""
    seconds: float
    """wall-clock since the last evaluation, this one included"""
    examples_per_second: float
    """training examples a second, evaluation not counted"""
    checkpoint: Callable[[], bytes]
    """a snapshot to resume from; call it before asking for the next record"""
    outcome: Outcome | None
    """in the last record of a run"""


def train(
    run: RunConfig, dataset: Dataset, device: torch.device, checkpoint: bytes | None = None
) -> Iterator[Record]:
    """Train a run, from its beginning or from a record's checkpoint, and yield its evaluations."""
    training = run.training
    train_split = dataset.train.to(device)
    validation = dataset.validation.to(device) if dataset.validation else None
    model = build_model(run, device)
    random_layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, StepRandomness)]
    optimizer = _optimizer(run, model)
    scheduler = _scheduler(run, optimizer)
    best = _Best(run)
    patience = _Patience(training.early_stopping) if training.early_stopping else None
    loss_fn = loss_function(run)
    chunk = evaluation_chunk(run, eval_stats(run))
    sums = _Sums(run.data.is_classification, device)
    largest_loss = math.inf  # known after the first batch
    first_step = 0
    if checkpoint is not None:
        state = load_state(checkpoint, run, model, optimizer, scheduler, device)
        first_step, largest_loss = state["step"], state["largest_loss"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        best.load_state_dict(state["best"])
        if scheduler:
            scheduler.load_state_dict(state["scheduler"])
        if patience:
            patience.load_state_dict(state["patience"])

    rows: Tensor | None = None
    started = time.perf_counter()
    examples = 0
    for step in range(first_step, run.total_steps):
        epoch, position = divmod(step, run.steps_per_epoch)
        if rows is None or position == 0:
            rows = _epoch_rows(run, train_split, epoch)
        inputs, targets = train_split.batch(rows[position * run.batch_size : (position + 1) * run.batch_size])
        for name, layer in random_layers:
            layer.reseed(run.seed, name, step, device)
        outputs = model(inputs)
        loss = loss_fn(outputs, targets)
        sums.add(loss.detach() * len(targets), outputs.detach(), targets)
        examples += len(targets)
        if step == 0 and training.diverged_above is not None:
            largest_loss = training.diverged_above * loss.item()
        # Reading the loss costs nothing on a CPU; on a GPU it would wait for it, so there an evaluation finds out.
        diverged = device.type == "cpu" and not (math.isfinite(loss.item()) and loss.item() <= largest_loss)
        if not diverged:
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if training.clip_gradient_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), training.clip_gradient_norm)
            optimizer.step()

        lr = optimizer.param_groups[0]["lr"]
        ends_epoch = position == run.steps_per_epoch - 1
        counts = training.epochs is None or ends_epoch  # the scheduler's unit is that of the run's length
        if scheduler and counts and not isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step()
        is_last = step + 1 == run.total_steps
        due = ends_epoch if training.eval_every is None else (step + 1) % training.eval_every == 0
        if not (due or is_last or diverged):
            continue

        metrics = sums.means("train", examples)
        training_seconds = time.perf_counter() - started
        diagnostics = list[Measurement]()
        passed = (step + 1) / run.steps_per_epoch
        with evaluation_statistics(model, train_split, eval_stats(run)):
            if validation:
                metrics |= evaluate(model, validation, loss_fn, "val", chunk)
            metrics["lr"] = lr
            diverged = diverged or metrics["train/loss"] > largest_loss
            diverged = diverged or not all(math.isfinite(value) for value in metrics.values())
            if not diverged:
                # Within the `with`: the weights that are kept hold the statistics that gave the metrics.
                best.update(passed, step + 1, metrics, model)
        stop = False
        if not diverged:
            stop = patience is not None and patience.update(metrics)
            if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
                assert isinstance(training.scheduler, ReduceOnPlateau)
                scheduler.step(metrics[training.scheduler.monitor or ""])
        status: Status | None = (
            "diverged" if diverged else "completed" if is_last else "stopped_early" if stop else None
        )
        evaluation = epoch + 1 if training.eval_every is None else (step + 1) // training.eval_every
        if not diverged and (status is not None or evaluation % run.diagnostics.every == 0):
            if run.diagnostics.probes_the_model:
                probe = Probe(run, model, optimizer, probe_batch(run, train_split), loss_fn, step, lr)
                diagnostics += measure(probe, train_split, eval_stats(run), is_last=status is not None)
            if validation:
                diagnostics += _other_validations(run, model, train_split, validation, loss_fn)

        def snapshot(steps: int = step + 1, largest_loss: float = largest_loss) -> bytes:
            buffer = io.BytesIO()
            state = {
                "step": steps,
                "largest_loss": largest_loss,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict() if scheduler else None,
                "best": best.state_dict(),
                "patience": patience.state_dict() if patience else None,
            }
            torch.save(state, buffer)
            return buffer.getvalue()

        outcome = None
        if status is not None:
            last = {"epoch": passed, "step": step + 1, **metrics}
            test = dataset.test and dataset.test.to(device)
            outcome = _outcome(run, status, best, last, model, train_split, test, loss_fn)
        seconds = time.perf_counter() - started
        yield Record(passed, step + 1, metrics, diagnostics, seconds, examples / training_seconds, snapshot, outcome)
        if status is not None:
            return
        sums.reset()
        examples = 0
        started = time.perf_counter()


def loss_function(run: RunConfig) -> Callable[..., Tensor]:
    """Cross entropy (nats) of the classes, or the squared error."""
    return F.cross_entropy if run.data.is_classification else F.mse_loss


@torch.inference_mode()
def evaluate(
    model: nn.Module, split: Split, loss_fn: Callable[..., Tensor], prefix: str, chunk: int = EVALUATION_CHUNK
) -> dict[str, float]:
    """Loss, and accuracy of classes, averaged over the examples of a split, in evaluation mode.

    Examples go through the model in batches of nearly `chunk`, which matters for batch statistics alone.
    """
    is_classification = split.targets.dtype == torch.int64
    sums = _Sums(is_classification, split.rows.device)
    set_evaluation_mode(model)
    # One example has no batch statistics.
    for rows in split.rows.tensor_split(min(-(-len(split) // chunk), max(1, len(split) // 2))):
        inputs, targets = split.batch(rows)
        outputs = model(inputs)
        # Of several targets the squared error is the mean.
        sums.add(loss_fn(outputs, targets, reduction="sum") / targets[0].numel(), outputs, targets)
    model.train()
    return sums.means(prefix, len(split))


def resolve_device(name: str) -> torch.device:
    """The device a config or --device names; raises UserError if this machine has none."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name.partition(":")[0])
    # The number is read off the text: torch keeps it in a byte, where 256 is 0.
    if device.type == "cuda" and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        found = f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no CUDA device"
        raise UserError(f"device {name}: this machine has {found}; use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device mps: this machine has no MPS device; use auto or cpu")
    return torch.device(name)


# ---------------------------------------------------------------- the parts of the loop


def _epoch_rows(run: RunConfig, split: Split, epoch: int) -> Tensor:
    """The rows of an epoch in the order they are trained on, a function of seed and epoch alone."""
    if run.training.batch_size == "full":
        return split.rows
    random = generator(run.seed, "order", epoch)
    order = torch.randperm(len(split), generator=random)
    if isinstance(run.training.sampler, ClassClusteredSampler):
        labels = split.targets[split.rows].cpu()
        order = _class_blocks(order, labels, run.batch_size // run.training.sampler.classes_per_batch, random)
    return split.rows[order[: len(split) - run.dropped_examples].to(split.rows.device)]


def _class_blocks(order: Tensor, labels: Tensor, size: int, random: torch.Generator) -> Tensor:
    """Blocks of `size` examples of one class, shuffled; then what is left of the classes, in the given order."""
    blocks, rest = list[Tensor](), torch.ones(len(order), dtype=torch.bool)
    for label in torch.unique(labels):
        places = (labels[order] == label).nonzero().squeeze(1)
        places = places[: len(places) - len(places) % size]
        rest[places] = False
        blocks.append(order[places].view(-1, size))
    stacked = torch.cat(blocks)
    shuffled = stacked[torch.randperm(len(stacked), generator=random)]
    return torch.cat([shuffled.flatten(), order[rest]])


def _optimizer(run: RunConfig, model: nn.Module) -> torch.optim.Optimizer:
    choice = run.training.optimizer
    norms, others = trainable_parameters(run, model)
    trained = {id(parameter) for parameter in [*norms, *others]}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)
    groups: list[dict[str, Any]] = [{"params": [*others, *norms]}]  # one, as each costs a kernel call
    if choice.weight_decay > 0 and not choice.decay_norm:
        groups = [{"params": others}, {"params": norms, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    # One kernel for all parameters: half the time of a step of a small model.
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    if isinstance(choice, SGD):
        return torch.optim.SGD(
            groups,
            choice.lr,
            momentum=choice.momentum,
            nesterov=choice.nesterov,
            weight_decay=choice.weight_decay,
            fused=fused,
        )
    optimizer = torch.optim.Adam if choice.name == "adam" else torch.optim.AdamW
    beta1, beta2 = choice.betas
    return optimizer(
        groups,
        choice.lr,
        betas=(beta1, beta2),
        eps=choice.eps,
        weight_decay=choice.weight_decay,
        fused=fused,
    )


def _scheduler(
    run: RunConfig, optimizer: torch.optim.Optimizer
) -> lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau | None:
    choice = run.training.scheduler
    if isinstance(choice, StepLR):
        return lr_scheduler.StepLR(optimizer, choice.step_size, choice.gamma)
    if isinstance(choice, MultiStepLR):
        return lr_scheduler.MultiStepLR(optimizer, choice.milestones, choice.gamma)
    if isinstance(choice, ExponentialLR):
        return lr_scheduler.ExponentialLR(optimizer, choice.gamma)
    if isinstance(choice, CosineLR):
        length = run.training.epochs or run.total_steps
        return lr_scheduler.CosineAnnealingLR(optimizer, length, choice.eta_min)
    if isinstance(choice, ReduceOnPlateau):
        return lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode="max" if is_better_high(choice.monitor or "") else "min",
            factor=choice.factor,
            patience=choice.patience,
            threshold=choice.threshold,
            min_lr=choice.min_lr,
        )
    return None


class _Sums:
    """Loss and correct answers, added up on the device so that nothing waits for it."""

    def __init__(self, is_classification: bool, device: torch.device) -> None:
        self.is_classification = is_classification
        # MPS has no float64.
        self.loss = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, loss_sum: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Count a batch: its summed loss, its outputs (N, classes) and targets (N,)."""
        self.loss += loss_sum
        if self.is_classification:
            self.correct += (outputs.argmax(1) == targets).sum()

    def means(self, prefix: str, num_examples: int) -> dict[str, float]:
        """`prefix/loss` and `prefix/accuracy` per example."""
        means = {f"{prefix}/loss": self.loss.item() / num_examples}
        if self.is_classification:
            means[f"{prefix}/accuracy"] = self.correct.item() / num_examples
        return means

    def reset(self) -> None:
        self.loss.zero_()
        self.correct.zero_()


class _Best:
    """The best evaluation so far, by the monitored metric, and a copy of its weights."""

    def __init__(self, run: RunConfig) -> None:
        assert run.training.monitor is not None, "resolved with the config"
        self.monitor = run.training.monitor
        self.metrics: dict[str, float] | None = None
        self.weights: Weights | None = None

    def update(self, epoch: float, step: int, metrics: dict[str, float], model: nn.Module) -> None:
        """Keep this evaluation if it is better than all before."""
        value = metrics[self.monitor]
        if self.metrics is not None:
            before = self.metrics[self.monitor]
            if not (value > before if is_better_high(self.monitor) else value < before):
                return
        self.metrics = {"epoch": epoch, "step": step, **metrics}
        # state_dict() alone is an alias of the weights that training goes on to change.
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.metrics, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.metrics, self.weights = state["metrics"], state["weights"]


class _Patience:
    """Early stopping: evaluations in a row that did not improve on the reference by more than min_delta."""

    def __init__(self, choice: EarlyStopping) -> None:
        self.choice = choice
        self.reference: float | None = None
        self.without_improvement = 0

    def update(self, metrics: dict[str, float]) -> bool:
        """Count an evaluation; True if training should stop."""
        assert self.choice.monitor is not None, "resolved with the config"
        value = metrics[self.choice.monitor]
        sign = 1 if is_better_high(self.choice.monitor) else -1
        if self.reference is None or sign * (value - self.reference) > self.choice.min_delta:
            self.reference = value
            self.without_improvement = 0
        else:
            self.without_improvement += 1
        return self.without_improvement >= self.choice.patience

    def state_dict(self) -> dict[str, Any]:
        return {"reference": self.reference, "without_improvement": self.without_improvement}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reference, self.without_improvement = state["reference"], state["without_improvement"]


def _outcome(
    run: RunConfig,
    status: Status,
    best: _Best,
    last: dict[str, float],
    model: nn.Module,
    train_split: Split,
    test: Split | None,
    loss_fn: Callable[..., Tensor],
) -> Outcome:
    """Test the last weights and the best ones."""
    best_metrics = best.metrics and dict(best.metrics)
    if test is not None:
        statistics = eval_stats(run)
        chunk = evaluation_chunk(run, statistics)
        with evaluation_statistics(model, train_split, statistics):
            last = last | evaluate(model, test, loss_fn, "test", chunk)
        if best_metrics is not None and best.weights is not None:
            final = {name: value.clone() for name, value in model.state_dict().items()}
            model.load_state_dict(best.weights)
            # The population statistics of the best weights are among them.
            with evaluation_statistics(model, train_split, "running" if statistics == "population" else statistics):
                best_metrics |= evaluate(model, test, loss_fn, "test", chunk)
            model.load_state_dict(final)  # the checkpoint of this record holds the last weights
    return Outcome(status, best_metrics, last, best.weights)


def eval_stats(run: RunConfig) -> EvalStats:
    """The statistics that the norm of a run uses in evaluation."""
    norm = run.model.norm
    return norm.evaluated_with if isinstance(norm, BatchFamily) else "running"


def evaluation_chunk(run: RunConfig, statistics: EvalStats) -> int:
    """Examples that are evaluated at once: as many as in training where their statistics matter."""
    return run.batch_size if statistics == "batch" else EVALUATION_CHUNK


def _other_validations(
    run: RunConfig, model: nn.Module, train_split: Split, validation: Split, loss_fn: Callable[..., Tensor]
) -> Iterator[Measurement]:
    """Validation with other statistics than the run's own, and one example at a time."""
    norm, wanted = run.model.norm, run.diagnostics
    if not isinstance(norm, BatchFamily):
        return
    for statistics in validated_with(run):
        with evaluation_statistics(model, train_split, statistics):
            chunk = evaluation_chunk(run, statistics)
            for name, value in evaluate(model, validation, loss_fn, "val", chunk).items():
                yield Measurement("model", f"{name} with {statistics} statistics", value)
    if wanted.one_at_a_time is not None:
        # Beside a copy of itself an example has the statistics it has alone, which torch refuses to compute.
        twins = replace(validation, rows=validation.rows[: wanted.one_at_a_time].repeat_interleave(2))
        for statistics in one_at_a_time_statistics(norm):
            with evaluation_statistics(model, train_split, statistics), _first_example_alone(model):
                for name, value in evaluate(model, twins, loss_fn, "val", chunk=2).items():
                    yield Measurement("model", f"{name} one at a time with {statistics} statistics", value)


@contextmanager
def _first_example_alone(model: nn.Module) -> Iterator[None]:
    """Let each norm see the first example alone, however often: of two equal ones a matrix product may round both
    differently, which a variance of 0 would blow up."""
    handles = [
        norm.register_forward_pre_hook(lambda _norm, inputs: (inputs[0][:1].expand_as(inputs[0]),))
        for norm in batch_norms(model)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
