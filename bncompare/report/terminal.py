"""The report as text for a terminal or a pipe."""

from collections.abc import Sequence

from bncompare.errors import printable
from bncompare.report.content import Section
from bncompare.report.table import print_table
from bncompare.report.tables import print_findings


def print_report(sections: Sequence[Section]) -> None:
    """On stdout, of each experiment: its tables, warnings, claims and, where one looks first, the verdicts."""
    for section in sections:
        print(f"{printable(section.title)}\n{printable(section.question)}\n{printable(section.setup)}\n")
        for table in section.tables:
            if table.is_detail:
                continue
            for heading, rows in table.groups:
                title = f"{table.title}: {heading}" if heading else table.title
                print_table(table.columns, rows, right=table.numbers, title=title)
            for note in table.notes:
                print(f"{printable(note)}")
            print()
        if section.warnings:
            print("warnings:")
            for warning in section.warnings:
                print(f"  {printable(warning)}")
            print()
        if section.findings:
            print_findings("claims", section.findings)
        for measure, lines in section.verdicts:
            print(f"{printable(measure)}:")
            for statement, evidence in lines:
                print(f"  {printable(statement)}")
                if evidence:
                    print(f"    {printable(evidence)}")
        print()
