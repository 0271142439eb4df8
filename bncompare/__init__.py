"""Train a model with and without batch normalization (and other norms) and compare them honestly."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bncompare.api import load_runs
    from bncompare.comparison import compare

__all__ = ["compare", "load_runs"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # `bncompare --version` shall not wait for NumPy
    if name == "load_runs":
        from bncompare.api import load_runs

        return load_runs
    if name == "compare":
        from bncompare.comparison import compare

        return compare
    raise AttributeError(f"module 'bncompare' has no attribute {name!r}")
