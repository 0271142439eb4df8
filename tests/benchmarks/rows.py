"""What a benchmark has measured, as a row of a table: beside what it is held against, and the goal."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEADER = "| what | bncompare | held against | ratio (range) | goal | n |\n| --- | --- | --- | --- | --- | ---: |"


@dataclass(frozen=True)
class Row:
    """The values of n rounds; where there is a baseline, each was measured in turn with one of its."""

    what: str
    ours: Sequence[float]
    unit: str
    against: str = ""
    """the baseline, if there is one"""
    theirs: Sequence[float] = ()
    goal: float | None = None
    """the most that is wanted: of the ratio where there is a baseline, else of the value"""

    def __str__(self) -> str:
        ours, theirs, ratio = self._value(self.ours), "", ""
        if self.against:
            theirs = f"{self.against}, {self._value(self.theirs)}"
            ratios = [a / b for a, b in zip(self.ours, self.theirs, strict=True)]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        elif len(self.ours) > 1:
            ours += f" ({self._digits(min(self.ours))}–{self._digits(max(self.ours))})"
        goal = "" if self.goal is None else f"≤ {self.goal:g}{'' if self.against else f' {self.unit}'}"
        return f"| {self.what} | {ours} | {theirs} | {ratio} | {goal} | {len(self.ours)} |"

    def _value(self, values: Sequence[float]) -> str:
        return f"{self._digits(statistics.median(values))} {self.unit}"

    @staticmethod
    def _digits(value: float) -> str:
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def show(rows: Iterable[Row]) -> None:
    """Print them as they come: medians, and of ratios the range."""
    print(HEADER)
    for row in rows:
        print(row, flush=True)
