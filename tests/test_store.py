"""Run folders: whole files or none, the contract's names and columns, and reading back whatever is found there."""

import csv
import errno
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as save_tensors

from bncompare import store
from bncompare.config.expansion import load_experiment
from bncompare.config.schema import RunConfig
from bncompare.errors import StorageError, UserError
from bncompare.store import Run, RunStore, load_runs, parse_metrics, read_norm_parameters, read_run, write_atomic

TINY = """\
name: tiny
seeds: 2
data: {name: random_regression, samples: 32, test_samples: 16, features: 3, validation: 8}
model: {name: mlp, hidden: [4]}
training: {epochs: 2, batch_size: 8, device: cpu, optimizer: {name: sgd, lr: 0.1}}
compare: {model.norm: [none, batch]}
"""
VALUES = {"train/loss": 0.5, "val/loss": 0.25, "train/accuracy": 0.75, "val/accuracy": 0.5, "lr": 0.1}


def expand(*overrides: str) -> list[RunConfig]:
    """The runs of the tiny config."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.yaml"
        path.write_text(TINY)
        return load_experiment(path, overrides=overrides).runs


@pytest.fixture(scope="module")
def configs() -> list[RunConfig]:
    return expand()


def write_run(run: Run, status: str | None = "completed", evaluations: int = 2) -> Run:
    """What training leaves: two evaluations, a checkpoint and, with a status, a result."""
    run.begin({"versions": {}})
    for i in range(1, evaluations + 1):
        run.append(float(i), 3 * i, VALUES, 0.5, 100.0)
    run.save(b"snapshot")
    if status:
        best = {"epoch": 1.0, "step": 3, **VALUES, "test/loss": 0.125}
        result = {"status": status, "steps": 3 * evaluations, "best": best, "last": best | {"val/loss": math.nan}}
        run.finish(result, b"weights", b"png", b"snapshot")
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, configs: list[RunConfig]) -> Path:
    """A folder with four finished runs; not to be changed."""
    root = tmp_path_factory.mktemp("finished") / "runs"
    for config in configs:
        write_run(RunStore(root).run(config))
    return root


@pytest.fixture
def runs(tmp_path: Path, finished: Path, configs: list[RunConfig]) -> list[Run]:
    """Four finished runs below tmp_path/runs."""
    shutil.copytree(finished, tmp_path / "runs")
    return [RunStore(tmp_path / "runs").run(config) for config in configs]


# ---------------------------------------------------------------- write_atomic


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    """A file is written, and written over, whole; nothing else is left beside it."""
    path = tmp_path / "a.txt"
    for content in (b"a long first content", b"second", b""):
        write_atomic(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("call", ["replace", "fsync", "chmod"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, exists: bool
) -> None:
    """A full disk is a StorageError that names the file; the old file stays and no temporary one is left."""
    path = tmp_path / "result.json"
    if exists:
        path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError) as raised:
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert str(raised.value) == f"{path}: cannot be written: No space left on device"
    assert os.listdir(tmp_path) == (["result.json"] if exists else [])
    assert not exists or path.read_bytes() == b"old"


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SystemExit out of a signal handler, in the midst of a write, leaves the old file alone."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupt(*_: object) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(SystemExit):
        write_atomic(path, b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


def test_the_content_is_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the file, then the rename, then fsync of the folder: a power cut leaves the old or the new file."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        calls.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def record_replace(source: str, target: Path) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_atomic(tmp_path / "a", b"content")
    assert calls == ["fsync file", "replace", "fsync folder"]


def test_an_error_names_the_file_asked_for(tmp_path: Path) -> None:
    """Where the system's error names the temporary file, ours names the one that was to be written."""
    (tmp_path / "result.json").mkdir()
    with pytest.raises(StorageError) as raised:
        write_atomic(tmp_path / "result.json", b"new")
    assert str(tmp_path / "result.json") in str(raised.value)
    with pytest.raises(StorageError) as raised:
        write_atomic(tmp_path / "no" / "result.json", b"new")
    assert str(tmp_path / "no" / "result.json") in str(raised.value)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    """A group that shares a folder can read the runs in it, as the umask says; the umask itself is left as it was."""
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "a", b"")
    finally:
        assert os.umask(before) == umask
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


