"""A claim and the runs it is about: supported, not supported, or inconclusive.

The rules:

- A bound is about the mean over the seeds, for two variants the mean of the differences seed by seed. It is supported
  if the 95 % t-interval lies wholly on the claimed side, not supported if wholly on the other. `difference_within` is
  decided by the 90 % interval, which is two one-sided t-tests at 5 %. The interval that is shown is the one that
  decides, and the seeds that would decide are those of the same test (with power 0.8).
- `diverged` of one variant is a proportion, and its interval the exact one (Clopper & Pearson 1934): of six runs that
  all diverged, 54 % to 100 %.
- Where every run without a value diverged and so speaks for the claim (that its variant is bad, or worse than the
  other), there is no mean. A run that diverged is worse than any value, and all seeds decide, by the exact interval
  of the share of them on the claimed side: supported if it lies above ½, not supported if below. That is the sign
  test of a claim about the median. Seeds on the bound, or with both runs diverged, are left out.
  So the first run that diverges changes the question, from the mean to the median, and that takes six seeds: with
  fewer, a claim of bad that their mean supported is inconclusive once a run diverged. After the first, one more run
  that diverges is one more seed on the claimed side, which never makes the verdict weaker.
- Where all values are equal there is no t-test, and the same sign test decides; of `difference_within` by the 90 %
  interval of the share, which takes five seeds. No interval of width 0 decides anything: a difference of 0 with every
  seed is neither above nor below 0.
- A run without a value that does not speak for the claim (diverged where the variant is claimed good, or unfinished)
  leaves it at best inconclusive, as a mean of the others would be too good. That mean may still refute the claim, and
  so may the sign test.
- Each claim is stated before the runs and judged on its own, so there is no correction for their number.

A claim that is false is supported in at most 2.5 % of experiments, one of `difference_within` in at most 5 %. The
sign test and the interval of a proportion hold that whatever the values are, the t-interval for values (or
differences) near normal only; with two seeds it rests on that alone. Where runs collapse it fails: if 20 % do, six
seeds hold none of them in .8⁶ = 26 % of experiments, and a bound between the mean and the values of the others is
supported in 27 %, though false.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from bncompare.comparison.measures import Measure, at_evaluation
from bncompare.comparison.statistics import (
    MAX_EXACT_SEEDS,
    MAX_SEEDS_NEEDED,
    ROUNDING,
    Summary,
    difference,
    proportion_interval,
    seeds_needed,
    seeds_needed_within,
    sign_flip_p,
    smallest_n,
    summarize,
    t_interval,
)
from bncompare.config import Claim, selects
from bncompare.runs import LoadedRun

Verdict = Literal["supported", "not supported", "inconclusive"]
NO_VALUE = "no seed has a value on every side"


@dataclass(frozen=True)
class Finding:
    """What the runs say about a claim."""

    claim: Claim
    verdict: Verdict
    reasons: list[str]
    """the numbers that decide it, a line each"""
    summary: Summary | None
    """of the values, or of the differences; its interval is the one that decides, NaN where the sign test does; None
    where there are no values"""
    missing: list[str] = field(default_factory=list)
    """of which variant how many runs have no value, and why; among the reasons as well"""
    confidence: float = 0.95
    """of the interval of the summary"""


def claims_of(runs: Sequence[LoadedRun]) -> list[Claim]:
    """The claims recorded with the runs of an experiment, each once; what is not a claim is left out."""
    claims: list[Claim] = []
    for run in runs:
        recorded = run.config.get("claims")
        for item in recorded if isinstance(recorded, list) else []:
            try:
                claim = Claim.model_validate(item)
            except ValidationError:
                continue
            if claim not in claims:
                claims.append(claim)
    return claims


def judge(claim: Claim, runs: Sequence[LoadedRun]) -> Finding:
    """Hold a claim against the runs of its experiment, by the rules at the top of this module."""
    if claim.problem:
        return Finding(claim, "inconclusive", [claim.problem], None)
    selectors = {"variant": claim.variant} | ({"versus": claim.versus} if claim.versus is not None else {})
    measure = at_evaluation(claim.metric, claim.at)
    sides = []
    for key, selector in selectors.items():
        chosen = [run for run in runs if selects(selector, run.config)]
        labels = list(dict.fromkeys(run.variant for run in chosen))
        if key == "versus" and chosen and all(selects(claim.variant, run.config) for run in chosen):
            return Finding(claim, "inconclusive", [f"{selector} is the variant itself"], None)
        if len(labels) != 1:
            which = f"selects {len(labels)} variants: {', '.join(labels)}" if labels else "selects no run"
            return Finding(claim, "inconclusive", [f"{selector} {which}"], None)
        sides.append(_side(claim, measure, chosen, is_claimed_bad=_is_claimed_bad(claim, key, measure)))
    missing = [side.missing for side in sides if side.missing]
    outcomes = _by_seed([side.values for side in sides])
    values = [outcome for outcome in outcomes if math.isfinite(outcome)]
    summary = summarize(values) if values else None
    what = f"{measure.name}, {'difference' if claim.versus is not None else 'mean'}"
    if len(outcomes) < 2:
        reason = f"{what} {summary.mean:.4g} with one seed, which has no interval" if summary else NO_VALUE
        return Finding(claim, "inconclusive", [*missing, reason], summary, missing)
    has_interval = summary is not None and (summary.has_spread or _is_proportion(claim))
    if len(values) == len(outcomes) and has_interval:
        finding = _by_interval(claim, what, values)
    else:
        size = max((abs(x) for side in sides for x in side.values.values() if math.isfinite(x)), default=0.0)
        finding = _by_sign_test(claim, what, outcomes, summary, rounding=ROUNDING * size)
        decides = finding.verdict == "not supported" or any(side.speaks_for_it for side in sides)
        if has_interval and not decides:
            finding = _by_interval(claim, what, values)
    verdict = finding.verdict
    if verdict == "supported" and not all(side.speaks_for_it for side in sides if side.missing):
        verdict = "inconclusive"
    return replace(finding, verdict=verdict, reasons=[*finding.reasons, *missing], missing=missing)


@dataclass(frozen=True)
class _Side:
    """The runs of one variant of a claim."""

    values: dict[int, float]
    """by seed; ±inf, the bad end, for a run that diverged"""
    missing: str
    """how many have no value, and why; empty if all have one"""
    speaks_for_it: bool
    """whether some have none, all of them as they diverged, and the variant is claimed bad"""


def _side(claim: Claim, measure: Measure, runs: Sequence[LoadedRun], *, is_claimed_bad: bool) -> _Side:
    outcomes = measure.outcomes(runs)
    without = [outcome for outcome in outcomes.values() if not outcome.is_finite]
    values = {
        seed: outcome.value
        for seed, outcome in outcomes.items()
        if outcome.value is not None
        and (outcome.is_finite or claim.diagnostic is None)  # neither end of which is bad
    }
    if not without:
        return _Side(values, "", False)
    statuses = sorted({outcome.status for outcome in without})
    counts = statuses == ["diverged"] and is_claimed_bad
    missing = f"{runs[0].variant}: {len(without)} of {len(outcomes)} have no value ({', '.join(statuses)})"
    return _Side(values, missing + (", which counts for the claim" if counts else ""), counts)


def _by_seed(sides: Sequence[dict[int, float]]) -> list[float]:
    """The value, or the difference of both sides, of each seed that has one on every side; NaN if both diverged."""
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    return [difference(*(side[seed] for side in sides)) if len(sides) == 2 else sides[0][seed] for seed in seeds]


def _is_claimed_bad(claim: Claim, side: str, measure: Measure) -> bool:
    """Whether every bound says that the variant of this side is bad, or worse than the other."""
    if claim.diagnostic is not None or any(_is_within(name) for name in claim.bounds):
        return False
    says_variant_is_bad = {name.endswith("at_most") == measure.higher_is_better for name in claim.bounds}
    return says_variant_is_bad == {side == "variant"}


def _is_within(name: str) -> bool:
    return name.endswith("within")


def _is_proportion(claim: Claim) -> bool:
    return claim.metric == "diverged" and claim.versus is None


def _confidence(name: str) -> float:
    """Of the interval that decides about a bound."""
    return 0.90 if _is_within(name) else 0.95


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.0f} %"


def _overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Of the bounds of a claim."""
    if "not supported" in verdicts:
        return "not supported"
    return "supported" if set(verdicts) == {"supported"} else "inconclusive"


