"""Retraining finished runs: same bytes, other bytes, other machines, and the command's whole output."""

import json
import shutil
from pathlib import Path

import pytest
from kit import TINY, call, cells, strict

from bncompare.execution.verify import choose
from bncompare.runs.read import read_run, read_runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verified")
    (folder / "tiny.yaml").write_text(TINY)
    assert call("train", str(folder / "tiny.yaml"), "--runs", str(folder / "runs"), "--no-report").code == 0
    return folder / "runs"


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs")
    return Path("runs")


def test_identical(runs: Path) -> None:
    """Every run is retrained and found the same to the byte; its folder is left as it was."""
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    ended = call("verify", "runs")
    assert ended.code == 0
    rows = cells(ended.out)[1:]
    assert [row[:2] for row in rows[:4]] == [[str(run.path), "identical"] for run in read_runs([runs])[0]]
    assert ended.out.splitlines()[-1] == "4 of 4 runs reproduced to the byte"
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_different(runs: Path) -> None:
    """A changed number is found, with the epoch from which on; a lost file is said not to have been compared."""
    changed = sorted(runs.glob("tiny/batch-s0-*"))[0]
    lines = (changed / "metrics.csv").read_text().splitlines()
    fields = lines[2].split(",")
    fields[2] = repr(float(fields[2]) * (1 + 2**-50))
    lines[2] = ",".join(fields)
    (changed / "metrics.csv").write_text("\n".join(lines) + "\n")
    (changed / "best.safetensors").unlink()
    ended = call("verify", str(changed), "--json")
    assert ended.code == 1
    (item,) = strict(ended.out)["runs"]
    assert item == {
        "path": str(changed),
        "identical": False,
        "same": ["result.json"],
        "different": ["metrics.csv from epoch 2 on"],
        "missing": ["best.safetensors"],
        "elsewhere": [],
        "problem": None,
    }
    table = call("verify", str(changed))
    assert table.code == 1
    assert "DIFFERENT" in table.out
    assert "not compared: best.safetensors" in table.out
    assert table.out.splitlines()[-1] == "0 of 1 runs reproduced to the byte"


def test_trained_elsewhere(runs: Path) -> None:
    """The versions and the CPU of a run stand beside its verdict where they are others."""
    changed = sorted(runs.glob("tiny/none-s0-*"))[0]
    environment = changed / "environment.json"
    data = strict(environment.read_text())
    data["versions"]["torch"] = "1.0"
    data["cpu"] = "an abacus"
    environment.write_text(json.dumps(data))
    (item,) = strict(call("verify", str(changed), "--json").out)["runs"]
    assert item["identical"]
    assert [text.partition(",")[0] for text in item["elsewhere"]] == ["torch 1.0", "cpu an abacus"]


def test_a_sample(runs: Path) -> None:
    """--sample draws as many, the same each time; unfinished runs are not drawn."""
    next(runs.glob("tiny/none-s0-*/result.json")).unlink()
    loaded, _ = read_runs([runs])
    assert len(choose(loaded, None)) == len(choose(loaded, 9)) == 3
    drawn = choose(loaded, 2)
    assert len(drawn) == 2
    assert choose(loaded, 2) == drawn
    assert all(run.result for run in drawn)
    ended = call("verify", "runs", "--sample", "1", "--jobs", "1")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "1 of 1 runs reproduced to the byte")


def test_nothing_to_verify(runs: Path) -> None:
    """Without a finished run there is nothing to repeat."""
    for result in runs.rglob("result.json"):
        result.unlink()
    assert call("verify", "runs").err == "error: runs: none of the runs there is finished\n"
    assert call("verify", "runs").code == 2


def test_a_file_that_is_lost_is_not_reproduced(runs: Path) -> None:
    """Whatever the other files say."""
    name = "best.safetensors"
    (changed,) = runs.glob("tiny/none-s0-*")
    (changed / name).unlink()
    ended = call("verify", str(changed))
    assert ended.code == 1
    assert cells(ended.out)[1][1:3] == ["DIFFERENT", name]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("claims: []", "claims: []\nnovelty: 1", "novelty"),
        ("device: cpu", "device: cuda:7", "device cuda:7: this machine has"),
        ("hidden: [", "hidden: [65536, 65536, 65536, ", "memory"),
    ],
)
def test_a_run_that_cannot_be_retrained(runs: Path, old: str, new: str, why: str) -> None:
    """A config of another version, or that asks for more than there is here, is a row that says so; the others are
    verified."""
    (changed,) = runs.glob("tiny/none-s0-*")
    text = (changed / "config.yaml").read_text()
    assert old in text
    (changed / "config.yaml").write_text(text.replace(old, new, 1))
    assert read_run(changed).status == "completed"
    ended = call("verify", "runs", "--json")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    left_out, *others = strict(ended.out)["runs"]
    assert (left_out["path"], left_out["identical"]) == (str(changed), False)
    assert why in left_out["problem"]
    assert [item["identical"] for item in others] == [True] * 3
    alone = call("verify", str(changed))
    assert (alone.code, alone.out.splitlines()[-1]) == (1, "0 of 1 runs reproduced to the byte")
    assert "NOT RETRAINED" in alone.out


IMAGES = """\
name: images
data: {name: digits, train_size: 64, validation: 32}
model: {name: mlp, hidden: [4]}
training: {epochs: 1, batch_size: 32, device: cpu, optimizer: {name: sgd, lr: 0.1}}
"""


def test_no_folder_that_a_run_names_is_written(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What data.dir says in somebody's run folder is not followed: images are looked for where this person's are.

    A run whose images are not to be had is a row that says so; the others are verified.
    """
    monkeypatch.delenv("BNCOMPARE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("images.yaml").write_text(IMAGES)
    Path("cache").mkdir()
    Path("cache/bncompare").write_text("in the way, so that nothing is downloaded")
    Path("theirs").write_text("likewise")
    assert call("train", "images.yaml", "--seeds", "2", "--no-report").code == 0
    for config in runs.glob("images/*/config.yaml"):
        text = config.read_text().replace("name: digits", "name: mnist").replace("resize: null", "dir: theirs")
        config.write_text(text)
    ended = call("verify", "runs", "--json")
    assert (ended.code, "Traceback" in ended.err) == (1, False)
    verified = {Path(item["path"]).parent.name: item["problem"] for item in strict(ended.out)["runs"]}
    cache = tmp_path / "cache/bncompare"
    assert verified == {"images": f"{cache}: cannot hold MNIST: is not a folder, or a link to nowhere", "tiny": None}
