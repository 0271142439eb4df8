"""The report as Markdown: fits a comment on a pull request, or the summary of a CI job."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bncompare.comparison import joined
from bncompare.errors import printable
from bncompare.report.table import Table
from bncompare.report.words import HOW_TO_READ, judged_together

if TYPE_CHECKING:
    from bncompare.report.content import Chapter


def to_markdown(chapters: "Sequence[Chapter]") -> str:
    """GitHub's Markdown; names are escaped, so that they are text whatever they hold."""
    lines: list[str] = []
    for chapter in chapters:
        lines += [f"## {escape(chapter.title)}", "", f"{escape(chapter.question)} {escape(chapter.setup)}", ""]
        for measure, verdicts in chapter.verdicts:
            lines += [f"**{escape(measure)}**", ""]
            for statement, evidence in verdicts:
                lines.append(f"- {escape(joined(statement, evidence))}")
            lines.append("")
        if chapter.notes:
            lines += ["> [!NOTE]", *(f"> - {escape(note)}" for note in chapter.notes), ""]
        if chapter.warnings:
            lines += ["> [!WARNING]", *(f"> - {escape(warning)}" for warning in chapter.warnings), ""]
        for finding in chapter.findings:
            lines += [f"- **{finding.outcome}**: {escape(finding.claim.statement)}"]
            lines += [f"  - {escape(line)}" for line in finding.evidence]
        if chapter.findings:
            lines += ["", judged_together(len(chapter.findings))]
        lines.append("")
        for table in chapter.tables:
            lines += _folded(table) if table.is_detail else [f"**{table.title}**", "", *table_lines(table), ""]
    lines += ["<details><summary>How to read this</summary>", "", escape(HOW_TO_READ), "", "</details>"]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _folded(table: Table) -> list[str]:
    return [f"<details><summary>{table.title}</summary>", "", *table_lines(table), "", "</details>", ""]


def table_lines(table: Table) -> list[str]:
    """A table, and its notes below it as a list."""
    lines = [
        _row(map(escape, table.columns)),
        _row("---:" if name in table.numbers else "---" for name in table.columns),
    ]
    for heading, rows in table.groups:
        if heading:
            lines.append(_row([f"*{escape(heading)}*", *[""] * (len(table.columns) - 1)]))
        lines += [_row(map(escape, row)) for row in rows]
    return [*lines, *([""] if table.notes else []), *(f"- {escape(note)}" for note in table.notes)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """Text that Markdown leaves as it is: no markup, no HTML, no links and no mentions."""
    text = re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", printable(text))
    return re.sub(r"[&<>@#]|://|(?<=www)\.", lambda match: "".join(f"&#{ord(c)};" for c in match[0]), text)