def _claimed(name: str, bound: float) -> str:
    return f"claimed {name.removeprefix('difference_').replace('_', ' ')} {bound:g}"


# ---------------------------------------------------------------- by the interval of the mean


def _by_interval(claim: Claim, what: str, values: Sequence[float]) -> Finding:
    """Where the t-interval of the mean, or the exact one of a proportion, lies beside each bound."""
    summary = summarize(values)
    intervals = {
        confidence: proportion_interval(round(sum(values)), summary.n, confidence)
        if _is_proportion(claim)
        else t_interval(summary, confidence)
        for confidence in sorted({_confidence(name) for name in claim.bounds}, reverse=True)
    }
    verdicts, bounds = [], []
    for name, bound in claim.bounds.items():
        confidence = _confidence(name)
        verdict = _hold(name, bound, *intervals[confidence])
        more = ""
        if verdict == "inconclusive" and _is_proportion(claim):
            more = _seeds_for_share(name, bound, summary.mean, summary.n, confidence)
        elif verdict == "inconclusive":
            more = _seeds_for_mean(name, bound, summary)
        verdicts.append(verdict)
        bounds.append(f"{_claimed(name, bound)}: {verdict}{more}")
    shown = ", ".join(
        f"{_percent(level)} interval {low:.4g} to {high:.4g}" for level, (low, high) in intervals.items()
    )
    first = f"{what} {summary.mean:.4g}, {shown}, n = {summary.n}"
    if claim.versus is not None:
        p, exact = sign_flip_p(values, np.random.default_rng(0)), "exact " if summary.n <= MAX_EXACT_SEEDS else ""
        first += f"; {exact}sign-flip p {p:.2g}, at best {2.0 ** (1 - summary.n):.2g} with {summary.n} seeds"
    confidence, (low, high) = next(iter(intervals.items()))
    summary = replace(summary, low=low, high=high)
    return Finding(claim, _overall(verdicts), [first, *bounds], summary, confidence=confidence)


