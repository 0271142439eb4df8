"""Which variants a figure shows: it has room for eight."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bncompare.comparison import Sensitivity, evidence
from bncompare.config import Metric
from bncompare.figures.looks import Look, looks
from bncompare.figures.style import by_variant, wrapped
from bncompare.runs import LoadedRun, baseline, experiments

MAX_LINES = 8
RANKED_BY = ("val/accuracy", "val/loss", "train/loss")  # the first there is, at the best evaluation; never the test's


@dataclass(frozen=True)
class Shown:
    """What a figure is of."""

    runs: Sequence[LoadedRun]
    words: str
    """which variants they are; empty if all there are"""


def named(runs: Sequence[LoadedRun]) -> Sequence[LoadedRun]:
    """Runs of one experiment with the names that people use, as a comparison has them; of several as they are."""
    found = experiments(runs)
    return found[0].runs if len(found) == 1 else runs


def shown_of(runs: Sequence[LoadedRun], sensitivity: Sensitivity | None) -> Shown:
    """All; in a sweep each norm with its chosen setting, of the seeds that judge it; of more than eight variants the
    best seven and the baseline."""
    runs = evidence(runs) or runs
    names, words = list(by_variant(runs)), []
    chosen = {candidate.variant for candidate in sensitivity.candidates if candidate.is_chosen} if sensitivity else ()
    if chosen:
        names = [name for name in names if name in chosen]
        words.append("each norm with its chosen setting")
    if len(names) > MAX_LINES:
        base = baseline(runs, names)
        others = _best([run for run in runs if run.variant in names and run.variant != base])[: MAX_LINES - 1]
        words.append(f"{wrapped(base, max_lines=1)} and the {len(others)} best of {len(names) - 1} others")
        names = [name for name in names if name == base or name in others]
    return Shown([run for run in runs if run.variant in names], "; ".join(words))


def norm_looks(table: Sensitivity, runs: Sequence[LoadedRun]) -> dict[str, Look]:
    """The norms of a sweep and how each looks, whatever else is set; of more than eight the best and the baseline."""
    norm_of = {candidate.variant: candidate.norm for candidate in table.candidates}
    norms = list(dict.fromkeys(norm_of.values()))
    if len(norms) > MAX_LINES:
        base = norm_of[baseline(runs, list(norm_of))]
        others = [norm for norm in dict.fromkeys(map(norm_of.__getitem__, _best(runs))) if norm != base]
        norms = [norm for norm in norms if norm == base or norm in others[: MAX_LINES - 1]]
    variants = {candidate.norm: candidate.variant for candidate in reversed(table.candidates)}
    own = looks([run for norm in norms for run in runs if run.variant == variants[norm]])
    return {norm: own[variants[norm]] for norm in norms if variants[norm] in own}


def _best(runs: Sequence[LoadedRun]) -> list[str]:
    """The variants, best first: those with the fewest runs without a value, then by the mean of the others."""
    metric = next((Metric(name) for name in RANKED_BY if any(name in run.metrics for run in runs)), None)

    def rank(members: Sequence[LoadedRun]) -> tuple[int, float]:
        values = [run.best(metric.name) if metric and run.status.has_value else None for run in members]
        there = [value for value in values if value is not None]
        mean = sum(there) / len(there) if there else math.inf
        return len(values) - len(there), -mean if metric and metric.higher_is_better else mean

    groups = by_variant(runs)
    return sorted(groups, key=lambda variant: rank(groups[variant]))
