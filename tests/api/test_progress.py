"""The estimate of the time left."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bncompare.api.progress import Tally, Waiting, duration, shared_steps, show_progress
from bncompare.api.screens import Lines, Terminal, screen_of
from bncompare.config.expand import load_experiment
from bncompare.execution.messages import Evaluated, Failure, Started
from bncompare.execution.plan import Planned, plan_runs
from bncompare.execution.rounds import Round
from bncompare.execution.sweep import Event
from bncompare.runs.folder import RunStore

CONFIG = """\
name: tiny
seeds: 4
data: {name: random_regression, samples: 40, test_samples: 0}
model: {name: mlp, hidden: [4]}
training: {epochs: 5, batch_size: 20, optimizer: {name: sgd, lr: 0.1}}
"""


@pytest.fixture
def planned(tmp_path: Path) -> list[Planned]:
    """Four runs of 10 steps."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return plan_runs(load_experiment(tmp_path / "tiny.yaml").runs, RunStore(tmp_path))


class Clock:
    """Seconds that a test lets pass."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def at(planned: Planned, step: int, outcome: Any = None) -> Event:
    ended = outcome and SimpleNamespace(status=outcome)
    return Event(planned, Evaluated(SimpleNamespace(step=step, outcome=ended), None))  # type: ignore[arg-type]


def test_time_left(planned: list[Planned]) -> None:
    """What is left takes as long a step as what is done, counted from when the first run began."""
    clock = Clock()
    tally = Tally(planned, clock)
    clock.now += 1000  # the processes warm up
    assert tally.left == ""
    tally.add(Event(planned[0], Started({}, False)))
    clock.now += 1
    tally.add(at(planned[0], 2))
    assert tally.left == ""  # too early to tell
    clock.now += 9
    tally.add(at(planned[0], 4))
    assert tally.left == "about 90 s left"  # 36 steps at 2.5 s
    tally.add(at(planned[0], 6, outcome="stopped early"))  # spares 4 steps
    assert tally.left == "about 50 s left"  # 30 at 10/6 s
    tally.add(Event(planned[1], Failure("boom", "")))
    tally.add(Event(planned[2], "finished elsewhere"))
    assert tally.left == "about 17 s left"
    assert (tally.ended, tally.failures, tally.ill) == (3, ["tiny no norm seed 1: boom"], "1 failed")
    tally.add(at(planned[3], 10, outcome="diverged"))
    assert (tally.left, tally.ill) == ("", "1 diverged, 1 failed")


def test_time_left_of_a_round(planned: list[Planned]) -> None:
    """Where others may follow it is that of the round; each counts on."""
    clock = Clock()
    tally = Tally([], clock)
    tally.begin(planned[:1], is_last=False)
    tally.add(Event(planned[0], Started({}, False)))
    clock.now += 10
    tally.add(at(planned[0], 2))
    assert tally.left == "about 40 s left of this round"  # 8 steps at 5 s
    tally.add(at(planned[0], 10, outcome="completed"))
    tally.begin(planned[1:3], is_last=True)
    assert (tally.ended, tally.total, tally.left) == (1, 3, "about 20 s left")


def test_steps_of_yesterday_cost_nothing_today(planned: list[Planned]) -> None:
    """A run that goes on from a checkpoint brings its steps, but not their time."""
    clock = Clock()
    tally = Tally(planned[:1], clock)
    tally.add(Event(planned[0], Started({}, True)))
    clock.now += 4
    tally.add(at(planned[0], 8))
    assert tally.left == ""
    clock.now += 4
    tally.add(at(planned[0], 9))
    assert tally.left == "about 8 s left"


def test_bars_move_between_evaluations(
    planned: list[Planned], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal what the runs say of their steps is seen between evaluations; lines stand above the bars."""
    told = list[str]()
    assert isinstance(screen_of(told.append), Lines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    screen, steps = screen_of(told.append), shared_steps(planned)
    assert isinstance(screen, Terminal)

    def events() -> Iterator[Event | Round]:
        yield Round(planned, [], is_last=True)
        yield Event(planned[1], Started({}, False))
        yield Event(planned[2], Started({}, False))
        steps[1] = 3
        yield Event(planned[2], Failure("boom", ""))

    failures = show_progress(Waiting(screen).before(events()), screen, told.append, steps)
    assert (failures, told) == (["tiny no norm seed 2: boom"], [])
    shown = capsys.readouterr().err
    assert "epoch 1.5/5" in shown
    assert shown.index("tiny no norm seed 2: FAILED: boom") < shown.index(" 1 failed")
    assert "1 of 4 runs failed:" in shown


def test_bars_are_there_while_something_is_waited_for(
    planned: list[Planned], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before torch is there to train with, a terminal shows how many runs there are, and what is waited for."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    screen = screen_of(print)
    waiting, shown = Waiting(screen), list[str]()

    def events() -> Iterator[Event | Round]:
        yield Round(planned, [], is_last=True)
        waiting("loading torch")
        shown.append(capsys.readouterr().err)
        yield Event(planned[0], Started({}, False))
        shown.append(capsys.readouterr().err)
        yield Event(planned[0], Failure("boom", ""))

    show_progress(waiting.before(events()), screen, print)
    before, after = shown
    assert "0/4" in before
    assert "loading torch…" in before
    assert "epoch 0.0/5" not in before
    assert "loading torch…" not in after


def test_what_is_waited_for() -> None:
    """Where stderr is no terminal it is said once it has taken a while, each thing once, and not after an event."""
    told: list[str] = []
    lines = Lines(told.append, patience=0.01)
    waiting = Waiting(lines)
    for what in ("loading torch", "reading mnist", "reading mnist"):
        waiting(what)
        if lines.timer is not None:
            lines.timer.join()
    assert told == ["loading torch…", "reading mnist…"]
    lines.patience = 60
    waiting("starting to train")
    timer = lines.timer
    assert list(waiting.before([])) == []
    assert timer is not None
    timer.join()  # it was cancelled
    Waiting(Lines(told.append, quiet=True, patience=0))("loading torch")
    assert told == ["loading torch…", "reading mnist…"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (99, "99 s"), (101, "2 min"), (5999, "100 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, text: str) -> None:
    """In the unit that reads best."""
    assert duration(seconds) == text
