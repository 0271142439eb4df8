"""CPU seconds an epoch: bncompare's train() against loops written by hand, in turn in one process; table rows.

    python tests/benchmarks/training.py [--rounds 5] [--data-dir .data] [mnist-mlp] [fashion-lenet]

`bare` is the in-memory PyTorch loop a careful person writes by hand: torch.nn's modules, the same data (as float32 in
memory), batches, optimizer, metrics and validation. `tutorial` is the loop of the tutorials: DataLoader, ToTensor,
.item() a batch. Each round runs an epoch of every loop, validation included; the ratio is taken within the round.
On one thread seconds of the processor are those of the clock, but for what else the machine does.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from rows import Row, show
from torch import Tensor, nn
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
Loop = Iterator[object]  # an epoch at each next()


def plain_model(run: RunConfig) -> nn.Module:
    """The model of a run as people write it, with its initial weights."""
    normalized = run.model.norm.kind == "batch"

    def norm(num_features: int, axes: int) -> list[nn.Module]:
        return [(nn.BatchNorm1d if axes == 1 else nn.BatchNorm2d)(num_features)] if normalized else []

    def dense(entering: int, leaving: int, activation: nn.Module) -> list[nn.Module]:
        return [nn.Linear(entering, leaving, bias=not normalized), *norm(leaving, 1), activation]

    def conv(entering: int, leaving: int) -> list[nn.Module]:
        pool = nn.AvgPool2d(2) if run.model.pooling == "avg" else nn.MaxPool2d(2)
        return [nn.Conv2d(entering, leaving, 5, bias=not normalized), *norm(leaving, 2), nn.Sigmoid(), pool]

    if run.model.name == "mlp":
        layers = [nn.Flatten(), *dense(784, 128, nn.ReLU()), nn.Linear(128, 10)]
    else:
        hidden = [*dense(256, 120, nn.Sigmoid()), *dense(120, 84, nn.Sigmoid())]
        layers = [*conv(1, 6), *conv(6, 16), nn.Flatten(), *hidden, nn.Linear(84, 10)]
    model = nn.Sequential(*layers)
    weights = build_model(run).state_dict().values()
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    return model


def optimizer_of(run: RunConfig, model: nn.Module) -> torch.optim.Optimizer:
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
    model = plain_model(run)
    optimizer = optimizer_of(run, model)
    size = run.batch_size
    while True:
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
        yield


def tutorial(run: RunConfig, dataset: Dataset, data_dir: Path) -> Loop:
    published = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[run.data.name]
    full = published(data_dir, train=True, transform=transforms.ToTensor())
    assert dataset.validation is not None
    held_out = published(data_dir, train=False, transform=transforms.ToTensor())
    if dataset.validation.inputs is dataset.train.inputs:
        held_out = Subset(full, dataset.validation.rows.tolist())
    train_loader = DataLoader(Subset(full, dataset.train.rows.tolist()), batch_size=run.batch_size, shuffle=True)
    val_loader = DataLoader(held_out, batch_size=run.batch_size)
    model = plain_model(run)
    optimizer = optimizer_of(run, model)
    while True:
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
        yield


GOALS = {"mnist-mlp": 0.75, "fashion-lenet": 0.85}


def measure(name: str, overrides: list[str], rounds: int, data_dir: Path) -> Iterator[Row]:
    """A row a loop written by hand."""
    # One more than are timed, with a warm-up: at the end of the last a run is tested.
    shared = [f"training.epochs={rounds + 2}", "training.early_stopping=null", "claims=[]"]
    (run,) = load_experiment(CONFIGS / f"{name}.yaml", overrides=[*overrides, *shared], seeds="1").runs
    dataset = Datasets(data_dir).of(run)
    loops: dict[str, Loop] = {"bncompare": train(run, dataset, CPU), "bare loop": bare(run, dataset)}
    if name == "mnist-mlp":
        loops["tutorial's loop"] = tutorial(run, dataset, data_dir)
    seconds: dict[str, list[float]] = {loop_name: [] for loop_name in loops}
    for round_number in range(rounds + 1):
        for loop_name, loop in loops.items():
            started = time.process_time()
            next(loop)
            if round_number > 0:  # the first warms up
                seconds[loop_name].append(time.process_time() - started)
    mine = seconds.pop("bncompare")
    pooling = f", {run.model.pooling} pooling" if run.model.name == "lenet" else ""
    for loop_name, times in seconds.items():
        goal = GOALS[name] if loop_name == "bare loop" else None
        yield Row(f"an epoch of {name}, norm {run.model.norm.kind}{pooling}", mine, "CPU s", loop_name, times, goal)


def rows(rounds: int, data_dir: Path | None, names: Sequence[str] = tuple(GOALS)) -> Iterator[Row]:
    torch.set_num_threads(1)
    found = find_data_dir(data_dir, MNIST(name="mnist"), os.environ)
    for name in names:
        for pooling in ["avg", "max"] if name == "fashion-lenet" else [None]:
            for kind in ("none", "batch"):
                overrides = [f"compare={{model.norm: [{kind}]}}", *([f"model.pooling={pooling}"] if pooling else [])]
                yield from measure(name, overrides, rounds, found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(GOALS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    show(rows(options.rounds, options.data_dir, options.names))
