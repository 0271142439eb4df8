"""What tests of several packages begin from: the repository, runs of a config, the command line."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bncompare import cli
from bncompare.config import RunConfig, load_experiment

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


def spawn(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`bncompare …` as people call it."""
    command = [sys.executable, "-m", "bncompare", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def run_of(config: str, *overrides: str, norm: str | None = None) -> RunConfig:
    """The first run of one of `configs/`, with the norm as its only variant if it is given."""
    settings = [f"compare.model.norm=[{norm}]"] * (norm is not None)
    return load_experiment(CONFIGS / config, overrides=[*settings, *overrides], seeds="1").runs[0]


def cells(text: str) -> list[list[str]]:
    """The cells of each line of a table; widths and the line under the header left out."""
    lines = [line.strip() for line in text.splitlines()]
    return [re.split(r" {2,}", line) for line in lines if line and set(line) != {"─"}]


def strict(text: str) -> Any:
    """The one JSON document in a text, without the NaN and Infinity that only Python reads."""

    def reject(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=reject)
