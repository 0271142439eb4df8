"""A norm of the weight together with one of what leaves the layer: a list as `model.norm`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kit import TINY, call

from bncompare.config import RunConfig, count_parameters, load_experiment, selects
from bncompare.config.quantities import measured
from bncompare.errors import UserError
from bncompare.execution.memory import needed
from bncompare.training.data import Datasets
from bncompare.training.loop import train
from bncompare.training.model import build_model

BOTH = "[weight_standardization, {kind: group, groups: 4}]"
GRID = f"compare.model.norm=[none, group, {BOTH}, [batch, {{kind: weight_standardization, scaled: true}}]]"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace("[4]", "[8]"))
    return path


def variants(config: Path, *overrides: str) -> list[RunConfig]:
    return load_experiment(config, overrides=overrides, seeds="1").runs


def test_names(config: Path) -> None:
    """Both are said, in labels as they are written, to people the weight's first; either order is the same norm."""
    runs = variants(config, GRID)
    assert [run.variant.label for run in runs] == [
        "none",
        "group",
        "weight_standardization + group groups=4",
        "batch + weight_standardization scaled=true",
    ]
    assert [run.variant_name for run in runs] == [
        "no norm",
        "GroupNorm(2)",
        "Weight Standardization + GroupNorm(4)",
        "Weight Standardization (scaled) + BatchNorm",
    ]
    alone = [
        variants(config, "compare=null", f"model.norm={norm}")[0]
        for norm in (BOTH, "[{kind: group, groups: 4}, weight_standardization]")
    ]
    assert alone[0].digest == alone[1].digest == runs[2].digest
    assert alone[0].variant.label == "weight_standardization + group"
    assert alone[0].variant_name == "Weight Standardization + GroupNorm(4)"
    assert RunConfig.model_validate(alone[0].model_dump()) == alone[0]
    with pytest.raises(UserError, match="are the same settings"):
        variants(config, "compare.model.norm=[[batch, weight], [weight, batch]]")


def test_which_a_claim_is_about(config: Path) -> None:
    """A list selects the norm with a norm of the weight, a kind alone the one without."""
    _, plain, both, batch = [run.model_dump() for run in variants(config, GRID)]
    for norm, selected in {
        "group": [plain],
        "batch": [],
        "weight_standardization": [],
    }.items():
        assert [run for run in (plain, both, batch) if selects({"model.norm": norm}, run)] == selected
    cases: list[tuple[Any, list[Any]]] = [
        (["group", "weight_standardization"], [both]),
        (["weight_standardization", {"kind": "group", "groups": 4}], [both]),
        (["weight_standardization", {"kind": "group", "groups": 2}], []),
        ([{"kind": "weight_standardization", "scaled": True}, "batch"], [batch]),
        ({"kind": "group", "weight_norm": "weight_standardization"}, [both]),
        ({"kind": "group", "weight_norm": "none"}, [plain]),
        ({"weight_norm": {"kind": "weight_standardization"}}, [both, batch]),
    ]
    for wanted, selected in cases:
        assert [run for run in (plain, both, batch) if selects({"model.norm": wanted}, run)] == selected, wanted


@pytest.mark.parametrize(
    ("norm", "problem"),
    [
        ("[]", "model.norm: must be, where it is a list, a norm of the weight and one of what leaves the layer"),
        ("[batch]", "model.norm: must be, where it is a list, a norm of the weight and one"),
        ("[batch, layer]", "model.norm: must be, where it is a list, a norm of the weight and one"),
        ("[weight, spectral]", "model.norm: must be, where it is a list, a norm of the weight and one"),
        ("[none, weight]", "model.norm: must be, where it is a list, a norm of the weight and one"),
        ("[batch, weight, spectral]", "model.norm: must be, where it is a list, a norm of the weight and one"),
        ("[weight, {kind: batch, weight_norm: weight}]", "model.norm: must be, where it is a list, a norm"),
        ("[batch, wight]", "model.norm[1]: must be one of none, batch, "),
        ("[{kind: batch, epps: 1}, weight]", "model.norm[0].epps: unknown key; valid: kind, layers, "),
        ("[{kind: group, groups: x}, weight]", "model.norm[0].groups: must be a whole number, not 'x'"),
        ("{kind: batch, weight_norm: layer}", "model.norm.weight_norm: must be one of none, weight, spectral, "),
        ("[batch, {kind: weight, layers: dense}]", "model.norm.weight_norm.layers: has no effect"),
        ("[batch, {kind: weight, on_output: true}]", "model.norm.weight_norm.on_output: has no effect"),
    ],
)
def test_what_is_no_pair(config: Path, norm: str, problem: str) -> None:
    """One norm of each sort, each with options of its own, in the same layers."""
    with pytest.raises(UserError) as error:
        variants(config, "compare=null", f"model.norm={norm}")
    (found,) = error.value.problems
    assert problem in found


def test_a_list_has_no_keys(config: Path) -> None:
    """A key below a list is refused; below the mapping that it is short for, it is not."""
    below = "model.norm.weight_norm.scaled=true"
    with pytest.raises(UserError, match="has no keys"):
        variants(config, "compare=null", "model.norm=[batch, weight]", "model.norm.eps=1")
    (run,) = variants(config, "compare=null", "model.norm={kind: batch, weight_norm: weight_standardization}", below)
    assert run.variant_name == "Weight Standardization (scaled) + BatchNorm"


def test_random_entries_of_a_made_weight_are_refused(config: Path) -> None:
    with pytest.raises(UserError, match=r"training\.trainable: random: not of weights"):
        variants(config, "compare.model.norm=[[weight, batch]]", "training.trainable=random")


@pytest.mark.parametrize("of_weight", ["weight", "spectral", "{kind: weight_standardization, scaled: true}"])
def test_the_model_has_both(config: Path, of_weight: str) -> None:
    """The weight is what it is with its norm alone, all else what it is with the other."""
    alone, plain, both = variants(config, f"compare.model.norm=[{of_weight}, batch, [batch, {of_weight}]]")
    models = [build_model(run).eval() for run in (alone, plain, both)]
    weights = [model.get_submodule("hidden.0.linear").weight for model in models]
    torch.testing.assert_close(weights[0], weights[2], rtol=0, atol=0)
    names = [{name for name, _ in model.named_parameters()} for model in models]
    assert names[2] - names[0] == {"hidden.0.norm.weight", "hidden.0.norm.bias"}
    assert "hidden.0.linear.bias" in names[0] - names[2]
    assert "output.linear.parametrizations.weight.original" not in names[2]
    assert [count_parameters(run) for run in (alone, plain, both)] == [
        sum(p.numel() for p in model.parameters()) for model in models
    ]
    assert needed(both).total >= needed(plain).total
    assert measured(both) == measured(plain)
    *_, last = train(both, Datasets(None).of(both), torch.device("cpu"))
    assert last.outcome is not None
    assert last.outcome.status == "completed"


def test_in_the_commands(config: Path, tmp_path: Path) -> None:
    """From the plan to the report, with γ and running statistics measured."""
    measure = "diagnostics={norm_parameters: true, running_statistics: true, eval_stats: [batch]}"
    arguments = [config, "--set", GRID, "--set", measure]
    assert "Weight Standardization + GroupNorm(4)" in call("graph", *arguments[:3]).out
    ended = call("train", *arguments, "--seeds", "2", "--jobs", "1", "--runs", tmp_path / "runs")
    assert ended.code == 0, ended.err
    report = call("report", tmp_path / "runs" / "tiny").out
    assert "Weight Standardization + GroupNorm(4)" in report
    assert "Weight Standardization (scaled) + BatchNorm" in report
