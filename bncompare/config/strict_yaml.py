"""Strict YAML: YAML 1.2's scalars (no octal, no hexadecimal), a place (`file:line`) for every value, no surprises.

PyYAML alone reads `1e-3` as a string, `no` as False, and silently keeps the last of two equal keys. Here
scalars follow YAML 1.2, duplicate keys, anchors, aliases and tags are errors, and size and depth are capped.
"""

import contextlib
import copy
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from bncompare.errors import UserError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NUMBER_LENGTH = 40

KeyPath = tuple[str | int, ...]

_SURROGATE = re.compile("[\ud800-\udfff]")

# YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#103-core-schema
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


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


@dataclass
class Document:
    """Plain data read from YAML, and for every value the place it came from."""

    data: Any
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """`file:line` of the value at `path`, or of the nearest enclosing one."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, "config")

    def subtree(self, path: KeyPath) -> "Document":
        """The part below `path`, as a document of its own."""
        value = self.data
        for key in path:
            value = value[key]
        size = len(path)
        return Document(
            copy.deepcopy(value),
            {p[size:]: place for p, place in self.places.items() if p[:size] == path},
        )

    def copy(self) -> "Document":
        """An independent copy."""
        return self.subtree(())

    def assign(self, path: KeyPath, value: "Document", shorthands: dict[KeyPath, str]) -> None:
        """Put `value` at `path`, making mappings on the way.

        `shorthands` says which scalar stands for a mapping: with `("model", "norm"): "kind"`, assigning
        `model.norm.eps` below `norm: batch` first turns it into `norm: {kind: batch}`.
        Raises UserError where `path` leads through something that is not a mapping.
        """
        parent = self.data
        for depth, key in enumerate(path[:-1], start=1):
            here = path[:depth]
            child = parent.get(key)
            if child is None:
                child = {}
            elif not isinstance(child, dict) and here in shorthands:
                child = {shorthands[here]: child}
            elif not isinstance(child, dict):
                where = dotted(here)
                raise UserError(f"{value.place(())}: {dotted(path)}: {where} is {child!r}, which has no keys")
            parent[key] = child
            self.places.setdefault(here, value.place(()))
            parent = child
        parent[path[-1]] = value.data
        self.places = {p: place for p, place in self.places.items() if p[: len(path)] != path}
        self.places |= {path + p: place for p, place in value.places.items()}


def dotted(path: KeyPath) -> str:
    """`("compare", 0, "label")` as `compare[0].label`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            word = key if key.isprintable() and key else repr(key)
            text += f".{word}" if text else word
    return text


@dataclass
class _Open:
    """A mapping or list whose end has not been read yet."""

    container: dict[str, Any] | list[Any]
    path: KeyPath
    key: str | None = None


def parse(text: str, source: str, *, line_numbers: bool = True) -> Document:
    """Read one YAML document; raises UserError with every problem found."""
    problems: list[str] = []
    document = Document(None)
    stack: list[_Open] = []
    documents = 0

    def place(mark: Any) -> str:
        return f"{source}:{mark.line + 1}" if line_numbers else source

    def add(value: Any, mark: Any) -> KeyPath:
        """Attach a value to the innermost open container; returns its path."""
        path: KeyPath = ()
        if not stack:
            document.data = value
        else:
            top = stack[-1]
            if isinstance(top.container, list):
                path = (*top.path, len(top.container))
                top.container.append(value)
            else:
                assert top.key is not None
                path = (*top.path, top.key)
                top.container[top.key] = value
                top.key = None
        document.places.setdefault(path, place(mark))
        return path

    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            mark = event.start_mark
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise UserError(f"{place(mark)}: anchors (&) and aliases (*) are not supported; write it out")
            if tag := getattr(event, "tag", None):
                raise UserError(f"{place(mark)}: tags ({tag[:40]}) are not supported")
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise UserError(f"{place(mark)}: a config is one YAML document; found a second after ---")
            if isinstance(event, yaml.ScalarEvent) and _SURROGATE.search(event.value):
                problems.append(f"{place(mark)}: half of a surrogate pair, which no text may hold")
            waiting_for_key = stack and isinstance(stack[-1].container, dict) and stack[-1].key is None
            if isinstance(event, yaml.ScalarEvent) and waiting_for_key:
                top = stack[-1]
                path = (*top.path, event.value)
                if event.value in top.container:
                    first = document.place(path)
                    problems.append(f"{place(mark)}: {dotted(path)}: duplicate key; first at {first}")
                top.key = event.value
                document.places[path] = place(mark)
            elif isinstance(event, yaml.ScalarEvent):
                plain = event.implicit[0]
                if plain and len(event.value) > MAX_NUMBER_LENGTH and _FLOAT.fullmatch(event.value):
                    problems.append(f"{place(mark)}: a number of {len(event.value)} digits is too long")
                add(resolve_scalar(event.value) if plain else event.value, mark)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                if waiting_for_key:
                    raise UserError(f"{place(mark)}: a key must be a plain word, not a list or mapping")
                if len(stack) >= MAX_DEPTH:
                    raise UserError(f"{place(mark)}: nested more than {MAX_DEPTH} levels deep")
                container: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
                stack.append(_Open(container, add(container, mark)))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                stack.pop()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.append(f"{place(mark) if mark else source}: not valid YAML: {error.problem}")
    except yaml.reader.ReaderError as error:
        where = f"{source}:{text.count(chr(10), 0, error.position) + 1}" if line_numbers else source
        problems.append(f"{where}: not valid YAML: control character U+{ord(text[error.position]):04X}")
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(*problems)
    document.places.setdefault((), f"{source}:1" if line_numbers else source)
    return document


_TOP_LEVEL_KEY = re.compile(r"^(?=[A-Za-z_]+:(?: |$))", re.MULTILINE)
_OTHER_AT_MARGIN = re.compile(r"^(?![ #]|- |$|[A-Za-z_]+:(?: |$))", re.MULTILINE)


def parse_alike(text: str, source: str) -> Any:
    """The data of one document of many that are alike, as `parse` reads it, and raising the same.

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
    return parse(text, source).data


@lru_cache(maxsize=256)
def _parse_part(text: str) -> dict[str, Any]:
    mapping: dict[str, Any] = parse(text, "").data
    return mapping


def load(path: Path) -> Document:
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
    document = parse(text, str(path))
    if not isinstance(document.data, dict):
        found = {type(None): "empty", list: "a list"}.get(type(document.data), "a single value")
        raise UserError(f"{path}:1: a config is a mapping (name: …, data: …, model: …); this is {found}")
    return document


class _Dumper(yaml.SafeDumper):
    """Writes only what `parse` reads back as the same value."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        plain = isinstance(resolve_scalar(data), str) and "\x85" not in data  # a line break to PyYAML
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def dump(data: Any) -> str:
    """Plain data as block YAML, keys in the order given, short lists on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
