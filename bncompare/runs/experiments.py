"""Which runs belong together, and what tells them apart."""

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from pathlib import Path
from typing import Any

from bncompare.config import (
    Metric,
    decisive,
    flatten,
    lookup,
    setting_label,
    setting_words,
    variant_name,
    without,
)
from bncompare.errors import UserError
from bncompare.plugins import Plugin
from bncompare.runs.looks import Addition, absences, additions, began, follows_looks
from bncompare.runs.read import LoadedRun, available_metrics


@dataclass(frozen=True)
class ExperimentRuns:
    """Runs that belong together: one folder, one name, and all settings equal but those that are compared."""

    name: str
    folder: Path
    runs: list[LoadedRun]
    apart: dict[str, Any] = field(default_factory=dict)
    """dotted keys that tell it from others of that name in that folder, trained with other settings"""
    against: dict[str, str] = field(default_factory=dict)
    """the variants that are of another folder, and which of these each stands against"""

    @property
    def title(self) -> str:
        """The name, with what sets it apart."""
        return self.name + self._suffix

    @property
    def place(self) -> str:
        """The folder, likewise."""
        return str(self.folder) + self._suffix

    @property
    def slug(self) -> str:
        """What sets it apart, as the name of a folder; empty if nothing does."""
        text = "_".join(f"{key}={json.dumps(value, default=str)}" for key, value in self.apart.items())
        return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-.")[:80]

    @property
    def trained(self) -> float:
        """When the last of its runs was, in seconds since 1970."""
        return max(map(began, self.runs))

    @property
    def additions(self) -> list[Addition]:
        """Seeds that were asked for after others had been reported."""
        return additions(self.runs)

    @property
    def notes(self) -> list[str]:
        """What is to be known of how its seeds came about."""
        return [*map(str, self.additions), *map(str, absences(self.runs))]

    @property
    def is_sequential(self) -> bool:
        """Whether seeds were added after a look at others, so that only what holds at every look may be said."""
        return follows_looks(self.runs)

    @property
    def columns(self) -> list[str]:
        """Of metrics.csv: all that some run has."""
        return list(dict.fromkeys(name for run in self.runs for name in run.metrics))

    @property
    def metric_names(self) -> list[str]:
        """Those of them that are metrics, and the metrics of the test."""
        return list(dict.fromkeys(name for run in self.runs for name in available_metrics(run)))

    def metric(self, name: str) -> Metric:
        """A metric as these runs have it: of classification if they measure an accuracy."""
        return Metric(name, is_classification="train/accuracy" in self.columns)

    @property
    def _suffix(self) -> str:
        more = ", ".join(
            f"{key}={json.dumps(value, default=str, ensure_ascii=False)}" for key, value in self.apart.items()
        )
        return f" ({more})" if more else ""


def experiments(runs: Sequence[LoadedRun]) -> list[ExperimentRuns]:
    """The experiments that runs belong to, in the order of the runs.

    A variant is a label with its settings: where one label was trained with several, as after an edit of the config,
    they are several variants, told apart in their names.
    """
    found = []
    for name, folder in dict.fromkeys((run.experiment, run.path.parent) for run in runs):
        members = [run for run in runs if (run.experiment, run.path.parent) == (name, folder)]
        compared = _of_variants(members)
        groups: dict[str, list[LoadedRun]] = {}
        setups: dict[str, dict[str, Any]] = {}
        for run in members:
            setup = without(_decisive(run), compared)
            digest = _digest(setup)
            groups.setdefault(digest, []).append(run)
            setups[digest] = setup
        differing = _differing(list(setups.values()))
        for digest, group in groups.items():
            apart = {key: value for key, value in setups[digest].items() if key in differing}
            found.append(ExperimentRuns(name, folder, _told_apart(group, compared), apart))
    return found


def with_names(runs: Sequence[LoadedRun]) -> list[LoadedRun]:
    """Runs in their order, as their experiments call them."""
    named = {run.path: run for experiment in experiments(runs) for run in experiment.runs}
    return [named[run.path] for run in runs]


def newest_first(found: Sequence[ExperimentRuns]) -> list[list[ExperimentRuns]]:
    """Experiments, those of one name and folder together: the one that was trained last in front."""
    groups: dict[tuple[str, Path], list[ExperimentRuns]] = {}
    for experiment in found:
        groups.setdefault((experiment.name, experiment.folder), []).append(experiment)
    return [sorted(group, key=lambda experiment: -experiment.trained) for group in groups.values()]


def against(found: ExperimentRuns, others: Sequence[ExperimentRuns], name: str) -> tuple[ExperimentRuns, list[str]]:
    """An experiment beside the one of its name in another folder, by `X (name)`; and in which settings they differ.

    Of several that with the fewest differences. Raises UserError if there is none.
    """
    rivals = [other for other in others if other.name == found.name]
    if not rivals:
        names = ", ".join(dict.fromkeys(other.name for other in others))
        raise UserError(f"{name}: has no runs of the experiment {found.name}; there are: {names}")
    ours = _fixed(found.runs)

    def differing(other: ExperimentRuns) -> list[str]:
        return [key for key in _differing([_fixed(other.runs), ours]) if key in ours]

    rival = min(rivals, key=lambda other: len(differing(other)))
    theirs = _fixed(rival.runs)
    differences = [f"{key}={theirs.get(key)} in {name}, not {ours[key]}" for key in differing(rival)]
    runs = [replace(run, variant=f"{run.variant} ({name})") for run in rival.runs]
    labels = dict.fromkeys(run.variant for run in found.runs)
    pairs = {f"{label} ({name})": label for label in labels}
    pairs = {a: b for a, b in pairs.items() if a in {run.variant for run in runs}}
    return replace(found, runs=[*found.runs, *runs], against=pairs), differences


