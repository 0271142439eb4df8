"""Reading run folders, whoever wrote them: no content is trusted, no checkpoint opened, torch not imported."""

import contextlib
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from bncompare.config import strict_yaml
from bncompare.config.schema import NAME, is_label
from bncompare.errors import UserError, printable
from bncompare.files import MISSING, read_text, regular_file

MAX_TEXT_BYTES = strict_yaml.MAX_BYTES  # of config.yaml and the JSON files
MAX_TABLE_BYTES = 32 * 1024 * 1024
MAX_HEADER_BYTES = 4 * 1024 * 1024  # of best.safetensors: tens of thousands of tensors
MAX_NUMBER = 1e100  # far beyond float32
MAX_COLUMNS = 100
MAX_SEARCH_DEPTH = 4
MAX_WARNING_LENGTH = 300

TIMING_HEADER = "epoch,step,seconds,examples_per_second\n"
DIAGNOSTICS_HEADER = "epoch,step,layer,quantity,value\n"
STATUSES = ("completed", "stopped_early", "diverged", "failed")
MEASURED = re.compile(r"[ -~αβγσ‖]{1,120}")  # a layer or a quantity, which goes to the terminal
FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}  # of safetensors, as NumPy calls them
COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}(/[A-Za-z0-9_]{1,40})?")  # becomes a file name


