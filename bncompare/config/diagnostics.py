"""The `diagnostics` section: what is measured beside the metrics."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import SerializerFunctionWrapHandler, create_model, model_serializer

from bncompare.options import PositiveInt, Section, must_be
from bncompare.plugins import origin
from bncompare.probes import PROBES, Probe


class _Shared(Section):
    """What all probes share."""

    every: PositiveInt = 1
    """evaluations between measurements; the last evaluation is always measured, unless the run diverged in it"""
    examples: PositiveInt | None = None
    """training examples in the batch that is measured on; null = as many as in a batch of training"""
    layers: Annotated[Literal["all"] | list[str], must_be("all, or a list of layer names")] = "all"
    """the layers measured one by one: all, or a list of names such as [hidden.0, output]"""


_KEYS = {probe: tuple(probe.model_fields) for probe in PROBES}
_OF_PLUGINS = [probe for probe in PROBES if origin(probe)]
_fields: Any = {name: (field.annotation, field) for probe in PROBES for name, field in probe.model_fields.items()}
_WithKeys: Any = create_model("_WithKeys", __base__=_Shared, **_fields)


class Diagnostics(_WithKeys):
    """What is measured beside the metrics and changes none of them; goes to diagnostics.csv.

    What depends on examples is measured on one batch of training examples, the same at every evaluation.
    """

    merged = PROBES

    @model_serializer(mode="wrap")
    def _as_without_plugins(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Without the keys of a plugin's probe that is off: a run that does not take it is as where there is none."""
        wanted = set(map(type, self.wanted)) if _OF_PLUGINS else set()
        off = {key for probe in _OF_PLUGINS if probe not in wanted for key in _KEYS[probe]}
        return {key: value for key, value in handler(self).items() if key not in off}

    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...

    @property
    def probes(self) -> list[Probe]:
        """Every probe of which a key is written, with its keys: by default all are off."""
        written = self.model_fields_set
        return [
            probe.model_construct(**{key: getattr(self, key) for key in keys})
            for probe, keys in _KEYS.items()
            if not written.isdisjoint(keys)
        ]

    @property
    def wanted(self) -> list[Probe]:
        """The probes that are switched on."""
        return [probe for probe in self.probes if probe.is_wanted]
