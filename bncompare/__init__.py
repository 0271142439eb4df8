"""Train a model with and without batch normalization (and other norms) and compare them honestly."""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.comparison import compare
    from bncompare.runs import load_runs

__all__ = ["compare", "load_runs"]
__version__ = "0.1.0"

__getattr__ = lazily(
    __name__, comparison="compare", runs="load_runs"
)  # `bncompare --version` shall not wait for NumPy