# ---------------------------------------------------------------- names of folders


@pytest.mark.parametrize(
    ("label", "slug"),
    [
        ("batch", "batch"),
        ("group groups=4", "group-groups-4"),
        ("../../etc/passwd", "etc-passwd"),
        ("a/b\\c", "a-b-c"),
        ("..", "variant"),
        ("γ und β", "und"),
        ("Größe", "Gr-e"),
        ("正規化", "variant"),
        ("x" * 120, "x" * 60),
        ("--help", "help"),
        (".hidden", "hidden"),
    ],
)
def test_folder_name(tmp_path: Path, configs: list[RunConfig], label: str, slug: str) -> None:
    """runs/<experiment>/<variant>-s<seed>-<digest8>, with any label made a plain file name below the experiment."""
    config = configs[2]
    config = config.model_copy(update={"variant": config.variant.model_copy(update={"label": label})})
    path = RunStore(tmp_path).run(config).path
    assert path == tmp_path / "tiny" / f"{slug}-s1-{config.digest}"
    assert len(config.digest) == 8
    path.mkdir(parents=True)
    assert path.resolve().parent == (tmp_path / "tiny").resolve()


# ---------------------------------------------------------------- Run


def test_state(tmp_path: Path, configs: list[RunConfig]) -> None:
    """new → begun with a checkpoint → finished with a result; a failed run is not finished."""
    run = RunStore(tmp_path).run(configs[0])
    assert run.state == "new"
    run.begin({})
    assert run.state == "new"
    run.save(b"")
    assert run.state == "begun"
    run.fail({"status": "failed", "error": "boom"})
    assert run.state == "begun"
    for status in ("diverged", "completed"):
        run.append(1.0, 3, VALUES, 0.5, 100.0)
        run.finish({"status": status, "steps": 3}, None, b"png", b"snapshot")
        assert run.state == "finished"
    run.clear()
    assert run.state == "new"
    assert list(run.path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "\xff\xfe",
        "{}",
        "[]",
        "null",
        "3",
        '"completed"',
        '{"status": 1}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_damaged_result_is_not_a_finished_run(tmp_path: Path, configs: list[RunConfig], content: str) -> None:
    """A run whose result.json says nothing sensible is trained again: nothing comes after its last checkpoint."""
    run = write_run(RunStore(tmp_path).run(configs[0]))
    (run.path / "result.json").write_text(content, encoding="latin-1")
    assert run.state == "new"


def test_beginning_again_forgets_the_result(tmp_path: Path, configs: list[RunConfig]) -> None:
    """While a run trains there is no result.json of an earlier attempt."""
    run = write_run(RunStore(tmp_path).run(configs[0]), status="failed")
    run.begin({})
    assert not (run.path / "result.json").exists()


def test_resume_gives_back_what_was_saved(tmp_path: Path, configs: list[RunConfig]) -> None:
    """The snapshot and the evaluations before it come back, and the tables go on where they ended."""
    snapshot = bytes(range(256)) * 40
    first = RunStore(tmp_path).run(configs[0])
    first.begin({})
    first.append(1.0, 3, VALUES, 0.5, 100.0)
    first.save(snapshot)
    first.append(2.0, 6, VALUES, 0.5, 100.0)  # evaluated after the checkpoint: lost
    second = RunStore(tmp_path).run(configs[0])
    assert second.resume() == snapshot
    assert len(second.metrics_lines) == len(second.timing_lines) == 1
    second.append(2.0, 6, VALUES, 0.5, 100.0)
    assert second.metrics_csv == first.metrics_csv


def test_no_checkpoint(tmp_path: Path, configs: list[RunConfig]) -> None:
    """Without a checkpoint there is nothing to resume."""
    assert RunStore(tmp_path).run(configs[0]).resume() is None


@pytest.mark.parametrize("cut", [0, 1, 31, 32, 33, 40, -1])
def test_a_truncated_checkpoint_is_not_resumed(tmp_path: Path, configs: list[RunConfig], cut: int) -> None:
    """A checkpoint cut off anywhere is as good as none."""
    run = write_run(RunStore(tmp_path).run(configs[0]), status=None)
    checkpoint = run.path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:cut])
    again = RunStore(tmp_path).run(configs[0])
    assert again.resume() is None
    assert again.metrics_lines == []


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path, configs: list[RunConfig]) -> None:
    """The checksum covers every byte of a checkpoint."""
    run = write_run(RunStore(tmp_path).run(configs[0]), status=None)
    checkpoint = run.path / "checkpoint.pt"
    content = checkpoint.read_bytes()
    for i in range(len(content)):
        checkpoint.write_bytes(content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :])
        assert RunStore(tmp_path).run(configs[0]).resume() is None
    checkpoint.write_bytes(content + b"\0")
    assert RunStore(tmp_path).run(configs[0]).resume() is None


