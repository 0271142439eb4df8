"""Runs as text: tables for a terminal, plain lines for a pipe."""

import math
import sys
from collections.abc import Sequence, Set
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bncompare.config import strict_yaml
from bncompare.statistics import summarize
from bncompare.store import LoadedRun

MAX_VALUES_SHOWN = 8  # of γ and β
PIPE_WIDTH = 200  # columns, where the output is not a terminal


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Set[str] = frozenset(), title: str | None = None
) -> None:  # fmt: skip
    """A table on stdout; `right` names the columns of numbers."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, title=title and Text(title), title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(Text(name), justify="right" if name in right else "left", no_wrap=name in right)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_summary(name: str, runs: Sequence[LoadedRun]) -> None:
    """variant × (best validation loss, last training loss, test metric, epochs, seconds), mean ± sd over seeds."""
    metrics = next((list(run.metrics) for run in runs if run.metrics), [])
    loss = "val/loss" if "val/loss" in metrics else "train/loss"
    test = "test/accuracy" if "train/accuracy" in metrics else "test/loss"
    rows = []
    for variant in dict.fromkeys(run.variant for run in runs):
        members = [run for run in runs if run.variant == variant]
        finished = [run for run in members if run.result and run.status != "failed"]
        rows.append(
            [
                variant,
                str(len(members)),
                _mean_sd([run.best(loss) for run in finished], 4),
                _mean_sd([run.last("train/loss") for run in finished], 4),
                _mean_sd([run.best(test) for run in finished], 4),
                _mean_sd([run.last(test) for run in finished], 4),
                _mean_sd([_length(run) for run in finished], 1),
                _mean_sd([run.seconds for run in finished], 1),
                _statuses(members),
            ]
        )
    columns = ["variant", "seeds", f"best {loss}", "last train/loss"]
    columns += [f"{test} of best", "of last", "epochs", "seconds", "runs"]
    print_table(columns, rows, right=set(columns) - {"variant", "runs"}, title=f"{name} (mean ± sd over seeds)")


def print_runs(runs: Sequence[LoadedRun]) -> None:
    """A line per run."""
    rows = [
        [
            run.experiment,
            run.variant,
            str(run.seed),
            run.status,
            f"{_length(run):g}",
            _value(run.best("val/loss" if "val/loss" in run.metrics else "train/loss")),
            _value(run.best("test/accuracy" if "train/accuracy" in run.metrics else "test/loss")),
            run.path.name,
        ]
        for run in runs
    ]
    columns = ["experiment", "variant", "seed", "status", "epochs", "best loss", "test", "folder"]
    print_table(columns, rows, right={"seed", "epochs", "best loss", "test"})


def print_run(run: LoadedRun, norms: dict[str, dict[str, Any]]) -> None:
    """Config, metrics at the best and the last evaluation, and γ, β of each norm layer."""
    print(f"{run.path}\nstatus: {run.status}\n")
    print(strict_yaml.dump({key: value for key, value in run.config.items() if key != "claims"}))
    result = run.result or {}
    evaluations = {"best": result.get("best") or {}, "last": result.get("last") or {}}
    names = list(dict.fromkeys(name for values in evaluations.values() for name in values))
    rows = [[name, *(_value(values.get(name)) for values in evaluations.values())] for name in names]
    if rows:
        print_table(["metric", "best", "last"], rows, right={"best", "last"})
    elif run.metrics["step"]:
        rows = [[name, _value(column[-1])] for name, column in run.metrics.items()]
        print_table(["metric", "so far"], rows, right={"so far"})
    if "error" in result:
        print(f"error: {result['error']}")
    if not norms:
        return
    rows = []
    for layer, values in norms.items():
        for quantity, symbol in (("weight", "γ"), ("bias", "β")):
            if quantity in values:
                flat = values[quantity].ravel()
                head = " ".join(f"{value:.3f}" for value in flat[:MAX_VALUES_SHOWN])
                more = " …" if flat.size > MAX_VALUES_SHOWN else ""
                statistics = [f"{x:.4f}" for x in (flat.mean(), flat.min(), flat.max())]
                rows.append([layer, symbol, str(flat.size), *statistics, head + more])
    columns = ["layer", "", "size", "mean", "min", "max", "values (best weights)"]
    print_table(columns, rows, right={"size", "mean", "min", "max"})


def _length(run: LoadedRun) -> float:
    return run.metrics["epoch"][-1] if run.metrics["epoch"] else 0.0


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else "–"


def _mean_sd(values: Sequence[float | None], digits: int) -> str:
    """`mean ± sd`, of the values there are."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return "–"
    summary = summarize(known)
    spread = "" if summary.n == 1 else f" ± {summary.sd:.{digits}f}"
    missing = f" (n={summary.n})" if summary.n < len(values) else ""
    return f"{summary.mean:.{digits}f}{spread}{missing}"


def _statuses(runs: Sequence[LoadedRun]) -> str:
    """`2 completed, 1 diverged`"""
    counts = {status: sum(run.status == status for run in runs) for status in sorted({run.status for run in runs})}
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())
