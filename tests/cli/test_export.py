"""Runs for other tools: read back with pandas' and Python's CSV readers, and with TensorBoard's own reader."""

import csv
import datetime
import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bncompare.errors import StorageError, UserError
from bncompare.extras.tensorboard import write_event_files
from bncompare.runs.documents import Result
from bncompare.runs.read import LoadedRun
from bncompare.runs.rows import csv_lines

STARTED = "2024-05-01T12:00:00+00:00"


def make_run(folder: Path, variant: str = "batch", seed: int = 0, **changes: Any) -> LoadedRun:
    """Three evaluations, the second of them the best."""
    path = folder / f"{variant}-s{seed}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "environment.json").write_text(json.dumps({"started": STARTED}))
    metrics = {"epoch": [0.5, 1.0, 1.5], "step": [5.0, 10.0, 15.0], "val/loss": [0.1 + 0.2, 1e-300, math.nan]}
    best = {"epoch": 1.0, "step": 10, "val/loss": 1e-300, "test/accuracy": 0.75}
    last = {"epoch": 1.5, "step": 15, "test/accuracy": 0.5}
    result = Result.model_validate({"status": "completed", "best": best, "last": last})
    config = {"variant": {"label": variant, "settings": {"model.norm": {"kind": variant, "eps": 0.1}}}}
    run = LoadedRun(path, "e", variant, 0, seed, config, metrics, 3.5, result, [1.0, 2.0, 3.5])
    return replace(run, **changes)


def table(runs: list[LoadedRun]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(csv_lines(runs)))))


# ---------------------------------------------------------------- CSV


def test_csv_is_a_row_per_run_evaluation_and_metric(tmp_path: Path) -> None:
    """The whole text: every metric at every evaluation, the test metrics at the best and the last."""
    assert "".join(csv_lines([make_run(tmp_path)])) == (
        "experiment,variant,seed,status,model.norm,epoch,step,metric,value\n"
        "e,batch,0,completed,batch eps=0.1,0.5,5,val/loss,0.30000000000000004\n"
        "e,batch,0,completed,batch eps=0.1,1.0,10,val/loss,1e-300\n"
        "e,batch,0,completed,batch eps=0.1,1.5,15,val/loss,nan\n"
        "e,batch,0,completed,batch eps=0.1,1.0,10,test/accuracy,0.75\n"
        "e,batch,0,completed,batch eps=0.1,1.5,15,test/accuracy,0.5\n"
    )


def test_csv_of_diagnostics(tmp_path: Path) -> None:
    """A row per run, evaluation, layer and quantity; or the header alone."""
    runs = [make_run(tmp_path), make_run(tmp_path, "none")]
    header = "experiment,variant,seed,status{},epoch,step,layer,quantity,value\n"
    assert "".join(csv_lines(runs, diagnostics=True)) == header.format("")
    (runs[0].path / "diagnostics.csv").write_text(
        "epoch,step,layer,quantity,value\n0.5,5,hidden.0,grad_norm,0.30000000000000004\n1,10,all,loss_range,nan\n"
    )
    again = [make_run(tmp_path), runs[1]]
    assert "".join(csv_lines(again, diagnostics=True)) == header.format(",model.norm") + (
        "e,batch,0,completed,batch eps=0.1,0.5,5,hidden.0,grad_norm,0.30000000000000004\n"
        "e,batch,0,completed,batch eps=0.1,1.0,10,all,loss_range,nan\n"
    )


def test_csv_is_exact(tmp_path: Path) -> None:
    """Floats come back as they were."""
    values = [float(row["value"]) for row in table([make_run(tmp_path)])]
    assert values[:2] == [0.1 + 0.2, 1e-300]
    assert math.isnan(values[2])


def test_csv_of_any_name(tmp_path: Path) -> None:
    """Commas and quotes in a label survive; what a terminal would obey is replaced."""
    label, evil = 'a, "b"', "x\x1b[31m"
    config = {"variant": {"label": label, "settings": {"model.norm": evil}}}
    rows = table([make_run(tmp_path, variant=label, config=config)])
    assert {row["variant"] for row in rows} == {label}
    assert {row["model.norm"] for row in rows} == {"x\N{REPLACEMENT CHARACTER}[31m"}


