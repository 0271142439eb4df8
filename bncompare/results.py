"""Reading run folders, whoever wrote them: no content is trusted, no checkpoint opened, torch not imported."""

import contextlib
import errno
import io
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from bncompare.config import strict_yaml
from bncompare.config.schema import NAME, is_label
from bncompare.errors import UserError

MAX_TEXT_BYTES = strict_yaml.MAX_BYTES  # of config.yaml and the JSON files
MAX_TABLE_BYTES = 32 * 1024 * 1024
MAX_NUMBER = 1e100  # far beyond float32
MAX_COLUMNS = 100
MAX_SEARCH_DEPTH = 4
MAX_WARNING_LENGTH = 300

STATUSES = ("completed", "stopped_early", "diverged", "failed")
MEASURED = re.compile(r"[ -~αβγσ‖]{1,120}")  # a layer or a quantity, which goes to the terminal
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
        for folder in _run_folders(path, MAX_SEARCH_DEPTH, warnings):
            found = True
            try:
                runs.setdefault(folder.resolve(), read_run(folder))
            except (OSError, ValueError, UserError) as error:
                warnings.append(_skipped(folder, error))
        if not found and not warnings:
            raise UserError(f"{path}: no run folders here or below (a run folder has a config.yaml and metrics.csv)")
    # In the order of the config, which the names of the folders do not tell.
    ordered = sorted(runs.values(), key=lambda run: (run.path.parent, run.variant_index, run.variant, run.seed))
    return ordered, warnings


def _skipped(folder: Path, error: Exception) -> str:
    """The one line that a bad folder costs."""
    reason = str(error)
    if isinstance(error, OSError):
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    line = (reason.splitlines() or [type(error).__name__])[0]
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return f"{folder}: skipped: {shown[:MAX_WARNING_LENGTH]}"


def _run_folders(path: Path, depth: int, warnings: list[str]) -> Iterator[Path]:
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
        if name.startswith(".") or child.is_symlink() or not child.is_dir():
            continue
        if name.isprintable():
            yield from _run_folders(child, depth - 1, warnings)
        else:  # it would go to the terminal
            warnings.append(f"{path}: skipped: a folder with the name {name!r}"[:MAX_WARNING_LENGTH])


def read_run(path: Path) -> LoadedRun:
    """One run folder, written here or elsewhere. Raises OSError, ValueError or UserError if it is not one."""
    config = strict_yaml.parse_alike(_read(path / "config.yaml", MAX_TEXT_BYTES), "config.yaml")
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
    metrics = parse_metrics(_read(path / "metrics.csv", MAX_TABLE_BYTES))
    result = _read_result(path)
    if result is not None and result["status"] != "failed" and metrics["step"][-1:] != [result.get("steps")]:
        raise ValueError("metrics.csv does not end where result.json does")
    timing = _parse_table(_read(path / "timing.csv", MAX_TABLE_BYTES), "timing.csv")
    if "seconds" not in timing:
        raise ValueError("timing.csv: no column seconds")
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


def _read_result(path: Path) -> dict[str, Any] | None:
    """result.json, of the shape that is written here; None if there is none. Raises OSError or ValueError."""
    try:
        result = _read_json(path / "result.json")
    except FileNotFoundError:
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
        content = json.loads(_read(path, MAX_TEXT_BYTES))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a mapping")
    return content


def read_norm_parameters(path: Path) -> dict[str, dict[str, Any]]:
    """γ (`weight`) and β (`bias`) of each norm layer in best.safetensors, as NumPy arrays; torch is not imported."""
    from safetensors import SafetensorError, safe_open

    file = path / "best.safetensors"
    layers: dict[str, dict[str, Any]] = {}
    try:
        os.close(_open(file))
        with safe_open(file, framework="numpy") as tensors:
            for name in sorted(tensors.keys()):
                layer, _, quantity = name.rpartition(".")
                if not (layer.endswith(".norm") and quantity in ("weight", "bias") and name.isprintable()):
                    continue
                part = tensors.get_slice(name)
                if part.get_dtype() in ("F16", "F32", "F64") and 0 not in part.get_shape():
                    layers.setdefault(layer, {})[quantity] = tensors.get_tensor(name)
    except FileNotFoundError:
        return {}
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{file}: cannot be read: {reason}") from None
    return layers


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
        lines = _read(path / "diagnostics.csv", MAX_TABLE_BYTES).splitlines()
    except FileNotFoundError:
        return []
    if lines[:1] != ["epoch,step,layer,quantity,value"]:
        raise ValueError("diagnostics.csv does not start with epoch,step,layer,quantity,value")
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


def _open(path: Path) -> int:
    """A descriptor of a regular file: neither a link, which may lead anywhere, nor a pipe, which never ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "is a link" if error.errno == errno.ELOOP else error.strerror
        raise OSError(error.errno, reason, path.name) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", path.name)


def _read(path: Path, max_bytes: int) -> str:
    """The text of a regular file. Raises OSError or ValueError."""
    with open(_open(path), "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"{path.name} is larger than {max_bytes >> 10:,} KiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8 text") from None
