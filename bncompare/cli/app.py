"""The application: its entry point and what happens to errors."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bncompare.cli import streams
from bncompare.cli.help import Grouped
from bncompare.cli.streams import say
from bncompare.errors import StorageError, UserError, problem_lines

NO_TORCH = (
    "this needs PyTorch, which is not installed: pip install torch, "
    "or for the CPU alone: pip install torch --index-url https://download.pytorch.org/whl/cpu"
)

app = typer.Typer(
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train a model with and without batch normalization (and other norms) and compare them honestly.",
)


def main(arguments: Sequence[str] | None = None, presets: Path | None = None) -> NoReturn:
    """The entry point: a UserError becomes a message and exit code 2, a full disk exit code 1.

    `arguments` are by default those of the command line, `presets` the folder of the configs that are shipped.
    """
    streams.prepare()
    code = 0
    try:
        arguments = plugins_first(sys.argv[1:] if arguments is None else arguments)
        try:
            code = app(arguments, prog_name="bncompare", obj=presets, standalone_mode=False) or 0
        except typer.TyperException as error:
            _suggest_setting(error, arguments)
            error.show()  # type: ignore[attr-defined]
            code = error.exit_code
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise UserError(NO_TORCH) from None
        finally:
            sys.stdout.flush()
    except UserError as error:
        for text in problem_lines(error.problems):
            say(f"error: {text}" if not text.startswith(" ") else text)
        sys.exit(1 if isinstance(error, StorageError) else 2)
    except streams.OutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still in the buffer
        if error.has_no_reader:  # `bncompare list | head`
            sys.exit(141)
        say(f"error: output: {error}")
        sys.exit(1)
    except OSError as error:
        say(f"error: {error.filename or type(error).__name__}: {error.strerror or error}")
        sys.exit(1)
    sys.exit(code)


def _suggest_setting(error: typer.TyperException, arguments: Sequence[str]) -> None:
    """Raise UserError for an option that is a key of configs, as `--epochs 3` is `--set training.epochs=3`."""
    option, context = getattr(error, "option_name", ""), getattr(error, "ctx", None)
    if not option or context is None or not any("--set" in parameter.opts for parameter in context.command.params):
        return
    from bncompare import config

    place = next((i for i, text in enumerate(arguments) if text.partition("=")[0] == option), len(arguments))
    _, equals, value = "".join(arguments[place : place + 1]).partition("=")
    value = value if equals else "".join(arguments[place + 1 : place + 2])
    keys = config.keys_called(option.lstrip("-"), nearly=not getattr(error, "possibilities", None))
    if keys:
        settings = " or ".join(f"--set {key}={value or '…'}" for key in keys)
        raise UserError(f"{option}: no such option; {settings}")


def plugins_first(arguments: Sequence[str]) -> list[str]:
    """`--plugin FILE`, which may stand anywhere, in front of the command, as its options are of bncompare itself."""
    first, others, rest = list[str](), list[str](), iter(arguments)
    for argument in rest:
        if argument == "--plugin":
            first.append(f"--plugin={next(rest, '')}")
        elif argument.startswith("--plugin="):
            first.append(argument)
        else:
            others += [argument, *(rest if argument == "--" else ())]
    return [*first, *others]


def _version(wanted: bool) -> None:
    if wanted:
        from bncompare import __version__

        print(f"bncompare {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="a Python file with norms, models, datasets or probes of your own; repeatable"
        ),
    ] = None,
) -> None:
    """Options of bncompare itself."""
    if plugin:
        from bncompare import plugins

        plugins.use(plugin)
