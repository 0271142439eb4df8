"""From YAML to resolved runs: in goes a config file, out come `RunConfig`s, one a variant and seed, all checked.

Begin with `run.py`: what one run is, and what of it decides the numbers; then `training.py`. `expand.py` is the way
from a file to its runs; `problems.py` says what is wrong with one. Nothing here imports torch. Names are looked
up when they are asked for, as a table waits for no models; none is that of a module, which would hide it.
"""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.config.architecture import (
        ACTIVATIONS,
        INPUT,
        Layer,
        Part,
        Pooling,
    )
    from bncompare.config.checks import MAX_TABLE_BYTES
    from bncompare.config.choosing import one_of_each_norm, tuning_options
    from bncompare.config.claims import DIAGNOSTIC, At, Claim, NamedMeasure
    from bncompare.config.data import dataset_of
    from bncompare.config.expand import Experiment, load_experiment
    from bncompare.config.keys import flatten, lookup, made_label, selects, setting_label, setting_value, without
    from bncompare.config.metrics import Metric, Sign, rounded
    from bncompare.config.model import MODELS, Dropout, ModelSection
    from bncompare.config.names import norm_name, proper_name, setting_words, variant_name
    from bncompare.config.problems import keys_called
    from bncompare.config.quantities import cost, count_parameters, layers, measured, plan
    from bncompare.config.ranges import seed_ranges, seeds_in
    from bncompare.config.run import NAME, ExperimentFile, RunConfig, decisive, is_label
    from bncompare.config.schema import json_schema
    from bncompare.config.seeds import Until
    from bncompare.config.status import Status
    from bncompare.config.suggestions import did_you_mean, suggestion
    from bncompare.config.training import EarlyStopping
    from bncompare.config.yaml import MAX_BYTES, dump_yaml, parse_alike_yaml, selector_text

__all__ = [
    "ACTIVATIONS",
    "DIAGNOSTIC",
    "INPUT",
    "MAX_BYTES",
    "MAX_TABLE_BYTES",
    "MODELS",
    "NAME",
    "At",
    "Claim",
    "Dropout",
    "EarlyStopping",
    "Experiment",
    "ExperimentFile",
    "Layer",
    "Metric",
    "ModelSection",
    "NamedMeasure",
    "Part",
    "Pooling",
    "RunConfig",
    "Sign",
    "Status",
    "Until",
    "cost",
    "count_parameters",
    "dataset_of",
    "decisive",
    "did_you_mean",
    "dump_yaml",
    "flatten",
    "is_label",
    "json_schema",
    "keys_called",
    "layers",
    "load_experiment",
    "lookup",
    "made_label",
    "measured",
    "norm_name",
    "one_of_each_norm",
    "parse_alike_yaml",
    "plan",
    "proper_name",
    "rounded",
    "seed_ranges",
    "seeds_in",
    "selector_text",
    "selects",
    "setting_label",
    "setting_value",
    "setting_words",
    "suggestion",
    "tuning_options",
    "variant_name",
    "without",
]

__getattr__ = lazily(
    __name__,
    checks="MAX_TABLE_BYTES",
    choosing="one_of_each_norm tuning_options",
    claims="DIAGNOSTIC At Claim NamedMeasure",
    data="dataset_of",
    expand="Experiment load_experiment",
    keys="flatten lookup made_label selects setting_label setting_value without",
    architecture="ACTIVATIONS INPUT Layer Part Pooling",
    quantities="cost count_parameters layers measured plan",
    metrics="Metric Sign rounded",
    model="MODELS Dropout ModelSection",
    names="norm_name proper_name setting_words variant_name",
    problems="keys_called",
    ranges="seed_ranges seeds_in",
    run="NAME ExperimentFile RunConfig decisive is_label",
    schema="json_schema",
    seeds="Until",
    status="Status",
    suggestions="did_you_mean suggestion",
    training="EarlyStopping",
    yaml="MAX_BYTES dump_yaml parse_alike_yaml selector_text",
)
