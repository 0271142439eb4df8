"""Classes of others: packages that are installed, files that are named, and what a run says of them."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from kit import TINY, call, run_of, spawn

from bncompare.errors import UserError
from bncompare.execution.environment import differences
from bncompare.extras import write_package

NORM = '''
"""A norm of mine."""

from typing import ClassVar, Literal

from bncompare.norms import ActivationNorm, Eps, Shape


class MaxNorm(ActivationNorm):
    """Divides each example by its largest absolute value."""

    formula: ClassVar = "y = x/(max|x| + eps)"
    axes: ClassVar = "all units of one example"

    kind: Literal["max"]
    """the norm"""
    eps: Eps = 1e-5
    """added to the largest value"""

    def reference(self, x):
        return x / (abs(x).max(tuple(range(1, x.ndim)), keepdims=True) + self.eps)

    def build(self, shape: Shape):
        from torch import nn

        eps = self.eps

        class Module(nn.Module):
            def forward(self, x):
                return x / (x.abs().amax(tuple(range(1, x.dim())), keepdim=True) + eps)

        return Module()
'''
PROBE = '''
from bncompare.probes import Probe, Reading


class Depth(Probe):
    """How many modules there are."""

    depth: bool = False
    """the number of modules"""

    def of_model(self, plan):
        yield "depth"

    def measure(self, subject):
        yield Reading("model", "depth", float(len(list(subject.model.modules()))))
'''


def install(site: Path, name: str, source: str, *entries: str, version: str = "1.2.0") -> None:
    """A distribution as pip leaves it: a module, and what it says of its entry points, `group: value`."""
    site.mkdir(exist_ok=True)
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(source)
    info = site / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = dict(entry.split(": ") for entry in entries)
    text = "".join(f"[bncompare.{group}]\nit = {module}:{value}\n" for group, value in groups.items())
    (info / "entry_points.txt").write_text(text)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file with a norm and a probe."""
    path = tmp_path / "mine.py"
    path.write_text(NORM + PROBE)
    return path


# ---------------------------------------------------------------- packages


def test_a_broken_package_is_a_warning(tmp_path: Path) -> None:
    """Each says which it is and what is wrong, in a line; everything else goes on."""
    install(tmp_path / "site", "good", NORM, "norms: MaxNorm")
    install(tmp_path / "site", "no-import", "import nowhere", "norms: MaxNorm")
    install(tmp_path / "site", "no-name", "", "norms: MaxNorm")
    install(tmp_path / "site", "no-class", "MaxNorm = 3", "norms: MaxNorm")
    install(tmp_path / "site", "no-norm", PROBE, "norms: Depth")
    install(tmp_path / "site", "no-kind", "from bncompare.norms import Norm as N", "norms: N")
    ended = spawn("norms", "--json", PYTHONPATH=str(tmp_path / "site"))
    assert ended.returncode == 0
    assert "max" in json.loads(ended.stdout)
    assert sorted(ended.stderr.splitlines()) == [
        f"warning: plugin {name} 1.2.0: it = {name.replace('-', '_')}:{value}: {what}; it is left out"
        for name, value, what in [
            ("no-class", "MaxNorm", "is no class"),
            ("no-import", "MaxNorm", "ModuleNotFoundError: No module named 'nowhere'"),
            ("no-kind", "N", "has no name of its own, such as `kind: Literal[…]`"),
            ("no-name", "MaxNorm", "AttributeError: module 'no_name' has no attribute 'MaxNorm'"),
            ("no-norm", "Depth", "is no subclass of bncompare.norms.Norm"),
        ]
    ]


