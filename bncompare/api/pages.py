"""What training leaves in the folder of an experiment beside its runs: a picture, a page, and an index of all."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Trained:
    """What is in the folder of an experiment after training."""

    folder: Path
    runs: "Sequence[LoadedRun]"
    claims: "Sequence[Claim]"
    """of its config as it is now"""
    is_new: bool
    """whether any of the runs was trained just now"""

    @cached_property
    def chapters(self) -> "Sequence[Chapter]":
        """What a report says of the runs."""
        from bncompare.report import chapters

        return chapters(self.runs, stated=self.claims)

    def write(self) -> Iterator[Path]:
        """The picture, and the page of all runs in the folder; as they are where nothing was trained."""
        from bncompare.runs import read_runs, write_output

        picture, page = self.folder / OVERVIEW, self.folder / PAGE
        if self.is_new or not picture.exists():
            from bncompare.figures import overview, render  # matplotlib: .4 s

            first = self.chapters[0]
            drawn = overview(first.experiment.runs, title=first.title, comparison=first.comparison)
            write_output(picture, render(drawn.figure, "png"))
        yield picture
        if self.is_new or not page.exists():
            from bncompare.report import chapters, to_html

            there, _ = read_runs([self.folder])
            same = {run.path for run in there} == {run.path for run in self.runs}
            shown = self.chapters if same else chapters(there, stated=self.claims)
            write_output(page, to_html(shown).encode())
        yield page


def trained(planned: "Sequence[Planned]") -> Iterator[Trained]:
    """Each experiment of a plan that has a run after training."""
    for folder, members in by_folder(planned).items():
        if loaded := read_planned(members):
            yield Trained(folder, loaded, members[0].run.claims, any(not item.is_done for item in members))


def write_indexes(planned: "Sequence[Planned]") -> None:
    """The page of all experiments in each folder of them; as it is where nothing was trained."""
    for root in dict.fromkeys(folder.parent for folder in by_folder(planned)):
        is_new = any(not item.is_done for item in planned if item.folder.path.is_relative_to(root))
        if is_new or not (root / INDEX).exists():
            from bncompare.report import chapters, to_index
            from bncompare.runs import read_runs, write_output

            everything, _ = read_runs([root])
            if everything:
                write_output(root / INDEX, to_index(chapters(everything), root).encode())


def write_all(planned: "Sequence[Planned]") -> None:
    """Picture, page and index of a plan after training."""
    for experiment in trained(planned):
        list(experiment.write())
    write_indexes(planned)
