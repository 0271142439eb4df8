"""Run folders: every path, file name and atomic write; and reading them back.

    runs/<experiment>/<variant>-s<seed>-<digest8>/

A file appears under its name only when it is whole, and `result.json` is written last: a run is finished
when it is there.
"""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bncompare.config import strict_yaml
from bncompare.config.schema import LABEL, NAME, RunConfig
from bncompare.errors import StorageError, UserError

MAX_FILE_BYTES = 64 * 1024 * 1024  # of a file read from a run folder
MAX_SEARCH_DEPTH = 4
CHECKSUM_BYTES = 32

FILES = (  # result.json first: a folder that loses files is not finished
    *("result.json", "checkpoint.pt", "config.yaml", "environment.json", "metrics.csv", "timing.csv"),
    *("diagnostics.csv", "curves.png", "best.safetensors"),
)

State = Literal["finished", "begun", "damaged", "new"]


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
    metrics_lines: list[str] = field(default_factory=list)
    timing_lines: list[str] = field(default_factory=list)
    diagnostics_lines: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
        """Whether it is finished (a failed one is not), or has a checkpoint to go on from, a damaged one, or none."""
        with contextlib.suppress(OSError, ValueError, UserError):
            if read_run(self.path).status not in ("unfinished", "failed"):
                return "finished"
        if self._checkpoint():
            return "begun"
        return "damaged" if self._read_checkpoint() == b"" else "new"

    @property
    def metrics_csv(self) -> str:
        """The text of metrics.csv so far."""
        header = ",".join(["epoch", "step", *self.config.metric_names, "lr"]) + "\n"
        return "".join([header, *self.metrics_lines])

    def begin(self, environment: dict[str, Any]) -> None:
        """Create the folder and write what is known before training."""
        with _storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "result.json").unlink(missing_ok=True)
        self._write("config.yaml", self.config.to_yaml().encode())
        self._write("environment.json", to_json(environment).encode())

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
        self._write_tables()
        self._write_checkpoint(snapshot, is_final=False)

    def resume(self) -> bytes | None:
        """Take over the evaluations up to the checkpoint and return its snapshot; None if there is none."""
        self.metrics_lines, self.timing_lines, self.diagnostics_lines = [], [], []
        checkpoint = self._checkpoint()
        if checkpoint is None:
            return None
        lines, snapshot = checkpoint
        self.metrics_lines, self.timing_lines = lines["metrics"], lines["timing"]
        self.diagnostics_lines = lines["diagnostics"]
        return snapshot

    def _write_checkpoint(self, snapshot: bytes, *, is_final: bool) -> None:
        tables = {"metrics": self.metrics_lines, "timing": self.timing_lines, "diagnostics": self.diagnostics_lines}
        lines = json.dumps({"is_final": is_final, **tables}).encode()
        body = len(lines).to_bytes(8) + lines + snapshot
        self._write("checkpoint.pt", hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest() + body)

    def _checkpoint(self) -> tuple[dict[str, Any], bytes] | None:
        """Header and snapshot of a checkpoint to go on from: whole, and not of the end, after which nothing comes."""
        body = self._read_checkpoint()
        if not body:
            return None
        end = 8 + int.from_bytes(body[:8])
        header = json.loads(body[8:end])
        return None if header["is_final"] else (header, body[end:])

    def _read_checkpoint(self) -> bytes | None:
        """What checkpoint.pt holds after its checksum; None if there is no file, nothing if it is damaged."""
        try:
            content = (self.path / "checkpoint.pt").read_bytes()
        except OSError:
            return None
        checksum, body = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        return body if hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest() == checksum else b""

    def clear(self) -> None:
        """Forget what an earlier call left, so that the run starts over."""
        with _storage_errors(self.path):
            for name in FILES:
                (self.path / name).unlink(missing_ok=True)

    def finish(self, result: dict[str, Any], weights: bytes | None, curves_png: bytes, snapshot: bytes) -> None:
        """Write everything that is left, result.json last."""
        self._write_tables()
        self._write("curves.png", curves_png)
        if weights is not None:
            self._write("best.safetensors", weights)
        self._write_checkpoint(snapshot, is_final=True)
        self._write("result.json", to_json(result).encode())

    def fail(self, result: dict[str, Any]) -> None:
        """Say why the run failed; the same command tries again, from the last checkpoint."""
        self._write_tables()
        self._write("result.json", to_json(result).encode())

    def _write_tables(self) -> None:
        self._write("metrics.csv", self.metrics_csv.encode())
        self._write("timing.csv", "".join(["epoch,step,seconds,examples_per_second\n", *self.timing_lines]).encode())

        if self.diagnostics_lines:
            text = "".join(["epoch,step,layer,quantity,value\n", *self.diagnostics_lines])
            self._write("diagnostics.csv", text.encode())

    def _write(self, name: str, content: bytes) -> None:
        write_atomic(self.path / name, content)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that is whole whenever it is there, even after a power cut; raises StorageError."""
    with _storage_errors(path):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
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


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class LoadedRun:
    """What a run folder says, finished or not."""

    path: Path
    experiment: str
    variant: str
    variant_index: int
    seed: int
    config: dict[str, Any]
    metrics: dict[str, list[float]]
    """a column of metrics.csv each"""
    seconds: float
    """wall-clock of training and evaluation, from timing.csv"""
    result: dict[str, Any] | None
    """result.json; None while the run is not finished"""

    @property
    def status(self) -> str:
        """completed, stopped_early, diverged, failed, or unfinished."""
        return str(self.result["status"]) if self.result else "unfinished"

    def best(self, metric: str) -> float | None:
        """A metric at the best evaluation; None if there is none or it was not finite."""
        return _number((self.result or {}).get("best"), metric)

    def last(self, metric: str) -> float | None:
        """A metric at the last evaluation, likewise."""
        return _number((self.result or {}).get("last"), metric)


def _number(values: Any, key: str) -> float | None:
    value = (values or {}).get(key)
    if not isinstance(value, int | float):
        return None
    with contextlib.suppress(OverflowError):  # a whole number of hundreds of digits
        return float(value)
    return None


def load_runs(paths: Sequence[Path]) -> tuple[list[LoadedRun], list[str]]:
    """All runs at or below some folders, in order, and a warning for each folder that can't be read.

    Raises UserError for a path that does not exist or holds no run.
    """
    runs: dict[Path, LoadedRun] = {}
    warnings: list[str] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: {'is a file, not a run folder' if path.exists() else 'no such folder'}")
        folders = list(_run_folders(path, MAX_SEARCH_DEPTH, warnings))
        if not folders and not warnings:
            raise UserError(f"{path}: no run folders here or below (a run folder has a config.yaml and metrics.csv)")
        for folder in folders:
            try:
                runs.setdefault(folder.resolve(), read_run(folder))
            except (OSError, ValueError, UserError) as error:
                reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
                warnings.append(f"{folder}: skipped: {reason.splitlines()[0]}")
    # In the order of the config, which the names of the folders do not tell.
    ordered = sorted(runs.values(), key=lambda run: (run.path.parent, run.variant_index, run.variant, run.seed))
    return ordered, warnings


def _run_folders(path: Path, depth: int, warnings: list[str]) -> Iterator[Path]:
    try:
        children = sorted(path.iterdir())
    except OSError as error:
        warnings.append(f"{path}: skipped: {error.strerror}")
        return
    if {"metrics.csv", "result.json"} & {child.name for child in children}:
        yield path
    elif depth > 0:
        for child in children:
            if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
                yield from _run_folders(child, depth - 1, warnings)


def read_run(path: Path) -> LoadedRun:
    """One run folder, written here or elsewhere. Raises OSError, ValueError or UserError if it is not one."""
    config = strict_yaml.parse(_read(path / "config.yaml"), "config.yaml").data
    try:
        experiment, (seed,) = config["name"], config["seeds"]
        variant, index = config["variant"]["label"], config["variant"]["index"]
    except (KeyError, TypeError, ValueError):
        raise ValueError("config.yaml is not that of one run") from None
    # They become file names and go to the terminal.
    if not (isinstance(experiment, str) and NAME.fullmatch(experiment) and experiment.strip(".")):
        raise ValueError("config.yaml has no valid name")
    if not (isinstance(variant, str) and LABEL.fullmatch(variant)):
        raise ValueError("config.yaml has no valid variant label")
    if not all(isinstance(number, int) for number in (seed, index)):
        raise ValueError("config.yaml: seed and variant index must be whole numbers")
    metrics = parse_metrics(_read(path / "metrics.csv"))
    result = _read_result(path)
    if result is not None and result["status"] != "failed" and metrics["step"][-1:] != [result.get("steps")]:
        raise ValueError("metrics.csv does not end where result.json does")
    seconds = sum(_column(_table(_read(path / "timing.csv"), "timing.csv"), "seconds"))
    if not math.isfinite(seconds):
        raise ValueError("timing.csv: the seconds are not finite")
    return LoadedRun(path, experiment, variant, index, seed, config, metrics, seconds, result)


def parse_metrics(text: str) -> dict[str, list[float]]:
    """The columns of a metrics.csv. Raises ValueError."""
    rows = _table(text, "metrics.csv")
    return {name: _column(rows, name) for name in rows[0]}


def _table(text: str, name: str) -> list[list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise ValueError(f"{name}: {error}") from None
    if not rows or rows[0][:2] != ["epoch", "step"]:
        raise ValueError(f"{name} does not start with epoch,step")
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"{name} has rows of different lengths")
    return rows


def _column(rows: list[list[str]], name: str) -> list[float]:
    if name not in rows[0]:
        raise ValueError(f"no column {name}")
    index = rows[0].index(name)
    return [float(row[index]) for row in rows[1:]]


def _read_result(path: Path) -> dict[str, Any] | None:
    """result.json, of the shape that is written here; None if there is none. Raises OSError or ValueError."""
    if not (path / "result.json").exists():
        return None
    try:
        result = json.loads(_read(path / "result.json"))
    except RecursionError:
        raise ValueError("result.json is nested too deep") from None
    if not isinstance(result, dict) or not isinstance(result.get("status"), str):
        raise ValueError("result.json has no status")
    if not all(isinstance(result.get(key), dict | None) for key in ("best", "last", "test")):
        raise ValueError("result.json: best, last and test must be mappings")
    return result


def read_norm_parameters(path: Path) -> dict[str, dict[str, Any]]:
    """γ (`weight`) and β (`bias`) of each norm layer in best.safetensors, as NumPy arrays; torch is not imported."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load((path / "best.safetensors").read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path / 'best.safetensors'}: cannot be read: {error}") from None
    layers: dict[str, dict[str, Any]] = {}
    for name in sorted(tensors):
        layer, _, quantity = name.rpartition(".")
        if layer.endswith(".norm") and quantity in ("weight", "bias"):
            layers.setdefault(layer, {})[quantity] = tensors[name]
    return layers


def _read(path: Path) -> str:
    if not path.is_file():  # a pipe would never end
        raise FileNotFoundError(None, "no such file", path.name)
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_FILE_BYTES >> 20} MiB")
    return content.decode()
