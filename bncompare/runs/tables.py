"""metrics.csv, timing.csv and diagnostics.csv: their lines as a run writes them, parsed and checked when read."""

import io
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bncompare.config import MAX_TABLE_BYTES
from bncompare.runs.files import MISSING, read_text
from bncompare.runs.layout import COLUMN, MAX_COLUMNS, MAX_NUMBER, MEASURED

TIMING_HEADER = "epoch,step,seconds,examples_per_second\n"
DIAGNOSTICS_HEADER = "epoch,step,layer,quantity,value\n"


@dataclass
class Tables:
    """The tables of a run so far, line by line: what its files hold, and its checkpoint carries."""

    header: str
    """of metrics.csv: a run's data decides which metrics there are"""
    metrics: list[str] = field(default_factory=list)
    timing: list[str] = field(default_factory=list)
    diagnostics: list[str] = field(default_factory=list)

    def append(
        self, epoch: float, step: int, metrics: Mapping[str, float], seconds: float, examples_per_second: float
    ) -> None:
        """Add an evaluation: floats as exact as they are, times rounded."""
        values = [repr(metrics[name]) for name in self.header.rstrip().split(",")[2:]]
        self.metrics.append(",".join([f"{epoch:.10g}", str(step), *values]) + "\n")
        self.timing.append(f"{epoch:.10g},{step},{seconds:.6f},{examples_per_second:.1f}\n")

    def append_diagnostics(self, epoch: float, step: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Add (layer, quantity, value) measured at an evaluation."""
        self.diagnostics += [f"{epoch:.10g},{step},{layer},{name},{value!r}\n" for layer, name, value in rows]

    def files(self) -> dict[str, str]:
        """The text of each file by name; metrics.csv last, as a folder that has it is read."""
        files = {"timing.csv": "".join([TIMING_HEADER, *self.timing])}
        if self.diagnostics:
            files["diagnostics.csv"] = "".join([DIAGNOSTICS_HEADER, *self.diagnostics])
        return files | {"metrics.csv": "".join([self.header, *self.metrics])}

    def columns(self) -> dict[str, list[float]]:
        """The columns of metrics.csv."""
        return parse_metrics(self.files()["metrics.csv"])

    def lines(self) -> dict[str, list[str]]:
        """The lines without their headers, as a checkpoint carries them."""
        return {"metrics": self.metrics, "timing": self.timing, "diagnostics": self.diagnostics}

    def check(self) -> None:
        """Raises ValueError if a line, wherever it came from, is none of its table."""
        lines = itertools.chain(self.metrics, self.timing, self.diagnostics)
        if not all(line.endswith("\n") and line[:-1].isprintable() for line in lines):
            raise ValueError("a line of its tables is none")
        for name, text in self.files().items():
            PARSE[name](text)


def parse_metrics(text: str) -> dict[str, list[float]]:
    """The columns of a metrics.csv. Raises ValueError."""
    return _columns(text, "metrics.csv")


def parse_timing(text: str) -> dict[str, list[float]]:
    """The columns of a timing.csv, `seconds` among them. Raises ValueError."""
    timing = _columns(text, "timing.csv")
    if not math.isfinite(sum(timing.get("seconds", [math.nan]))):
        raise ValueError("timing.csv: no column seconds, or the seconds are not finite")
    return timing


def _columns(text: str, name: str) -> dict[str, list[float]]:
    """The columns of a table of numbers, one row per evaluation. Raises ValueError."""
    lines = io.StringIO(text, newline=None)
    first = next(lines, "")
    num_columns = first.count(",") + 1
    if num_columns > MAX_COLUMNS:
        raise ValueError(f"{name} has {num_columns:,} columns; at most {MAX_COLUMNS}")
    header = first.rstrip("\n").split(",")
    if header[:2] != ["epoch", "step"]:
        raise ValueError(f"{name} does not start with epoch,step")
    if len(set(header)) < num_columns or not all(map(COLUMN.fullmatch, header)):
        raise ValueError(f"{name} has no valid names of columns")
    columns: list[list[float]] = [[] for _ in header]
    previous = -math.inf
    for line in lines:
        if line.count(",") + 1 != num_columns:  # before it is cut: a line may be as long as the file
            raise ValueError(f"{name} has rows of different lengths")
        epoch, step, *values = map(float, line.split(","))
        if not (abs(epoch) < MAX_NUMBER and previous < step < MAX_NUMBER):
            raise ValueError(f"{name}: epoch {epoch:g}, step {step:g} cannot come after step {previous:g}")
        previous = step
        for column, value in zip(columns, [epoch, step, *map(_within_reach, values)], strict=True):
            column.append(value)
    return dict(zip(header, columns, strict=True))


def _within_reach(value: float) -> float:
    """A number that no run writes, and no figure could show, is infinite."""
    return math.copysign(math.inf, value) if abs(value) >= MAX_NUMBER else value


@dataclass(frozen=True)
class Diagnostic:
    """A row of diagnostics.csv."""

    epoch: float
    step: float
    layer: str
    quantity: str
    value: float


def parse_diagnostics(text: str) -> list[Diagnostic]:
    """The rows of a diagnostics.csv. Raises ValueError."""
    first, *lines = text.splitlines() or [""]
    if first != DIAGNOSTICS_HEADER.rstrip():
        raise ValueError(f"diagnostics.csv does not start with {DIAGNOSTICS_HEADER.rstrip()}")
    found: list[Diagnostic] = []
    latest: dict[tuple[str, str], float] = {}
    for line in lines:
        cells = line.split(",")
        if not (len(cells) == 5 and all(map(MEASURED.fullmatch, cells[2:4]))):
            raise ValueError("diagnostics.csv has rows that are no measurement")
        layer, quantity = cells[2:4]
        epoch, step, value = (float(cells[i]) for i in (0, 1, 4))
        if not (abs(epoch) < MAX_NUMBER and latest.get((layer, quantity), -1) < step < MAX_NUMBER):
            raise ValueError("diagnostics.csv has steps that do not increase")
        latest[layer, quantity] = step
        found.append(Diagnostic(epoch, step, layer, quantity, _within_reach(value)))
    return found


PARSE: dict[str, Callable[[str], object]] = {
    "metrics.csv": parse_metrics,
    "timing.csv": parse_timing,
    "diagnostics.csv": parse_diagnostics,
}


def read_metrics(path: Path) -> dict[str, list[float]]:
    """The columns of a run folder's metrics.csv. Raises OSError or ValueError."""
    return parse_metrics(read_text(path / "metrics.csv", MAX_TABLE_BYTES))


def read_timing(path: Path) -> dict[str, list[float]]:
    """The columns of its timing.csv, likewise."""
    return parse_timing(read_text(path / "timing.csv", MAX_TABLE_BYTES))


def read_diagnostics(path: Path) -> list[Diagnostic]:
    """The rows of its diagnostics.csv, likewise; none if there is no such file."""
    try:
        return parse_diagnostics(read_text(path / "diagnostics.csv", MAX_TABLE_BYTES))
    except MISSING:
        return []
