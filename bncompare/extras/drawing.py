"""The model of a run as a table of its layers, and as a drawing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bncompare.config import RunConfig
from bncompare.errors import UserError, printable
from bncompare.training import Subset, build_model, trainable_parameters

FORMATS = ("svg", "png", "dot")


@dataclass(frozen=True)
class LayerRow:
    """A layer as it is run."""

    name: str
    kind: str
    """the class of the module"""
    output_shape: tuple[int, ...]
    """of one example"""
    parameters: int
    trained: int
    """how many of the parameters `training.trainable` trains"""
    multiply_adds: int
    """of one example, in convolutions and dense layers; norms, activations and pools cost next to nothing"""


def layer_table(run: RunConfig) -> list[LayerRow]:
    """The layers in the order data goes through them."""
    model = build_model(run).eval()
    trained = {id(parameter) for group in trainable_parameters(run, model) for parameter in group}
    rows: list[LayerRow] = []

    def add(name: str, module: nn.Module, output: torch.Tensor) -> None:
        shape = tuple(output.shape[1:])
        multiply_adds = 0
        if isinstance(module, nn.Linear):
            multiply_adds = module.in_features * module.out_features
        elif isinstance(module, nn.Conv2d):
            multiply_adds = module.weight.numel() * shape[1] * shape[2]
        frozen = sum(m.initial.numel() - m.chosen.numel() for m in module.modules() if isinstance(m, Subset))
        parameters = frozen + sum(parameter.numel() for parameter in module.parameters())
        num_trained = sum(parameter.numel() for parameter in module.parameters() if id(parameter) in trained)
        kind: str = module._get_name().removeprefix("Parametrized")  # type: ignore[no-untyped-call]
        rows.append(LayerRow(name, kind, shape, parameters, num_trained, multiply_adds))

    for name, module in model.named_modules():
        is_layer = not isinstance(module, nn.Sequential) and "parametrizations" not in name
        if is_layer:
            module.register_forward_hook(lambda m, _inputs, output, name=name: add(name, m, output))
    with torch.no_grad():
        model(torch.zeros(2, *run.data.input_shape))
    return rows


def draw(run: RunConfig, rows: list[LayerRow], path: Path) -> None:
    """Draw the layers into a .svg, .png or .dot file; raises UserError where that can't be done."""
    format = path.suffix.removeprefix(".")
    if format not in FORMATS:
        raise UserError(f"-o {path}: must end in .{', .'.join(FORMATS)}")
    try:
        import graphviz
    except ImportError:
        raise UserError("drawings need the extra `graph`: pip install 'bncompare[graph]'") from None
    title = graphviz.escape(printable(f"{run.name}: {run.variant.label}"))
    drawing: Any = graphviz.Digraph(run.name, graph_attr={"label": title, "labelloc": "t"})
    drawing.attr("node", shape="box", style="rounded,filled", fillcolor="white", fontname="Helvetica", fontsize="11")
    drawing.attr("edge", fontname="Helvetica", fontsize="9")
    shape = " × ".join(map(str, run.data.input_shape))
    drawing.node("input", "input", fillcolor="#eeeeee")
    previous = "input"
    for row in rows:
        text = f"{row.name}\n{row.kind}" + (f"\n{row.parameters:,} parameters" if row.parameters else "")
        text += f"\n{row.trained:,} trained" if row.trained != row.parameters else ""
        is_norm = row.name.endswith(".norm")
        drawing.node(row.name, text, fillcolor="#cfe3f5" if is_norm else "white")
        drawing.edge(previous, row.name, label=f" {shape}")
        previous, shape = row.name, " × ".join(map(str, row.output_shape))
    drawing.node("output", "output", fillcolor="#eeeeee")
    drawing.edge(previous, "output", label=f" {shape}")
    try:
        content = drawing.source.encode() if format == "dot" else drawing.pipe(format=format)
    except graphviz.ExecutableNotFound:
        raise UserError(
            f"-o {path}: .{format} needs Graphviz's program dot (apt install graphviz, brew install graphviz); "
            "a .dot file does not"
        ) from None
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"-o {path}: cannot be written: {error.strerror}") from None
