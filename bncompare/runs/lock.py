"""A lock between processes: a file that one of them holds, which the kernel takes back when that process dies."""

import contextlib
import os
from pathlib import Path
from typing import Any

from bncompare.errors import StorageError
from bncompare.runs.files import storage_errors


class Lock:
    """A lock that this process may hold; its file is there as long as somebody does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._other: Any = None

    def take(self) -> bool:
        """Hold it until `release`; False if another process does. Raises StorageError."""
        try:
            import fcntl
        except ImportError:  # Windows
            return self._take_elsewhere()
        # Not through a link, which may lead anywhere.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            with storage_errors(self.path):
                descriptor = os.open(self.path, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_ino == os.lstat(self.path).st_ino:
                    self._descriptor = descriptor
                    return True
            except BlockingIOError:
                return False
            except FileNotFoundError:  # its holder removed it between the opening and the locking: it locks nothing
                pass
            except OSError as error:
                raise StorageError(f"{self.path}: cannot be locked: {error.strerror}") from None
            finally:
                if self._descriptor != descriptor:
                    os.close(descriptor)

    def _take_elsewhere(self) -> bool:
        """With `filelock`, which torch brings: it knows the locks of other systems."""
        import filelock

        other = filelock.FileLock(self.path, blocking=False)
        with storage_errors(self.path):
            try:
                other.acquire()
            except filelock.Timeout:
                return False
        self._other = other
        return True

    def release(self) -> None:
        """Let others hold it."""
        if self._other is not None:
            self._other.release()
            self._other = None
            with contextlib.suppress(OSError):  # another holds it already
                os.unlink(self.path)
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            os.close(self._descriptor)
            self._descriptor = None
