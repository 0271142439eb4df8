"""What is measured inside a model at an evaluation, on a copy of it, so that training never notices.

One class a probe, in a file of its own: its keys in a config, the quantities it will record, how it measures them,
captions for figures. In goes a `Subject`, a model with a fixed batch of examples; out come `Reading`s, the rows of
diagnostics.csv. Begin with `base.py`, then `gradients.py`. Importing this imports no torch; measuring does.
"""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily
from bncompare.probes.base import Probe, Reading, repeated
from bncompare.probes.plan import Plan

if TYPE_CHECKING:
    from bncompare.probes.registry import PROBES
    from bncompare.probes.subject import Subject, add_l1

__all__ = ["PROBES", "Plan", "Probe", "Reading", "Subject", "add_l1", "repeated"]

__getattr__ = lazily(__name__, registry="PROBES", subject="Subject add_l1")
