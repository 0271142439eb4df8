"""Runs as text: tables for a terminal, plain lines for a pipe."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from bncompare.comparison import Finding, summarize
from bncompare.config import dump_yaml
from bncompare.errors import printable
from bncompare.norms import NoNorm, Norm
from bncompare.report.table import print_table
from bncompare.runs import Diagnostic, LoadedRun

MAX_VALUES_SHOWN = 8  # of γ and β
MAX_LAYERS_SHOWN = 8  # of diagnostics, side by side


def print_summary(name: str, runs: Sequence[LoadedRun]) -> None:
    """variant × (best validation loss, last training loss, test metric, epochs, seconds), mean ± sd over seeds.

    Runs that diverged, failed or are not finished are counted, and in no mean.
    """
    metrics = next((list(run.metrics) for run in runs if run.metrics), [])
    loss = "val/loss" if "val/loss" in metrics else "train/loss"
    test = "test/accuracy" if "train/accuracy" in metrics else "test/loss"
    columns: dict[str, tuple[Callable[[LoadedRun], float | None], int]] = {  # value of a run, digits
        f"best {loss}": (lambda run: run.best(loss), 4),
        "last train/loss": (lambda run: run.last("train/loss"), 4),
        f"{test} of best": (lambda run: run.best(test), 4),
        "of last": (lambda run: run.last(test), 4),
        "epochs": (_length, 1),
        "seconds": (lambda run: run.seconds, 1),
    }
    rows = []
    for variant in dict.fromkeys(run.variant for run in runs):
        members = [run for run in runs if run.variant == variant]
        ended = [run for run in members if run.status in ("completed", "stopped_early")]
        numbers = [_mean_sd(map(of_run, ended), len(members), digits) for of_run, digits in columns.values()]
        rows.append([variant, str(len(members)), *numbers, _statuses(members)])
    names = ["variant", "seeds", *columns, "runs"]
    print_table(names, rows, right={"seeds", *columns}, title=f"{name} (mean ± sd over seeds)")


def print_findings(title: str, findings: Sequence[Finding]) -> None:
    """Each claim with its verdict and the numbers that decide it."""
    print(f"{printable(title)}:")
    for finding in findings:
        print(f"  {finding.verdict.upper()}: {printable(finding.claim.statement)}")
        for reason in finding.reasons:
            print(f"    {printable(reason)}")
    print()


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


REPRODUCED = ("experiment", "claim", "published", "measured (95 % interval)", "verdict")


def reproduced_cells(row: dict[str, Any]) -> list[str]:
    """A claim of a published result, as `reproduce` shows it."""
    measured = "no value"
    if row["mean"] is not None:
        level = "" if row["confidence"] == 0.95 else f", {100 * row['confidence']:.0f} %"
        interval = f" ({row['low']:.3g} to {row['high']:.3g}{level})" if row["low"] is not None else ""
        kind = "difference " if row["is_difference"] else ""
        measured = f"{row['metric'].removeprefix('diagnostics/')}: {kind}{row['mean']:.3g}{interval}, n = {row['n']}"
    measured = "; ".join([measured, *row["missing"]])
    return [row["experiment"], row["statement"], row["published"] or "", measured, row["verdict"]]


def print_verified(verified: Sequence[dict[str, Any]]) -> None:
    """A line per retrained run: whether its bytes came out again."""
    rows = []
    for item in verified:
        notes = [f"not compared: {', '.join(item['missing'])}"] if item["missing"] else []
        if item["elsewhere"]:
            notes.append(f"trained elsewhere: {'; '.join(item['elsewhere'])}")
        verdict = "identical" if item["identical"] else "NOT RETRAINED" if item["problem"] else "DIFFERENT"
        if item["problem"]:
            notes.append(item["problem"])
        files = item["same"] if item["identical"] or item["problem"] else item["different"] or item["missing"]
        rows.append([item["path"], verdict, ", ".join(files), "; ".join(notes)])
    print_table(["run", "", "files", "notes"], rows)
    identical = sum(item["identical"] for item in verified)
    print(f"{identical} of {len(verified)} runs reproduced to the byte")


def print_run(run: LoadedRun, norms: dict[str, dict[str, Any]]) -> None:
    """Config, metrics at the best and the last evaluation, and γ, β of each norm layer."""
    print(f"{printable(str(run.path))}\nstatus: {run.status}\n")
    config = dump_yaml({key: value for key, value in run.config.items() if key != "claims"})
    print("\n".join(map(printable, config.split("\n"))))
    # JSON has no NaN: what a diverged run ended with is in metrics.csv.
    ended = {name: column[-1] for name, column in run.metrics.items() if column and run.result}
    best, last = (run.result.best, run.result.last) if run.result else (None, None)
    evaluations = {"best": best or {}, "last": (last or {}) | ended}
    names = list(dict.fromkeys(name for values in evaluations.values() for name in values))
    rows = [[name, *(_value(values.get(name)) for values in evaluations.values())] for name in names]
    if rows:
        print_table(["metric", "best", "last"], rows, right={"best", "last"})
    elif run.metrics["step"]:
        rows = [[name, _value(column[-1])] for name, column in run.metrics.items()]
        print_table(["metric", "so far"], rows, right={"so far"})
    if run.result and run.result.error:
        print(f"error: {printable(run.result.error)}")
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


def print_diagnostics(rows: Sequence[Diagnostic]) -> None:
    """The last value of each quantity, a column a layer; single values of γ and β left out."""
    last = {(row.quantity, row.layer): row.value for row in rows if "[" not in row.quantity}
    layers = list(dict.fromkeys(layer for _, layer in last))
    for start in range(0, len(layers), MAX_LAYERS_SHOWN):
        chosen = layers[start : start + MAX_LAYERS_SHOWN]
        names = dict.fromkeys(quantity for quantity, layer in last if layer in chosen)
        cells = [[name, *(_value(last.get((name, layer)), 4) for layer in chosen)] for name in names]
        print_table(["diagnostics, last", *chosen], cells, right=set(chosen))


@dataclass(frozen=True)
class NormReference:
    """What there is to say about a kind of norm; for the terminal, JSON and the README."""

    kind: str
    summary: str
    formula: str
    axes: str
    options: list[tuple[str, str, str]]
    """(name, default, meaning)"""

    @property
    def options_line(self) -> str:
        """`eps 1e-05, momentum 0.1, …`, without those that every norm has."""
        shared = Norm.model_fields.keys() | {"placement"}
        return ", ".join(f"{name} {default}" for name, default, _ in self.options if name not in shared)


def norm_reference(norm: type[NoNorm] | type[Norm]) -> NormReference:
    """A kind's documentation, from its class."""
    (kind,) = get_args(norm.model_fields["kind"].annotation)
    options = [
        (name, _default(field.default), " ".join((field.description or "").split()))
        for name, field in norm.model_fields.items()
        if name != "kind"
    ]
    return NormReference(kind, " ".join((norm.__doc__ or "").split()), norm.formula, norm.axes, options)


