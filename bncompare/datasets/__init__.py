"""The datasets: one class each, with its options, its sizes and shapes, and its examples.

Begin with `base.py`: what a dataset has, and the registry. `regression.py` draws, the others read. Importing this
imports no torch; `draw` and `read` do.
"""

from bncompare.datasets.base import DATASETS, DataSection, Pool
from bncompare.datasets.digits import Digits
from bncompare.datasets.images import Images
from bncompare.datasets.npz import Npz
from bncompare.datasets.published import MNIST
from bncompare.datasets.regression import RandomRegression

__all__ = [
    "DATASETS",
    "MNIST",
    "DataSection",
    "Digits",
    "Images",
    "Npz",
    "Pool",
    "RandomRegression",
]

for _dataset in (RandomRegression, MNIST, Digits, Npz):
    DATASETS.add(_dataset)
