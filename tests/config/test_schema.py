"""The JSON Schema of configs: what editors complete and check is what a config may be."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from kit import CONFIGS, call, strict

from bncompare.config import json_schema, load_experiment, parse_alike_yaml

SCHEMA = json_schema()


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """Of the schema, which is one itself."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_fits_the_schema(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    """No editor marks what trains."""
    document = parse_alike_yaml(path.read_text(encoding="utf-8"), path.name)
    assert [error.message for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize(
    ("compare", "place"),
    [
        ({"model.nrom": ["batch"]}, []),
        ({"model.norm": "batch"}, ["model.norm"]),
        ({"training.optimizer.lr": ["a"]}, ["training.optimizer.lr", 0]),
        ({"model.norm": [{"kind": "group", "groups": 0}]}, ["model.norm", 0]),
        ([{"label": "a", "training.batch_size": 0}], [0, "training.batch_size"]),
        ([{"label": "a", "seeds": 3}], [0]),
    ],
)
def test_a_slip_in_compare_is_marked(
    compare: Any, place: list[str | int], validator: jsonschema.Draft202012Validator
) -> None:
    """A key that there is not, a value that it may not have, and a list that is none, at their place."""
    document = parse_alike_yaml((CONFIGS / "smoke.yaml").read_text(encoding="utf-8"), "smoke.yaml")
    (error,) = validator.iter_errors(document | {"compare": compare})
    causes = [list(inner.relative_path) for inner in error.context or ()]
    assert list(error.absolute_path) == ["compare"]
    assert place in causes


def test_keys_of_compare_are_described() -> None:
    """The dotted keys below the sections, of every alternative, each with the line of its key."""
    grid, listed, _ = SCHEMA["properties"]["compare"]["anyOf"]
    keys = grid["properties"].keys()
    assert {"model", "model.norm", "model.norm.groups", "training.scheduler.gamma", "data.noise"} <= keys
    assert not keys & {"name", "seeds", "claims", "compare", "label"}
    assert listed["items"]["properties"].keys() == keys | {"label"}
    assert SCHEMA["$defs"]["model.norm.groups"]["description"]
    assert list(SCHEMA)[:2] == ["$schema", "$id"]


def test_a_config_with_its_schema(tmp_path: Path) -> None:
    """`init PRESET -o FILE` writes the preset under a line for editors, and the schema that the line names."""
    path = tmp_path / "my.yaml"
    assert call("init", "regression", "-o", path).code == 0
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    _, name = first.split("# yaml-language-server: $schema=")
    assert rest == (CONFIGS / "regression.yaml").read_text(encoding="utf-8")
    assert strict((tmp_path / name).read_text(encoding="utf-8")) == SCHEMA
    assert load_experiment(path).runs == load_experiment(CONFIGS / "regression.yaml").runs
    again = call("init", "regression", "-o", path)
    assert (again.code, again.err) == (2, f"error: -o {path}: is there already\n")
    assert call("init", "-o", path).code == 2
    assert call("init", "--schema", "-o", tmp_path / "s.json").code == 0
    assert strict((tmp_path / "s.json").read_text(encoding="utf-8")) == SCHEMA
