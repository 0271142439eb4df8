"""The process that workers are forked from: importing torch takes it as long as it takes us, so start it early."""

import multiprocessing
import multiprocessing.forkserver
from collections.abc import Iterable

from bncompare.config.schema import Images, RunConfig

# An optimizer step imports _dynamo.
PRELOAD = ["__main__", "torch", "torch._dynamo", "bncompare.execution.processes", "bncompare.curve_plots"]


def start(runs: Iterable[RunConfig]) -> None:
    """Start the server, unless it runs already, and return at once."""
    needs_torchvision = any(isinstance(run.data, Images) and not run.data.synthetic for run in runs)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, *(["torchvision.datasets"] if needs_torchvision else [])])
    multiprocessing.forkserver.ensure_running()
