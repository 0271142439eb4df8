"""Where it is shown how far training is: lines of text, bars on a terminal; a notebook's cell is in `cell.py`."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bncompare.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

SECONDS_BEFORE_WAITING = 1.0

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Bar:
    """How far something is."""

    name: str
    done: int
    total: int
    count: str
    """as text"""
    text: str = ""


class Screen(Protocol):
    """What shows bars."""

    lists_runs: bool
    """whether there is a line for each run that ends, too"""

    def tell(self, line: str) -> None:
        """Add a line that stays."""

    def wait_for(self, what: str) -> None:
        """Show what is waited for; nothing for an empty text."""

    def showing(self, bars: Callable[[], Iterable[Bar]]) -> AbstractContextManager[None]:
        """Meanwhile show these bars as they are, several times a second; they stay as they are in the end."""


class Lines:
    """Lines of text; when quiet, none but those of trouble."""

    def __init__(self, tell: Tell, *, quiet: bool = False, patience: float = SECONDS_BEFORE_WAITING) -> None:
        self.tell, self.quiet, self.patience = tell, quiet, patience
        self.timer: threading.Timer | None = None

    def wait_for(self, what: str) -> None:
        """Say it if it takes a second; nothing for an empty text."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if what and not self.quiet:
            self.timer = threading.Timer(self.patience, self.tell, [what])
            self.timer.daemon = True
            self.timer.start()


class Terminal:
    """Bars on stderr and what is waited for, below lines that stay."""

    lists_runs = True

    def __init__(self, console: "Console") -> None:
        self.console = console
        self.waiting_for = ""
        self.live: Live | None = None

    def tell(self, line: str) -> None:
        self.console.print(printable(line), markup=False, soft_wrap=True)

    def wait_for(self, what: str) -> None:
        self.waiting_for = what
        if self.live is not None:
            self.live.refresh()  # now, as what is waited for may let no other thread run

    @contextmanager
    def showing(self, bars: Callable[[], Iterable[Bar]]) -> Iterator[None]:
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text

        def shown() -> Group:
            return Group(_table(bars()), *[Text(self.waiting_for)] * bool(self.waiting_for))

        with Live(console=self.console, get_renderable=shown, refresh_per_second=10) as self.live:
            yield


def _table(bars: Iterable[Bar]) -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(no_wrap=True)
    for bar in bars:
        name, count, text = (Text(printable(part)) for part in (bar.name, bar.count, bar.text))
        table.add_row(name, ProgressBar(bar.total, bar.done, width=16), count, text)
    return table


def screen_of(tell: Tell, *, quiet: bool = False) -> Lines | Screen:
    """Bars where stderr is a terminal, else lines that `tell` takes."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    return Terminal(console) if console.is_terminal and not quiet else Lines(tell, quiet=quiet)
