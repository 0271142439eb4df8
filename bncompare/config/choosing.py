"""Experiments in which settings are chosen: `tune` and `judge_seeds` of a config, and the seeds that judge."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bncompare.config.drafts import Point, check_key
from bncompare.config.keys import SHORTHANDS, KeyPath, Problem
from bncompare.config.problems import describe
from bncompare.config.run import RunConfig
from bncompare.config.seeds import parse_seeds, seeds_of
from bncompare.config.tuning import SomeSeeds, Tune, sobol_points, written_seeds
from bncompare.config.yaml import Document, parse_yaml
from bncompare.errors import UserError, printable
from bncompare.options import Section

NORM = "model.norm"
SMOKE_TRIALS = 4


def tuning_options(over: Sequence[str], trials: int | None, judge_seeds: str | None) -> dict[str, Document]:
    """What the command line says, by dotted key; raises UserError.

    `over` are `KEY=log:LOW:HIGH`, `KEY=linear:LOW:HIGH` or `KEY=A,B,…`, `judge_seeds` as `--seeds`.
    """
    found = dict[str, Document]()
    for text in over:
        key, equals, values = text.partition("=")
        if (
            not equals
            or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)+", key)
            or printable(text) != text
        ):
            raise UserError(
                f"--over {printable(text):.200}: must be KEY=VALUES, such as training.optimizer.lr=log:1e-4:3"
            )
        ends = re.fullmatch(r"(log|linear):([^:]*):([^:]*)", values)
        written = f"{{{ends[1]}: [{ends[2]}, {ends[3]}]}}" if ends else f"[{values}]"
        found[f"tune.over.{key}"] = parse_yaml(written, f"--over {text}", line_numbers=False)
    if trials is not None:
        found["tune.trials"] = Document(trials, f"--trials {trials}")
    if judge_seeds is not None:
        option = "--judge-seeds"
        found["judge_seeds"] = Document(parse_seeds(judge_seeds, option), f"{option} {judge_seeds}")
    return found


class _Keys(Section):
    """What a config says of it."""

    tune: Tune | None = None
    judge_seeds: SomeSeeds | None = None


@dataclass(frozen=True)
class Choosing:
    """What a config says of the choice of settings."""

    shared: Document
    """all else"""
    points: list[Point]
    """at which every norm is tried; none where `compare` lists the values"""
    judge_seeds: Any
    """a number or a list; None where verdicts rest on the same seeds"""

    @property
    def path(self) -> KeyPath:
        """Of the seeds that judge."""
        return ("tune", "judge_seeds") if self.points else ("judge_seeds",)

    def fresh(self, seeds: Sequence[int]) -> list[int]:
        """The seeds that judge what others have chosen."""
        return [] if self.judge_seeds is None else written_seeds(self.judge_seeds, seeds)

    def judged(self, variants: list[RunConfig]) -> list[RunConfig]:
        """What claims are about: as many variants as will be chosen, with the seeds that judge them; else all."""
        if self.judge_seeds is None:
            return variants
        seeds = self.fresh(seeds_of(variants[0].seeds))
        return [variant.model_copy(update={"seeds": seeds}) for variant in one_of_each_norm(variants)]


def choosing(document: Document, *, smoke: bool = False) -> Choosing:
    """Take apart a config; raises UserError with what is wrong with its choice of settings."""
    names = [name for name in _Keys.model_fields if document.data.get(name) is not None]
    try:
        keys = _Keys.model_validate({name: document.data[name] for name in names})
    except ValidationError as error:
        raise UserError(*describe(error, _Keys, document)) from None
    if names and isinstance(document.data.get("seeds"), dict):
        raise UserError(f"{document.place(('seeds',))}: seeds: those that choose are a number or a list")
    shared = document.without("compare")
    for name in _Keys.model_fields:
        shared = shared.without(name)
    if keys.tune is None:
        return Choosing(shared, [], keys.judge_seeds)
    if keys.judge_seeds is not None:
        raise UserError(f"{document.place(('judge_seeds',))}: judge_seeds: with tune it is tune.judge_seeds")
    place = document.place(("tune", "seeds"))
    shared = shared.assign(("seeds",), Document(written_seeds(keys.tune.seeds), place), SHORTHANDS)
    found = _points(document, keys.tune)
    return Choosing(shared, found[: SMOKE_TRIALS if smoke else None], keys.tune.judge_seeds)


def _points(document: Document, tune: Tune) -> list[Point]:
    compared, over = document.data.get("compare"), document.subtree(("tune", "over"))
    norms = compared.get(NORM) if isinstance(compared, dict) else None
    if not isinstance(norms, list) or len(norms) < 2:
        problem = f"tune: is of several norms: compare: {{{NORM}: [none, batch]}}"
        raise UserError(f"{document.place(('tune',))}: {problem}")
    for key in tune.over:
        place, path = over.place((key,)), ("tune", "over", key)
        check_key(key, place, path)
        if f"{key}.".startswith(f"{NORM}.") or key == "model":
            raise UserError(f"{place}: tune.over.{key}: norms are what is compared, each at the same points")
        for other in (*compared, *(name for name in tune.over if name != key)):
            if f"{key}.".startswith(f"{other}."):
                where = "compare" if other in compared else "tune.over"
                raise UserError(f"{place}: tune.over.{key}: is in {where}.{other} already")
            if f"{other}.".startswith(f"{key}."):
                raise UserError(f"{place}: tune.over.{key}: holds {other}, which is set as well")
    try:
        return [_point(over, tune, shares) for shares in sobol_points(tune.over, tune.trials)]
    except UserError as error:
        raise UserError(f"{document.place(('tune', 'trials'))}: tune.trials: {error}") from None


def _point(over: Document, tune: Tune, shares: Mapping[str, float]) -> Point:
    """The values by key, as if they were written in the config."""
    found = {}
    for key, share in shares.items():
        values, written = tune.over[key], over.subtree((key,))
        if values.scale == "choices":
            choices = written if isinstance(written.data, list) else written.subtree(("choices",))
            found[key] = choices.subtree((int(share * len(values.values)),))
        else:
            found[key] = Document(values.at(share), written.where)
    return found


def check_choice(choice: Choosing, variants: list[RunConfig]) -> list[Problem]:
    """Why nothing could be chosen among the variants, or judged."""
    if choice.judge_seeds is None:
        return []
    path, problems = choice.path, list[Problem]()
    settings = [variant.variant.settings for variant in variants]
    are_alike = all(set(of) == set(settings[0]) for of in settings)
    norms = one_of_each_norm(variants)
    if not are_alike or not 1 < len(norms) < len(variants):
        message = "nothing is chosen here: compare must be a grid of several norms and of hyperparameters"
        problems.append((path, f"{message}, {{{NORM}: [none, batch], training.optimizer.lr: [0.1, 1.0]}}"))
    if any(not variant.data.has_validation or variant.data.validation == "test" for variant in variants):
        problems.append((path[:1], "needs data.validation, a validation set of its own, to choose on"))
    seeds = seeds_of(variants[0].seeds)
    fresh = choice.fresh(seeds)
    if both := sorted(set(seeds) & set(fresh)):
        problems.append((path, f"seeds that choose cannot judge: {', '.join(map(str, both))}"))
    if max(fresh) >= 2**63:
        problems.append((path, "there are no such seeds after these: give a list"))
    return problems


def one_of_each_norm(variants: list[RunConfig]) -> list[RunConfig]:
    """Of the variants that differ in more than the norm the first."""
    first: dict[str, RunConfig] = {}
    for variant in variants:
        norm = {key: value for key, value in variant.variant.settings.items() if f"{key}.".startswith(f"{NORM}.")}
        first.setdefault(repr(norm), variant)
    return list(first.values())
