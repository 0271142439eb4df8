"""The report as Markdown: fits a comment on a pull request, or the summary of a CI job."""

import re
from collections.abc import Sequence
from typing import Any

from bncompare.errors import printable
from bncompare.report.content import Section
from bncompare.report.table import Table
from bncompare.report.tables import REPRODUCED, reproduced_cells
from bncompare.report.words import HOW_TO_READ


def to_markdown(sections: Sequence[Section]) -> str:
    """GitHub's Markdown; names are escaped, so that they are text whatever they hold."""
    lines: list[str] = []
    for section in sections:
        lines += [f"## {escape(section.title)}", "", f"{escape(section.question)} {escape(section.setup)}", ""]
        for measure, verdicts in section.verdicts:
            lines += [f"**{escape(measure)}**", ""]
            for statement, evidence in verdicts:
                lines.append(f"- {escape(statement)}" + (f" ({escape(evidence)})" if evidence else ""))
            lines.append("")
        if section.warnings:
            lines += ["> [!WARNING]", *(f"> - {escape(warning)}" for warning in section.warnings), ""]
        for finding in section.findings:
            lines += [f"- **{finding.verdict}**: {escape(finding.claim.statement)}"]
            lines += [f"  - {escape(reason)}" for reason in finding.reasons]
        lines.append("")
        for table in section.tables:
            lines += _folded(table) if table.is_detail else [f"**{table.title}**", "", *_table(table)]
    lines += ["<details><summary>How to read this</summary>", "", escape(HOW_TO_READ), "", "</details>"]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def reproduced_table(rows: Sequence[dict[str, Any]]) -> str:
    """What `reproduce` measured, a claim a row; an experiment is named once."""
    lines = [_row(REPRODUCED, plain=True), _row(["---"] * len(REPRODUCED), plain=True)]
    previous = None
    for row in rows:
        experiment, *cells = reproduced_cells(row)
        lines.append(_row(["" if experiment == previous else experiment, *cells]))
        previous = experiment
    return "\n".join(lines) + "\n"


def _folded(table: Table) -> list[str]:
    return [f"<details><summary>{table.title}</summary>", "", *_table(table), "</details>", ""]


def _table(table: Table) -> list[str]:
    lines = [
        _row(table.columns),
        _row(["---:" if name in table.numbers else "---" for name in table.columns], plain=True),
    ]
    for heading, rows in table.groups:
        if heading:
            lines.append(_row([f"*{escape(heading)}*", *[""] * (len(table.columns) - 1)], plain=True))
        lines += map(_row, rows)
    return [*lines, "", *(f"- {escape(note)}" for note in table.notes), ""]


def _row(cells: Sequence[str], plain: bool = False) -> str:
    return "| " + " | ".join(cells if plain else map(escape, cells)) + " |"


def escape(text: str) -> str:
    """Text that Markdown leaves as it is: no markup, no HTML, no links and no mentions."""
    text = re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", printable(text))
    return re.sub(r"[&<>@#]|://|(?<=www)\.", lambda match: "".join(f"&#{ord(c)};" for c in match[0]), text)
