"""From YAML to resolved runs: in goes a config file, out come `RunConfig`s, one a variant and seed, all checked.

Begin with `run.py`: what one run is, and what of it decides the numbers; then `training.py`. `expand.py` is the way
from a file to its runs; `problems.py` says what is wrong with one. Nothing here imports torch.
"""

from bncompare.config.checks import MAX_TABLE_BYTES
from bncompare.config.claims import DIAGNOSTIC, At, Claim
from bncompare.config.data import Images, RandomRegression
from bncompare.config.expand import Experiment, load_experiment
from bncompare.config.keys import flatten, lookup, selects, setting_label
from bncompare.config.layers import KERNEL_SIZE, POOL_SIZE, Layer, layers
from bncompare.config.measured import (
    LANDSCAPE,
    PERCENTILES,
    measured,
    measured_layers,
    one_at_a_time_statistics,
    validated_with,
)
from bncompare.config.model import AnyInit, LeNet
from bncompare.config.problems import did_you_mean
from bncompare.config.run import NAME, ExperimentFile, RunConfig, is_label
from bncompare.config.training import (
    SGD,
    ClassClusteredSampler,
    CosineLR,
    EarlyStopping,
    ExponentialLR,
    MultiStepLR,
    ReduceOnPlateau,
    StepLR,
    is_better_high,
)
from bncompare.config.yaml import MAX_BYTES, dump_yaml, parse_alike_yaml

__all__ = [
    "DIAGNOSTIC",
    "KERNEL_SIZE",
    "LANDSCAPE",
    "MAX_BYTES",
    "MAX_TABLE_BYTES",
    "NAME",
    "PERCENTILES",
    "POOL_SIZE",
    "SGD",
    "AnyInit",
    "At",
    "Claim",
    "ClassClusteredSampler",
    "CosineLR",
    "EarlyStopping",
    "Experiment",
    "ExperimentFile",
    "ExponentialLR",
    "Images",
    "Layer",
    "LeNet",
    "MultiStepLR",
    "RandomRegression",
    "ReduceOnPlateau",
    "RunConfig",
    "StepLR",
    "did_you_mean",
    "dump_yaml",
    "flatten",
    "is_better_high",
    "is_label",
    "layers",
    "load_experiment",
    "lookup",
    "measured",
    "measured_layers",
    "one_at_a_time_statistics",
    "parse_alike_yaml",
    "selects",
    "setting_label",
    "validated_with",
]