def _hold(name: str, bound: float, low: float, high: float) -> Verdict:
    if _is_within(name):
        if -bound <= low and high <= bound:
            return "supported"
        return "not supported" if low > bound or high < -bound else "inconclusive"
    if name.endswith("at_most"):
        low, high, bound = -high, -low, -bound
    return "supported" if low >= bound else "not supported" if high < bound else "inconclusive"


def _seeds_for_mean(name: str, bound: float, summary: Summary) -> str:
    mean, sd = summary.mean, summary.sd
    if not _is_within(name):
        needed = seeds_needed(mean - bound, sd)
    elif abs(mean) < bound:
        needed = seeds_needed_within(mean, sd, bound)
    else:
        needed = seeds_needed(abs(mean) - bound, sd, alpha=0.10)
    if needed is None:
        return f"; it would take more than {MAX_SEEDS_NEEDED:,} seeds to decide it, if the spread stays ({sd:.2g})"
    return f"; about {max(needed, summary.n + 1)} seeds would decide it, if the spread stays ({sd:.2g})"


def _seeds_for_share(name: str, bound: float, share: float, n: int, confidence: float) -> str:
    """More than n with which the exact interval of a share would lie beside a bound."""

    def is_decided(more: int) -> bool:
        return _hold(name, bound, *proportion_interval(round(share * more), more, confidence)) != "inconclusive"

    needed = smallest_n(is_decided, above=n)
    if needed is None:
        return f"; it would take more than {MAX_SEEDS_NEEDED:,} seeds to decide it, if the proportion stays"
    return f"; about {needed} seeds would decide it, if the proportion stays"


# ---------------------------------------------------------------- by the sign test


def _by_sign_test(
    claim: Claim, what: str, outcomes: Sequence[float], summary: Summary | None, *, rounding: float
) -> Finding:
    """Whether more than half of the seeds are on the claimed side of each bound; `summary` is of the finite ones.

    Outcomes no further than `rounding` from a bound are on it.
    """
    n = len(outcomes)
    verdicts, bounds = [], []
    for name, bound in claim.bounds.items():
        verdict, words = _count(name, bound, outcomes, rounding)
        verdicts.append(verdict)
        bounds.append(f"{_claimed(name, bound)}: {verdict}{words}")
    if summary is None:
        first = f"{what}: none of {n} seeds has a value"
    elif summary.n < n:
        first = f"{what} {summary.mean:.4g} over the {summary.n} of {n} seeds that have a value"
    else:
        first = f"{what} {summary.mean:.4g} with each of {n} seeds, which leaves no spread to judge by"
    summary = summary and replace(summary, low=math.nan, high=math.nan)
    return Finding(claim, _overall(verdicts), [first, *bounds], summary)


def _count(name: str, bound: float, outcomes: Sequence[float], rounding: float) -> tuple[Verdict, str]:
    """The verdict on one bound, and how many seeds are on the claimed side of it."""
    on_side = [_is_on_side(name, bound, outcome, rounding) for outcome in outcomes]
    k, n = on_side.count(True), len(on_side) - on_side.count(None)
    if n == 0:
        return "inconclusive", "; no seed is on either side of it"
    confidence = _confidence(name)
    low, high = proportion_interval(k, n, confidence)
    left_out = f" ({len(on_side) - n} on neither side)" if n < len(on_side) else ""
    words = f"; {k} of {n} seeds are{left_out}, {_percent(confidence)} interval of that share {low:.2g} to {high:.2g}"
    verdict = _hold("at_least", 0.5, low, high)
    if verdict == "inconclusive":
        words += _seeds_for_share("at_least", 0.5, k / n, n, confidence)
    return verdict, words


def _is_on_side(name: str, bound: float, outcome: float, rounding: float) -> bool | None:
    """Whether an outcome is on the claimed side of a bound; None on the bound, and where both runs diverged."""
    value = abs(outcome) if _is_within(name) else outcome
    if math.isnan(value) or math.isclose(value, bound, rel_tol=1e-9, abs_tol=rounding):
        return None
    return value > bound if name.endswith("at_least") else value < bound


def to_plain(finding: Finding) -> dict[str, Any]:
    """For JSON."""
    summary = finding.summary
    return {
        "statement": finding.claim.statement,
        "metric": finding.claim.metric,
        "published": finding.claim.published,
        "is_difference": finding.claim.versus is not None,
        "verdict": finding.verdict,
        "reasons": finding.reasons,
        "missing": finding.missing,
        "n": summary.n if summary else 0,
        "mean": summary.mean if summary else None,
        "low": summary.low if summary and math.isfinite(summary.low) else None,
        "high": summary.high if summary and math.isfinite(summary.high) else None,
        "confidence": finding.confidence,
    }
