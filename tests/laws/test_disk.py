"""Law: a run that has ended keeps no checkpoint unless it is asked for, however and wherever it ended."""

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from kit import CONFIGS

from bncompare.config.expand import load_experiment
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.runs.folder import RunStore
from bncompare.runs.read import read_runs

EVERY = ["training.checkpoint_every=1", "training.epochs=4", "data.validation=16", "claims=[]"]
EARLY = "training.early_stopping={monitor: val/loss, patience: 1, min_delta: 1000}"
DIVERGING = "training.optimizer={name: sgd, lr: 100}"  # after some evaluations
ENDS = {"completed": [], "stopped_early": [EARLY], "diverged": [DIVERGING, "training.epochs=40"]}


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("status", ENDS)
def test_a_finished_run_keeps_no_checkpoint(tmp_path: Path, status: str, num_processes: int) -> None:
    """With one at every evaluation, in one go, and where an earlier call left its checkpoints behind."""
    config = CONFIGS / "regression.yaml"
    for keep, is_resumed in ((False, False), (False, True), (True, True)):
        runs = load_experiment(config, overrides=[*EVERY, *ENDS[status]], seeds="1").runs
        store = RunStore(tmp_path / f"{keep}{is_resumed}")
        train = partial(run_experiment, data_dir=None, num_processes=num_processes, keep_checkpoints=keep)
        if is_resumed:
            with closing(train(plan_runs(runs, store))) as events:
                next(event for event in events if event.record is not None and event.record.outcome is None)
            assert list(store.root.rglob("checkpoint.pt"))
        list(train(plan_runs(runs, store)))
        loaded, _ = read_runs([store.root])
        assert [run.status for run in loaded] == [status] * len(runs)
        kept = sorted(path.name for path in store.root.rglob("*.pt"))
        assert kept == ["checkpoint.pt"] * len(runs) * keep
