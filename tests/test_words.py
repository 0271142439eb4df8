"""One word for one thing: what people read is said in the words of docs/glossary.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import ROOT

OLD = re.compile(r"\d\d? % interval|t-interval|can be told|best evaluation")
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted((ROOT / "bncompare").rglob("*.py"))
GOLDEN = [ROOT / "tests" / "report" / "test_report.py", ROOT / "tests" / "cli" / "test_cli.py"]


def messages(path: Path) -> Iterator[str]:
    """The strings of a module that stand for something: all but those that stand alone, as its docstrings do."""
    tree = ast.parse(path.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


@pytest.mark.parametrize("path", [*SOURCES, *GOLDEN], ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_have_the_words_of_the_glossary(path: Path) -> None:
    """No message, and no output that a test expects, has a word that was given up for another."""
    assert [text for text in messages(path) if OLD.search(text)] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_docs_have_the_words_of_the_glossary(path: Path) -> None:
    """Nor have the pages, but for those that explain the statistics by their names."""
    old = OLD.findall(path.read_text())
    assert old == [] or (path.name == "statistics.md" and set(old) == {"t-interval"})


def test_the_glossary_is_linked() -> None:
    """From the list of pages in the README."""
    assert "(docs/glossary.md)" in (ROOT / "README.md").read_text()
