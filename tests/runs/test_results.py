"""Reading run folders, whoever wrote them: a bad one costs a line, none leads elsewhere or stops a command."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import ODD_FILES
from safetensors.numpy import save as save_tensors

from bncompare.config import Status
from bncompare.errors import UserError
from bncompare.figures.catalogue import experiment_figures
from bncompare.runs import layout, tables
from bncompare.runs.read import LoadedRun, read_run, read_runs
from bncompare.runs.tables import read_diagnostics
from bncompare.runs.weights import read_norm_parameters

VARIANTS = ("none", "batch")
FILES = ("config.yaml", "metrics.csv", "timing.csv", "result.json")
METRICS = "epoch,step,train/loss,val/loss,lr\n1,3,0.5,0.25,0.1\n2,6,0.5,0.25,0.1\n"
TIMING = "epoch,step,seconds,examples_per_second\n1,3,0.5,100.0\n2,6,0.25,200.0\n"
EVALUATION = {"epoch": 2.0, "step": 6, "train/loss": 0.5, "val/loss": 0.25, "lr": 0.1, "test/loss": 0.125}
RESULT = {"status": "completed", "epochs": 2.0, "steps": 6, "best": EVALUATION, "last": EVALUATION, "test": {}}
ENVIRONMENT = {"versions": {"python": "3.11.7", "torch": "2.4.0"}, "cpus": 2, "device": "cpu", "device_name": ""}


def config_text(variant: str = "batch", seed: int = 0) -> str:
    return (
        f"name: tiny\nvariant:\n  label: {variant}\n  settings: {{model.norm: {variant}}}\n"
        f"  index: {VARIANTS.index(variant)}\nseeds: [{seed}]\n"
        f"data: {{name: random_regression}}\nmodel:\n  name: mlp\n  norm: {{kind: {variant}}}\n"
    )


def write_folder(path: Path, variant: str = "batch", seed: int = 0) -> Path:
    """A run folder as bncompare leaves it, without its weights."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(config_text(variant, seed))
    (path / "metrics.csv").write_text(METRICS)
    (path / "timing.csv").write_text(TIMING)
    (path / "result.json").write_text(json.dumps(RESULT))
    (path / "environment.json").write_text(json.dumps(ENVIRONMENT))
    return path


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Four runs below tmp_path/runs: none and batch with the seeds 0 and 1."""
    root = tmp_path / "runs" / "tiny"
    return [write_folder(root / f"{variant}-s{seed}", variant, seed) for seed in (0, 1) for variant in VARIANTS]


def names(runs: list[LoadedRun]) -> list[tuple[str, int]]:
    return [(run.variant, run.seed) for run in runs]


# ---------------------------------------------------------------- a folder as it should be


def test_read_run(folders: list[Path]) -> None:
    """Names, columns, wall-clock, result and environment of a folder."""
    run = read_run(folders[1])
    assert (run.path, run.experiment, run.variant, run.variant_index, run.seed) == (folders[1], "tiny", "batch", 1, 0)
    assert run.config == yaml.safe_load(config_text())
    assert run.metrics == {
        "epoch": [1, 2],
        "step": [3, 6],
        "train/loss": [0.5, 0.5],
        "val/loss": [0.25, 0.25],
        "lr": [0.1, 0.1],
    }
    assert (run.seconds, run.elapsed) == (0.75, [0.5, 0.75])
    assert (run.status, run.result and run.result.to_plain()) == ("completed", RESULT)
    assert (run.best("test/loss"), run.last("val/loss"), run.best("no/such")) == (0.125, 0.25, None)
    assert run.environment == ENVIRONMENT


def test_lines_may_end_as_on_windows(folders: list[Path]) -> None:
    """A folder that went through another system's editor or archive is the same run."""
    before = read_run(folders[0])
    for name in FILES:
        (folders[0] / name).write_bytes((folders[0] / name).read_bytes().replace(b"\n", b"\r\n"))
    assert read_run(folders[0]) == before


def test_timing_may_lack_evaluations(folders: list[Path]) -> None:
    """A run that was killed between two files has an evaluation more in metrics.csv than in timing.csv."""
    (folders[0] / "timing.csv").write_text("".join(TIMING.splitlines(keepends=True)[:-1]))
    (folders[0] / "result.json").unlink()
    run = read_run(folders[0])
    assert (run.status, run.seconds) == ("unfinished", 0.5)
    assert run.elapsed == [0.5, pytest.approx(math.nan, nan_ok=True)]


