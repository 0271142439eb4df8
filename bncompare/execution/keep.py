"""What is kept of a run: events of its training become files of its folder. Importing this imports no torch."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncompare.config import Status
from bncompare.execution.messages import Evaluated, Failure, Job, Result, Started
from bncompare.execution.plan import Planned
from bncompare.runs import predictions_csv, regular_file

if TYPE_CHECKING:
    from bncompare.training import Outcome, Record


def keep(item: Planned, job: Job, result: Result) -> None:
    """Write what happened to a run to its folder. Raises StorageError."""
    folder = item.folder
    if isinstance(result, Started):
        if job.checkpoint is not None and not result.from_checkpoint:
            folder.clear()
        times = {"started": _now()}
        if job.checkpoint is not None and result.from_checkpoint and not job.checkpoint.is_final:
            times = {"started": job.checkpoint.made_on.get("started", times["started"])}  # it goes on
        folder.begin({**result.environment, **times})
    elif isinstance(result, Failure):
        folder.fail({"status": Status.FAILED, "error": result.message, "traceback": result.details})
    elif isinstance(result, Evaluated):
        _keep_evaluation(item, result)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _keep_evaluation(item: Planned, progress: Evaluated) -> None:
    """Write an evaluation, or what there is to write of it, to the run's folder."""
    record, folder = progress.record, item.folder
    folder.tables.append(record.epoch, record.step, record.metrics, record.seconds, record.examples_per_second)
    measured = [(row.layer, row.quantity, row.value) for row in record.diagnostics]
    folder.tables.append_diagnostics(record.epoch, record.step, measured)
    if record.outcome is not None:
        outcome = record.outcome
        result, predictions = _result(item, record, outcome), _predictions(outcome)
        folder.environment["ended"] = _now()
        folder.finish(result, _weights(outcome), progress.snapshot, predictions)
    elif progress.snapshot is not None:
        folder.save(progress.snapshot)


def _result(item: Planned, record: "Record", outcome: "Outcome") -> dict[str, Any]:
    test = {name: value for name, value in (outcome.best or {}).items() if name.startswith("test/")}
    return {
        "status": outcome.status,
        "epochs": record.epoch,
        "steps": record.step,
        "monitor": item.run.training.monitor,
        "best": outcome.best,
        "last": outcome.last,
        "test": test,
        "parameters": item.num_parameters,
        "dropped_examples_per_epoch": item.run.dropped_examples,
    }


def _weights(outcome: "Outcome") -> bytes | None:
    from safetensors.torch import save

    if outcome.best_weights is None:
        return None
    return save({name: value.cpu().contiguous() for name, value in outcome.best_weights.items()})


def _predictions(outcome: "Outcome") -> bytes | None:
    return None if outcome.predictions is None else predictions_csv(outcome.predictions.tolist())


def predict_again(item: Planned, data_dir: Path | None) -> bytes:
    """The predictions.csv of a finished run, from its best weights. Raises OSError, ValueError or UserError."""
    from safetensors.torch import load

    from bncompare.training import Datasets, predict, resolve_device

    run = item.run
    with regular_file(item.folder.path / "best.safetensors") as file:
        weights = load(file.read())
    predictions = predict(run, Datasets(data_dir).of(run), resolve_device(run.training.device), weights)
    return predictions_csv(predictions.tolist())
