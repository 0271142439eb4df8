"""Run folders: written by one run at a time, read by everything else, grouped into experiments.

Begin with `layout.py`, the files of a folder; `folder.py` writes them, `read.py` reads them and trusts none,
`condition.py` says what a run goes on from. What is read are `LoadedRun`s, tidy rows with `rows_of`. No torch here.
"""

from bncompare.runs.checkpoint import ADVICE, Checkpoint
from bncompare.runs.condition import Condition
from bncompare.runs.documents import Result
from bncompare.runs.experiments import (
    ExperimentRuns,
    against,
    baseline,
    compared_keys,
    experiments,
    newest_first,
    settings_of,
    tuning_seeds,
    validates_on_test,
    with_names,
)
from bncompare.runs.files import MISSING, make_folder, regular_file, to_json, unused, write_output
from bncompare.runs.folder import RunFolder, RunStore
from bncompare.runs.layout import State
from bncompare.runs.looks import Addition, additions, follows_looks
from bncompare.runs.predictions import Predictions, predictions_csv, read_predictions
from bncompare.runs.read import LoadedRun, available_metrics, read_run, read_runs
from bncompare.runs.rows import csv_lines, evaluations_of, measurements_of, rows_of
from bncompare.runs.tables import Diagnostic, Tables
from bncompare.runs.weights import read_norm_parameters

__all__ = [
    "ADVICE",
    "MISSING",
    "Addition",
    "Checkpoint",
    "Condition",
    "Diagnostic",
    "ExperimentRuns",
    "LoadedRun",
    "Predictions",
    "Result",
    "RunFolder",
    "RunStore",
    "State",
    "Tables",
    "additions",
    "against",
    "available_metrics",
    "baseline",
    "compared_keys",
    "csv_lines",
    "evaluations_of",
    "experiments",
    "follows_looks",
    "make_folder",
    "measurements_of",
    "newest_first",
    "predictions_csv",
    "read_norm_parameters",
    "read_predictions",
    "read_run",
    "read_runs",
    "regular_file",
    "rows_of",
    "settings_of",
    "to_json",
    "tuning_seeds",
    "unused",
    "validates_on_test",
    "with_names",
    "write_output",
]