def test_read_runs(tmp_path: Path, folders: list[Path]) -> None:
    """Runs come as the config lists their variants (none before batch), then by seed, each once however many paths
    lead to it; they may lie some levels below, but in no hidden folder."""
    loaded, warnings = read_runs([folders[0], tmp_path, tmp_path / "runs" / "tiny"])
    assert (names(loaded), warnings) == ([("none", 0), ("none", 1), ("batch", 0), ("batch", 1)], [])
    (tmp_path / "a").mkdir()
    (tmp_path / "runs").rename(tmp_path / "a" / "runs")
    assert len(read_runs([tmp_path])[0]) == 4
    (tmp_path / "a").rename(tmp_path / ".a")
    with pytest.raises(UserError, match="no run folders"):
        read_runs([tmp_path])


@pytest.mark.parametrize(("name", "message"), [("no", "no such folder"), ("file", "is a file"), ("empty", "no run")])
def test_read_runs_of_a_wrong_path(tmp_path: Path, name: str, message: str) -> None:
    """A path that can't hold runs is an error that names it."""
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=rf"^{tmp_path / name}: {message}"):
        read_runs([tmp_path / name])


def test_many_runs_are_read_fast(tmp_path: Path) -> None:
    """What runs share is parsed once: 200 runs of a config of this length take far less than 200 times one."""
    long = "training:\n" + "".join(f"  key_{i}: {{a: {i}, b: [1, 2, 3], c: text}}\n" for i in range(100))
    for seed in range(200):
        folder = write_folder(tmp_path / f"batch-s{seed}", seed=seed)
        (folder / "config.yaml").write_text(config_text(seed=seed) + long)
    started = time.perf_counter()
    loaded, _ = read_runs([tmp_path])
    assert [run.seed for run in loaded] == list(range(200))
    assert loaded[7].config["training"]["key_99"]["a"] == 99
    assert time.perf_counter() - started < 1.5, "about 0.1 s; 4 s if each config is parsed whole"


# ---------------------------------------------------------------- nothing outside the folder


def test_linked_folders(tmp_path: Path, folders: list[Path]) -> None:
    """A link to a run folder is skipped, and a line says so; one to another folder is followed, into no loop, and no
    run is there twice."""
    root, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(folders[0], target_is_directory=True)
    (elsewhere / "tiny\x1b").symlink_to(root / "tiny", target_is_directory=True)
    (root / "tiny" / "loop").symlink_to(root, target_is_directory=True)
    (root / "tiny" / "file").symlink_to(folders[0] / "config.yaml")
    loaded, warnings = read_runs([root, elsewhere])
    assert [run.path.parent for run in loaded] == [root / "tiny"] * 4
    assert warnings == [
        f"{elsewhere}: skipped: a folder with the name {'tiny' + chr(27)!r}",
        f"{elsewhere}: skipped: a link to a run folder: link",
    ]
    (elsewhere / "tiny\x1b").rename(elsewhere / "tiny")
    loaded, _ = read_runs([elsewhere])
    assert [run.path.parent for run in loaded] == [elsewhere / "tiny"] * 4
    (tmp_path / "all").symlink_to(elsewhere)
    assert len(read_runs([tmp_path / "all"])[0]) == 4
    for i in range(1000):
        (root / f"link{i:03}").symlink_to(folders[0], target_is_directory=True)
    _, (warning,) = read_runs([root])
    assert warning.startswith(f"{root}: skipped: 1000 links to run folders: link000, link001, ")
    assert len(warning) < len(str(root)) + 350


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ODD_FILES)
def test_only_regular_files_are_read(tmp_path: Path, folders: list[Path], kind: str, name: str) -> None:
    """A link that leads out of the folder, a pipe without an end, a device: a line names the file."""
    ODD_FILES[kind](folders[2] / name)
    loaded, (warning,) = read_runs([tmp_path])
    assert names(loaded) == [("none", 0), ("batch", 0), ("batch", 1)]
    reason = "not a regular file" if kind in ("pipe", "folder") else "is a link"
    assert warning == f"{folders[2]}: skipped: {name}: {reason}"


