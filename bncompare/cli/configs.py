"""init, schema; configs as commands take them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bncompare.cli.app import app
from bncompare.cli.options import print_json
from bncompare.cli.streams import say
from bncompare.errors import UserError, problem_lines

if TYPE_CHECKING:
    from bncompare.config import Experiment


def shipped_configs(context: typer.Context) -> dict[str, Path]:
    """The shipped configs by name: in an installed package, beside it in a checkout, or where `main` was told."""
    package = Path(__file__).parents[1]
    folder = package / "presets" if (package / "presets").is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted((context.obj or folder).rglob("*.yaml"))}


def load_experiments(
    configs: list[Path],
    overrides: list[str] | None = None,
    seeds: str | None = None,
    device: str | None = None,
    smoke: bool = False,
) -> "list[Experiment]":
    """Every config, or every problem of every config."""
    from bncompare import config

    experiments, problems, names = [], list[str](), dict[str, Path]()
    for path in configs:
        try:
            experiment = config.load_experiment(
                path, overrides=overrides or [], seeds=seeds, device=device, smoke=smoke
            )
            if experiment.name in names:
                raise UserError(f"{path}: name: {experiment.name!r} is also that of {names[experiment.name]}")
            names[experiment.name] = path
            experiments.append(experiment)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*dict.fromkeys(problems))
    for text in problem_lines([warning for experiment in experiments for warning in experiment.warnings]):
        say(f"warning: {text}")
    return experiments


@app.command(short_help="Print a commented config to start from.")
def init(
    context: typer.Context,
    preset: Annotated[str | None, typer.Argument(metavar="PRESET", help="one of the shipped configs")] = None,
) -> None:
    """Print a commented config to start from; without PRESET, say which there are."""
    presets = shipped_configs(context)
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
    from bncompare import config

    print_json(config.ExperimentFile.model_json_schema())
