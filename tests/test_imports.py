"""The house: who may import whom, what a face costs, how large things may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bncompare"

# From the ground up. A package imports from those before it, and past no face.
FLOORS = ["errors", "lazy", "options", "randomness", "norms", "probes", "config", "runs", "training"]
FLOORS += ["comparison", "figures", "report", "execution", "extras", "cli"]
TORCH_FREE = ["norms", "probes", "config", "runs", "comparison", "figures", "report", "execution", "extras", "cli"]


def imported(path: Path) -> Iterator[str]:
    """Modules of this package that a file imports names from, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [node.module] if node.module.startswith("bncompare.") else []
            yield from [f"bncompare.{alias.name}" for alias in node.names if node.module == "bncompare"]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/*.py")), ids=str)
def test_nobody_imports_past_a_face(path: Path) -> None:
    """`from bncompare.norms import …`, and only from floors below."""
    own = path.relative_to(PACKAGE).parts[0]
    others = {module.removeprefix("bncompare.") for module in imported(path)} - {"__version__"}
    others = {module for module in others if module.split(".")[0] != own}
    assert others <= set(FLOORS[: FLOORS.index(own)])


@pytest.mark.parametrize("name", TORCH_FREE)
def test_a_face_costs_no_torch(name: str) -> None:
    """Commands that train nothing do not wait for torch."""
    code = f"import sys, bncompare.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