@pytest.mark.parametrize("kind", ODD_FILES)
def test_environment_and_weights_of_another_kind(folders: list[Path], kind: str) -> None:
    """The same for the files that are read later: no environment, and weights that cannot be read."""
    (folders[0] / "best.safetensors").write_bytes(save_tensors({"a.norm.weight": np.ones(2, np.float32)}))
    for name in ("best.safetensors", "environment.json"):
        ODD_FILES[kind](folders[0] / name)
    assert read_run(folders[0]).environment == {}
    with pytest.raises(UserError, match=r"best\.safetensors: cannot be read: (is a link|not a regular file)"):
        read_norm_parameters(folders[0])


# ---------------------------------------------------------------- bad folders


@pytest.mark.parametrize("name", [b"\x1b[31mred", b"two\nlines", b"\xff\xfe"])
def test_names_of_folders_reach_no_terminal_as_they_are(tmp_path: Path, folders: list[Path], name: bytes) -> None:
    """A folder whose name is not printable is left out, and the line about it is printable."""
    folders[0].rename(folders[0].parent / os.fsdecode(name))
    loaded, (warning,) = read_runs([tmp_path])
    assert len(loaded) == 3
    assert warning.isprintable()


def without(key: str) -> Callable[[str], str]:
    return lambda text: yaml.safe_dump({k: v for k, v in yaml.safe_load(text).items() if k != key})


def with_value(**values: Any) -> Callable[[str], str]:
    return lambda text: yaml.safe_dump(yaml.safe_load(text) | values)


def with_result(**values: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | values)


def bomb(text: str) -> str:
    """Ten levels of ten references each: ten billion strings, were they resolved."""
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 11)]
    return "\n".join(["a0: &a0 lol", *levels, text])


