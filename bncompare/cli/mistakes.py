"""mistakes: the test images that one variant gets wrong and another right."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from bncompare.cli.app import app
from bncompare.cli.look import runs_at
from bncompare.cli.options import AsJson, DataFolder, Paths, output_option, print_json
from bncompare.cli.streams import say
from bncompare.errors import UserError, printable

if TYPE_CHECKING:
    from bncompare.extras import Mistakes


@app.command(short_help="The test images that one variant gets wrong and another right.")
def mistakes(
    paths: Paths,
    versus: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="two variants, or one beside the baseline [default: the baseline and the best by validation]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_option("DIR", "folder for mistakes.png [default: the experiment's own; with --json none]"),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write one self-contained page with the images")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataFolder = None,
) -> None:
    """The test images that one variant gets wrong and another right with the same seed: counts and McNemar's test,
    the paired t-test of the accuracies, confusion matrices, and a picture, mistakes.png; images, not regression."""
    from bncompare import extras, report

    found = _found(paths, versus)
    if as_json:
        print_json({one.experiment.place: extras.mistakes_document(one) for one in found})
    else:
        for one in found:
            report.print_table(extras.mistakes_table(one))
            for statement in one.statements:
                report.print_text(statement)
            print()
    if not as_json or html or output:
        _draw(found, data_dir, output, html, sys.stderr if as_json else sys.stdout)


def _found(paths: list[Path], versus: str | None) -> "list[Mistakes]":
    """Those of each experiment that has such variants; UserError if none has."""
    from bncompare import extras, runs

    found, problems = [], list[str]()
    for experiment in runs.experiments(runs_at(paths)):
        try:
            one, warnings = extras.find_mistakes(experiment, versus)
        except UserError as error:
            problems += error.problems
            continue
        found.append(one)
        for warning in warnings:
            say(f"warning: {printable(warning)}")
    if not found:
        raise UserError(*problems)
    return found


def _draw(found: "list[Mistakes]", data_dir: Path | None, output: Path | None, html: Path | None, to: TextIO) -> None:
    """Write the pictures and the page, and say where they are."""
    from bncompare import extras, figures, runs

    with_images = [(one, *extras.images_of(one, data_dir)) for one in found]
    for why in dict.fromkeys(why for _, _, why in with_images if why):
        say(f"warning: {why}")
    files: dict[Path, bytes] = {}
    for one, images, why in with_images:
        folder, stem = (output, f"{one.experiment.name}-mistakes") if output else (one.experiment.folder, "mistakes")
        file = runs.unused(folder / stem, ".png", files)
        files[file] = figures.render(extras.draw_mistakes(one, images, why), "png")
    if html is not None:
        files[html] = extras.mistakes_html(with_images).encode()
    if output is not None:
        runs.make_folder(output)
    for file, content in files.items():
        runs.write_output(file, content)
        print(printable(str(file)), file=to)
