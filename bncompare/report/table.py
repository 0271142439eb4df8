"""A table of texts, and how it is printed on a terminal."""

import dataclasses
import sys
from collections.abc import Sequence, Set
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from bncompare.errors import printable


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    title: str
    columns: list[str]
    groups: list[tuple[str, list[list[str]]]]
    """(heading, rows); an empty heading where there is one group alone"""
    numbers: Set[str]
    """columns of numbers, to be set flush right"""
    notes: list[str] = dataclasses.field(default_factory=list)
    is_detail: bool = False
    """whether it may be folded away"""

    def without_empty(self, name: str) -> "Table":
        """Without a column that has nothing in it."""
        i = self.columns.index(name)
        if any(row[i] for _, rows in self.groups for row in rows):
            return self
        groups = [(heading, [row[:i] + row[i + 1 :] for row in rows]) for heading, rows in self.groups]
        return dataclasses.replace(self, columns=self.columns[:i] + self.columns[i + 1 :], groups=groups)


PIPE_WIDTH = 200  # columns, where the output is not a terminal
MAX_WIDTH = 1_000
MIN_TEXT_WIDTH = 12  # of a column whose cells may take several lines


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Set[str] = frozenset(), title: str | None = None
) -> None:  # fmt: skip
    """A table on stdout; `right` names the columns of numbers, of which none is cut, however narrow the terminal."""
    table = RichTable(
        box=box.SIMPLE_HEAD, title=title and Text(printable(title)), title_justify="left", title_style="bold"
    )
    texts = [[printable(cell) for cell in row] for row in rows]
    for name, *cells in zip(columns, *texts, strict=True):
        is_number = name in right
        head = printable(name)
        width = max(map(cell_len, [head, *cells]))
        table.add_column(
            Text(head),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            min_width=width if is_number else min(width, MIN_TEXT_WIDTH),
        )
    for row in texts:
        table.add_row(*map(Text, row))
    wide = Console(width=MAX_WIDTH)
    needed = Measurement.get(wide, wide.options, table).minimum
    console = Console(width=max(needed, Console().width if sys.stdout.isatty() else PIPE_WIDTH), highlight=False)
    console.print(table)
