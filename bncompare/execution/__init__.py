"""Many runs, done: in goes a plan, out come events, with the run folders written on the way.

Begin with `sweep.py`; `rounds.py` goes through it as often as it takes to decide. `inline.py`, `processes.py` and
`ray.py` are the places where a run may train, all with the same bytes. Names are looked up when they are asked for,
so that `start_forkserver` can come before torch is imported.
"""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.execution.forkserver import start_forkserver
    from bncompare.execution.main_module import refuse_in_worker
    from bncompare.execution.messages import Evaluated, Failure, Restart, Started
    from bncompare.execution.plan import Planned, plan_runs
    from bncompare.execution.quiet import silence_libraries
    from bncompare.execution.rounds import Round, Rounds, until_of
    from bncompare.execution.sweep import Event, run_experiment
    from bncompare.execution.verify import choose, verify_runs

__all__ = [
    "Evaluated",
    "Event",
    "Failure",
    "Planned",
    "Restart",
    "Round",
    "Rounds",
    "Started",
    "choose",
    "plan_runs",
    "refuse_in_worker",
    "run_experiment",
    "silence_libraries",
    "start_forkserver",
    "until_of",
    "verify_runs",
]

__getattr__ = lazily(
    __name__,
    forkserver="start_forkserver",
    main_module="refuse_in_worker",
    messages="Evaluated Failure Restart Started",
    plan="Planned plan_runs",
    quiet="silence_libraries",
    rounds="Round Rounds until_of",
    sweep="Event run_experiment",
    verify="choose verify_runs",
)
