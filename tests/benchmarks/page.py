"""docs/performance.md: the table of the other benchmarks, and how to read it.

    python tests/benchmarks/page.py [--rounds 5] [--data-dir .data] > docs/performance.md

Each part is a process of its own, as threads, memory and what is imported are those of a process. Progress is told on
stderr.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from rows import HEADER

HERE = Path(__file__).parent
PARTS = ("training", "sweeps", "commands", "diagnostics")

PAGE = """\
# Performance

What training costs beside loops that are written by hand, what an experiment costs beside its training, and what one
waits for at the terminal; on a CPU. [On a GPU](performance-gpu.md) there is a page of its own.

{table}

Measured on {machine}: {versions}; {date}. Made by

```sh
python tests/benchmarks/page.py > docs/performance.md
```

which took {minutes:.0f} minutes. A single part is `python tests/benchmarks/training.py mnist-mlp`, `sweeps.py tiny`,
`commands.py` or `diagnostics.py`; `norms.py` times each kind of norm alone, beside torch's BatchNorm.

## How to read it

- A value is the median of n rounds. Where it is held against something, each round measures both, one right after the
  other, and the ratio is taken within the round, so that a machine that is slower for a while changes both: below 1
  bncompare is faster. The range is that of the rounds. Without a baseline the range stands behind the value.
- A goal is the most that is wanted: of the ratio, or of the value.
- The *bare loop* is the PyTorch a careful person writes by hand: torch.nn's modules, the same data as float32 in
  memory, the same batches, optimizer, metrics and validation, without diagnostics, checkpoints or files. The
  *tutorial's loop* has a DataLoader, ToTensor and an `.item()` a batch. All train on one thread, of which seconds of
  the processor are counted: those of the clock, but for what else the machine does.
- A run *beyond its training* is what is left of the time of the whole command, its start included, when the time that
  runs say they trained is taken off: processes, folders, files that are there for good after a power cut.
- The commands are whole processes as they are installed, the files they read in the cache of the system.

## What a step is made of

A batch is a gather from images that stay bytes in memory, and their conversion; then come forward, loss, backward,
and an optimizer that updates all parameters in a few calls. Metrics are added up as tensors and read once an epoch;
the loss alone is read at every step, where that costs nothing, on a CPU, to end a run that diverges. In a small
model such as the MLP a step is about as much time of calls into torch as of arithmetic, so that what is saved is
calls. In LeNet nearly all is arithmetic: convolutions, most of all their backward pass, then pooling, activations
and BatchNorm, each of which reads and writes all of a batch's activations. BatchNorm goes over them twice forward
and twice backward, which is why it costs more in convolutional than in dense layers. An evaluation is a forward
pass in larger batches.

## What an experiment is made of

PyTorch takes {torch:.1f} s to import here, once in the command and at the same time in the server that workers are
forked from. A worker trains one run after the other and reads a dataset once. Of several runs at a time the longest
start first, by steps × parameters. The command alone writes files, most of whose time is the disk's: what a run
cannot do without is on it for good before `result.json` says that the run is finished. Checkpoints go when a run
ends, unless `--keep-checkpoints`. Whatever only looks at runs imports no PyTorch, and draws only where there is
something new.
"""


def table_rows(part: str, rounds: int, data_dir: Path | None) -> list[str]:
    """What a part prints below its header."""
    command = [sys.executable, str(HERE / f"{part}.py"), "--rounds", str(rounds)]
    command += ["--data-dir", str(data_dir)] if data_dir else []
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    print(printed, file=sys.stderr, flush=True)
    return printed.removeprefix(f"{HEADER}\n").splitlines()


def seconds_of_torch() -> float:
    code = "import time; t = time.perf_counter(); import torch; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC)
    rows = [row for part in PARTS for row in table_rows(part, options.rounds, options.data_dir)]
    minutes = (datetime.datetime.now(datetime.UTC) - started).total_seconds() / 60
    print(
        PAGE.format(
            table="\n".join([HEADER, *rows]),
            machine=f"{os.cpu_count()} cores ({platform.machine()}, {platform.system()})",
            versions=f"Python {platform.python_version()}, torch {version('torch').partition('+')[0]}",
            date=f"{started:%Y-%m-%d}",
            minutes=max(1, minutes),
            torch=seconds_of_torch(),
        ),
        end="",
    )


if __name__ == "__main__":
    main()
