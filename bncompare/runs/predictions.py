"""predictions.csv: of each image of the test set, in its order, its class and what the best weights say."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bncompare.config import MAX_TABLE_BYTES
from bncompare.runs.documents import Result
from bncompare.runs.files import read_text

HEADER = "class,predicted\n"
ROWS = re.compile(r"(?:[0-9]{1,3},[0-9]{1,3}\n)+")


@dataclass(frozen=True)
class Predictions:
    """What a run's best weights say of the test set."""

    classes: list[int]
    """of each image, in the order of the test set"""
    predicted: list[int]

    @property
    def accuracy(self) -> float:
        """The share that is right: to the bit the recorded test accuracy of the best weights."""
        return sum(map(int.__eq__, self.classes, self.predicted)) / len(self.classes)


def predictions_csv(rows: Iterable[tuple[int, int]]) -> bytes:
    """The file, of (class, predicted) of each image."""
    return "".join([HEADER, *(f"{label},{answer}\n" for label, answer in rows)]).encode()


def read_predictions(path: Path, result: Result) -> Predictions:
    """Those of a finished run. Raises OSError, or ValueError if they are not those of its result.json."""
    text = read_text(path / "predictions.csv", MAX_TABLE_BYTES)
    body = text.removeprefix(HEADER)
    if body == text or not ROWS.fullmatch(body):
        raise ValueError(f"predictions.csv is not {HEADER.rstrip()} and two classes a line")
    values = [int(value) for value in body[:-1].replace("\n", ",").split(",")]
    predictions = Predictions(values[::2], values[1::2])
    if predictions.accuracy != (result.best or {}).get("test/accuracy"):
        raise ValueError("predictions.csv has not the test accuracy that result.json has")
    return predictions
