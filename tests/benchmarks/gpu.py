"""Seconds an epoch on a GPU: steps recorded and as written, many seeds as one program, and a loop written by hand.

    python tests/benchmarks/gpu.py [--rounds 5] [--seeds 32] [--data-dir .data] [--trace]

`bare` is the loop a careful person writes by hand: the data on the GPU, nothing read within an epoch. All of them
take an epoch in turn; the ratio is taken within the round. `--trace` counts in a profile of an epoch what waits.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.datasets import MNIST
from bncompare.datasets.published import find_data_dir
from bncompare.training import graphs
from bncompare.training.data import Dataset, Datasets
from bncompare.training.loop import Loop, train
from bncompare.training.model import build_model
from bncompare.training.stack import train_stack

CONFIGS = Path(__file__).parents[2] / "configs"
CUDA = torch.device("cuda")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::item", "aten::nonzero")
Epochs = Iterator[float]  # seconds of an epoch, at each next()


def timed(records: Iterator[object], per_epoch: int = 1) -> Epochs:
    """The seconds until so many of the records have come."""
    while True:
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(per_epoch):
            next(records)
        torch.cuda.synchronize()
        yield time.perf_counter() - started


def as_written(records: Iterator[object]) -> Iterator[object]:
    """With no step recorded."""
    while True:
        before, graphs.STEPS_AS_WRITTEN = graphs.STEPS_AS_WRITTEN, 10**9
        try:
            record = next(records)
        finally:
            graphs.STEPS_AS_WRITTEN = before
        yield record


def bare(run: RunConfig, dataset: Dataset) -> Iterator[object]:
    def on_gpu(split: object) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets, rows = split.inputs, split.targets, split.rows  # type: ignore[attr-defined]
        return (inputs[rows].float() / 255).to(CUDA), targets[rows].to(CUDA)

    (x, y), (x_val, y_val) = on_gpu(dataset.train), on_gpu(dataset.validation)
    model = build_model(run, CUDA)
    adam = run.training.optimizer.name != "sgd"
    optimizer = (torch.optim.Adam if adam else torch.optim.SGD)(model.parameters(), lr=run.training.optimizer.lr)
    loss_sum, correct = torch.zeros((), device=CUDA), torch.zeros((), dtype=torch.int64, device=CUDA)
    while True:
        model.train()
        order = torch.randperm(len(x), device=CUDA)
        for start in range(0, len(x), run.batch_size):
            rows = order[start : start + run.batch_size]
            inputs, targets = x[rows], y[rows]
            outputs = model(inputs)
            loss = F.cross_entropy(outputs, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach() * len(targets)
            correct += (outputs.argmax(1) == targets).sum()
        model.eval()
        with torch.no_grad():
            for start in range(0, len(x_val), 500):
                outputs, targets = model(x_val[start : start + 500]), y_val[start : start + 500]
                loss_sum += F.cross_entropy(outputs, targets, reduction="sum")
                correct += (outputs.argmax(1) == targets).sum()
        yield loss_sum.item(), correct.item()
        loss_sum.zero_()
        correct.zero_()


def measure(model: str, kind: str, rounds: int, num_seeds: int, datasets: Datasets) -> None:
    settings = ["data.name=mnist", "data.validation=0.2", "claims=[]", f"compare={{model.norm: [{kind}]}}"]
    settings += [f"training.epochs={rounds + 2}", "training.early_stopping=null"]
    runs = load_experiment(CONFIGS / f"{model}.yaml", overrides=settings, seeds=str(num_seeds)).runs
    each = [datasets.of(run) for run in runs]
    loops: dict[str, Callable[[], Epochs]] = {
        "bncompare": lambda: timed(train(runs[0], each[0], CUDA)),
        "steps as written": lambda: timed(as_written(train(runs[0], each[0], CUDA))),
        "bare": lambda: timed(bare(runs[0], each[0])),
        f"stack of {num_seeds}": lambda: timed(train_stack(runs, each, CUDA), num_seeds),
    }
    running = {name: loop() for name, loop in loops.items()}
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name, epochs in running.items():
            elapsed = next(epochs)
            if number > 0:  # the first warms up
                seconds[name].append(elapsed)
    for name, times in seconds.items():
        ratios = [theirs / ours for ours, theirs in zip(seconds["bncompare"], times, strict=True)]
        print(
            f"| {model} | {kind} | {name} | {1000 * statistics.median(times):.1f} | "
            f"×{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) |",
            flush=True,
        )


def trace(model: str, kind: str, datasets: Datasets) -> None:
    """What of an epoch's steps waits for the device, by a profile of it; recorded and as written."""
    settings = ["data.name=mnist", "data.validation=0.2", "claims=[]", f"compare={{model.norm: [{kind}]}}"]
    run = load_experiment(CONFIGS / f"{model}.yaml", overrides=settings, seeds="1").runs[0]
    for what, steps_as_written in (("recorded", graphs.STEPS_AS_WRITTEN), ("as written", 10**9)):
        before, graphs.STEPS_AS_WRITTEN = graphs.STEPS_AS_WRITTEN, steps_as_written
        loop = Loop(run, datasets.of(run), CUDA)
        for step in range(10):
            loop.take(step)
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
            for step in range(10, 210):
                loop.take(step)
        graphs.STEPS_AS_WRITTEN = before
        events = {event.key: event.count for event in found.key_averages()}
        waits = {key: count for key, count in events.items() if key in WAITS}
        launches = {key: count for key, count in events.items() if "Launch" in key}
        print(f"{model} {kind}, 200 steps {what}: waits {waits or 'none'}; launches {launches}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    datasets = Datasets(find_data_dir(options.data_dir, MNIST(name="mnist"), os.environ))
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.rounds} rounds after a warm-up")
    if options.trace:
        for kind in ("none", "batch"):
            trace("mnist-mlp", kind, datasets)
    print("| model | norm | loop | ms an epoch | × bncompare |\n| --- | --- | --- | ---: | ---: |")
    for model in ("mnist-mlp", "fashion-lenet"):
        for kind in ("none", "batch"):
            measure(model, kind, options.rounds, options.seeds, datasets)


if __name__ == "__main__":
    main()