Damage = Callable[[str], str | bytes | None]
HOSTILE: dict[str, dict[str, Damage]] = {
    "metrics.csv": {
        "no metrics": lambda text: None,
        "truncated metrics": lambda text: text[: text.rindex(",") - 8],
        "ragged metrics": lambda text: text + "3,9\n",
        "blank line": lambda text: text + "\n",
        "words for numbers": lambda text: text + "3,9,low,lower,none\n",
        "no numbers": lambda text: text + "3,9,,,\n",
        "another header": lambda text: "a,b\n1,2\n",
        "no header": lambda text: "1,3,0.5,0.5,0.1\n",
        "empty metrics": lambda text: "",
        "binary metrics": lambda text: bytes(range(256)),
        "metrics in UTF-16": lambda text: text.encode("utf-16"),
        "NUL in metrics": lambda text: text.replace("1", "\0", 1),
        "huge field": lambda text: text + "1" * 200_000,
        "huge metrics": lambda text: bytes(tables.MAX_TABLE_BYTES + 1),
        "a million columns": lambda text: ",".join(["epoch,step", *map("c{}".format, range(10**6))]) + "\n",
        "two equal columns": lambda text: "epoch,step,lr,lr\n1,3,0.1,0.1\n2,6,0.1,0.1\n",
        "a column that is a path": lambda text: text.replace("val/loss", "../../x"),
        "escape codes in a column": lambda text: text.replace("val/loss", "val/\x1b[31m"),
        "a column of a long name": lambda text: text.replace("val/loss", "l" * 300),
        "an epoch that is not finite": lambda text: text.replace("\n1,", "\nnan,"),
        "a step that is not finite": lambda text: text.replace("\n1,3,", "\n1,-inf,"),
        "the same step twice": lambda text: text.replace("\n1,3,", "\n1,6,"),
        "steps backwards": lambda text: text.replace("\n1,3,", "\n1,30,"),
    },
    "timing.csv": {
        "no timing": lambda text: None,
        "timing without seconds": lambda text: "epoch,step\n1,2\n",
        "ragged timing": lambda text: text + "3,9\n",
        "timing beyond floats": lambda text: text + "3,9,1e308,0\n4,12,1e308,0\n",
        "seconds that are not finite": lambda text: text + "3,9,nan,0\n",
        "binary timing": lambda text: bytes(range(256)),
    },
    "result.json": {
        "cut result": lambda text: text[: len(text) // 2],
        "empty result": lambda text: "",
        "result is a list": lambda text: "[]",
        "result is text": lambda text: '"completed"',
        "result is a number": lambda text: "3",
        "result without status": lambda text: "{}",
        "status is a number": with_result(status=0),
        "status is a list": with_result(status=["completed"]),
        "status of no result": with_result(status="unfinished"),
        "steps are a text": with_result(steps="6"),
        "unknown status": with_result(status="\x1b[31mgreat"),
        "best is a list": with_result(best=[1]),
        "last is text": with_result(last="low"),
        "escape codes in a metric": with_result(best={"\x1b[31m": 0.1}),
        "steps that metrics.csv lacks": with_result(steps=7),
        "deep result": lambda text: "[" * 100_000,
        "huge result": lambda text: text + " " * layout.MAX_TEXT_BYTES,
        "long number": lambda text: '{"status": "completed", "x": ' + "9" * 5000 + "}",
        "binary result": lambda text: bytes(range(256)),
    },
    "config.yaml": {
        "no config": lambda text: None,
        "config is a list": lambda text: "- a\n- b\n",
        "config is empty": lambda text: "",
        "config is text": lambda text: "hello",
        "binary config": lambda text: bytes(range(256)),
        "config with an alias": lambda text: text + "a: &a 1\nb: *a\n",
        "a bomb of aliases": bomb,
        "config with a tag": lambda text: text + "a: !!python/object/apply:os.system [id]\n",
        "two documents": lambda text: text + "---\n" + text,
        "duplicate keys": lambda text: text + "seeds: [1]\n",
        "deep config": lambda text: text + "deep: " + "[" * 10_000,
        "deep blocks": lambda text: text + "".join(" " * i + "a:\n" for i in range(300)),
        "huge config": lambda text: text + "#" * layout.MAX_TEXT_BYTES,
        "config without variant": without("variant"),
        "config without name": without("name"),
        "config without seeds": without("seeds"),
        "two seeds": with_value(seeds=[0, 1]),
        "no seed": with_value(seeds=[]),
        "seed is text": with_value(seeds=["0"]),
        "seed is true": with_value(seeds=[True]),
        "seed is negative": with_value(seeds=[-1]),
        "seed is huge": with_value(seeds=[10**39]),
        "seeds is a mapping": with_value(seeds={"a": 1}),
        "name is a number": with_value(name=3),
        "name is a path": with_value(name="../tiny"),
        "variant is a list": with_value(variant=["batch"]),
        "variant is text": with_value(variant="batch"),
        "label is a number": with_value(variant={"label": 3, "index": 0}),
        "label with escape codes": lambda text: text.replace("label: none", r'label: "\e[31mred"'),
        "label with half a surrogate pair": lambda text: text.replace("label: none", r'label: "\ud800"'),
        "index is text": with_value(variant={"label": "batch", "index": "0"}),
        "index is huge": with_value(variant={"label": "batch", "index": 10**30}),
        "settings with escape codes": lambda text: text.replace("{model.norm: none}", r'{"\e[31m": none}'),
        "settings are a list": with_value(variant={"label": "none", "index": 0, "settings": [1]}),
    },
}


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in HOSTILE.items() for case in cases])
def test_one_bad_folder_costs_one_warning(tmp_path: Path, folders: list[Path], name: str, case: str) -> None:
    """A damaged or hostile folder is left out with one short line that names it; the other runs are still there."""
    bad = folders[2] / name
    content = HOSTILE[name][case](bad.read_text())
    bad.unlink()
    if content is not None:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    loaded, (warning,) = read_runs([tmp_path])
    assert names(loaded) == [("none", 0), ("batch", 0), ("batch", 1)]
    assert warning.startswith(f"{folders[2]}: skipped: ")
    assert warning.isprintable()
    assert len(warning) <= len(str(folders[2])) + 320


@pytest.mark.parametrize(
    ("name", "case", "message"),
    [
        ("result.json", "unknown status", "status: must be 'completed', 'stopped_early', 'diverged', 'failed' or"),
        ("result.json", "escape codes in a metric", "best.\ufffd[31m.[key]: must be the name of a metric"),
        ("result.json", "last is text", "last: must be a valid dictionary"),
        ("config.yaml", "seed is negative", "seeds.0: must be greater than or equal to 0"),
        ("config.yaml", "config without name", "name: Field required"),
        ("config.yaml", "config is a list", "must be a valid dictionary"),
    ],
)
def test_what_is_wrong_is_said(folders: list[Path], name: str, case: str, message: str) -> None:
    """The warning names the file, the key, and what its value must be."""
    damaged = HOSTILE[name][case]((folders[2] / name).read_text())
    assert isinstance(damaged, str)
    (folders[2] / name).write_text(damaged)
    _, (warning,) = read_runs([folders[2].parent])
    assert warning.startswith(f"{folders[2]}: skipped: {name}: {message}")


