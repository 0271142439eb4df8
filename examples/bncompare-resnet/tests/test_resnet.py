"""The model in every command that a config goes through."""

import json
import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "resnet.yaml"


def bncompare(*arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "bncompare", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_graph() -> None:
    """A block that changes its number of channels has a convolution on its shortcut; the last map is averaged."""
    tables = json.loads(bncompare("graph", str(CONFIG), "--json"))
    rows = {row["name"]: row for row in tables["batch"]}
    assert rows["stage.1.0.first.conv"]["output_shape"] == [16, 4, 4]
    assert rows["stage.1.0.shortcut.conv"]["parameters"] == 8 * 16
    assert rows["stage.1.0.out.pool"]["output_shape"] == [16, 1, 1]


def test_train(tmp_path: Path) -> None:
    """It learns with BatchNorm: after 100 steps far more than a tenth of the digits."""
    bncompare("train", str(CONFIG), "--seeds", "1", "--jobs", "1", "--runs", str(tmp_path), "--no-report")
    results = [json.loads(path.read_text()) for path in tmp_path.glob("resnet/batch*/result.json")]
    assert [result["best"]["test/accuracy"] > 0.8 for result in results] == [True]
