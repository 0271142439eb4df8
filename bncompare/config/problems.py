"""Pydantic's errors as sentences: `file:line: key: what is wrong; valid choices; did you mean`."""

import difflib
import functools
import re
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bncompare.config.keys import KeyPath, dotted
from bncompare.config.run import ExperimentFile
from bncompare.config.yaml import Document
from bncompare.norms import NORMS, NoNorm, Norm

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
    return [line(document, *_explain(detail, model, document.data)) for detail in error.errors()]


def line(document: Document, path: KeyPath, message: str) -> str:
    """`file:line: key: message`."""
    return f"{document.place(path)}: {dotted(path)}: {message}" if path else f"{document.place(path)}: {message}"


def _explain(detail: ErrorDetails, model: type[BaseModel], data: Any) -> tuple[KeyPath, str]:
    path, section = _locate(detail["loc"], model, data)
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    not_this = f", not {shown(value)}"
    if kind == "too_short" and context["min_length"] > 1:
        kind = "too_few"
    if kind == "missing":
        return path, "missing: this key is required"
    if kind == "extra_forbidden":
        valid = [*section.model_fields] if section else []
        if section is model:
            valid = [name for name in ExperimentFile.model_fields if name != "variant"]
        return path, f"unknown key; valid: {', '.join(valid)}{did_you_mean(path[-1], valid)}"
    if kind == "union_tag_not_found":
        key = str(context["discriminator"]).strip("'")
        if not isinstance(value, dict):
            return path, f"must be a mapping of keys to values{not_this}"
        return (*path, key), "missing: this key is required"
    if kind == "no_kind":
        return (*path, "kind"), detail["msg"]
    if kind in ("unknown_kind", "unknown_choice"):
        if kind == "unknown_kind" and isinstance(value, dict):  # else a shorthand: `norm: batch`
            path = (*path, "kind")
        value = functools.reduce(_child, path, data)
        choices = context["choices"]
        return path, f"must be one of {', '.join(choices)}, not {shown(value)}{did_you_mean(value, choices)}"
    if kind in ("union_tag_invalid", "literal_error"):
        expected = context["expected_tags"] if kind == "union_tag_invalid" else context["expected"]
        choices = re.findall(r"'([^']*)'", expected) or [str(expected)]
        if kind == "union_tag_invalid":
            value = functools.reduce(_child, path, data)  # context["tag"] is text, whatever it was in the file
            if isinstance(value, dict):  # else a shorthand: `norm: batch`
                key = str(context["discriminator"]).strip("'")
                path, value = (*path, key), value.get(key)
        return path, f"must be one of {', '.join(choices)}, not {shown(value)}{did_you_mean(value, choices)}"
    if kind == "string_pattern_mismatch" and path[-1] == "device":
        return path, f"must be auto, cpu, cuda, cuda:1 or mps{not_this}"
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in context.items()}
    wanted = _WANTED[kind].format(**limits) if kind in _WANTED else detail["msg"]
    return path, wanted + not_this


def _locate(loc: tuple[str | int, ...], model: type[BaseModel], data: Any) -> tuple[KeyPath, type[BaseModel] | None]:
    """The path in the YAML of a pydantic location, which also holds the tags of unions; and its section."""
    path: KeyPath = ()
    section: type[BaseModel] | None = model
    value: Any = data
    candidates: list[type[BaseModel]] = []
    for i, key in enumerate(loc):
        tagged = [c for c in candidates if key in _tags(c)]
        if tagged and (section is None or key not in section.model_fields):
            (section,) = tagged
            continue
        path = (*path, key)
        is_last = i == len(loc) - 1
        if not is_last:
            value = _child(value, key)
        if is_last and section is not None and key not in section.model_fields:
            break
        annotation = section.model_fields[str(key)].annotation if section and key in section.model_fields else None
        candidates = _sections(annotation) if annotation is not None else candidates
        section = candidates[0] if len(candidates) == 1 and not isinstance(value, list) else None
        if section is None and isinstance(value, dict) and isinstance(value.get("kind"), str):
            section = next((c for c in candidates if value["kind"] in _tags(c)), None)
    return path, section


def _child(value: Any, key: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    return value[key] if isinstance(value, list) and isinstance(key, int) and key < len(value) else None


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The section classes in a type such as `Annotated[A | B, …] | None`."""
    if annotation is Norm:
        return [norm for norm in NORMS.values() if norm is not NoNorm]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in typing.get_args(annotation) for section in _sections(part)]


def _tags(section: type[BaseModel]) -> set[Any]:
    """The names or kinds a section stands for in a union."""
    return {
        tag
        for key in ("name", "kind")
        if key in section.model_fields
        for tag in typing.get_args(section.model_fields[key].annotation)
    }
