"""The names that people use: of each kind of norm, of a variant by its settings, each once in an experiment."""

from typing import Any

import pytest
from kit import loaded_run

from bncompare.norms import NORMS, name_of
from bncompare.runs import experiments, with_names

LR, NORM = "training.optimizer.lr", "model.norm"


@pytest.mark.parametrize(
    ("norm", "name"),
    [
        ("none", "no norm"),
        ("batch", "BatchNorm"),
        ("batch_from_scratch", "BatchNorm (from scratch)"),
        ("layer", "LayerNorm"),
        ({"kind": "group", "groups": 8}, "GroupNorm(8)"),
        ("instance", "InstanceNorm"),
        ("rms", "RMSNorm"),
        ("local_response", "LocalResponseNorm"),
        ("weight", "WeightNorm"),
        ("spectral", "SpectralNorm"),
        ({"kind": "ghost_batch", "virtual_batch_size": 32}, "Ghost BatchNorm(32)"),
        ("batch_renorm", "Batch Renorm"),
        ("noisy_batch", "BatchNorm (noisy)"),
        ("mean_only_batch", "BatchNorm (mean only)"),
        ("variance_only_batch", "BatchNorm (variance only)"),
        ({"kind": "lp_batch", "p": 1}, "L1 BatchNorm"),
        ("population_batch", "BatchNorm (population statistics)"),
        # other options
        ({"kind": "batch", "momentum": 0.1}, "BatchNorm"),
        ({"kind": "batch", "momentum": 0.9, "affine": False}, "BatchNorm (no affine, momentum 0.9)"),
        ({"kind": "batch", "momentum": None}, "BatchNorm (momentum null)"),
        ({"kind": "batch_from_scratch", "on_output": True}, "BatchNorm (from scratch, on output)"),
        ({"kind": "batch", "layers": ["hidden.0", "hidden.1"]}, "BatchNorm (layers hidden.0 hidden.1)"),
        ("group", "GroupNorm(2)"),
        ({"kind": "group", "channels_per_group": 4, "eps": 0.1}, "GroupNorm(groups of 4, eps 0.1)"),
        ({"kind": "lp_batch", "p": "inf"}, "L∞ BatchNorm"),
        # of runs from elsewhere
        ("my_norm", "my_norm"),
        ({"kind": "batch", "momentum": "much"}, "batch"),
        ({}, "None"),
    ],
)
def test_names_of_norms(norm: Any, name: str) -> None:
    """The usual name with the options that tell it from others; what is not known here is called by its kind."""
    assert name_of(norm) == name


def test_every_kind_has_a_name_of_its_own() -> None:
    """No two kinds are called alike."""
    assert all(norm.title for norm in NORMS.values())
    assert len({name_of(kind) for kind in NORMS}) == len(NORMS)


@pytest.mark.parametrize(
    ("label", "settings", "name"),
    [
        ("batch", {NORM: "batch"}, "BatchNorm"),
        ("batch lr=0.1", {NORM: "batch", LR: 0.1}, "BatchNorm, lr 0.1"),
        ("lr=0.1 batch", {LR: 0.1, NORM: "batch"}, "BatchNorm, lr 0.1"),
        ("lr=1.0 batch_size=64", {LR: 1.0, "training.batch_size": 64}, "lr 1, batch size 64"),
        ("sigmoid", {"model.activation": "sigmoid"}, "sigmoid"),
        ("sgd lr=0.1", {"training.optimizer": {"name": "sgd", "lr": 0.1}}, "sgd lr 0.1"),
        ("none", {}, "no norm"),
        ("with BN", {NORM: "batch"}, "with BN"),  # a label that the person wrote wins
        ("none", {NORM: "batch"}, "none"),
        ("run", {}, "run"),
    ],
)
def test_names_of_variants(label: str, settings: dict[str, Any], name: str) -> None:
    """From the settings, unless the config gives a label; files keep the label."""
    (run,) = with_names([loaded_run(label, settings=settings)])
    assert (run.variant, run.label) == (name, label)


def test_variants_that_would_be_called_alike_keep_their_labels() -> None:
    """No two variants of an experiment have one name, and a second look changes none."""
    alike = [loaded_run("batch", settings={NORM: "batch"}), loaded_run("BatchNorm", settings={NORM: "batch", LR: 2})]
    (found,) = experiments([*alike, loaded_run("none")])
    assert [run.variant for run in found.runs] == ["batch", "BatchNorm", "no norm"]
    assert experiments(found.runs)[0].runs == found.runs


def test_a_label_with_several_settings() -> None:
    """After an edit of the config: told apart by the option of the norm, or by what else differs."""
    norms = [{"kind": "batch"}, {"kind": "batch", "momentum": 0.9}]
    edited = [loaded_run("batch", settings={NORM: "batch"}, model={"norm": norm}) for norm in norms]
    (found,) = experiments(edited)
    assert [run.variant for run in found.runs] == ["BatchNorm", "BatchNorm (momentum 0.9)"]
    assert [run.label for run in found.runs] == ["batch ()", "batch (momentum=0.9)"]
