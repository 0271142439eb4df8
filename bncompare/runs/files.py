"""Files of run folders: opened with care, whoever put them there; written so that they are whole or not there."""

import contextlib
import errno
import itertools
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bncompare.errors import StorageError
from bncompare.runs.layout import FILES

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


# As far as this system knows them: Windows does not.
WITH_CARE = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))


def _open(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | WITH_CARE)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file")


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`. Raises OSError."""
    with regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {-(-max_bytes // 1024):,} KiB")
        return file.read(size)


def read_text(path: Path, max_bytes: int) -> str:
    """The text of a regular file of at most `max_bytes`. Raises OSError, or ValueError if it is not UTF-8."""
    try:
        return read_bytes(path, max_bytes).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8 text") from None


TEMPORARY = re.compile(rf"\.({'|'.join(map(re.escape, FILES))})\.[a-z0-9_]{{8}}")  # as `write_atomic` calls them


def write_atomic(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file that is whole whenever it is there, if `lasting` even after a power cut; raises StorageError."""
    with storage_errors(path):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def write_output(path: Path, content: bytes) -> None:
    """Write a file where a person says: to where a link leads, and into a pipe or a device; raises StorageError."""
    with storage_errors(path):
        try:
            is_regular = stat.S_ISREG(path.stat().st_mode)
        except FileNotFoundError:
            is_regular = True
        if not is_regular:
            path.write_bytes(content)
            return
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
    write_atomic(target, content)


def make_folder(path: Path) -> None:
    """Create a folder, and those above it, unless it is there; raises StorageError."""
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def unused(stem: Path, suffix: str, taken: Container[Path]) -> Path:
    """`stem` with its suffix, or the first of `stem-2`, `stem-3`, … that is not taken."""
    names = (f"{stem.name}{'' if number == 1 else f'-{number}'}{suffix}" for number in itertools.count(1))
    return next(path for path in map(stem.with_name, names) if path not in taken)


def sync_folder(path: Path) -> None:
    """See that the names of the files written so far are there after a power cut."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folder
        return
    with storage_errors(path):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Within it, an OSError is a StorageError about the path."""
    try:
        yield
    except OSError as error:
        why = "is a link" if error.errno == errno.ELOOP else error.strerror or error
        raise StorageError(f"{path}: cannot be written: {why}") from None


def to_json(data: Any) -> str:
    """Strict JSON, which has no NaN or infinity: null stands for them, and metrics.csv says which."""
    return json.dumps(_finite(data), indent=2, allow_nan=False) + "\n"


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
