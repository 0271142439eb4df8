"""What diagnostics cost on the MNIST MLP: the share of an epoch, and of the expensive ones the training steps.

    python tests/benchmarks/diagnostics.py [--rounds 9] [--data-dir .data]

Each round trains an epoch without and with each probe, in turn in one process; the ratio is taken within the round.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch

from bncompare.config.expand import load_experiment
from bncompare.datasets import MNIST, Pool
from bncompare.training.data import load_dataset
from bncompare.training.loop import train

CONFIG = Path(__file__).parents[2] / "configs" / "mnist-mlp.yaml"
CPU = torch.device("cpu")
CHEAP = "activations: true, gradients: true, norm_parameters: true, running_statistics: true, train_eval_gap: true"
PROBES = {"none": "", "cheap": CHEAP, "landscape": "landscape: [0.5, 4]", "covariate_shift": "covariate_shift: true"}


def epochs(probes: str, kind: str, rounds: int, pool: Pool) -> Iterator[tuple[float, float]]:
    """Seconds of each epoch, its evaluation included, and of a step in it."""
    settings = [f"compare={{model.norm: [{kind}]}}", f"training.epochs={rounds + 1}", "claims=[]"]
    settings += ["training.early_stopping=null", f"diagnostics={{{probes}}}"]
    (run,) = load_experiment(CONFIG, overrides=settings, seeds="1").runs
    for record in train(run, load_dataset(run, pool), CPU):
        yield record.seconds, run.batch_size / record.examples_per_second


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pool = MNIST(name="mnist").read(options.data_dir, download=True)
    print(f"{options.rounds} rounds after a warm-up, 1 thread; median (range)")
    for kind in ("none", "batch"):
        running = {name: epochs(probes, kind, options.rounds, pool) for name, probes in PROBES.items()}
        rounds = [{name: next(loop) for name, loop in running.items()} for _ in range(options.rounds + 1)][1:]
        for name in PROBES:
            ratios = [each[name][0] / each["none"][0] for each in rounds]
            steps = [(each[name][0] - each["none"][0]) / each["none"][1] for each in rounds]
            print(
                f"{kind:8}{name:18}{statistics.median(each[name][0] for each in rounds):6.2f} s an epoch, "
                f"{statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f}) of one without, "
                f"{statistics.median(steps):.0f} steps",
                flush=True,
            )


if __name__ == "__main__":
    main()
