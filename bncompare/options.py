"""What every part of a config is made of."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

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

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


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
