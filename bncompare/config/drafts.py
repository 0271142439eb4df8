"""The variants that a config compares, as they are written: a label, and the keys it sets."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bncompare.config.checks import MAX_RUNS
from bncompare.config.keys import MAX_LABEL_LENGTH, KeyPath, dotted, made_label
from bncompare.config.problems import WRITTEN, keys_called, shown
from bncompare.config.run import LABEL_RULE, RunConfig, is_label, looks_of_label
from bncompare.config.suggestions import did_you_mean
from bncompare.config.yaml import Document
from bncompare.errors import UserError


@dataclass(frozen=True)
class Draft:
    """A variant before validation: its label and the keys it sets."""

    label: str
    settings: dict[str, Document]
    place: str


Point = dict[str, Document]
"""settings that are tried together"""

OWN_LABELS = "give the variants labels of their own: compare: [{label: …}, …]"


def drafts_of(compare: Document, points: Sequence[Point] = ()) -> list[Draft]:
    """The variants a `compare` section asks for, a grid at each of the points if there are some."""
    data = compare.data
    if isinstance(data, dict) and data:
        drafts = list(_grid(compare, points))
    elif isinstance(data, list) and data:
        drafts = list(_named(compare))
    else:
        raise UserError(
            f"{compare.where}: compare: must be a mapping of keys to lists of values, or a list of variants "
            f"with a label each, not {shown(data)}"
        )
    labels: dict[str, Draft] = {}
    for draft in drafts:
        first = labels.setdefault(looks_of_label(draft.label), draft)
        if first is not draft:
            alike = f"; it looks like {first.label!r}" if first.label != draft.label else ""
            hint = f"; {OWN_LABELS}" if isinstance(data, dict) and len(draft.label) == MAX_LABEL_LENGTH else ""
            raise UserError(f"{draft.place}: compare: two variants are called {shown(draft.label)}{alike}{hint}")
    return drafts


_NOT_COMPARED = ("name", "seeds", "compare", "claims", *WRITTEN)


def check_key(key: Any, place: str, path: KeyPath) -> None:
    """Raises UserError for a key, at `path` of the config, that no variant can set."""
    first = str(key).split(".")[0]
    if first in _NOT_COMPARED or first not in RunConfig.model_fields:
        sections = [name for name in RunConfig.model_fields if name not in _NOT_COMPARED]
        hint = did_you_mean(first, sections)
        meant = [there for there in keys_called(str(key).split(".")[-1]) if there.split(".")[0] in sections]
        hint = hint or (f"; did you mean {' or '.join(meant)}?" if meant else "")
        where = dotted(path)
        raise UserError(f"{place}: {where}: cannot be compared; valid keys start with {', '.join(sections)}{hint}")


def _grid(compare: Document, points: Sequence[Point]) -> Iterator[Draft]:
    for key, values in compare.data.items():
        place = compare.place((key,))
        check_key(key, place, ("compare", key))
        if not isinstance(values, list) or not values:
            where = dotted(("compare", key))
            raise UserError(f"{place}: {where}: must be a list of values to compare, not {shown(values)}")
    axes: list[Sequence[Point]] = [
        [{key: compare.subtree((key, i))} for i in range(len(values))] for key, values in compare.data.items()
    ]
    axes += [points] if points else []
    if math.prod(map(len, axes)) > MAX_RUNS:
        raise UserError(f"{compare.where}: compare: more than {MAX_RUNS:,} variants")
    for point in itertools.product(*axes):
        settings = {key: value for part in point for key, value in part.items()}
        label = made_label({key: value.data for key, value in settings.items()})
        if not is_label(label):
            raise UserError(f"{compare.where}: compare: {shown(label)} is no label ({LABEL_RULE}); {OWN_LABELS}")
        yield Draft(label, settings, compare.where)


def _named(compare: Document) -> Iterator[Draft]:
    for i, variant in enumerate(compare.data):
        place = compare.place((i,))
        if not isinstance(variant, dict):
            raise UserError(f"{place}: compare[{i}]: must be a mapping with a label, not {shown(variant)}")
        label = variant.get("label")
        if "label" not in variant:
            hint = did_you_mean("label", variant)
            raise UserError(f"{place}: compare[{i}].label: missing: a variant needs a label{hint}")
        if not isinstance(label, str) or not is_label(label):
            raise UserError(f"{place}: compare[{i}].label: must be {LABEL_RULE}, not {shown(label)}")
        settings = {}
        for key in variant:
            if key != "label":
                check_key(key, compare.place((i, key)), ("compare", i, key))
                settings[key] = compare.subtree((i, key))
        yield Draft(label, settings, place)
