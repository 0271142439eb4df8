"""Runs that differ in their seed alone, trained as one program: one small model leaves most of a GPU idle."""

import copy
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from bncompare.config import RunConfig
from bncompare.errors import UserError
from bncompare.probes import add_l1
from bncompare.training.data import Dataset, Split, epoch_rows
from bncompare.training.evaluate import num_correct
from bncompare.training.graphs import Replayed, held, replaced
from bncompare.training.loop import Loop, Record
from bncompare.training.optimizer import LearningRate

Tensors = dict[str, Tensor]
SLOW = (
    "There is a performance drop because we have not yet implemented the batching rule"  # torch; nobody can help it
)


def train_stack(
    runs: Sequence[RunConfig],
    datasets: Sequence[Dataset],
    device: torch.device,
    stepped: Callable[[int, int], object] | None = None,
) -> Iterator[tuple[int, Record]]:
    """Train runs from their beginning, and yield the evaluations of each with its place among the runs.

    `stepped` is told after every step of each how many have been taken. Numbers agree with those of runs that train
    alone but for rounding; whether a run has diverged is found out at its evaluations, and there is no checkpoint to
    take. Raises UserError if torch cannot stack the model.
    """
    stack = Stack(runs, datasets, device)
    going = list(range(len(runs)))
    if runs[0].is_evaluated(0):
        yield from [(i, stack.loops[i].evaluate_at_start()) for i in going]
    for step in range(runs[0].total_steps):
        stack.take(step)
        if stepped is not None:
            for i in going:
                stepped(i, step + 1)
        if runs[0].is_evaluated(step + 1):
            for i, record in stack.evaluate(step, going):
                yield i, record
                if record.outcome is not None:
                    going = [other for other in going if other != i]
        if not going:
            return


