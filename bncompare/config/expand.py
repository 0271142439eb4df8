"""From a config file to the runs it asks for: overrides, variants, seeds."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bncompare.config.checks import MAX_RUNS, check_run, is_fundamental
from bncompare.config.choosing import Choosing, check_choice, choosing
from bncompare.config.claim_checks import check_claims, of_no_seed, unjudgeable
from bncompare.config.doubts import doubts
from bncompare.config.drafts import Draft, drafts_of
from bncompare.config.keys import SHORTHANDS, KeyPath, key_path, without
from bncompare.config.names import kind_label
from bncompare.config.problems import describe, explained, line
from bncompare.config.run import RunConfig, Variant
from bncompare.config.seeds import design_of, parse_seeds, seeds_of
from bncompare.config.smoke import SMOKE_SEEDS, shrink
from bncompare.config.yaml import MAPPING, Document, load_yaml, mapping_yaml, parse_yaml
from bncompare.datasets import DataSection
from bncompare.errors import UserError
from bncompare.plugins import lacking


@dataclass(frozen=True)
class Experiment:
    """A config file, expanded: every variant with every seed, in the order they are trained.

    Where the runs have tuning seeds, of the other seeds only the variants are trained that those choose.
    """

    name: str
    runs: list[RunConfig]
    warnings: list[str]


def load_experiment(
    source: Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    seeds: str | None = None,
    until_decided: bool = False,
    max_seeds: int | None = None,
    device: str | None = None,
    stack: bool = False,
    tuning: Mapping[str, Document] | None = None,
    smoke: bool = False,
) -> Experiment:
    """Read, override, expand and check a config, a file or a mapping; raises UserError with everything that is wrong.

    `overrides` are `KEY=VALUE` as given to --set, `tuning` what is said of the choice of settings, by dotted key,
    `seeds`, `device` and the others what is given to the options of their names.
    """
    document, override_keys = _read(source, overrides, device, stack, tuning or {})
    place, folder = (str(source), source.parent) if isinstance(source, Path) else (MAPPING, Path())
    document = _with_seeds(document, seeds, until_decided=until_decided, max_seeds=max_seeds)
    choice = choosing(document, smoke=smoke)
    compare = document.subtree(("compare",)) if document.data.get("compare") is not None else None
    drafts = drafts_of(compare, choice.points) if compare else [Draft("", {}, place)]
    _check_overrides(choice.shared, overrides, override_keys, drafts)
    found = _validate(choice.shared, drafts, folder)
    variants, problems, warnings = found.variants, found.problems, found.warnings
    if variants:
        problems += [line(document, *problem) for problem in check_claims(variants[0].claims)]
    # The config.yaml of one run has the claims of all.
    if found.is_known and len(variants) == len(drafts) and "variant" not in document.data:
        problems += [line(document, *problem) for problem in check_choice(choice, variants)]
        judged = choice.judged(variants)
        lacking = unjudgeable(judged) + (of_no_seed(judged[0]) if seeds is None else [])
        if overrides or tuning:  # a changed experiment may leave a claim without its variant, metric or evaluation
            warnings += [f"{line(document, *problem)}; this claim cannot be judged" for problem in lacking]
            variants = _without_claims(variants, {index for (_, index, *_), _ in lacking})
        else:
            problems += [line(document, *problem) for problem in lacking]
        problems += _twins(variants, drafts)
    if problems := problems or _too_many(place, variants, choice):
        raise UserError(*sorted(dict.fromkeys(problems), key=_line_number))  # what variants share is said once

    if overrides and variants[0].claims:
        variants = _beside_the_file(source, variants)
    variants = shrink(variants) if smoke else variants
    runs = _of_each_seed(_with_fresh_seeds(variants, choice, SMOKE_SEEDS if smoke else None))
    return Experiment(runs[0].name, runs, list(dict.fromkeys(warnings)))  # likewise


def _too_many(place: str, variants: list[RunConfig], choice: Choosing) -> list[str]:
    parts = [variants] if choice.judge_seeds is None else [variants, choice.judged(variants)]
    number = sum(len(part) * len(seeds_of(part[0].seeds)) for part in parts)
    return [f"{place}: {number:,} runs; at most {MAX_RUNS:,}"] * (number > MAX_RUNS)


def _with_fresh_seeds(variants: list[RunConfig], choice: Choosing, most: int | None) -> list[RunConfig]:
    """With the seeds that judge what the others choose, if any do: so many at most."""
    tuning_seeds = seeds_of(variants[0].seeds)
    fresh = choice.fresh(tuning_seeds)[:most]
    update = {"tuning_seeds": tuning_seeds, "seeds": [*tuning_seeds, *fresh]}
    return [config.model_copy(update=update) for config in variants] if fresh else variants


def _read(
    source: Path | Mapping[str, Any],
    overrides: Sequence[str],
    device: str | None,
    stack: bool,
    tuning: Mapping[str, Document],
) -> tuple[Document, list[KeyPath]]:
    """A config with what the command line sets, and the keys of `overrides`."""
    document, keys = load_yaml(source) if isinstance(source, Path) else mapping_yaml(source), list[KeyPath]()
    for text in overrides:
        key, value = _override(text)
        document = document.assign(key_path(key), value, SHORTHANDS)
        keys.append(key_path(key))
    for name, value in tuning.items():
        if name == "judge_seeds" and document.data.get("tune") is not None:
            name = "tune.judge_seeds"
        document = document.assign(key_path(name), value, SHORTHANDS)
    if device is not None:
        place = f"--device {_one_line(device)}"
        document = document.assign(("training", "device"), Document(device, place), SHORTHANDS)
    if stack:
        document = document.assign(("training", "stack"), Document(True, "--stack"), SHORTHANDS)
    _check_plugins(document)
    return document, keys


def _check_plugins(document: Document) -> None:
    """Without a plugin that a run was trained with, its kinds would be unknown, or others."""
    recorded = document.data.get("plugins")
    if isinstance(recorded, dict):
        problems = lacking({str(name): str(version) for name, version in recorded.items()})
        if problems:
            raise UserError(*(line(document, ("plugins",), problem) for problem in problems))


def _with_seeds(document: Document, seeds: str | None, *, until_decided: bool, max_seeds: int | None) -> Document:
    """A config with the seeds that the command line asks for, if it does: these are another design."""
    if seeds is not None and until_decided:
        raise UserError("--seeds and --until-decided: one or the other; --max-seeds N sets the most")
    if seeds is not None:
        written = Document(parse_seeds(seeds), f"--seeds {seeds}")
        at: KeyPath = ("tune", "seeds") if document.data.get("tune") is not None else ("seeds",)
        document = document.without("design").assign(at, written, SHORTHANDS)
    if until_decided:
        place = "--until-decided"
        written = Document({"until": "decided"}, place, {"until": Document("decided", place)})
        of_file = document.data.get("seeds")
        document = document if isinstance(of_file, dict) else document.assign(("seeds",), written, SHORTHANDS)
        document = document.without("design")
    if max_seeds is not None:
        if not isinstance(document.data.get("seeds"), dict):
            raise UserError(f"--max-seeds {max_seeds}: is the most of seeds until decided; add --until-decided")
        document = document.assign(("seeds", "at_most"), Document(max_seeds, f"--max-seeds {max_seeds}"), SHORTHANDS)
    return document


@dataclass
class _Found:
    """The variants that could be read, and what was found in reading them."""

    variants: list[RunConfig] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    is_known: bool = True
    """whether their layers, batches and lengths are known"""


def _validate(shared: Document, drafts: list[Draft], folder: Path) -> _Found:
    """Each variant by itself: read, checked, resolved."""
    found, sections = _Found(), _Sections(shared, folder)
    for index, draft in enumerate(drafts):
        document = shared
        try:
            document = sections.document(draft.settings)
            config = sections.config(document)
        except ValidationError as error:
            found.problems += describe(error, RunConfig, document)
            continue
        except UserError as error:
            found.problems += error.problems
            continue
        wrong = check_run(config)
        found.problems += [line(document, *problem) for problem in wrong]
        found.warnings += [] if wrong else [line(document, *doubt) for doubt in doubts(config)]
        found.is_known = found.is_known and not any(map(is_fundamental, wrong))
        found.variants.append(_resolve(config, draft, index))
    return found


def _of_each_seed(variants: list[RunConfig]) -> list[RunConfig]:
    """The runs in the order they are trained: all variants with one seed, then with the next."""
    first = variants[0]  # whose seeds are those of all
    update = {"design": first.design or design_of(first.seeds)}
    return [
        config.model_copy(update={**update, "seeds": [seed]}) for seed in seeds_of(first.seeds) for config in variants
    ]


class _Sections:
    """The sections of the variants so far: what variants share is put together and validated once."""

    def __init__(self, shared: Document, folder: Path) -> None:
        self.shared, self.folder = shared, folder
        self.assigned: dict[tuple[tuple[str, Document], ...], Document] = {}
        self.validated: dict[Document, Any] = {}
        self.defaults: dict[str, Any] = {}

    def document(self, settings: dict[str, Document]) -> Document:
        """The config of a variant; raises UserError."""
        # `model.norm` before `model.norm.eps`, whatever their order in the file
        ordered = sorted(settings.items(), key=lambda setting: setting[0].count("."))
        document = self.shared
        for name in dict.fromkeys(key.partition(".")[0] for key, _ in ordered):
            of_section = tuple(setting for setting in ordered if setting[0].partition(".")[0] == name)
            if of_section not in self.assigned:
                whole = self.shared
                for key, value in of_section:
                    whole = whole.assign(key_path(key), value, SHORTHANDS)
                self.assigned[of_section] = whole.subtree((name,))
            document = document.assign((name,), self.assigned[of_section], SHORTHANDS)
        return document

    def config(self, document: Document) -> RunConfig:
        """The config that a document holds; raises ValidationError, or UserError about files that it names."""
        parts = {str(name): part for name, part in document.parts.items()}
        written = {name: self.validated.get(part, part.data) for name, part in parts.items()}
        config = RunConfig.model_validate(self.defaults | written)
        config = config.model_copy(update={"data": self._with_content(config.data, document)})
        self.validated |= {part: getattr(config, name) for name, part in parts.items()}
        if not self.defaults:
            self.defaults = {name: getattr(config, name) for name in RunConfig.model_fields if name not in parts}
        return config

    def _with_content(self, data: DataSection, document: Document) -> DataSection:
        """A dataset with what its file holds; a relative path is from the config's folder, of --set from here."""
        at = ("data", "path")
        folder = Path() if document.place(at).startswith("--set ") else self.folder
        try:
            return data.resolved(folder)
        except UserError as error:
            raise UserError(*(line(document, at, problem) for problem in error.problems)) from None


