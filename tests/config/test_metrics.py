"""Values for people."""

import pytest

from bncompare.config import Metric


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("train/loss", 0.25, "0.250"),
        ("train/loss", 0.371, "0.371"),
        ("train/loss", 2.0, "2.00"),
        ("train/loss", 123.4, "123"),
        ("train/loss", 0.0, "0"),
        ("train/loss", 2.5e13, "2.5e+13"),
        ("val/accuracy", 0.5, "50.0"),
        ("lr", 0.1, "0.1"),
    ],
)
def test_values_are_equally_exact(name: str, value: float, text: str) -> None:
    """Values beside each other have as many digits; what was set is shown as it was."""
    assert Metric(name).shown(value) == text
