"""bncompare from Python: tidy rows, pandas, and an import that costs nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit import EXAMPLE, compare

import bncompare
from bncompare.api.runs import Runs, load_runs
from bncompare.config.expand import load_experiment
from bncompare.errors import UserError
from bncompare.runs.folder import RunStore


def test_load_runs() -> None:
    """Runs are a sequence, in the order of the config; a path may be a text."""
    runs = load_runs(str(EXAMPLE))
    assert [(run.variant, run.seed) for run in runs] == [(v, s) for v in ("no norm", "BatchNorm") for s in range(3)]
    assert (runs.warnings, repr(runs), repr(runs[1:3])) == ([], "<6 runs: example>", "<2 runs: example>")
    assert isinstance(runs[:2], Runs)
    assert runs[-1].seed == 2
    assert len(load_runs(EXAMPLE, EXAMPLE / runs[0].path.name)) == 6
    with pytest.raises(UserError, match="no such folder"):
        load_runs(EXAMPLE / "none")


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ((), "load_runs() needs a folder of runs, as load_runs('runs')"),
        ((3,), "3: is not a path; load_runs takes each as an argument of its own"),
        ((["runs"],), "['runs']: is not a path; load_runs takes each as an argument of its own"),
    ],
)
def test_load_runs_of_what_is_no_path(paths: tuple[Any, ...], words: str) -> None:
    """A wrong argument is an error in words, as on the command line."""
    with pytest.raises(UserError) as raised:
        load_runs(*paths)
    assert str(raised.value) == words


def test_warnings_of_folders_that_cannot_be_read(tmp_path: Path) -> None:
    """A bad folder is a warning beside the others."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "metrics.csv").touch()
    (tmp_path / "linked").symlink_to(next(EXAMPLE.iterdir()))
    bad, link = load_runs(tmp_path, EXAMPLE).warnings
    assert bad.startswith(f"{tmp_path / 'bad'}: skipped: ")
    assert link == f"{tmp_path}: skipped: a link to a run folder: linked"


def test_rows() -> None:
    """A row per run, evaluation and metric, with the settings; test metrics at the best and the last evaluation."""
    runs = load_runs(EXAMPLE)
    rows = list(runs.rows())
    assert len(rows) == 6 * (20 * 2 + 1)  # best and last are the same evaluation
    assert rows[0] == {
        "experiment": "example",
        "variant": "none",
        "seed": 0,
        "status": "completed",
        "model.norm": "none",
        "epoch": 10.0,
        "step": 10,
        "metric": "train/loss",
        "value": runs[0].metrics["train/loss"][0],
    }
    (test,) = [row for row in rows if row["metric"] == "test/loss" and row["seed"] == 1 and row["variant"] == "batch"]
    assert (test["epoch"], test["step"], test["value"]) == (200.0, 200, runs[4].best("test/loss"))


def test_rows_of_swept_settings(tmp_path: Path) -> None:
    """A column for each setting that some variant sets: a number as it is, a norm with options as text."""
    (tmp_path / "x.yaml").write_text(
        "name: x\ndata: {name: random_regression}\nmodel: {name: mlp, hidden: [4]}\n"
        "training: {epochs: 1, batch_size: full, optimizer: {name: sgd, lr: 0.1}}\n"
        "compare: [{label: a, training.optimizer.lr: 0.5}, {label: b, model.norm: {kind: group, groups: 2}}]\n"
    )
    for config in load_experiment(tmp_path / "x.yaml").runs:
        folder = RunStore(tmp_path).run(config)
        folder.begin({})
        folder.tables.append(1.0, 1, {"train/loss": 0.5, "lr": 0.1}, 0.1, 1.0)
        best, last = ({"epoch": e, "step": int(e), "test/loss": e} for e in (1.0, 2.0))
        folder.finish({"status": "completed", "steps": 1, "best": best, "last": last}, None, b"")
    rows = list(load_runs(tmp_path).rows())
    assert {(row["variant"], row["training.optimizer.lr"], row["model.norm"]) for row in rows} == {
        ("a", 0.5, None),
        ("b", None, "group groups=2"),
    }
    tests = [(row["epoch"], row["value"]) for row in rows if row["metric"] == "test/loss" and row["variant"] == "a"]
    assert tests == [(1.0, 1.0), (2.0, 2.0)]


def test_frame() -> None:
    """A row per run and evaluation: what is in metrics.csv, and the test metrics where they were taken."""
    pytest.importorskip("pandas")
    runs = load_runs(EXAMPLE)
    table = runs.frame()
    assert list(table.columns) == [
        "experiment", "variant", "seed", "status", "model.norm", "epoch", "step", "train/loss", "lr", "test/loss",
    ]  # fmt: skip
    assert len(table) == 6 * 20
    ends = table[table.epoch == 200].groupby("variant")["train/loss"].mean()
    expected = compare(runs, "train/loss", at="last").measures[0].variants
    assert [ends[label] for label in ("none", "batch")] == pytest.approx(
        [v.summary.mean for v in expected if v.summary]
    )
    assert table["test/loss"].notna().sum() == 6
    assert list(runs.frame(diagnostics=True).columns) == []  # none were asked for


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pandas the error says what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^Runs\.frame\(\) needs pandas: pip install pandas$"):
        load_runs(EXAMPLE).frame()


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        ({"norm": "batch"}, 3),
        ({"norm": ["none", "batch"], "seed": 1}, 2),
        ({"variant": "BatchNorm"}, 3),
        ({"variant": "batch", "seed": range(2)}, 2),
        ({"lr": 0.01, "hidden": [50]}, 6),
        ({"model.norm.kind": "none"}, 3),
        ({"norm": {"kind": "batch", "momentum": 0.1}}, 3),
        ({"status": "diverged"}, 0),
        ({"train_size": None}, 6),
        ({"norm": None}, 0),
    ],
)
def test_select(settings: dict[str, Any], number: int) -> None:
    """By settings, called by the last word of their key, and by what a run has beside them."""
    runs = load_runs(EXAMPLE)
    assert len(runs.select(**settings)) == number
    assert list(runs.experiments) == ["example"]


def test_select_by_what_is_no_setting() -> None:
    """A name that no config has is an error with those there are; of two keys both are named."""
    with pytest.raises(UserError, match="norms: is no setting of a run"):
        load_runs(EXAMPLE).select(norms="batch")
    with pytest.raises(UserError, match=r"eps: is no setting of a run; did you mean model.*\.norm\.eps or training"):
        load_runs(EXAMPLE).select(eps=1e-5)


def test_importing_bncompare_loads_nothing() -> None:
    """`import bncompare` waits for no NumPy; what the API needs is imported with its first use."""
    code = "import sys, bncompare as b; assert 'numpy' not in sys.modules; b.compare; assert 'numpy' in sys.modules"
    assert dir(bncompare) == ["UserError", "__version__", "compare", "load_runs", "plot", "train"]
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="module 'bncompare' has no attribute 'comparee'"):
        _ = bncompare.comparee
