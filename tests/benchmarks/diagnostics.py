"""What diagnostics cost on the MNIST MLP: epochs with them against epochs without; rows of a table.

    python tests/benchmarks/diagnostics.py [--rounds 9] [--data-dir .data]

Each round trains an epoch without and with each probe, in turn in one process; the ratio is taken within the round.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from rows import Row, show

from bncompare.config.expand import load_experiment
from bncompare.datasets import MNIST, Pool
from bncompare.training.data import load_dataset
from bncompare.training.loop import train

CONFIG = Path(__file__).parents[2] / "configs" / "mnist-mlp.yaml"
CPU = torch.device("cpu")
CHEAP = "activations: true, gradients: true, norm_parameters: true, running_statistics: true, train_eval_gap: true"
PROBES = {
    "none": "",
    "the five cheap diagnostics": CHEAP,
    "landscape": "landscape: [0.5, 4]",
    "covariate_shift": "covariate_shift: true",
}


def epochs(probes: str, kind: str, rounds: int, pool: Pool) -> Iterator[float]:
    """Seconds of each epoch, its evaluation included."""
    settings = [f"compare={{model.norm: [{kind}]}}", f"training.epochs={rounds + 1}", "claims=[]"]
    settings += ["training.early_stopping=null", f"diagnostics={{{probes}}}"]
    (run,) = load_experiment(CONFIG, overrides=settings, seeds="1").runs
    for record in train(run, load_dataset(run, pool), CPU):
        yield record.seconds


def rows(rounds: int, data_dir: Path | None) -> Iterator[Row]:
    torch.set_num_threads(1)
    pool = MNIST(name="mnist").read(data_dir, download=True)
    for kind in ("none", "batch"):
        running = {name: epochs(probes, kind, rounds, pool) for name, probes in PROBES.items()}
        measured = [{name: next(loop) for name, loop in running.items()} for _ in range(rounds + 1)][1:]
        without = [each["none"] for each in measured]
        for name in list(PROBES)[1:]:
            seconds = [each[name] for each in measured]
            yield Row(f"an epoch of mnist-mlp, norm {kind}, with {name}", seconds, "s", "without", without)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    show(rows(options.rounds, options.data_dir))
