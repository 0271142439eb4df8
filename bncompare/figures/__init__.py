"""Pictures: in go runs and comparisons, out come matplotlib figures, each with a sentence on what it shows.

Begin with `catalogue.py`, which chooses the figures that fit an experiment, and `overview.py`, the first of them;
`style.py` is what all of them share, `looks.py` says how variants are told apart.
"""

from bncompare.figures.catalogue import experiment_figures
from bncompare.figures.overview import overview
from bncompare.figures.settings import ALL_VARIANTS
from bncompare.figures.style import NamedFigure, add_head, colour_mapped, render, styled

__all__ = [
    "ALL_VARIANTS",
    "NamedFigure",
    "add_head",
    "colour_mapped",
    "experiment_figures",
    "overview",
    "render",
    "styled",
]
