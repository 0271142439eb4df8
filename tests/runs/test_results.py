"""Reading run folders, whoever wrote them: a bad one costs a line, none leads elsewhere or stops a command."""

import errno
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
from safetensors.numpy import save as save_tensors

from bncompare.config import Status
from bncompare.errors import UserError
from bncompare.figures.catalogue import experiment_figures
from bncompare.runs import layout, tables
from bncompare.runs.read import LoadedRun, read_run, read_runs
from bncompare.runs.tables import read_diagnostics
from bncompare.runs.weights import read_norm_parameters

VARIANTS = ("none", "batch")
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
    for name in ("config.yaml", "metrics.csv", "timing.csv", "result.json"):
        (folders[0] / name).write_bytes((folders[0] / name).read_bytes().replace(b"\n", b"\r\n"))
    assert read_run(folders[0]) == before


def test_timing_may_lack_evaluations(folders: list[Path]) -> None:
    """A run that was killed between two files has an evaluation more in metrics.csv than in timing.csv."""
    (folders[0] / "timing.csv").write_text("".join(TIMING.splitlines(keepends=True)[:-1]))
    (folders[0] / "result.json").unlink()
    run = read_run(folders[0])
    assert run.status == "unfinished"
    assert run.seconds == 0.5
    assert run.elapsed == [0.5, pytest.approx(math.nan, nan_ok=True)]


def test_load_runs_in_the_order_of_the_config(tmp_path: Path, folders: list[Path]) -> None:
    """Variants come as the config lists them (none before batch), then seeds; not as the folders are called."""
    loaded, warnings = read_runs([tmp_path])
    assert names(loaded) == [("none", 0), ("none", 1), ("batch", 0), ("batch", 1)]
    assert warnings == []


def test_load_runs_from_overlapping_paths(tmp_path: Path, folders: list[Path]) -> None:
    """A run named twice, by itself and by a folder above it, is there once."""
    loaded, _ = read_runs([folders[0], tmp_path, tmp_path / "runs" / "tiny"])
    assert len(loaded) == len(folders)


def test_load_runs_from_nested_folders(tmp_path: Path, folders: list[Path]) -> None:
    """Runs are found some levels below a folder, and hidden folders are left alone."""
    (tmp_path / "a").mkdir()
    (tmp_path / "runs").rename(tmp_path / "a" / "runs")
    assert len(read_runs([tmp_path])[0]) == 4
    (tmp_path / "a").rename(tmp_path / ".a")
    with pytest.raises(UserError, match="no run folders"):
        read_runs([tmp_path])


@pytest.mark.parametrize(("name", "message"), [("no", "no such folder"), ("file", "is a file"), ("empty", "no run")])
def test_load_runs_of_a_wrong_path(tmp_path: Path, name: str, message: str) -> None:
    """A path that can't hold runs is an error that names it."""
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message) as raised:
        read_runs([tmp_path / name])
    assert str(tmp_path / name) in str(raised.value)


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


def link(path: Path) -> None:
    target = path.parents[2] / f"elsewhere-{path.name}"
    path.rename(target)
    path.symlink_to(target)


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "timing.csv", "result.json"])
@pytest.mark.parametrize("replace", [link, dangling_link, pipe, device, directory])
def test_only_regular_files_are_read(
    tmp_path: Path, folders: list[Path], replace: Callable[[Path], None], name: str
) -> None:
    """A link that leads out of the folder, a pipe without an end, a device: a line names the file."""
    replace(folders[2] / name)
    loaded, (warning,) = read_runs([tmp_path])
    assert names(loaded) == [("none", 0), ("batch", 0), ("batch", 1)]
    reason = "not a regular file" if replace in (pipe, directory) else "is a link"
    assert warning == f"{folders[2]}: skipped: {name}: {reason}"


@pytest.mark.parametrize("replace", [link, dangling_link, pipe, device, directory])
def test_environment_and_weights_of_another_kind(folders: list[Path], replace: Callable[[Path], None]) -> None:
    """The same for the files that are read later: no environment, and weights that cannot be read."""
    (folders[0] / "best.safetensors").write_bytes(save_tensors({"a.norm.weight": np.ones(2, np.float32)}))
    replace(folders[0] / "best.safetensors")
    replace(folders[0] / "environment.json")
    assert read_run(folders[0]).environment == {}
    with pytest.raises(UserError, match=r"best\.safetensors: cannot be read: (is a link|not a regular file)"):
        read_norm_parameters(folders[0])


