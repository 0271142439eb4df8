"""In a notebook: the lesson of `examples/` in a kernel of its own, and what its cells show."""

import itertools
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from kit import EXAMPLE, OWN_NORM, ROOT

import bncompare
from bncompare.report import claims_html

LESSON = ROOT / "examples" / "batch-normalization.ipynb"
# Beside it, what a kernel does with classes that are written in it.
MORE = (
    OWN_NORM
    + """\
mine = {**config, "name": "mine", "compare": {"model.norm": ["mine"]}, "claims": []}
try:
    bncompare.train(mine, jobs=2, settings={"training.steps": 50})
except bncompare.UserError as error:
    print(error)
bncompare.train(mine, settings={"training.steps": 50})
"""
)
EXECUTE = """\
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
notebook.cells.append(nbformat.v4.new_code_cell(sys.argv[2]))
nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
nbformat.write(notebook, "out.ipynb")
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the cells show, by the last line of each."""
    pytest.importorskip("nbclient")
    folder = tmp_path_factory.mktemp("notebook")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-W", "ignore", "-c", EXECUTE, str(LESSON), MORE]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    cells = json.loads((folder / "out.ipynb").read_text(encoding="utf-8"))["cells"]
    return {
        "".join(cell["source"]).splitlines()[-1]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"
    }


def shown(outputs: list[dict[str, Any]], kind: str) -> list[str]:
    """What is there of a MIME type."""
    return ["".join(output["data"][kind]) for output in outputs if kind in output.get("data", {})]


def test_the_lesson(outputs: dict[str, list[dict[str, Any]]]) -> None:
    """Answer, figures and comparison are there; what the text says of the numbers is so; nothing goes to stderr."""
    assert not [output for of in outputs.values() for output in of if output.get("name") == "stderr"]
    progress, answer = shown(outputs["runs"], "text/html")
    assert '<progress value="6" max="6">' in progress
    assert "BatchNorm 9" in answer
    assert "no norm 10.0 % test accuracy" in answer
    assert shown(outputs['figures["overview"]'], "image/png")
    (verdicts,) = shown(outputs["comparison"], "text/html")
    assert "supported (preliminary: 3 seeds)" in verdicts
    assert shown(outputs['bncompare.plot(rates, "val/loss")["sensitivity-val-loss-by-lr"]'], "image/png")
    (chosen,) = shown(outputs["rates"], "text/html")
    assert "each at the setting that validation chose: no clear difference" in chosen


def test_a_class_that_is_written_in_a_notebook(outputs: dict[str, list[dict[str, Any]]]) -> None:
    """Other processes cannot have it, which is said; this one trains it."""
    _, said, progress, answer = outputs[MORE.splitlines()[-1]]
    assert "".join(said["text"]).startswith("mine: has a class that is written in this notebook")
    assert '<progress value="3" max="3">' in shown([progress], "text/html")[0]
    assert shown([answer], "text/plain") == ["<3 runs: mine>"]


def test_the_lesson_is_committed_without_outputs() -> None:
    """They are each reader's own."""
    cells = json.loads(LESSON.read_text(encoding="utf-8"))["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells)
    assert "## 5. Now you\n" in [line for cell in cells for line in cell["source"]]


def test_what_is_shown_restyles_nothing_else() -> None:
    """Each rule is for what is inside of a fragment; text has the colour of the notebook."""
    comparison = bncompare.compare(bncompare.load_runs(EXAMPLE))
    for html in (
        comparison._repr_html_(),
        claims_html(comparison.claims),
        bncompare.load_runs(EXAMPLE)._repr_html_(),
    ):
        style = html.partition("<style>")[2].partition("</style>")[0]
        assert style.startswith(".bncompare.bncompare {")
        depths = list(itertools.accumulate({"{": 1, "}": -1}.get(letter, 0) for letter in style))
        first_end = next(i for i, depth in enumerate(depths) if depth == 0 and i > style.index("{"))
        assert style[first_end:].strip() == "}"  # all of it is nested
        assert "--ink: currentColor;" in style
        assert all(
            rule.strip().startswith(":root") for rule in re.findall(r"prefers-color-scheme[^{]*{([^{]*){", style)
        )


def test_short_texts() -> None:
    """What a terminal shows is a line; of claims a line each."""
    comparison = bncompare.compare(bncompare.load_runs(EXAMPLE))
    assert repr(comparison).startswith("<comparison of example: BatchNorm 1.51, no norm 1.56 test loss: no clear ")
    assert [line.partition(":")[0] for line in repr(comparison.claims).splitlines()] == [
        "not supported (preliminary"
    ] * 2
    assert repr(comparison.plot("train/loss")).startswith("<3 figures: train-loss, differences-train-loss-best, ")
    with pytest.raises(bncompare.UserError, match="heat: is none of these figures; valid: train-loss, "):
        bncompare.plot(comparison, "train/loss")["heat"]
    with pytest.raises(bncompare.UserError, match="z: no run has this metric"):
        bncompare.plot(comparison, "z")


def test_the_table_of_a_comparison() -> None:
    """A row per measure and pair, with the numbers of its verdict."""
    pytest.importorskip("pandas")
    comparison = bncompare.compare(bncompare.load_runs(EXAMPLE), "test/loss")
    table = comparison.frame()
    (pair,) = comparison.main.pairs
    assert pair.paired
    row = table[table.versus.notna()].iloc[0]
    assert (row.variant, row.versus, row.n, row.difference) == (
        "BatchNorm", "no norm", 3, pair.paired.difference.mean,
    )  # fmt: skip
    assert len(table) == 2
    assert list(comparison.claims.frame().verdict) == [finding.outcome for finding in comparison.claims]
