"""The layers of the package: who may import whom, and which commands may import torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bncompare"

# From the top of the list in the design: a module imports only from those before it.
LAYERS = [
    "errors",
    "streams",
    "quiet",
    "randomness",
    "norms.from_scratch",
    "norms.variants",
    "config.strict_yaml",
    "config.section",
    "norms.kinds",
    "norms",
    "config.schema",
    "config.architecture",
    "config.measured",
    "config.checks",
    "config.problems",
    "config.expansion",
    "files",
    "memory",
    "statistics",
    "plotting",
    "curve_plots",
    "comparison_plots",
    "results",
    "diagnostic_plots",
    "checkpoint",
    "store",
    "measures",
    "claims",
    "grouping",
    "verdicts",
    "comparison",
    "figures",
    "api",
    "export",
    "tables",
    "report",
    "report.content",
    "report.terminal",
    "report.markdown",
    "report.html",
    "data",
    "norms.evaluation",
    "models",
    "diagnostics",
    "snapshot",
    "training",
    "explain",
    "graph",
    "forkserver",
    "execution",
    "execution.inline",
    "execution.processes",
    "execution.ray",
    "experiment",
    "verification",
    "progress",
    "cli",
    "__main__",
]
TORCH_FREE = ["errors", "streams", "quiet", *LAYERS[LAYERS.index("config.strict_yaml") : LAYERS.index("data")]]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py") if module_name(path) not in ("", "config")}


def imports(path: Path) -> set[str]:
    """Full names of everything a module imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_has_a_layer() -> None:
    """The list of layers is that of the modules there are."""
    assert sorted(MODULES) == sorted(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_imports_go_up(name: str) -> None:
    """A module imports only from the layers above it."""
    ours = {i.removeprefix("bncompare.") for i in imports(MODULES[name]) if i.startswith("bncompare.")}
    assert ours & set(LAYERS) <= set(LAYERS[: LAYERS.index(name) + 1])


@pytest.mark.parametrize("name", TORCH_FREE)
def test_no_torch_above_the_data(name: str) -> None:
    """Config, statistics, plots, the store and tables know nothing of torch; a kind of norm only when it is built."""
    used = {i for i in imports(MODULES[name]) if i.split(".")[0] in ("torch", "torchvision")}
    assert not used or name == "norms.kinds"


@pytest.mark.parametrize("name", TORCH_FREE)
def test_importing_loads_no_torch(name: str) -> None:
    """Importing a module of the upper layers does not load torch by way of another package."""
    code = f"import sys, bncompare.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
