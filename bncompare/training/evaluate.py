"""Loss and accuracy over a split, with the statistics that the norm uses in evaluation."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bncompare.config import RunConfig
from bncompare.norms import EvalStats, batch_norms
from bncompare.randomness import StepRandomness
from bncompare.training.data import Dataset, Split, epoch_rows
from bncompare.training.statistics import evaluation_statistics, set_evaluation_mode

EVALUATION_CHUNK = 500  # examples; on a CPU a few MB of activations, small enough for the caches
CHUNK_ON_A_DEVICE = 10_000  # images of MNIST, enough to keep one busy; fewer that are larger, as memory is finite


def loss_function(run: RunConfig) -> Callable[..., Tensor]:
    """Cross entropy (nats) of the classes, or the squared error."""
    return F.cross_entropy if run.data.is_classification else F.mse_loss


def minimized(run: RunConfig) -> Callable[..., Tensor]:
    """What training minimizes, beside a penalty: the loss, with smooth labels if there are to be some."""
    smoothing = run.training.label_smoothing
    return partial(F.cross_entropy, label_smoothing=smoothing) if smoothing else loss_function(run)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    split: Split,
    loss_fn: Callable[..., Tensor],
    prefix: str,
    chunk: int | None = None,
    predicted: list[Tensor] | None = None,
) -> dict[str, float]:
    """Loss, and accuracy of classes, averaged over the examples of a split, in evaluation mode.

    Examples go through the model in batches of nearly `chunk`, which matters for batch statistics alone; None = as
    many as are fast. The classes that the accuracy is of are added to `predicted`, (n,) a batch.
    """
    is_classification = split.targets.dtype == torch.int64
    sums = Sums(is_classification, split.rows.device)
    set_evaluation_mode(model)
    if chunk is None:
        chunk = fast_chunk(split)
    # One example has no batch statistics.
    for rows in split.rows.tensor_split(min(-(-len(split) // chunk), max(1, len(split) // 2))):
        inputs, targets = split.batch(rows)
        outputs = model(inputs)
        # Of several targets the squared error is the mean.
        sums.add(loss_fn(outputs, targets, reduction="sum") / targets[0].numel(), outputs, targets)
        if predicted is not None and is_classification:
            predicted.append(outputs.argmax(1))
    model.train()
    return sums.means(prefix, len(split))


@torch.no_grad()
def of_first_epoch(
    run: RunConfig, model: nn.Module, split: Split, loss_fn: Callable[..., Tensor]
) -> dict[str, float]:
    """The metrics of training of the first epoch, had nothing been learned in it; the model stays as it is."""
    model, rows = copy.deepcopy(model), epoch_rows(run, split, 0)
    sums, examples = Sums(run.data.is_classification, rows.device), 0
    for step in range(min(run.steps_per_epoch, run.total_steps)):
        for name, layer in model.named_modules():
            if isinstance(layer, StepRandomness):
                layer.reseed(run.seed, name, step, rows.device)
        inputs, targets = split.batch(rows[step * run.batch_size : (step + 1) * run.batch_size])
        outputs = model(inputs)
        sums.add(loss_fn(outputs, targets) * len(targets), outputs, targets)
        examples += len(targets)
    return sums.means("train", examples)


def num_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """How many of the outputs, (N, classes), are largest at the target, (N,)."""
    return (outputs.argmax(1) == targets).sum()


def fast_chunk(split: Split) -> int:
    """Examples that are evaluated at once where nothing depends on their number."""
    if split.rows.device.type == "cpu":
        return EVALUATION_CHUNK
    as_large = CHUNK_ON_A_DEVICE * 28 * 28 // split.inputs[0].numel()
    return min(max(as_large, EVALUATION_CHUNK), CHUNK_ON_A_DEVICE)


class Sums:
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
            self.correct += num_correct(outputs, targets)

    def means(self, prefix: str, num_examples: int) -> dict[str, float]:
        """`prefix/loss` and `prefix/accuracy` per example."""
        means = {f"{prefix}/loss": self.loss.item() / num_examples}
        if self.is_classification:
            means[f"{prefix}/accuracy"] = self.correct.item() / num_examples
        return means

    def reset(self) -> None:
        self.loss.zero_()
        self.correct.zero_()


def evaluation_chunk(run: RunConfig, statistics: EvalStats) -> int | None:
    """Examples that are evaluated at once: as many as in training where their statistics matter."""
    return run.batch_size if statistics == "batch" else None


def validate_otherwise(
    run: RunConfig,
    model: nn.Module,
    dataset: Dataset,
    loss_fn: Callable[..., Tensor],
    statistics: EvalStats,
    one_at_a_time: int | None,
) -> dict[str, float]:
    """Validation with other statistics than the run's own: of all examples, or of so many, one at a time."""
    assert dataset.validation is not None
    with evaluation_statistics(model, dataset.train, statistics):
        if one_at_a_time is None:
            return evaluate(model, dataset.validation, loss_fn, "val", evaluation_chunk(run, statistics))
        # Beside a copy of itself an example has the statistics it has alone, which torch refuses to compute.
        twins = replace(dataset.validation, rows=dataset.validation.rows[:one_at_a_time].repeat_interleave(2))
        with _first_example_alone(model):
            return evaluate(model, twins, loss_fn, "val", chunk=2)


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
