"""What is measured inside a model at an evaluation, on a copy of it, so that training never notices.

In goes a `Probe`, the copy with a fixed batch of examples; out come `Measurement`s, the rows of diagnostics.csv.
Begin with `base.py`. Importing this imports no torch; measuring does.
"""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.probes.base import Measurement, Probe
    from bncompare.probes.measure import measure_all

__all__ = ["Measurement", "Probe", "measure_all"]

__getattr__ = lazily(__name__, base="Measurement Probe", measure="measure_all")
