"""Reading run folders, whoever wrote them: no content is trusted, no checkpoint opened, torch not imported."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from bncompare.config import MAX_TABLE_BYTES, NAME, Status, is_label, parse_alike_yaml
from bncompare.errors import UserError, printable
from bncompare.runs.files import MISSING, read_text
from bncompare.runs.layout import COLUMN, MAX_TEXT_BYTES
from bncompare.runs.tables import Diagnostic, parse_metrics, parse_timing, read_diagnostics, within_reach

MAX_SEARCH_DEPTH = 4
MAX_WARNING_LENGTH = 300


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
    def status(self) -> Status:
        """How it ended, if it has."""
        return Status(self.result["status"]) if self.result else Status.UNFINISHED

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


def read_runs(paths: Sequence[Path]) -> tuple[list[LoadedRun], list[str]]:
    """All runs at or below some folders, in order, and a warning for each folder that can't be read.

    Raises UserError for a path that does not exist or holds no run.
    """
    runs: dict[Path, LoadedRun] = {}
    warnings: list[str] = []
    for path in paths:
        try:
            if not path.is_dir():
                raise UserError(f"{path}: {'is a file, not a run folder' if path.exists() else 'no such folder'}")
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        found = False
        links: list[Path] = []
        for folder in _run_folders(path, MAX_SEARCH_DEPTH, warnings, links, set()):
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
    """The one line that links to run folders cost: `train` does not write through them either."""
    names = printable(", ".join(str(link.relative_to(path)) for link in links))
    shown = names if len(names) <= MAX_WARNING_LENGTH else f"{names[:MAX_WARNING_LENGTH]}…"
    what = "a link to a run folder" if len(links) == 1 else f"{len(links)} links to run folders"
    return f"{path}: skipped: {what}: {shown}"


def reason(error: Exception) -> str:
    """What is wrong with a file of a run folder, in a printable line."""
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return printable((text.splitlines() or [type(error).__name__])[0])[:MAX_WARNING_LENGTH]


def _run_folders(path: Path, depth: int, warnings: list[str], links: list[Path], seen: set[Path]) -> Iterator[Path]:
    """Run folders at or below one; a link to another folder is followed, unless that was `seen`."""
    try:
        names = sorted(os.listdir(path))
        place = path.resolve()
    except (OSError, RuntimeError) as error:
        warnings.append(f"{path}: skipped: {error.strerror if isinstance(error, OSError) else error}")
        return
    if "metrics.csv" in names or "result.json" in names:
        if depth < MAX_SEARCH_DEPTH and path.is_symlink():
            links.append(path)
        else:
            yield path
        return
    if place in seen:
        return
    seen.add(place)
    for child in _folders(path, names, warnings) if depth > 0 else []:
        yield from _run_folders(child, depth - 1, warnings, links, seen)


def _folders(path: Path, names: Sequence[str], warnings: list[str]) -> list[Path]:
    """The folders among the entries of one, links to folders last."""
    found = list[Path]()
    for name in names:
        child = path / name
        try:
            if name.startswith(".") or not child.is_dir():
                continue
        except OSError as error:  # what it is cannot be told
            warnings.append(f"{child}: skipped: {error.strerror}")
            continue
        if name.isprintable():
            found.append(child)
        else:  # it would go to the terminal
            warnings.append(f"{path}: skipped: a folder with the name {name!r}"[:MAX_WARNING_LENGTH])
    return sorted(found, key=Path.is_symlink)


def read_run(path: Path) -> LoadedRun:
    """One run folder, written here or elsewhere. Raises OSError, ValueError or UserError if it is not one."""
    config = read_config(path)
    variant, result = config["variant"], read_result(path)
    metrics, timing = read_metrics(path, result), read_timing(path)
    times = list(accumulate(timing["seconds"]))
    at_step = dict(zip(timing["step"], times, strict=True))
    elapsed = [at_step.get(step, math.nan) for step in metrics["step"]]
    seconds = times[-1] if times else 0.0
    return LoadedRun(
        path,
        config["name"],
        variant["label"],
        variant["index"],
        config["seeds"][0],
        config,
        metrics,
        seconds,
        result,
        elapsed,
    )


def read_config(path: Path) -> dict[str, Any]:
    """The config.yaml of one run, with what it is called and grouped by. Raises OSError, ValueError or UserError."""
    config: dict[str, Any] = parse_alike_yaml(read_text(path / "config.yaml", MAX_TEXT_BYTES), "config.yaml")
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
    return config


def read_metrics(path: Path, result: dict[str, Any] | None) -> dict[str, list[float]]:
    """The columns of metrics.csv, which end where result.json says. Raises OSError or ValueError."""
    metrics = parse_metrics(read_text(path / "metrics.csv", MAX_TABLE_BYTES))
    if result is not None and result["status"] != "failed" and metrics["step"][-1:] != [result.get("steps")]:
        raise ValueError("metrics.csv does not end where result.json does")
    return metrics


def read_timing(path: Path) -> dict[str, list[float]]:
    """The columns of timing.csv. Raises OSError or ValueError."""
    timing = parse_timing(read_text(path / "timing.csv", MAX_TABLE_BYTES))
    if not all(map(math.isfinite, accumulate(timing["seconds"]))):
        raise ValueError("timing.csv: the seconds are not finite")
    return timing


def read_result(path: Path) -> dict[str, Any] | None:
    """result.json, of the shape that is written here; None if there is none. Raises OSError or ValueError."""
    try:
        result = _read_json(path / "result.json")
    except MISSING:
        return None
    if result.get("status") not in [status for status in Status if status is not Status.UNFINISHED]:
        raise ValueError("result.json has no status")
    for key in ("best", "last", "test"):
        values = result.get(key)
        if not isinstance(values, dict | None) or not all(map(COLUMN.fullmatch, values or {})):
            raise ValueError("result.json: best, last and test must be mappings of metrics")
        if values:
            result[key] = {name: within_reach(value) for name, value in values.items()}
    if not _is_line(result.get("error", "")):  # goes to the terminal
        result["error"] = ascii(result["error"])
    return result


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path, MAX_TEXT_BYTES))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a mapping")
    return content


def available_metrics(run: LoadedRun) -> list[str]:
    """The metrics a run has: columns of metrics.csv, and those of the test."""
    columns = [name for name in run.metrics if name not in ("epoch", "step", "lr")]
    ends = [(run.result or {}).get(key) or {} for key in ("best", "last")]
    tests = sorted({name for end in ends for name in end if name.startswith("test/")})
    return [*columns, *tests]
