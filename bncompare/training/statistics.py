"""Which statistics the batch family uses in evaluation: running, the batch's, or exact ones of the training set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bncompare.norms import EvalStats, batch_norms
from bncompare.training.data import Split

CHUNK = 500  # examples of a pass over the training set


def set_evaluation_mode(model: nn.Module) -> None:
    """model.eval(), but for norms that were told to use the batch's statistics, which keeps them in training mode."""
    model.eval()
    for norm in batch_norms(model):
        norm.training = getattr(norm, "uses_batch_statistics", False)


@contextmanager
def evaluation_statistics(model: nn.Module, train_split: Split, statistics: EvalStats) -> Iterator[None]:
    """Within it, evaluation uses these statistics; afterwards the running ones are as they were, to the bit."""
    norms = batch_norms(model)
    if statistics == "running" or not norms:
        yield
    elif statistics == "batch":
        tracked = [norm.track_running_stats for norm in norms]
        for norm in norms:
            # In training mode without tracking, a batch norm normalizes with the batch and remembers nothing.
            norm.track_running_stats, norm.uses_batch_statistics = False, True  # type: ignore[assignment]
        try:
            yield
        finally:
            for norm, value in zip(norms, tracked, strict=True):
                norm.track_running_stats, norm.uses_batch_statistics = value, False  # type: ignore[assignment]
    else:
        before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]  # type: ignore[union-attr]
        try:
            set_population_statistics(model, train_split)
            yield
        finally:
            for norm, (mean, var) in zip(norms, before, strict=True):
                norm.running_mean.copy_(mean)  # type: ignore[union-attr]
                norm.running_var.copy_(var)  # type: ignore[union-attr]


@contextmanager
def in_evaluation(model: nn.Module, train_split: Split, statistics: EvalStats) -> Iterator[None]:
    """Within it, a model is in evaluation mode and uses these statistics."""
    with evaluation_statistics(model, train_split, statistics):
        set_evaluation_mode(model)
        yield
    model.train()


@torch.no_grad()
def set_population_statistics(model: nn.Module, split: Split) -> None:
    """Set the running statistics to the exact mean and unbiased variance of each norm's input over a split.

    Layer by layer, a pass over the split each: what a norm sees depends on the statistics of those before it.
    """
    set_evaluation_mode(model)
    for norm in batch_norms(model):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        moments = _Moments(norm.running_mean)
        handle = norm.register_forward_pre_hook(moments.add)
        try:
            for rows in split.rows.tensor_split(-(-len(split) // CHUNK)):
                model(split.batch(rows)[0])
        finally:
            handle.remove()
        mean, var = moments.mean_and_variance()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
    model.train()


class _Moments:
    """Sums of a norm's inputs and their squares per channel, in float64 (float32 on MPS, which has none)."""

    def __init__(self, centre: Tensor) -> None:
        self.dtype = torch.float32 if centre.device.type == "mps" else torch.float64
        # About a value near the mean: no digits are lost in E[x²] − E[x]².
        self.centre = centre.to(self.dtype)
        self.total = torch.zeros_like(self.centre)
        self.squares = torch.zeros_like(self.centre)
        self.count = 0

    def add(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A forward pre-hook: count the input, (N, C, …)."""
        x = inputs[0].to(self.dtype).transpose(0, 1).flatten(1) - self.centre[:, None]
        self.total += x.sum(1)
        self.squares += x.square().sum(1)
        self.count += x.shape[1]

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance, each (C,)."""
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()) * (self.count / (self.count - 1))
        return mean + self.centre, variance
