"""The kinds of norm: in goes a kind with its options, as a config names it; out comes a torch module for a shape.

One class a kind: its options, its formula, what its statistics are over, how to build it. Begin with `base.py`, then
read `from_scratch.py`, where batch normalization is written out. Importing this imports no torch; `build` does.
"""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily
from bncompare.norms import activation, base, batch, pointwise, switchable, weight, whitening
from bncompare.norms.activation import GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from bncompare.norms.base import (
    NORMS,
    ActivationNorm,
    AffineNorm,
    Array,
    Eps,
    EvalStats,
    NoNorm,
    Norm,
    Shape,
    WeightParametrization,
    name_of,
    together,
)
from bncompare.norms.batch import (
    BatchNorm,
    BatchNormFromScratch,
    BatchRenorm,
    GhostBatchNorm,
    LpBatchNorm,
    MeanOnlyBatchNorm,
    PopulationBatchNorm,
)
from bncompare.norms.running import BatchFamily, RunningNorm
from bncompare.norms.switchable import SwitchableNorm
from bncompare.plugins import classes_of

if TYPE_CHECKING:
    from bncompare.norms.modules import batch_norms

__all__ = [
    "NORMS",
    "ActivationNorm",
    "AffineNorm",
    "Array",
    "BatchFamily",
    "BatchNorm",
    "BatchNormFromScratch",
    "BatchRenorm",
    "Eps",
    "EvalStats",
    "GhostBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LpBatchNorm",
    "MeanOnlyBatchNorm",
    "NoNorm",
    "Norm",
    "PopulationBatchNorm",
    "RMSNorm",
    "RunningNorm",
    "Shape",
    "SwitchableNorm",
    "WeightParametrization",
    "batch_norms",
    "name_of",
    "together",
]

for _module in (base, batch, activation, pointwise, whitening, switchable, weight):
    for _norm in classes_of(_module):
        if issubclass(_norm, NoNorm | Norm) and NORMS.names(_norm):
            NORMS.add(_norm)

__getattr__ = lazily(__name__, modules="batch_norms")
