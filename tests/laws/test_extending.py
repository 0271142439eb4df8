"""Law: more epochs go on from a finished run where that gives the bytes of a straight run, and nowhere else."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from kit import content

from bncompare.config.expand import load_experiment
from bncompare.execution.messages import Started
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import Event, run_experiment
from bncompare.runs.folder import RunStore

CONFIG = """\
name: tiny
data: {name: random_regression, samples: 32, test_samples: 16, features: 3, validation: 8}
model: {name: mlp, hidden: [4], norm: batch}
training: {epochs: 2, batch_size: 8, device: cpu, optimizer: {name: adam, lr: 0.1}}
"""


def train(root: Path, *overrides: str, fresh: bool = False) -> tuple[dict[str, bytes], list[Event]]:
    """The bytes of the one run of the config, and what happened."""
    config = root.parent / "tiny.yaml"
    config.write_text(CONFIG)
    (run,) = load_experiment(config, overrides=overrides).runs
    (planned,) = plan_runs([run], RunStore(root), fresh=fresh)
    events = list(run_experiment([planned], data_dir=None, keep_checkpoints=True))
    return content(planned.folder.path), events


def went_on(events: list[Event]) -> bool:
    (started,) = [event.what for event in events if isinstance(event.what, Started)]
    return started.from_checkpoint


BY_STEPS = ["training.epochs=null", "training.eval_every=2"]
PLATEAU = "training.scheduler={name: reduce_on_plateau, patience: 0, threshold: 0.5}"
PATIENCE = "training.early_stopping={patience: 4}"


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        pytest.param(["training.epochs=2"], ["training.epochs=5"], id="epochs"),
        pytest.param([*BY_STEPS, "training.steps=4"], [*BY_STEPS, "training.steps=9"], id="steps"),
        pytest.param([PLATEAU, PATIENCE], [PLATEAU, PATIENCE, "training.epochs=6"], id="plateau and patience"),
        pytest.param(
            ["training.warmup=2", PLATEAU, "training.l1=0.01", "training.epochs=3"],
            ["training.warmup=2", PLATEAU, "training.l1=0.01", "training.epochs=6"],
            id="warm-up",
        ),
        pytest.param(
            ["training.scheduler={name: step, step_size: 2}"],
            ["training.scheduler={name: step, step_size: 2}", "training.epochs=6"],
            id="steps of the learning rate",
        ),
        pytest.param(
            ["diagnostics={gradients: true, every: 2}", "training.epochs=2"],
            ["diagnostics={gradients: true, every: 2}", "training.epochs=5"],
            id="diagnostics",
        ),
    ],
)
def test_more_epochs_go_on(tmp_path: Path, shorter: list[str], longer: list[str]) -> None:
    """The bytes are those of a run that was as long from the start; the shorter run stays as it is."""
    before, _ = train(tmp_path / "extended", *shorter)
    extended, events = train(tmp_path / "extended", *longer)
    assert went_on(events)
    straight, events = train(tmp_path / "straight", *longer)
    assert not went_on(events)
    assert extended == straight
    after, events = train(tmp_path / "extended", *shorter)
    assert (after, events) == (before, [])


COSINE = "training.scheduler={name: cosine}"


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        pytest.param([COSINE], [COSINE, "training.epochs=5"], id="the learning rate depends on the length"),
        pytest.param(
            [*BY_STEPS, "training.steps=5"], [*BY_STEPS, "training.steps=8"], id="an evaluation at the end alone"
        ),
        pytest.param(["training.optimizer.lr=0.2"], ["training.epochs=5"], id="another learning rate"),
        pytest.param(
            ["diagnostics={gradients: true, every: 2}", "training.epochs=3"],
            ["diagnostics={gradients: true, every: 2}", "training.epochs=5"],
            id="a measurement at the end alone",
        ),
        pytest.param(
            ["diagnostics={norm_parameters: true}", "training.epochs=3"],
            ["diagnostics={norm_parameters: true}", "training.epochs=5"],
            id="each γ and β at the end",
        ),
        pytest.param(["training.epochs=2"], ["training.epochs=null", "training.steps=20"], id="steps after epochs"),
        pytest.param(["training.epochs=5"], ["training.epochs=2"], id="fewer epochs"),
        pytest.param(
            ["training.epochs=9", "training.early_stopping={patience: 1, min_delta: 100}"],
            ["training.epochs=10", "training.early_stopping={patience: 1, min_delta: 100}"],
            id="stopped early",
        ),
    ],
)
def test_otherwise_it_is_a_new_run(tmp_path: Path, shorter: list[str], longer: list[str]) -> None:
    """A run that a straight one would have differed from is not gone on with."""
    train(tmp_path / "runs", *shorter)
    extended, events = train(tmp_path / "runs", *longer)
    assert not went_on(events)
    straight, _ = train(tmp_path / "straight", *longer)
    assert extended == straight


def test_fresh_takes_nothing(tmp_path: Path) -> None:
    """--fresh goes on from no other run."""
    train(tmp_path / "runs")
    _, events = train(tmp_path / "runs", "training.epochs=4", fresh=True)
    assert not went_on(events)


@pytest.mark.parametrize("name", ["checkpoint.pt", "result.json", "config.yaml", "metrics.csv"])
def test_a_damaged_shorter_run_is_not_gone_on_with(tmp_path: Path, name: str) -> None:
    """Without its checkpoint or its config, whole, a shorter run is left alone."""
    train(tmp_path / "runs")
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    extended, events = train(tmp_path / "runs", "training.epochs=4")
    assert not went_on(events)
    assert extended == train(tmp_path / "straight", "training.epochs=4")[0]


@pytest.mark.parametrize("state", ["begun", "finished"])
def test_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """A checkpoint of another version of torch is not silently continued: the run fails and says why, unless told to
    go on; a shorter run of elsewhere is not gone on with either."""
    from bncompare.execution import inline

    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    length = ["training.checkpoint_every=1"] if state == "begun" else ["training.epochs=4"]
    (run,) = load_experiment(config, overrides=length).runs
    if state == "begun":
        events = run_experiment(plan_runs([run], RunStore(tmp_path / "runs")), data_dir=None)
        next(event for event in events if event.record)
        events.close()  # type: ignore[attr-defined]
    else:
        train(tmp_path / "runs")
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    real = inline.environment

    def elsewhere(*arguments: Any) -> dict[str, Any]:
        here = real(*arguments)
        return {**here, "versions": {**here["versions"], "torch": "9.9"}}

    monkeypatch.setattr(inline, "environment", elsewhere)
    first, *rest = run_experiment(plan_runs([run], RunStore(tmp_path / "runs")), data_dir=None)
    if state == "begun":
        assert rest == []
        message = getattr(first.what, "message", "")
        assert "torch " in message
        assert ", here 9.9" in message
        assert "--allow-inexact" in message
        assert plan_runs([run], RunStore(tmp_path / "runs"))[0].state == "begun"  # nothing is lost
    else:
        assert isinstance(first.what, Started)
        assert not first.what.from_checkpoint
    planned = plan_runs([run], RunStore(tmp_path / "copy"))
    first, *_, last = run_experiment(planned, data_dir=None, allow_inexact=True)
    assert isinstance(first.what, Started)
    assert first.what.from_checkpoint
    assert first.what.environment["went_on_from"]["versions"]["torch"] != "9.9"
    assert last.is_end
    assert planned[0].folder.examine().state == "finished"
