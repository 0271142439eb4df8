"""The standard streams of a command, which may be closed, full or without a reader."""

import contextlib
import io
import os
import select
import sys
import warnings
from typing import Any, TextIO

from bncompare.errors import PluginWarning, printable


class OutputError(Exception):
    """Results that stdout does not take."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.strerror)
        self.has_no_reader = isinstance(cause, BrokenPipeError)


class _Results(io.FileIO):
    """stdout, whose errors are told from those of files."""

    def write(self, data: Any, /) -> int:
        """All that goes in now; waits for a reader that is behind. Raises OutputError."""
        try:
            while (written := super().write(data)) is None:  # somebody made it non-blocking, and it is full
                select.select([], [self], [])
            return written
        except OSError as error:
            raise OutputError(error) from None


class _BestEffort(io.FileIO):
    """stderr, which drops what it cannot write: no full disk, and no reader that has gone, ends a training."""

    def write(self, data: Any, /) -> int:
        """All of it, or as far as it goes."""
        rest = memoryview(data)
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[super().write(rest) or len(rest) :]
        return len(data)


def prepare() -> None:
    """Before anything is opened: a closed stream becomes /dev/null, stdout and stderr fail as their classes say.

    The next file that is opened would otherwise be stdout or stderr to whatever writes there. What somebody has put
    in the place of a stream stays.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free, so this one
    if sys.stdout is sys.__stdout__:
        raw = io.BufferedWriter(_Results(1, "wb", closefd=False))
        sys.stdout = io.TextIOWrapper(raw, _encoding(sys.stdout), errors="replace", line_buffering=os.isatty(1))
    if sys.stderr is sys.__stderr__:
        from bncompare.execution import silence_libraries

        silence_libraries()
        warnings.filterwarnings("always", category=PluginWarning)
        warnings.showwarning = _show_warning
        # Unbuffered: a signal may come, and be told of, in the middle of a line.
        unbuffered = _BestEffort(2, "wb", closefd=False)
        sys.stderr = io.TextIOWrapper(unbuffered, _encoding(sys.stderr), errors="replace", line_buffering=True)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """In a line. Only what is for the person at the terminal gets here."""
    say(f"warning: {message}")


def _encoding(stream: TextIO | None) -> str | None:
    return stream.encoding if stream else None


def say(line: str) -> None:
    """A line on stderr: progress, a warning, an error."""
    print(printable(line), file=sys.stderr)


def warn(text: str) -> None:
    """A warning on stderr."""
    say(f"warning: {text}")