def reject(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_result_is_strict_json(tmp_path: Path, configs: list[RunConfig]) -> None:
    """NaN and infinity, which JSON lacks, are null, at any depth."""
    run = RunStore(tmp_path).run(configs[0])
    run.begin({})
    result = {"status": "diverged", "last": {"loss": math.nan, "more": [math.inf, -math.inf, 1.5]}, "best": None}
    run.finish(result, None, b"png", b"snapshot")
    text = (run.path / "result.json").read_text()
    last = {"loss": None, "more": [None, None, 1.5]}
    assert json.loads(text, parse_constant=reject) == {"status": "diverged", "last": last, "best": None}
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("overrides", "header"),
    [
        (["data.validation=8"], "epoch,step,train/loss,val/loss,lr"),
        (["data.validation=0"], "epoch,step,train/loss,lr"),
        (["data={name: mnist, validation: 0.2}"], "epoch,step,train/loss,train/accuracy,val/loss,val/accuracy,lr"),
        (["data={name: mnist, validation: test}"], "epoch,step,train/loss,train/accuracy,val/loss,val/accuracy,lr"),
        (["data={name: fashion_mnist}"], "epoch,step,train/loss,train/accuracy,lr"),
    ],
)
def test_columns_of_metrics(tmp_path: Path, overrides: list[str], header: str) -> None:
    """metrics.csv has the contract's columns: validation where there is some, accuracy where there are classes."""
    config = expand(*overrides)[0]
    run = write_run(RunStore(tmp_path).run(config), status=None)
    names = header.split(",")[2:]
    rows = [",".join([str(i), str(3 * i), *(repr(VALUES[name]) for name in names)]) for i in (1, 2)]
    assert (run.path / "metrics.csv").read_text() == "\n".join([header, *rows]) + "\n"
    timing = "epoch,step,seconds,examples_per_second\n1,3,0.500000,100.0\n2,6,0.500000,100.0\n"
    assert (run.path / "timing.csv").read_text() == timing


def test_metrics_are_written_exactly(tmp_path: Path, configs: list[RunConfig]) -> None:
    """A float read back from metrics.csv is the float that was measured, NaN and infinity included."""
    run = RunStore(tmp_path).run(configs[0])
    values = [0.1 + 0.2, 1e-300, math.inf, -math.inf, 5e-324]
    for i, value in enumerate(values):
        run.append(i / 3, i, {"train/loss": value, "val/loss": math.nan, "lr": 0.1}, 0.0, 0.0)
    metrics = parse_metrics(run.metrics_csv)
    assert metrics["train/loss"] == values
    assert all(math.isnan(value) for value in metrics["val/loss"])


def test_config_of_a_run_is_a_config(tmp_path: Path, configs: list[RunConfig]) -> None:
    """The config.yaml in a run folder leads to the same run, in the same folder."""
    for config in configs:
        run = write_run(RunStore(tmp_path).run(config))
        (again,) = load_experiment(run.path / "config.yaml").runs
        assert again == config
        assert RunStore(tmp_path).run(again).path == run.path


