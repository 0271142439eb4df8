"""Options that commands share, and how they print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bncompare.runs import LoadedRun


Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="run folders, or folders that hold some")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document instead of a table")]


def count(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def run_json(run: "LoadedRun") -> dict[str, Any]:
    """A run, as `--json` has it."""
    return {
        "path": str(run.path),
        "experiment": run.experiment,
        "variant": run.variant,
        "seed": run.seed,
        "status": run.status,
        "result": run.result.to_plain() if run.result else None,
    }


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    from bncompare.runs import to_json

    print(to_json(document), end="")
