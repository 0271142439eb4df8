"""What tests of several packages begin from: the repository, runs of a config, the command line."""

import contextlib
import dataclasses
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bncompare import cli
from bncompare.comparison import Ask, Comparison, compare_experiment, one_experiment
from bncompare.config import RunConfig, load_experiment
from bncompare.norms import NORMS
from bncompare.runs import LoadedRun, Result

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
EXAMPLE = ROOT / "runs" / "example"

TINY = """\
name: tiny
seeds: 2
data: {name: random_regression, samples: 32, test_samples: 16, features: 3, validation: 8}
model: {name: mlp, hidden: [4]}
training: {epochs: 2, batch_size: 8, device: cpu, optimizer: {name: adam, lr: 0.01}}
compare: {model.norm: [none, batch]}
"""


# A class that is written in the program that trains: in a script, or in a cell.
OWN_NORM = """\
from typing import Literal
from bncompare.norms import NORMS, ActivationNorm
class MyNorm(ActivationNorm):
    kind: Literal["mine"]
    formula, axes = "y = x", "nothing"
    def build(self, shape):
        from torch import nn
        return nn.Identity()
NORMS.add(MyNorm)
"""


@dataclass(frozen=True)
class Ended:
    """What a call left."""

    code: int
    out: str
    err: str


def call(*arguments: str | Path, presets: Path | None = None) -> Ended:
    """`bncompare …` in this process, with neither stdout nor stderr a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as raised:
        cli.main([str(argument) for argument in arguments], presets)
    assert raised.value.code is None or isinstance(raised.value.code, int)
    return Ended(raised.value.code or 0, out.getvalue(), err.getvalue())


def spawn(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`bncompare …` as people call it."""
    command = [sys.executable, "-m", "bncompare", *map(str, arguments)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def run_of(config: str, *overrides: str, norm: str | None = None) -> RunConfig:
    """The first run of one of `configs/`, with the norm as its only variant if it is given."""
    settings = [f"compare.model.norm=[{norm}]"] * (norm is not None)
    return load_experiment(CONFIGS / config, overrides=[*settings, *overrides], seeds="1").runs[0]


def fits(kind: str, *shape: int, batch_size: int = 8) -> bool:
    """Whether a kind of norm, with its usual options, can be in a place with this shape of an example."""
    return kind == "none" or NORMS[kind](kind=kind).problem(shape, batch_size) is None


def cells(text: str) -> list[list[str]]:
    """The cells of each line of a table; widths and the line under the header left out."""
    lines = [line.strip() for line in text.splitlines()]
    return [re.split(r" {2,}", line) for line in lines if line and set(line) != {"─"}]


def strict(text: str) -> Any:
    """The one JSON document in a text, without the NaN and Infinity that only Python reads."""

    def reject(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=reject)


def loaded_run(
    variant: str = "none",
    seed: int = 0,
    losses: Sequence[float] = (9.0, 0.5),
    status: str = "completed",
    *,
    every: int = 1,
    settings: dict[str, Any] | None = None,
    validation: float | str = 0.2,
    **config: Any,
) -> LoadedRun:
    """A run with an evaluation `every` so many epochs, of ten steps and half a second each.

    Training and validation loss are the same, the accuracy of validation is 1 − loss, and the test's are 0.01 worse.
    The best evaluation is that of the least loss; a loss that is not finite leaves none. Without `settings` the
    variant is that of a norm.
    """
    numbers = range(1, len(losses) + 1)
    metrics = {"epoch": [float(every * i) for i in numbers], "step": [10.0 * every * i for i in numbers]}
    metrics["train/loss"] = list(losses)
    if validation != 0:
        metrics |= {"val/loss": list(losses), "val/accuracy": [1 - x for x in losses]}

    def end(i: int) -> dict[str, float]:
        if not all(map(math.isfinite, losses)):
            return {}
        test = {"test/loss": losses[i] + 0.01, "test/accuracy": 0.99 - losses[i]}
        return {name: column[i] for name, column in metrics.items()} | test

    result = {"status": status, "best": end(list(losses).index(min(losses))), "last": end(-1)}
    settings = {"model.norm": variant} if settings is None else settings
    resolved: dict[str, Any] = {
        "name": "x",
        "variant": {"label": variant, "settings": settings, "index": 0},
        "seeds": [seed],
        "data": {"name": "mnist", "validation": validation},
        "model": {"norm": {"kind": str(settings.get("model.norm", "none"))}, "activation": "relu"},
        "training": {"optimizer": {"lr": settings.get("training.optimizer.lr", 0.1)}, "monitor": "val/loss"},
    }
    return LoadedRun(
        Path(f"runs/x/{variant}-{seed}"),
        "x",
        variant,
        0,
        seed,
        resolved | config,
        metrics,
        1.0,
        Result.model_validate(result) if status != "unfinished" else None,
        [0.5 * epoch for epoch in metrics["epoch"]],
    )


def variants(**of: Sequence[float | str]) -> list[LoadedRun]:
    """Runs of several norms: for each seed its loss at the end, or how it ended without one."""
    return [
        loaded_run(name, seed, (9.0, math.nan), value)
        if isinstance(value, str)
        else loaded_run(name, seed, (9.0, value))
        for name, values in of.items()
        for seed, value in enumerate(values)
    ]


def compare(runs: Sequence[LoadedRun], metric: str | Sequence[str] | None = None, **asked: Any) -> Comparison:
    """The comparison of the runs of one experiment; the others are the fields of `Ask`."""
    return compare_experiment(one_experiment(runs), Ask([metric] if isinstance(metric, str) else metric, **asked))


def looked_at(runs: Sequence[LoadedRun]) -> list[LoadedRun]:
    """The same runs, of a design of seeds until it is decided."""
    design = {"until": "decided"}
    return [dataclasses.replace(run, config=run.config | {"design": design}) for run in runs]


TIMED = ("timing.csv", "environment.json", "checkpoint.pt")  # which hold times


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder that must be the same to the byte."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# ---------------------------------------------------------------- what may lie where a run's file should


def link(path: Path, to: Path | str | None = None) -> None:
    """The file, beside the folder of all runs, and a link to it; or a link to somewhere else."""
    target = path.parents[3] / f"elsewhere-{path.name}"
    path.rename(target)
    path.symlink_to(to or target)


def dangling_link(path: Path) -> None:
    """A link to where nothing is."""
    link(path, to=path.parents[3] / "nowhere")


def device(path: Path) -> None:
    """A link to a device without an end."""
    link(path, to="/dev/zero")


def pipe(path: Path) -> None:
    """A pipe that nobody writes into."""
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    """A folder."""
    path.unlink()
    path.mkdir()


ODD_FILES = {"link": link, "dangling link": dangling_link, "device": device, "pipe": pipe, "folder": directory}
