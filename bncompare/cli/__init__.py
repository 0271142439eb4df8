"""The commands: parse, call the Python API, print. Results go to stdout, progress and errors to stderr.

Begin with `train.py`. Each command imports what it needs when it is called, in one line, by its packages.
"""

from bncompare.cli import configs, look, mistakes, norms, train, tune  # they add their commands
from bncompare.cli.app import app, main

__all__ = ["app", "configs", "look", "main", "mistakes", "norms", "train", "tune"]
