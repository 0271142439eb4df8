"""metrics.csv, timing.csv and diagnostics.csv, parsed and checked."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bncompare.config import MAX_TABLE_BYTES
from bncompare.runs.files import MISSING, read_text
from bncompare.runs.layout import COLUMN, DIAGNOSTICS_HEADER, MAX_COLUMNS, MAX_NUMBER, MEASURED


def parse_metrics(text: str) -> dict[str, list[float]]:
    """The columns of a metrics.csv. Raises ValueError."""
    return _parse_table(text, "metrics.csv")


def parse_timing(text: str) -> dict[str, list[float]]:
    """The columns of a timing.csv, `seconds` among them. Raises ValueError."""
    timing = _parse_table(text, "timing.csv")
    if "seconds" not in timing:
        raise ValueError("timing.csv: no column seconds")
    return timing


def _parse_table(text: str, name: str) -> dict[str, list[float]]:
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
        if line.count(",") + 1 != num_columns:
            raise ValueError(f"{name} has rows of different lengths")
        row = [float(cell) for cell in line.split(",")]
        epoch, step = row[:2]
        if not (abs(epoch) < MAX_NUMBER and previous < step < MAX_NUMBER):
            raise ValueError(f"{name}: epoch {epoch:g}, step {step:g} cannot come after step {previous:g}")
        previous = step
        for column, value in zip(columns, [epoch, step, *map(within_reach, row[2:])], strict=True):
            column.append(value)
    return dict(zip(header, columns, strict=True))


def within_reach(value: Any) -> Any:
    """A number that no run writes, and no figure could show, is infinite."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= MAX_NUMBER:
        return math.inf if value > 0 else -math.inf
    return value


@dataclass(frozen=True)
class Diagnostic:
    """A row of diagnostics.csv."""

    epoch: float
    step: float
    layer: str
    quantity: str
    value: float


def read_diagnostics(path: Path) -> list[Diagnostic]:
    """The rows of a run folder's diagnostics.csv; none if there is no such file. Raises OSError or ValueError."""
    try:
        return parse_diagnostics(read_text(path / "diagnostics.csv", MAX_TABLE_BYTES))
    except MISSING:
        return []


def parse_diagnostics(text: str) -> list[Diagnostic]:
    """The rows of a diagnostics.csv. Raises ValueError."""
    lines = text.splitlines()
    if lines[:1] != [DIAGNOSTICS_HEADER.rstrip()]:
        raise ValueError(f"diagnostics.csv does not start with {DIAGNOSTICS_HEADER.rstrip()}")
    rows = [line.split(",") for line in lines[1:]]
    if not all(len(row) == 5 and MEASURED.fullmatch(row[2]) and MEASURED.fullmatch(row[3]) for row in rows):
        raise ValueError("diagnostics.csv has rows that are no measurement")
    found = [Diagnostic(float(row[0]), float(row[1]), row[2], row[3], within_reach(float(row[4]))) for row in rows]
    latest: dict[tuple[str, str], float] = {}
    for item in found:
        if not (
            abs(item.epoch) < MAX_NUMBER and latest.get((item.layer, item.quantity), -1) < item.step < MAX_NUMBER
        ):
            raise ValueError("diagnostics.csv has steps that do not increase")
        latest[item.layer, item.quantity] = item.step
    return found
