"""A lock between processes: a file that one of them holds, which the kernel takes back when that process dies."""

import contextlib
import os
from pathlib import Path

from bncompare.errors import StorageError
from bncompare.runs.files import storage_errors


class Lock:
    """A lock that this process may hold; its file is there as long as somebody does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Hold it until `release`; False if another process does. Raises StorageError."""
        import fcntl  # not on Windows, where the commands that train nothing work all the same

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

    def release(self) -> None:
        """Let others hold it."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            os.close(self._descriptor)
            self._descriptor = None
