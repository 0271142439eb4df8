"""Seeds that were added to an experiment when others of it had ended, and so could have been looked at; and seeds
that were asked for and left out, as training ended early."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bncompare.config import seed_ranges, seeds_in
from bncompare.runs.read import LoadedRun


@dataclass(frozen=True)
class Addition:
    """Seeds that were asked for when all runs of others had ended."""

    seeds: list[int]
    before: list[int]

    def __str__(self) -> str:
        seeds, before = (", ".join(seed_ranges(of)) for of in (self.seeds, self.before))
        one, were = ("seed", "was") if len(self.seeds) == 1 else ("seeds", "were")
        return f"{one} {seeds} {were} added after {before} had been reported"


def additions(runs: Sequence[LoadedRun]) -> list[Addition]:
    """What was added to the seeds of an experiment, in the order of time.

    Runs of one design were asked for together, whenever each was trained. A design that began before the earlier
    ones had ended, as on another machine, was not chosen by their results.
    """
    designs: dict[str, list[LoadedRun]] = {}
    for run in runs:
        design = json.dumps(run.config.get("design"), sort_keys=True, default=str)
        designs.setdefault(design, []).append(run)
    if len(designs) == 1:  # most often, and no file is to be read
        return []
    found, before = list[Addition](), list[LoadedRun]()
    for group in sorted(designs.values(), key=lambda group: min(map(began, group))):
        start = min(map(began, group))
        there = [run for run in before if began(run) <= start]  # a variant of theirs may have been added since
        seeds = _seeds(group) - _seeds(there)
        if there and seeds and start >= max(map(_ended, there)):
            found.append(Addition(sorted(seeds), sorted(_seeds(there))))
        before += group
    return found


@dataclass(frozen=True)
class Absence:
    """Seeds that were asked for with others, and have no run: what these say is a look before the end."""

    seeds: list[int]

    def __str__(self) -> str:
        seeds, were = ("seed", "was") if len(self.seeds) == 1 else ("seeds", "were")
        have = "has" if were == "was" else "have"
        return (
            f"{seeds} {', '.join(seed_ranges(self.seeds))} {were} asked for as well and {have} no run; "
            "whoever stops at a verdict is wrong more often than said"
        )


def absences(runs: Sequence[LoadedRun]) -> list[Absence]:
    """The seeds that fixed designs lack; of seeds until it is decided none is asked for before it is needed."""
    asked = set[int]()
    for run in runs:
        design: Any = run.config.get("design")
        with suppress(TypeError, KeyError, ValueError, AttributeError):  # of another version
            asked |= set(seeds_in(design["seeds"])) - set(run.config.get("tuning_seeds", []))
    absent = asked - _seeds(runs)
    return [Absence(sorted(absent))] if absent else []


def follows_looks(runs: Sequence[LoadedRun]) -> bool:
    """Whether seeds were added after a look at others, by hand or until all is decided."""
    return bool(additions(runs)) or any("until" in (run.config.get("design") or {}) for run in runs)


def began(run: LoadedRun) -> float:
    """When its training started, in seconds since 1970; else when its files were written."""
    started = _time(run, "started")
    if started is not None:
        return started
    try:
        return (run.path / "metrics.csv").stat().st_mtime
    except OSError:
        return 0.0


def _ended(run: LoadedRun) -> float:
    """When it ended; of a run that has not, or does not say so, the time of its evaluations after it began."""
    ended = _time(run, "ended")
    return began(run) + run.seconds if ended is None else ended


def _time(run: LoadedRun, key: str) -> float | None:
    """A time in its environment.json; None if there is none."""
    try:
        return datetime.fromisoformat(run.environment[key]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _seeds(runs: Iterable[LoadedRun]) -> set[int]:
    return {run.seed for run in runs}
