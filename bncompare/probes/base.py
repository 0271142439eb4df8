"""What every probe has: its keys in a config, what it will record, how it measures.

Importing this imports no torch, so that configs are checked and figures drawn without it; `measure` does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bncompare.options import Section
from bncompare.probes.plan import Plan, ProbedLayer

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject

NO_VALIDATION = "needs validation examples: data.validation is 0"


@dataclass(frozen=True)
class Reading:
    """A row of diagnostics.csv beside its epoch and step."""

    layer: str
    """a layer of the model, or `model` for the whole"""
    quantity: str
    value: float


class Probe(Section):
    """Something that is measured inside a model.

    Its fields are keys of the `diagnostics` section, of which the first switches it on. Every subclass in a module
    of this package is one of `PROBES`, and those of plugins are.
    """

    order: ClassVar[int] = 100
    """its rows in diagnostics.csv, and its keys, come after those of a lower one"""
    more_at_end: ClassVar[bool] = False
    """whether it records more at the end of a run"""
    captions: ClassVar[dict[str, str]] = {}
    """of figures of single quantities of layers"""

    @property
    def is_wanted(self) -> bool:
        """Whether a config switches it on."""
        return bool(getattr(self, next(iter(type(self).model_fields))))

    def problems(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """What its keys ask for and this run can't give, wanted or not: (key, what is wrong)."""
        yield from ()

    def of_layer(self, plan: Plan, layer: ProbedLayer) -> Iterator[str]:
        """The quantities that it will record of one of the layers."""
        yield from ()

    def of_model(self, plan: Plan) -> Iterator[str]:
        """The quantities that it will record of the whole model."""
        yield from ()

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """What it finds: `of_layer` and `of_model`, with values."""
        raise NotImplementedError


def repeated(key: str, entries: list[Any]) -> Iterator[tuple[str, str]]:
    """The problem of a list with an entry that is there twice."""
    if len(set(entries)) < len(entries):
        yield key, f"an entry is there twice: {entries}"
