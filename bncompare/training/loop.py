"""One run: a loop that yields a record at every evaluation. It opens no file, prints nothing, knows no folder."""

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bncompare.config import RunConfig, Status, plan
from bncompare.probes import Reading, Subject, add_l1
from bncompare.randomness import StepRandomness
from bncompare.training.data import Dataset, Split, epoch_rows, probe_batch
from bncompare.training.evaluate import (
    Sums,
    evaluate,
    evaluation_chunk,
    loss_function,
    minimized,
    of_first_epoch,
    validate_otherwise,
)
from bncompare.training.graphs import Replayed
from bncompare.training.model import build_model, weights_of
from bncompare.training.monitors import Best, Patience, Weights
from bncompare.training.optimizer import LearningRate, build_optimizer
from bncompare.training.snapshot import load_state
from bncompare.training.statistics import evaluation_statistics, in_evaluation


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: Status
    best: dict[str, float] | None
    """the best evaluation: epoch, step, its metrics, and the test metrics with its weights; None if there is none"""
    last: dict[str, float]
    """the last evaluation, likewise"""
    best_weights: Weights | None
    predictions: Tensor | None = None
    """of each image of the test set its class and what the best weights say, (N, 2) int64"""


@dataclass(frozen=True)
class Record:
    """One evaluation."""

    epoch: float
    """passes over the training examples so far"""
    step: int
    """optimizer steps so far"""
    metrics: dict[str, float]
    """`train/…` averaged over the examples since the last evaluation, `val/…`, and `lr` of the last step; at the
    start those of the first epoch, had nothing been learned in it, and `lr` of the first step"""
    diagnostics: list[Reading]
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
    run: RunConfig,
    dataset: Dataset,
    device: torch.device,
    checkpoint: bytes | None = None,
    stepped: Callable[[int], object] | None = None,
) -> Iterator[Record]:
    """Train a run, from its beginning or from a record's checkpoint, and yield its evaluations.

    `stepped` is told after every step how many have been taken.
    """
    loop = Loop(run, dataset, device)
    if checkpoint is not None:
        loop.load_state_dict(
            load_state(checkpoint, run, loop.model, loop.optimizer, loop.learning_rate.scheduler, device)
        )
    elif run.is_evaluated(0):
        yield loop.evaluate_at_start()
    for step in range(loop.num_steps, run.total_steps):
        loop.take(step)
        if stepped is not None:
            stepped(loop.num_steps)
        if loop.is_evaluated(step):
            record = loop.evaluate(step)
            yield record
            if record.outcome is not None:
                return


def predict(run: RunConfig, dataset: Dataset, device: torch.device, weights: Weights) -> Tensor:
    """What the weights of a finished run say: of each image of the test set its class and the answer, (N, 2) int64.

    Raises ValueError if they are not of the model, or there are no classes.
    """
    torch.set_num_threads(run.training.threads)
    loop = Loop(run, dataset, device)
    assert dataset.test is not None
    try:
        _, predictions = loop.test(weights, dataset.test.to(device))
    except RuntimeError as error:  # of load_state_dict
        raise ValueError(str(error)) from None
    if predictions is None:
        raise ValueError("no classes")
    return predictions


