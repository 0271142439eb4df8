"""Forward + backward time of each norm against torch's BatchNorm on the shapes of an MLP and a LeNet; medians.

    python tests/benchmarks/norms.py [--rounds 15]

Each round times every kind once, so that the ratio is taken within the round. `torch` marks kinds that are torch's
own module, `ours` those written here.
"""

import argparse
import statistics
import time
from typing import Any

import torch
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{rounds} rounds after a warm-up, 1 thread; ratio to torch's BatchNorm: median (range)")
    for title, shape in SHAPES.items():
        x, upstream = torch.randn(shape, requires_grad=True), torch.randn(shape)
        kinds = [kind for kind, norm in NORMS.items() if issubclass(norm, ActivationNorm)]
        modules = {kind: build(kind, shape) for kind in kinds if kind != "instance" or len(shape) > 2}
        times: dict[str, list[float]] = {kind: [] for kind in modules}
        for round_number in range(rounds + 1):
            for kind, module in modules.items():
                elapsed = seconds(module, x, upstream)
                if round_number > 0:
                    times[kind].append(elapsed)
        print(f"\n{title}")
        for kind, values in times.items():
            ratios = [a / b for a, b in zip(values, times["batch"], strict=True)]
            owner = "torch" if type(modules[kind]).__module__.startswith("torch.") else "ours"
            print(
                f"  {kind:20}{owner:7}{1e6 * statistics.median(values):9.1f} µs   "
                f"{statistics.median(ratios):5.2f} × ({min(ratios):.2f}–{max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
