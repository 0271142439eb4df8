"""The folder of one run, as its only writer sees it.

    runs/<experiment>/<variant>-s<seed>-<digest8>/

A file appears under its name only when it is whole, and `result.json` is written last: a run is finished
when it is there. Who writes a run holds its lock, which the kernel takes back when the process dies.
"""

import contextlib
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bncompare.config import MAX_TABLE_BYTES, RunConfig, measured
from bncompare.errors import StorageError, UserError
from bncompare.runs.checkpoint import Checkpoint, Damaged, read_checkpoint
from bncompare.runs.files import (
    MISSING,
    TEMPORARY,
    make_folder,
    read_text,
    storage_errors,
    sync_folder,
    to_json,
    write_atomic,
)
from bncompare.runs.layout import (
    CHECKPOINTS,
    DIAGNOSTICS_HEADER,
    FILES,
    TIMING_HEADER,
    State,
)
from bncompare.runs.read import read_config, read_metrics, read_result, read_run, read_timing, reason
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


class RunStore:
    """A folder of experiments, `runs/` by default."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, config: RunConfig) -> "Run":
        """The folder of a run, which need not exist yet."""
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", config.variant.label).strip("-.")[:60] or "variant"
        return Run(self.root / config.name / f"{slug}-s{config.seed}-{config.digest}", config)


@dataclass
class Run:
    """The folder of one run, as its only writer sees it."""

    path: Path
    config: RunConfig
    environment: dict[str, Any] = field(default_factory=dict)
    metrics_lines: list[str] = field(default_factory=list)
    timing_lines: list[str] = field(default_factory=list)
    diagnostics_lines: list[str] = field(default_factory=list)
    _lock_descriptor: int | None = None

    @property
    def has_result(self) -> bool:
        """Whether it may be finished, without a look at its files."""
        return os.path.lexists(self.path / "result.json")

    @property
    def state(self) -> State:
        """What `examine` finds."""
        return self.examine().state

    def examine(self, *, extend: bool = True) -> Condition:
        """Whether it is finished (a failed one is not), has a checkpoint to go on from, or neither.

        A file that is there and cannot be read (no permission, a failing disk, a link) says nothing about the run,
        which is left as it is until a person has seen to the file. `extend` looks for a shorter run that is finished.
        """
        spoilt: list[str] = []
        if self.path.is_symlink():
            return Condition("unreadable", (f"{self.path}: cannot be read: is a link",))
        try:
            result = read_result(self.path)
            if result is not None and result["status"] != "failed":
                self._check_finished(result)
                lost = self._lost()
                return Condition("finished", tuple(lost.values()), lost=tuple(lost))
        except MISSING as error:
            spoilt.append(f"{self.path / error.filename}: lost")
        except OSError as error:
            return Condition("unreadable", (_unreadable(self.path, error),))
        except (ValueError, UserError) as error:
            spoilt.append(f"{self.path}: damaged: {reason(error)}")
        for name in CHECKPOINTS:
            try:
                checkpoint = read_checkpoint(self.path / name, self.config)
            except MISSING:
                continue
            except OSError as error:
                return Condition("unreadable", (_unreadable(self.path, error),))
            except Damaged as error:
                spoilt.append(str(error))
                continue
            except UserError as error:
                return Condition("unreadable", (str(error),))
            if not checkpoint.is_final:  # nothing comes after the end
                return Condition(
                    "begun", tuple(f"{what}; the run goes on from {name}" for what in spoilt), checkpoint
                )
        shorter = self._shorter_run() if extend else None
        state: State = "damaged" if spoilt else "extends" if shorter else "new"
        return Condition(state, tuple(f"{what}; the run starts over" for what in spoilt), shorter)

    def _check_finished(self, result: dict[str, Any]) -> None:
        """Raises OSError, ValueError or UserError if one of the files of a finished run is not as it was written."""
        if list(read_metrics(self.path, result)) != self.config.metrics_header.rstrip().split(","):
            raise ValueError("metrics.csv has other columns than its config asks for")
        if result["status"] != "diverged" and measured(self.config):
            text = read_text(self.path / "diagnostics.csv", MAX_TABLE_BYTES)
            if not (text.startswith(DIAGNOSTICS_HEADER) and text.endswith("\n")):
                raise ValueError("diagnostics.csv is cut off")
        if result.get("best") is not None:
            check_weights(self.path / "best.safetensors")

    def _lost(self) -> dict[str, str]:
        """What is lost or damaged of the replaceable files of a finished run, a line each. Raises OSError."""
        lost = {}
        for name, read in REPLACEABLE.items():
            try:
                read(self.path)
            except MISSING:
                lost[name] = f"{self.path / name}: lost; it is written again"
            except (ValueError, UserError) as error:
                lost[name] = f"{self.path / name}: damaged: {reason(error)}; it is written again"
        return lost

    def write_again(self, names: Iterable[str], draw: Callable[[dict[str, list[float]]], bytes]) -> None:
        """Write files that a finished run lost, as they were: from its config and its last checkpoint.

        `draw` makes curves.png of metrics.csv. Without the checkpoint nothing is known of times and machine. Raises
        OSError, ValueError or StorageError.
        """
        checkpoint = None
        with contextlib.suppress(OSError, Damaged, UserError):
            checkpoint = read_checkpoint(self.path / "checkpoint.pt", self.config)
        contents = {
            "config.yaml": lambda: self.config.to_yaml(),
            "environment.json": lambda: to_json(checkpoint.made_on if checkpoint else {}),
            "timing.csv": lambda: "".join([TIMING_HEADER, *(checkpoint.tables["timing"] if checkpoint else [])]),
        }
        files = {name: contents[name]().encode() for name in names if name in contents}
        if "curves.png" in names:
            files["curves.png"] = draw(read_metrics(self.path, None))
        self._write(files)

    def lock(self) -> bool:
        """Become the run's only writer until `unlock`; False if another process is."""
        import fcntl  # not on Windows, where the commands that train nothing work all the same

        # Not through a link, which may lead anywhere.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        make_folder(self.path.parent)
        if self.path.is_symlink():
            raise StorageError(f"{self.path}: cannot be written: is a link")
        while True:
            with storage_errors(self._lock_path):
                descriptor = os.open(self._lock_path, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_ino == os.lstat(self._lock_path).st_ino:
                    self._lock_descriptor = descriptor
                    return True
            except BlockingIOError:
                return False
            except FileNotFoundError:  # its holder removed it between the opening and the locking: it locks nothing
                pass
            except OSError as error:
                raise StorageError(f"{self._lock_path}: cannot be locked: {error.strerror}") from None
            finally:
                if self._lock_descriptor != descriptor:
                    os.close(descriptor)

    def remove_stale_lock(self) -> None:
        """Remove the file of a lock whose holder was killed; one that is held stays."""
        if os.path.lexists(self._lock_path):
            with contextlib.suppress(StorageError):
                self.lock()
                self.unlock()

    def unlock(self) -> None:
        """Let others write."""
        if self._lock_descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._lock_path)
            os.close(self._lock_descriptor)
            self._lock_descriptor = None

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def metrics_csv(self) -> str:
        """The text of metrics.csv so far."""
        return "".join([self.config.metrics_header, *self.metrics_lines])

    def begin(self, environment: dict[str, Any]) -> None:
        """Create the folder and write what is known before training."""
        self.environment = environment
        make_folder(self.path)
        with storage_errors(self.path):
            (self.path / "result.json").unlink(missing_ok=True)
            for name in os.listdir(self.path):
                if TEMPORARY.fullmatch(name):  # left by a process that was killed while it wrote
                    (self.path / name).unlink()
        self._write(
            {"config.yaml": self.config.to_yaml().encode(), "environment.json": to_json(environment).encode()}
        )

    def append(
        self, epoch: float, step: int, metrics: dict[str, float], seconds: float, examples_per_second: float
    ) -> None:
        """Add an evaluation; the files follow with `save` or `finish`."""
        columns = [*self.config.metric_names, "lr"]
        values = [f"{epoch:.10g}", str(step), *(repr(metrics[name]) for name in columns)]
        self.metrics_lines.append(",".join(values) + "\n")
        self.timing_lines.append(f"{epoch:.10g},{step},{seconds:.6f},{examples_per_second:.1f}\n")

    def append_diagnostics(self, epoch: float, step: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Add (layer, quantity, value) measured at an evaluation."""
        self.diagnostics_lines += [f"{epoch:.10g},{step},{layer},{name},{value!r}\n" for layer, name, value in rows]

    def save(self, snapshot: bytes) -> None:
        """Write the evaluations so far and a checkpoint from which the run can go on."""
        checkpoint = self._encode_checkpoint(snapshot, is_final=False)
        self._keep_checkpoint_before()
        self._write({**self._tables(), "checkpoint.pt": checkpoint})

    def resume(self, *, extend: bool = True) -> Checkpoint | None:
        """Take over the evaluations up to the newest good checkpoint and return it; None if there is none.

        `extend` goes on from a shorter run that was finished, where there is one. Raises StorageError if a file
        cannot be read.
        """
        return self.go_on(self.examine(extend=extend))

    def go_on(self, condition: Condition) -> Checkpoint | None:
        """The same from what `examine` found."""
        if condition.state == "unreadable":
            raise StorageError(*condition.problems)
        checkpoint = condition.checkpoint
        self._take_over(checkpoint.tables if checkpoint else {"metrics": [], "timing": [], "diagnostics": []})
        return checkpoint

    def _take_over(self, tables: dict[str, list[str]]) -> None:
        self.metrics_lines, self.timing_lines = tables["metrics"], tables["timing"]
        self.diagnostics_lines = tables["diagnostics"]

    def _encode_checkpoint(self, snapshot: bytes, *, is_final: bool) -> bytes:
        tables = {"metrics": self.metrics_lines, "timing": self.timing_lines, "diagnostics": self.diagnostics_lines}
        return Checkpoint(snapshot, self.environment, tables, is_final).to_bytes()

    def _keep_checkpoint_before(self) -> None:
        newest, before = (self.path / name for name in CHECKPOINTS)
        with storage_errors(newest), contextlib.suppress(FileNotFoundError):
            os.replace(newest, before)

    def _shorter_run(self) -> Checkpoint | None:
        """The end of a finished run of which this one is the continuation, to the bit: the longest there is.

        The same config but for a smaller number of epochs or steps, which went all the way, ended with a regular
        evaluation and measurement, and whose learning rate did not depend on its length.
        """
        config = self.config
        length = "training.steps" if config.training.epochs is None else "training.epochs"
        wanted = config.decisive
        # Such as each γ and β, which a longer run does not record where this one ends.
        more_at_end = any(probe.more_at_end for probe in config.diagnostics.wanted)
        if wanted["training.scheduler.name"] == "cosine" or more_at_end:
            return None
        found: list[tuple[int, Path]] = []
        for path in self.path.parent.glob(f"{glob.escape(self.path.name[: -len(config.digest)])}*"):
            with contextlib.suppress(OSError, ValueError, UserError, KeyError, TypeError):
                if path.is_symlink():
                    continue
                run = read_run(path)
                theirs = RunConfig.model_validate(run.config).decisive
                if run.result is None or run.status != "completed" or theirs[length] is None:
                    continue
                steps = run.result["steps"]
                theirs[length] = wanted[length]
                if theirs == wanted and steps < config.total_steps and config.is_measured(steps):
                    found.append((steps, path))
        for _, path in sorted(found, reverse=True):
            with contextlib.suppress(OSError, Damaged, UserError):
                checkpoint = read_checkpoint(path / "checkpoint.pt", config)
                if checkpoint.is_final:
                    return checkpoint
        return None

    def clear(self) -> None:
        """Forget what an earlier call left, so that the run starts over."""
        with storage_errors(self.path):
            for name in FILES:
                (self.path / name).unlink(missing_ok=True)
        self._take_over({"metrics": [], "timing": [], "diagnostics": []})

    def finish(self, result: dict[str, Any], weights: bytes | None, curves_png: bytes, snapshot: bytes) -> None:
        """Write everything that is left, result.json last."""
        files = {**self._tables(), "curves.png": curves_png}
        if weights is not None:
            files["best.safetensors"] = weights
        files["checkpoint.pt"] = self._encode_checkpoint(snapshot, is_final=True)
        self._keep_checkpoint_before()
        self._write(files)
        self._write({"result.json": to_json(result).encode()})
        with storage_errors(self.path):
            (self.path / "checkpoint-before.pt").unlink(missing_ok=True)

    def fail(self, result: dict[str, Any]) -> None:
        """Say why the run failed; the same command tries again, from the last checkpoint."""
        make_folder(self.path)
        self._write({"config.yaml": self.config.to_yaml().encode(), **self._tables()})
        self._write({"result.json": to_json(result).encode()})

    def _tables(self) -> dict[str, bytes]:
        """The CSV files; metrics.csv last, as a folder that has it is read."""
        tables = {"timing.csv": "".join([TIMING_HEADER, *self.timing_lines])}
        if self.diagnostics_lines:
            tables["diagnostics.csv"] = "".join([DIAGNOSTICS_HEADER, *self.diagnostics_lines])
        return {name: text.encode() for name, text in (tables | {"metrics.csv": self.metrics_csv}).items()}

    def _write(self, files: dict[str, bytes]) -> None:
        """Write files in this order; all are there for good, even after a power cut, when it returns."""
        for name, content in files.items():
            write_atomic(self.path / name, content, lasting=name not in REPLACEABLE)
        sync_folder(self.path)


def _see(path: Path) -> None:
    """A file that nothing depends on, whatever it is. Raises OSError if there is none, ValueError if it is empty."""
    found = path.lstat()
    if stat.S_ISREG(found.st_mode) and not found.st_size:
        raise ValueError(f"{path.name} is empty")


# How to see that they are whole. A finished run that loses one of them is finished, and the same command writes it
# again: not worth the wait for the disk, which is most of what a tiny run costs.
REPLACEABLE: dict[str, Callable[[Path], object]] = {
    "config.yaml": read_config,
    "environment.json": lambda folder: _see(folder / "environment.json"),
    "timing.csv": read_timing,
    "curves.png": lambda folder: _see(folder / "curves.png"),
}


def _unreadable(folder: Path, error: OSError) -> str:
    return f"{folder / error.filename}: cannot be read: {error.strerror}"
