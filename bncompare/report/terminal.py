"""Tables and the report as text for a terminal or a pipe."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bncompare.errors import printable
from bncompare.report.table import Rows, Table
from bncompare.report.words import judged_together

if TYPE_CHECKING:
    from bncompare.comparison import Finding
    from bncompare.report.answer import Answer
    from bncompare.report.content import Chapter

PIPE_WIDTH = 200  # columns, where the output is not a terminal
WIDTH = 80  # of the answer there
MAX_WIDTH = 1_000
MIN_TEXT_WIDTH = 12  # of a column whose cells may take several lines, if no word is longer


def print_table(table: Table, pipe_width: int = PIPE_WIDTH) -> None:
    """On stdout, a block for each group of rows; no number and no word is cut, however narrow the terminal.

    A kind or a folder is to be typed or pasted.
    """
    for heading, rows in table.groups:
        _print_rows(table, ": ".join(filter(None, (table.title, heading))), rows, pipe_width)
    for note in table.notes:
        print(note)


def _print_rows(table: Table, title: str, rows: Rows, pipe_width: int) -> None:
    from rich import box, cells, console, measure, text
    from rich.table import Table as RichTable

    heading = text.Text(title) if title else None
    laid_out = RichTable(box=box.SIMPLE_HEAD, title=heading, title_justify="left", title_style="bold")
    for i, name in enumerate(table.columns):
        is_number = name in table.numbers
        texts = [name, *(row[i] for row in rows)]
        width = max(map(cells.cell_len, texts))
        longest = max((cells.cell_len(word) for words in texts for word in words.split()), default=0)
        laid_out.add_column(
            text.Text(name),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            min_width=width if is_number else max(longest, min(width, MIN_TEXT_WIDTH)),
        )
    for row in rows:
        laid_out.add_row(*map(text.Text, row))
    wide = console.Console(width=MAX_WIDTH)
    needed = measure.Measurement.get(wide, wide.options, laid_out).minimum
    width = max(needed, console.Console().width if sys.stdout.isatty() else pipe_width)
    console.Console(width=width, highlight=False).print(laid_out)


def print_report(chapters: "Sequence[Chapter]") -> None:
    """On stdout, of each experiment: its tables, warnings, claims and, where one looks first, the verdicts."""
    for chapter in chapters:
        print(f"{printable(chapter.title)}\n{printable(chapter.question)}\n{printable(chapter.setup)}\n")
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
                print(f"  {printable(warning)}")
            print()
        if chapter.findings:
            print_findings("claims", chapter.findings)
        for measure, lines in chapter.verdicts:
            print(f"{printable(measure)}:")
            for statement, evidence in lines:
                print(f"  {printable(statement)}")
                if evidence:
                    print(f"    {printable(evidence)}")
        print()


def print_answer(answer: "Answer", *, judge_claims: bool = True) -> None:
    """On stdout: the table, the sentence, and each claim in a line, unless the runs are not all there."""
    print_table(answer.table, WIDTH)
    print(f"\n{printable(answer.sentence)}")
    print_notes(answer.notes)
    for claim in answer.claims if judge_claims else ():
        print(f"claim {printable(claim)}")


def print_notes(notes: Sequence[str]) -> None:
    """What is to be known of how the numbers came about, a line each."""
    for note in notes:
        print(f"note: {printable(note)}")


def print_findings(title: str, findings: "Sequence[Finding]", notes: Sequence[str] = ()) -> None:
    """Each claim with its verdict and the numbers that decide it."""
    print(f"{printable(title)}:")
    print_notes(notes)
    for finding in findings:
        mark = finding.outcome.removeprefix(finding.verdict)
        print(f"  {finding.verdict.upper()}{mark}: {printable(finding.claim.statement)}")
        for line in finding.evidence:
            print(f"    {printable(line)}")
    print(f"  {judged_together(len(findings))}\n")
