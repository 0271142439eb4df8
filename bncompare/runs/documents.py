"""config.yaml, result.json and environment.json of any origin: what of them is relied on, and what it must be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from bncompare.config import NAME, Status, is_label, parse_alike_yaml
from bncompare.errors import printable
from bncompare.runs.files import MISSING, read_text
from bncompare.runs.layout import COLUMN, MAX_NUMBER, MAX_TEXT_BYTES

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], data: Any, name: str) -> Model:
    """Data from a file as what it must be. Raises ValueError with the first problem, in a printable line."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        what = first["msg"].partition(" or instance of ")[0].replace("Input should be", "must be")
        raise ValueError(printable(": ".join(filter(None, [name, place, what])))) from None


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _must_be(words: str, holds: Callable[[Any], object]) -> AfterValidator:
    def check(value: Any) -> Any:
        if not holds(value):
            raise PydanticCustomError("must_be", "must be {expected}", {"expected": words})
        return value

    return AfterValidator(check)


def _number(value: Any) -> Any:
    """A number that a figure could show; None for all else, such as what JSON lacks."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) < MAX_NUMBER else None


Whole = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
# What an exception said may be no line, and goes to the terminal.
Line = Annotated[str, AfterValidator(lambda text: text if text.isprintable() else ascii(text))]
Metrics = dict[
    Annotated[str, _must_be("the name of a metric", COLUMN.fullmatch)],
    Annotated[int | float | None, BeforeValidator(_number)],
]


class Result(BaseModel):
    """result.json: how a run ended. Metrics that are not finite are None; metrics.csv has them."""

    model_config = ConfigDict(frozen=True)

    status: Annotated[Status, _must_be("that of a run that ended", lambda status: status is not Status.UNFINISHED)]
    error: Line = ""
    """why it failed"""
    traceback: str = ""
    epochs: float | None = None
    steps: Whole | None = None
    monitor: str = ""
    best: Metrics | None = None
    """metrics at the best evaluation, those of the test set among them; None if there is none"""
    last: Metrics | None = None
    test: Metrics | None = None
    parameters: Whole | None = None
    dropped_examples_per_epoch: Whole | None = None

    def to_plain(self) -> dict[str, Any]:
        """As it was written."""
        return self.model_dump(exclude_unset=True)


def read_result(path: Path) -> Result | None:
    """A run folder's result.json; None if there is none. Raises OSError or ValueError."""
    try:
        return validated(Result, read_json(path / "result.json"), "result.json")
    except MISSING:
        return None


_ByKey = dict[Annotated[str, _must_be("a printable key", str.isprintable)], Any]


class _Variant(BaseModel):
    label: Annotated[str, _must_be("a label", is_label)]
    index: Whole
    settings: _ByKey = {}
    overridden: _ByKey = {}


class _Config(BaseModel):
    """What runs are called and grouped by: names become those of files, and go to the terminal."""

    name: Annotated[str, _must_be("the name of an experiment", NAME.fullmatch)]
    seeds: tuple[Whole]
    variant: _Variant
    design: _ByKey | None = None
    tuning_seeds: list[Whole] = []
    plugins: dict[Annotated[str, _must_be("a printable key", str.isprintable)], Line] = {}


def read_config(path: Path) -> dict[str, Any]:
    """The config.yaml of one run. Raises OSError, ValueError or UserError."""
    config: dict[str, Any] = parse_alike_yaml(read_text(path / "config.yaml", MAX_TEXT_BYTES), "config.yaml")
    validated(_Config, config, "config.yaml")
    return config


def read_environment(path: Path) -> dict[str, Any]:
    """What environment.json says: `versions` by package, and texts and numbers; empty if it cannot be read."""
    try:
        content = read_json(path / "environment.json")
    except (OSError, ValueError):
        return {}
    versions = content.pop("versions", None)
    known = {"versions": _plain_values(versions)} if isinstance(versions, dict) else {}
    return known | _plain_values(content)


def _plain_values(data: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in data.items()
        if key.isprintable() and (value is None or isinstance(value, int | float) or _is_line(value))
    }


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file. Raises OSError or ValueError."""
    text = read_text(path, MAX_TEXT_BYTES)
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a mapping")
    return content
