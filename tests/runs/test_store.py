"""Run folders: whole files or none, the contract's names and columns."""

import errno
import fcntl
import math
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import TINY, strict

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.errors import StorageError, UserError
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.runs.files import write_atomic, write_output
from bncompare.runs.folder import RunFolder, RunStore
from bncompare.runs.layout import CHECKPOINTS, FILES
from bncompare.runs.read import read_run

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


@pytest.fixture
def run(tmp_path: Path, configs: list[RunConfig]) -> RunFolder:
    """A folder that is not there yet."""
    return RunStore(tmp_path).run(configs[0])


def write_run(run: RunFolder, status: str | None = "completed", evaluations: int = 2) -> RunFolder:
    """What training leaves: two evaluations, a checkpoint and, with a status, a result."""
    run.begin({"versions": {}})
    for i in range(1, evaluations + 1):
        run.append(float(i), 3 * i, VALUES, 0.5, 100.0)
    run.save(b"snapshot")
    if status:
        best = {"epoch": 1.0, "step": 3, **VALUES, "test/loss": 0.125}
        result = {"status": status, "steps": 3 * evaluations, "best": best, "last": best | {"val/loss": math.nan}}
        run.finish(result, b"weights", b"snapshot")
    return run


# ---------------------------------------------------------------- write_atomic


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    """A file is written, and written over, whole; nothing else is left beside it."""
    path = tmp_path / "a.txt"
    for content in (b"a long first content", b"second", b""):
        write_atomic(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("call", ["replace", "fsync", "chmod"])
@pytest.mark.parametrize("before", [{"result.json": b"old"}, {}])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SystemExit(143)])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, before: dict[str, bytes], error: BaseException
) -> None:
    """A full disk is a StorageError that names the file, and a signal handler may exit in the midst of a write: the
    old file stays and no temporary one is left."""
    path = tmp_path / "result.json"
    for content in before.values():
        path.write_bytes(content)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises((StorageError, SystemExit)) as raised:
        write_atomic(path, b"new")
    assert str(raised.value) in (f"{path}: cannot be written: No space left on device", "143")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_content_is_on_disk_before_the_name(monkeypatch: pytest.MonkeyPatch, run: RunFolder) -> None:
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
    run.begin({})
    assert calls == ["replace", "replace", "fsync folder"]  # nothing yet that the same command would not write again
    calls.clear()
    run.append(1.0, 3, VALUES, 0.5, 100.0)
    run.save(b"snapshot")
    before = timing = environment = ["replace"]
    metrics = checkpoint = ["fsync file", "replace"]
    assert calls == [*before, *timing, *metrics, *checkpoint, "fsync folder"]
    calls.clear()
    run.finish({"status": "completed"}, b"weights", b"snapshot")
    weights = ["fsync file", "replace"]
    assert calls[-3:] == ["fsync file", "replace", "fsync folder"]  # result.json, after all others are there for good
    assert calls[:-3] == [*before, *environment, *timing, *metrics, *weights, *checkpoint, "fsync folder"]