def test_order_of_files_in_a_real_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configs: list[RunConfig]
) -> None:
    """config.yaml comes first and result.json last, so that *finished* means all the others are there."""
    from bncompare.experiment import plan, run_experiment

    names: list[str] = []

    def record(path: Path, content: bytes) -> None:
        names.append(path.name)
        write_atomic(path, content)

    monkeypatch.setattr(store, "write_atomic", record)
    events = list(run_experiment(plan(configs[:1], RunStore(tmp_path)), data_dir=None))
    assert len(events) == 2
    assert names[0] == "config.yaml"
    assert names.index("result.json") == len(names) - 1
    tables = ["metrics.csv", "timing.csv"]
    files = [
        "config.yaml",
        "environment.json",
        *tables,
        "curves.png",
        "checkpoint.pt",
        "best.safetensors",
        "result.json",
    ]
    assert sorted(set(names)) == sorted(files)
    (folder,) = (tmp_path / "tiny").iterdir()
    assert sorted(os.listdir(folder)) == sorted(files)


# ---------------------------------------------------------------- reading back


def test_read_run(runs: list[Run]) -> None:
    """A folder is read back as it was written."""
    run = read_run(runs[1].path)
    assert (run.experiment, run.variant, run.variant_index, run.seed) == ("tiny", "batch", 1, 0)
    assert run.metrics["step"] == [3, 6]
    assert run.metrics["val/loss"] == [0.25, 0.25]
    assert run.seconds == 1.0
    assert run.status == "completed"
    assert run.best("test/loss") == 0.125
    assert run.last("val/loss") is None, "NaN was written as null"
    assert run.best("no/such") is None
    assert run.config["model"]["norm"]["kind"] == "batch"


def test_an_unfinished_run_is_read(tmp_path: Path, configs: list[RunConfig]) -> None:
    """A run with a checkpoint but no result is unfinished and has no best."""
    run = read_run(write_run(RunStore(tmp_path).run(configs[0]), status=None).path)
    assert run.status == "unfinished"
    assert run.best("val/loss") is None
    assert run.metrics["step"] == [3, 6]


def test_load_runs_in_the_order_of_the_config(tmp_path: Path, runs: list[Run]) -> None:
    """Variants come as the config lists them (none before batch), then seeds; not as the folders are called."""
    loaded, warnings = load_runs([tmp_path])
    assert [(run.variant, run.seed) for run in loaded] == [("none", 0), ("none", 1), ("batch", 0), ("batch", 1)]
    assert warnings == []


def test_load_runs_from_overlapping_paths(tmp_path: Path, runs: list[Run]) -> None:
    """A run named twice, by itself and by a folder above it, is there once."""
    loaded, _ = load_runs([runs[0].path, tmp_path, tmp_path / "runs" / "tiny"])
    assert len(loaded) == len(runs)


def test_load_runs_from_nested_folders(tmp_path: Path, runs: list[Run]) -> None:
    """Runs are found some levels below a folder, and hidden folders are left alone."""
    (tmp_path / "a").mkdir()
    (tmp_path / "runs").rename(tmp_path / "a" / "runs")
    loaded, _ = load_runs([tmp_path])
    assert len(loaded) == 4
    (tmp_path / "a").rename(tmp_path / ".a")
    with pytest.raises(UserError, match="no run folders"):
        load_runs([tmp_path])


def test_symlinked_runs_are_not_followed(tmp_path: Path, runs: list[Run]) -> None:
    """A link in a folder of runs is not gone into: no run twice, no loop, nothing from elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(runs[0].path, target_is_directory=True)
    (tmp_path / "runs" / "tiny" / "loop").symlink_to(tmp_path / "runs", target_is_directory=True)
    with pytest.raises(UserError, match="no run folders"):
        load_runs([elsewhere])
    assert len(load_runs([tmp_path / "runs"])[0]) == 4


@pytest.mark.parametrize(("name", "message"), [("no", "no such folder"), ("file", "is a file"), ("empty", "no run")])
def test_load_runs_of_a_wrong_path(tmp_path: Path, name: str, message: str) -> None:
    """A path that can't hold runs is an error that names it."""
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message) as raised:
        load_runs([tmp_path / name])
    assert str(tmp_path / name) in str(raised.value)


