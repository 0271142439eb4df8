"""Options of the test command."""

import os

import pytest

from bncompare.api import progress

# What is computed here is too small for more threads: they would wait for each other, and for those of other workers.
os.environ["OMP_NUM_THREADS"] = "1"
progress.SECONDS_BEFORE_WAITING = 3600.0  # however slow the machine: what is waited for is tested by itself


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=20, help="how often tests/faults kills a driver (default: 20)")
    parser.addoption("--kill-seed", type=int, default=None, help="replay the kills of a call that printed it")
