"""Installs of all kinds: without torch, without the extras, on a system that is not Unix."""

import email
import json
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from kit import EXAMPLE, ROOT, run_of

import bncompare
from bncompare.config import parse_alike_yaml
from bncompare.datasets import MNIST
from bncompare.errors import UserError
from bncompare.training import Datasets

RUN = next(EXAMPLE.glob("batch-s0-*"))
TORCH = "error: this needs PyTorch, which is not installed: pip install torch, or for the CPU alone: pip install "

# What a command ends with where neither torch nor an extra is installed, and how its last line on stderr begins.
WITHOUT: dict[str, tuple[int, str]] = {
    "--help": (0, ""),
    "norms": (0, ""),
    "norms batch": (0, ""),
    "init demo": (0, ""),
    "init --schema": (0, ""),
    f"list {EXAMPLE}": (0, ""),
    f"show {RUN}": (0, ""),
    f"report {EXAMPLE} --html -o": (0, ""),
    f"plot {EXAMPLE} -o": (0, ""),
    f"check {EXAMPLE}": (3, ""),
    f"export {EXAMPLE}": (0, ""),
    "train demo --dry-run": (0, ""),
    "tune demo --over training.optimizer.lr=log:1e-4:3 --dry-run": (0, ""),
    "graph demo": (0, ""),
    "graph demo --variant batch -o": (2, "error: drawings need the extra `graph`: pip install 'bncompare[graph]'"),
    f"export {EXAMPLE} --to tensorboard -o": (
        2,
        "error: --to tensorboard needs TensorBoard: pip install 'bncompare[tensorboard]'",
    ),
    "explain batch": (2, TORCH),
    f"verify {EXAMPLE}": (2, TORCH),
    "train demo --runs": (2, TORCH),
    "train demo --jobs 1 --runs": (2, TORCH),
    "train demo --executor ray --runs": (2, TORCH),
    "papers tutorial-regression --runs": (2, TORCH),
}
CALLER = """
import contextlib, importlib.abc, io, json, sys
missing = {"torch", "torchvision", "ray", "pandas", "tensorboard", "graphviz"}
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from bncompare.cli import main
ended = []
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(arguments)
        except SystemExit as error:
            ended.append([error.code or 0, err.getvalue()])
print(json.dumps(ended))
"""


def test_without_torch_and_the_extras(tmp_path: Path) -> None:
    """Commands that train nothing work; the others end with one line that says what to type, and leave nothing."""
    calls = []
    for number, line in enumerate(WITHOUT):
        words = line.split()
        own = tmp_path / str(number)
        if words[-1] == "-o":
            names = {"graph": own.with_suffix(".svg"), "report": own.with_suffix(".html")}
            words = [word for word in words if word != "-o"] if words[0] == "report" else words
            words.append(str(names.get(words[0], own)))
        elif words[-1] == "--runs":
            words.append(str(own))
        calls.append(words)
    done = subprocess.run(
        [sys.executable, "-c", CALLER], input=json.dumps(calls), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stderr.splitlines()[-3:] == []
    ended = dict(zip(WITHOUT, json.loads(done.stdout), strict=True))
    for line, (code, said) in WITHOUT.items():
        lines = ended[line][1].splitlines()
        assert (ended[line][0], bool(said) <= bool(lines)) == (code, True), (line, lines[-3:])
        assert not said or (lines[-1].startswith(said) and len([x for x in lines if x.startswith("error")]) == 1)
        assert not any("Traceback" in x for x in lines)
    assert not list(tmp_path.glob("*/*.yaml"))
    assert not list(tmp_path.glob("*/demo"))


def test_without_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To download MNIST needs it, and says so in a line; random regression, digits and what --smoke takes do not."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    for config in ("regression.yaml", "demo.yaml"):
        Datasets(tmp_path).load(run_of(config))
    mnist = run_of("mnist-mlp.yaml")
    assert isinstance(mnist.data, MNIST)
    with pytest.raises(UserError) as raised:
        Datasets(tmp_path).load(mnist)
    (line,) = raised.value.problems
    assert line.startswith("mnist: needs torchvision, the one that belongs to torch ")
    assert "pip install torchvision" in line
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what is built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, as `pip install .` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return zipfile.ZipFile(path)


def test_a_wheel_has_what_it_needs(wheel: zipfile.ZipFile) -> None:
    """Types, presets, pages, styles and digits are in it; tests, pages of docs/ and runs are not."""
    names = set(wheel.namelist())
    package = {path for path in (ROOT / "bncompare").rglob("*.*") if "__pycache__" not in path.parts}
    expected = {str(path.relative_to(ROOT)) for path in package}
    presets = (ROOT / "configs").rglob("*.yaml")
    expected |= {f"bncompare/presets/{path.relative_to(ROOT / 'configs')}" for path in presets}
    assert {"bncompare/py.typed", "bncompare/report/page.css", "bncompare/presets/demo.yaml"} <= expected
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_one_version(wheel: zipfile.ZipFile) -> None:
    """That of the package is the wheel's and the citation's."""
    (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    citation = parse_alike_yaml((ROOT / "CITATION.cff").read_text(encoding="utf-8"), "CITATION.cff")
    assert metadata["Version"] == bncompare.__version__ == citation["version"]
    assert metadata["Name"] == "bncompare"
    assert str(metadata.get_payload()).lstrip().startswith("# bncompare\n")


def test_the_readme_on_pypi() -> None:
    """Where a repository is given, pictures and links of files are absolute; those of the web and the page stay."""
    absolute = runpy.run_path(str(ROOT / "docs" / "site" / "readme.py"))["absolute"]
    text = "![a](.github/a.png) [b](docs/b.md#c) [d](#e) [f](https://g.org)"
    assert absolute(text, None) == text
    assert absolute(text, "https://h.org/i") == (
        "![a](https://h.org/i/raw/main/.github/a.png) [b](https://h.org/i/blob/main/docs/b.md#c) [d](#e) [f](https://g.org)"
    )


ALLOWED = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "pyproject.toml"}
ALLOWED |= {"bncompare", "configs", "docs", "examples", "runs", "tests"}


def test_the_top_level() -> None:
    """What a newcomer sees first is what is read first; whatever a tool wants lies where it belongs."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout")
    names = {line.split("/")[0].strip('"') for line in listed.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} <= ALLOWED