@pytest.mark.parametrize(
    ("kind", "others", "named"),
    [
        ("dyt", [], "is of bncompare itself (DyT), and of first 1.2.0"),
        ("max", ["second"], "and of "),
    ],
)
def test_a_clash_is_an_error(tmp_path: Path, kind: str, others: list[str], named: str) -> None:
    """A kind that is taken, by this package or another, names both."""
    for name in ["first", *others]:
        install(tmp_path / "site", name, NORM.replace('"max"', f'"{kind}"'), "norms: MaxNorm")
    ended = spawn("norms", PYTHONPATH=str(tmp_path / "site"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: plugins: '{kind}' among the norms is of ")
    assert all(f"{name} 1.2.0" in ended.stderr for name in ["first", *others])
    assert named in ended.stderr


def test_a_module_may_be_imported_first(tmp_path: Path) -> None:
    """As its own test does: bncompare, which it imports, does not look for its class before it is there."""
    install(tmp_path / "site", "good", NORM, "norms: MaxNorm")
    code = "from good import MaxNorm; from bncompare.norms import NORMS; assert NORMS['max'] is MaxNorm"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'site'}"}
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, check=False).returncode == 0


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nimport nowhere\n", "mine.py:2: ModuleNotFoundError: No module named 'nowhere'"),
        ("\nclass:\n", "mine.py:2: SyntaxError: invalid syntax"),
        (
            NORM.replace('"max"', '"dyt"'),
            "'dyt' among the norms is of bncompare itself (DyT), and of mine.py sha256:",
        ),
        (None, "--plugin mine.py: no such file"),
    ],
)
def test_a_broken_file_is_an_error(tmp_path: Path, source: str | None, message: str) -> None:
    """With its line."""
    path = tmp_path / "mine.py"
    if source is not None:
        path.write_text(source)
    ended = spawn("norms", f"--plugin={path}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr.replace(f"{tmp_path}/", "")
    assert ended.stderr.count("\n") == 1


def test_files_of_one_name(mine: Path) -> None:
    """Also where it is the same as a module: the classes of the second would be left out."""
    for first, second in (("my-norm.py", "my_norm.py"), ("a/max.py", "b/max.py")):
        for name in (first, second):
            path = mine.parent / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(NORM.replace('"max"', f'"{name}"'))
        ended = spawn("norms", f"--plugin={mine.parent / first}", f"--plugin={mine.parent / second}")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.endswith(f"{first} has the same name\n")


def test_a_class_to_be_inherited_from(mine: Path) -> None:
    """Its name is that of the norm that it is made from, which is none of its own."""
    mine.write_text(
        "from typing import Literal\nfrom bncompare.norms import BatchNorm\nclass Base(BatchNorm): pass\n"
        'class Mine(Base):\n    """Mine."""\n    kind: Literal["mine"]\n    """the norm"""\n'
    )
    ended = spawn("norms", "mine", f"--plugin={mine}")
    assert (ended.returncode, ended.stderr) == (0, "")
    mine.write_text(mine.read_text().replace('"mine"', '"batch"'))
    assert "'batch' among the norms is of bncompare itself" in spawn("norms", f"--plugin={mine}").stderr


def test_a_file_is_described(mine: Path, tmp_path: Path) -> None:
    """Its options stand in `norms`, in the schema, and in what is said of a mistake."""
    ended = spawn("--plugin", str(mine), "norms", "max")
    assert "Divides each example by its largest absolute value." in ended.stdout
    assert "added to the largest value" in ended.stdout
    assert "from: mine.py sha256:" in ended.stdout
    schema = json.loads(spawn("init", "--schema", "--plugin", str(mine)).stdout)["$defs"]
    assert schema["MaxNorm"]["properties"]["eps"]["description"] == "added to the largest value"
    assert schema["Diagnostics"]["properties"]["depth"]["description"] == "the number of modules"
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.replace("batch]", "{kind: max, epz: 1}]"))
    ended = spawn("train", str(config), "--plugin", str(mine))
    assert ended.returncode == 2
    assert "model.norm.epz: unknown key; valid: kind, layers, " in ended.stderr
    assert ended.stderr.endswith("; did you mean 'eps'?\n")


def test_a_norm_need_not_say_its_formula(tmp_path: Path) -> None:
    """One that is only being written is shown as well, alone and among the others."""
    path = tmp_path / "mine.py"
    path.write_text("".join(line for line in NORM.splitlines(keepends=True) if "ClassVar =" not in line))
    alone = spawn("norms", "max", "--plugin", str(path))
    assert alone.stdout.splitlines()[1:5] == ["", "    not given", "", "statistics over: not given"]
    assert json.loads(spawn("norms", "--json", "--plugin", str(path)).stdout)["max"]["formula"] == "not given"


