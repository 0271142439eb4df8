"""Planning and training, as every entrance does it: the commands, and `train` from Python."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncompare.api.cell import Cell
from bncompare.api.progress import Tell, Waiting, shared_steps, show_progress

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
    from bncompare import config, execution, runs

    store = runs.RunStore(folder)
    if num_processes != 1 and cluster is None:
        sure = [run for run in chosen if not isinstance(run.design, config.Until) or run.seed < run.design.at_least]
        sure = [run for run in sure if not run.tuning_seeds or run.seed in run.tuning_seeds]
        unfinished = [run for run in sure if fresh or not store.run(run).has_result]
        if len(unfinished) > 1:
            execution.start_forkserver(unfinished)
    return execution.Rounds(execution.plan_runs(chosen, store, fresh=fresh, elsewhere=cluster is not None))


def train_rounds(
    rounds: "Rounds", *, tell: Tell, warn: Tell, quiet: bool = False, cell: Cell | None = None, **options: Any
) -> list[str]:
    """Train round after round, and show it; returns which runs failed, and why.

    `quiet`, `tell`, `warn` and `cell` are those of `show_progress`, the options those of `run_experiment`.
    """
    from bncompare import execution

    waiting = Waiting(tell, quiet=quiet, cell=cell)
    steps = shared_steps(rounds.plan, is_live=cell is not None)
    train_round = partial(execution.run_experiment, waiting=waiting, steps=steps, **options)
    try:
        with closing(rounds.train(train_round)) as events:
            return show_progress(events, quiet=quiet, tell=tell, warn=warn, waiting=waiting, steps=steps, cell=cell)
    except KeyboardInterrupt as interruption:
        interruption.add_note("the same call goes on from the last checkpoint")
        raise
