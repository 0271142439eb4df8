"""Forward + backward time of each norm against torch's BatchNorm on the shapes of an MLP and a LeNet; rows.

    python tests/benchmarks/norms.py [--rounds 15]

Each round times every kind once, so that the ratio is taken within the round.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import torch
from rows import Row, show
from torch import nn

from bncompare.norms.base import NORMS, ActivationNorm, Norm
from bncompare.randomness import StepRandomness

SHAPES = {
    "mlp (64, 128)": (64, 128),
    "lenet (128, 6, 28, 28)": (128, 6, 28, 28),
    "lenet (128, 16, 10, 10)": (128, 16, 10, 10),
}
REPEATS = {2: 200, 4: 10}  # forward + backward passes in a round, by the number of axes


def build(kind: str, shape: tuple[int, ...], **options: Any) -> nn.Module:
    norm = NORMS[kind].model_validate({"kind": kind, **options})
    assert isinstance(norm, Norm)
    return norm.build(shape[1:])


def seconds(module: nn.Module, x: torch.Tensor, upstream: torch.Tensor) -> float:
    repeats = REPEATS[x.dim()]
    started = time.perf_counter()
    for step in range(repeats):
        if isinstance(module, StepRandomness):
            module.reseed(0, "x", step, x.device)
        module(x).backward(upstream)
    return (time.perf_counter() - started) / repeats


def rows(rounds: int) -> Iterator[Row]:
    torch.set_num_threads(1)
    for title, shape in SHAPES.items():
        x, upstream = torch.randn(shape, requires_grad=True), torch.randn(shape)
        kinds = [kind for kind, norm in NORMS.items() if issubclass(norm, ActivationNorm)]
        modules = {kind: build(kind, shape) for kind in kinds if kind != "instance" or len(shape) > 2}
        times: dict[str, list[float]] = {kind: [] for kind in modules}
        for round_number in range(rounds + 1):
            for kind, module in modules.items():
                elapsed = 1e6 * seconds(module, x, upstream)
                if round_number > 0:
                    times[kind].append(elapsed)
        for kind, values in times.items():
            owner = "torch's own" if type(modules[kind]).__module__.startswith("torch.") else "ours"
            yield Row(f"{kind} ({owner}) on {title}", values, "µs", "torch's BatchNorm", times["batch"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    show(rows(parser.parse_args().rounds))
