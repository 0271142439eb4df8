"""A sweep of which there is nothing to train."""

import subprocess
import sys
from pathlib import Path

import pytest
from kit import TINY, call

SAYS_WHAT_IT_IMPORTED = """\
import sys
from bncompare import cli
try:
    cli.main(sys.argv[1:])
except SystemExit as ended:
    heavy = {"torch", "matplotlib", "scipy", "jinja2"} & set(sys.modules)
    sys.exit(ended.code or (", ".join(heavy) or None))
"""


@pytest.mark.parametrize("seeds", ["2", "{until: decided, at_least: 2, at_most: 2}"])
def test_that_all_is_finished_is_said_at_once(tmp_path: Path, seeds: str) -> None:
    """Whoever calls `train` again waits for nothing that trains or draws, however it was decided how many seeds."""
    (tmp_path / "tiny.yaml").write_text(TINY.replace("seeds: 2", f"seeds: {seeds}"))
    arguments = ["train", str(tmp_path / "tiny.yaml"), "--runs", str(tmp_path / "runs"), "--jobs", "1"]
    assert call(*arguments).code == 0
    command = [sys.executable, "-c", SAYS_WHAT_IT_IMPORTED, *arguments]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, "4 of 4 runs are finished already\n")