@dataclass(frozen=True)
class LoadedRun:
    """What a run folder says, finished or not."""

    path: Path
    experiment: str
    variant: str
    variant_index: int
    seed: int
    config: dict[str, Any]
    metrics: dict[str, list[float]]
    """a column of metrics.csv each"""
    seconds: float
    """wall-clock of training and evaluation, from timing.csv"""
    result: dict[str, Any] | None
    """result.json; None while the run is not finished"""
    elapsed: list[float] = field(default_factory=list)
    """seconds from the start to each row of metrics.csv; NaN where timing.csv lacks it"""

    @property
    def status(self) -> str:
        """completed, stopped_early, diverged, failed, or unfinished."""
        return str(self.result["status"]) if self.result else "unfinished"

    def best(self, metric: str) -> float | None:
        """A metric at the best evaluation; None if there is none or it was not finite."""
        return _number((self.result or {}).get("best"), metric)

    def last(self, metric: str) -> float | None:
        """A metric at the last evaluation, likewise."""
        return _number((self.result or {}).get("last"), metric)

    @property
    def diagnostics(self) -> "list[Diagnostic]":
        """The rows of diagnostics.csv; none if it is not there or cannot be read."""
        return self._diagnostics[0]

    @property
    def diagnostics_problem(self) -> str | None:
        """Why diagnostics.csv cannot be read, if it is there and cannot."""
        return self._diagnostics[1]

    @cached_property
    def _diagnostics(self) -> "tuple[list[Diagnostic], str | None]":
        try:
            return read_diagnostics(self.path), None
        except (OSError, ValueError) as error:
            return [], f"{self.path / 'diagnostics.csv'}: left out: {error}"

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What environment.json says: `versions` by package, and texts and numbers; empty if it cannot be read."""
        try:
            content = _read_json(self.path / "environment.json")
        except (OSError, ValueError):
            return {}
        versions = content.pop("versions", None)
        known = {"versions": _plain_values(versions)} if isinstance(versions, dict) else {}
        return known | _plain_values(content)


def _number(values: Any, key: str) -> float | None:
    value = (values or {}).get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with contextlib.suppress(OverflowError):  # a whole number of hundreds of digits
        return float(value) if math.isfinite(value) else None
    return None


def _plain_values(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in data.items()
        if key.isprintable() and (value is None or isinstance(value, int | float) or _is_line(value))
    }


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def load_runs(paths: Sequence[Path]) -> tuple[list[LoadedRun], list[str]]:
    """All runs at or below some folders, in order, and a warning for each folder that can't be read.

    Raises UserError for a path that does not exist or holds no run.
    """
    runs: dict[Path, LoadedRun] = {}
    warnings: list[str] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: {'is a file, not a run folder' if path.exists() else 'no such folder'}")
        found = False
        links: list[Path] = []
        for folder in _run_folders(path, MAX_SEARCH_DEPTH, warnings, links):
            found = True
            try:
                runs.setdefault(folder.resolve(), read_run(folder))
            except (OSError, ValueError, UserError) as error:
                warnings.append(f"{folder}: skipped: {reason(error)}")
        if links:
            warnings.append(_skipped_links(path, links))
        if not found and not warnings:
            raise UserError(f"{path}: no run folders here or below (a run folder has a config.yaml and metrics.csv)")
    # In the order of the config, which the names of the folders do not tell.
    ordered = sorted(runs.values(), key=lambda run: (run.path.parent, run.variant_index, run.variant, run.seed))
    return ordered, warnings


def _skipped_links(path: Path, links: Sequence[Path]) -> str:
    """The one line that links cost: what they lead to may be elsewhere, or here twice."""
    names = printable(", ".join(str(link.relative_to(path)) for link in links))
    shown = names if len(names) <= MAX_WARNING_LENGTH else f"{names[:MAX_WARNING_LENGTH]}…"
    what = "a link to a folder" if len(links) == 1 else f"{len(links)} links to folders"
    return f"{path}: skipped: {what}: {shown}"


def reason(error: Exception) -> str:
    """What is wrong with a file of a run folder, in a printable line."""
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return printable((text.splitlines() or [type(error).__name__])[0])[:MAX_WARNING_LENGTH]


def _run_folders(path: Path, depth: int, warnings: list[str], links: list[Path]) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        warnings.append(f"{path}: skipped: {error.strerror}")
        return
    if "metrics.csv" in names or "result.json" in names:
        yield path
        return
    for name in names if depth > 0 else []:
        child = path / name
        if name.startswith(".") or not child.is_dir():
            continue
        if child.is_symlink():
            links.append(child)
        elif name.isprintable():
            yield from _run_folders(child, depth - 1, warnings, links)
        else:  # it would go to the terminal
            warnings.append(f"{path}: skipped: a folder with the name {name!r}"[:MAX_WARNING_LENGTH])


def read_run(path: Path) -> LoadedRun:
    """One run folder, written here or elsewhere. Raises OSError, ValueError or UserError if it is not one."""
    config = strict_yaml.parse_alike(read_text(path / "config.yaml", MAX_TEXT_BYTES), "config.yaml")
    try:
        experiment, (seed,), variant = config["name"], config["seeds"], config["variant"]
        label, index = variant["label"], variant["index"]
    except (KeyError, TypeError, ValueError):
        raise ValueError("config.yaml is not that of one run") from None
    # They become file names and go to the terminal.
    if not (isinstance(experiment, str) and NAME.fullmatch(experiment)):
        raise ValueError("config.yaml has no valid name")
    if not (isinstance(label, str) and is_label(label)):
        raise ValueError("config.yaml has no valid variant label")
    if not all(type(number) is int and 0 <= number < 2**63 for number in (seed, index)):
        raise ValueError("config.yaml: seed and variant index must be whole numbers from 0")
    settings = variant.get("settings", {})
    if not isinstance(settings, dict) or not all(key.isprintable() for key in settings):
        raise ValueError("config.yaml: the variant's settings are not a mapping of keys")
    metrics = parse_metrics(read_text(path / "metrics.csv", MAX_TABLE_BYTES))
    result = read_result(path)
    if result is not None and result["status"] != "failed" and metrics["step"][-1:] != [result.get("steps")]:
        raise ValueError("metrics.csv does not end where result.json does")
    timing = parse_timing(read_text(path / "timing.csv", MAX_TABLE_BYTES))
    times = list(accumulate(timing["seconds"]))
    if not all(map(math.isfinite, times)):
        raise ValueError("timing.csv: the seconds are not finite")
    at_step = dict(zip(timing["step"], times, strict=True))
    elapsed = [at_step.get(step, math.nan) for step in metrics["step"]]
    seconds = times[-1] if times else 0.0
    return LoadedRun(path, experiment, label, index, seed, config, metrics, seconds, result, elapsed)


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
        for column, value in zip(columns, [epoch, step, *map(_within_reach, row[2:])], strict=True):
            column.append(value)
    return dict(zip(header, columns, strict=True))


def read_result(path: Path) -> dict[str, Any] | None:
    """result.json, of the shape that is written here; None if there is none. Raises OSError or ValueError."""
    try:
        result = _read_json(path / "result.json")
    except MISSING:
        return None
    if result.get("status") not in STATUSES:
        raise ValueError("result.json has no status")
    for key in ("best", "last", "test"):
        values = result.get(key)
        if not isinstance(values, dict | None) or not all(map(COLUMN.fullmatch, values or {})):
            raise ValueError("result.json: best, last and test must be mappings of metrics")
        if values:
            result[key] = {name: _within_reach(value) for name, value in values.items()}
    if not _is_line(result.get("error", "")):  # goes to the terminal
        result["error"] = ascii(result["error"])
    return result


def _within_reach(value: Any) -> Any:
    """A number that no run writes, and no figure could show, is infinite."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= MAX_NUMBER:
        return math.inf if value > 0 else -math.inf
    return value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path, MAX_TEXT_BYTES))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a mapping")
    return content


