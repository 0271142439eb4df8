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

PositiveInt = Annotated[int, Field(ge=1)]


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
