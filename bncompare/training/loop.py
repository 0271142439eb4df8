"""One run: a loop that yields a record at every evaluation. It opens no file, prints nothing, knows no folder."""

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from bncompare.config import EarlyStopping, ReduceOnPlateau, RunConfig, is_better_high
from bncompare.probes import Measurement, Probe, measure_all
from bncompare.randomness import StepRandomness
from bncompare.training.data import Dataset, Split, epoch_rows, probe_batch
from bncompare.training.evaluate import (
    Sums,
    eval_stats,
    evaluate,
    evaluation_chunk,
    loss_function,
    other_validations,
)
from bncompare.training.model import build_model
from bncompare.training.optimizer import build_optimizer, build_scheduler
from bncompare.training.snapshot import load_state
from bncompare.training.statistics import evaluation_statistics, in_evaluation

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
    optimizer = build_optimizer(run, model)
    scheduler = build_scheduler(run, optimizer)
    best = _Best(run)
    patience = _Patience(training.early_stopping) if training.early_stopping else None
    loss_fn = loss_function(run)
    chunk = evaluation_chunk(run, eval_stats(run))
    sums = Sums(run.data.is_classification, device)
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
            rows = epoch_rows(run, train_split, epoch)
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
                evaluating = partial(in_evaluation, train_split=train_split, statistics=eval_stats(run))
                batch = probe_batch(run, train_split)
                probe = Probe(run, model, optimizer, batch, loss_fn, evaluating, step, lr)
                diagnostics += measure_all(probe, is_last=status is not None)
            if validation:
                diagnostics += other_validations(run, model, train_split, validation, loss_fn)

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
