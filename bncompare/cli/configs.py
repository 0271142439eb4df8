"""init; configs as commands take them: files, or presets by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bncompare.cli.app import app
from bncompare.cli.options import output_option, print_json
from bncompare.cli.streams import say
from bncompare.errors import UserError, problem_lines

if TYPE_CHECKING:
    from bncompare.config import Experiment

SCHEMA = "bncompare.schema.json"


def shipped_configs(context: typer.Context) -> dict[str, Path]:
    """The shipped configs by name: in an installed package, beside it in a checkout, or where `main` was told."""
    package = Path(__file__).parents[1]
    folder = package / "presets" if (package / "presets").is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted((context.obj or folder).rglob("*.yaml"))}


def preset_called(name: str, presets: dict[str, Path], what: str = "preset") -> Path:
    """The preset of a name, or the only one that begins so; raises UserError."""
    begin = [preset for preset in presets if preset.startswith(name)]
    if name in presets or len(begin) == 1:
        return presets[name if name in presets else begin[0]]
    if begin:
        raise UserError(f"{name}: which {what}? {', '.join(begin)}")
    from bncompare import config

    hint = config.did_you_mean(name, presets) or "; `bncompare init` lists those there are"
    raise UserError(f"{name}: no such {what}{hint}")


def _files(context: typer.Context, value: Path | list[Path]) -> Path | list[Path]:
    """Configs as they were named: a file, or else a preset."""
    if isinstance(value, list):
        return [_file(context, path) for path in value]
    return _file(context, value)


def _file(context: typer.Context, path: Path) -> Path:
    is_name = path.name == str(path) and not path.suffix and path.name.isprintable()
    if not is_name or path.exists():
        return path
    try:
        return preset_called(str(path), shipped_configs(context))
    except UserError as error:
        message = str(error).replace("no such preset", "no such file, and no preset of this name", 1)
        raise UserError(message) from None


def _names(context: typer.Context, incomplete: str) -> list[str]:
    """For the completion of a shell."""
    return [name for name in shipped_configs(context) if name.startswith(incomplete)]


def _config(help: str) -> Any:
    return typer.Argument(metavar="CONFIG", help=help, callback=_files, autocompletion=_names)


Configs = Annotated[list[Path], _config("YAML files, each an experiment, or presets by name (bncompare init)")]
OneConfig = Annotated[Path, _config("a YAML file, or a preset by name (bncompare init)")]


def load_experiments(
    configs: list[Path],
    overrides: list[str] | None = None,
    **options: Any,
) -> "list[Experiment]":
    """Every config, or every problem of every config; the options are those of `load_experiment`."""
    from bncompare import config

    experiments, problems, names = [], list[str](), dict[str, Path]()
    for path in configs:
        try:
            experiment = config.load_experiment(path, overrides=overrides or [], **options)
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
    presets = shipped_configs(context)
    if preset is not None:
        text = preset_called(preset, presets).read_text(encoding="utf-8")
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
