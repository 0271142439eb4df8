"""Installs of all kinds: without torch, without the extras, on a system that is not Unix."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kit import EXAMPLE, ROOT, run_of

from bncompare.config import MNIST
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
    """MNIST needs it, and says so in a line; random regression, digits and the made-up images of --smoke do not."""
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
