"""What training leaves behind: the answer on stdout, and a picture, a page and an index in the folder of runs."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bncompare.cli.options import count
from bncompare.cli.streams import say
from bncompare.errors import UserError, printable

if TYPE_CHECKING:
    from bncompare.config import Claim
    from bncompare.execution import Planned
    from bncompare.report import Chapter
    from bncompare.runs import LoadedRun

OVERVIEW, PAGE, INDEX = "overview.png", "report.html", "index.html"


def print_answers(
    planned: "Sequence[Planned]",
    *,
    judge_claims: bool,
    with_report: bool,
    outcomes: Mapping[Path, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Of each experiment the answer, where it is, and what to type next; with a report, that is written first.

    `outcomes` says of a folder what was decided after how many seeds.
    """
    from bncompare import report

    roots: dict[Path, bool] = {}
    for folder, members in by_folder(planned).items():
        loaded = read_planned(members)
        if not loaded:
            continue
        claims = members[0].run.claims
        chapters = report.chapters(loaded, stated=claims)
        for chapter in chapters:
            report.print_answer(report.answer_of(chapter), judge_claims=judge_claims)
        for line in outcomes.get(folder, ()):
            print(printable(line))
        place = printable(str(folder))
        print(f"{count(len(loaded), 'run')} in {place}")
        if with_report:
            sys.stdout.flush()  # what there is to say, before the pictures are drawn
            is_new = any(not item.is_done for item in members)
            for path in _leave(folder, chapters, loaded, claims, is_new=is_new):
                print(printable(str(path)))
            print(f"next: bncompare report {place}")
            roots[folder.parent] = roots.get(folder.parent, False) or is_new
    for root, is_new in roots.items():
        _index(root, is_new=is_new)


def tell_other_settings(planned: "Sequence[Planned]") -> None:
    """A line for each experiment whose folder holds runs with other settings, before some are added."""
    from bncompare import config, runs

    for folder, members in by_folder(planned).items():
        if not folder.is_dir() or all(item.is_done for item in members):
            continue
        ours = {item.folder.path.name for item in members}
        others = [path for path in folder.iterdir() if path.name not in ours and (path / "config.yaml").is_file()]
        wanted = {_settings(item.run.decisive) for item in members}
        loaded, _ = runs.read_runs(others)
        differing = [run for run in loaded if _settings(config.decisive(run.config)) not in wanted]
        if differing:
            say(f"{folder} holds {count(len(differing), 'run')} with other settings; they stay, and are told apart")


def read_planned(planned: "Sequence[Planned]") -> "list[LoadedRun]":
    """The runs of a plan after training; what cannot be read has failed, and said so."""
    loaded = []
    for item in planned:
        with suppress(OSError, ValueError, UserError):
            loaded.append(item.load())
    return loaded


def by_folder(planned: "Sequence[Planned]") -> "dict[Path, list[Planned]]":
    """The plan of each experiment."""
    folders: dict[Path, list[Planned]] = {}
    for item in planned:
        folders.setdefault(item.folder.path.parent, []).append(item)
    return folders


def _settings(decisive: dict[str, object]) -> str:
    """All but the seed."""
    return repr(sorted((key, value) for key, value in decisive.items() if key != "seeds"))


def _leave(
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


def _index(root: Path, *, is_new: bool) -> None:
    """The page of all experiments there."""
    from bncompare import report, runs

    if is_new or not (root / INDEX).exists():
        everything, _ = runs.read_runs([root])
        runs.write_output(root / INDEX, report.to_index(report.chapters(everything), root).encode())
