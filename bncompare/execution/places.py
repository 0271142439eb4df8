"""Which place a run trains in: this process, several of them, or a Ray cluster."""

import os
from collections.abc import Callable, MutableSequence, Sequence
from pathlib import Path

from bncompare.config import RunConfig, cost
from bncompare.errors import UserError
from bncompare.execution import memory
from bncompare.execution.forkserver import start_forkserver
from bncompare.execution.inline import Inline
from bncompare.execution.main_module import check_importable, only_here
from bncompare.execution.messages import Place
from bncompare.execution.processes import Processes
from bncompare.execution.ray import Ray
from bncompare.execution.stacked import Stacked
from bncompare.training import Datasets, resolve_device


def choose_places(
    runs: Sequence[RunConfig],
    *,
    data_dir: Path | None,
    num_processes: int | None,
    cluster: str | None,
    waiting: Callable[[str], object],
    steps: MutableSequence[int] | None,
) -> list[tuple[Place, list[int]]]:
    """Where to train the runs: the cluster, or a place for each device; with the numbers of those that train there,
    in the order in which they start.

    Raises UserError if a device or a dataset is not to be had.
    """
    names = {run.training.device for run in runs}
    # What the machines of a cluster have is found out there.
    devices = {} if cluster else {name: resolve_device(name) for name in names}
    datasets = Datasets(data_dir)
    for run in runs:
        if run.data.is_stored:
            waiting(f"reading {run.data.name}")
        datasets.load(run)  # a missing dataset is found before any run folder is made
    waiting("starting to train")
    if cluster:
        if any(run.training.stack for run in runs):
            raise UserError("--executor ray: trains each run by itself, and training.stack several as one program")
        return [(Ray(cluster, num_processes, datasets.load), longest_first(runs, range(len(runs))))]
    places: list[tuple[Place, list[int]]] = []
    for device in dict.fromkeys(devices[run.training.device] for run in runs):
        here = [number for number, run in enumerate(runs) if devices[run.training.device] == device]
        stacks = dict[tuple[str, str], list[int]]()  # experiments that share a variant do not share its stack
        for number in here:
            if runs[number].training.stack:
                stacks.setdefault((runs[number].name, runs[number].fingerprint), []).append(number)
        places += [(Stacked(datasets.of, device, steps), members) for members in stacks.values()]
        numbers = [number for number in here if not runs[number].training.stack]
        if not numbers:
            continue
        mine = [runs[number] for number in numbers]
        at_once = num_at_once(mine, num_processes, device.type, available_cores(), memory.available_memory())
        if num_processes is None and only_here(mine):
            at_once = 1
        if at_once > 1:
            check_importable(mine)
            start_forkserver()
            places.append((Processes(at_once, data_dir, device, steps), longest_first(runs, numbers)))
        else:
            places.append((Inline(datasets.of, device, steps), numbers))
    return places


def longest_first(runs: Sequence[RunConfig], numbers: Sequence[int]) -> list[int]:
    """Numbers of runs so that no long one is left for the end, when the other cores have nothing to do.

    Runs that take about as long stay in the order of the plan, in which pairs are complete early: those of at least
    half the longest, then those of at least a third, and so on.
    """
    longest = max(cost(runs[number]) for number in numbers)
    return sorted(numbers, key=lambda number: longest // max(cost(runs[number]), 1))


def num_at_once(runs: Sequence[RunConfig], asked: int | None, device_type: str, cores: int, machine: int) -> int:
    """How many of the runs to train at a time: so many, else one a core as far as memory goes, or one on a GPU."""
    if asked is None:
        threads = max(run.training.threads for run in runs)
        most = max(memory.needed(run).total for run in runs)
        asked = min(cores // threads, machine // max(most, 1)) if device_type == "cpu" else 1
    return min(asked, len(runs))


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
