"""Seconds an epoch: bncompare's train() against loops written by hand, in turn in one process; medians.

    python tests/benchmarks/training.py [--rounds 5] [--data-dir .data] [mnist-mlp] [fashion-lenet]

`bare` is the in-memory PyTorch loop a careful person writes by hand: the same data (as float32 in memory), batches,
optimizer, metrics and validation. `tutorial` is the loop of the tutorials: DataLoader, ToTensor, .item() a batch.
Each round runs an epoch of every loop; the ratio is taken within the round.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from bncompare.config.expand import load_experiment
from bncompare.config.optimizers import SGD
from bncompare.config.run import RunConfig
from bncompare.datasets import MNIST
from bncompare.datasets.published import find_data_dir
from bncompare.training.data import Dataset, Datasets
from bncompare.training.loop import train
from bncompare.training.model import build_model

CONFIGS = Path(__file__).parents[2] / "configs"
CPU = torch.device("cpu")
Loop = Iterator[float]  # seconds of an epoch, at each next()


def ours(run: RunConfig, dataset: Dataset) -> Loop:
    for record in train(run, dataset, CPU):
        yield record.seconds


def optimizer_of(run: RunConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    choice = run.training.optimizer
    if isinstance(choice, SGD):
        return torch.optim.SGD(model.parameters(), lr=choice.lr)
    return torch.optim.Adam(model.parameters(), lr=choice.lr)


def bare(run: RunConfig, dataset: Dataset) -> Loop:
    def floats(rows: Tensor, images: Tensor) -> Tensor:
        return images[rows].float() / 255

    x, y = floats(dataset.train.rows, dataset.train.inputs), dataset.train.targets[dataset.train.rows]
    assert dataset.validation is not None
    x_val = floats(dataset.validation.rows, dataset.validation.inputs)
    y_val = dataset.validation.targets[dataset.validation.rows]
    model = build_model(run)
    optimizer = optimizer_of(run, model)
    size = run.batch_size
    while True:
        started = time.perf_counter()
        model.train()
        order = torch.randperm(len(x))
        loss_sum, correct = 0.0, 0
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            inputs, targets = x[rows], y[rows]
            outputs = model(inputs)
            loss = F.cross_entropy(outputs, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(targets)
            correct += (outputs.argmax(1) == targets).sum().item()
        model.eval()
        with torch.no_grad():
            for start in range(0, len(x_val), 500):
                outputs, targets = model(x_val[start : start + 500]), y_val[start : start + 500]
                loss_sum += F.cross_entropy(outputs, targets, reduction="sum").item()
                correct += (outputs.argmax(1) == targets).sum().item()
        yield time.perf_counter() - started


def tutorial(run: RunConfig, dataset: Dataset, data_dir: Path) -> Loop:
    published = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[run.data.name]
    full = published(data_dir, train=True, transform=transforms.ToTensor())
    assert dataset.validation is not None
    held_out = published(data_dir, train=False, transform=transforms.ToTensor())
    if dataset.validation.inputs is dataset.train.inputs:
        held_out = Subset(full, dataset.validation.rows.tolist())
    train_loader = DataLoader(Subset(full, dataset.train.rows.tolist()), batch_size=run.batch_size, shuffle=True)
    val_loader = DataLoader(held_out, batch_size=run.batch_size)
    model = build_model(run)
    optimizer = optimizer_of(run, model)
    while True:
        started = time.perf_counter()
        model.train()
        loss_sum, correct = 0.0, 0
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = F.cross_entropy(outputs, targets)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
            correct += (outputs.argmax(1) == targets).sum().item()
        model.eval()
        with torch.no_grad():
            for inputs, targets in val_loader:
                outputs = model(inputs)
                loss_sum += F.cross_entropy(outputs, targets).item()
                correct += (outputs.argmax(1) == targets).sum().item()
        yield time.perf_counter() - started


def measure(name: str, kind: str, rounds: int, data_dir: Path, with_tutorial: bool) -> None:
    overrides = [f"compare={{model.norm: [{kind}]}}", f"training.epochs={rounds + 1}", "training.early_stopping=null"]
    (run,) = load_experiment(CONFIGS / f"{name}.yaml", overrides=[*overrides, "claims=[]"], seeds="1").runs
    dataset = Datasets(data_dir).of(run)
    loops: dict[str, Callable[[], Loop]] = {
        "bncompare": lambda: ours(run, dataset),
        "bare": lambda: bare(run, dataset),
    }
    if with_tutorial:
        loops["tutorial"] = lambda: tutorial(run, dataset, data_dir)
    running = {loop_name: loop() for loop_name, loop in loops.items()}
    seconds: dict[str, list[float]] = {loop_name: [] for loop_name in loops}
    for round_number in range(rounds + 1):
        for loop_name, loop in running.items():
            elapsed = next(loop)
            if round_number > 0:  # the first warms up
                seconds[loop_name].append(elapsed)
    for loop_name, times in seconds.items():
        ratios = [ours_s / other_s for ours_s, other_s in zip(seconds["bncompare"], times, strict=True)]
        print(
            f"{name:15}{kind:20}{loop_name:12}{statistics.median(times):8.2f} s"
            f"   bncompare/{loop_name}: {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["mnist-mlp", "fashion-lenet"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data_dir = find_data_dir(options.data_dir, MNIST(name="mnist"), os.environ)
    print(f"{options.rounds} rounds after a warm-up, 1 thread; median (range)")
    for name in options.names:
        for kind in ("none", "batch"):
            measure(name, kind, options.rounds, data_dir, with_tutorial=name == "mnist-mlp")


if __name__ == "__main__":
    main()
