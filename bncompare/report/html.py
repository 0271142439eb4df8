"""The report as one HTML page: no script, nothing fetched, every name escaped."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import bncompare
from bncompare.errors import printable
from bncompare.figures import experiment_figures, render
from bncompare.report.content import Chapter
from bncompare.report.table import Table
from bncompare.report.words import HOW_TO_READ


@dataclass(frozen=True)
class _Figure:
    """A figure on the page."""

    caption: str
    svg: Markup
    has_colour_scale: bool


@dataclass(frozen=True)
class _Page:
    """A chapter, its figures and where its runs were trained."""

    chapter: Chapter
    figures: list[_Figure]
    environment: Table | None


def to_html(chapters: Sequence[Chapter]) -> str:
    """One self-contained page with a part for each experiment."""
    environment = Environment(
        loader=PackageLoader("bncompare.report", ""), autoescape=True, undefined=StrictUndefined, finalize=_printable
    )
    pages = [_page(chapter, f"f{i}") for i, chapter in enumerate(chapters)]
    title = chapters[0].title if len(chapters) == 1 else f"{len(chapters)} experiments"
    text = environment.get_template("page.html.j2").render(
        title=title, pages=pages, how_to_read=HOW_TO_READ, version=bncompare.__version__
    )
    return text + "\n"


def _printable(value: Any) -> Any:
    """Lines of text without control characters and those that turn the direction of writing."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(printable, value.split("\n")))
    return value


def _page(chapter: Chapter, prefix: str) -> _Page:
    rows = list(chapter.environment.items())
    environment = Table.of(["", "value"], rows, title="Environment") if rows else None
    return _Page(chapter, list(_figures(chapter, prefix)), environment)


def _figures(chapter: Chapter, prefix: str) -> Iterator[_Figure]:
    for named in experiment_figures(chapter.experiment.runs, title=chapter.title, comparison=chapter.comparison):
        svg = render(named.figure, "svg").decode()
        element = svg_element(svg, named.caption, f"{prefix}-{named.name}")
        yield _Figure(named.caption, element, named.has_colour_scale)


def svg_element(svg: str, caption: str, prefix: str) -> Markup:
    """matplotlib's SVG as an element of a page: with a text alternative, and ids that are its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for all of the page
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # some of them twice
    svg = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    label = escape(printable(caption))
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
