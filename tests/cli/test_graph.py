"""The table of layers and the drawing of a model."""

import itertools
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from kit import CONFIGS, fits
from torch import nn

from bncompare.config.expand import load_experiment
from bncompare.config.quantities import count_parameters
from bncompare.config.run import RunConfig
from bncompare.errors import UserError
from bncompare.extras.drawing import LayerRow, draw, layer_table
from bncompare.norms.base import NORMS
from bncompare.training.layers import Subset
from bncompare.training.model import build_model, trainable_parameters


def run_of(norm: str, model: str = "{name: lenet}") -> RunConfig:
    settings = [f"compare.model.norm=[{norm}]", f"model={model}"]
    return load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="1").runs[0]


def test_lenet() -> None:
    """The published sizes of LeNet, and its multiply-adds by hand."""
    rows = {row.name: row for row in layer_table(run_of("batch"))}
    assert rows["conv.0.conv"].output_shape == (6, 28, 28)
    assert rows["conv.0.conv"].multiply_adds == 6 * 28 * 28 * 25
    assert rows["conv.1.conv"].multiply_adds == 16 * 10 * 10 * 25 * 6
    assert rows["conv.1.pool"].output_shape == (16, 5, 5)
    assert (rows["dense.0.linear"].multiply_adds, rows["dense.0.linear"].parameters) == (400 * 120, 400 * 120)
    assert (rows["conv.1.norm"].kind, rows["conv.1.norm"].parameters) == ("BatchNorm2d", 32)
    assert list(rows)[-1] == "output.linear"


def built(run: RunConfig) -> list[LayerRow]:
    """The table of the model as it is built and run."""
    model = build_model(run).eval()
    trained = {id(parameter) for group in trainable_parameters(run, model) for parameter in group}
    rows: list[LayerRow] = []

    def add(name: str, module: nn.Module, output: torch.Tensor) -> None:
        shape = tuple(output.shape[1:])
        multiply_adds = 0
        if isinstance(module, nn.Linear | nn.Conv2d):
            multiply_adds = module.weight.numel() * math.prod(shape[1:])
        kept = sum(m.initial.numel() - m.chosen.numel() for m in module.modules() if isinstance(m, Subset))
        parameters = kept + sum(parameter.numel() for parameter in module.parameters())
        num_trained = sum(parameter.numel() for parameter in module.parameters() if id(parameter) in trained)
        kind = module._get_name().removeprefix("Parametrized")  # type: ignore[no-untyped-call]
        rows.append(LayerRow(name, kind, shape, parameters, num_trained, multiply_adds))

    for name, module in model.named_modules():
        if not isinstance(module, nn.Sequential) and "parametrizations" not in name:
            module.register_forward_hook(lambda m, _inputs, output, name=name: add(name, m, output))
    with torch.no_grad():
        model(torch.zeros(2, *run.data.input_shape))
    return rows


LENETS = ["{name: lenet}", "{name: lenet, pooling: max, padding: 0, activation: tanh, bias: always}"]
MLPS = [
    "{name: mlp, hidden: [8, 6], dropout: 0.1}",
    "{name: mlp, hidden: [4], dropout: {p: 0.1, placement: before_norm, layers: last}}",
]


@pytest.mark.parametrize("kind", NORMS)
def test_the_table_is_of_the_model_that_is_built(kind: str) -> None:
    """Every kind in every place: what is worked out from the config alone is what torch builds."""
    where = "on_output: true" if fits(kind, 8) else "layers: conv"
    norms = [f"{{kind: {kind}, {where}}}" if kind != "none" else kind]
    norms += [f"{{kind: {kind}, {where}, placement: after}}"] * ("placement" in NORMS[kind].model_fields)
    for norm, model in itertools.product(norms, LENETS + MLPS * fits(kind, 8)):
        run = run_of(norm, model)
        assert layer_table(run) == built(run)
        assert sum(row.trained for row in layer_table(run)) == count_parameters(run)


@pytest.mark.parametrize("trainable", ["all", "norm", "all_but_norm", "random"])
@pytest.mark.parametrize("model", ["{name: lenet}", "{name: mlp, hidden: [8, 6]}"])
def test_all_parameters_and_those_trained(model: str, trainable: str) -> None:
    """Whatever is trained, all parameters are counted, and beside them those that are."""
    run = load_experiment(
        CONFIGS / "smoke.yaml",
        overrides=["compare.model.norm=[batch]", f"model={model}", f"training.trainable={trainable}"],
    ).runs[0]
    whole = {row.name: row.parameters for row in layer_table(run_of("batch", model))}
    rows = layer_table(run)
    assert {row.name: row.parameters for row in rows} == whole
    assert rows == built(run)
    trained = {row.name: row.trained for row in rows if row.trained}
    norms = {name: number for name, number in whole.items() if name.endswith(".norm")}
    if trainable == "random":  # as many entries of the weight before a norm as it has γ and β
        before = {"conv": "conv", "hidden": "linear", "dense": "linear"}
        norms = {name.replace("norm", before[name.split(".")[0]]): number for name, number in norms.items()}
    others = {name: number for name, number in whole.items() if number and name not in norms}
    assert trained == {"all": others | norms, "all_but_norm": others}.get(trainable, norms)


def test_dot(tmp_path: Path) -> None:
    """A .dot file has a node for every layer and needs no program."""
    run = run_of("batch", "{name: mlp, hidden: [8]}")
    rows = layer_table(run)
    draw(run, rows, tmp_path / "model.dot")
    text = (tmp_path / "model.dot").read_text()
    assert text.startswith("digraph")
    assert "BatchNorm" in text.splitlines()[1]  # the title
    for row in rows:
        assert f'"{row.name}"' in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
@pytest.mark.parametrize(("format", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_pictures(format: str, magic: bytes, tmp_path: Path) -> None:
    """SVG and PNG are drawn by Graphviz."""
    run = run_of("batch")
    draw(run, layer_table(run), tmp_path / f"model.{format}")
    assert (tmp_path / f"model.{format}").read_bytes().startswith(magic)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another format, a missing dot and a missing extra each give one message that says what to do."""
    run = run_of("batch")
    rows = layer_table(run)
    with pytest.raises(UserError, match=r"must end in \.svg, \.png, \.dot"):
        draw(run, rows, tmp_path / "model.jpg")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(UserError, match="needs Graphviz's program dot"):
            draw(run, rows, tmp_path / "model.svg")
    with pytest.raises(UserError, match="cannot be written"):
        draw(run, rows, tmp_path / "none" / "model.dot")
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(UserError, match=r"pip install 'bncompare\[graph\]'"):
        draw(run, rows, tmp_path / "model.dot")
    assert list(tmp_path.iterdir()) == []