def _fixed(runs: Sequence[LoadedRun]) -> dict[str, Any]:
    """What all variants share of what decides the numbers."""
    return without(_decisive(runs[0]), _of_variants(runs))


def _of_variants(runs: Sequence[LoadedRun]) -> list[str]:
    """The dotted keys in which variants differ, as they mean to or as one takes a plugin and another none."""
    return [*compared_keys(runs), "plugins"]


def settings_of(run: LoadedRun) -> dict[str, Any]:
    """The dotted keys that a run's variant sets."""
    settings: dict[str, Any] = run.config["variant"].get("settings", {})
    return settings


def compared_keys(runs: Sequence[LoadedRun]) -> list[str]:
    """The dotted keys in which variants differ by intent: all that some variant sets, and none below another.

    Where the `name` or `kind` of a section is set it is the whole section, as each has keys of its own.
    """
    keys = []
    for key in dict.fromkeys(key for run in runs for key in settings_of(run)):
        section, _, last = key.rpartition(".")
        keys.append(section if section and last in ("name", "kind") else key)
    return [key for key in dict.fromkeys(keys) if not _is_below(key, set(keys) - {key})]


def _decisive(run: LoadedRun) -> dict[str, Any]:
    """What decides the numbers beside the seed, by dotted key; of plugins in one line."""
    taken = ", ".join(str(Plugin(name, version)) for name, version in run.config.get("plugins", {}).items())
    return without(decisive(run.config), {"seeds", "plugins"}) | ({"plugins": taken} if taken else {})


def _is_below(key: str, others: Collection[str]) -> bool:
    """Whether a dotted key is one of the others, or in the section of one."""
    return any(key == other or key.startswith(f"{other}.") for other in others)


def _digest(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _differing(several: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that not all of some settings have, or not with the same value."""
    keys = dict.fromkeys(key for settings in several for key in settings)
    return [
        key for key in keys if any(key not in settings or settings[key] != several[0][key] for settings in several)
    ]


def _told_apart(runs: Sequence[LoadedRun], compared: Collection[str]) -> list[LoadedRun]:
    """The runs of one set-up, with labels such as `plain (lr=0.1)` where one label has several settings; and with the
    names that people use."""
    settings = []
    for run in runs:
        unresolved = {key: value for key, value in settings_of(run).items() if lookup(run.config, key) is None}
        settings.append(unresolved | {k: v for k, v in _decisive(run).items() if _is_below(k, compared)})
    labels: dict[tuple[str, str], str] = {}
    names: dict[str, str] = {}
    for label in dict.fromkeys(run.label for run in runs):
        several = {_digest(of): (of, run) for run, of in zip(runs, settings, strict=True) if run.label == label}
        own, called = [label], [_called(run) for _, run in several.values()]
        if len(several) > 1:
            more = _apart([of for of, _ in several.values()])
            own = [f"{label} ({' '.join(starmap(setting_label, those.items()))})" for those in more]
            words = [", ".join(starmap(setting_words, those.items())) for those in more]
            if len(set(called)) < len(called):
                called = [f"{name} ({those})" if those else name for name, those in zip(called, words, strict=True)]
        labels |= {(label, digest): its for digest, its in zip(several, own, strict=True)}
        names |= dict(zip(own, called, strict=True))
    names = _unique(names)
    own_labels = [labels[run.label, _digest(of)] for run, of in zip(runs, settings, strict=True)]
    return [replace(run, label=label, variant=names[label]) for run, label in zip(runs, own_labels, strict=True)]


def _called(run: LoadedRun) -> str:
    """What people call its variant; as its experiment called it already, if it did."""
    return run.variant if run.variant != run.label else variant_name(run.config)


def _unique(names: dict[str, str]) -> dict[str, str]:
    """By label, the names that people use; of labels that would be called alike the labels."""
    while alike := {name for name, number in Counter(names.values()).items() if number > 1}:
        names = {label: label if name in alike else name for label, name in names.items()}
    return names


def _apart(several: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What tells settings apart: the keys that all of them have, if these do."""
    keys = _differing(several)
    everywhere = [key for key in keys if all(key in settings for settings in several)]
    found = [{key: of[key] for key in everywhere} for of in several]
    if len(set(map(_digest, found))) == len(several):
        return found
    return [{key: of[key] for key in keys if key in of} for of in several]


def validates_on_test(runs: Sequence[LoadedRun]) -> bool:
    """Whether the validation set is the test set."""
    return any(flatten(run.config).get("data.validation") == "test" for run in runs)


def tuning_seeds(runs: Sequence[LoadedRun]) -> frozenset[int]:
    """The seeds on which settings were chosen, as any of the runs says, so that no verdict rests on them."""
    return frozenset(seed for run in runs for seed in run.config.get("tuning_seeds", []))


def baseline(runs: Sequence[LoadedRun], variants: Sequence[str]) -> str:
    """The first variant without a norm, else the first."""
    norms = {run.variant: flatten(run.config).get("model.norm.kind") for run in reversed(runs)}
    return next((variant for variant in variants if norms[variant] == "none"), variants[0])
