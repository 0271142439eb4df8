"""Opening the files of a run folder, whoever put them there: regular files alone, no link followed, within bounds."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MISSING = (FileNotFoundError, NotADirectoryError)
"""There is no such file. Any other OSError: there is one, and it cannot be read."""


@contextlib.contextmanager
def regular_file(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open: neither a link, which may lead anywhere, nor a pipe or a device, which may never end.

    Raises OSError with the file's name and why, of what happens while it is read as well.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            yield file
    except OSError as error:
        reason = "is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise OSError(error.errno, reason, path.name) from None


def _open(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file")


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`. Raises OSError."""
    with regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes >> 10:,} KiB")
        return file.read(size)


def read_text(path: Path, max_bytes: int) -> str:
    """The text of a regular file of at most `max_bytes`. Raises OSError, or ValueError if it is not UTF-8."""
    try:
        return read_bytes(path, max_bytes).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8 text") from None
