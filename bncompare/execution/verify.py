"""Retrain finished runs from their config.yaml and compare the bytes."""

import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from bncompare.config import RunConfig, Status, load_experiment
from bncompare.errors import UserError
from bncompare.execution.environment import differences
from bncompare.execution.plan import Planned, plan_runs
from bncompare.execution.stacked import stacked_seeds
from bncompare.execution.sweep import Event, run_experiment
from bncompare.runs import MISSING, LoadedRun, RunStore, regular_file
from bncompare.training import Datasets, resolve_device

BY_EPOCH = ("metrics.csv", "diagnostics.csv")
COMPARED = (*BY_EPOCH, "best.safetensors", "predictions.csv", "result.json")


@dataclass(frozen=True)
class Verified:
    """A run beside its repetition."""

    run: LoadedRun
    same: list[str]
    """files that are the same to the byte"""
    different: list[str]
    """files that are not; `metrics.csv from epoch 3 on`"""
    missing: list[str]
    """files that the repetition has and the run has not (or no longer), or that cannot be read: `NAME (why)`"""
    elsewhere: list[str]
    """how the machine and the versions differ from those of the run, which may be why"""
    problem: str | None = None
    """why it could not be retrained, if so"""

    @property
    def is_identical(self) -> bool:
        """Whether the numbers are those of the run, to the bit."""
        return "metrics.csv" in self.same and not self.different and not self.missing

    def to_plain(self) -> dict[str, Any]:
        """For JSON and tables."""
        found = {name: getattr(self, name) for name in ("same", "different", "missing", "elsewhere", "problem")}
        return {"path": str(self.run.path), "identical": self.is_identical, **found}


def choose(runs: Sequence[LoadedRun], sample: int | None) -> list[LoadedRun]:
    """The finished runs, or as many of them drawn at random, the same each time."""
    finished = [run for run in runs if Status(run.status).has_ended]
    if sample is None or sample >= len(finished):
        return finished
    chosen = sorted(random.Random(0).sample(range(len(finished)), sample))
    return [finished[i] for i in chosen]


def verify_runs(
    runs: Sequence[LoadedRun],
    *,
    data_dir: Path | None,
    num_processes: int | None,
    show: Callable[[Sequence[Planned], Iterable[Event]], object],
) -> Iterator[Verified]:
    """Retrain runs in a temporary folder and compare; `show` goes through the events of the training.

    Images are looked for in `data_dir`, else as by `find_data_dir`, but never where a run folder says, which may be
    somebody else's: what is missing is downloaded. A run whose config this version does not understand, that this
    machine cannot train, or whose images are not to be had, is left out with the reason.
    """
    with tempfile.TemporaryDirectory(prefix="bncompare-verify-") as folder:
        # Each in a place of its own: two copies of a run have the same name.
        datasets = Datasets(data_dir)
        found = [_plan(run, Path(folder, str(i)), datasets) for i, run in enumerate(runs)]
        programs = _programs(runs, found, Path(folder, "others"))
        if programs:
            train = partial(run_experiment, data_dir=data_dir, num_processes=num_processes)
            show([item for program in programs for item in program], chain.from_iterable(map(train, programs)))
        for run, item in zip(runs, found, strict=True):
            yield _compare(run, item) if isinstance(item, Planned) else Verified(run, [], [], [], [], item)


def _plan(run: LoadedRun, folder: Path, datasets: Datasets) -> Planned | str:
    """A repetition, or why there can be none."""
    try:
        config = _with_our_data(load_experiment(run.path / "config.yaml").runs[0])
        resolve_device(config.training.device)
        (planned,) = plan_runs([config], RunStore(folder))
        datasets.load(config)
        return planned
    except UserError as error:
        return "; ".join(error.problems)


def _programs(runs: Sequence[LoadedRun], found: Sequence[Planned | str], folder: Path) -> list[list[Planned]]:
    """The repetitions, apart from each other what was not trained together: each stack, with a repetition of the
    seeds of it that nobody asked for; and all that train alone."""
    alone, stacks = list[Planned](), list[tuple[str, list[int], dict[int, Planned]]]()
    for run, item in zip(runs, found, strict=True):
        if isinstance(item, str):
            continue
        if not item.run.training.stack:
            alone.append(item)
            continue
        seeds = stacked_seeds(run.environment)
        key = item.run.fingerprint, seeds if run.seed in seeds else [run.seed]
        members = next((rest for *of, rest in stacks if tuple(of) == key and run.seed not in rest), None)
        if members is None:
            members = {}
            stacks.append((*key, members))
        members[run.seed] = item
    programs = [alone] if alone else []
    for number, (_, seeds, members) in enumerate(stacks):
        one, store = next(iter(members.values())).run, RunStore(folder / str(number))
        others = plan_runs([one.model_copy(update={"seeds": [seed]}) for seed in seeds if seed not in members], store)
        of_seed = members | {item.run.seed: item for item in others}
        programs.append([of_seed[seed] for seed in seeds])
    return programs


def _with_our_data(run: RunConfig) -> RunConfig:
    update = {key: None for key in type(run.data).model_fields if key == "dir"}
    return run.model_copy(update={"data": run.data.model_copy(update=update)})


def _compare(run: LoadedRun, again: Planned) -> Verified:
    same, different, missing = [], [], []
    for name in COMPARED:
        ours = _content(again.folder.path / name)
        try:
            theirs = _content(run.path / name, len(ours or b"") + 1)
        except OSError as error:
            missing.append(f"{name} ({error.strerror})")
            continue
        if ours is None and theirs is None:
            continue
        if theirs is None:
            missing.append(name)
        elif ours == theirs:
            same.append(name)
        else:
            different.append(name + _from_where(ours, theirs) if name in BY_EPOCH else name)
    elsewhere = differences(run.environment, again.folder.environment) if run.environment else []
    return Verified(run, same, different, missing, elsewhere)


def _content(path: Path, num_bytes: int = -1) -> bytes | None:
    """The content of a file, or its beginning; None if there is no such file. Raises OSError."""
    try:
        with regular_file(path) as file:
            return file.read(num_bytes)
    except MISSING:
        return None


def _from_where(ours: bytes | None, theirs: bytes) -> str:
    """`from epoch 3 on`: the first row of a table that differs."""
    for ours_line, their_line in zip((ours or b"").splitlines(), theirs.splitlines(), strict=False):
        if ours_line != their_line:
            epoch = their_line.partition(b",")[0].decode(errors="replace")
            return f" from epoch {epoch} on"
    return " in length"
