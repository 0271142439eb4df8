"""The answer to what an experiment asks, at the end of training: one table, one sentence, a line per claim."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bncompare.comparison import MeasureComparison, Pair, VariantSummary
from bncompare.config import Metric
from bncompare.report.table import Table
from bncompare.report.words import chosen_names
from bncompare.runs import baseline

if TYPE_CHECKING:
    from bncompare.report.content import Chapter


@dataclass(frozen=True)
class Answer:
    """What came out, as briefly as can be."""

    sentence: str
    """the best variant against the baseline"""
    table: Table
    """a row per variant; in a sweep per norm, at its chosen setting"""
    claims: list[str]
    """each claim after its verdict"""
    notes: list[str]
    """what is to be known of how the numbers came about"""


def answer_of(chapter: "Chapter") -> Answer:
    """The answer of one experiment, by its main measure."""
    found = chapter.comparison.main
    base = baseline(chapter.experiment.runs, [result.variant for result in found.variants])
    claims = [
        # Of a claim that was stated for other settings the first reason says so.
        f"{finding.outcome}: {finding.claim.statement}" + (f" ({finding.reasons[0]})" if finding.overridden else "")
        for finding in chapter.findings
    ]
    return Answer(
        _sentence(found, base, chosen_names(chapter.comparison.sensitivity)),
        _table(chapter, found),
        claims,
        chapter.notes,
    )


def _table(chapter: "Chapter", found: MeasureComparison) -> Table:
    """variant × (seeds, mean ± sd, difference with its interval, what has no value)."""
    metric, pairs = found.metric, _against_baseline(found)
    bases = {pair.b for pair in pairs.values()}
    columns = ["variant", "seeds", "mean ± sd", "difference", "no value"]
    rows = [
        [
            result.variant,
            str(result.num_runs),
            _mean_sd(metric, result),
            _difference(metric, pairs.get(result.variant)),
            ", ".join(f"{number} {reason}" for reason, number in result.missing.items()),
        ]
        for result in found.variants
    ]
    percent, points = (" in %", " in points") if metric.is_accuracy else ("", "")
    notes = [f"{found.title}{percent}, {'higher' if found.higher_is_better else 'lower'} is better"]
    if pairs:
        base = f"from {bases.pop()}" if len(bases) == 1 else "at equal settings"
        notes.append(f"difference {base}{points}, with its 95 % CI{', valid at every look' * found.is_sequential}")
    if (tuning := chapter.comparison.tuning) is not None:
        notes.append(tuning.budget)
    table = Table(columns, [("", rows)], {"seeds", "mean ± sd", "difference"}, chapter.title, notes)
    return table.without_empty("no value").without_empty("difference")


def _against_baseline(found: MeasureComparison) -> dict[str, Pair]:
    """Of each variant the pair with the baseline, the first that it is in; of a grid the one at equal settings."""
    pairs: dict[str, Pair] = {}
    for pair in found.pairs:
        pairs.setdefault(pair.a, pair)
    return pairs


def _mean_sd(metric: Metric, result: VariantSummary) -> str:
    summary = result.summary
    if summary is None:
        return "–"
    spread = f" ± {metric.shown(summary.sd, half=summary.sd)}" if summary.n > 1 else ""
    return metric.shown(summary.mean, half=summary.sd) + spread


def _difference(metric: Metric, pair: Pair | None) -> str:
    if pair is None:
        return ""
    mean, interval = _gap(metric, pair)
    return f"{mean} ({interval})" if interval else mean or "–"


def _gap(metric: Metric, pair: Pair) -> tuple[str, str]:
    """The difference and its interval, `+79.6` and `78.0 to 81.2`; empty where there is none."""
    if pair.paired is None:
        return "", ""
    gap, half = pair.paired.difference, _half(pair)
    interval = (
        f"{metric.shown(gap.low, half=half)} to {metric.shown(gap.high, half=half)}" if gap.has_interval else ""
    )
    return metric.shown(gap.mean, "+", half), interval


def _half(pair: Pair) -> float:
    """Half the width of the interval of its difference; no number where there is none."""
    gap = pair.paired.difference if pair.paired else None
    return (gap.high - gap.low) / 2 if gap and gap.has_interval else math.nan


# ---------------------------------------------------------------- in a sentence


def _sentence(found: MeasureComparison, base: str, norms: dict[str, str]) -> str:
    """`BatchNorm 90.1 %, no norm 10.4 % test accuracy: +79.6 points, 95 % CI 78.0 to 81.2, 3 seeds`"""
    metric = found.metric
    results = {result.variant: result for result in found.variants}
    pairs = [pair for pair in _against_baseline(found).values() if pair.paired]
    valued = [result for result in found.variants if result.summary]
    if not valued:
        reasons = Counter[str]()
        for result in found.variants:
            reasons.update(result.missing)
        return f"no run has a {metric.words}: " + ", ".join(f"{count} {why}" for why, count in reasons.items())
    sign = 1 if found.higher_is_better else -1

    def mean(variant: str) -> float:
        summary = results[variant].summary
        return sign * summary.mean if summary else -math.inf

    if not pairs:
        best = max((result.variant for result in valued), key=mean)
        seeds = _seeds(len(results[best].values))
        text = f"{_valued(metric, [results[best]], norms)}, {seeds}"
    else:
        pair = max(pairs, key=lambda pair: mean(pair.a))
        half = _half(pair)
        text = f"{_valued(metric, [results[pair.a], results[pair.b]], norms, half)}: {_compared(metric, pair)}"
        best, base = pair.a, pair.b
    shown = dict.fromkeys((best, base))
    return "; ".join([text, *(_lost(results[variant]) for variant in shown if results[variant].missing)])


def _valued(metric: Metric, results: Sequence[VariantSummary], norms: dict[str, str], half: float = math.nan) -> str:
    """`BatchNorm 90.1 %, no norm 10.4 % test accuracy`, to the digits of their difference."""
    unit = " %" if metric.is_accuracy else ""
    means = []
    for result in results:
        if result.summary:
            mean = metric.shown(result.summary.mean, half=half if math.isfinite(half) else result.summary.sd)
            means.append(f"{norms.get(result.variant, result.variant)} {mean}{unit}")
    how = ", each at the setting that validation chose" if norms and len(means) > 1 else ""
    return f"{', '.join(means)} {metric.words}{how}"


def _compared(metric: Metric, pair: Pair) -> str:
    mean, interval = _gap(metric, pair)
    points = " points" if metric.is_accuracy else ""
    text = f"{mean}{points}, " + (f"95 % CI {interval}, " if interval else "") + _seeds(len(pair.differences))
    if pair.verdict == "not judged":
        return f"{text}, so no verdict"
    text += " (preliminary)" * pair.is_preliminary
    gap = pair.paired.difference if pair.paired else None
    leaves_out_0 = gap is not None and gap.has_interval and not gap.low <= 0 <= gap.high
    among = f" among {len(pair.among)} pairs" * (leaves_out_0 and len(pair.among) > 1)
    return text if pair.is_told else f"no clear difference{among} ({text})"


def _lost(result: VariantSummary) -> str:
    """`no norm: 2 of 6 diverged`"""
    reasons = ", ".join(f"{number} of {result.num_runs} {reason}" for reason, number in result.missing.items())
    return f"{result.variant}: {reasons}"


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"