def without(key: str) -> Callable[[str], str]:
    return lambda text: yaml.safe_dump({k: v for k, v in yaml.safe_load(text).items() if k != key})


def with_value(**values: Any) -> Callable[[str], str]:
    return lambda text: yaml.safe_dump(yaml.safe_load(text) | values)


DAMAGE: dict[str, tuple[str, Callable[[str], str | bytes | None]]] = {
    "truncated metrics": ("metrics.csv", lambda text: text[: text.rindex(",") - 8]),
    "ragged metrics": ("metrics.csv", lambda text: text + "3,9\n"),
    "blank line": ("metrics.csv", lambda text: text + "\n"),
    "words for numbers": ("metrics.csv", lambda text: text + "3,9,low,lower,none\n"),
    "another header": ("metrics.csv", lambda text: "a,b\n1,2\n"),
    "empty metrics": ("metrics.csv", lambda text: ""),
    "binary metrics": ("metrics.csv", lambda text: bytes(range(256))),
    "NUL in metrics": ("metrics.csv", lambda text: text.replace("1", "\0", 1)),
    "huge field": ("metrics.csv", lambda text: text + "1" * (csv.field_size_limit() + 1)),
    "huge metrics": ("metrics.csv", lambda text: text + "3,9,0.5,0.5,0.5\n" * 500),
    "no timing": ("timing.csv", lambda text: None),
    "timing without seconds": ("timing.csv", lambda text: "epoch,step\n1,2\n"),
    "ragged timing": ("timing.csv", lambda text: text + "3,9\n"),
    "timing beyond floats": ("timing.csv", lambda text: text + "3,9,1e308,0\n4,9,1e308,0\n"),
    "binary timing": ("timing.csv", lambda text: bytes(range(256))),
    "cut result": ("result.json", lambda text: text[: len(text) // 2]),
    "empty result": ("result.json", lambda text: ""),
    "result is a list": ("result.json", lambda text: "[]"),
    "result is text": ("result.json", lambda text: '"completed"'),
    "result is a number": ("result.json", lambda text: "3"),
    "result without status": ("result.json", lambda text: "{}"),
    "status is a number": ("result.json", lambda text: '{"status": 0}'),
    "deep result": ("result.json", lambda text: "[" * 100_000),
    "long number": ("result.json", lambda text: '{"status": "completed", "x": ' + "9" * 5000 + "}"),
    "binary result": ("result.json", lambda text: bytes(range(256))),
    "no config": ("config.yaml", lambda text: None),
    "config is a list": ("config.yaml", lambda text: "- a\n- b\n"),
    "config is empty": ("config.yaml", lambda text: ""),
    "config is text": ("config.yaml", lambda text: "hello"),
    "binary config": ("config.yaml", lambda text: bytes(range(256))),
    "config with an alias": ("config.yaml", lambda text: "a: &a 1\nb: *a\n"),
    "deep config": ("config.yaml", lambda text: "[" * 10_000),
    "config without variant": ("config.yaml", without("variant")),
    "config without name": ("config.yaml", without("name")),
    "config without seeds": ("config.yaml", without("seeds")),
    "two seeds": ("config.yaml", with_value(seeds=[0, 1])),
    "no seed": ("config.yaml", with_value(seeds=[])),
    "seed is text": ("config.yaml", with_value(seeds=["0"])),
    "seeds is a mapping": ("config.yaml", with_value(seeds={"a": 1})),
    "name is a number": ("config.yaml", with_value(name=3)),
    "variant is a list": ("config.yaml", with_value(variant=["batch"])),
    "variant is text": ("config.yaml", with_value(variant="batch")),
    "label is a number": ("config.yaml", with_value(variant={"label": 3, "index": 0})),
    "index is text": ("config.yaml", with_value(variant={"label": "batch", "index": "0"})),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_one_bad_folder_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Run], case: str
) -> None:
    """A damaged folder is left out with one line that names it; the other runs are still there."""
    monkeypatch.setattr(store, "MAX_FILE_BYTES", 6000 if case == "huge metrics" else store.MAX_FILE_BYTES)
    name, damage = DAMAGE[case]
    bad = runs[2].path / name
    content = damage(bad.read_text())
    if content is None:
        bad.unlink()
    else:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    loaded, warnings = load_runs([tmp_path])
    assert [(run.variant, run.seed) for run in loaded] == [("none", 0), ("batch", 0), ("batch", 1)]
    (warning,) = warnings
    assert warning.startswith(f"{runs[2].path}: ")
    assert "\n" not in warning


def test_a_folder_in_place_of_a_file(tmp_path: Path, runs: list[Run]) -> None:
    """A folder called result.json costs its run, no more."""
    (runs[0].path / "result.json").unlink()
    (runs[0].path / "result.json").mkdir()
    loaded, warnings = load_runs([tmp_path])
    assert (len(loaded), len(warnings)) == (3, 1)


def test_a_folder_that_cannot_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Run]) -> None:
    """A folder without read permission costs a warning, and the runs beside it are found."""
    (tmp_path / "runs" / "private").mkdir()
    listing = Path.iterdir

    def iterdir(path: Path) -> Any:
        if path.name == "private":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    loaded, warnings = load_runs([tmp_path])
    assert len(loaded) == 4
    assert len(warnings) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)
