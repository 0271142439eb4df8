"""The house: who may import whom, what a face costs, how large things may be."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bncompare"

# From the ground up. A package imports from those before it, and past no face.
FLOORS = ["errors", "lazy", "options", "plugins", "derive", "randomness", "norms", "probes", "datasets", "config"]
FLOORS += ["runs", "training", "comparison", "figures", "report", "execution", "extras", "api", "cli"]
MAX_SPINE = 2_720
TORCH_FREE = [floor for floor in FLOORS[FLOORS.index("norms") :] if floor != "training"]


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


@pytest.mark.parametrize("floor", [floor for floor in FLOORS if (PACKAGE / floor).is_dir() and floor != "cli"])
def test_no_module_hides_a_name(floor: str) -> None:
    """A face's name is not that of a module, which would take its place when somebody imports it."""
    face = importlib.import_module(f"bncompare.{floor}")
    for name in set(face.__all__) & {path.stem for path in (PACKAGE / floor).glob("*.py")}:
        importlib.import_module(f"bncompare.{floor}.{name}")
        assert not inspect.ismodule(getattr(face, name)), name


def test_a_name_means_one_thing() -> None:
    """No class is defined in two modules of the package, nor a function that others may import.

    But for what people call: `bncompare.train` trains an experiment as `training.train` does a run.
    """
    homes: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            if isinstance(node, ast.ClassDef) or is_public:
                homes.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {
        "train": ["api/training.py", "training/loop.py"],
    }


def lines_of(path: Path) -> int:
    """How many lines a file has."""
    return len(path.read_text(encoding="utf-8").splitlines())


def test_what_is_read_first_is_short() -> None:
    """The README takes minutes, the spine of the package an hour or two, and no file of it is long."""
    root = PACKAGE.parent
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    spine = [PACKAGE / name for name in re.findall(r"^\| `(\w+/\w+\.py)` ", page, re.MULTILINE)]
    assert len(spine) == 13
    assert sum(map(lines_of, spine)) <= MAX_SPINE
    assert lines_of(root / "README.md") <= 160
    assert [path for path in PACKAGE.rglob("*.py") if lines_of(path) > 400] == []


def lines_of_code(node: ast.FunctionDef) -> int:
    """How many lines a function has, but for those of its docstring."""
    number = (node.end_lineno or 0) - node.lineno + 1
    return number - len(node.body[0].value.value.splitlines()) if ast.get_docstring(node) else number


def test_a_function_is_short() -> None:
    """None has more than 50 lines, without what is said about it."""
    long = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and lines_of_code(node) > 50
    ]
    assert long == []