def test_hostile_folders_take_little_memory(tmp_path: Path) -> None:
    """Files as large as they may be are refused or read within bounds: far from what their bytes could become."""
    limit = tables.MAX_TABLE_BYTES
    contents = {
        "columns": "epoch,step" + ",c" * (limit // 2 - 10),
        "cells": METRICS + "1," * (limit // 2 - 100),
        "rows": "epoch,step\n" + "1,1\n" * (limit // 4 - 10),
    }
    for name, content in contents.items():
        (write_folder(tmp_path / name) / "metrics.csv").write_text(content)
    for name, content in {"brackets": "[" * layout.MAX_TEXT_BYTES, "lists": "x: [" + "[]," * 10_000 + "]"}.items():
        (write_folder(tmp_path / name) / "config.yaml").write_text(content)
    code = f"""
import resource
from pathlib import Path
from bncompare.runs import read_runs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
runs, warnings = read_runs([Path({str(tmp_path)!r})])
assert (len(runs), len(warnings)) == (0, 5), warnings
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 400, "MiB"


@pytest.mark.parametrize(
    ("error", "shown"), [("\x1b]0;owned\x07 γ", r"'\x1b]0;owned\x07 \u03b3'"), ("γ is gone", None)]
)
def test_texts_of_a_failed_run_are_printable(folders: list[Path], error: str, shown: str | None) -> None:
    """What an exception said goes to the terminal: control characters are shown, not obeyed."""
    (folders[0] / "result.json").write_text(json.dumps({"status": "failed", "error": error}))
    result = read_run(folders[0]).result
    assert result is not None
    assert result.to_plain() == {"status": "failed", "error": shown or error}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)
RESULTS = JSON | st.fixed_dictionaries(
    {
        "status": st.sampled_from([*Status, "?"]) | JSON,
        "best": JSON | st.dictionaries(st.sampled_from(["loss", "val/loss", "\x1b"]), JSON),
        "error": JSON,
        "steps": st.sampled_from([0, 1, 3]),
    }
)
CONFIGS = JSON | st.fixed_dictionaries(
    {
        "name": st.just("tiny") | JSON,
        "seeds": st.just([0]) | JSON,
        "variant": JSON | st.fixed_dictionaries({"label": st.just("a") | JSON, "index": st.just(0) | JSON}),
    }
)
CELL = st.sampled_from(["1", "0.5", "nan", "inf", "-1e999", "", "x", '"', "1_0", "\0", "é", "9" * 400])
ROWS = st.lists(st.lists(CELL, min_size=1, max_size=4).map(",".join), max_size=4).map("\n".join)
TABLE = st.binary(max_size=30) | ROWS.map(lambda rows: f"epoch,step,val/loss,lr\n{rows}".encode())


@settings(deadline=None, max_examples=150)
@given(config=CONFIGS, result=RESULTS, metrics=TABLE, timing=TABLE, environment=JSON | st.binary(max_size=20))
def test_hostile_values_cost_a_warning(
    config: Any, result: Any, metrics: bytes, timing: bytes, environment: Any
) -> None:
    """Whatever the files of a folder hold, reading it gives a run whose numbers can be asked for, or one warning."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        folder.mkdir()
        (folder / "config.yaml").write_bytes(json.dumps(config).encode())
        (folder / "result.json").write_bytes(json.dumps(result).encode())
        (folder / "metrics.csv").write_bytes(metrics)
        (folder / "timing.csv").write_bytes(timing.replace(b"lr", b"seconds"))
        is_bytes = isinstance(environment, bytes)
        (folder / "environment.json").write_bytes(environment if is_bytes else json.dumps(environment).encode())
        loaded, warnings = read_runs([Path(name)])
        assert len(loaded) + len(warnings) == 1
        assert all(warning.isprintable() for warning in warnings)
        for run in loaded:
            assert run.status in Status
            assert run.result is None or run.result.error.isprintable()
            assert len(run.elapsed) == len(run.metrics["step"])
            for value in (run.best("val/loss"), run.last("loss")):
                assert value is None or math.isfinite(value)
            assert all(key.isprintable() for key in run.environment)


@settings(deadline=None, max_examples=150)
@given(
    text=st.text(alphabet="abn: -[]{}\"'#&*!|>?%\n\t.0\x1b", max_size=40)
    | st.text(max_size=20)
    | st.binary(max_size=30).map(lambda content: content.decode(errors="replace"))
)
def test_hostile_yaml_costs_a_warning(text: str) -> None:
    """No text in place of config.yaml, nor one put before or after a good one, brings reading down."""
    with tempfile.TemporaryDirectory() as name:
        for i, content in enumerate((text, f"{text}\n{config_text()}", config_text() + text)):
            folder = write_folder(Path(name) / str(i))
            (folder / "config.yaml").write_bytes(content.encode(errors="replace"))
        loaded, warnings = read_runs([Path(name)])
        assert len(loaded) + len(warnings) == 3
        assert all(run.variant == "batch" for run in loaded)


@pytest.mark.parametrize("value", [10**400, 1e308, -1e100, True, "0.5", [0.5], {"a": 1}, math.nan, math.inf, None, 1])
def test_best_of_a_hostile_result(folders: list[Path], value: Any) -> None:
    """A metric in result.json that is no number, or none that a figure can show, is none."""
    (folders[0] / "result.json").write_text(json.dumps(RESULT | {"best": {"val/loss": value}}))
    assert read_run(folders[0]).best("val/loss") == (1.0 if value is not True and value == 1 else None)


@pytest.mark.parametrize("value", ["1e308", "-1e100", "1e400"])
def test_numbers_that_no_figure_could_show(folders: list[Path], value: str) -> None:
    """A metric far beyond float32 is infinite, so that no scale and no mean overflows."""
    (folders[0] / "metrics.csv").write_text(METRICS.replace("2,6,0.5", f"2,6,{value}"))
    run = read_run(folders[0])
    assert run.metrics["train/loss"] == [0.5, -math.inf if value.startswith("-") else math.inf]
    list(experiment_figures([run, read_run(folders[2])]))


GOOD_DIAGNOSTICS = "epoch,step,layer,quantity,value\n1,3,output,gradient norm,0.5\n"


@pytest.mark.parametrize(
    "rows",
    ["2,nan,output,gradient norm,1", "2,inf,output,gradient norm,1", "2,3,output,gradient norm,1",
     "nan,6,output,gradient norm,1", "2,2,output,gradient norm,1", "2,-6,output,gradient norm,1", "2,6,output,1"],
)  # fmt: skip
def test_hostile_diagnostics(folders: list[Path], rows: str) -> None:
    """Steps are finite and increase for each quantity; a table in which they do not is left out whole."""
    (folders[0] / "diagnostics.csv").write_text(f"{GOOD_DIAGNOSTICS}{rows}\n")
    with pytest.raises(ValueError, match=r"diagnostics\.csv has"):
        read_diagnostics(folders[0])
    assert read_run(folders[0]).diagnostics == []
    (folders[0] / "diagnostics.csv").write_text(f"{GOOD_DIAGNOSTICS}2,6,output,gradient norm,1e308\n")
    assert [row.value for row in read_diagnostics(folders[0])] == [0.5, math.inf]


@pytest.mark.parametrize(
    ("content", "environment"),
    [
        (b"", {}),
        (b"[]", {}),
        (b"\xff\xfe", {}),
        (b'{"versions": 3, "cpus": 2}', {"cpus": 2}),
        (b'{"versions": {"torch": "2", "a\\u001b": "1", "b": "\\u001b[0m", "c": []}}', {"versions": {"torch": "2"}}),
        (b'{"a": {"b": 1}, "c": [1], "d": null, "\\u001b": 1}', {"d": None}),
        (b'{"a": ' * 5000 + b"1" + b"}" * 5000, {}),
    ],
)
def test_hostile_environments(folders: list[Path], content: bytes, environment: dict[str, Any]) -> None:
    """Of environment.json only printable texts and numbers are taken; the run is there in any case."""
    (folders[0] / "environment.json").write_bytes(content)
    assert read_run(folders[0]).environment == environment
    (folders[0] / "environment.json").unlink()
    assert read_run(folders[0]).environment == {}


# ---------------------------------------------------------------- γ and β


def test_read_norm_parameters(tmp_path: Path) -> None:
    """γ and β of the norm layers are read; other weights and running statistics are not."""
    tensors = {
        "hidden.1.norm.weight": np.array([1.0, 2.0], np.float32),
        "hidden.1.norm.bias": np.array([0.5, -0.5], np.float32),
        "hidden.1.norm.running_mean": np.zeros(2, np.float32),
        "hidden.1.norm.num_batches_tracked": np.array(3),
        "hidden.0.linear.weight": np.ones((2, 2), np.float32),
        "hidden.0.norm.weight": np.array([3.0], np.float32),
    }
    (tmp_path / "best.safetensors").write_bytes(save_tensors(tensors))
    layers = read_norm_parameters(tmp_path)
    found = {layer: {name: value.tolist() for name, value in values.items()} for layer, values in layers.items()}
    expected = {"hidden.0.norm": {"weight": [3.0]}, "hidden.1.norm": {"weight": [1.0, 2.0], "bias": [0.5, -0.5]}}
    assert found == expected
    (tmp_path / "best.safetensors").unlink()  # as of a run that diverged at once
    assert read_norm_parameters(tmp_path) == {}


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


def gamma(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4), *, size: int = 4) -> bytes:
    """Weights with one γ, of some bytes."""
    return header(**{"a.norm.weight": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}) + bytes(size)


GIANT = gamma(shape=[10**9], offsets=[0, 4 * 10**9], size=0)
DAMAGED = [
    *(b"", b"junk", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0[]", header(**{"a.norm.weight": []}), GIANT),
    *(
        gamma(shape=[2**62, 2**62]),
        gamma(shape=[-1]),
        gamma(offsets=[-4, 0]),
        gamma(shape=[True]),
        gamma(dtype=["F32"]),
    ),
    *(gamma(size=3), gamma(size=5), (2**62).to_bytes(8, "little") + b"{}"),
    (100_000).to_bytes(8, "little") + b"[" * 100_000,
]


@pytest.mark.parametrize("case", range(len(DAMAGED)))
def test_damaged_weights(tmp_path: Path, case: int) -> None:
    """Weights that can't be read are an error that names the file."""
    (tmp_path / "best.safetensors").write_bytes(DAMAGED[case])
    with pytest.raises(UserError, match=r"best\.safetensors: cannot be read: its "):
        read_norm_parameters(tmp_path)


def test_giant_weights(tmp_path: Path) -> None:
    """γ of four gigabytes, in a file that takes no room, is refused and not read."""
    file = tmp_path / "best.safetensors"
    file.write_bytes(GIANT)
    os.truncate(file, len(GIANT) + 4 * 10**9)
    with pytest.raises(UserError, match="γ and β are larger than"):
        read_norm_parameters(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "size", "kinds"),
    [
        ("F16", 2, "f"),
        ("F64", 8, "f"),
        ("BF16", 2, ""),
        ("I64", 8, ""),
        ("F8_E4M3", 1, ""),
        ("BOOL", 1, ""),
        ("?", 1, ""),
    ],
)
def test_weights_of_other_types(tmp_path: Path, dtype: str, size: int, kinds: str) -> None:
    """Types that NumPy lacks or that γ and β never are are left out."""
    (tmp_path / "best.safetensors").write_bytes(gamma(dtype, offsets=[0, size], size=size))
    assert "".join(values["weight"].dtype.kind for values in read_norm_parameters(tmp_path).values()) == kinds


def test_names_and_shapes_of_hostile_weights(tmp_path: Path) -> None:
    """Names that a terminal would obey and tensors without elements are left out."""
    tensors = {
        "\x1b[31m.norm.weight": np.ones(1, np.float32),
        "a.norm.weight": np.ones((0, 3), np.float32),
        "a.norm.bias": np.ones(1, np.float32),
    }
    (tmp_path / "best.safetensors").write_bytes(save_tensors(tensors))
    assert {layer: sorted(values) for layer, values in read_norm_parameters(tmp_path).items()} == {"a.norm": ["bias"]}