def _line_number(problem: str) -> int:
    match = re.match(r".*?:([0-9]+): ", problem)
    return int(match[1]) if match else 0


def _one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _override(text: str) -> tuple[str, Document]:
    """The key and the value of `KEY=VALUE`."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*", key):
        raise UserError(f"--set {_one_line(text)[:200]}: must be KEY=VALUE, such as training.optimizer.lr=0.1")
    if len(text) > 10_000:
        raise UserError(f"--set {key}=…: the value is too long")
    return key, parse_yaml(value, f"--set {_one_line(text)}", line_numbers=False)


def _check_overrides(shared: Document, overrides: Sequence[str], keys: list[KeyPath], drafts: list[Draft]) -> None:
    """An override that every variant overrides again would do nothing, unless its value is none at all."""
    for text, key in zip(overrides, keys, strict=True):
        for setting in drafts[0].settings:
            path = key_path(setting)
            if key[: len(path)] == path and all(setting in draft.settings for draft in drafts):
                hint = f"; set compare.{setting} to a list of values" if key == path else ""
                why = f"has no effect: compare sets {setting} for every variant{hint}"
                raise UserError(*_problems_at(shared, key) or [f"--set {_one_line(text)}: {why}"])


def _problems_at(document: Document, key: KeyPath) -> list[str]:
    """What is wrong with the value of a key, or below it, as far as can be said without the variants."""
    try:
        RunConfig.model_validate(document.data)
    except ValidationError as error:
        problems = explained(error, RunConfig, document)
        return [line(document, path, message) for path, message in problems if path[: len(key)] == key]
    return []


def _resolve(config: RunConfig, draft: Draft, index: int) -> RunConfig:
    """Write out what was left open: the monitored metrics, the variant's name."""
    training = config.training
    stopping = training.early_stopping
    default = "val/loss" if config.data.has_validation else "train/loss"
    monitor = training.monitor or (stopping and stopping.monitor) or default
    if stopping is not None:
        stopping = stopping.model_copy(update={"monitor": stopping.monitor or monitor})
    update = {"monitor": monitor, "early_stopping": stopping, "scheduler": training.scheduler.watching(monitor)}
    resolved = training.model_copy(update=update)
    if draft.label:
        settings = {key: value.data for key, value in draft.settings.items()}
        variant = Variant(label=draft.label, settings=settings, index=index)
    elif "variant" in config.model_fields_set:
        variant = config.variant
    else:
        variant = Variant(label=kind_label(config.model.norm.model_dump()))
    return config.model_copy(update={"training": resolved, "variant": variant, "plugins": config.plugins_here})


