"""Datasets as tensors that stay in memory; a batch is a gather by index.

Images stay uint8 and are converted batch by batch, which costs less than reading floats from memory.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bncompare.config import MNIST, DataSection, Images, RunConfig
from bncompare.errors import UserError
from bncompare.randomness import generator
from bncompare.training.images import BINARIZE_AT, Pool, find_data_dir, load_pool, pixel_scaling


@dataclass(frozen=True)
class Split:
    """Some rows of a pool of examples."""

    inputs: Tensor
    """(N, features) float32, or (N, 1, height, width) uint8"""
    targets: Tensor
    """(N, targets) float32, or (N,) int64 classes"""
    rows: Tensor
    """(n,) int64: the examples of this split"""
    scale: float = 1.0
    shift: float = 0.0
    binarize: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (as float32, scaled) and targets of some rows of the pool."""
        inputs = self.inputs.index_select(0, rows)
        if inputs.dtype == torch.uint8:
            if self.binarize:
                inputs = (inputs >= BINARIZE_AT).to(torch.uint8).mul_(255)
            inputs = inputs.to(torch.float32)
            if self.scale != 1:
                inputs.mul_(self.scale)
            if self.shift != 0:
                inputs.add_(self.shift)
        return inputs, self.targets.index_select(0, rows)

    def to(self, device: torch.device) -> "Split":
        """The same split, living on a device."""
        moved = {name: getattr(self, name).to(device) for name in ("inputs", "targets", "rows")}
        return replace(self, **moved)


@dataclass(frozen=True)
class Dataset:
    """What a run trains, validates and tests on."""

    train: Split
    validation: Split | None
    test: Split | None


def load_dataset(run: RunConfig, pool: Pool | None) -> Dataset:
    """The data of one run, split by its seed. `pool` is what `load_pool` gives for the run's images."""
    if not isinstance(run.data, Images):
        return _drawn(run.data, run.seed)
    assert pool is not None
    data = run.data
    train_rows, validation_rows = _split(data, run.seed)
    scale, shift = pixel_scaling(data, pool.train_images, train_rows)
    train = Split(pool.train_images, pool.train_labels, train_rows, scale, shift, data.binarize)
    test_rows = torch.arange(len(pool.test_labels))
    test = replace(train, inputs=pool.test_images, targets=pool.test_labels, rows=test_rows)
    return _dataset(data, train, validation_rows, test)


def _dataset(data: DataSection, train: Split, validation_rows: Tensor, test: Split) -> Dataset:
    validation = test if data.validation == "test" else replace(train, rows=validation_rows)
    return Dataset(train, validation if len(validation) else None, test if len(test) else None)


def _split(data: DataSection, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to train on and to validate on. A smaller `train_size` takes a subset of a larger one's rows."""
    order = torch.randperm(data.pool_size, generator=generator(seed, "split"))
    rest = order[data.validation_size :]
    return rest[: data.num_train], order[: data.validation_size]


def _drawn(data: DataSection, seed: int) -> Dataset:
    """A dataset that is drawn anew for each seed."""

    def draw(part: str, num_examples: int) -> Split:
        return Split(*data.draw(part, num_examples, seed), torch.arange(num_examples))

    train_rows, validation_rows = _split(data, seed)
    train = replace(draw("train", data.pool_size), rows=train_rows)
    return _dataset(data, train, validation_rows, draw("test", data.test_size))


class Datasets:
    """The data of runs; the images of a dataset are loaded once, and looked for once if they are not to be had."""

    def __init__(self, data_dir: Path | None, *, download: bool = True) -> None:
        self.data_dir, self.download = data_dir, download
        self.pools: dict[tuple[str, int, Path], Pool | UserError] = {}

    def load(self, run: RunConfig) -> Pool | None:
        """The images of a run; None for random regression. Raises UserError."""
        if not isinstance(run.data, Images):
            return None
        data_dir = find_data_dir(self.data_dir, run.data) if isinstance(run.data, MNIST) else Path()
        key = (run.data.name, run.data.side, data_dir)
        if key not in self.pools:
            try:
                self.pools[key] = load_pool(run.data, data_dir, download=self.download)
            except UserError as error:
                self.pools[key] = error
        pool = self.pools[key]
        if isinstance(pool, UserError):
            raise pool
        return pool

    def of(self, run: RunConfig) -> Dataset:
        """The data of a run, split by its seed."""
        return load_dataset(run, self.load(run))


def epoch_rows(run: RunConfig, split: Split, epoch: int) -> Tensor:
    """The rows of an epoch in the order they are trained on, a function of seed and epoch alone."""
    if run.training.batch_size == "full":
        return split.rows
    random = generator(run.seed, "order", epoch)
    order = torch.randperm(len(split), generator=random)
    order = run.training.sampler.arrange(order, split.targets[split.rows], run.batch_size, random)
    return split.rows[order[: len(split) - run.dropped_examples].to(split.rows.device)]


def probe_batch(run: RunConfig, split: Split) -> tuple[Tensor, Tensor]:
    """The examples that are measured on: drawn from the training examples by the seed alone."""
    number = run.diagnostics.examples or run.batch_size
    order = torch.randperm(len(split), generator=generator(run.seed, "probe"))
    return split.batch(split.rows[order[:number].to(split.rows.device)])
