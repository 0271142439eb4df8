"""Run folders: every path, file name and atomic write.

    runs/<experiment>/<variant>-s<seed>-<digest8>/

A file appears under its name only when it is whole, and `result.json` is written last: a run is finished
when it is there. Who writes a run holds its lock, which the kernel takes back when the process dies.
"""

import contextlib
import glob
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bncompare.config.schema import RunConfig
from bncompare.errors import StorageError, UserError
from bncompare.results import read_run

CHECKSUM_BYTES = 32

FILES = (  # result.json first: a folder that loses files is not finished
    *("result.json", "checkpoint.pt", "checkpoint-before.pt", "config.yaml", "environment.json"),
    *("metrics.csv", "timing.csv", "diagnostics.csv", "curves.png", "best.safetensors"),
)
# The same command writes a lost one again: not worth the wait for the disk, which is most of what a tiny run costs.
REPLACEABLE = ("config.yaml", "environment.json", "timing.csv", "curves.png")
CHECKPOINTS = ("checkpoint.pt", "checkpoint-before.pt")  # the one before, should the last be damaged

State = Literal["finished", "begun", "extends", "damaged", "new"]


@dataclass(frozen=True)
class Checkpoint:
    """What to go on from."""

    snapshot: bytes
    made_on: dict[str, Any]
    """the environment.json of the run that made it"""
    tables: dict[str, list[str]]
    """the lines of metrics.csv, timing.csv and diagnostics.csv up to there"""
    is_final: bool
    """whether it is of the last evaluation"""


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
    def state(self) -> State:
        """Whether it is finished (a failed one is not), has a checkpoint to go on from, or none."""
        with contextlib.suppress(OSError, ValueError, UserError):
            if read_run(self.path).status not in ("unfinished", "failed"):
                return "finished"
        if self._checkpoint():
            return "begun"
        if self.damaged_checkpoints:
            return "damaged"
        return "extends" if self._shorter_run() else "new"

    @property
    def damaged_checkpoints(self) -> list[Path]:
        """Checkpoint files that are not what was written."""
        return [self.path / name for name in CHECKPOINTS if _read_checkpoint(self.path / name) == "damaged"]

    def lock(self) -> bool:
        """Become the run's only writer until `unlock`; False if another process is."""
        import fcntl  # not on Windows, where the commands that train nothing work all the same

        with _storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(descriptor).st_ino == os.stat(self._lock_path).st_ino:
                        self._lock_descriptor = descriptor
                        return True
                except BlockingIOError:
                    os.close(descriptor)
                    return False
                except FileNotFoundError:
                    pass
                # Its holder removed the file between the opening and the locking: that lock is worth nothing.
                os.close(descriptor)

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
        with _storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "result.json").unlink(missing_ok=True)
            for temporary in self.path.glob(".*"):  # left by a process that was killed while it wrote
                temporary.unlink()
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

        `extend` goes on from a shorter run that was finished, where there is one.
        """
        checkpoint = self._checkpoint() or (self._shorter_run() if extend else None)
        self._take_over(checkpoint.tables if checkpoint else {"metrics": [], "timing": [], "diagnostics": []})
        return checkpoint

    def _take_over(self, tables: dict[str, list[str]]) -> None:
        self.metrics_lines, self.timing_lines = tables["metrics"], tables["timing"]
        self.diagnostics_lines = tables["diagnostics"]

    def _encode_checkpoint(self, snapshot: bytes, *, is_final: bool) -> bytes:
        tables = {"metrics": self.metrics_lines, "timing": self.timing_lines, "diagnostics": self.diagnostics_lines}
        header = json.dumps({"is_final": is_final, "made_on": self.environment, "tables": tables}).encode()
        body = len(header).to_bytes(8) + header + snapshot
        return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest() + body

    def _keep_checkpoint_before(self) -> None:
        newest, before = (self.path / name for name in CHECKPOINTS)
        with _storage_errors(newest), contextlib.suppress(FileNotFoundError):
            os.replace(newest, before)

    def _checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint to go on from: whole, and not of the end, after which nothing comes."""
        for name in CHECKPOINTS:
            checkpoint = _read_checkpoint(self.path / name)
            if isinstance(checkpoint, Checkpoint) and not checkpoint.is_final:
                return checkpoint
        return None

    def _shorter_run(self) -> Checkpoint | None:
        """The end of a finished run of which this one is the continuation, to the bit: the longest there is.

        The same config but for a smaller number of epochs or steps, which went all the way, ended with a regular
        evaluation and measurement, and whose learning rate did not depend on its length.
        """
        config = self.config
        length = "steps" if config.training.epochs is None else "epochs"
        wanted = config.decisive
        every = (config.training.eval_every or config.steps_per_epoch) * config.diagnostics.every
        # At its end a run records each γ and β, which a longer one does not there.
        if wanted["training"]["scheduler"]["name"] == "cosine" or config.diagnostics.norm_parameters:
            return None
        found: list[tuple[int, Path]] = []
        for path in self.path.parent.glob(f"{glob.escape(self.path.name[: -len(config.digest)])}*"):
            with contextlib.suppress(OSError, ValueError, UserError, KeyError, TypeError):
                run = read_run(path)
                theirs = RunConfig.model_validate(run.config).decisive
                if run.result is None or run.status != "completed" or theirs["training"][length] is None:
                    continue
                steps = run.result["steps"]
                theirs["training"][length] = wanted["training"][length]
                if theirs == wanted and steps < config.total_steps and steps % every == 0:
                    found.append((steps, path))
        for _, path in sorted(found, reverse=True):
            checkpoint = _read_checkpoint(path / "checkpoint.pt")
            if isinstance(checkpoint, Checkpoint) and checkpoint.is_final:
                return checkpoint
        return None

    def clear(self) -> None:
        """Forget what an earlier call left, so that the run starts over."""
        with _storage_errors(self.path):
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
        with _storage_errors(self.path):
            (self.path / "checkpoint-before.pt").unlink(missing_ok=True)

    def fail(self, result: dict[str, Any]) -> None:
        """Say why the run failed; the same command tries again, from the last checkpoint."""
        with _storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self._write({"config.yaml": self.config.to_yaml().encode(), **self._tables()})
        self._write({"result.json": to_json(result).encode()})

    def _tables(self) -> dict[str, bytes]:
        """The CSV files; metrics.csv last, as a folder that has it is read."""
        tables = {"timing.csv": "".join(["epoch,step,seconds,examples_per_second\n", *self.timing_lines])}
        if self.diagnostics_lines:
            tables["diagnostics.csv"] = "".join(["epoch,step,layer,quantity,value\n", *self.diagnostics_lines])
        return {name: text.encode() for name, text in (tables | {"metrics.csv": self.metrics_csv}).items()}

    def _write(self, files: dict[str, bytes]) -> None:
        """Write files in this order; all are there for good, even after a power cut, when it returns."""
        for name, content in files.items():
            write_atomic(self.path / name, content, lasting=name not in REPLACEABLE)
        _sync_folder(self.path)


def _read_checkpoint(path: Path) -> Checkpoint | Literal["damaged"] | None:
    """A checkpoint, if the file is there and whole."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return "damaged"
    checksum, body = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    if hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest() != checksum:
        return "damaged"
    end = 8 + int.from_bytes(body[:8])
    try:
        header = json.loads(body[8:end])
        return Checkpoint(body[end:], header["made_on"], header["tables"], header["is_final"])
    except (ValueError, KeyError):  # of an earlier format
        return "damaged"


def write_atomic(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file that is whole whenever it is there, if `lasting` even after a power cut; raises StorageError."""
    with _storage_errors(path):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def _sync_folder(path: Path) -> None:
    """See that the names of the files written so far are there after a power cut."""
    with _storage_errors(path):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from None


def to_json(data: Any) -> str:
    """Strict JSON, which has no NaN or infinity: null stands for them, and metrics.csv says which."""
    return json.dumps(_finite(data), indent=2, allow_nan=False) + "\n"


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
