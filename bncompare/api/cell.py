"""The output of a notebook's cell while it trains: it is drawn anew a few times a second, with nothing to install."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from markupsafe import Markup

from bncompare.errors import printable

SECONDS_BETWEEN_DRAWINGS = 0.25


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


@dataclass(frozen=True)
class Bar:
    """How far something is."""

    name: str
    done: int
    total: int
    text: str = ""


class Cell:
    """What is waited for, bars, and lines that stay. Raises ImportError outside of IPython."""

    def __init__(self) -> None:
        display: Any = import_module("IPython.display")
        self._html, self._handle = display.HTML, display.display(display.HTML(""), display_id=True)
        self.lines: list[str] = []
        self.waiting_for = ""
        self.bars: Callable[[], Iterable[Bar]] = tuple

    def tell(self, line: str) -> None:
        """Add a line that stays."""
        self.lines.append(printable(line))
        self.draw()

    def wait_for(self, what: str) -> None:
        """Show it until there are bars."""
        self.waiting_for = what
        self.draw()

    @contextmanager
    def showing(self, bars: Callable[[], Iterable[Bar]]) -> Iterator[None]:
        """Meanwhile show these bars as they are, several times a second; afterwards the first of them stays."""
        self.bars = bars
        ended = threading.Event()

        def refresh() -> None:
            while not ended.wait(SECONDS_BETWEEN_DRAWINGS):
                self.draw()

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            stays = list(bars())[:1]
            self.bars, self.waiting_for = lambda: stays, ""
            self.draw()

    def draw(self) -> None:
        """As it is now."""
        bars = list(self.bars())
        rows = [_ROW.format(printable(bar.name), bar.done, max(bar.total, 1), printable(bar.text)) for bar in bars]
        shown = [self.waiting_for] * bool(self.waiting_for and not bars) + self.lines
        lines = [Markup("<div>{}</div>").format(line) for line in shown]
        html = Markup("<table>{}</table>").format(Markup("").join(rows)) if rows else Markup("")
        self._handle.update(self._html(str(html + Markup("").join(lines))))


_ROW = Markup(
    '<tr><td style="text-align: left">{}</td><td><progress value="{}" max="{}"></progress></td>'
    '<td style="text-align: left">{}</td></tr>'
)
