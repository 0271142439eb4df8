"""Rounds of runs, until all that is asked is decided.

Of an experiment whose seeds are `{until: decided}` the first round is `at_least` seeds of all variants. Then the runs
so far are looked at, as `report` and `check` would, and each claim and main comparison that is undecided takes its
next `at_a_time` seeds, of all the variants that it needs, so that pairs stay complete. It ends when nothing is
undecided, or there are no more seeds. Where settings are chosen, the trials are the first round, and what they chose
is the second, on other seeds. All other experiments are one round.

What a round holds follows from the results of the rounds before, whatever else lies in the folder, however many runs
train at a time, and wherever an earlier call was interrupted: that one's rounds are gone through again, with nothing
to train. A run that failed has no result to go by, so its experiment ends with that round; the same command tries it
again.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncompare.config import RunConfig, Until, one_of_each_norm
from bncompare.errors import UserError
from bncompare.execution.judging import chosen_by, trials_in
from bncompare.execution.plan import Planned
from bncompare.runs import LoadedRun, experiments

if TYPE_CHECKING:
    from bncompare.comparison import Undecided
    from bncompare.execution.sweep import Event


MAX_LISTED = 3  # of what is undecided, in a line


@dataclass(frozen=True)
class Round:
    """The beginning of a round."""

    planned: list[Planned]
    undecided: list[str]
    """why there is another one, a line an experiment"""
    is_last: bool
    """whether there is none after it for sure"""


class Rounds:
    """A plan, round by round, all its experiments together."""

    def __init__(self, planned: Sequence[Planned]) -> None:
        self.plan = planned
        """all that may be trained"""
        members: dict[Path, list[Planned]] = {}
        for item in planned:
            members.setdefault(item.folder.path.parent, []).append(item)
        self.courses = {folder: Course(of, until_of([item.run for item in of])) for folder, of in members.items()}
        """of each experiment, by its folder"""

    @property
    def planned(self) -> list[Planned]:
        """The runs of the rounds so far."""
        return [item for course in self.courses.values() for item in course.begun]

    @property
    def at_most(self) -> int:
        """How many runs there can be."""
        return sum(course.at_most for course in self.courses.values())

    @property
    def is_open(self) -> bool:
        """Whether other rounds may follow."""
        return any(not course.is_over and len(course.begun) < len(course.planned) for course in self.courses.values())

    def __iter__(self) -> Iterator[Round]:
        """Each round, when the runs of the one before have ended."""
        while members := [item for course in self.courses.values() for item in course.next_round()]:
            reasons = [
                course.open_question for course in self.courses.values() if course.undecided and not course.is_over
            ]
            reasons += [course.choice for course in self.courses.values() if course.has_chosen]
            yield Round(members, reasons, not self.is_open)

    def train(
        self, train: Callable[[Sequence[Planned]], Generator["Event", None, None]]
    ) -> Generator["Event | Round", None, None]:
        """Train them all; `train` is `run_experiment` with its arguments."""
        for round_ in self:
            yield round_
            yield from train(round_.planned)


def until_of(runs: Sequence[RunConfig]) -> Until | None:
    """How long an experiment with these runs goes on; None if they are to be trained as they are.

    So is a part of a design, such as the config.yaml of one of its runs.
    """
    design = runs[0].design
    return design if isinstance(design, Until) and len({run.seed for run in runs}) == design.at_most else None


@dataclass
class Course:
    """An experiment on its way until it is decided."""

    planned: list[Planned]
    """all that may be trained, seed after seed"""
    until: Until | None
    begun: list[Planned] = field(default_factory=list)
    """those of the rounds so far"""
    undecided: list["Undecided"] = field(default_factory=list)
    """at the last look"""
    decided: dict[str, int] = field(default_factory=dict)
    """what was undecided at some look, and after how many seeds it no longer was"""
    num_seeds: int = 0
    """how many there were at the last look"""
    has_failed: bool = False
    """whether a run has no result"""
    has_chosen: bool = False
    """whether its trials have ended, and what they chose has begun"""
    is_over: bool = False
    loaded: list[LoadedRun] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.trials = trials_in(self.planned)
        """what chooses; else all"""

    @property
    def has_choice(self) -> bool:
        """Whether its settings are chosen first."""
        return len(self.trials) < len(self.planned)

    @property
    def at_most(self) -> int:
        """How many runs there can be."""
        return len(self.trials) + self._num_norms * len(self._fresh) if self.has_choice else len(self.planned)

    def next_round(self) -> list[Planned]:
        """What is to be trained next; nothing at the end."""
        if self.is_over:
            return []
        members = self._next()
        self.begun += members
        self.is_over = not members or self.has_chosen
        return members

    def _next(self) -> list[Planned]:
        if self.until is None:
            return self._chosen() if self.begun else self.trials
        if not self.begun:
            return [item for item in self.planned if item.run.seed < self.until.at_least]
        self._look()
        return [] if self.has_failed else self._needed(self.until.at_a_time)

    def _chosen(self) -> list[Planned]:
        """What the trials chose, if there are others than trials."""
        if self.has_choice:
            chosen = chosen_by(self.trials, self.planned)
            self.has_chosen, self.has_failed = chosen is not None, chosen is None
            return chosen or []
        return []

    def _look(self) -> None:
        """Judge the runs so far."""
        from bncompare.comparison import undecided

        for item in self.begun[len(self.loaded) :]:
            with suppress(OSError, ValueError, UserError):
                run = item.load()
                self.loaded += [run] if run.status.has_ended else []
        self.has_failed = len(self.loaded) < len(self.begun)
        self.num_seeds = len({item.run.seed for item in self.begun})
        before = [item.what for item in self.undecided]
        self.undecided = [item for found in experiments(self.loaded) for item in undecided(found)]
        still = {item.what for item in self.undecided}
        self.decided |= dict.fromkeys(before, self.num_seeds)
        self.decided = {what: after for what, after in self.decided.items() if what not in still}

    def _needed(self, at_a_time: int) -> list[Planned]:
        """Of each that is undecided the next seeds, of the variants that lack them."""
        begun = {item.folder.path for item in self.begun}
        lacking = [item for item in self.planned if item.folder.path not in begun]
        needed = set[Path]()
        for matter in self.undecided:
            its = [item for item in lacking if item.run.variant.label in matter.variants]
            seeds = list(dict.fromkeys(item.run.seed for item in its))[:at_a_time]
            needed |= {item.folder.path for item in its if item.run.seed in seeds}
        return [item for item in lacking if item.folder.path in needed]

    # ------------------------------------------------------------ in words

    @property
    def open_question(self) -> str:
        """`tiny: not decided after 4 seeds: BatchNorm against no norm, test loss`"""
        return f"{self.planned[0].run.name}: not decided after {self.num_seeds} seeds: {_listed(self._undecided)}"

    @property
    def outcome(self) -> list[str]:
        """`decided after 6 to 9 seeds: A; B`, `not decided after 40 seeds, the most: C`; empty of fixed seeds."""
        if self.until is None:
            return ["nothing is chosen, and so nothing judged, as a trial has no result"] * self.has_failed
        lines = []
        if self.decided:
            after = " to ".join(str(n) for n in sorted({min(self.decided.values()), max(self.decided.values())}))
            lines.append(f"decided after {after} seeds: {_listed(list(self.decided))}")
        if self.undecided or self.has_failed:
            why = "as a run failed" if self.has_failed else "the most"
            what = f": {_listed(self._undecided)}" if self.undecided else ""
            lines.append(f"not decided after {self.num_seeds} seeds, {why}{what}")
        return lines or [f"decided after {self.num_seeds} seeds"]

    @property
    def choice(self) -> str:
        """`tiny: the chosen setting of each norm goes on with 6 fresh seeds`"""
        name, fresh = self.planned[0].run.name, len(self._fresh)
        return f"{name}: the chosen setting of each norm goes on with {fresh} fresh seed{'' if fresh == 1 else 's'}"

    @property
    def budget(self) -> str:
        """What is spent on the choice and on the judgement; empty where nothing is chosen."""
        if not self.has_choice:
            return ""
        seeds, fresh, norms = self.planned[0].run.tuning_seeds, self._fresh, self._num_norms
        each = len(self.trials) // (norms * len(seeds))
        trials = f"{each} trials × {len(seeds)} seeds for each of {norms} norms: {len(self.trials)} runs"
        judged = f"{len(fresh)} fresh seeds for the chosen of each: {norms * len(fresh)} runs"
        return f"{self.planned[0].run.name}: {trials}; then {judged}"

    @property
    def _fresh(self) -> set[int]:
        return {item.run.seed for item in self.planned} - set(self.planned[0].run.tuning_seeds)

    @property
    def _num_norms(self) -> int:
        return len(one_of_each_norm([item.run for item in self.trials]))

    def to_plain(self) -> dict[str, Any]:
        """The same for `--json`."""
        return {
            "experiment": self.planned[0].run.name,
            "seeds": self.num_seeds,
            "at_most": self.until.at_most if self.until else None,
            "decided": self.decided,
            "undecided": self._undecided,
            "failed": self.has_failed,
        }

    @property
    def _undecided(self) -> list[str]:
        return [item.what for item in self.undecided]


def _listed(what: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = [f"and {len(what) - MAX_LISTED} more"] if len(what) > MAX_LISTED else []
    return "; ".join([*what[:MAX_LISTED], *more])