@pytest.mark.parametrize(
    ("label", "cell"),
    [
        ("=HYPERLINK(A1)", "'=HYPERLINK(A1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("＝1", "'＝1"),
        ("a;=1+1", "a;'=1+1"),
        ("a,@b;-1", "a,'@b;'-1"),
        ("lr=0.1", "lr=0.1"),
        ("a\u202eb\u200bc\u3164", "a\ufffdb\ufffdc\ufffd"),
    ],
)
def test_csv_for_a_spreadsheet(tmp_path: Path, label: str, cell: str) -> None:
    """Text that would be executed is quoted, what would not be seen is replaced; numbers stay numbers."""
    config = {"variant": {"label": label, "settings": {"model.norm": label, "training.optimizer.lr": -0.5}}}
    rows = table(
        [make_run(tmp_path, variant="x", config=config, metrics={"epoch": [1.0], "step": [1.0], "a": [-1.0]})]
    )
    assert {row["model.norm"] for row in rows} == {cell}
    assert {row["training.optimizer.lr"] for row in rows} == {"-0.5"}
    assert rows[0]["value"] == "-1.0"


def test_csv_without_evaluations(tmp_path: Path) -> None:
    """Runs that have just begun are a header."""
    run = make_run(tmp_path, metrics={"epoch": [], "step": []}, elapsed=[], result=None)
    assert "".join(csv_lines([run])) == "experiment,variant,seed,status,epoch,step,metric,value\n"


# ---------------------------------------------------------------- TensorBoard


def read_events(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """tag → (step, value, wall-clock), by the reader of TensorBoard itself."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reader.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value, event.wall_time) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_reads_the_same_values(tmp_path: Path) -> None:
    """Every metric by step, in single precision, at the time it was measured; the epoch as well."""
    pytest.importorskip("tensorboard")
    runs = [make_run(tmp_path / "a", "none"), make_run(tmp_path / "a", "batch", 1)]
    folders = write_event_files(runs, tmp_path / "out")
    assert folders == [tmp_path / "out" / "e" / "none-s0", tmp_path / "out" / "e" / "batch-s1"]
    start = datetime.datetime.fromisoformat(STARTED).timestamp()
    for folder in folders:
        assert len(list(folder.iterdir())) == 1
        events = read_events(folder)
        assert events.keys() == {"epoch", "val/loss", "test/accuracy"}
        (first, second, third) = events["val/loss"]
        assert first == (5, pytest.approx(0.3), start + 1.0)
        assert second == (10, 0.0, start + 2.0), "1e-300 is 0 in single precision"
        assert third[0] == 15
        assert math.isnan(third[1])
        assert events["epoch"] == [(5, 0.5, start + 1.0), (10, 1.0, start + 2.0), (15, 1.5, start + 3.5)]
        assert events["test/accuracy"] == [(10, 0.75, start + 2.0), (15, 0.5, start + 3.5)]


@pytest.mark.parametrize("environment", ['{"started": 3}', '{"started": "yesterday"}', "{}", "[]"])
def test_tensorboard_without_times(tmp_path: Path, environment: str) -> None:
    """Without a start the clock begins at 1970; where timing.csv ends it stands still."""
    pytest.importorskip("tensorboard")
    run = make_run(tmp_path, elapsed=[1.0, math.nan, math.nan])
    (run.path / "environment.json").write_text(environment)
    (folder,) = write_event_files([run], tmp_path / "out")
    assert [time for _, _, time in read_events(folder)["val/loss"]] == [1.0, 1.0, 1.0]


def test_runs_of_the_same_name_keep_apart(tmp_path: Path) -> None:
    """Two folders of one name, from different places, are two TensorBoard runs."""
    pytest.importorskip("tensorboard")
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b")]
    assert [folder.name for folder in write_event_files(runs, tmp_path / "out")] == ["batch-s0", "batch-s0-2"]


def test_an_export_is_not_added_to(tmp_path: Path) -> None:
    """TensorBoard would show both: a second export into the same folder is refused, before anything is written."""
    pytest.importorskip("tensorboard")
    first, second = make_run(tmp_path, "a"), make_run(tmp_path, "b")
    write_event_files([second], tmp_path / "out")
    with pytest.raises(UserError, match=r"b-s0: exists already"):
        write_event_files([first, second], tmp_path / "out")
    assert not (tmp_path / "out" / "e" / "a-s0").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the way is an error that names it."""
    pytest.importorskip("tensorboard")
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match="out"):
        write_event_files([make_run(tmp_path)], tmp_path / "out")


def test_without_the_tensorboard_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(UserError, match=r"pip install 'bncompare\[tensorboard\]'"):
        write_event_files([make_run(tmp_path)], tmp_path / "out")


def test_no_torch_is_imported(tmp_path: Path) -> None:
    """Writing event files loads neither torch nor TensorFlow."""
    pytest.importorskip("tensorboard")
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from bncompare.extras import write_event_files
from test_export import make_run
assert not {{"torch", "tensorflow"}} & sys.modules.keys()
write_event_files([make_run(Path({str(tmp_path)!r}))], Path({str(tmp_path / "out")!r}))
print(sorted({{"torch", "tensorflow"}} & sys.modules.keys()))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
