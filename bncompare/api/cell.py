"""The output of a notebook's cell while it trains: it is drawn anew a few times a second, with nothing to install."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from markupsafe import Markup

from bncompare.api.screens import Bar
from bncompare.errors import printable

SECONDS_BETWEEN_DRAWINGS = 0.25


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class Cell:
    """What is waited for, bars, and lines that stay. Raises ImportError outside of IPython."""

    lists_runs = False

    def __init__(self) -> None:
        display: Any = import_module("IPython.display")
        self._html, self._handle = display.HTML, display.display(display.HTML(""), display_id=True)
        self.lines: list[str] = []
        self.waiting_for = ""
        self.bars: Callable[[], Iterable[Bar]] = tuple

    def tell(self, line: str) -> None:
        self.lines.append(printable(line))
        self.draw()

    def wait_for(self, what: str) -> None:
        self.waiting_for = what
        self.draw()

    @contextmanager
    def showing(self, bars: Callable[[], Iterable[Bar]]) -> Iterator[None]:
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
            self.draw()

    def draw(self) -> None:
        """As it is now."""
        rows = [
            _ROW.format(printable(bar.name), bar.done, max(bar.total, 1), printable(f"{bar.count} {bar.text}"))
            for bar in self.bars()
        ]
        shown = [self.waiting_for] * bool(self.waiting_for) + self.lines
        lines = [Markup("<div>{}</div>").format(line) for line in shown]
        html = Markup("<table>{}</table>").format(Markup("").join(rows)) if rows else Markup("")
        self._handle.update(self._html(str(html + Markup("").join(lines))))


_ROW = Markup(
    '<tr><td style="text-align: left">{}</td><td><progress value="{}" max="{}"></progress></td>'
    '<td style="text-align: left">{}</td></tr>'
)
