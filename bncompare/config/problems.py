"""Pydantic's errors as sentences: `file:line: key: what is wrong; valid choices; did you mean`."""

import re
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bncompare.config.keys import KeyPath, Problem, dotted
from bncompare.config.run import ExperimentFile, RunConfig
from bncompare.config.suggestions import called, did_you_mean, suggestion
from bncompare.config.yaml import Document
from bncompare.options import OneOf, Section

WRITTEN = ("variant", "design", "tuning_seeds", "plugins")  # by bncompare, into the config.yaml of a run
MAX_SHOWN = 60  # characters of a bad value

_WANTED = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "finite_number": "must be finite",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty",
    "too_few": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
}


def shown(value: Any) -> str:
    """A bad value, cut to a readable length, as YAML would show it."""
    named = {None: "null (nothing)", True: "true", False: "false"}
    text = named[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def describe(error: ValidationError, model: type[BaseModel], document: Document) -> list[str]:
    """One line for each thing that is wrong in `document`, in the order of its lines."""
    return [line(document, *problem) for problem in explained(error, model, document)]


def explained(error: ValidationError, model: type[BaseModel], document: Document) -> list[Problem]:
    """The same as problems."""
    return [_explain(detail, model, document.data) for detail in error.errors()]


def line(document: Document, path: KeyPath, message: str) -> str:
    """`file:line: key: message`."""
    return f"{document.place(path)}: {dotted(path)}: {message}" if path else f"{document.place(path)}: {message}"


def _explain(detail: ErrorDetails, model: type[BaseModel], data: Any) -> Problem:
    path, kind, value, context = detail["loc"], detail["type"], detail["input"], detail.get("ctx", {})
    not_this = f", not {shown(value)}"
    if kind == "too_short" and context["min_length"] > 1:
        kind = "too_few"
    if kind == "missing":
        return path, "missing: this key is required"
    if kind == "extra_forbidden":
        return path, _unknown_key(path, model, data)
    if kind in ("unknown_choice", "literal_error"):
        choices = context["choices"] if kind == "unknown_choice" else re.findall(r"'([^']*)'", context["expected"])
        choices = choices or [context["expected"]]
        hint = did_you_mean(value, choices)
        if not hint and isinstance(value, str) and path in _OPEN:
            hint = "; docs/extending.md says how to add one"
        return path, f"must be one of {', '.join(choices)}{not_this}{hint}"
    if kind == "string_pattern_mismatch" and path[-1] == "device":
        return path, f"must be auto, cpu, cuda, cuda:1 or mps{not_this}"
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in context.items()}
    wanted = _WANTED[kind].format(**limits) if kind in _WANTED else detail["msg"]
    if kind == "list_type":
        wanted += _list_form(path[-1], value)
    elif kind in ("dict_type", "model_type", "model_attributes_type") and isinstance(path[-1], str):
        wanted += _mapping_form(_section(path, model, data).model_fields.get(path[-1]), value)
    return path, wanted + not_this


# To choices at these keys anybody can add one.
_OPEN = {("model", "name"), ("model", "norm"), ("model", "norm", "kind"), ("data", "name")}
_OPEN |= {("training", "optimizer", "name"), ("training", "scheduler"), ("training", "scheduler", "name")}


def _unknown_key(path: KeyPath, model: type[BaseModel], data: Any) -> str:
    """What may have been meant: a key of this name here, in another section, or one like it."""
    section, key = _section(path, model, data), path[-1]
    valid = [*(ExperimentFile if len(path) == 1 else section).model_fields]
    if len(path) == 1:
        valid = [name for name in valid if name not in WRITTEN]
    hint = did_you_mean(key, valid)
    elsewhere = [] if called(key, valid) else keys_called(key, nearly=not hint)
    elsewhere = [there for there in elsewhere if there != dotted(path)]  # which an alternative has
    if elsewhere:
        return f"unknown key; did you mean {' or '.join(elsewhere)}?"
    return f"unknown key; valid: {', '.join(valid)}{hint}"


def keys_called(word: Any, *, nearly: bool = False) -> list[str]:
    """The dotted keys whose last word this is, or `nearly` is; none where there are more than three."""
    keys = list(dict.fromkeys(_keys(RunConfig)))
    last = {key: key.rpartition(".")[2] for key in keys}
    words = called(word, last.values())
    if not words and nearly:
        words = [meant for meant in [suggestion(word, last.values())] if meant]
    found = [key for key in keys if last[key] in words]
    return found if len(found) <= 3 else []


def _keys(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every dotted key of a section and of all that may be in it."""
    for name, field in model.model_fields.items():
        if name not in (*WRITTEN, "claims"):  # which nobody sets by its key
            yield before + name
            for section in _sections(field, None):
                yield from _keys(section, f"{before}{name}.")


EXAMPLES: dict[str, Any] = {"lr": 0.1, "hidden": [128], "patience": 5, "std": 0.01, "step_size": 10, "gamma": 0.5}


def _list_form(key: str | int, value: Any) -> str:
    """`: [128]` for 128; for a text its whole numbers."""
    numbers = [int(number) for number in re.findall("[0-9]{1,9}", value)] if isinstance(value, str) else []
    example = [value] if _is_number(value) else numbers or EXAMPLES.get(str(key))
    return f": {example}" if example else ""


def _mapping_form(field: FieldInfo | None, value: Any) -> str:
    """`: {name: sgd, lr: 0.1}` for sgd; nothing where no key is required."""
    sections = _sections(field, None) if field else []
    example = _example(field, sections, value) if field and sections else {}
    return f": {_flow(example)}" if example else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _example(field: FieldInfo, sections: list[type[Section]], value: Any) -> dict[str, Any]:
    """The least that a section needs: the alternative that is named, or the first."""
    example: dict[str, Any] = {}
    section = sections[0]
    for choice in field.metadata:
        if isinstance(choice, OneOf):
            name = suggestion(value, choice.choices) or next(iter(choice.choices))
            section, example = choice.choices[name], {choice.key: name}
    for key, inner in section.model_fields.items():
        if inner.is_required() and key not in example:
            below = _sections(inner, None)
            example[key] = _example(inner, below, None) if below else EXAMPLES.get(key, "…")
    if len(example) == 1 and _is_number(value):
        example = dict.fromkeys(example, value)
    return example


def _flow(value: Any) -> str:
    """As it is written on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return str(value)


def _section(path: KeyPath, model: type[BaseModel], data: Any) -> type[BaseModel]:
    """The section that has, or has not, the key at the end of a path."""
    for key in path[:-1]:
        data = data[key]
        if isinstance(key, str):
            field = model.model_fields[key]
        model = _sections(field, data)[0]  # of an entry of a list, what that may be
    return model


def _sections(field: FieldInfo, value: Any) -> list[type[Section]]:
    """The sections that may be in a field, or in its list: the chosen one, or all the alternatives."""
    for choice in field.metadata:
        if isinstance(choice, OneOf):
            chosen = choice.chosen(value)
            return [chosen] if chosen else list(dict.fromkeys(choice.choices.values()))
    types = [field.annotation, *typing.get_args(field.annotation)]
    return [part for part in types if isinstance(part, type) and issubclass(part, Section)]