class Loop:
    """A run in training: the model, what trains it, and what decides when it ends."""

    def __init__(self, run: RunConfig, dataset: Dataset, device: torch.device) -> None:
        self.run, self.device = run, device
        self.steps_per_epoch = run.steps_per_epoch
        # The test set is needed at the end alone.
        validation = dataset.validation and dataset.validation.to(device)
        self.dataset = replace(dataset, train=dataset.train.to(device), validation=validation)
        self.model = build_model(run, device)
        self.random_layers = {
            n: layer for n, layer in self.model.named_modules() if isinstance(layer, StepRandomness)
        }
        self.optimizer = build_optimizer(run, self.model)
        self.learning_rate = LearningRate(run, self.optimizer)
        self.loss_fn = loss_function(run)
        self.minimized = minimized(run)
        """instead of it, in training"""
        self.penalized = weights_of(run, self.model) if run.training.l1 else []
        """by `training.l1`"""
        self.statistics = run.model.norm.evaluated_with
        """over the batch, in evaluation"""
        self.sums = Sums(run.data.is_classification, device)
        """over the examples since the last evaluation"""
        self.examples = 0
        """their number"""
        self.num_steps = 0
        """taken so far"""
        self.batches: Sequence[Tensor] = ()
        """of this epoch, the rows of their examples"""
        self.largest_loss = math.inf
        """that has not diverged; known after the first batch"""
        self.has_diverged = False
        self.best = Best(run)
        self.patience = Patience(run.training.early_stopping) if run.training.early_stopping else None
        is_replayed = device.type == "cuda" and not self.random_layers
        self.replayed = Replayed(self.model, self.optimizer) if is_replayed else None

    def state_dict(self) -> dict[str, Any]:
        """All that changes in training, between two steps."""
        return {
            "step": self.num_steps,
            "largest_loss": self.largest_loss,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.learning_rate.state_dict(),
            "best": self.best.state_dict(),
            "patience": self.patience.state_dict() if self.patience else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another loop of the same run was."""
        self.num_steps, self.largest_loss = state["step"], state["largest_loss"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best.load_state_dict(state["best"])
        self.learning_rate.load_state_dict(state["scheduler"])
        if self.patience:
            self.patience.load_state_dict(state["patience"])

    def snapshot(self) -> bytes:
        """`state_dict` as bytes, for `load_state`."""
        buffer = io.BytesIO()
        torch.save(self.state_dict(), buffer)
        return buffer.getvalue()

    # ------------------------------------------------------------ a step

    def take(self, step: int) -> None:
        """Train on the batch of this step, unless its loss says that the run has diverged."""
        if self.examples == 0:
            self.started = time.perf_counter()
        rows = self._rows_of(step)
        for name, layer in self.random_layers.items():
            layer.reseed(self.run.seed, name, step, self.device)
        self.learning_rate.before(step)
        if self.replayed:
            self.replayed(self._learn, rows)
        else:
            self._learn(rows)
        self.examples += len(rows)
        self.num_steps = step + 1
        self.lr = self.learning_rate.value
        self.learning_rate.after(step)

    def _rows_of(self, step: int) -> Tensor:
        epoch, position = divmod(step, self.steps_per_epoch)
        if position == 0 or not self.batches:
            self.batches = torch.split(epoch_rows(self.run, self.dataset.train, epoch), self.run.batch_size)
        return self.batches[position]

    def _learn(self, rows: Tensor) -> None:
        inputs, targets = self.dataset.train.batch(rows)
        outputs = self.model(inputs)
        loss = self.loss_fn(outputs, targets)
        self.sums.add(loss.detach() * len(targets), outputs.detach(), targets)
        if self.num_steps == 0 and self.run.training.diverged_above is not None:
            self.largest_loss = self.run.training.diverged_above * loss.item()
        # Reading the loss costs nothing on a CPU; on a GPU it would wait for it, so there an evaluation finds out.
        if self.device.type == "cpu":
            self.has_diverged = not (math.isfinite(loss.item()) and loss.item() <= self.largest_loss)
        if not self.has_diverged:
            self._descend(self.minimized(outputs, targets) if self.run.training.label_smoothing else loss)

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        add_l1(self.penalized, self.run.training.l1)
        if self.run.training.clip_gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.run.training.clip_gradient_norm)
        self.optimizer.step()

    # ------------------------------------------------------------ an evaluation

    def is_evaluated(self, step: int) -> bool:
        """Whether an evaluation follows this step, the last one taken."""
        return self.has_diverged or self.run.is_evaluated(step + 1)

    def evaluate(self, step: int) -> Record:
        """Evaluate the model after this step, measure what is due, and test it if the run ends here."""
        metrics = self.sums.means("train", self.examples)
        training_seconds = time.perf_counter() - self.started
        epoch = (step + 1) / self.steps_per_epoch
        with evaluation_statistics(self.model, self.dataset.train, self.statistics):
            if self.dataset.validation:
                metrics |= self._evaluate(self.dataset.validation, "val")
            metrics["lr"] = self.lr
            self.has_diverged |= metrics["train/loss"] > self.largest_loss
            self.has_diverged |= not all(map(math.isfinite, metrics.values()))
            if not self.has_diverged:
                # Within the `with`: the weights that are kept hold the statistics that gave the metrics.
                self.best.update(epoch, step + 1, metrics, self.model)
        status = self._status(step, metrics)
        # At every so many evaluations and at the last, unless the run diverged.
        is_measured = self.run.is_measured(step + 1) if status is None else status is not Status.DIVERGED
        readings = self._measure(step, is_last=status is not None) if is_measured else []
        outcome = self._outcome(status, {"epoch": epoch, "step": step + 1, **metrics}) if status else None
        seconds, speed = time.perf_counter() - self.started, self.examples / training_seconds
        self.sums.reset()
        self.examples = 0
        return Record(epoch, step + 1, metrics, readings, seconds, speed, self.snapshot, outcome)

    def evaluate_at_start(self) -> Record:
        """Evaluate the initial model. What follows never knows: neither the best evaluation, nor early stopping or a
        schedule, nor what counts as diverged."""
        started = time.perf_counter()
        metrics = of_first_epoch(self.run, self.model, self.dataset.train, self.loss_fn)
        if self.dataset.validation:
            with evaluation_statistics(self.model, self.dataset.train, self.statistics):
                metrics |= self._evaluate(self.dataset.validation, "val")
        self.learning_rate.before(0)
        self.lr = metrics["lr"] = self.learning_rate.value
        readings = self._measure(-1, is_last=False)
        return Record(0.0, 0, metrics, readings, time.perf_counter() - started, 0.0, self.snapshot, None)

    def _evaluate(self, split: Split, prefix: str, predicted: list[Tensor] | None = None) -> dict[str, float]:
        chunk = evaluation_chunk(self.run, self.statistics)
        return evaluate(self.model, split, self.loss_fn, prefix, chunk, predicted)

    def _status(self, step: int, metrics: dict[str, float]) -> Status | None:
        """How the run ends with this evaluation; None if it goes on."""
        if self.has_diverged:
            return Status.DIVERGED
        stops = self.patience is not None and self.patience.update(metrics)
        self.learning_rate.evaluated(step, metrics)
        if step + 1 == self.run.total_steps:
            return Status.COMPLETED
        return Status.STOPPED_EARLY if stops else None

    def _measure(self, step: int, *, is_last: bool) -> list[Reading]:
        """What the wanted probes find in a copy of the model."""
        run, train_split = self.run, self.dataset.train
        if not run.diagnostics.wanted:
            return []
        subject = Subject(
            plan(run),
            self.model,
            self.optimizer,
            probe_batch(run, train_split),
            self.minimized,
            in_evaluation=partial(in_evaluation, train_split=train_split, statistics=self.statistics),
            validate=partial(validate_otherwise, run, self.model, self.dataset, self.loss_fn),
            step=step,
            lr=self.lr,
            is_last=is_last,
        )
        return [reading for probe in run.diagnostics.wanted for reading in probe.measure(subject)]

    def _outcome(self, status: Status, last: dict[str, float]) -> Outcome:
        """Test the last weights and the best ones."""
        best, weights = self.best.metrics and dict(self.best.metrics), self.best.weights
        predictions = None
        if self.dataset.test is not None:
            test = self.dataset.test.to(self.device)
            with evaluation_statistics(self.model, self.dataset.train, self.statistics):
                last = last | self._evaluate(test, "test")
            if best is not None and weights is not None:
                final = {name: value.clone() for name, value in self.model.state_dict().items()}
                metrics, predictions = self.test(weights, test)
                best |= metrics
                self.model.load_state_dict(final)  # the checkpoint of this record holds the last weights
        return Outcome(status, best, last, weights, predictions)

    def test(self, weights: Weights, test: Split) -> tuple[dict[str, float], Tensor | None]:
        """The test metrics of weights that were kept, which the model has from then on; and for classes, (N, 2)
        int64, the class of each example and what they say."""
        self.model.load_state_dict(weights)
        predicted = list[Tensor]()
        # The population statistics of the best weights are among them.
        kept = "running" if self.statistics == "population" else self.statistics
        with evaluation_statistics(self.model, self.dataset.train, kept):
            metrics = self._evaluate(test, "test", predicted)
        if not predicted:
            return metrics, None
        return metrics, torch.stack([test.targets[test.rows], torch.cat(predicted)], 1).cpu()
