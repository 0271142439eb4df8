"""When enough seeds were trained: what the runs so far leave undecided."""

from dataclasses import dataclass

from bncompare.comparison.ask import Ask
from bncompare.comparison.claims import claims_of, judge
from bncompare.comparison.comparison import compare_experiment
from bncompare.config import selects
from bncompare.runs import ExperimentRuns


@dataclass(frozen=True)
class Undecided:
    """A main comparison or a claim that more seeds may decide."""

    what: str
    """in people's words"""
    variants: frozenset[str]
    """the labels of those that it needs"""


def undecided(found: ExperimentRuns) -> list[Undecided]:
    """The pairs of an experiment without a verdict by its main measure, and its inconclusive claims.

    They are judged as a report and `check` judge them, so more seeds may be asked for after every look only where
    the experiment `is_sequential`. Left out is a claim that selects no run,
    and so has no variant, or is for seeds of its own.
    """
    comparison = compare_experiment(found, Ask())
    main = comparison.main
    open_ = [
        Undecided(
            f"{pair.a} against {pair.b}, {main.measure.words}",
            frozenset(comparison.labels[name] for name in (pair.a, pair.b)),
        )
        for pair in main.pairs
        if not pair.is_told
    ]
    for claim in claims_of(found.runs):
        sides = claim.sides
        variants = frozenset(run.label for run in found.runs for side in sides if selects(side.selector, run.config))
        if claim.seeds is None and variants and judge(claim, found.runs).verdict == "inconclusive":
            open_.append(Undecided(claim.statement, variants))
    return open_
