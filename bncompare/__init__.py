"""Train a model with and without batch normalization (and other norms) and compare them honestly.

runs = bncompare.train("demo")       # a file, a preset's name, or a mapping as the YAML would be
comparison = bncompare.compare(runs)
bncompare.plot(runs)
"""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.api import compare, load_runs, plot, train
    from bncompare.errors import UserError

__all__ = ["UserError", "compare", "load_runs", "plot", "train"]
__version__ = "0.1.0"

# `bncompare --version` shall not wait for NumPy
__getattr__ = lazily(__name__, api="compare load_runs plot train", errors="UserError")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
