"""Datasets as tensors that stay in memory; a batch is a gather by index.

Bytes stay bytes and are converted batch by batch, which costs less than reading floats from memory.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bncompare.config import RunConfig
from bncompare.datasets import DataSection, Pool
from bncompare.errors import UserError
from bncompare.randomness import generator


@dataclass(frozen=True)
class Split:
    """Some rows of a pool of examples."""

    inputs: Tensor
    """(N, *input_shape) uint8 or float32"""
    targets: Tensor
    """(N, targets) float32, or (N,) int64 classes"""
    rows: Tensor
    """(n,) int64: the examples of this split"""
    scale: Tensor | None = None
    """broadcast over an example, as is `shift`; None = as they are"""
    shift: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (as float32, scaled) and targets of some rows of the pool."""
        inputs = self.inputs.index_select(0, rows)
        if inputs.dtype == torch.uint8:
            inputs = inputs.to(torch.float32)
        if self.scale is not None:
            inputs.mul_(self.scale)
        if self.shift is not None:
            inputs.add_(self.shift)
        return inputs, self.targets.index_select(0, rows)

    def to(self, device: torch.device) -> "Split":
        """The same split, living on a device."""
        parts = {name: getattr(self, name) for name in ("inputs", "targets", "rows", "scale", "shift")}
        moved = {name: part.to(device) for name, part in parts.items() if part is not None}
        return replace(self, **moved)


@dataclass(frozen=True)
class Dataset:
    """What a run trains, validates and tests on."""

    train: Split
    validation: Split | None
    test: Split | None


def load_dataset(run: RunConfig, pool: Pool | None) -> Dataset:
    """The data of one run, split by its seed. `pool` is what `Datasets.load` gives for it; None where it is drawn."""
    data = run.data
    pool = pool or _drawn(data, run.seed)
    train_rows, validation_rows = _split(data, run.seed)
    train = Split(pool.inputs, pool.targets, train_rows, *data.scale_and_shift(pool.inputs, train_rows))
    test_rows = torch.arange(len(pool.test_targets))
    test = replace(train, inputs=pool.test_inputs, targets=pool.test_targets, rows=test_rows)
    validation = test if data.validation == "test" else replace(train, rows=validation_rows)
    return Dataset(train, validation if len(validation) else None, test if len(test) else None)


def _split(data: DataSection, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to train on and to validate on. A smaller `train_size` takes a subset of a larger one's rows."""
    order = torch.randperm(data.pool_size, generator=generator(seed, "split"))
    rest = order[data.validation_size :]
    return rest[: data.num_train], order[: data.validation_size]


def _drawn(data: DataSection, seed: int) -> Pool:
    """A dataset that is drawn anew for each seed."""
    return Pool(*data.draw("train", data.pool_size, seed), *data.draw("test", data.test_size, seed))


class Datasets:
    """The data of runs; what is stored is read once, and looked for once if it is not to be had."""

    def __init__(self, data_dir: Path | None, *, download: bool = True) -> None:
        self.data_dir, self.download = data_dir, download
        self.pools: dict[str, Pool | UserError] = {}

    def load(self, run: RunConfig) -> Pool | None:
        """The examples of a run; None where they are drawn for its seed. Raises UserError."""
        if not run.data.is_stored:
            return None
        source = run.data.source
        if source not in self.pools:
            try:
                self.pools[source] = run.data.read(self.data_dir, download=self.download)
            except UserError as error:
                self.pools[source] = error
        pool = self.pools[source]
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
