"""Law: variants that share a seed share split, batch order, dropout masks and the weights they have in common."""

import pytest
import torch
from kit import CONFIGS

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.extras.laws import SHAPES, is_paired, run_with
from bncompare.norms import NORMS
from bncompare.training.data import Datasets, epoch_rows, load_dataset
from bncompare.training.layers import PairedDropout
from bncompare.training.model import build_model

EVERY_NORM = "[none, batch, batch_from_scratch, layer, group, {kind: batch, placement: after}]"


def variants(*overrides: str, norms: str = EVERY_NORM, seed: int = 3) -> list[RunConfig]:
    settings = [f"compare.model.norm={norms}", *overrides]
    return load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds=f"{seed}-{seed}").runs


def same(tensors: list[torch.Tensor]) -> bool:
    return all(torch.equal(tensor, tensors[0]) for tensor in tensors)


@pytest.mark.parametrize("init", ["torch_default", "xavier_uniform", "kaiming_normal", "{kind: normal, std: 0.05}"])
def test_initial_weights_are_shared(init: str) -> None:
    """Inserting a norm changes no bit of the initial weights of any layer."""
    runs = variants(f"model.init={init}")
    assert [is_paired(run) for run in runs] == [None] * len(runs)
    states = [build_model(run).state_dict() for run in runs]
    layers = ("conv.0.conv", "conv.1.conv", "dense.0.linear", "dense.1.linear", "output.linear")
    shared = [*(f"{layer}.weight" for layer in layers), "output.linear.bias"]
    assert [name for name in states[0] if all(name in state for state in states)] == shared


@pytest.mark.parametrize("kind", [kind for kind in NORMS if kind != "none"])
def test_every_norm_is_paired(kind: str) -> None:
    """Of an MLP or a LeNet; nor does what was drawn from torch's global generator before change a weight."""
    norm = NORMS[kind].model_validate({"kind": kind})
    shape = next(shape for shape in SHAPES if norm.problem(shape, 8) is None)
    assert is_paired(run_with(norm, shape)) is None


def test_biases_are_shared() -> None:
    """Where a variant has a bias, it starts as it does in the others."""
    states = [build_model(run).state_dict() for run in variants("model.bias=always")]
    assert same([state["conv.0.conv.bias"] for state in states])


def test_split_and_batch_order_are_shared() -> None:
    """Every variant holds out the same examples and visits the others in the same order, epoch by epoch."""
    runs = variants()
    datasets = [Datasets(None).of(run) for run in runs]
    assert same([dataset.validation.rows for dataset in datasets if dataset.validation])
    assert same([dataset.train.rows for dataset in datasets])
    for epoch in (0, 1, 7):
        rows = [epoch_rows(run, dataset.train, epoch) for run, dataset in zip(runs, datasets, strict=True)]
        assert same(rows)
    first, second = epoch_rows(runs[0], datasets[0].train, 0), epoch_rows(runs[0], datasets[0].train, 1)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, datasets[0].train.rows.sort().values)


def test_regression_data_is_shared() -> None:
    """Every variant of a seed sees the same random numbers, another seed other ones."""
    settings = ["data.signal=teacher", "data.validation=100"]
    runs = load_experiment(CONFIGS / "regression.yaml", overrides=settings, seeds="2").runs
    datasets = [load_dataset(run, None) for run in runs]
    none0, batch0, none1, _ = datasets
    assert same([none0.train.inputs, batch0.train.inputs])
    assert same([none0.train.targets, batch0.train.targets])
    assert not torch.equal(none0.train.inputs, none1.train.inputs)
    assert not torch.equal(none0.train.rows, none1.train.rows)


def test_dropout_masks_are_shared() -> None:
    """The units that are dropped in a step do not depend on the norm, but on seed, layer and step."""
    settings = ["model={name: mlp, hidden: [20, 20], dropout: 0.5}"]
    masks = []
    for run in variants(*settings, norms="[none, batch]"):
        model = build_model(run)
        dropout = model.get_submodule("hidden.1.dropout")
        assert isinstance(dropout, PairedDropout)
        dropout.reseed(run.seed, "hidden.1.dropout", 5, torch.device("cpu"))
        masks.append(dropout(torch.ones(4, 20)))
    assert same(masks)
    assert set(masks[0].unique().tolist()) == {0.0, 2.0}
    dropout.reseed(run.seed, "hidden.1.dropout", 6, torch.device("cpu"))
    assert not torch.equal(dropout(torch.ones(4, 20)), masks[0])


def test_seeds_differ() -> None:
    """Another seed has other initial weights, another split and another order."""
    (one,), (other,) = variants(norms="[batch]", seed=3), variants(norms="[batch]", seed=4)
    assert not torch.equal(
        build_model(one).state_dict()["conv.0.conv.weight"], build_model(other).state_dict()["conv.0.conv.weight"]
    )
