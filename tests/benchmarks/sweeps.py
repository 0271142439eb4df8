"""What many runs cost: several at a time against one, tiny runs, checkpoints, memory; medians.

    python tests/benchmarks/sweeps.py [--rounds 3] [--data-dir .data] [cores] [tiny] [checkpoints] [memory]

Each measures whole commands, with their start, in turn within a round.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bncompare.runs.read import read_runs

CONFIGS = Path(__file__).parents[2] / "configs"
MNIST = ["mnist-mlp.yaml", "--set", "compare.model.norm=[batch]", "--set", "training.early_stopping=null"]


def train(folder: Path, *arguments: str) -> float:
    """Wall-clock of `bncompare train`."""
    config, *rest = arguments
    command = [
        sys.executable,
        "-m",
        "bncompare",
        "train",
        str(CONFIGS / config),
        *rest,
        "--runs",
        str(folder),
        "--json",
    ]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def report(what: str, values: list[float], unit: str, digits: int = 2) -> None:
    shown = [f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))]
    print(f"{what}: {shown[0]} ({shown[1]}–{shown[2]}) {unit}".rstrip(), flush=True)


def cores(rounds: int) -> None:
    """Eight equal MNIST runs, one at a time and two at a time; and as two commands at once, each one at a time.

    The last tells what the machine gives: two processes that share nothing but its memory.
    """
    by_jobs, by_hand = [], []
    settings = ["--set", "training.epochs=10", "--seeds", "8"]
    for _ in range(rounds):
        seconds = {}
        for jobs in ("1", "2"):
            with tempfile.TemporaryDirectory() as folder:
                seconds[jobs] = train(Path(folder), *MNIST, *settings, "--jobs", jobs)
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
            halves = [["--select", f"{half}/2", "--jobs", "1"] for half in (1, 2)]
            together = max(pool.map(lambda half: train(Path(folder), *MNIST, *settings, *half), halves))
        by_jobs.append(seconds["1"] / seconds["2"])
        by_hand.append(seconds["1"] / together)
        print(
            f"  8 MNIST runs: {seconds['1']:.1f} s one at a time, {seconds['2']:.1f} s with --jobs 2, "
            f"{together:.1f} s as two commands of four",
            flush=True,
        )
    report("speed-up by --jobs 2", by_jobs, "times")
    report("speed-up by two commands", by_hand, "times")


def tiny(rounds: int) -> None:
    """500 runs of ten steps, two at a time: wall-clock a run beyond its training."""
    costs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            settings = ["--set", "training.epochs=10", "--set", "claims=[]", "--seeds", "250", "--jobs", "2"]
            seconds = train(Path(folder), "regression.yaml", *settings)
            loaded, _ = read_runs([Path(folder)])
        assert len(loaded) == 500
        costs.append(1000 * (seconds - sum(run.seconds for run in loaded) / 2) / len(loaded))
    report("a tiny run with --jobs 2, beyond its training", costs, "ms", 1)


def checkpoints(rounds: int) -> None:
    """A MNIST run with a checkpoint at every epoch, and with none before the end."""
    ratios = []
    for _ in range(rounds):
        seconds = {}
        for every in ("1", "1000"):
            with tempfile.TemporaryDirectory() as folder:
                settings = ["--set", "training.epochs=15", "--set", f"training.checkpoint_every={every}"]
                seconds[every] = train(Path(folder), *MNIST, *settings, "--seeds", "1", "--jobs", "1")
        ratios.append(seconds["1"] / seconds["1000"])
    report("a MNIST run with checkpoints / without", ratios, "", 3)


def memory(rounds: int) -> None:
    """Unshared pages of the workers of a MNIST sweep, at their largest."""
    peaks = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            settings = ["--set", "training.epochs=8", "--seeds", "4", "--jobs", "2"]
            done = threading.Thread(target=train, args=(Path(folder), *MNIST, *settings))
            done.start()
            peak = 0.0
            while done.is_alive():
                peak = max([peak, *unshared_of_workers()])
                time.sleep(0.05)
            peaks.append(peak)
    report("unshared pages of a worker", peaks, "MB", 0)


def unshared_of_workers() -> list[float]:
    """MB of private pages of every process that a forkserver below this process started."""
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


def main() -> None:
    measures = {"cores": cores, "tiny": tiny, "checkpoints": checkpoints, "memory": memory}
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(measures))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    if options.data_dir:
        os.environ["BNCOMPARE_DATA"] = str(options.data_dir.absolute())
    print(f"{options.rounds} rounds; median (range)")
    for name in options.names:
        measures[name](options.rounds)


if __name__ == "__main__":
    main()
