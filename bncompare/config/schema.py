"""The JSON Schema of configs, for editors and the reference in docs/: what validates them, with descriptions."""

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import ModelSchema

from bncompare.config.run import ExperimentFile
from bncompare.options import Section, descriptions


class _Described(GenerateJsonSchema):
    def model_schema(self, schema: ModelSchema) -> dict[str, Any]:
        """Of one section, with the descriptions of its keys."""
        section = super().model_schema(schema)
        cls: type[Section] = schema["cls"]
        for name, text in descriptions(cls).items():
            if name in section["properties"]:
                section["properties"][name]["description"] = text
        return section


def json_schema() -> dict[str, Any]:
    """The schema as plain data: keys of `compare` are those of a config, dotted, with the same values."""
    schema = ExperimentFile.model_json_schema(schema_generator=_Described)
    places: dict[str, list[Any]] = {}
    for key, value in _dotted(schema["properties"], schema["$defs"]):
        if value not in places.setdefault(key, []):
            places[key].append(value)
    settings = {key: {"anyOf": values} if len(values) > 1 else values[0] for key, values in places.items()}
    variant = {"label": {"type": "string"}, **{key: {"$ref": f"#/$defs/{key}"} for key in settings}}
    grid = {key: {"type": "array", "items": {"$ref": f"#/$defs/{key}"}} for key in settings}
    mapping = {"type": "object", "additionalProperties": False}
    schema["properties"]["compare"]["anyOf"] = [
        mapping | {"properties": grid},
        {"type": "array", "items": mapping | {"properties": variant}},
        {"type": "null"},
    ]
    dialect = {"$schema": GenerateJsonSchema.schema_dialect, "$id": "urn:bncompare:config"}
    return {**dialect, **schema, "$defs": schema["$defs"] | settings}


# What is of the experiment, or written by bncompare: variants differ in none of it.
_OF_EXPERIMENT = {"name", "variant", "design", "seeds", "claims", "tuning_seeds", "compare", "tune", "judge_seeds"}


def _dotted(properties: dict[str, Any], definitions: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that variants may differ in, with what it may be: those of alternatives, one after the other."""
    for key, value in properties.items():
        if above or key not in _OF_EXPERIMENT:
            yield above + key, {name: value[name] for name in value if name not in ("default", "title")}
            for section in _sections(value, definitions):
                yield from _dotted(section["properties"], definitions, f"{above}{key}.")


def _sections(value: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The sections that a value may be."""
    if "$ref" in value:
        yield definitions[value["$ref"].rsplit("/", 1)[1]]
    for choice in [*value.get("anyOf", []), *value.get("oneOf", [])]:
        yield from _sections(choice, definitions)
