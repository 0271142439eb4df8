"""Hostile checkpoints: a good checksum and odd content. The run fails with a printable line, and nothing is lost."""

import functools
import io
import json
import operator
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import copy

RED = "\x1b[31mred\x07\u202e"


Change = Callable[[dict[str, Any]], Any]
"""Changes what it is given, or returns what comes in its place; bytes come as they are."""


def keep(_: dict[str, Any]) -> None:
    """As it was."""


def rewritten(content: bytes, change_header: Change, change_state: Change) -> bytes:
    """A checkpoint file with another header or state, and a good checksum."""
    end = 40 + int.from_bytes(content[32:40])
    header, state = json.loads(content[40:end]), torch.load(io.BytesIO(content[end:]), weights_only=True)
    text, snapshot = change_header(header), change_state(state)
    if not isinstance(text, bytes):
        text = json.dumps(header if text is None else text).encode()
    if not isinstance(snapshot, bytes):
        buffer = io.BytesIO()
        torch.save(state if snapshot is None else snapshot, buffer)
        snapshot = buffer.getvalue()
    body = len(text).to_bytes(8) + text + snapshot
    return blake2b(body, digest_size=32).digest() + body


def put(*path: Any) -> Change:
    """Set what stands at a path of keys to the last argument."""
    *keys, last, value = path
    return lambda tree: functools.reduce(operator.getitem, keys, tree).update({last: value})


def without(*path: Any) -> Change:
    *keys, last = path
    return lambda tree: functools.reduce(operator.getitem, keys, tree).pop(last) and None


class Code:
    """Writes a file when it is unpickled the unsafe way."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("code-ran"),)


def bomb(state: dict[str, Any]) -> bytes:
    """An archive that becomes a thousand times as large."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(OrderedDict()))
        archive.writestr("archive/data/0", bytes(10_000_000))
    return buffer.getvalue()


HEADERS: dict[str, Change] = {
    "is a list": lambda header: [],
    "is a number": lambda header: 3,
    "is not JSON": lambda header: b"{",
    "is not UTF-8": lambda header: b"\xff\xfe",
    "is empty": lambda header: b"",
    "is deep": lambda header: b"[" * 100_000,
    "has no keys": lambda header: {},
    "is_final is a text": put("is_final", RED),
    "made_on is a list": put("made_on", [RED]),
    "made_on is a text": put("made_on", RED),
    "versions are a list": put("made_on", "versions", [1]),
    "versions are numbers": put("made_on", "versions", {"torch": 2}),
    "a version with escapes": put("made_on", "versions", "torch", RED),
    "a CPU with escapes": put("made_on", "cpu", RED),
    "a CPU that is a list": put("made_on", "cpu", [RED]),
    "tables are a list": put("tables", []),
    "no metrics": without("tables", "metrics"),
    "metrics are a text": put("tables", "metrics", RED),
    "metrics are numbers": put("tables", "metrics", [1, 2]),
    "a row of metrics too short": put("tables", "metrics", ["1,3\n"]),
    "a row without an end": put("tables", "metrics", ["1,3,0.5,0.5,0.1"]),
    "escapes in metrics": put("tables", "metrics", [f"1,3,{RED},0.5,0.1\n"]),
    "escapes in timing": put("tables", "timing", [f"1,3,{RED},0.5\n"]),
    "escapes in diagnostics": put("tables", "diagnostics", [f"1,3,{RED},x,0.5\n"]),
    "half a surrogate pair": put("tables", "diagnostics", ["1,3,\ud800,x,0.5\n"]),
}
STATES: dict[str, Change] = {
    "is empty": lambda state: b"",
    "is no archive": lambda state: RED.encode() * 100,
    "is a list": lambda state: [1],
    "is a number": lambda state: 3,
    "runs code": put("code", Code()),
    "is a bomb": bomb,
    "has no keys": lambda state: {},
    "has a key too many": put(RED, 1),
    "step is a text": put("step", RED),
    "step is not whole": put("step", 3.0),
    "step is negative": put("step", -1),
    "step is beyond the end": put("step", 10**30),
    "largest_loss is a text": put("largest_loss", RED),
    "no weights": put("model", OrderedDict()),
    "weights are numbers": put("model", "output.linear.bias", 1.0),
    "weights of another shape": put("model", "output.linear.bias", torch.zeros(7)),
    "weights of another type": put("model", "output.linear.bias", torch.zeros(1, dtype=torch.int64)),
    "weights of a giant shape": put("model", "output.linear.bias", torch.zeros(1).expand(10**12)),
    "best weights of a giant shape": put("best", "weights", "output.linear.bias", torch.zeros(1).expand(10**12)),
    "best weights are a text": put("best", "weights", RED),
    "best metrics are a list": put("best", "metrics", [1]),
    "a best metric with escapes": put("best", "metrics", RED, 0.5),
    "no best": without("best"),
    "moments of another shape": put("optimizer", "state", 0, "momentum_buffer", torch.zeros(10**6)),
    "moments are a text": put("optimizer", "state", 0, "momentum_buffer", RED),
    "moments of no parameter": put("optimizer", "state", 99, {}),
    "groups are missing": put("optimizer", "param_groups", []),
    "a learning rate that is a text": put("optimizer", "param_groups", 0, "lr", RED),
    "the scheduler is a list": put("scheduler", [RED]),
    "the scheduler's best is a text": put("scheduler", "best", RED),
    "the scheduler calls a number": put("scheduler", "step", 5),
    "patience is a number": put("patience", 1),
    "patience counts texts": put("patience", "without_improvement", RED),
}
CASES = {f"header {name}": (change, keep) for name, change in HEADERS.items()}
CASES |= {f"state {name}": (keep, change) for name, change in STATES.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_checkpoint(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """The run fails with one printable line and exit code 1, its checkpoint stays, and no code runs."""
    monkeypatch.chdir(tmp_path)
    copied = copy(begun, tmp_path)
    checkpoint = copied.path / "checkpoint.pt"
    hostile = rewritten(checkpoint.read_bytes(), *CASES[case])
    checkpoint.write_bytes(hostile)
    ended = copied.train()
    (line,) = [line for line in ended.err.splitlines() if not line.startswith("warning: ")]
    assert (ended.code, line.isprintable()) == (1, True), line
    assert line.startswith("[1/1] tiny BatchNorm seed 0: FAILED: ")
    assert "--fresh starts over" in line or case == "state the scheduler calls a number"
    assert ("would become larger than it is" in line) == (case == "state is a bomb")
    assert checkpoint.read_bytes() == hostile
    assert not Path("code-ran").exists()


def test_a_rewritten_checkpoint_is_a_checkpoint(begun: Path, whole: Path, tmp_path: Path) -> None:
    """The table's way to write one is right: unchanged, it is gone on from, and --fresh starts over from none."""
    copied = copy(begun, tmp_path)
    checkpoint = copied.path / "checkpoint.pt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(rewritten(content, keep, keep))
    assert copied.train().code == 0
    good = copy(whole, tmp_path / "good").files()["metrics.csv"]
    assert copied.files()["metrics.csv"] == good
    (copied.path / "result.json").unlink()
    checkpoint.write_bytes(rewritten(content, lambda header: [], keep))
    assert copied.train().code == 1
    assert copied.train("--fresh").code == 0
    assert copied.files()["metrics.csv"] == good
