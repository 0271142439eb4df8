"""The process that workers are forked from: importing torch takes it as long as it takes us, so start it early.

Where there is none (Windows), each worker is started anew and imports torch itself.
"""

import contextlib
import multiprocessing
import signal
from typing import TYPE_CHECKING

from bncompare.execution.main_module import hidden_main

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

PRELOAD = ["bncompare.execution.preload", "torch", "bncompare.execution.processes"]


def starting_context() -> "ForkServerContext | SpawnContext":
    """How workers are started here; the bytes are the same either way."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


def start_forkserver() -> None:
    """Start the server, unless it runs already, and return at once; nothing where there is none."""
    context = starting_context()
    if context.get_start_method() != "forkserver":
        return
    import multiprocessing.forkserver
    import multiprocessing.resource_tracker

    _raise_limit_of_files()
    context.set_forkserver_preload(PRELOAD)
    # Ctrl-C reaches the server too, which would end in the middle of an import; its first act when ready is to ignore
    # it. The tracker comes first: starting it unblocks the signal.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with hidden_main():
            multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _raise_limit_of_files() -> None:
    """As many open files as may be, here and in the server, which inherits it: every worker takes some."""
    import resource  # not on Windows

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
