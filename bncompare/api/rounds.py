"""Planning and training, as every entrance does it: the commands, and `train` from Python."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncompare.api.progress import Waiting, shared_steps, show_progress
from bncompare.api.screens import Lines, Screen, Tell

if TYPE_CHECKING:
    from bncompare.config import RunConfig
    from bncompare.execution import Rounds


def plan_rounds(
    chosen: "Sequence[RunConfig]",
    folder: Path,
    *,
    num_processes: int | None,
    cluster: str | None = None,
    fresh: bool = False,
) -> "Rounds":
    """What training these runs would do. Where processes will train, their server begins to import torch meanwhile.

    The arguments are those of `run_experiment`; `fresh` takes nothing from earlier calls. Raises UserError.
    """
    from bncompare.config import Until
    from bncompare.execution import Rounds, plan_runs, start_forkserver
    from bncompare.runs import RunStore

    store = RunStore(folder)
    if num_processes != 1 and cluster is None:
        sure = [run for run in chosen if not isinstance(run.design, Until) or run.seed < run.design.at_least]
        sure = [run for run in sure if not run.tuning_seeds or run.seed in run.tuning_seeds]
        unfinished = [run for run in sure if not run.training.stack and (fresh or not store.run(run).has_result)]
        if len(unfinished) > 1:
            start_forkserver()
    return Rounds(plan_runs(chosen, store, fresh=fresh, elsewhere=cluster is not None))


def when_called_again(rounds: "Rounds") -> str:
    """What training does that was interrupted."""
    if any(item.run.training.stack for item in rounds.plan):
        return "begins what was not finished again: training.stack has no checkpoints"
    return "goes on from the last checkpoint"


def train_rounds(rounds: "Rounds", screen: Lines | Screen, warn: Tell, **options: Any) -> list[str]:
    """Train round after round, and show it; returns which runs failed, and why. The options are those of
    `run_experiment`."""
    from bncompare.execution import run_experiment

    waiting = Waiting(screen)
    steps = None if isinstance(screen, Lines) else shared_steps(rounds.plan)
    train_round = partial(run_experiment, waiting=waiting, steps=steps, **options)
    try:
        with closing(rounds.train(train_round)) as events:
            return show_progress(waiting.before(events), screen, warn, steps)
    except KeyboardInterrupt as interruption:
        interruption.add_note(f"the same call {when_called_again(rounds)}")
        raise
