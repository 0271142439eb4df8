"""From Python and notebooks: train, compare, draw. The commands of `cli` call what is here, and so may everybody.

Begin with `training.py`, the way from a config to runs; `runs.py`, `compared.py` and `figures.py` are what comes
back, which a notebook shows. Names are looked up when they are asked for.
"""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.api.compared import Claims, ComparedRuns, compare, plot
    from bncompare.api.configs import config_called, experiments_of, preset_called, shipped_configs
    from bncompare.api.figures import Figures
    from bncompare.api.pages import by_folder, read_planned, trained, write_indexes
    from bncompare.api.progress import problems_of, show_progress
    from bncompare.api.rounds import plan_rounds, train_rounds, when_called_again
    from bncompare.api.runs import Runs, load_runs
    from bncompare.api.screens import screen_of
    from bncompare.api.training import train

__all__ = [
    "Claims",
    "ComparedRuns",
    "Figures",
    "Runs",
    "by_folder",
    "compare",
    "config_called",
    "experiments_of",
    "load_runs",
    "plan_rounds",
    "plot",
    "preset_called",
    "problems_of",
    "read_planned",
    "screen_of",
    "shipped_configs",
    "show_progress",
    "train",
    "train_rounds",
    "trained",
    "when_called_again",
    "write_indexes",
]

__getattr__ = lazily(
    __name__,
    compared="Claims ComparedRuns compare plot",
    configs="config_called experiments_of preset_called shipped_configs",
    figures="Figures",
    pages="by_folder read_planned trained write_indexes",
    progress="problems_of show_progress",
    rounds="plan_rounds train_rounds when_called_again",
    runs="Runs load_runs",
    screens="screen_of",
    training="train",
)
