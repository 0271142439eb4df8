"""Which runs belong together, and what tells them apart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bncompare.config import decisive, flatten, without
from bncompare.runs.read import LoadedRun


@dataclass(frozen=True)
class ExperimentRuns:
    """Runs that belong together: one folder, one name, and all settings equal but those that are compared."""

    name: str
    folder: Path
    runs: list[LoadedRun]
    apart: dict[str, Any] = field(default_factory=dict)
    """dotted keys that tell it from others of that name in that folder, trained with other settings"""

    @property
    def title(self) -> str:
        """The name, with what sets it apart."""
        return self.name + self._suffix

    @property
    def place(self) -> str:
        """The folder, likewise."""
        return str(self.folder) + self._suffix

    @property
    def _suffix(self) -> str:
        more = ", ".join(
            f"{key}={json.dumps(value, default=str, ensure_ascii=False)}" for key, value in self.apart.items()
        )
        return f" ({more})" if more else ""


def experiments(runs: Sequence[LoadedRun]) -> list[ExperimentRuns]:
    """The experiments that runs belong to, in the order of the runs."""
    found = []
    for name, folder in dict.fromkeys((run.experiment, run.path.parent) for run in runs):
        members = [run for run in runs if (run.experiment, run.path.parent) == (name, folder)]
        compared = {key for run in members for key in settings_of(run)}
        groups: dict[str, list[LoadedRun]] = {}
        setups: dict[str, dict[str, Any]] = {}
        for run in members:
            setup = _shared_setup(run.config, compared)
            digest = json.dumps(setup, sort_keys=True, default=str)
            groups.setdefault(digest, []).append(run)
            setups[digest] = setup
        differing = {
            key
            for setup in setups.values()
            for key in setup
            if any(key not in other or other[key] != setup[key] for other in setups.values())
        }
        for digest, group in groups.items():
            apart = {key: value for key, value in setups[digest].items() if key in differing}
            found.append(ExperimentRuns(name, folder, group, apart))
    return found


def settings_of(run: LoadedRun) -> dict[str, Any]:
    """The dotted keys that a run's variant sets."""
    settings: dict[str, Any] = run.config["variant"].get("settings", {})
    return settings


def _shared_setup(config: dict[str, Any], compared: set[str]) -> dict[str, Any]:
    """What decides the numbers beside the seed and the settings that are compared, by dotted key."""
    return without(decisive(config), {"seeds", *compared})


def validates_on_test(runs: Sequence[LoadedRun]) -> bool:
    """Whether the validation set is the test set."""
    return any(flatten(run.config).get("data.validation") == "test" for run in runs)


def baseline(runs: Sequence[LoadedRun], variants: Sequence[str]) -> str:
    """The first variant without a norm, else the first."""
    norms = {run.variant: flatten(run.config).get("model.norm.kind") for run in reversed(runs)}
    return next((variant for variant in variants if norms[variant] == "none"), variants[0])
