"""The model of a run as a table of its layers, and as a drawing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bncompare.config import ACTIVATIONS, INPUT, Layer, Part, RunConfig, layers
from bncompare.errors import UserError, printable
from bncompare.norms import ActivationNorm, Shape

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
    for layer in layers(run):
        for part in layer.parts:
            numbers = layer.num_parameters(part), layer.num_trained(part, run.training.trainable)
            multiply_adds = layer.num_weights * math.prod(layer.shape[1:]) if part == layer.operation else 0
            name, shape = f"{layer.name}.{part}", layer.shape_after(part)
            rows.append(LayerRow(name, _kind(layer, part), shape, *numbers, multiply_adds))
    return rows


def _kind(layer: Layer, part: Part) -> str:
    """The class of a part's module."""
    if part == "activation":
        assert layer.activation is not None
        return ACTIVATIONS[layer.activation]
    if part == "pool":
        assert layer.pool is not None
        return layer.pool.module_name
    if part == "norm":
        assert isinstance(layer.norm, ActivationNorm)
        return layer.norm.module_name(layer.shape)
    names = {"flatten": "Flatten", "conv": "Conv2d", "linear": "Linear", "sum": "Sum", "dropout": "PairedDropout"}
    return names[part]


def _edges(run: RunConfig) -> Iterator[tuple[str, str, Shape]]:
    """From what, to what, and the shape of what goes there."""
    planned = layers(run)
    ends = {layer.name: f"{layer.name}.{layer.parts[-1]}" for layer in planned} | {INPUT: INPUT}
    for layer in planned:
        first = f"{layer.name}.{layer.parts[0]}"
        yield from ((ends[name], first, layer.entering) for name in layer.follows)
        for before, after in pairwise(layer.parts):
            yield f"{layer.name}.{before}", f"{layer.name}.{after}", layer.shape_after(before)
    yield ends[planned[-1].name], "output", planned[-1].output_shape


def draw(run: RunConfig, rows: list[LayerRow], path: Path) -> None:
    """Draw the layers into a .svg, .png or .dot file; raises UserError where that can't be done."""
    format = path.suffix.removeprefix(".")
    if format not in FORMATS:
        raise UserError(f"-o {path}: must end in .{', .'.join(FORMATS)}")
    try:
        import graphviz
    except ImportError:
        raise UserError("drawings need the extra `graph`: pip install 'bncompare[graph]'") from None
    title = graphviz.escape(printable(f"{run.name}: {run.variant_name}"))
    drawing: Any = graphviz.Digraph(run.name, graph_attr={"label": title, "labelloc": "t"})
    drawing.attr("node", shape="box", style="rounded,filled", fillcolor="white", fontname="Helvetica", fontsize="11")
    drawing.attr("edge", fontname="Helvetica", fontsize="9")
    drawing.node(INPUT, INPUT, fillcolor="#eeeeee")
    for row in rows:
        text = f"{row.name}\n{row.kind}" + (f"\n{row.parameters:,} parameters" if row.parameters else "")
        text += f"\n{row.trained:,} trained" if row.trained != row.parameters else ""
        is_norm = row.name.endswith(".norm")
        drawing.node(row.name, text, fillcolor="#cfe3f5" if is_norm else "white")
    drawing.node("output", "output", fillcolor="#eeeeee")
    for start, end, shape in _edges(run):
        drawing.edge(start, end, label=f" {' × '.join(map(str, shape))}")
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