# ---------------------------------------------------------------- bad folders


def test_a_folder_that_cannot_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: list[Path]
) -> None:
    """A folder without read permission costs a warning, and the runs beside it are found."""
    (tmp_path / "runs" / "private").mkdir()
    listing = os.listdir

    def listdir(path: Path) -> list[str]:
        if path.name == "private":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "listdir", listdir)
    loaded, warnings = read_runs([tmp_path])
    assert len(loaded) == 4
    assert warnings == [f"{tmp_path / 'runs' / 'private'}: skipped: Permission denied"]


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


HOSTILE: dict[str, tuple[str, Callable[[str], str | bytes | None]]] = {
    "no metrics": ("metrics.csv", lambda text: None),
    "truncated metrics": ("metrics.csv", lambda text: text[: text.rindex(",") - 8]),
    "ragged metrics": ("metrics.csv", lambda text: text + "3,9\n"),
    "blank line": ("metrics.csv", lambda text: text + "\n"),
    "words for numbers": ("metrics.csv", lambda text: text + "3,9,low,lower,none\n"),
    "no numbers": ("metrics.csv", lambda text: text + "3,9,,,\n"),
    "another header": ("metrics.csv", lambda text: "a,b\n1,2\n"),
    "no header": ("metrics.csv", lambda text: "1,3,0.5,0.5,0.1\n"),
    "empty metrics": ("metrics.csv", lambda text: ""),
    "binary metrics": ("metrics.csv", lambda text: bytes(range(256))),
    "metrics in UTF-16": ("metrics.csv", lambda text: text.encode("utf-16")),
    "NUL in metrics": ("metrics.csv", lambda text: text.replace("1", "\0", 1)),
    "huge field": ("metrics.csv", lambda text: text + "1" * 200_000),
    "huge metrics": ("metrics.csv", lambda text: text + "3,9,0.5,0.5,0.5\n" * 500),
    "a million columns": (
        "metrics.csv",
        lambda text: ",".join(["epoch,step", *map("c{}".format, range(10**6))]) + "\n",
    ),
    "two equal columns": ("metrics.csv", lambda text: "epoch,step,lr,lr\n1,3,0.1,0.1\n2,6,0.1,0.1\n"),
    "a column that is a path": ("metrics.csv", lambda text: text.replace("val/loss", "../../x")),
    "escape codes in a column": ("metrics.csv", lambda text: text.replace("val/loss", "val/\x1b[31m")),
    "a column of a long name": ("metrics.csv", lambda text: text.replace("val/loss", "l" * 300)),
    "an epoch that is not finite": ("metrics.csv", lambda text: text.replace("\n1,", "\nnan,")),
    "a step that is not finite": ("metrics.csv", lambda text: text.replace("\n1,3,", "\n1,-inf,")),
    "the same step twice": ("metrics.csv", lambda text: text.replace("\n1,3,", "\n1,6,")),
    "steps backwards": ("metrics.csv", lambda text: text.replace("\n1,3,", "\n1,30,")),
    "no timing": ("timing.csv", lambda text: None),
    "timing without seconds": ("timing.csv", lambda text: "epoch,step\n1,2\n"),
    "ragged timing": ("timing.csv", lambda text: text + "3,9\n"),
    "timing beyond floats": ("timing.csv", lambda text: text + "3,9,1e308,0\n4,12,1e308,0\n"),
    "seconds that are not finite": ("timing.csv", lambda text: text + "3,9,nan,0\n"),
    "binary timing": ("timing.csv", lambda text: bytes(range(256))),
    "cut result": ("result.json", lambda text: text[: len(text) // 2]),
    "empty result": ("result.json", lambda text: ""),
    "result is a list": ("result.json", lambda text: "[]"),
    "result is text": ("result.json", lambda text: '"completed"'),
    "result is a number": ("result.json", lambda text: "3"),
    "result without status": ("result.json", lambda text: "{}"),
    "status is a number": ("result.json", with_result(status=0)),
    "status is a list": ("result.json", with_result(status=["completed"])),
    "unknown status": ("result.json", with_result(status="\x1b[31mgreat")),
    "best is a list": ("result.json", with_result(best=[1])),
    "last is text": ("result.json", with_result(last="low")),
    "escape codes in a metric": ("result.json", with_result(best={"\x1b[31m": 0.1})),
    "steps that metrics.csv lacks": ("result.json", with_result(steps=7)),
    "deep result": ("result.json", lambda text: "[" * 100_000),
    "huge result": ("result.json", lambda text: text + " " * layout.MAX_TEXT_BYTES),
    "long number": ("result.json", lambda text: '{"status": "completed", "x": ' + "9" * 5000 + "}"),
    "binary result": ("result.json", lambda text: bytes(range(256))),
    "no config": ("config.yaml", lambda text: None),
    "config is a list": ("config.yaml", lambda text: "- a\n- b\n"),
    "config is empty": ("config.yaml", lambda text: ""),
    "config is text": ("config.yaml", lambda text: "hello"),
    "binary config": ("config.yaml", lambda text: bytes(range(256))),
    "config with an alias": ("config.yaml", lambda text: text + "a: &a 1\nb: *a\n"),
    "a bomb of aliases": ("config.yaml", bomb),
    "config with a tag": ("config.yaml", lambda text: text + "a: !!python/object/apply:os.system [id]\n"),
    "two documents": ("config.yaml", lambda text: text + "---\n" + text),
    "duplicate keys": ("config.yaml", lambda text: text + "seeds: [1]\n"),
    "deep config": ("config.yaml", lambda text: text + "deep: " + "[" * 10_000),
    "deep blocks": ("config.yaml", lambda text: text + "".join(" " * i + "a:\n" for i in range(300))),
    "huge config": ("config.yaml", lambda text: text + "#" * layout.MAX_TEXT_BYTES),
    "config without variant": ("config.yaml", without("variant")),
    "config without name": ("config.yaml", without("name")),
    "config without seeds": ("config.yaml", without("seeds")),
    "two seeds": ("config.yaml", with_value(seeds=[0, 1])),
    "no seed": ("config.yaml", with_value(seeds=[])),
    "seed is text": ("config.yaml", with_value(seeds=["0"])),
    "seed is true": ("config.yaml", with_value(seeds=[True])),
    "seed is negative": ("config.yaml", with_value(seeds=[-1])),
    "seed is huge": ("config.yaml", with_value(seeds=[10**39])),
    "seeds is a mapping": ("config.yaml", with_value(seeds={"a": 1})),
    "name is a number": ("config.yaml", with_value(name=3)),
    "name is a path": ("config.yaml", with_value(name="../tiny")),
    "variant is a list": ("config.yaml", with_value(variant=["batch"])),
    "variant is text": ("config.yaml", with_value(variant="batch")),
    "label is a number": ("config.yaml", with_value(variant={"label": 3, "index": 0})),
    "label with escape codes": ("config.yaml", lambda text: text.replace("label: none", r'label: "\e[31mred"')),
    "label with half a surrogate pair": ("config.yaml", lambda text: text.replace("label: none", r'label: "\ud800"')),
    "index is text": ("config.yaml", with_value(variant={"label": "batch", "index": "0"})),
    "index is huge": ("config.yaml", with_value(variant={"label": "batch", "index": 10**30})),
    "settings with escape codes": (
        "config.yaml",
        lambda text: text.replace("{model.norm: none}", r'{"\e[31m": none}'),
    ),
    "settings are a list": ("config.yaml", with_value(variant={"label": "none", "index": 0, "settings": [1]})),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_one_bad_folder_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: list[Path], case: str
) -> None:
    """A damaged or hostile folder is left out with one short line that names it; the other runs are still there."""
    if case == "huge metrics":
        monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 6000)
    name, damage = HOSTILE[case]
    bad = folders[2] / name
    content = damage(bad.read_text())
    if content is None:
        bad.unlink()
    else:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    loaded, (warning,) = read_runs([tmp_path])
    assert names(loaded) == [("none", 0), ("batch", 0), ("batch", 1)]
    assert warning.startswith(f"{folders[2]}: skipped: ")
    assert warning.isprintable()
    assert len(warning) <= len(str(folders[2])) + 320


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


def test_texts_of_a_failed_run_are_printable(folders: list[Path]) -> None:
    """What an exception said goes to the terminal: control characters are shown, not obeyed."""
    (folders[0] / "result.json").write_text(json.dumps({"status": "failed", "error": "\x1b]0;owned\x07 γ"}))
    run = read_run(folders[0])
    assert run.result is not None
    assert run.result.error.isprintable()
    (folders[0] / "result.json").write_text(json.dumps({"status": "failed", "error": "γ is gone"}))
    run = read_run(folders[0])
    assert run.result is not None
    assert run.result.to_plain() == {"status": "failed", "error": "γ is gone"}


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


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(10**400, None, id="beyond floats"),
        (True, None),
        ("0.5", None),
        ([0.5], None),
        ({"a": 1}, None),
        (math.nan, None),
        (math.inf, None),
        (1, 1.0),
    ],
)
def test_best_of_a_hostile_result(folders: list[Path], value: Any, number: float | None) -> None:
    """A metric in result.json that is no number, or none a float can hold, is none."""
    (folders[0] / "result.json").write_text(json.dumps(RESULT | {"best": {"val/loss": value}}))
    assert read_run(folders[0]).best("val/loss") == number


