"""Reading run folders, whoever wrote them: no content is trusted, no checkpoint opened, torch not imported."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bncompare.config import Claim, Status
from bncompare.errors import UserError, printable
from bncompare.runs.documents import Metrics, Result, read_config, read_environment, read_result
from bncompare.runs.tables import Diagnostic, read_diagnostics, read_metrics, read_timing

MAX_SEARCH_DEPTH = 4
MAX_WARNING_LENGTH = 300


@dataclass(frozen=True, repr=False)
class LoadedRun:
    """What a run folder says, finished or not."""

    path: Path
    experiment: str
    variant: str
    """the name that people use; of a run alone, as `read_run` gives it, the label"""
    variant_index: int
    seed: int
    config: dict[str, Any]
    metrics: dict[str, list[float]]
    """a column of metrics.csv each"""
    seconds: float
    """wall-clock of training and evaluation, from timing.csv"""
    result: Result | None
    """result.json; None while the run is not finished"""
    elapsed: list[float] = field(default_factory=list)
    """seconds from the start to each row of metrics.csv; NaN where timing.csv lacks it"""
    label: str = ""
    """the name of the variant in files; by default `variant`"""

    def __post_init__(self) -> None:
        """Until `experiments` has told people's names, variants have their labels."""
        object.__setattr__(self, "label", self.label or self.variant)

    def __repr__(self) -> str:
        return f"<run of {self.experiment}: {self.variant}, seed {self.seed}, {self.status.replace('_', ' ')}>"

    @property
    def status(self) -> Status:
        """How it ended, if it has."""
        return self.result.status if self.result else Status.UNFINISHED

    def best(self, metric: str) -> float | None:
        """A metric at the best evaluation; None if there is none or it was not finite."""
        return _number(self.result.best, metric) if self.result else None

    def last(self, metric: str) -> float | None:
        """A metric at the last evaluation, likewise."""
        return _number(self.result.last, metric) if self.result else None

    @cached_property
    def claims(self) -> list[Claim]:
        """The claims that were in the config when it began; what is not a claim is left out."""
        recorded, claims = self.config.get("claims"), []
        for item in recorded if isinstance(recorded, list) else []:
            with suppress(ValidationError):
                claims.append(Claim.model_validate(item))
        return claims

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The rows of diagnostics.csv; none if it is not there or cannot be read."""
        return self._diagnostics[0]

    @property
    def diagnostics_problem(self) -> str | None:
        """Why diagnostics.csv cannot be read, if it is there and cannot."""
        return self._diagnostics[1]

    @cached_property
    def _diagnostics(self) -> tuple[list[Diagnostic], str | None]:
        try:
            return read_diagnostics(self.path), None
        except (OSError, ValueError) as error:
            return [], f"{self.path / 'diagnostics.csv'}: left out: {error}"

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What environment.json says: `versions` by package, and texts and numbers; empty if it cannot be read."""
        return read_environment(self.path)


def _number(metrics: Metrics | None, name: str) -> float | None:
    value = (metrics or {}).get(name)
    return None if value is None else float(value)


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
    ordered = sorted(runs.values(), key=lambda run: (run.path.parent, run.variant_index, run.label, run.seed))
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
    metrics, timing = read_finished_metrics(path, result), read_timing(path)
    times = list(accumulate(timing["seconds"]))
    at_step = dict(zip(timing["step"], times, strict=True))
    elapsed = [at_step.get(step, math.nan) for step in metrics["step"]]
    seconds = times[-1] if times else 0.0
    name, seed, label, index = config["name"], config["seeds"][0], variant["label"], variant["index"]
    return LoadedRun(path, name, label, index, seed, config, metrics, seconds, result, elapsed)


def read_finished_metrics(path: Path, result: Result | None) -> dict[str, list[float]]:
    """The columns of metrics.csv, which end where result.json says. Raises OSError or ValueError."""
    metrics = read_metrics(path)
    if result is not None and result.status.has_ended and metrics["step"][-1:] != [result.steps]:
        raise ValueError("metrics.csv does not end where result.json does")
    return metrics


def available_metrics(run: LoadedRun) -> list[str]:
    """The metrics a run has: columns of metrics.csv, and those of the test."""
    columns = [name for name in run.metrics if name not in ("epoch", "step", "lr")]
    ends = [run.result.best or {}, run.result.last or {}] if run.result else []
    tests = sorted({name for end in ends for name in end if name.startswith("test/")})
    return [*columns, *tests]