RESULT = JSON | st.fixed_dictionaries(
    {"status": st.sampled_from(["completed", "diverged", "?"]) | JSON, "best": JSON}
)
CONFIG = JSON | st.fixed_dictionaries(
    {
        "name": st.just("tiny") | JSON,
        "seeds": st.just([0]) | JSON,
        "variant": JSON | st.fixed_dictionaries({"label": st.just("a") | JSON, "index": st.just(0) | JSON}),
    }
)
CELL = st.sampled_from(["1", "0.5", "nan", "inf", "-1e999", "", "x", '"', "1_0", "\0", "é"])
ROWS = st.lists(st.lists(CELL, min_size=1, max_size=4).map(",".join), max_size=4).map("\n".join)
TABLE = st.binary(max_size=30) | ROWS.map(lambda rows: f"epoch,step,val/loss,lr\n{rows}".encode())


@settings(deadline=None, max_examples=100)
@given(config=CONFIG, result=RESULT, metrics=TABLE, timing=TABLE)
def test_hostile_values_cost_a_warning(config: Any, result: Any, metrics: bytes, timing: bytes) -> None:
    """Whatever the files of a folder hold, reading it gives a run whose numbers can be asked for, or one warning."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        folder.mkdir()
        (folder / "config.yaml").write_bytes(json.dumps(config).encode())
        (folder / "result.json").write_bytes(json.dumps(result).encode())
        (folder / "metrics.csv").write_bytes(metrics)
        (folder / "timing.csv").write_bytes(timing.replace(b"lr", b"seconds"))
        loaded, warnings = load_runs([Path(name)])
        assert len(loaded) + len(warnings) == 1
        for run in loaded:
            assert isinstance(run.status, str)
            assert all(isinstance(value, float | None) for value in (run.best("loss"), run.last("loss")))


@pytest.mark.parametrize("value", [pytest.param(10**400, id="beyond floats"), True, "0.5", [0.5], {"a": 1}])
def test_best_of_a_hostile_result(runs: list[Run], value: Any) -> None:
    """A metric in result.json that is no number, or none a float can hold, never raises."""
    (runs[0].path / "result.json").write_text(
        json.dumps({"status": "completed", "steps": 6, "best": {"val/loss": value}})
    )
    run = read_run(runs[0].path)
    assert isinstance(run.best("val/loss"), float | None)


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


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0[]"])
def test_damaged_weights(tmp_path: Path, content: bytes) -> None:
    """Weights that can't be read are an error that names the file."""
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"best\.safetensors"):
        read_norm_parameters(tmp_path)
