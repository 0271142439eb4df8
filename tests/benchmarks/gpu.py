"""docs/performance-gpu.md: training on a GPU beside a loop written by hand, and many seeds as one program.

    python tests/benchmarks/gpu.py [--rounds 5] [--seeds 32] [--data-dir .data] > docs/performance-gpu.md

The loops take an epoch in turn, and the ratio is taken within the round.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from rows import HEADER, Row
from torch.profiler import ProfilerActivity, profile
from training import optimizer_of, plain_model

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.datasets import MNIST
from bncompare.datasets.published import find_data_dir
from bncompare.errors import UserError
from bncompare.norms import NORMS
from bncompare.training import graphs
from bncompare.training.data import Dataset, Datasets
from bncompare.training.loop import Loop, train
from bncompare.training.stack import train_stack

CONFIGS = Path(__file__).parents[2] / "configs"
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NAMES = {"mnist-mlp": "MNIST MLP", "fashion-lenet": "LeNet on MNIST", "none": "no norm", "batch": "BatchNorm"}
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::item", "aten::nonzero")
PAGE = """\
# Performance on a GPU

{table}

Measured on one {machine}: {versions}; {date}. Made, where there is a GPU, by

```sh
python tests/benchmarks/gpu.py > docs/performance-gpu.md
```

The table is read as that of [performance](performance.md). The *bare loop* is the PyTorch a careful person writes by
hand for a GPU: all data there, torch.nn's modules, nothing read within an epoch. *Its steps as written* are those of
bncompare without recordings, which give the same bytes. One seed is a run by itself, with recordings.

## What a step waits for, and launches

A profile of 200 steps of the MLP: what waits for the GPU, and launches a step.

| norm | steps | waits | launches a step |
| --- | --- | ---: | ---: |
{trace}

## A GPU and a CPU

How far the training loss of the first epoch is from that of a CPU, relative, in a small MLP and in LeNet, whose
convolutions are in TF32 on a GPU, as torch has them. `noisy_batch` draws other numbers on each device.

| norm | MLP | LeNet |
| --- | ---: | ---: |
{agreement}
"""
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
    model = plain_model(run).to(CUDA)
    optimizer = optimizer_of(run, model)
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


def mnist_runs(model: str, kind: str, *settings: str, seeds: int = 1) -> list[RunConfig]:
    """Of a config, with MNIST and one norm."""
    overrides = [
        "data.name=mnist",
        "data.validation=0.2",
        "claims=[]",
        f"compare={{model.norm: [{kind}]}}",
        *settings,
    ]
    return load_experiment(CONFIGS / f"{model}.yaml", overrides=overrides, seeds=str(seeds)).runs


def epochs_of(model: str, kind: str, rounds: int, num_seeds: int, datasets: Datasets) -> Iterator[Row]:
    """Milliseconds an epoch."""
    length = [f"training.epochs={rounds + 2}", "training.early_stopping=null"]
    runs = mnist_runs(model, kind, *length, seeds=num_seeds)
    each = [datasets.of(run) for run in runs]
    loops: dict[str, Callable[[], Epochs]] = {
        "ours": lambda: timed(train(runs[0], each[0], CUDA)),
        "its steps as written": lambda: timed(as_written(train(runs[0], each[0], CUDA))),
        "bare loop": lambda: timed(bare(runs[0], each[0])),
        "stack": lambda: timed(train_stack(runs, each, CUDA), num_seeds),
    }
    running = {name: loop() for name, loop in loops.items()}
    found: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name, epochs in running.items():
            elapsed = next(epochs)
            if number > 0:  # the first warms up
                found[name].append(1000 * elapsed)
    what = f"{NAMES[model]}, {NAMES[kind]}, an epoch"
    for name in ("bare loop", "its steps as written"):
        yield Row(what, found["ours"], "ms", name, found[name])
    goal = 3 if model == "mnist-mlp" else None
    yield Row(f"{what}: {num_seeds} seeds as one program", found["stack"], "ms", "one seed", found["ours"], goal)


def whole_commands(rounds: int, num_seeds: int) -> Row:
    """Seconds of `bncompare train --stack`, of many seeds and of one."""
    seconds: dict[int, list[float]] = {1: [], num_seeds: []}
    settings = ["compare={model.norm: [batch]}", "claims=[]", "training.early_stopping=null", "training.epochs=10"]
    for _ in range(rounds):
        for number, times in seconds.items():
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "bncompare", "train", str(CONFIGS / "mnist-mlp.yaml"), "--stack"]
                command += [f"--seeds={number}", *(f"--set={setting}" for setting in settings), f"--runs={folder}"]
                started = time.perf_counter()
                subprocess.run([*command, "--device=cuda", "--json"], check=True, stdout=subprocess.DEVNULL)
                times.append(time.perf_counter() - started)
    what = f"the whole command, 10 epochs of the MLP with BatchNorm: {num_seeds} seeds as one program"
    return Row(what, seconds[num_seeds], "s", "one seed", seconds[1])


def trace(kind: str, datasets: Datasets) -> Iterator[str]:
    """What of 200 steps of the MLP waits for the device, and what they launch, by a profile of them."""
    run = mnist_runs("mnist-mlp", kind)[0]
    for what, steps_as_written in (("recorded", graphs.STEPS_AS_WRITTEN), ("as written", 10**9)):
        before, graphs.STEPS_AS_WRITTEN = graphs.STEPS_AS_WRITTEN, steps_as_written
        loop = Loop(run, datasets.of(run), CUDA)
        for step in range(100):
            loop.take(step)
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
            for step in range(100, 300):
                loop.take(step)
        graphs.STEPS_AS_WRITTEN = before
        counts = {event.key: event.count for event in found.key_averages()}
        waits = sum(count for name, count in counts.items() if name in WAITS) - 1  # the profiler's own, at its end
        launches = sum(count for name, count in counts.items() if "Launch" in name)
        yield f"| {NAMES[kind]} | {what} | {waits} | {launches / 200:g} |"


def agreement(kind: str) -> str:
    """How far the training loss of the first epoch of a small run is from a CPU's, in each model that may have it."""
    cells = []
    for model in ("{name: mlp, hidden: [16, 16]}", "{name: lenet}"):
        settings = [f"model={model}", "training.optimizer.lr=0.005", "claims=[]", f"compare.model.norm=[{kind}]"]
        try:
            (run,) = load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="1").runs
        except UserError:  # not in this model
            cells.append("")
            continue
        dataset = Datasets(None).of(run)
        here, there = (next(train(run, dataset, device)).metrics["train/loss"] for device in (CUDA, CPU))
        cells.append(f"{abs(here / there - 1):.0e}")
    return f"| {kind} | {' | '.join(cells)} |" if any(cells) else ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    datasets = Datasets(find_data_dir(options.data_dir, MNIST(name="mnist"), os.environ))
    cases = [(model, kind) for model in ("mnist-mlp", "fashion-lenet") for kind in ("none", "batch")]
    rows = [row for case in cases for row in epochs_of(*case, options.rounds, options.seeds, datasets)]
    rows.append(whole_commands(max(1, options.rounds // 2), options.seeds))
    print(
        PAGE.format(
            table="\n".join([HEADER, *map(str, rows)]),
            trace="\n".join(line for kind in ("none", "batch") for line in trace(kind, datasets)),
            agreement="\n".join(filter(None, map(agreement, NORMS))),
            machine=torch.cuda.get_device_name(),
            versions=f"Python {platform.python_version()}, torch {torch.__version__}",
            date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        ),
        end="",
    )


if __name__ == "__main__":
    main()
