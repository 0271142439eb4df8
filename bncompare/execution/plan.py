"""What training some runs would do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bncompare.config import RunConfig, Until, count_parameters
from bncompare.errors import UserError
from bncompare.execution import memory
from bncompare.runs import Condition, LoadedRun, RunFolder, RunStore, State, read_run


@dataclass(frozen=True)
class Planned:
    """A run to do: its config, its folder, what exists already."""

    run: RunConfig
    folder: RunFolder
    state: State
    problems: tuple[str, ...] = ()
    """a line for each file in the folder that is lost, damaged or cannot be read"""
    fresh: bool = False
    """whether to take nothing from earlier calls"""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do: it is finished, and no file is to be written again."""
        return self.state == "finished" and not self.problems

    def load(self) -> LoadedRun:
        """What the folder says. Raises OSError, ValueError or UserError if that cannot be read.

        A run of an earlier design that is looked at until all is decided is one of those now.
        """
        found = read_run(self.folder.path)
        if isinstance(self.run.design, Until):
            found = replace(found, config=found.config | {"design": self.run.design.model_dump()})
        return found

    @property
    def num_parameters(self) -> int:
        """Trainable numbers in the model."""
        return count_parameters(self.run)


def plan_runs(
    runs: Sequence[RunConfig], store: RunStore, *, fresh: bool = False, elsewhere: bool = False
) -> list[Planned]:
    """What training these runs would do; `fresh` takes nothing from earlier calls.

    Raises UserError if a run needs more memory than this machine has, unless it is to be trained `elsewhere`.
    """
    planned = []
    for run in runs:
        folder = store.run(run)
        found = Condition("new") if fresh else folder.examine()
        planned.append(Planned(run, folder, found.state, found.problems, fresh))
    if not elsewhere:
        _check_memory([item.run for item in planned if item.state != "finished"])
    return planned


def _check_memory(runs: Iterable[RunConfig]) -> None:
    machine = memory.available_memory()
    wanted = {f"{run.name}: {run.variant.label}": memory.needed(run) for run in runs}
    problems = [
        f"{name}: needs about {needed} of memory; this machine has {memory.in_gb(machine)}"
        for name, needed in wanted.items()
        if needed.total > machine
    ]
    if problems:
        raise UserError(*problems)
