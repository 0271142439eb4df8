"""The second part of an experiment in which settings are chosen: what was chosen, on fresh seeds."""

from collections.abc import Sequence
from contextlib import suppress

from bncompare.config import Experiment, RunConfig
from bncompare.errors import UserError
from bncompare.runs import RunStore, read_run, with_names


def judging_runs(experiments: Sequence[Experiment], store: RunStore) -> tuple[list[RunConfig], list[str]]:
    """The runs that judge what the trials of these experiments chose, and why there are none of others.

    All trials must have ended: what is chosen without some of them might not be chosen with them, nor would norms have
    had the same budget. It follows from the folders of the trials alone, so a call that goes on finds the same.
    """
    from bncompare.comparison import chosen_in

    found, waiting = list[RunConfig](), list[str]()
    for experiment in experiments:
        if not experiment.judge_seeds:
            continue
        trials = [store.run(run) for run in experiment.runs]
        loaded = []
        for folder in trials:
            with suppress(OSError, ValueError, UserError):
                loaded.append(read_run(folder.path))
        lacking = len(trials) - sum(run.status.has_ended for run in loaded)
        if lacking:
            waiting.append(
                f"{experiment.name}: {lacking} of {len(trials)} trials have no result: nothing is chosen yet"
            )
            continue
        named = with_names(loaded)
        chosen = chosen_in(named)
        labels = {run.label for run in named if run.variant in chosen}
        variants = {run.variant.label: run for run in experiment.runs if run.variant.label in labels}
        found += [
            run.model_copy(update={"seeds": [seed]}) for seed in experiment.judge_seeds for run in variants.values()
        ]
    return found, waiting
