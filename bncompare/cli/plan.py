"""Which runs `train` is about: those chosen of the experiments, and the plan that `--dry-run` prints."""

import re
from typing import TYPE_CHECKING

from bncompare import api
from bncompare.cli.options import count, print_json
from bncompare.cli.streams import warn
from bncompare.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bncompare.config import Experiment, RunConfig
    from bncompare.execution import Rounds


def chosen_runs(experiments: "Sequence[Experiment]", select: str | None) -> "list[RunConfig]":
    """The runs of the experiments, or the part that is asked for; raises UserError."""
    from bncompare import execution

    part = _selection(select)
    if select is not None and any(execution.until_of(experiment.runs) for experiment in experiments):
        raise UserError(f"--select {select}: there is no plan to take a part of until it is decided; give --seeds N")
    if select is not None and any(experiment.runs[0].tuning_seeds for experiment in experiments):
        raise UserError(f"--select {select}: there is no plan to take a part of until settings are chosen")
    return [run for experiment in experiments for run in experiment.runs][part]


def _selection(select: str | None) -> slice:
    """`2/8` as every eighth run of a plan from the second on, so that parts take about as long as each other."""
    if select is None:
        return slice(None)
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", select)
    part, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(f"--select {select:.40}: must be I/N with 1 ≤ I ≤ N, such as 2/8")
    return slice(part - 1, None, parts)


def print_plan(rounds: "Rounds", as_json: bool) -> None:
    """What would be trained now; until it is decided, that is the rounds up to the first that is not finished."""
    for round_ in rounds:
        if any(item.state != "finished" for item in round_.planned):
            break
    planned = rounds.planned
    for problem in api.problems_of(planned):
        warn(problem)
    rows = [
        {
            "experiment": item.run.name,
            "variant": item.run.variant.label,
            "seed": item.run.seed,
            "parameters": item.num_parameters,
            "steps": item.run.total_steps,
            "state": item.state,
            "path": str(item.folder.path),
        }
        for item in planned
    ]
    from bncompare import report

    if as_json:
        print_json({"runs": rows, "at_most": rounds.at_most})
        return
    report.print_table(report.plan_table(rows))
    finished = sum(item.state == "finished" for item in planned)
    number = count(len(planned), "run")
    if rounds.is_open and any(course.until for course in rounds.courses.values()):
        number = f"at least {number}, at most {rounds.at_most} until it is decided"
    elif rounds.is_open:
        number = f"{number}, {rounds.at_most} with those of the chosen settings"
    for budget in filter(None, (course.budget for course in rounds.courses.values())):
        print(budget)
    print(f"{number}: {len(planned) - finished} to train, {finished} finished")
