"""What the commands cost as whole processes: start-up, plotting, memory; medians of several rounds, in turn.

BNCOMPARE_DATA=.data python tests/benchmarks/commands.py [--rounds 5]
"""

import argparse
import os
import random
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


def make_runs(folder: Path) -> None:
    """1,000 run folders of two variants with 50 rows each, as training would leave them but for the weights."""
    from bncompare.config.expand import load_experiment
    from bncompare.runs.folder import RunStore

    settings = ["training.epochs=50"]
    for config in load_experiment(CONFIGS / "mnist-mlp.yaml", overrides=settings, seeds="500").runs:
        noise = random.Random(f"{config.variant.label} {config.seed}")
        store = RunStore(folder).run(config)
        store.begin({"versions": {}})
        losses = [(2.0 + noise.random()) / (epoch + config.variant.index) for epoch in range(1, 51)]
        rows = []
        for epoch, loss in enumerate(losses, start=1):
            row = {"train/loss": loss, "val/loss": loss + 0.1, "train/accuracy": 1 - loss / 4, "val/accuracy": 0.5}
            rows.append({"epoch": float(epoch), "step": 100 * epoch, **row, "lr": 0.1})
            store.tables.append(float(epoch), 100 * epoch, row | {"lr": 0.1}, 0.5, 100.0)
        best = min(rows, key=lambda row: row["val/loss"])
        ends = {
            "best": {**best, "test/accuracy": noise.random()},
            "last": {**rows[-1], "test/accuracy": noise.random()},
        }
        result = {"status": "completed", "epochs": 50.0, "steps": 5000, **ends, "test": {}}
        store.finish(result, None, b"")


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

    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder))
        reading = f"from pathlib import Path; from bncompare.runs import read_runs; read_runs([Path({folder!r})])"
        times = [run("-c", reading)[0] for _ in range(rounds + 1)][1:]
        report("reading 1,000 runs × 50 rows, start-up included", times, "s", "2.5")
        for command in (["plot"], ["export"], ["report"], ["report", "--html", f"{folder}/page.html"]):
            costs = [run("-m", "bncompare", *command, folder) for _ in range(rounds + 1)][1:]
            name = " ".join(command[:2])
            report(f"bncompare {name}, 1,000 runs × 50 rows", [seconds for seconds, _ in costs], "s", "5")
            report("  peak memory", [memory for _, memory in costs], "MiB", "300")

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