@pytest.mark.parametrize("name", ["folder", "no/result.json"])
def test_an_error_names_the_file_asked_for(tmp_path: Path, name: str) -> None:
    """Where the system's error names the temporary file, ours names the one that was to be written."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=f"^{tmp_path / name}: cannot be written: "):
        write_atomic(tmp_path / name, b"new")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    """A group that shares a folder can read the runs in it, as the umask says; the umask itself is left as it was."""
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "a", b"")
    finally:
        assert os.umask(before) == umask
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def a_link(path: Path, target: Path) -> None:
    target.write_bytes(b"old")
    path.symlink_to(target)


OUTPUTS: dict[str, Callable[[Path, Path], None]] = {
    "nothing": lambda path, target: None,
    "a file": lambda path, target: path.write_bytes(b"old") and None,
    "a link": a_link,
    "a dangling link": Path.symlink_to,
    "a pipe": lambda path, target: os.mkfifo(path),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_goes_where_its_name_leads(tmp_path: Path, case: str) -> None:
    """A file that a person asked for replaces a file; links, pipes and devices stay what they are."""
    path, target = tmp_path / "out", tmp_path / "target"
    OUTPUTS[case](path, target)
    before = stat.S_IFMT(path.lstat().st_mode) if case != "nothing" else stat.S_IFREG
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if case == "a pipe" else None
    write_output(path, b"new")
    assert stat.S_IFMT(path.lstat().st_mode) == before
    assert (os.read(descriptor, 9) if descriptor is not None else path.read_bytes()) == b"new"
    assert target.exists() == ("link" in case)
    if descriptor is not None:
        os.close(descriptor)


@pytest.mark.parametrize(("make", "why"), [(Path.mkdir, "Is a directory"), (lambda p: p.symlink_to(p), "is a link")])
def test_an_output_that_cannot_be_written(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    """It is an error that names it."""
    path = tmp_path / "out"
    make(path)
    with pytest.raises(StorageError) as raised:
        write_output(path, b"new")
    assert str(raised.value) == f"{path}: cannot be written: {why}"


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


def test_state(run: RunFolder) -> None:
    """new → begun with a checkpoint → finished with a result; a failed run is not finished."""
    assert run.examine().state == "new"
    run.begin({})
    assert run.examine().state == "new"
    run.save(b"")
    assert run.examine().state == "begun"
    run.fail({"status": "failed", "error": "boom"})
    assert run.examine().state == "begun"
    run.begin({})
    assert not (run.path / "result.json").exists()  # while a run trains there is none of an earlier attempt
    for step, status in ((3, "diverged"), (6, "completed")):
        run.append(step / 3, step, VALUES, 0.5, 100.0)
        run.finish({"status": status, "steps": step}, None, b"snapshot")
        assert run.examine().state == "finished"
    run.clear()
    assert run.examine().state == "new"
    assert list(run.path.iterdir()) == []


DAMAGED = ["", "{", "\xff\xfe", "{}", "[]", "null", "3", '"completed"', '{"status": 1}', "[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_result_is_not_a_finished_run(run: RunFolder, content: str) -> None:
    """A run whose result.json says nothing sensible is trained again: nothing comes after its last checkpoint."""
    write_run(run)
    (run.path / "result.json").write_text(content, encoding="latin-1")
    found = run.examine()
    assert (found.state, found.checkpoint) == ("damaged", None)
    (problem,) = found.problems
    assert problem.startswith(f"{run.path}: damaged: ")
    assert problem.endswith("; the run starts over")


def test_resume_gives_back_what_was_saved(tmp_path: Path, configs: list[RunConfig]) -> None:
    """The snapshot and the evaluations before it come back, and the tables go on where they ended."""
    snapshot = bytes(range(256)) * 40
    first = RunStore(tmp_path).run(configs[0])
    first.begin({"machine": "m"})
    first.append(1.0, 3, VALUES, 0.5, 100.0)
    first.save(snapshot)
    first.append(2.0, 6, VALUES, 0.5, 100.0)  # evaluated after the checkpoint: lost
    second = RunStore(tmp_path).run(configs[0])
    checkpoint = second.resume()
    assert checkpoint is not None
    assert (checkpoint.snapshot, checkpoint.made_on, checkpoint.is_final) == (snapshot, {"machine": "m"}, False)
    assert [len(lines) for lines in second.tables.lines.values()] == [1, 1, 0]
    second.append(2.0, 6, VALUES, 0.5, 100.0)
    assert second.tables == first.tables


@pytest.mark.parametrize("cut", [None, 0, 1, 31, 32, 33, 40, -1])
def test_a_truncated_checkpoint_is_not_resumed(tmp_path: Path, run: RunFolder, cut: int | None) -> None:
    """A checkpoint cut off anywhere is as good as none."""
    checkpoint = write_run(run, status=None).path / "checkpoint.pt"
    if cut is None:
        checkpoint.unlink()
    else:
        checkpoint.write_bytes(checkpoint.read_bytes()[:cut])
    again = RunStore(tmp_path).run(run.config)
    assert again.resume() is None
    assert again.tables.lines["metrics"] == []


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path, run: RunFolder) -> None:
    """The checksum covers every byte of a checkpoint."""
    write_run(run, status=None)
    checkpoint = run.path / "checkpoint.pt"
    content = checkpoint.read_bytes()
    for i in range(len(content)):
        checkpoint.write_bytes(content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :])
        assert RunStore(tmp_path).run(run.config).resume() is None
    checkpoint.write_bytes(content + b"\0")
    assert RunStore(tmp_path).run(run.config).resume() is None


def test_result_is_strict_json(run: RunFolder) -> None:
    """NaN and infinity, which JSON lacks, are null, at any depth."""
    run.begin({})
    result = {"status": "diverged", "last": {"loss": math.nan, "more": [math.inf, -math.inf, 1.5]}, "best": None}
    run.finish(result, None, b"snapshot")
    text = (run.path / "result.json").read_text()
    last = {"loss": None, "more": [None, None, 1.5]}
    assert strict(text) == {"status": "diverged", "last": last, "best": None}
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


def test_metrics_are_written_exactly(run: RunFolder) -> None:
    """A float read back from metrics.csv is the float that was measured, NaN and infinity included."""
    values = [0.1 + 0.2, 1e-300, math.inf, -math.inf, 5e-324]
    for i, value in enumerate(values):
        run.append(i / 3, i, {"train/loss": value, "val/loss": math.nan, "lr": 0.1}, 0.0, 0.0)
    metrics = run.tables.columns()
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
    names: list[str] = []
    replace = os.replace

    def record(source: str, target: Path) -> None:
        names.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", record)
    events = list(run_experiment(plan_runs(configs[:1], RunStore(tmp_path)), data_dir=None))
    assert len([event for event in events if event.record]) == 2
    assert (names[0], names.index("result.json")) == ("config.yaml", len(names) - 1)
    (folder,) = (tmp_path / "tiny").iterdir()
    left_out = {"diagnostics.csv", "predictions.csv", *CHECKPOINTS}
    assert set(names) == set(os.listdir(folder)) == set(FILES) - left_out


def test_a_folder_is_read_as_it_was_written(tmp_path: Path, configs: list[RunConfig]) -> None:
    """What the store wrote is what `read_run` gives; NaN in result.json was written as null."""
    run = read_run(write_run(RunStore(tmp_path).run(configs[1])).path)
    assert (run.experiment, run.variant, run.variant_index, run.seed) == ("tiny", "batch", 1, 0)
    assert run.metrics["step"] == [3, 6]
    assert run.metrics["val/loss"] == [0.25, 0.25]
    assert (run.seconds, run.elapsed) == (1.0, [0.5, 1.0])
    assert run.status == "completed"
    assert run.best("test/loss") == 0.125
    assert run.last("val/loss") is None
    assert run.config["model"]["norm"]["kind"] == "batch"
    assert run.environment == {"versions": {}}


def test_an_unfinished_run_is_read(run: RunFolder) -> None:
    """A run with a checkpoint but no result is unfinished and has no best."""
    read = read_run(write_run(run, status=None).path)
    assert (read.status, read.best("val/loss"), read.metrics["step"]) == ("unfinished", None, [3, 6])


@pytest.mark.parametrize(
    ("key", "overrides"),
    [
        (None, ["training.epochs=100000"]),
        ("training.eval_every", ["training.epochs=1000000"]),
        ("training.eval_every", ["training.epochs=null", "training.steps=1000000", "training.eval_every=1"]),
        (None, ["training.epochs=1000000", "training.eval_every=100"]),
        ("diagnostics.every", ["training.epochs=100000", "diagnostics.activations=true"]),
        (None, ["training.epochs=100000", "diagnostics.activations=true", "diagnostics.every=100"]),
        ("diagnostics.every", ["model.hidden=[65536, 65536, 65536]", "diagnostics.norm_parameters=true"]),
    ],
)
def test_a_run_whose_tables_would_not_be_read(key: str | None, overrides: list[str]) -> None:
    """It would be trained for nothing, again and again: the config is refused, with the key that mends it."""
    if key is None:
        assert expand(*overrides)
        return
    with pytest.raises(UserError, match=rf"{key}: .* evaluations make .*\.csv up to .* no more than 32 are read"):
        expand(*overrides)


# ---------------------------------------------------------------- locks


def test_one_writer(tmp_path: Path, configs: list[RunConfig]) -> None:
    """A run has one writer at a time; the lock leaves no file behind."""
    first, second = RunStore(tmp_path).run(configs[0]), RunStore(tmp_path).run(configs[0])
    assert first.lock()
    assert not second.lock()
    first.unlock()
    assert list((tmp_path / "tiny").iterdir()) == []
    assert second.lock()
    assert not first.lock()
    second.unlock()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_lock_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, run: RunFolder, number: int) -> None:
    """A file system without locks is an error about locking, and leaves no file open."""
    descriptors = list[int]()

    def fail(descriptor: int, operation: int) -> None:
        descriptors.append(descriptor)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(StorageError, match=f"cannot be locked: {os.strerror(number)}"):
        run.lock()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[0])


def test_a_lock_that_was_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configs: list[RunConfig]
) -> None:
    """Who opens the lock's file just before its holder removes it locks a file that nobody else will find: it tries
    again."""
    first, second = RunStore(tmp_path).run(configs[0]), RunStore(tmp_path).run(configs[0])
    assert first.lock()
    real = fcntl.flock

    def after_the_holder(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        first.unlock()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_holder)
    assert second.lock()
    assert not first.lock()
    second.unlock()
