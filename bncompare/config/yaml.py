"""Strict YAML: YAML 1.2's scalars (no octal, no hexadecimal), a place (`file:line`) for every value, no surprises.

PyYAML alone reads `1e-3` as a string, `no` as False, and silently keeps the last of two equal keys. Here
scalars follow YAML 1.2, duplicate keys, anchors, aliases and tags are errors, and size and depth are capped.
"""

import contextlib
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import yaml

from bncompare.config.keys import KeyPath, dotted
from bncompare.errors import UserError, printable

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NUMBER_LENGTH = 40

_SURROGATE = re.compile("[\ud800-\udfff]")

# YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#103-core-schema
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"[-+]?0[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def leading_zero(text: str) -> str | None:
    """What is wrong with a whole number such as 012; None if it is no such number."""
    if not _OCTAL.fullmatch(text):
        return None
    why = "a whole number with a leading 0 is octal in YAML 1.1, decimal in 1.2; leave out the 0, or quote a text"
    return f"{text[:MAX_NUMBER_LENGTH]} is ambiguous: {why}"


def resolve_scalar(text: str) -> Any:
    """The value of a plain (unquoted) scalar."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text) and len(text) <= MAX_NUMBER_LENGTH:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


@dataclass(frozen=True, eq=False)
class Document:
    """Plain data read from YAML, and for every part of it the place it came from.

    A document is never changed, nor is its data: `assign` gives another one, which shares all parts but those on the
    way to the new one.
    """

    data: Any
    where: str
    """`file:line`"""
    parts: "dict[str | int, Document]" = field(default_factory=dict)
    """of a mapping or a list, by key or index"""

    def place(self, path: KeyPath) -> str:
        """`file:line` of the value at `path`, or of the nearest enclosing one."""
        document = self
        for key in path:
            if key not in document.parts:
                break
            document = document.parts[key]
        return document.where

    def subtree(self, path: KeyPath) -> "Document":
        """The part at `path`."""
        document = self
        for key in path:
            document = document.parts[key]
        return document

    def without(self, key: str) -> "Document":
        """The same mapping without one of its keys."""
        return _mapping({name: part for name, part in self.parts.items() if name != key}, self.where)

    def assign(self, path: KeyPath, value: "Document", shorthands: dict[KeyPath, str], depth: int = 0) -> "Document":
        """The same with `value` at `path`, and mappings on the way to it.

        `shorthands` says which scalar stands for a mapping: with `("model", "norm"): "kind"`, assigning
        `model.norm.eps` below `norm: batch` first turns it into `norm: {kind: batch}`. This document itself is at
        `path[:depth]` of the whole.
        Raises UserError where `path` leads through something that is not a mapping.
        """
        if depth == len(path):
            return value
        here, key, parts = path[:depth], path[depth], self.parts
        if not isinstance(self.data, dict):
            parts = {}
            if self.data is not None and here in shorthands and not isinstance(self.data, list):
                parts = {shorthands[here]: self}
            elif self.data is not None:
                message = f"{dotted(here)} is {self.data!r}, which has no keys"
                raise UserError(f"{value.where}: {dotted(path)}: {message}")
        before = parts.get(key) or Document(None, value.where)
        return _mapping(parts | {key: before.assign(path, value, shorthands, depth + 1)}, self.where)


def _mapping(parts: dict[str | int, Document], where: str) -> Document:
    return Document({key: part.data for key, part in parts.items()}, where, parts)


@dataclass
class _Open:
    """A mapping or list whose end has not been read yet."""

    document: Document
    path: KeyPath
    key: str | None = None
    key_place: str = ""


class _Reader:
    """Builds a document from the events of PyYAML's parser, and collects what is wrong with it."""

    def __init__(self, source: str, *, line_numbers: bool) -> None:
        self.source, self.line_numbers = source, line_numbers
        self.whole = Document(None, f"{source}:1" if line_numbers else source)
        self.problems: list[str] = []
        self.stack: list[_Open] = []
        self.num_documents = 0

    def place(self, mark: Any) -> str:
        """`file:line`."""
        return f"{self.source}:{mark.line + 1}" if self.line_numbers else self.source

    def read(self, event: yaml.Event) -> None:
        """Take the next event; raises UserError for what leaves the rest without meaning."""
        self.refuse(event)
        top = self.stack[-1] if self.stack else None
        is_key = top is not None and isinstance(top.document.data, dict) and top.key is None
        if isinstance(event, yaml.ScalarEvent):
            if _SURROGATE.search(event.value):
                self.problems.append(
                    f"{self.place(event.start_mark)}: half of a surrogate pair, which no text may hold"
                )
            if top is not None and is_key:
                self.begin_value(top, event)
            else:
                self.add(self.scalar(event), event.start_mark)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if is_key:
                raise UserError(f"{self.place(event.start_mark)}: a key must be a plain word, not a list or mapping")
            if len(self.stack) >= MAX_DEPTH:
                raise UserError(f"{self.place(event.start_mark)}: nested more than {MAX_DEPTH} levels deep")
            empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.stack.append(self.add(empty, event.start_mark))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()

    def refuse(self, event: yaml.Event) -> None:
        """What YAML has and a config has not."""
        place = self.place(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{place}: anchors (&) and aliases (*) are not supported; write it out")
        if tag := getattr(event, "tag", None):
            raise UserError(f"{place}: tags ({tag[:40]}) are not supported")
        self.num_documents += isinstance(event, yaml.DocumentStartEvent)
        if self.num_documents > 1:
            raise UserError(f"{place}: a config is one YAML document; found a second after ---")

    def begin_value(self, mapping: _Open, event: yaml.ScalarEvent) -> None:
        """A key; its value comes next."""
        mapping.key, mapping.key_place = event.value, self.place(event.start_mark)
        if mapping.key in mapping.document.parts:
            first = mapping.document.parts[mapping.key].where
            key = dotted((*mapping.path, mapping.key))
            self.problems.append(f"{mapping.key_place}: {key}: duplicate key; first at {first}")

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        """The value of a scalar."""
        if not event.implicit[0]:
            return event.value
        if len(event.value) > MAX_NUMBER_LENGTH and _FLOAT.fullmatch(event.value):
            place = self.place(event.start_mark)
            self.problems.append(f"{place}: a number of {len(event.value)} digits is too long")
        if ambiguous := leading_zero(event.value):
            self.problems.append(f"{self.place(event.start_mark)}: {ambiguous}")
        return resolve_scalar(event.value)

    def add(self, value: Any, mark: Any) -> _Open:
        """Attach a value to the innermost open container."""
        if not self.stack:
            self.whole = Document(value, self.place(mark))
            return _Open(self.whole, ())
        top = self.stack[-1]
        container, key = top.document.data, top.key
        if isinstance(container, list):
            part = Document(value, self.place(mark))
            top.document.parts[len(container)] = part
            container.append(value)
            return _Open(part, (*top.path, len(container) - 1))
        assert key is not None
        part = Document(value, top.key_place)
        top.document.parts[key] = part
        container[key] = value
        top.key = None
        return _Open(part, (*top.path, key))


def parse_yaml(text: str, source: str, *, line_numbers: bool = True) -> Document:
    """Read one YAML document; raises UserError with every problem found."""
    reader = _Reader(source, line_numbers=line_numbers)
    problems = reader.problems
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            reader.read(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.append(f"{reader.place(mark) if mark else source}: not valid YAML: {error.problem}")
    except yaml.reader.ReaderError as error:
        where = f"{source}:{text.count(chr(10), 0, error.position) + 1}" if line_numbers else source
        problems.append(f"{where}: not valid YAML: control character U+{ord(text[error.position]):04X}")
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(*problems)
    return reader.whole


_TOP_LEVEL_KEY = re.compile(r"^(?=[A-Za-z_]+:(?: |$))", re.MULTILINE)
_OTHER_AT_MARGIN = re.compile(r"^(?![ #]|- |$|[A-Za-z_]+:(?: |$))", re.MULTILINE)


def parse_alike_yaml(text: str, source: str) -> Any:
    """The data of one document of many that are alike, as `parse_yaml` reads it, and raising the same.

    What stands below a top-level key is parsed once for all documents that share it, and shared: not to be changed.
    """
    parts = [part for part in _TOP_LEVEL_KEY.split(text) if part]
    if not _OTHER_AT_MARGIN.search(text) and parts and _TOP_LEVEL_KEY.match(parts[0]):
        # A quote or bracket that spans two parts leaves the first of them invalid.
        with contextlib.suppress(UserError):
            mappings = [_parse_part(part) for part in parts]
            data = {key: value for mapping in mappings for key, value in mapping.items()}
            if len(data) == sum(map(len, mappings)):
                return data
    return parse_yaml(text, source).data


@lru_cache(maxsize=256)
def _parse_part(text: str) -> dict[str, Any]:
    mapping: dict[str, Any] = parse_yaml(text, "").data
    return mapping


def load_yaml(path: Path) -> Document:
    """Read a config file whose top level is a mapping; raises UserError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a config file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES // 1024} KiB: not a config")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 text") from None
    document = parse_yaml(text, str(path))
    if not isinstance(document.data, dict):
        found = {type(None): "empty", list: "a list"}.get(type(document.data), "a single value")
        raise UserError(f"{path}:1: a config is a mapping (name: …, data: …, model: …); this is {found}")
    return document


MAPPING = "config"  # what messages call a config that is no file


def mapping_yaml(data: Mapping[str, Any]) -> Document:
    """A config that is a mapping, read as if it stood in a file; raises UserError."""
    try:
        text = dump_yaml(dict(data))
    except yaml.representer.RepresenterError as error:
        raise UserError(f"{MAPPING}: {error}") from None
    if not data:
        raise UserError(f"{MAPPING}: is empty; a config is a mapping (name: …, data: …, model: …)")
    return parse_yaml(text, MAPPING, line_numbers=False)


class _Dumper(yaml.SafeDumper):
    """Writes only what `parse_yaml` reads back as the same value."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        plain = isinstance(resolve_scalar(data), str) and "\x85" not in data  # a line break to PyYAML
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')

    def represent_other(self, data: object) -> yaml.ScalarNode:
        """A number or text of NumPy, or a path."""
        if isinstance(data, numbers.Integral):
            return self.represent_int(int(data))
        if isinstance(data, numbers.Real):
            return self.represent_float(float(data))
        if isinstance(data, str | PurePath):
            return self.represent_text(str(data))
        message = f"{data!r:.80} is no number, text, list or mapping, but {type(data)}"
        raise yaml.representer.RepresenterError(message)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(None, _Dumper.represent_other)  # type: ignore[arg-type]


def dump_yaml(data: Any) -> str:
    """Plain data as block YAML, keys in the order given, short lists on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def selector_text(selector: dict[str, Any]) -> str:
    """The keys and values of a claim's `variant:` or `versus:` on one line, as `model.norm: batch`.

    Raises UserError for a value that a config cannot hold.
    """
    try:
        text = yaml.dump(
            selector, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=math.inf
        )
    except yaml.representer.RepresenterError as error:
        raise UserError(str(error)) from None
    return printable(" ".join(text.split()).removeprefix("{").removesuffix("}"))
