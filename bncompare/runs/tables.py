"""metrics.csv, timing.csv and diagnostics.csv: their lines as a run writes them, parsed and checked when read."""

import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from bncompare.config import MAX_TABLE_BYTES
from bncompare.runs.files import MISSING, read_text
from bncompare.runs.layout import COLUMN, MAX_COLUMNS, MAX_NUMBER, MEASURED

TIMING_HEADER = "epoch,step,seconds,examples_per_second\n"
DIAGNOSTICS_HEADER = "epoch,step,layer,quantity,value\n"


def _no_lines() -> dict[str, list[str]]:
    return {"metrics": [], "timing": [], "diagnostics": []}


@dataclass
class Tables:
    """The tables of a run so far, line by line: what its files hold, and its checkpoint carries."""

    header: str
    """of metrics.csv: a run's data decides which metrics there are"""
    lines: dict[str, list[str]] = field(default_factory=_no_lines)
    """by name of the table, without its header"""

    def append(
        self, epoch: float, step: int, metrics: Mapping[str, float], seconds: float, examples_per_second: float
    ) -> None:
        """Add an evaluation: metrics as exact as they are, times rounded."""
        values = [repr(metrics[name]) for name in self.header.rstrip().split(",")[2:]]
        self.lines["metrics"].append(",".join([f"{epoch:.10g}", str(step), *values]) + "\n")
        self.lines["timing"].append(f"{epoch:.10g},{step},{seconds:.6f},{examples_per_second:.1f}\n")

    def append_diagnostics(self, epoch: float, step: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Add (layer, quantity, value) measured at an evaluation."""
        lines = [f"{epoch:.10g},{step},{layer},{quantity},{value!r}\n" for layer, quantity, value in rows]
        self.lines["diagnostics"] += lines

    def text(self, name: str) -> str:
        """What a table's file holds."""
        headers = {"metrics": self.header, "timing": TIMING_HEADER, "diagnostics": DIAGNOSTICS_HEADER}
        return "".join([headers[name], *self.lines[name]])

    def files(self) -> dict[str, bytes]:
        """The files by name, diagnostics.csv if there is some; metrics.csv last, as a folder that has it is read."""
        names = ["timing", *["diagnostics"] * bool(self.lines["diagnostics"]), "metrics"]
        return {f"{name}.csv": self.text(name).encode() for name in names}

    def columns(self) -> dict[str, list[float]]:
        """The columns of metrics.csv. Raises ValueError."""
        return parse_metrics(self.text("metrics"))

    def check(self) -> None:
        """Raises ValueError if a line, wherever it came from, is none of its table."""
        if not all(line.endswith("\n") and line[:-1].isprintable() for line in chain(*self.lines.values())):
            raise ValueError("a line of its tables is none")
        self.columns()
        parse_timing(self.text("timing"))
        parse_diagnostics(self.text("diagnostics"))


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
