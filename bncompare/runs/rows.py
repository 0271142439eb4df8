"""Runs as tidy rows, for Python and as CSV."""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from bncompare.config import setting_value
from bncompare.errors import UserError, printable
from bncompare.runs.experiments import settings_of
from bncompare.runs.read import LoadedRun, available_metrics, read_runs

if TYPE_CHECKING:
    import pandas


class Runs(Sequence[LoadedRun]):
    """Runs in the order of their config, and the warnings of those that could not be read."""

    def __init__(self, runs: Sequence[LoadedRun], warnings: Sequence[str] = ()) -> None:
        self._runs = list(runs)
        self.warnings = list(warnings)

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> LoadedRun: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "LoadedRun | Runs":
        return Runs(self._runs[index], self.warnings) if isinstance(index, slice) else self._runs[index]

    def __repr__(self) -> str:
        experiments = ", ".join(dict.fromkeys(run.experiment for run in self))
        return f"<{len(self)} runs: {experiments}>"

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per run, evaluation and metric.

        Keys: experiment, variant, seed, status; the settings that variants set, by dotted key (a norm with options
        as text, None where a variant leaves it as it is); epoch, step, metric, value. Test metrics have the rows of
        the best and the last evaluation.
        """
        keys = list(dict.fromkeys(key for run in self for key in settings_of(run)))
        for run in self:
            settings = settings_of(run)
            about = {"experiment": run.experiment, "variant": run.label, "seed": run.seed, "status": run.status}
            about |= {key: _scalar(key, settings.get(key)) for key in keys}
            for metric, values in run.metrics.items():
                if metric not in ("epoch", "step"):
                    for epoch, step, value in zip(run.metrics["epoch"], run.metrics["step"], values, strict=True):
                        yield about | {"epoch": epoch, "step": int(step), "metric": metric, "value": value}
            for position, tests in _tests(run).items():
                for metric, value in tests.items():
                    yield about | {"epoch": position[0], "step": position[1], "metric": metric, "value": value}

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows as a DataFrame. Raises ImportError without pandas, which bncompare does not install."""
        try:
            import pandas
        except ImportError:
            raise ImportError("Runs.to_pandas() needs pandas: pip install pandas") from None
        return pandas.DataFrame.from_records(list(self.rows()))


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


def load_runs(*paths: str | Path) -> Runs:
    """All runs at or below some folders.

    Raises UserError for no path, and for one that does not exist, holds no run, or is not a path at all.
    """
    if not paths:
        raise UserError("load_runs() needs a folder of runs, as load_runs('runs')")
    for path in paths:
        if not isinstance(path, str | PathLike):
            raise UserError(f"{path!r}: is not a path; load_runs takes each as an argument of its own")
    runs, warnings = read_runs([Path(path) for path in paths])
    return Runs(runs, warnings)


COLUMNS = ["experiment", "variant", "seed", "status", "epoch", "step", "metric", "value"]
# How text begins that a spreadsheet would execute; also after what it may take for the end of a cell.
FORMULA = re.compile(r"(^|[;,\t])(?=[=+\-@＝＋－＠])")


def csv_lines(runs: Runs) -> Iterator[str]:
    """A header and `runs.rows()` as CSV: a line per run, evaluation and metric; floats as exact as they were read."""
    rows = runs.rows()
    first = next(rows, None)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS if first is None else list(first), lineterminator="\n")
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
