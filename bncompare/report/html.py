"""The report as one HTML page: nothing fetched, every name escaped, one script of its own that it can do without."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from bncompare.errors import printable
from bncompare.figures import ALL_VARIANTS, experiment_figures
from bncompare.report.answer import answer_of
from bncompare.report.content import Chapter
from bncompare.report.svg import Drawing, Numbers, drawing_of, on_dark
from bncompare.report.table import Table
from bncompare.report.words import HOW_TO_READ, judged_together


@dataclass(frozen=True)
class _Figure:
    """A figure on the page."""

    name: str
    caption: str
    drawing: Drawing


@dataclass(frozen=True)
class _Page:
    """A chapter, its figures and where its runs were trained."""

    chapter: Chapter
    answer: Markup
    """in a sentence, of which no line begins with a percent sign"""
    numbers: Numbers
    """of the variants, and in a sweep of the norms, by which the script knows them"""
    figures: list[_Figure]
    """the overview first"""
    environment: Table | None

    @property
    def data(self) -> dict[str, Any]:
        """For the script."""
        figures = [{"x": figure.drawing.x, "panels": figure.drawing.panels} for figure in self.figures]
        return {"variants": list(self.numbers), "figures": figures}


def to_html(chapters: Sequence[Chapter]) -> str:
    """One self-contained page with a part for each experiment."""
    pages = [_page(chapter, f"f{i}") for i, chapter in enumerate(chapters)]
    title = chapters[0].title if len(chapters) == 1 else f"{len(chapters)} experiments"
    script = Markup(_text("page.js"))
    svgs = "".join(figure.drawing.svg for page in pages for figure in page.figures)
    lightened = {color: on_dark(f"#{color}") for color in sorted(set(re.findall(r"--on-dark-([0-9a-f]{6})", svgs)))}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return rendered(
        "page.html.j2", title=title, pages=pages, how_to_read=HOW_TO_READ, script=script, script_digest=digest,
        lightened=lightened, judged_together=judged_together,
    )  # fmt: skip


def rendered(template: str, **values: Any) -> str:
    """A page of this package, with its style."""
    environment = Environment(
        loader=PackageLoader("bncompare.report", ""), autoescape=True, undefined=StrictUndefined, finalize=_printable
    )
    return (
        environment.get_template(template).render(style=style_sheet(), version=version("bncompare"), **values) + "\n"
    )


def style_sheet() -> Markup:
    """That of every page."""
    return Markup(_text("page.css"))


def _text(name: str) -> str:
    return files("bncompare.report").joinpath(name).read_text(encoding="utf-8")


def _printable(value: Any) -> Any:
    """Lines of text without control characters and those that turn the direction of writing."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(printable, value.split("\n")))
    return value


def _page(chapter: Chapter, prefix: str) -> _Page:
    rows = list(chapter.environment.items())
    environment = Table.of(["", "value"], rows, title="Environment") if rows else None
    table = chapter.comparison.sensitivity
    norms = [candidate.norm or ALL_VARIANTS for candidate in table.candidates] if table else []
    names = dict.fromkeys([*(run.variant for run in chapter.experiment.runs), *norms])
    numbers = {name: i for i, name in enumerate(names)}
    figures = sorted(_figures(chapter, prefix, numbers), key=lambda figure: figure.name != "overview")
    answer = escape(printable(answer_of(chapter).sentence)).replace(" %", "\u00a0%")
    return _Page(chapter, answer, numbers, figures, environment)


def _figures(chapter: Chapter, prefix: str, numbers: Numbers) -> Iterable[_Figure]:
    for named in experiment_figures(chapter.experiment.runs, title=chapter.title, comparison=chapter.comparison):
        drawing = drawing_of(named.figure, named.caption, f"{prefix}-{named.name}", numbers)
        yield _Figure(named.name, named.caption, drawing)
