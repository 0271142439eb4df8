"""What the commands cost as whole processes: start-up, reading, drawing, memory; rows of a table.

python tests/benchmarks/commands.py [--rounds 5] [--data-dir .data]
"""

import argparse
import os
import pty
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rows import Row, show

CONFIGS = Path(__file__).parents[2] / "configs"
MIB = 1024  # ru_maxrss is in KiB
# As it is installed: with its modules compiled.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def run(*arguments: str) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of `python arguments`."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"python {' '.join(arguments)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / MIB


def bncompare(*arguments: str | Path) -> tuple[float, float]:
    """The same of a command."""
    return run("-m", "bncompare", *map(str, arguments))


def in_turn(rounds: int, ours: list[str], baseline: list[str]) -> tuple[list[float], list[float]]:
    """Seconds of both, after one round of warm-up."""
    pairs = [(run(*ours)[0], run(*baseline)[0]) for _ in range(rounds + 1)][1:]
    return [a for a, _ in pairs], [b for _, b in pairs]


def make_runs(folder: Path, seeds: int) -> None:
    """Run folders of two variants with 50 evaluations each, as training would leave them but for the weights."""
    from bncompare.config.expand import load_experiment
    from bncompare.runs.folder import RunStore

    settings = ["training.epochs=50"]
    for config in load_experiment(CONFIGS / "mnist-mlp.yaml", overrides=settings, seeds=str(seeds)).runs:
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


def seconds_to(*texts: str, command: list[str]) -> list[float]:
    """Seconds from typing a command on a terminal until it has shown each text, when it is ended."""
    started, shown, found = time.perf_counter(), "", list[float]()
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, [sys.executable, "-m", "bncompare", *command], ENVIRONMENT | {"COLUMNS": "200"})
    try:
        while len(found) < len(texts):
            shown += os.read(terminal, 1 << 16).decode(errors="replace")
            while len(found) < len(texts) and texts[len(found)] in shown:
                found.append(time.perf_counter() - started)
    finally:
        os.kill(process, signal.SIGTERM)
        os.close(terminal)
        os.waitpid(process, 0)
    return found


def starting(rounds: int) -> Iterator[Row]:
    """What one waits for before something is to be seen."""
    ours, typer = in_turn(rounds, ["-m", "bncompare", "--help"], ["-c", "import typer"])
    yield Row("`bncompare --help`", ours, "s", "`import typer`", typer, 3)
    bars = list[list[float]]()
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            command = ["train", str(CONFIGS / "mnist-mlp.yaml"), "--runs", folder]
            bars.append(seconds_to("━", "epoch ", command=command))
    all_runs, first_run = zip(*bars[1:], strict=True)
    yield Row("`train mnist-mlp` on a terminal: the bar of all runs", all_runs, "s", goal=2.5)
    yield Row("the bar of its first run, which trains", first_run, "s")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            bncompare("train", CONFIGS / "regression.yaml", "--runs", folder)
        again = [bncompare("train", CONFIGS / "regression.yaml", "--runs", folder)[0] for _ in range(rounds)]
    yield Row("`train` of an experiment that is finished, 12 runs", again, "s", goal=0.5)


def looking(rounds: int) -> Iterator[Row]:
    """Commands that read run folders."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ["--set", "training.eval_every=1", "--seeds", "10", "--runs", folder]
        bncompare("train", CONFIGS / "regression.yaml", *settings)
        times = [bncompare("plot", folder)[0] for _ in range(rounds + 1)][1:]
        yield Row("`plot` of 20 runs with 200 evaluations each", times, "s", goal=2.5)
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), 75)
        times = [bncompare("report", folder, "--html", f"{folder}/page.html")[0] for _ in range(rounds + 1)][1:]
        yield Row("`report --html` of 150 runs with 50 evaluations each", times, "s", goal=3)
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), 500)
        for command in ("list", "report", "plot", "export"):
            costs = [bncompare(command, folder) for _ in range(rounds + 1)][1:]
            yield Row(f"`{command}` of 1,000 runs with 50 evaluations each", [s for s, _ in costs], "s", goal=5)
            yield Row(f"`{command}` of 1,000 runs, at its largest", [m for _, m in costs], "MiB", goal=300)


def memory(rounds: int) -> Iterator[Row]:
    """What a run takes beside PyTorch."""
    for kind in ("none", "batch"):
        above = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                settings = ["--set", f"compare.model.norm=[{kind}]", "--set", "claims=[]", "--no-report"]
                settings += ["--set", "training.epochs=2", "--seeds", "1"]
                peak = bncompare("train", CONFIGS / "mnist-mlp.yaml", *settings, "--runs", folder)[1]
            above.append(peak - run("-c", "import torch")[1])
        yield Row(f"memory of `train mnist-mlp`, norm {kind}, beyond that of `import torch`", above, "MiB", goal=150)


def rows(rounds: int, data_dir: Path | None) -> Iterator[Row]:
    if data_dir:
        ENVIRONMENT["BNCOMPARE_DATA"] = str(data_dir.absolute())
    for part in (starting, looking, memory):
        yield from part(rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    show(rows(options.rounds, options.data_dir))
