"""What workers have of the program that trains: nothing, unless a run needs a class that is written in it.

multiprocessing gives each worker the program's own module by running its file again. A script that trains without
`if __name__ == "__main__":` would train again in its workers, and neither a notebook nor `python -` has a file.
"""

import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

from bncompare.config import RunConfig
from bncompare.errors import UserError

UNGUARDED = 78  # exit code of a worker whose program trains as it is run again
_hiding = threading.Lock()


@contextmanager
def hidden_main() -> Iterator[None]:
    """Meanwhile the program's module is an empty one, which a process that is started has no need to run."""
    with _hiding:
        ours, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = ours


def needs_main(run: RunConfig) -> bool:
    """Whether the config of a run has a class that is written in the program, such as a norm of one's own."""
    with hidden_main():
        try:
            pickle.dumps(run)
        except (pickle.PicklingError, AttributeError):
            return True
    return False


def only_here(runs: Iterable[RunConfig]) -> list[str]:
    """Names of the experiments with classes that no other process can have: those of a notebook, or of `python -`."""
    if os.path.isfile(getattr(sys.modules["__main__"], "__file__", None) or ""):
        return []
    return list(dict.fromkeys(run.name for run in runs if needs_main(run)))


def refuse_in_worker() -> None:
    """End a worker whose program, run for the classes in it, begins to train: its driver says what to do."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


def check_importable(runs: Iterable[RunConfig]) -> None:
    """Raises UserError if a run has a class that other processes cannot import."""
    if names := only_here(runs):
        raise UserError(
            f"{', '.join(names)}: has a class that is written in this notebook, which other processes cannot import; "
            "put it into a file and import that, or train one run at a time (jobs=1)"
        )
