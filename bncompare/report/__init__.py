"""The report: one content, four renderings (terminal, Markdown, HTML, JSON).

Begin with `content.py`: what is said about an experiment. The renderers only lay it out.
"""

from bncompare.report.content import document, sections
from bncompare.report.html import to_html
from bncompare.report.markdown import reproduced_table, to_markdown
from bncompare.report.table import print_table
from bncompare.report.tables import (
    REPRODUCED,
    norm_reference,
    print_diagnostics,
    print_findings,
    print_layers,
    print_norm,
    print_run,
    print_runs,
    print_summary,
    print_verified,
    reproduced_cells,
)
from bncompare.report.terminal import print_report

__all__ = [
    "REPRODUCED",
    "document",
    "norm_reference",
    "print_diagnostics",
    "print_findings",
    "print_layers",
    "print_norm",
    "print_report",
    "print_run",
    "print_runs",
    "print_summary",
    "print_table",
    "print_verified",
    "reproduced_cells",
    "reproduced_table",
    "sections",
    "to_html",
    "to_markdown",
]
