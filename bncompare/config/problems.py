"""Pydantic's errors as sentences: `file:line: key: what is wrong; valid choices; did you mean`."""

import difflib
import re
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bncompare.config.keys import KeyPath, Problem, dotted
from bncompare.config.run import ExperimentFile
from bncompare.config.yaml import Document
from bncompare.options import OneOf

MAX_SHOWN = 60  # characters of a bad value

_WANTED = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
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


def did_you_mean(word: Any, choices: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing."""
    close = difflib.get_close_matches(word, list(choices), n=1) if isinstance(word, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""


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
        valid = [*_section(path, model, data).model_fields]
        if len(path) == 1:
            valid = [name for name in ExperimentFile.model_fields if name != "variant"]
        return path, f"unknown key; valid: {', '.join(valid)}{did_you_mean(path[-1], valid)}"
    if kind in ("unknown_choice", "literal_error"):
        choices = context["choices"] if kind == "unknown_choice" else re.findall(r"'([^']*)'", context["expected"])
        choices = choices or [context["expected"]]
        return path, f"must be one of {', '.join(choices)}{not_this}{did_you_mean(value, choices)}"
    if kind == "string_pattern_mismatch" and path[-1] == "device":
        return path, f"must be auto, cpu, cuda, cuda:1 or mps{not_this}"
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in context.items()}
    wanted = _WANTED[kind].format(**limits) if kind in _WANTED else detail["msg"]
    return path, wanted + not_this


def _section(path: KeyPath, model: type[BaseModel], data: Any) -> type[BaseModel]:
    """The section that has, or has not, the key at the end of a path."""
    for key in path[:-1]:
        data = data[key]
        if isinstance(key, str):
            model = _below(model.model_fields[key], data)
    return model


def _below(field: FieldInfo, value: Any) -> type[BaseModel]:
    """The section in a field, or in its list: the chosen one, or the only one."""
    for choice in field.metadata:
        if isinstance(choice, OneOf) and (chosen := choice.chosen(value)):
            return chosen
    types = [field.annotation, *typing.get_args(field.annotation)]
    return next(part for part in types if isinstance(part, type) and issubclass(part, BaseModel))
