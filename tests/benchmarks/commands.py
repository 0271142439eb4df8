"""What the commands cost as whole processes: start-up, plotting, memory; medians of several rounds, in turn.

BNCOMPARE_DATA=.data python tests/benchmarks/commands.py [--rounds 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"
MIB = 1024  # ru_maxrss is in KiB


def run(*arguments: str) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of `python arguments`."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"python {' '.join(arguments)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / MIB


def compare(rounds: int, ours: list[str], baseline: list[str]) -> tuple[list[float], list[float]]:
    """Seconds of both, in turn, after one round of warm-up."""
    pairs = [(run(*ours)[0], run(*baseline)[0]) for _ in range(rounds + 1)][1:]
    return [a for a, _ in pairs], [b for _, b in pairs]


def report(what: str, values: list[float], unit: str, limit: str) -> None:
    middle = statistics.median(values)
    print(f"{what:58}{middle:8.2f} {unit:4} ({min(values):.2f}–{max(values):.2f})   limit {limit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{rounds} rounds after a warm-up; median (range)")

    ours, typer = compare(rounds, ["-m", "bncompare", "--help"], ["-c", "import typer"])
    report("bncompare --help / python -c 'import typer'", [a / b for a, b in zip(ours, typer, strict=True)], "×", "3")

    with tempfile.TemporaryDirectory() as folder:
        settings = ["--set", "training.eval_every=1", "--seeds", "10", "--runs", folder]
        run("-m", "bncompare", "train", str(CONFIGS / "regression.yaml"), *settings)
        code = (
            "import sys; from bncompare.cli import app; app(standalone_mode=False); sys.exit('torch' in sys.modules)"
        )
        times = [run("-c", code, "plot", folder)[0] for _ in range(rounds + 1)][1:]
        report("bncompare plot, 20 runs × 200 rows, no torch", times, "s", "2.5")

    baseline = [run("-c", "import torch, torchvision")[1] for _ in range(rounds)]
    for kind in ("none", "batch"):
        with tempfile.TemporaryDirectory() as folder:
            settings = ["--set", f"compare.model.norm=[{kind}]", "--set", "claims=[]", "--set", "training.epochs=2"]
            command = ["-m", "bncompare", "train", str(CONFIGS / "mnist-mlp.yaml"), *settings, "--runs", folder]
            peaks = [run(*command, "--fresh", "--seeds", "1")[1] for _ in range(rounds)]
        above = [a - b for a, b in zip(peaks, baseline, strict=True)]
        report(f"peak memory of mnist-mlp ({kind}) over import torch, torchvision", above, "MiB", "150")


if __name__ == "__main__":
    main()