def read_norm_parameters(path: Path) -> dict[str, dict[str, Any]]:
    """γ (`weight`) and β (`bias`) of each norm layer in best.safetensors, as NumPy arrays; torch is not imported."""
    import numpy as np

    layers: dict[str, dict[str, Any]] = {}
    try:
        with regular_file(path / "best.safetensors") as file:
            left = MAX_TABLE_BYTES
            for name, (dtype, shape, begin, end) in sorted(_tensors(file).items()):
                layer, _, quantity = name.rpartition(".")
                if not (layer.endswith(".norm") and quantity in ("weight", "bias") and name.isprintable()):
                    continue
                if dtype in FLOATS and 0 not in shape:
                    left -= end - begin
                    if left < 0:
                        raise ValueError(f"γ and β are larger than {MAX_TABLE_BYTES >> 10:,} KiB")
                    file.seek(begin)
                    values = np.frombuffer(file.read(end - begin), np.dtype(FLOATS[dtype]))
                    layers.setdefault(layer, {})[quantity] = values.reshape(shape)
    except MISSING:
        return {}
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path / 'best.safetensors'}: cannot be read: {why}") from None
    return layers


def check_weights(path: Path) -> None:
    """Raises OSError if a best.safetensors cannot be read, ValueError if it is not whole."""
    with regular_file(path) as file:
        _tensors(file)


def _tensors(file: BinaryIO) -> dict[str, tuple[str, list[int], int, int]]:
    """(dtype, shape, first byte, end) of each tensor of a safetensors file: its header, not what that is of.

    The library would take the header's word for its length, and follow a link. Raises ValueError.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header is larger than {MAX_HEADER_BYTES >> 10:,} KiB")
    found: dict[str, tuple[str, list[int], int, int]] = {}
    start = 8 + length
    try:
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            dtype, shape, (begin, end) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
            if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
                raise ValueError
            if math.prod(shape) * int(FLOATS.get(dtype, "0")[-1]) not in (0, end - begin):
                raise ValueError
            found[name] = dtype, shape, start + begin, start + end
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise ValueError("its header is not that of a safetensors file") from None
    if os.fstat(file.fileno()).st_size != max([start, *(end for *_, end in found.values())]):
        raise ValueError("its length is not what its header says")
    return found


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
    found = [Diagnostic(float(row[0]), float(row[1]), row[2], row[3], _within_reach(float(row[4]))) for row in rows]
    latest: dict[tuple[str, str], float] = {}
    for item in found:
        if not (
            abs(item.epoch) < MAX_NUMBER and latest.get((item.layer, item.quantity), -1) < item.step < MAX_NUMBER
        ):
            raise ValueError("diagnostics.csv has steps that do not increase")
        latest[item.layer, item.quantity] = item.step
    return found
