"""Options that commands share, and how they print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bncompare.errors import UserError

if TYPE_CHECKING:
    from bncompare.runs import LoadedRun


RUNS = Path("runs")
RunPaths = Annotated[list[Path], typer.Argument(metavar="PATH", help="run folders, or folders that hold some")]
Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH",
        help="run folders, or folders that hold some [default: runs]",
        default_factory=lambda: [RUNS],
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document instead of a table")]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="print Markdown, for a pull request or the summary of a CI job")
]
Everything = Annotated[
    bool,
    typer.Option("--all", help="of runs trained with several settings into one folder all, not the newest alone"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="set a key, such as training.optimizer.lr=0.1; repeatable"),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=4096,
        help="runs at a time, each in a process of its own [default: the cores there are; 1 on a GPU]",
    ),
]
RunsFolder = Annotated[Path, typer.Option("--runs", metavar="DIR", help="where the run folders go")]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="where MNIST and Fashion-MNIST are, or are downloaded to, and .npz files of runs that moved",
    ),
]

# Of what trains.
Seeds = Annotated[
    str | None, typer.Option(metavar="SEEDS", help="0-4, 0,3,7 or a number of seeds, instead of the config's")
]
UntilDecided = Annotated[
    bool,
    typer.Option("--until-decided", help="seeds 0, 1, … until every claim and main comparison is decided"),
]
MaxSeeds = Annotated[int | None, typer.Option(metavar="N", help="the most seeds until it is decided [default: 40]")]
JudgeSeeds = Annotated[
    str | None,
    typer.Option(
        metavar="SEEDS",
        help="fresh seeds, likewise: what the others choose in a grid of norms is trained and judged on these",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan and train nothing")]
Selection = Annotated[
    str | None, typer.Option(metavar="I/N", help="only part I of N of the plan, as in the jobs of an array")
]
Address = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="of the Ray cluster: auto or HOST:PORT [default: one started here]"),
]
AllowInexact = Annotated[
    bool,
    typer.Option("--allow-inexact", help="go on from checkpoints of other versions or another kind of CPU"),
]
KeepCheckpoints = Annotated[
    bool, typer.Option("--keep-checkpoints", help="of finished runs, so that more epochs go on from them")
]
NoReport = Annotated[
    bool,
    typer.Option("--no-report", help="write no overview.png and report.html, as with --json and --select"),
]
SmokeTest = Annotated[bool, typer.Option("--smoke", help="shrink to seconds, with made-up images: for CI")]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps, instead of the config's")
]
Stack = Annotated[
    bool, typer.Option("--stack", help="all seeds of a variant as one program, for a GPU: training.stack")
]
Executor = Annotated[
    Literal["local", "ray"], typer.Option(help="where to train: on this machine, or as tasks of a Ray cluster")
]


def output_option(metavar: str, help: str) -> Any:
    """`-o`: where a command writes what it makes."""
    return typer.Option("-o", "--output", metavar=metavar, help=help)


def one_form(markdown: bool, as_json: bool) -> None:
    """Refuse two forms of one output."""
    if markdown and as_json:
        raise UserError("--markdown and --json: one or the other")


def count(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def run_json(run: "LoadedRun") -> dict[str, Any]:
    """A run, as `--json` has it."""
    return {
        "path": str(run.path),
        "experiment": run.experiment,
        "variant": run.label,
        "seed": run.seed,
        "status": run.status,
        "result": run.result.to_plain() if run.result else None,
    }


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    from bncompare import runs

    print(runs.to_json(document), end="")
