"""The experiments of a folder as one HTML page: each with its headline and a link to its own page."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bncompare.report.content import Chapter
from bncompare.report.html import rendered


@dataclass(frozen=True)
class _Entry:
    """An experiment in the list."""

    chapter: Chapter
    report: str
    picture: str
    """addresses as seen from the folder; of the picture empty if there is none"""
    started: str
    """when the first of its runs was, empty if that is not known"""


def to_index(chapters: Sequence[Chapter], root: Path) -> str:
    """A page for `root`, below which each experiment has its report.html; the newest first."""
    entries = sorted((_entry(chapter, root) for chapter in chapters), key=lambda entry: entry.started, reverse=True)
    return rendered("index.html.j2", entries=entries)


def _entry(chapter: Chapter, root: Path) -> _Entry:
    folder, runs = chapter.experiment.folder, chapter.experiment.runs
    address = quote(Path(os.path.relpath(folder, root)).as_posix())
    picture = f"{address}/overview.png" if (folder / "overview.png").is_file() else ""
    started = [str(run.environment["started"]) for run in runs if "started" in run.environment]
    return _Entry(chapter, f"{address}/report.html", picture, min(started, default=""))
