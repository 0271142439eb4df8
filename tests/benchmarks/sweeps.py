"""What many runs cost: several at a time against one, tiny runs, checkpoints, memory; rows of a table.

    python tests/benchmarks/sweeps.py [--rounds 3] [--data-dir .data] [cores] [tiny] [long] [checkpoints] [memory]

Each measures whole commands, with their start, in turn within a round.
"""

import argparse
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from commands import CONFIGS, ENVIRONMENT, bncompare
from rows import Row, show

from bncompare.runs.read import read_runs

MNIST = ["mnist-mlp.yaml", "--set", "compare.model.norm=[batch]", "--set", "training.early_stopping=null"]


def train(folder: str, config: str, *arguments: str) -> float:
    """Wall-clock of `bncompare train`."""
    return bncompare("train", CONFIGS / config, *arguments, "--runs", folder, "--json")[0]


def in_turn(rounds: int, *ways: Callable[[str], float]) -> list[Sequence[float]]:
    """Seconds of several ways to train, each into a folder of its own."""
    measured = []
    for _ in range(rounds):
        seconds = []
        for way in ways:
            with tempfile.TemporaryDirectory() as folder:
                seconds.append(way(folder))
        measured.append(seconds)
    return list(zip(*measured, strict=True))


def cores(rounds: int) -> Iterator[Row]:
    """Eight equal MNIST runs, two at a time; one at a time; and as two commands at once, each one at a time.

    The last tells what the machine gives: two processes that share nothing but its memory.
    """
    settings = [*MNIST, "--set", "training.epochs=4", "--seeds", "8", "--jobs"]

    def by_hand(folder: str) -> float:
        with ThreadPoolExecutor(2) as pool:
            return max(pool.map(lambda half: train(folder, *settings, "1", "--select", f"{half}/2"), (1, 2)))

    two, one, hand = in_turn(rounds, lambda f: train(f, *settings, "2"), lambda f: train(f, *settings, "1"), by_hand)
    yield Row("8 equal runs of mnist-mlp with `--jobs 2`", two, "s", "`--jobs 1`", one)
    yield Row("the same", two, "s", "as two commands of four runs at once", hand)


def tiny(rounds: int) -> Iterator[Row]:
    """500 runs of ten steps, two at a time: wall-clock a run beyond its training."""
    costs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            settings = ["--set", "training.epochs=10", "--set", "claims=[]", "--seeds", "250", "--jobs", "2"]
            seconds = train(folder, "regression.yaml", *settings)
            loaded, _ = read_runs([Path(folder)])
        assert len(loaded) == 500
        costs.append(1000 * (seconds - sum(run.seconds for run in loaded) / 2) / len(loaded))
    yield Row("each of 500 runs of 10 steps with `--jobs 2`, beyond its training", costs, "ms", goal=60)


def long(rounds: int) -> Iterator[Row]:
    """Six short runs and, last in the plan, one as long as all of these, two at a time; against the short ones alone.

    Those take half as long as the long one, so that the ratio is 2 if it starts first, and 3 if it starts last.
    """
    settings = ["mnist-mlp.yaml", "--set", "training.early_stopping=null", "--set", "claims=[]", "--jobs", "2"]
    settings += ["--set", "training.epochs=1", "--seeds", "1", "--set"]
    short = ", ".join(f"{{label: short {i}, training.optimizer.lr: 0.00{i}}}" for i in range(1, 7))
    both, alone = in_turn(
        rounds,
        lambda folder: train(folder, *settings, f"compare=[{short}, {{label: long, training.epochs: 6}}]"),
        lambda folder: train(folder, *settings, f"compare=[{short}]"),
    )
    yield Row("six short runs and a long one, which is the last of the plan, `--jobs 2`", both, "s", "six", alone)


def checkpoints(rounds: int) -> Iterator[Row]:
    """A MNIST run with a checkpoint at every epoch, and with none before the end."""
    settings = [*MNIST, "--set", "training.epochs=8", "--seeds", "1", "--jobs", "1", "--set"]
    with_all, without = in_turn(
        rounds,
        lambda folder: train(folder, *settings, "training.checkpoint_every=1"),
        lambda folder: train(folder, *settings, "training.checkpoint_every=1000"),
    )
    yield Row("8 epochs of mnist-mlp with a checkpoint at each", with_all, "s", "without any", without)


def memory(rounds: int) -> Iterator[Row]:
    """Unshared pages of the workers of a MNIST sweep, at their largest."""
    peaks = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            settings = ["--set", "training.epochs=4", "--seeds", "4", "--jobs", "2"]
            done = threading.Thread(target=train, args=(folder, *MNIST, *settings))
            done.start()
            peak = 0.0
            while done.is_alive():
                peak = max([peak, *unshared_of_workers()])
                time.sleep(0.05)
            peaks.append(peak)
    yield Row("memory that a worker of mnist-mlp shares with no other, at its largest", peaks, "MiB")


def unshared_of_workers() -> list[float]:
    """MiB of private pages of every process that a forkserver below this process started."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                names[int(entry.name)] = (entry / "cmdline").read_text()
            except OSError:
                continue
    servers = {process for process, name in names.items() if "forkserver" in name}
    workers = [process for process in servers if parents[process] in servers and is_below(process, parents)]
    found = []
    for process in workers:
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        found.append(sum(int(kb) for kb in re.findall(r"Private_\w+:\s+(\d+) kB", text)) / 1024)
    return found


def is_below(process: int, parents: dict[int, int]) -> bool:
    while process in parents:
        if process == os.getpid():
            return True
        process = parents[process]
    return False


MEASURES = {"cores": cores, "tiny": tiny, "long": long, "checkpoints": checkpoints, "memory": memory}


def rows(rounds: int, data_dir: Path | None, names: Sequence[str] = tuple(MEASURES)) -> Iterator[Row]:
    if data_dir:
        ENVIRONMENT["BNCOMPARE_DATA"] = str(data_dir.absolute())
    for name in names:
        yield from MEASURES[name](rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(MEASURES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    show(rows(options.rounds, options.data_dir, options.names))