def _without_claims(variants: list[RunConfig], left_out: set[str | int]) -> list[RunConfig]:
    claims = [claim for index, claim in enumerate(variants[0].claims) if index not in left_out]
    return [config.model_copy(update={"claims": claims}) for config in variants]


def _beside_the_file(source: Path | Mapping[str, Any], variants: list[RunConfig]) -> list[RunConfig]:
    """The variants, each with the settings of the file that --set changed, for which its claims were stated.

    A variant that the file does not have was claimed nothing of, nor are claims of --set those of the file.
    """
    try:
        of_file = {json.dumps(run.variant.settings, default=str): run for run in load_experiment(source).runs}
    except UserError:  # it takes the overrides to be valid
        return variants
    found = []
    for config in variants:
        stated = of_file.get(json.dumps(config.variant.settings, default=str))
        if stated is not None and all(claim in stated.claims for claim in config.claims):
            ours = without(config.decisive, {"seeds"})
            changed = {key: value for key, value in stated.decisive.items() if key in ours and ours[key] != value}
            overridden = changed | stated.variant.overridden
            variant = config.variant.model_copy(update={"overridden": overridden})
            config = config.model_copy(update={"variant": variant})
        found.append(config)
    return found


def _twins(variants: list[RunConfig], drafts: list[Draft]) -> list[str]:
    seen: dict[str, str] = {}
    problems = []
    for config, draft in zip(variants, drafts, strict=True):
        first = seen.setdefault(config.fingerprint, draft.label)
        if first != draft.label:
            problems.append(f"{draft.place}: compare: {first!r} and {draft.label!r} are the same settings")
    return problems
