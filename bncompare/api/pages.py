"""What training leaves in the folder of an experiment beside its runs: a picture, a page, and an index of all."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bncompare.errors import UserError

if TYPE_CHECKING:
    from bncompare.config import Claim
    from bncompare.execution import Planned
    from bncompare.report import Chapter
    from bncompare.runs import LoadedRun

OVERVIEW, PAGE, INDEX = "overview.png", "report.html", "index.html"


def by_folder(planned: "Sequence[Planned]") -> "dict[Path, list[Planned]]":
    """The plan of each experiment."""
    folders: dict[Path, list[Planned]] = {}
    for item in planned:
        folders.setdefault(item.folder.path.parent, []).append(item)
    return folders


def read_planned(planned: "Sequence[Planned]") -> "list[LoadedRun]":
    """The runs of a plan after training; what cannot be read has failed, and said so."""
    loaded = []
    for item in planned:
        with suppress(OSError, ValueError, UserError):
            loaded.append(item.load())
    return loaded


def write_page(
    folder: Path,
    chapters: "Sequence[Chapter]",
    loaded: "Sequence[LoadedRun]",
    claims: "Sequence[Claim]",
    *,
    is_new: bool,
) -> Iterator[Path]:
    """The picture, and the page of all runs in the folder; as they are where nothing was trained."""
    from bncompare import figures, report, runs

    overview, page = folder / OVERVIEW, folder / PAGE
    if is_new or not overview.exists():
        first = chapters[0]
        drawn = figures.overview(first.experiment.runs, title=first.title, comparison=first.comparison)
        runs.write_output(overview, figures.render(drawn.figure, "png"))
    yield overview
    if is_new or not page.exists():
        there, _ = runs.read_runs([folder])
        same = {run.path for run in there} == {run.path for run in loaded}
        shown = chapters if same else report.chapters(there, stated=claims)
        runs.write_output(page, report.to_html(shown).encode())
    yield page


def write_index(root: Path, *, is_new: bool) -> None:
    """The page of all experiments there."""
    from bncompare import report, runs

    if is_new or not (root / INDEX).exists():
        everything, _ = runs.read_runs([root])
        runs.write_output(root / INDEX, report.to_index(report.chapters(everything), root).encode())


def write_pages(planned: "Sequence[Planned]") -> None:
    """Of each experiment of a plan picture and page, and the index of each folder of experiments."""
    from bncompare import report

    roots: dict[Path, bool] = {}
    for folder, members in by_folder(planned).items():
        loaded, claims = read_planned(members), members[0].run.claims
        if loaded:
            is_new = any(not item.is_done for item in members)
            list(write_page(folder, report.chapters(loaded, stated=claims), loaded, claims, is_new=is_new))
            roots[folder.parent] = roots.get(folder.parent, False) or is_new
    for root, is_new in roots.items():
        write_index(root, is_new=is_new)