def print_norm(norm: NormReference) -> None:
    """One kind, whole."""
    print(f"{norm.kind}: {norm.summary}\n\n    {norm.formula}\n\nstatistics over: {norm.axes}")
    if norm.options:
        print_table(["option", "default", "meaning"], norm.options)


def print_layers(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """A model's layers, with their totals; what is trained where that is not all."""
    numbers = {"parameters": "parameters", "trained": "trained", "multiply_adds": "multiply-adds"}
    if all(row["trained"] == row["parameters"] for row in rows):
        del numbers["trained"]
    cells = [
        [row["name"], row["kind"], " × ".join(map(str, row["output_shape"])), *(f"{row[name]:,}" for name in numbers)]
        for row in rows
    ]
    totals = [f"{sum(row[name] for row in rows):,}" for name in numbers]
    columns = ["layer", "kind", "output", *numbers.values()]
    print_table(columns, [*cells, ["total", "", "", *totals]], right=set(numbers.values()), title=title)


def _default(value: Any) -> str:
    return dump_yaml(value).removesuffix("...\n").strip()


def _length(run: LoadedRun) -> float:
    return run.metrics["epoch"][-1] if run.metrics["epoch"] else 0.0


def _value(value: Any, digits: int = 6) -> str:
    return f"{value:.{digits}g}" if isinstance(value, int | float) else "–"


def _mean_sd(values: Iterable[float | None], num_runs: int, digits: int) -> str:
    """`mean ± sd`, of the values there are, with their number where it is not that of the runs."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return "–"
    summary = summarize(known)
    spread = "" if summary.n == 1 else f" ± {summary.sd:.{digits}f}"
    missing = f" (n={summary.n})" if summary.n < num_runs else ""
    return f"{summary.mean:.{digits}f}{spread}{missing}"


def _statuses(runs: Sequence[LoadedRun]) -> str:
    """`2 completed, 1 diverged`"""
    counts = {status: sum(run.status == status for run in runs) for status in sorted({run.status for run in runs})}
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())
