"""Kinds of norm, and the layers of a model, as tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from bncompare.norms import ActivationNorm, NoNorm, Norm
from bncompare.options import descriptions
from bncompare.report.table import Table, as_yaml


@dataclass(frozen=True)
class NormReference:
    """What there is to say about a kind of norm; for the terminal, JSON and the README."""

    kind: str
    summary: str
    formula: str
    axes: str
    options: list[tuple[str, str, str]]
    """(name, default, meaning)"""

    @property
    def options_line(self) -> str:
        """`eps 1e-05, momentum 0.1, …`, without those that every norm has."""
        shared = ActivationNorm.model_fields
        return ", ".join(f"{name} {default}" for name, default, _ in self.options if name not in shared)


def norm_reference(norm: type[NoNorm] | type[Norm]) -> NormReference:
    """A kind's documentation, from its class."""
    (kind,) = get_args(norm.model_fields["kind"].annotation)
    meanings = descriptions(norm)
    options = [
        (name, as_yaml(getattr(field.default, "kind", field.default)), " ".join(meanings.get(name, "").split()))
        for name, field in norm.model_fields.items()
        if name != "kind"
    ]
    return NormReference(kind, " ".join((norm.__doc__ or "").split()), norm.formula, norm.axes, options)


def norms_table(norms: Iterable[NormReference]) -> Table:
    """A line a kind."""
    columns = ["kind", "formula", "statistics over", "options"]
    return Table.of(columns, [[norm.kind, norm.formula, norm.axes, norm.options_line] for norm in norms])


def options_table(norm: NormReference) -> Table:
    """What one kind takes."""
    return Table.of(["option", "default", "meaning"], norm.options)


def layers_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """A model's layers, with their totals; what is trained where that is not all."""
    numbers = {"parameters": "parameters", "trained": "trained", "multiply_adds": "multiply-adds"}
    if all(row["trained"] == row["parameters"] for row in rows):
        del numbers["trained"]
    cells = [
        [row["name"], row["kind"], " × ".join(map(str, row["output_shape"])), *(f"{row[name]:,}" for name in numbers)]
        for row in rows
    ]
    totals = [f"{sum(row[name] for row in rows):,}" for name in numbers]
    columns = ["layer", "kind", "output", *numbers.values()]
    return Table.of(columns, [*cells, ["total", "", "", *totals]], set(numbers.values()), title)
