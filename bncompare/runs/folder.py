"""The folder of one run, as its only writer sees it.

    runs/<experiment>/<variant>-s<seed>-<digest8>/

A file appears under its name only when it is whole, and `result.json` is written last: a run is finished
when it is there. Who writes a run holds its lock.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bncompare.config import RunConfig
from bncompare.errors import StorageError, UserError
from bncompare.runs.checkpoint import Checkpoint, Damaged, read_checkpoint
from bncompare.runs.condition import Condition, examine
from bncompare.runs.documents import read_config
from bncompare.runs.files import TEMPORARY, make_folder, storage_errors, sync_folder, to_json, write_atomic
from bncompare.runs.layout import CHECKPOINTS, FILES, REPLACEABLE
from bncompare.runs.lock import Lock
from bncompare.runs.tables import Tables


class RunStore:
    """A folder of experiments, `runs/` by default."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, config: RunConfig) -> "RunFolder":
        """The folder of a run, which need not exist yet."""
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", config.variant.label).strip("-.")[:60] or "variant"
        return RunFolder(self.root / config.name / f"{slug}-s{config.seed}-{config.digest}", config)


@dataclass
class RunFolder:
    """The folder of one run, as its only writer sees it."""

    path: Path
    config: RunConfig
    environment: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tables = Tables(self.config.metrics_header)
        """the evaluations so far; their files follow with `save` or `finish`"""
        self._lock = Lock(self.path.with_name(f".{self.path.name}.lock"))

    @property
    def has_result(self) -> bool:
        """Whether it may be finished, without a look at its files."""
        return os.path.lexists(self.path / "result.json")

    def examine(self, *, extend: bool = True) -> Condition:
        """What it holds; `extend` looks for a shorter run that is finished."""
        return examine(self.path, self.config, extend=extend)

    def write_again(self, names: Iterable[str], predict: Callable[[], bytes]) -> None:
        """Write files that a finished run lost: from its config, and its checkpoint if that was kept.

        `predict` makes predictions.csv. Without a checkpoint nothing is known of times and machine. Raises what
        `predict` does, OSError, ValueError or StorageError.
        """
        checkpoint = None
        with contextlib.suppress(OSError, Damaged, UserError):
            checkpoint = read_checkpoint(self.path / "checkpoint.pt", self.config)
        contents = {
            "config.yaml": self.config.to_yaml(),
            "environment.json": to_json(checkpoint.made_on if checkpoint else {}),
            "timing.csv": (checkpoint.tables if checkpoint else self.tables).text("timing"),
        }
        files = {name: contents[name].encode() for name in names if name in contents}
        if "predictions.csv" in names:
            files["predictions.csv"] = predict()
        self._write(files)

    def lock(self) -> bool:
        """Become the run's only writer until `unlock`; False if another process is."""
        make_folder(self.path.parent)
        if self.path.is_symlink():
            raise StorageError(f"{self.path}: cannot be written: is a link")
        return self._lock.take()

    def unlock(self) -> None:
        """Let others write."""
        self._lock.release()

    def remove_stale_lock(self) -> None:
        """Remove the file of a lock whose holder was killed; one that is held stays."""
        if os.path.lexists(self._lock.path):
            with contextlib.suppress(StorageError):
                self.lock()
                self.unlock()

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

    def save(self, snapshot: bytes) -> None:
        """Write the evaluations so far and a checkpoint from which the run can go on."""
        checkpoint = self._checkpoint(snapshot, is_final=False)
        self._keep_checkpoint_before()
        self._write({**self.tables.files(), "checkpoint.pt": checkpoint})

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
        if condition.state == "begun":
            self._begun_as_before()
        self.tables = checkpoint.tables if checkpoint else Tables(self.config.metrics_header)
        return checkpoint

    def _begun_as_before(self) -> None:
        """Of a run that goes on, what was claimed of it, and of which seeds, when it began."""
        with contextlib.suppress(OSError, ValueError, UserError):
            began = RunConfig.model_validate(read_config(self.path))
            self.config = self.config.model_copy(update={"claims": began.claims, "design": began.design})

    def _keep_checkpoint_before(self) -> None:
        newest, before = (self.path / name for name in CHECKPOINTS)
        with storage_errors(newest), contextlib.suppress(FileNotFoundError):
            os.replace(newest, before)

    def clear(self) -> None:
        """Forget what an earlier call left, so that the run starts over."""
        with storage_errors(self.path):
            for name in FILES:
                (self.path / name).unlink(missing_ok=True)
        self.tables = Tables(self.config.metrics_header)

    def finish(
        self,
        result: dict[str, Any],
        weights: bytes | None,
        snapshot: bytes | None,
        predictions: bytes | None = None,
    ) -> None:
        """Write everything that is left, result.json last; a checkpoint stays only if a snapshot is to be kept."""
        files = {"environment.json": to_json(self.environment).encode()} | self.tables.files()
        for name, content in {"best.safetensors": weights, "predictions.csv": predictions}.items():
            if content is not None:
                files[name] = content
        if snapshot is not None:
            files["checkpoint.pt"] = self._checkpoint(snapshot, is_final=True)
            self._keep_checkpoint_before()
        self._write(files)
        self._write({"result.json": to_json(result).encode()})
        for name in CHECKPOINTS[snapshot is not None :]:
            with storage_errors(self.path / name):
                (self.path / name).unlink(missing_ok=True)

    def fail(self, result: dict[str, Any]) -> None:
        """Say why the run failed; the same command tries again, from the last checkpoint."""
        make_folder(self.path)
        self._write({"config.yaml": self.config.to_yaml().encode(), **self.tables.files()})
        self._write({"result.json": to_json(result).encode()})

    def _checkpoint(self, snapshot: bytes, *, is_final: bool) -> bytes:
        return Checkpoint(snapshot, self.environment, self.tables, is_final).to_bytes()

    def _write(self, files: dict[str, bytes]) -> None:
        """Write files in this order; all are there for good, even after a power cut, when it returns."""
        for name, content in files.items():
            write_atomic(self.path / name, content, lasting=name not in REPLACEABLE)
        sync_folder(self.path)
