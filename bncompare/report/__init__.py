"""The report: one content, four renderings (terminal, Markdown, HTML, JSON).

Begin with `content.py`: what is said about an experiment. Every table, of the report or of any command, is a `Table`
that a function here returns; the renderers only lay it out. Names are looked up when they are asked for: a list of
runs waits for no statistics, no figures and no templates.
"""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.report.answer import Answer, answer_of
    from bncompare.report.content import Chapter, chapters, document
    from bncompare.report.fragment import answer_html, answers_html, claims_html
    from bncompare.report.html import to_html
    from bncompare.report.index import to_index
    from bncompare.report.markdown import table_lines, to_markdown
    from bncompare.report.model_tables import layers_table, norm_reference, norms_table, options_table
    from bncompare.report.run_tables import (
        claims_table,
        diagnostics_tables,
        measured_cell,
        metrics_table,
        norm_parameters_table,
        plan_table,
        runs_table,
        verified_table,
    )
    from bncompare.report.table import Table
    from bncompare.report.terminal import print_answer, print_findings, print_report, print_table, print_text

__all__ = [
    "Answer",
    "Chapter",
    "Table",
    "answer_html",
    "answer_of",
    "answers_html",
    "chapters",
    "claims_html",
    "claims_table",
    "diagnostics_tables",
    "document",
    "layers_table",
    "measured_cell",
    "metrics_table",
    "norm_parameters_table",
    "norm_reference",
    "norms_table",
    "options_table",
    "plan_table",
    "print_answer",
    "print_findings",
    "print_report",
    "print_table",
    "print_text",
    "runs_table",
    "table_lines",
    "to_html",
    "to_index",
    "to_markdown",
    "verified_table",
]

__getattr__ = lazily(
    __name__,
    answer="Answer answer_of",
    content="Chapter chapters document",
    fragment="answer_html answers_html claims_html",
    html="to_html",
    index="to_index",
    markdown="table_lines to_markdown",
    model_tables="layers_table norm_reference norms_table options_table",
    run_tables="claims_table diagnostics_tables measured_cell metrics_table norm_parameters_table plan_table "
    "runs_table verified_table",
    table="Table",
    terminal="print_answer print_findings print_report print_table print_text",
)
