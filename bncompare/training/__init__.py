"""One run: in go a `RunConfig` and its data, out comes a `Record` at every evaluation.

Begin with `loop.py`, the loop itself; `model.py` and `data.py` make what it works with, `evaluate.py` and
`statistics.py` what it reports. No file is opened here but those of datasets. Imports torch.
"""

from bncompare.training.data import Dataset, Datasets, Split, load_dataset
from bncompare.training.device import resolve_device
from bncompare.training.loop import Outcome, Record, predict, train
from bncompare.training.model import build_model
from bncompare.training.stack import train_stack
from bncompare.training.statistics import evaluation_statistics, set_evaluation_mode

__all__ = [
    "Dataset",
    "Datasets",
    "Outcome",
    "Record",
    "Split",
    "build_model",
    "evaluation_statistics",
    "load_dataset",
    "predict",
    "resolve_device",
    "set_evaluation_mode",
    "train",
    "train_stack",
]
