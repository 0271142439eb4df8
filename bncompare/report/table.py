"""A table of texts. What is in it is made printable once, here; terminal, Markdown and the page only lay it out."""

import dataclasses
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from bncompare.config import dump_yaml
from bncompare.errors import printable

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    columns: Sequence[str]
    groups: Sequence[tuple[str, Rows]]
    """(heading, rows); an empty heading where there is one group alone"""
    numbers: Set[str] = frozenset()
    """columns of numbers, to be set flush right"""
    title: str = ""
    notes: Sequence[str] = ()
    is_detail: bool = False
    """whether it may be folded away"""
    num_keys: int = 1
    """columns, the first ones, that tell the rows apart"""

    def __post_init__(self) -> None:
        """Every text a printable line."""
        groups = [(printable(heading), [_line(row) for row in rows]) for heading, rows in self.groups]
        texts = {"columns": _line(self.columns), "groups": groups, "numbers": set(_line(self.numbers))}
        for name, value in (texts | {"title": printable(self.title), "notes": _line(self.notes)}).items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, columns: Sequence[str], rows: Rows, numbers: Set[str] = frozenset(), title: str = "") -> "Table":
        """One group of rows."""
        return cls(columns, [("", rows)], numbers, title)

    def without_empty(self, name: str) -> "Table":
        """Without a column that has nothing in it."""
        i = self.columns.index(name)
        if any(row[i] for _, rows in self.groups for row in rows):
            return self
        groups = [(heading, [[*row[:i], *row[i + 1 :]] for row in rows]) for heading, rows in self.groups]
        columns = [*self.columns[:i], *self.columns[i + 1 :]]
        return dataclasses.replace(self, columns=columns, groups=groups, num_keys=self.num_keys - (i < self.num_keys))


def _line(texts: Iterable[str]) -> list[str]:
    return [printable(text) for text in texts]


def as_yaml(value: Any) -> str:
    """A value as a config has it, for a cell."""
    return dump_yaml(value).removesuffix("...\n").strip()
