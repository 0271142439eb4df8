"""What a run needs of memory, worked out from its config alone, and what this machine has."""

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

from bncompare.config import Layer, RunConfig, layers
from bncompare.norms import GhostBatchNorm

FLOAT = 4  # bytes
GB = 10**9
UNKNOWN = 16 * GB  # taken for the memory of a machine that does not say
VIRTUAL_BATCH = 15_000  # bytes of the graph of one virtual batch in one layer, as measured
SNAPSHOTS = 4  # of a checkpoint: as it is written in memory, joined, handed on, with its checksum


@dataclass(frozen=True)
class Memory:
    """Bytes that a run needs, beside those of Python and PyTorch."""

    data: int
    """the examples, and what is there while they are drawn"""
    model: int
    """weights, gradients, the optimizer's state, the best weights so far, checkpoints"""
    batch: int
    """what a batch leaves in the layers, and its gradient"""

    @property
    def total(self) -> int:
        """All of it."""
        return self.data + self.model + self.batch

    def __str__(self) -> str:
        parts = {"data": self.data, "model": self.model, "a batch": self.batch}
        return f"{in_gb(self.total)} GB ({', '.join(f'{name} {in_gb(size)}' for name, size in parts.items())})"


def in_gb(size: int) -> str:
    """Bytes as gigabytes: two digits, or all before the point."""
    return f"{size / GB:,.0f}" if size >= 10 * GB else f"{size / GB:.1f}"


def needed(run: RunConfig) -> Memory:
    """An estimate of what a run needs."""
    planned = layers(run)
    return Memory(run.data.num_bytes, _model(run, planned), _batch(run, planned))


def _model(run: RunConfig, planned: list[Layer]) -> int:
    state = run.training.optimizer.num_moments
    # At the end of a run: the weights, their gradients, the best ones, what testing and writing these takes (as
    # measured, with what lies idle between them), and snapshots of a model, an optimizer and the best weights.
    copies = 10 + state + SNAPSHOTS * (2 + state)
    if run.diagnostics.wanted:
        copies += 14 + state  # a model and an optimizer to try things on, weights before and after, in float64 too
    if run.training.trainable == "random" or any(layer.weight_norm for layer in planned):
        copies += 6  # the weight is worked out from others
    return FLOAT * copies * sum(map(_num_weights, planned))


def _num_weights(layer: Layer) -> int:
    of_norm = 4 * math.prod(layer.shape) if layer.norm else 0  # γ, β and running statistics, at most
    return layer.num_weights + layer.out_features + of_norm


def _batch(run: RunConfig, planned: list[Layer]) -> int:
    size = max(run.batch_size, run.diagnostics.examples or 0)
    # What leaves the layer and its activation; normalized, scaled and shifted; mask and product.
    left = [math.prod(layer.shape) * (2 + 3 * bool(layer.norm) + 2 * bool(layer.dropout)) for layer in planned]
    gradient = max(left)
    return FLOAT * size * (2 * math.prod(run.data.input_shape) + sum(left) + gradient) + _virtual_batches(
        size, planned
    )


def _virtual_batches(size: int, planned: list[Layer]) -> int:
    """What ghost batch normalization takes for each virtual batch, however small: a graph, and its statistics."""
    return sum(
        size // layer.norm.virtual_batch_size * (VIRTUAL_BATCH + FLOAT * 8 * layer.out_features)
        for layer in planned
        if isinstance(layer.norm, GhostBatchNorm)
    )


# ---------------------------------------------------------------- this machine


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this machine has, or that a container leaves of it; `UNKNOWN` where it does not say."""
    limits = list(_cgroup_limits(root))
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=UNKNOWN)


def _cgroup_limits(root: Path) -> list[int]:
    """Limits of this process's control group and those above it, of either version."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            mounted = root / "sys/fs/cgroup" / controllers
            group = mounted / place.lstrip("/")
            for folder in (group, *group.parents):
                if not folder.is_relative_to(mounted):
                    break
                for name in ("memory.max", "memory.limit_in_bytes"):
                    with contextlib.suppress(OSError, ValueError):  # `max` is no limit
                        found.append(int((folder / name).read_text()))
    return found
