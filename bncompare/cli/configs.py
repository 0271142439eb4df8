"""init; configs as commands take them: files, or presets by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bncompare import api
from bncompare.cli.app import app
from bncompare.cli.options import output_option, print_json
from bncompare.cli.streams import say, warn
from bncompare.errors import UserError, problem_lines

if TYPE_CHECKING:
    from bncompare.config import Experiment

SCHEMA = "bncompare.schema.json"


def presets_of(context: typer.Context) -> dict[str, Path]:
    """The shipped configs by name, or those of the folder that `main` was told."""
    return api.shipped_configs(context.obj)


def _files(context: typer.Context, value: Path | list[Path]) -> Path | list[Path]:
    """Configs as they were named: a file, or else a preset."""
    if isinstance(value, list):
        return [api.config_called(path, presets_of(context)) for path in value]
    return api.config_called(value, presets_of(context))


def _names(context: typer.Context, incomplete: str) -> list[str]:
    """For the completion of a shell."""
    return [name for name in presets_of(context) if name.startswith(incomplete)]


def _config(help: str) -> Any:
    return typer.Argument(metavar="CONFIG", help=help, callback=_files, autocompletion=_names)


Configs = Annotated[list[Path], _config("YAML files, each an experiment, or presets by name (bncompare init)")]
OneConfig = Annotated[Path, _config("a YAML file, or a preset by name (bncompare init)")]


def load_experiments(
    configs: list[Path],
    overrides: list[str] | None = None,
    **options: Any,
) -> "list[Experiment]":
    """Every config, or every problem of every config, after their warnings; the options are those of
    `load_experiment`."""
    experiments = api.experiments_of(configs, overrides or [], **options)
    for text in problem_lines([warning for experiment in experiments for warning in experiment.warnings]):
        warn(text)
    return experiments


@app.command(short_help="Print a commented config to start from.")
def init(
    context: typer.Context,
    preset: Annotated[
        str | None,
        typer.Argument(
            metavar="PRESET", help="one of the shipped configs, or how its name begins", autocompletion=_names
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="print the JSON Schema of configs, for editors that complete and check")
    ] = False,
    output: Annotated[
        Path | None,
        output_option("FILE", f"write it there, and {SCHEMA} beside it, by which editors complete and check"),
    ] = None,
) -> None:
    """Print a commented config to start from; without PRESET, say which there are."""
    from bncompare import config, runs

    if schema:
        if preset is not None:
            raise UserError(f"--schema: is that of every config; leave out {preset}")
        if output is None:
            print_json(config.json_schema())
        else:
            runs.write_output(output, runs.to_json(config.json_schema()).encode())
        return
    presets = presets_of(context)
    if preset is not None:
        text = api.preset_called(preset, presets).read_text(encoding="utf-8")
        if output is None:
            print(text, end="")
            return
        if output.exists():
            raise UserError(f"-o {output}: is there already")
        runs.write_output(output, f"# yaml-language-server: $schema={SCHEMA}\n{text}".encode())
        runs.write_output(output.with_name(SCHEMA), runs.to_json(config.json_schema()).encode())
        return
    if output is not None:
        raise UserError(f"-o {output}: of which preset? {', '.join(presets)}")
    width = max(map(len, presets)) + 2
    for name, path in presets.items():
        print(f"{name:{width}}{path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
    say("bncompare init NAME > config.yaml; bncompare train NAME trains it as it is")
