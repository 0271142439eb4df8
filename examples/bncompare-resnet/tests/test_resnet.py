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


def test_images_of_an_npz_file(tmp_path: Path) -> None:
    """On coloured images of one's own, with BatchNorm it tells the shapes apart; chance is a third."""
    write = "import pathlib, runpy; draw = runpy.run_path({!r}); draw['write'](pathlib.Path({!r}))"
    example = CONFIG.parent
    data = tmp_path / "shapes.npz"
    subprocess.run([sys.executable, "-c", write.format(str(example / "make_shapes.py"), str(data))], check=True)
    settings = ["--set", f"data.path={data}", "--set", "compare.model.norm=[batch]", "--seeds", "1", "--jobs", "1"]
    bncompare("train", str(example / "shapes.yaml"), *settings, "--runs", str(tmp_path), "--no-report")
    (result,) = [json.loads(path.read_text()) for path in tmp_path.glob("shapes/batch*/result.json")]
    assert result["best"]["test/accuracy"] > 0.8
