"""The process that workers are forked from: importing torch takes it as long as it takes us, so start it early."""

import contextlib
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import resource
import signal
from collections.abc import Iterable

from bncompare.config import RunConfig

PRELOAD = ["__main__", "bncompare.execution.quiet", "torch", "bncompare.execution.processes"]


def start_forkserver(runs: Iterable[RunConfig]) -> None:
    """Start the server, unless it runs already, and return at once."""
    _raise_limit_of_files()
    of_data = dict.fromkeys(module for run in runs for module in run.data.preload)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, *of_data])
    # Ctrl-C reaches the server too, which would end in the middle of an import; its first act when ready is to ignore
    # it. The tracker comes first: starting it unblocks the signal.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _raise_limit_of_files() -> None:
    """As many open files as may be, here and in the server, which inherits it: every worker takes some."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
