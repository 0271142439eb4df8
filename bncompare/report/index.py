"""The index of all experiments of a folder, as one HTML page: each with its headline and a link to its own page."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from bncompare.errors import printable
from bncompare.report.content import Chapter

PAGE = Markup(
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Experiments</title>'
    '<meta name="viewport" content="width=device-width"><style>:root {{ color-scheme: light dark }} body {{ '
    "font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}</style></head>"
    "<body><h1>Experiments</h1>\n{rows}\n</body></html>\n"
)
ROW = Markup('<h2><a href="{link}">{title}</a></h2>\n<p>{question}<br>{headline}</p>')


def to_index(chapters: Sequence[Chapter], root: Path) -> str:
    """A page for `root`, below which each experiment has its `report.html`."""
    rows = [
        ROW.format(
            link=quote(f"{chapter.experiment.folder.relative_to(root)}/report.html"),
            title=printable(chapter.title),
            question=printable(chapter.question),
            headline=printable(chapter.headline),
        )
        for chapter in chapters
    ]
    return str(PAGE.format(rows=Markup("\n").join(rows)))
