"""What every probe has: its keys in a config, what it will record, how it measures; and the registry of probes.

Importing this imports no torch, so that configs are checked and figures drawn without it; `measure` does.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bncompare.norms import NoNorm, Norm, Shape
from bncompare.options import Section

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


class ProbedLayer(Protocol):
    """What a probe has to know of a layer."""

    @property
    def name(self) -> str: ...
    @property
    def out_features(self) -> int: ...
    @property
    def shape(self) -> Shape: ...
    @property
    def norm(self) -> Norm | None: ...
    @property
    def has_weight(self) -> bool: ...
    @property
    def activation(self) -> str | None: ...


@dataclass(frozen=True)
class Plan:
    """What a probe has to know of a run."""

    seed: int
    layers: Sequence[ProbedLayer]
    """from input to output"""
    chosen: Collection[str]
    """names of the layers that are measured one by one"""
    norm: NoNorm | Norm
    trainable: str
    """all, norm, all_but_norm or random"""
    clip_gradient_norm: float | None
    l1: float
    validated_by: Sequence[str]
    """metrics of a validation, such as val/loss"""
    num_validation: int
    """examples to validate on"""

    @property
    def measured(self) -> list[ProbedLayer]:
        """The layers that are measured one by one."""
        return [layer for layer in self.layers if layer.name in self.chosen]

    def trains_weight(self, layer: ProbedLayer) -> bool:
        """Whether it has a weight of which anything is trained."""
        if self.trainable == "random":
            return layer.norm is not None and layer.norm.has_parameters
        return layer.has_weight and self.trainable != "norm"


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
