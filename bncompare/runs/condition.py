"""What a run folder holds, before its run is trained: whether it is finished, and what to go on from."""

import contextlib
import glob
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bncompare.config import MAX_TABLE_BYTES, RunConfig, Status, measured
from bncompare.errors import UserError
from bncompare.runs.checkpoint import Checkpoint, Damaged, read_checkpoint
from bncompare.runs.documents import Result, read_config, read_result
from bncompare.runs.files import MISSING, read_text
from bncompare.runs.layout import CHECKPOINTS, REPLACEABLE, State
from bncompare.runs.predictions import read_predictions
from bncompare.runs.read import read_finished_metrics, read_run, reason
from bncompare.runs.tables import DIAGNOSTICS_HEADER, read_timing
from bncompare.runs.weights import check_weights


@dataclass(frozen=True)
class Condition:
    """What a run folder holds."""

    state: State
    problems: tuple[str, ...] = ()
    """a line for each file that is lost, damaged or cannot be read, and what follows"""
    checkpoint: Checkpoint | None = None
    """what to go on from"""
    lost: tuple[str, ...] = ()
    """files of a finished run to be written again"""


def examine(path: Path, config: RunConfig, *, extend: bool = True) -> Condition:
    """Whether a run is finished (a failed one is not), has a checkpoint to go on from, or neither.

    A file that is there and cannot be read (no permission, a failing disk, a link) says nothing about the run,
    which is left as it is until a person has seen to the file. `extend` looks for a shorter run that is finished.
    """
    spoilt: list[str] = []
    try:
        if path.is_symlink():
            return Condition("unreadable", (f"{path}: cannot be read: is a link",))
        try:
            result = read_result(path)
            if result is not None and result.status.has_ended:
                _check_finished(path, config, result)
                lost = _lost(path, config, result)
                return Condition("finished", tuple(lost.values()), lost=tuple(lost))
        except MISSING as error:
            spoilt.append(f"{path / error.filename}: lost")
        except (ValueError, UserError) as error:
            spoilt.append(f"{path}: damaged: {reason(error)}")
        for name in CHECKPOINTS:
            try:
                checkpoint = read_checkpoint(path / name, config)
            except MISSING:
                continue
            except Damaged as error:
                spoilt.append(str(error))
                continue
            if not checkpoint.is_final:  # nothing comes after the end
                return Condition(
                    "begun", tuple(f"{what}; the run goes on from {name}" for what in spoilt), checkpoint
                )
    except OSError as error:
        return Condition("unreadable", (f"{path / error.filename}: cannot be read: {error.strerror}",))
    except UserError as error:
        return Condition("unreadable", (str(error),))
    shorter = _shorter_run(path, config) if extend else None
    state: State = "damaged" if spoilt else "extends" if shorter else "new"
    return Condition(state, tuple(f"{what}; the run starts over" for what in spoilt), shorter)


def _check_finished(path: Path, config: RunConfig, result: Result) -> None:
    """Raises OSError, ValueError or UserError if one of the files of a finished run is not as it was written."""
    if list(read_finished_metrics(path, result)) != config.metrics_header.rstrip().split(","):
        raise ValueError("metrics.csv has other columns than its config asks for")
    if result.status.has_value and measured(config):
        text = read_text(path / "diagnostics.csv", MAX_TABLE_BYTES)
        if not (text.startswith(DIAGNOSTICS_HEADER) and text.endswith("\n")):
            raise ValueError("diagnostics.csv is cut off")
    if result.best is not None:
        check_weights(path / "best.safetensors")


def _lost(path: Path, config: RunConfig, result: Result) -> dict[str, str]:
    """What is lost or damaged of the replaceable files of a finished run, a line each. Raises OSError."""
    read: dict[str, Callable[[], object]] = {name: partial(_see, path / name) for name in REPLACEABLE}
    read |= {"config.yaml": partial(read_config, path), "timing.csv": partial(read_timing, path)}
    read["predictions.csv"] = partial(read_predictions, path, result)
    if not config.data.is_classification or result.best is None:
        del read["predictions.csv"]  # there is nothing to predict, or to predict it with
    lost = {}
    for name, look in read.items():
        try:
            look()
        except MISSING:
            lost[name] = f"{path / name}: lost; it is written again"
        except (ValueError, UserError) as error:
            lost[name] = f"{path / name}: damaged: {reason(error)}; it is written again"
    return lost


def _see(path: Path) -> None:
    """A file that nothing depends on, whatever it is. Raises OSError if there is none, ValueError if it is empty."""
    found = path.lstat()
    if stat.S_ISREG(found.st_mode) and not found.st_size:
        raise ValueError(f"{path.name} is empty")


def _shorter_run(path: Path, config: RunConfig) -> Checkpoint | None:
    """The end of a finished run of which this one is the continuation, to the bit: the longest there is.

    The same config but for a smaller number of epochs or steps, which went all the way, ended with a regular
    evaluation and measurement, and whose learning rate did not depend on its length.
    """
    length = "training.steps" if config.training.epochs is None else "training.epochs"
    wanted = config.decisive
    # Such as each γ and β, which a longer run does not record where this one ends.
    more_at_end = any(probe.more_at_end for probe in config.diagnostics.wanted)
    if wanted["training.scheduler.name"] == "cosine" or more_at_end:
        return None
    found: list[tuple[int, Path]] = []
    for other in path.parent.glob(f"{glob.escape(path.name[: -len(config.digest)])}*"):
        with contextlib.suppress(OSError, ValueError, UserError):
            run = read_run(other)
            if other.is_symlink() or run.result is None or run.status is not Status.COMPLETED:
                continue
            theirs, steps = RunConfig.model_validate(run.config).decisive, run.result.steps
            if steps is None or theirs[length] is None:
                continue
            theirs[length] = wanted[length]
            if theirs == wanted and steps < config.total_steps and config.is_measured(steps):
                found.append((steps, other))
    for _, other in sorted(found, reverse=True):
        with contextlib.suppress(OSError, Damaged, UserError):
            checkpoint = read_checkpoint(other / "checkpoint.pt", config)
            if checkpoint.is_final:
                return checkpoint
    return None
