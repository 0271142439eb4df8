"""Tables and the report as text for a terminal or a pipe."""

import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bncompare.errors import printable
from bncompare.report.table import Rows, Table
from bncompare.report.words import judged_together

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from bncompare.comparison import Finding
    from bncompare.report.answer import Answer
    from bncompare.report.content import Chapter

PIPE_WIDTH = 200  # columns, where the output is not a terminal
WIDTH = 80  # of the answer there
MAX_WIDTH = 1_000
MIN_TEXT_WIDTH = 12  # of a column whose cells may take several lines, if no word is longer


def print_table(table: Table, pipe_width: int = PIPE_WIDTH) -> None:
    """On stdout, a block for each group of rows; no number and no word is cut, however narrow the terminal.

    A kind or a folder is to be typed or pasted. Columns for which there is no room follow below, beside those that
    tell the rows apart.
    """
    for heading, rows in table.groups:
        _print_rows(table, ": ".join(filter(None, (table.title, heading))), rows, pipe_width)
    for note in table.notes:
        print_text(note)


def print_text(line: str, indent: str = "") -> None:
    """On stdout; broken between words on a terminal, which would break within one."""
    text = f"{indent}{printable(line)}"
    if sys.stdout.isatty():
        from rich.console import Console

        room = max(MIN_TEXT_WIDTH, Console().width)
        text = textwrap.fill(text, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    print(text)


def _print_rows(table: Table, title: str, rows: Rows, pipe_width: int) -> None:
    """As one block if it fits, else closer together, else as several below each other."""
    from rich import console, measure, text

    room = console.Console().width if sys.stdout.isatty() else pipe_width
    wide = console.Console(width=MAX_WIDTH)

    def needed(columns: Sequence[int], *, is_close: bool) -> int:
        laid_out = _laid_out(table, rows, columns, is_close=is_close)
        return measure.Measurement.get(wide, wide.options, laid_out).minimum

    blocks, is_close = [list(range(len(table.columns)))], False
    if needed(blocks[0], is_close=False) > room:
        keys = list(range(table.num_keys))
        blocks, is_close = [keys], True
        for i in range(table.num_keys, len(table.columns)):
            if needed([*blocks[-1], i], is_close=True) <= room or blocks[-1] == keys:
                blocks[-1] = [*blocks[-1], i]
            else:
                blocks.append([*keys, i])
    for i, columns in enumerate(blocks):
        laid_out = _laid_out(table, rows, columns, is_close=is_close)
        laid_out.title = text.Text(title) if title and i == 0 else None
        width = max(room, needed(columns, is_close=is_close))
        console.Console(width=width, highlight=False).print(laid_out)


def _laid_out(table: Table, rows: Rows, columns: Sequence[int], *, is_close: bool) -> "RichTable":
    """Some columns; close to each other if need be, the headings of numbers in several lines."""
    from rich import box, cells, text
    from rich.table import Table as RichTable

    padding = (0, 1, 0, 0) if is_close else (0, 1)
    laid_out = RichTable(box=box.SIMPLE_HEAD, padding=padding, title_justify="left", title_style="bold")
    for i in columns:
        name, is_number = table.columns[i], table.columns[i] in table.numbers
        texts = [name, *(row[i] for row in rows)]
        longest = max((cells.cell_len(word) for words in texts for word in words.split()), default=0)
        if is_number and is_close:
            longest = max([cells.cell_len(word) for word in name.split()] + [cells.cell_len(row[i]) for row in rows])
            texts[0] = name = textwrap.fill(name, longest, break_long_words=False, break_on_hyphens=False)
        width = max(cells.cell_len(line) for words in texts for line in words.split("\n"))
        laid_out.add_column(
            text.Text(name),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            min_width=width if is_number else max(longest, min(width, MIN_TEXT_WIDTH)),
        )
    for row in rows:
        laid_out.add_row(*(text.Text(row[i]) for i in columns))
    return laid_out


def print_report(chapters: "Sequence[Chapter]") -> None:
    """On stdout, of each experiment: its tables, warnings, claims and, where one looks first, the verdicts."""
    for chapter in chapters:
        for line in (chapter.title, chapter.question, chapter.setup):
            print_text(line)
        print()
        if chapter.notes:
            print_notes(chapter.notes)
            print()
        for table in chapter.tables:
            if not table.is_detail:
                print_table(table)
                print()
        if chapter.warnings:
            print("warnings:")
            for warning in chapter.warnings:
                print_text(warning, "  ")
            print()
        if chapter.findings:
            print_findings("claims", chapter.findings)
        for measure, lines in chapter.verdicts:
            print_text(f"{measure}:")
            for statement, evidence in lines:
                print_text(statement, "  ")
                if evidence:
                    print_text(evidence, "    ")
        print()


def print_answer(answer: "Answer", *, judge_claims: bool = True) -> None:
    """On stdout: the table, the sentence, and each claim in a line, unless the runs are not all there."""
    print_table(answer.table, WIDTH)
    print()
    print_text(answer.sentence)
    print_notes(answer.notes)
    for claim in answer.claims if judge_claims else ():
        print_text(f"claim {claim}")


def print_notes(notes: Sequence[str]) -> None:
    """What is to be known of how the numbers came about, a line each."""
    for note in notes:
        print_text(f"note: {note}")


def print_findings(title: str, findings: "Sequence[Finding]", notes: Sequence[str] = ()) -> None:
    """Each claim with its verdict and the numbers that decide it."""
    print_text(f"{title}:")
    print_notes(notes)
    for finding in findings:
        mark = finding.outcome.removeprefix(finding.verdict)
        print_text(f"{finding.verdict.upper()}{mark}: {finding.claim.statement}", "  ")
        for line in finding.evidence:
            print_text(line, "    ")
    print(f"  {judged_together(len(findings))}\n")
