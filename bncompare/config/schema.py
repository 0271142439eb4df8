"""The JSON Schema of configs, for editors and the reference in docs/: what validates them, with descriptions."""

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
    """The schema as plain data."""
    return ExperimentFile.model_json_schema(schema_generator=_Described)
