"""What every part of a config is made of."""

import ast
import inspect
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MAX_COUNT = 10**12  # thirty years of a thousand steps a second; beyond 2⁶³ a setting could only fail
MAX_WIDTH = 65_536  # units of a layer
MAX_NUMBER = 1e30  # float32, in which a run computes, ends at 3·10³⁸: far beyond what trains, and not infinite
MAX_SCALE = 1e15  # of data and weights, whose squares a loss or a variance adds up: theirs end at 10¹⁹

PositiveInt = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[float, Field(gt=0, le=MAX_NUMBER)]
NonNegative = Annotated[float, Field(ge=0, le=MAX_NUMBER)]


class Section(BaseModel):
    """A mapping in a config: strict values, no unknown keys, no NaN or infinity."""

    # What takes time and few commands need is done when it is asked for: validators here, `descriptions` below.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)

    merged: ClassVar[Sequence["type[Section]"]] = ()
    """others whose keys it has too"""


@cache
def descriptions(section: type[Section]) -> dict[str, str]:
    """What stands below each field in the source of a section, and of those it is made from; {} without a source."""
    found: dict[str, str] = {}
    for other in (*section.__bases__, *section.merged):
        found |= descriptions(other) if issubclass(other, Section) else {}
    written = _classes(section.__module__).get(section.__name__)
    for field, below in itertools.pairwise(written.body if written else []):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
    return found


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """The classes of a module, as they are written."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # typed at a prompt
        return {}
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def must_be(message: str) -> WrapValidator:
    """One sentence in place of an error for each member of a union."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("must_be", "must be {expected}", {"expected": message}) from None

    return WrapValidator(check)


def shorthand(key: str, written: Any) -> BeforeValidator:
    """`init: normal` for `init: {kind: normal}`; `written` is the type of what people may write, for editors."""

    def expand(value: Any) -> Any:
        return value if isinstance(value, dict | BaseModel) else {key: value}

    return BeforeValidator(expand, json_schema_input_type=written)


def option_name(key: str) -> str:
    """A dotted key as people say it: `batch size`."""
    return key.split(".")[-1].replace("_", " ")


def option_words(key: str, value: Any) -> str:
    """An option as people say it: `momentum 0.9`, `layers conv`, `on output`, `no affine`."""
    name = option_name(key)
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if isinstance(value, list):
        return f"{name} {' '.join(map(str, value))}"
    if isinstance(value, float):
        return f"{name} {value:.10g}"
    return f"{name} {'null' if value is None else value}"


def tags(section: type[Section], key: str) -> tuple[str, ...]:
    """The names that a section has at the key that tells it from its alternatives; none of one to inherit from."""
    annotation = section.model_fields[key].annotation if key in section.model_fields else None
    return get_args(annotation) if get_origin(annotation) is Literal else ()


@dataclass(frozen=True, eq=False)
class OneOf:
    """Some sections of which one is chosen by name; beside them, in `Annotated`, stands their common type."""

    key: str
    """which holds the name, as `name` or `kind`"""
    among: Mapping[str, type[Section]]
    """by name; read when a config is, so that more may be registered"""
    short: bool
    """whether the name alone may be written, for a section with nothing else"""
    only: tuple[type[Section], ...] = (Section,)
    """what those of them are that may be chosen"""

    @property
    def choices(self) -> dict[str, type[Section]]:
        """Those that may be chosen, by name."""
        return {name: section for name, section in self.among.items() if issubclass(section, self.only)}

    def chosen(self, value: Any) -> type[Section] | None:
        """The section that a value of a config is; None where it names none."""
        name = value.get(self.key) if isinstance(value, dict) else value if self.short else None
        return self.choices.get(name) if isinstance(name, str) else None

    def parse(self, value: Any) -> Any:
        """The section with its options; raises ValidationError, whose places are those in the config."""
        if isinstance(value, Section):
            return value
        section, problem = self.chosen(value), "unknown_choice"
        if section is not None:
            return section.model_validate(value if isinstance(value, dict) else {self.key: value})
        place: tuple[str, ...] = ()
        if isinstance(value, dict):
            place, problem = (self.key,), problem if self.key in value else "missing"
            value = value.get(self.key, value)
        elif not self.short:
            problem = "dict_type"
        error = PydanticCustomError("unknown_choice", "unknown choice", {"choices": list(self.choices)})
        kind = error if problem == "unknown_choice" else problem
        raise ValidationError.from_exception_data(self.key, [{"type": kind, "loc": place, "input": value}])

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """To pydantic a function; to editors, what people may write."""
        sections = dict.fromkeys(self.choices.values())
        written: Any = Union[(*sections, str)]
        if not self.short:
            written = Annotated[Union[tuple(sections)], Field(discriminator=self.key)]  # noqa: UP007
        schema = handler.generate_schema(written)
        return core_schema.no_info_plain_validator_function(self.parse, json_schema_input_schema=schema)


def one_of(key: str, *sections: type[Section], short: bool = False) -> OneOf:
    """The choice among some sections, each with its names as the values of `key`."""
    return OneOf(key, {name: section for section in sections for name in tags(section, key)}, short)
