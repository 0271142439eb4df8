"""The model of a run as a table of its layers, and as a drawing."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bncompare.config import ACTIVATIONS, POOL_SIZE, Layer, LeNet, Part, RunConfig, layers
from bncompare.errors import UserError, printable
from bncompare.norms import ActivationNorm

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
    """The layers in the order data goes through them, as `training.build_model` builds them."""
    rows: list[LayerRow] = []
    shape = run.data.input_shape
    for layer in layers(run):
        if layer.kind == "dense" and len(shape) > 1:
            shape = (layer.in_features,)
            rows.append(LayerRow("flatten.0", "Flatten", shape, 0, 0, 0))
        for part in layer.parts:
            shape = layer.shape if part != "pool" else (shape[0], *(side // POOL_SIZE for side in shape[1:]))
            numbers = layer.num_parameters(part), layer.num_trained(part, run.training.trainable)
            multiply_adds = layer.num_weights * math.prod(layer.shape[1:]) if part == layer.parts[0] else 0
            rows.append(LayerRow(f"{layer.name}.{part}", _kind(run, layer, part), shape, *numbers, multiply_adds))
    return rows


def _kind(run: RunConfig, layer: Layer, part: Part) -> str:
    """The class of a part's module."""
    if part == "activation":
        return ACTIVATIONS[run.model.activation]
    if part == "pool":
        assert isinstance(run.model, LeNet)
        return {"avg": "AvgPool2d", "max": "MaxPool2d"}[run.model.pooling]
    if part == "norm":
        assert isinstance(layer.norm, ActivationNorm)
        return layer.norm.module_name(layer.shape)
    return {"conv": "Conv2d", "linear": "Linear", "dropout": "PairedDropout"}[part]


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
