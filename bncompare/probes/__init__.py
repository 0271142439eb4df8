"""What is measured inside a model at an evaluation, on a copy of it, so that training never notices.

One class a probe, in a file of its own: its keys in a config, the quantities it will record, how it measures them,
captions for figures. In goes a `Subject`, a model with a fixed batch of examples; out come `Reading`s, the rows of
diagnostics.csv. Begin with `base.py`, then `gradients.py`. Importing this imports no torch; measuring does.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from bncompare.lazy import lazily
from bncompare.probes.base import Plan, Probe, Reading, repeated

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject, add_l1

__all__ = ["PROBES", "Plan", "Probe", "Reading", "Subject", "add_l1", "repeated"]

for _module in pkgutil.iter_modules(__path__):
    if _module.name != "subject":  # the one that imports torch
        importlib.import_module(f"{__name__}.{_module.name}")

PROBES: list[type[Probe]] = sorted(Probe.__subclasses__(), key=lambda probe: probe.order)
"""every probe, in the order of its rows in diagnostics.csv"""

__getattr__ = lazily(__name__, subject="Subject add_l1")
