"""Pictures: in go runs and comparisons, out come matplotlib figures, each with a sentence on what it shows.

Begin with `catalogue.py`, which chooses the figures that fit an experiment; `style.py` is what all of them share.
"""

from bncompare.figures.catalogue import experiment_figures
from bncompare.figures.curves import run_curves
from bncompare.figures.style import add_head, render, styled

__all__ = ["add_head", "experiment_figures", "render", "run_curves", "styled"]
