"""The files of a run folder: their names, what they hold, how large they may be."""

import re
from typing import Literal

from bncompare.config import MAX_BYTES

CHECKPOINTS = ("checkpoint.pt", "checkpoint-before.pt")  # the one before, should the last be damaged
FILES = (  # result.json first: a folder that loses files is not finished
    *("result.json", *CHECKPOINTS, "config.yaml", "environment.json"),
    *("metrics.csv", "timing.csv", "diagnostics.csv", "best.safetensors", "predictions.csv"),
)
# A finished run that loses one of them is finished, and the same command writes it again: not worth the wait for the
# disk, which is most of what a tiny run costs.
REPLACEABLE = ("config.yaml", "environment.json", "timing.csv", "predictions.csv")

State = Literal["finished", "begun", "extends", "damaged", "new", "unreadable"]

MAX_TEXT_BYTES = MAX_BYTES  # of config.yaml and the JSON files
MAX_NUMBER = 1e100  # far beyond float32
MAX_COLUMNS = 100

MEASURED = re.compile(r"[ -~αβγσ‖]{1,120}")  # a layer or a quantity, which goes to the terminal
COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}(/[A-Za-z0-9_]{1,40})?")  # becomes a file name
