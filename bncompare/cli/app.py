"""The application: its entry point and what happens to errors."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bncompare.cli import streams
from bncompare.cli.streams import say
from bncompare.errors import StorageError, UserError, problem_lines

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train a model with and without batch normalization (and other norms) and compare them honestly.",
)


def main(arguments: Sequence[str] | None = None, presets: Path | None = None) -> NoReturn:
    """The entry point: a UserError becomes a message and exit code 2, a full disk exit code 1.

    `arguments` are by default those of the command line, `presets` the folder of the configs that are shipped.
    """
    streams.prepare()
    try:
        try:
            app(arguments, prog_name="bncompare", obj=presets)
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
    sys.exit(0)


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
) -> None:
    """Options of bncompare itself."""
