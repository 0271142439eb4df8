"""Parts of the report for the cell of a notebook: the same words, tables and style, and nothing else is restyled."""

import re
from collections.abc import Sequence
from functools import cache

from markupsafe import Markup

from bncompare.comparison import Finding
from bncompare.report.answer import answer_of
from bncompare.report.content import Chapter
from bncompare.report.html import rendered, style_sheet
from bncompare.report.run_tables import runs_table
from bncompare.report.table import Table
from bncompare.report.words import judged_together
from bncompare.runs import LoadedRun

SCOPE = ".bncompare.bncompare"  # twice, to count for more than the notebook's own rules for tables
# Text has the notebook's colour, whether that is dark or light, and what is quiet is a shade of it.
SHADES = {"quiet": 72, "faint": 40, "line": 22, "card": 6}  # % of the ink
INK = "#1c2126"


def answers_html(chapters: Sequence[Chapter], runs: Sequence[LoadedRun], notes: Sequence[str] = ()) -> str:
    """The answer of each experiment; of runs without one a table of them."""
    if chapters or not runs:
        return _fragment(chapters=chapters, notes=[*notes, *["no runs"] * (not runs)])
    return _fragment(tables=[runs_table(runs)], notes=notes)


def answer_html(chapter: Chapter) -> str:
    """What a report says of an experiment, but for its figures and its details: answer, verdicts, claims."""
    return _fragment(chapters=[chapter], is_whole=True)


def claims_html(findings: Sequence[Finding]) -> str:
    """Each claim with its verdict and the numbers that decide it."""
    return _fragment(findings=findings, notes=["no claims"] * (not findings))


def _fragment(
    chapters: Sequence[Chapter] = (),
    tables: Sequence[Table] = (),
    findings: Sequence[Finding] = (),
    notes: Sequence[str] = (),
    *,
    is_whole: bool = False,
) -> str:
    answers = [(chapter, answer_of(chapter), is_whole) for chapter in chapters]
    return rendered(
        "fragment.html.j2", answers=answers, tables=tables, findings=findings, notes=notes,
        scoped_style=scoped(style_sheet()), judged_together=judged_together,
    )  # fmt: skip


@cache
def scoped(style: str) -> str:
    """The style of the page, nested (CSS Nesting): its rules are for what is inside of a fragment, and those of a
    whole page, such as `body`, for nothing."""
    shades = " ".join(
        f"--{name}: color-mix(in srgb, currentColor {share}%, transparent);" for name, share in SHADES.items()
    )
    colours = "".join(re.findall(r"--(?:good|bad|open)[a-z-]*: [^;]+;", style.partition("@media")[0]))
    # `.warnings` has a ground that is light in a dark notebook too.
    return Markup(
        f"{SCOPE} {{\n--ink: currentColor; {shades} {colours} font: 0.95rem/1.5 system-ui, sans-serif;\n{style}"
        f".answer strong {{ font-size: 1.2rem; }}\n.warnings {{ color: {INK}; }}\n}}"
    )
