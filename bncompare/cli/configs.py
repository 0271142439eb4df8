"""init, schema."""

from pathlib import Path
from typing import Annotated

import typer

from bncompare.cli.app import app
from bncompare.cli.options import print_json
from bncompare.cli.streams import say
from bncompare.errors import UserError


def shipped_configs() -> dict[str, Path]:
    """The shipped configs by name: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    folder = package / "presets" if (package / "presets").is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.rglob("*.yaml"))}


@app.command(short_help="Print a commented config to start from.")
def init(
    preset: Annotated[str | None, typer.Argument(metavar="PRESET", help="one of the shipped configs")] = None,
) -> None:
    """Print a commented config to start from; without PRESET, say which there are."""
    presets = shipped_configs()
    if preset is None:
        width = max(map(len, presets)) + 2
        for name, path in presets.items():
            print(f"{name:{width}}{path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        say("bncompare init NAME > config.yaml")
    elif preset in presets:
        print(presets[preset].read_text(encoding="utf-8"), end="")
    else:
        raise UserError(f"{preset}: no such preset; valid: {', '.join(presets)}")


@app.command(short_help="Print the JSON Schema of configs.")
def schema() -> None:
    """Print the JSON Schema of configs, for editors that complete and check YAML."""
    from bncompare.config import ExperimentFile

    print_json(ExperimentFile.model_json_schema())