class Stack:
    """Loops whose models are slices of stacked tensors, (runs, …) each; a step moves all of them.

    Where a run has ended, its slice goes on and nobody looks at it.
    """

    def __init__(self, runs: Sequence[RunConfig], datasets: Sequence[Dataset], device: torch.device) -> None:
        self.run = run = runs[0]
        self.steps_per_epoch, self.batch_size = run.steps_per_epoch, run.batch_size
        on_device = _OnDevice(device)
        self.loops = [Loop(own, on_device.moved(data), device) for own, data in zip(runs, datasets, strict=True)]
        first = self.loops[0]
        if first.random_layers:
            raise UserError(f"training.stack: {', '.join(first.random_layers)}: draw random numbers in training")
        self.model = copy.deepcopy(first.model)
        """whose forward pass is that of all"""
        self.parameters, self.buffers = stack_module_state([loop.model for loop in self.loops])
        self.loss, self.correct = (
            torch.stack([getattr(loop.sums, name) for loop in self.loops]) for name in ("loss", "correct")
        )
        """of each run, over the examples since the last evaluation"""
        for i, loop in enumerate(self.loops):
            for name, tensor in [*loop.model.named_parameters(), *loop.model.named_buffers()]:
                tensor.data = (self.parameters | self.buffers)[name].data[i]
            loop.sums.loss, loop.sums.correct = self.loss[i], self.correct[i]
        names = {id(parameter): name for name, parameter in first.model.named_parameters()}

        def stacked(parameters: Iterable[Tensor]) -> list[Tensor]:
            return [self.parameters[names[id(parameter)]] for parameter in parameters]

        groups = [{**group, "params": stacked(group["params"])} for group in first.optimizer.param_groups]
        self.optimizer = run.training.optimizer.build(groups, fused=first.optimizer.defaults["fused"])
        self.learning_rate = LearningRate(run, self.optimizer)
        self.penalized = stacked(first.penalized)
        self.examples, self.dims = _examples_of([loop.dataset.train for loop in self.loops])
        self._try()
        self.replayed = Replayed(self.model, self.optimizer) if device.type == "cuda" else None
        self.num_examples = 0
        """of each run, since the last evaluation"""

    @torch.no_grad()
    def _try(self) -> None:
        """See whether torch can stack the model; raises UserError."""
        warnings.filterwarnings("ignore", SLOW)
        buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        rows = torch.stack([loop.dataset.train.rows[: self.run.batch_size] for loop in self.loops])
        before = held(self.model)
        try:
            self._of_each(buffers, rows)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise UserError(f"training.stack: torch cannot stack this model: {error}") from None
        if changed := replaced(before, self.model):
            raise UserError(f"training.stack: {', '.join(changed)}: changes in a step and is no buffer")

    def take(self, step: int) -> None:
        """Train each run on its batch of this step."""
        if self.num_examples == 0:
            self.started = time.perf_counter()
        epoch, position = divmod(step, self.steps_per_epoch)
        if position == 0:
            self.rows = torch.stack([epoch_rows(loop.run, loop.dataset.train, epoch) for loop in self.loops])
        rows = self.rows[:, position * self.batch_size : (position + 1) * self.batch_size]
        self.learning_rate.before(step)
        if self.replayed:
            self.replayed(self._learn, rows)
        else:
            self._learn(rows)
        self.num_examples += rows.shape[1]
        self.lr = self.learning_rate.value
        self.learning_rate.after(step)
        if step == 0 and self.run.training.diverged_above is not None:
            for loop, loss in zip(self.loops, self.loss.tolist(), strict=True):
                loop.largest_loss = self.run.training.diverged_above * loss / self.num_examples

    def _learn(self, rows: Tensor) -> None:
        losses, minimized, correct = self._of_each(self.buffers, rows)
        self.loss += losses.detach() * rows.shape[1]
        self.correct += correct
        self.optimizer.zero_grad()
        minimized.sum().backward()  # type: ignore[no-untyped-call]
        add_l1(self.penalized, self.run.training.l1)
        self.optimizer.step()

    def _of_each(self, buffers: Tensors, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`_of_one` of all of them, (runs,) each."""
        of_each: tuple[Tensor, Tensor, Tensor] = vmap(self._of_one, (0, 0, self.dims, 0))(
            self.parameters, buffers, self.examples, rows
        )
        return of_each

    def _of_one(
        self, parameters: Tensors, buffers: Tensors, examples: Tensors, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of one run: the loss on its batch, what is minimized, and how many answers are right."""
        inputs, targets = Split(**examples, rows=rows).batch(rows)
        state = parameters | buffers
        outputs = functional_call(self.model, state, (inputs,))
        for name, buffer in buffers.items():
            if state[name] is not buffer:  # the module has put another in its place
                buffer.copy_(state[name].detach())
        loss = self.loops[0].loss_fn(outputs, targets)
        smooth = self.run.training.label_smoothing
        minimized = self.loops[0].minimized(outputs, targets) if smooth else loss
        correct = num_correct(outputs, targets) if self.run.data.is_classification else self.correct.new_zeros(())
        return loss, minimized, correct

    def evaluate(self, step: int, going: Sequence[int]) -> Iterator[tuple[int, Record]]:
        """Evaluate some of the runs after this step; they share the time of the steps."""
        self.loss.tolist()  # waits for the device
        seconds = (time.perf_counter() - self.started) / len(going)
        for i in going:
            loop = self.loops[i]
            loop.num_steps, loop.examples, loop.lr = step + 1, self.num_examples, self.lr
            if self.run.diagnostics.wanted:
                self._hand_out_moments(loop, i)
            loop.started = time.perf_counter() - seconds
            yield i, loop.evaluate(step)
        self.num_examples = 0

    def _hand_out_moments(self, loop: Loop, i: int) -> None:
        """What the optimizer keeps, to a run's own, for the probes that take a step."""
        for name, parameter in loop.model.named_parameters():
            kept = self.optimizer.state.get(self.parameters[name], {})
            # A slice of its own: the copy that a probe makes of a view is one of all that it is a view of.
            loop.optimizer.state[parameter] = {
                key: value[i].clone() if isinstance(value, Tensor) and value.dim() else value
                for key, value in kept.items()
            }


class _OnDevice:
    """Datasets on a device, what they share once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.there: dict[int, Tensor] = {}

    def moved(self, dataset: Dataset) -> Dataset:
        """A dataset whose training and validation examples are on the device."""
        return replace(
            dataset,
            train=self._split(dataset.train),
            validation=dataset.validation and self._split(dataset.validation),
        )

    def _split(self, split: Split) -> Split:
        for tensor in (split.inputs, split.targets):
            self.there.setdefault(id(tensor), tensor.to(self.device))
        return replace(split, inputs=self.there[id(split.inputs)], targets=self.there[id(split.targets)])


def _examples_of(splits: Sequence[Split]) -> tuple[Tensors, dict[str, int | None]]:
    """The examples that runs train on, without the rows, and what of it each has its own of (as vmap's `in_dims`)."""
    examples: Tensors = {}
    dims: dict[str, int | None] = {}
    for name in ("inputs", "targets", "scale", "shift"):
        each = [getattr(split, name) for split in splits]
        if each[0] is not None:
            is_shared = all(one is each[0] for one in each)
            examples[name] = each[0] if is_shared else torch.stack(each)
            dims[name] = None if is_shared else 0
    return examples, dims
