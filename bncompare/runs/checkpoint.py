"""Checkpoints: encoded with a checksum, and read back."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from bncompare.config import MAX_TABLE_BYTES, RunConfig, layers
from bncompare.errors import UserError, printable
from bncompare.runs.documents import validated
from bncompare.runs.files import read_bytes
from bncompare.runs.tables import Tables

CHECKSUM_BYTES = 32
ADVICE = "--fresh starts over"


class Damaged(ValueError):
    """A checkpoint file that is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """What to go on from."""

    snapshot: bytes
    made_on: dict[str, Any]
    """the environment.json of the run that made it"""
    tables: Tables
    """up to there"""
    is_final: bool
    """whether it is of the last evaluation"""

    def to_bytes(self) -> bytes:
        """The file: a checksum of the rest, the length of a JSON header, the header, the snapshot."""
        header = {"is_final": self.is_final, "made_on": self.made_on, "tables": self.tables.lines}
        text = json.dumps(header).encode()
        body = len(text).to_bytes(8) + text + self.snapshot
        return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest() + body


class _MadeOn(BaseModel):
    model_config = ConfigDict(extra="allow")

    versions: dict[str, str] = {}


class _Header(BaseModel):
    is_final: StrictBool
    made_on: _MadeOn
    tables: Annotated[dict[Literal["metrics", "timing", "diagnostics"], list[str]], Field(min_length=3)]


def read_checkpoint(path: Path, run: RunConfig) -> Checkpoint:
    """A checkpoint of a run, whole.

    Raises OSError if it is not there or cannot be read, Damaged if it is not what was written, and UserError if its
    checksum is good and its content not that of a checkpoint. The snapshot in it is looked at when it is loaded.
    """
    content = read_bytes(path, _max_bytes(run))
    checksum, body = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    if hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest() != checksum:
        raise Damaged(f"{path}: damaged")
    end = 8 + int.from_bytes(body[:8])
    try:
        header = json.loads(body[8:end])
        validated(_Header, header, "its header")
        tables = Tables(run.metrics_header, header["tables"])
        tables.check()
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a checkpoint of this run: {printable(str(error))}; {ADVICE}") from None
    return Checkpoint(body[end:], header["made_on"], tables, header["is_final"])


def _max_bytes(run: RunConfig) -> int:
    """More than a checkpoint of this model can take: weights, the best ones, two moments, what norms keep, tables."""
    values = 0
    for layer in layers(run):
        values += layer.num_weights + layer.out_features * layer.out_features + math.prod(layer.shape)
    return 64 * values + 4 * MAX_TABLE_BYTES