def test_a_run_of_a_file(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is trained in processes and verified, says which file it took, and is read without it; to train it again
    takes the file, and no other."""
    config, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    config.write_text(TINY.replace("batch]", "max]") + "diagnostics: {gradients: true}\n")
    settings = ["--runs", str(runs), "--jobs", "2"]
    assert spawn("train", str(config), *settings, "--plugin", str(mine)).returncode == 0
    folders = {path.parent.name.split("-")[0]: path.parent for path in runs.rglob("config.yaml")}
    version = "sha256:" + hashlib.sha256(mine.read_bytes()).hexdigest()
    recorded = {name: (folder / "config.yaml").read_text().count(version) for name, folder in folders.items()}
    assert recorded == {"none": 0, "max": 1}
    assert "depth" not in (folders["none"] / "config.yaml").read_text()  # of a probe that is off nothing is left
    versions = json.loads((folders["max"] / "environment.json").read_text())["versions"]
    assert versions["mine.py"] == version
    ended = spawn("verify", str(runs), "--jobs", "1", "--plugin", str(mine))
    assert (ended.returncode, ended.stdout.count(" identical ")) == (0, 4)

    # Here it is not: what reads runs goes on, what trains says what is missing.
    for command in ("report", "list", "plot"):
        ended_here = call(command, runs)
        assert (ended_here.code, ended_here.err.replace(str(tmp_path), "").count("error")) == (0, 0), command
    assert " max " in call("list", runs).out
    assert call("show", folders["max"]).code == 0
    needs = f"plugins: needs --plugin mine.py, the file whose hash is {version}"
    ended_here = call("train", folders["max"] / "config.yaml")
    assert (ended_here.code, ended_here.err.endswith(f": {needs}\n")) == (2, True)
    found = json.loads(call("verify", folders["max"], "--json").out)["runs"]
    assert [item["problem"].endswith(needs) for item in found] == [True]
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "mine.py"
    other.write_text(mine.read_text() + "\n")
    monkeypatch.setenv("BNCOMPARE_PLUGINS", "")  # and put back after the test what is there now
    ended_here = call("train", folders["max"] / "config.yaml", "--plugin", other)
    assert ended_here.code == 2
    assert "--plugin mine.py: is another file than that of the run: sha256:" in ended_here.err


def test_a_probe_of_a_file(mine: Path, tmp_path: Path) -> None:
    """It measures, in processes too."""
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.replace("seeds: 2", "seeds: 1") + "diagnostics: {depth: true}\n")
    ended = spawn("train", str(config), "--runs", str(tmp_path), "--jobs", "2", "--plugin", str(mine), "--no-report")
    assert ended.returncode == 0
    tables = [path.read_text() for path in tmp_path.rglob("diagnostics.csv")]
    assert [table.count(",model,depth,") for table in tables] == [2, 2]


# ---------------------------------------------------------------- what a run says of them


def test_versions_decide() -> None:
    """Another version is another run, and no place to go on from a checkpoint."""
    run = run_of("smoke.yaml")
    assert run.plugins == {}
    taken = [run.model_copy(update={"plugins": {"mine": version}}) for version in ("1", "2")]
    assert len({one.digest for one in [run, *taken]}) == 3
    assert taken[0].to_yaml().endswith('plugins:\n  mine: "1"\n')
    here = {"versions": {"torch": "3", "mine": "1"}}
    assert differences(here, {"versions": {"torch": "3", "mine": "2"}}) == ["mine 1, here 2"]
    assert differences(here, {"versions": {"torch": "3"}}) == ["mine 1, here unknown"]


# ---------------------------------------------------------------- a package of one's own


def test_a_new_package(tmp_path: Path) -> None:
    """What `norms --new` writes, installed, is a norm that passes the laws, and its own test."""
    folder = tmp_path / "new"
    assert call("norms", "--new", "my_norm", "-o", folder).out == f"{folder}\n"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    (module,) = folder.glob("*.py")
    (value,) = project["entry-points"]["bncompare.norms"].values()
    install(tmp_path / "site", project["name"], module.read_text(), f"norms: {value.partition(':')[2]}")
    ended = spawn("norms", "--test", "my_norm", PYTHONPATH=str(tmp_path / "site"))
    lines = [line for line in ended.stdout.splitlines() if not line.startswith(" ")]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line[:2] for line in lines] == ["✓ "] * 9
    assert [path.name for path in (folder / "tests").iterdir()] == ["test_my_norm.py"]
    with pytest.raises(UserError, match="is there already"):
        write_package("my_norm", folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("batch", "there is a norm of this name (BatchNorm)"),
        ("class", "must be lower-case words"),
        ("../x", "must be lower-case words"),
        ("MyNorm", "must be lower-case words"),
        ("1x", "must be lower-case words"),
    ],
)
def test_names_of_new_packages(tmp_path: Path, name: str, message: str) -> None:
    """One that a config, a module and a class can have."""
    ended = call("norms", "--new", name, "-o", tmp_path / "new")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert not (tmp_path / "new").exists()


def test_a_norm_that_cannot_be_built(tmp_path: Path) -> None:
    """What its code raised, and where, in place of a traceback."""
    path = tmp_path / "wrong.py"
    path.write_text(NORM.replace("        eps = self.eps\n", "        eps = self.epsilon\n"))
    ended = spawn("explain", "max", "--plugin", str(path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: max, of wrong.py sha256:")
    line = 1 + path.read_text().splitlines().index("        eps = self.epsilon")
    assert ended.stderr.endswith(f"AttributeError: 'MaxNorm' object has no attribute 'epsilon' (wrong.py:{line})\n")
    assert len(ended.stderr.splitlines()) == 1


def test_broken_laws(tmp_path: Path) -> None:
    """A line for each law that says how it is broken, with the shape; exit code 1."""
    path = tmp_path / "wrong.py"
    wrong = NORM.replace("abs(x).max(", "abs(x).min(").replace(
        "    def forward(self, x):",
        "    def __init__(self):\n"
        "                import torch\n"
        "                super().__init__()\n"
        "                self.w = nn.Parameter(torch.rand(3))\n"
        "            def forward(self, x):\n"
        "                self.w.data += 1 - self.training\n"
        "                x = x + self.training * self.w[0].detach()",
    )
    path.write_text(wrong)
    ended = spawn("norms", "--test", "max", "--json", "--plugin", str(path))
    assert ended.returncode == 1
    held = json.loads(ended.stdout)
    assert held["shapes"] is held["constants"] is None
    assert held["gradient"] == "(6,): Jacobian mismatch for output 0 with respect to input 1,"
    assert held["reference"].startswith("(6,): it is off by ")
    assert held["parameters"] == "(6,): it learns 3, and says 0"
    assert held["evaluation"] == "(6,): it changes w"
    assert held["pairing"] == "(6,): hidden.0.norm.w, hidden.1.norm.w: drawn from torch's global generator"
    assert held["resumption"].startswith("(6,): ")
