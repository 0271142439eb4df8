"""Of an experiment whose settings are chosen on some seeds: the trials, then what they chose on the other seeds."""

from collections.abc import Sequence
from contextlib import suppress

from bncompare.errors import UserError
from bncompare.execution.plan import Planned
from bncompare.runs import read_run, with_names


def trials_in(planned: Sequence[Planned]) -> list[Planned]:
    """What chooses, and so comes first; all runs where none does."""
    return [item for item in planned if item.run.seed in item.run.tuning_seeds] or list(planned)


def chosen_by(trials: Sequence[Planned], planned: Sequence[Planned]) -> list[Planned] | None:
    """What is to be trained on the other seeds; None if a trial has not ended.

    What is chosen without some of them might not be chosen with them, nor would norms have had the same budget. It
    follows from the folders of these trials alone, so a call that goes on finds the same.
    """
    from bncompare.comparison import chosen_in

    loaded = []
    for item in trials:
        with suppress(OSError, ValueError, UserError):
            loaded.append(read_run(item.folder.path))
    if sum(run.status.has_ended for run in loaded) < len(trials):
        return None
    named = with_names(loaded)
    chosen = chosen_in(named)
    labels = {run.label for run in named if run.variant in chosen}
    others = [item for item in planned if item.run.seed not in item.run.tuning_seeds]
    return [item for item in others if item.run.variant.label in labels]