@pytest.mark.parametrize("value", ["1e308", "-1e100", "1e400"])
def test_numbers_that_no_figure_could_show(folders: list[Path], value: str) -> None:
    """A metric far beyond float32 is infinite, so that no scale and no mean overflows."""
    expected = -math.inf if value.startswith("-") else math.inf
    lines = (folders[0] / "metrics.csv").read_text().splitlines()
    last = lines[-1].split(",")
    (folders[0] / "metrics.csv").write_text("\n".join([*lines[:-1], ",".join([*last[:2], value, *last[3:]])]) + "\n")
    (folders[0] / "result.json").write_text(
        json.dumps(RESULT | {"best": {"val/loss": 0.0}}).replace('"val/loss": 0.0', f'"val/loss": {value}')
    )
    run = read_run(folders[0])
    assert run.metrics[lines[0].split(",")[2]][-1] == expected
    assert run.best("val/loss") is None
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


def test_no_weights_no_parameters(tmp_path: Path) -> None:
    """A run without best weights, such as one that diverged at once, has no γ and β to show."""
    assert read_norm_parameters(tmp_path) == {}


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        b"\xff" * 100,
        b"\x02\0\0\0\0\0\0\0[]",
        header(**{"a.norm.weight": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}),
        header(**{"a.norm.weight": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}) + b"\0" * 4,
        header(**{"a.norm.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + b"\0" * 4,
        header(**{"a.norm.weight": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}) + b"\0" * 4,
        header(**{"a.norm.weight": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}) + b"\0" * 4,
        header(**{"a.norm.weight": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}) + b"\0" * 4,
        header(**{"a.norm.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + b"\0" * 3,
        header(**{"a.norm.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + b"\0" * 5,
        header(**{"a.norm.weight": []}),
        (2**62).to_bytes(8, "little") + b"{}",
        pytest.param((100_000).to_bytes(8, "little") + b"[" * 100_000, id="deep"),
    ],
)
def test_damaged_weights(tmp_path: Path, content: bytes) -> None:
    """Weights that can't be read are an error that names the file."""
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"best\.safetensors"):
        read_norm_parameters(tmp_path)


def test_giant_weights(tmp_path: Path) -> None:
    """γ of four gigabytes, in a file that takes no room, is refused and not read."""
    shape = {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}
    file = tmp_path / "best.safetensors"
    file.write_bytes(header(**{"a.norm.weight": shape}))
    os.truncate(file, file.stat().st_size + 4 * 10**9)
    with pytest.raises(UserError, match="γ and β are larger than"):
        read_norm_parameters(tmp_path)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F64", "F8_E4M3", "I64", "BOOL", "?"])
def test_weights_of_other_types(tmp_path: Path, dtype: str) -> None:
    """Types that NumPy lacks or that γ and β never are end in numbers, nothing or an error: no traceback."""
    size = {"BF16": 2, "F16": 2, "F64": 8, "I64": 8}.get(dtype, 1)
    content = header(**{"a.norm.weight": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}) + b"\0" * size
    (tmp_path / "best.safetensors").write_bytes(content)
    try:
        layers = read_norm_parameters(tmp_path)
    except UserError:
        return
    assert all(values["weight"].dtype.kind == "f" for values in layers.values())


def test_names_and_shapes_of_hostile_weights(tmp_path: Path) -> None:
    """Names that a terminal would obey and tensors without elements are left out."""
    tensors = {
        "\x1b[31m.norm.weight": np.ones(1, np.float32),
        "a.norm.weight": np.ones((0, 3), np.float32),
        "a.norm.bias": np.ones(1, np.float32),
    }
    (tmp_path / "best.safetensors").write_bytes(save_tensors(tensors))
    assert {layer: sorted(values) for layer, values in read_norm_parameters(tmp_path).items()} == {"a.norm": ["bias"]}
