"""Normalization layers: `kinds` says which there are, the other modules hold those that torch.nn lacks."""

from bncompare.norms.kinds import NORMS, NoNorm, Norm, register_norm

__all__ = ["NORMS", "NoNorm", "Norm", "register_norm"]
