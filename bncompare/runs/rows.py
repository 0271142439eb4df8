"""Runs as tidy rows, for Python and as CSV."""

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from bncompare.config import setting_value
from bncompare.errors import printable
from bncompare.runs.experiments import settings_of
from bncompare.runs.read import LoadedRun, available_metrics


def rows_of(runs: Sequence[LoadedRun]) -> Iterator[dict[str, Any]]:
    """A row per run, evaluation and metric.

    Keys: experiment, variant, seed, status; the settings that variants set, by dotted key (a norm with options
    as text, None where a variant leaves it as it is); epoch, step, metric, value. Test metrics have the rows of
    the best and the last evaluation.
    """
    for run, about in _told(runs):
        for metric, values in run.metrics.items():
            if metric not in ("epoch", "step"):
                for epoch, step, value in zip(run.metrics["epoch"], run.metrics["step"], values, strict=True):
                    yield about | {"epoch": epoch, "step": int(step), "metric": metric, "value": value}
        for position, tests in _tests(run).items():
            for metric, value in tests.items():
                yield about | {"epoch": position[0], "step": position[1], "metric": metric, "value": value}


def evaluations_of(runs: Sequence[LoadedRun]) -> Iterator[dict[str, Any]]:
    """A row per run and evaluation, likewise, with a key for each metric."""
    for run, about in _told(runs):
        tests = {step: values for (_, step), values in _tests(run).items()}
        for values in zip(*run.metrics.values(), strict=True):
            row = dict(zip(run.metrics, values, strict=True))
            row["step"] = int(row["step"])
            yield about | row | tests.get(row["step"], {})


def measurements_of(runs: Sequence[LoadedRun]) -> Iterator[dict[str, Any]]:
    """A row per run, evaluation, layer and quantity of its diagnostics, likewise, with their value."""
    for run, about in _told(runs):
        for row in run.diagnostics:
            yield about | dataclasses.asdict(row) | {"step": int(row.step)}


def _told(runs: Sequence[LoadedRun]) -> Iterator[tuple[LoadedRun, dict[str, Any]]]:
    """Each run with what tells it from the others."""
    keys = list(dict.fromkeys(key for run in runs for key in settings_of(run)))
    for run in runs:
        settings = settings_of(run)
        about = {"experiment": run.experiment, "variant": run.label, "seed": run.seed, "status": run.status}
        yield run, about | {key: _scalar(key, settings.get(key)) for key in keys}


def _tests(run: LoadedRun) -> dict[tuple[float, int], dict[str, float]]:
    """Test metrics by (epoch, step): of the best evaluation and of the last, which may be the same."""
    found = {}
    for number in (run.best, run.last):
        epoch, step = number("epoch"), number("step")
        tests = {name: value for name in available_metrics(run) if (value := number(name)) is not None}
        if epoch is not None and step is not None:
            found[epoch, int(step)] = {name: value for name, value in tests.items() if name.startswith("test/")}
    return found


def _scalar(key: str, value: Any) -> Any:
    return setting_value(key, value) if isinstance(value, dict | list) else value


COLUMNS = ["experiment", "variant", "seed", "status", "epoch", "step", "metric", "value"]
DIAGNOSTIC_COLUMNS = [*COLUMNS[:6], "layer", "quantity", "value"]
# How text begins that a spreadsheet would execute; also after what it may take for the end of a cell.
FORMULA = re.compile(r"(^|[;,\t])(?=[=+\-@＝＋－＠])")


def csv_lines(runs: Sequence[LoadedRun], *, diagnostics: bool = False) -> Iterator[str]:
    """A header and `rows_of` some runs, or `measurements_of` them, as CSV; floats as exact as they were read."""
    rows = measurements_of(runs) if diagnostics else rows_of(runs)
    first = next(rows, None)
    columns = DIAGNOSTIC_COLUMNS if diagnostics else COLUMNS
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns if first is None else list(first), lineterminator="\n")
    writer.writeheader()
    for row in itertools.chain([] if first is None else [first], rows):
        writer.writerow({name: _cell(value) for name, value in row.items()})
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    """Text that shows all it holds, which may go to a terminal, and that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    return FORMULA.sub(r"\1'", printable(value))
