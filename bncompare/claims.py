"""A claim and the runs it is about: supported, not supported, or inconclusive."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from bncompare.config.schema import Claim, selects
from bncompare.measures import Measure, at_evaluation
from bncompare.results import LoadedRun
from bncompare.statistics import (
    MAX_EXACT_SEEDS,
    MAX_SEEDS_NEEDED,
    Summary,
    compare_paired,
    proportion_interval,
    seeds_needed,
    summarize,
    t_interval,
)

Verdict = Literal["supported", "not supported", "inconclusive"]


@dataclass(frozen=True)
class Finding:
    """What the runs say about a claim."""

    claim: Claim
    verdict: Verdict
    reasons: list[str]
    """the numbers that decide it, a line each"""
    summary: Summary | None
    """of the metric, or of the differences; None where there are no values"""
    missing: list[str] = field(default_factory=list)
    """of which variant how many runs have no value, and why; among the reasons as well"""


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
    """Hold a claim against the runs of its experiment.

    A bound is supported if the 95 % t-interval of the mean (of the paired differences, for two variants) lies wholly
    on its side, not supported if wholly on the other. `difference_within` is supported if the 90 % interval lies
    within, which is two one-sided t-tests at 5 %. The interval of `diverged`, a proportion, is the exact one: of six
    runs that all diverged, 54 % to 100 %. A run without a value (diverged, unfinished) leaves the claim at best
    inconclusive: a mean of the others would be too good. But one that diverged is worse than any value, and so counts
    for a claim that its variant is bad, or worse than the other. Each claim is stated before the runs and judged on
    its own, so there is no correction for their number.
    """
    if claim.problem:
        return Finding(claim, "inconclusive", [claim.problem], None)
    sides = {"variant": claim.variant} | ({"versus": claim.versus} if claim.versus is not None else {})
    measure = at_evaluation(claim.metric, claim.at)
    values: list[dict[int, float]] = []
    missing: list[str] = []
    speaks_for_it: list[bool] = []
    for key, selector in sides.items():
        chosen = [run for run in runs if selects(selector, run.config)]
        labels = list(dict.fromkeys(run.variant for run in chosen))
        if key == "versus" and chosen and all(selects(claim.variant, run.config) for run in chosen):
            return Finding(claim, "inconclusive", [f"{selector} is the variant itself"], None)
        if len(labels) != 1:
            which = f"selects {len(labels)} variants: {', '.join(labels)}" if labels else "selects no run"
            return Finding(claim, "inconclusive", [f"{selector} {which}"], None)
        found = {run.seed: measure.value(run) for run in chosen}
        values.append({seed: value for seed, value in found.items() if value is not None and math.isfinite(value)})
        statuses = sorted({run.status for run in chosen if run.seed not in values[-1]})
        if statuses:
            counts = statuses == ["diverged"] and _is_claimed_bad(claim, key, measure)
            speaks_for_it.append(counts)
            missing.append(
                f"{labels[0]}: {len(found) - len(values[-1])} of {len(found)} have no value ({', '.join(statuses)})"
                + (", which counts for the claim" if counts else "")
            )
    seeds = sorted(set.intersection(*(set(side) for side in values)))
    if not seeds:
        return Finding(claim, "inconclusive", [*missing, "no seed has a value on every side"], None, missing)
    columns = [[side[seed] for seed in seeds] for side in values]
    if len(columns) == 1:
        summary, tested = summarize(columns[0]), ""
        if claim.metric == "diverged":
            low, high = proportion_interval(round(sum(columns[0])), len(seeds))
            summary = replace(summary, low=low, high=high)
    else:
        paired = compare_paired(
            *columns, higher_is_better=measure.higher_is_better, random=np.random.default_rng(0)
        )  # fmt: skip
        summary = paired.difference
        exact = "exact " if len(seeds) <= MAX_EXACT_SEEDS else ""
        tested = (
            f"; {exact}sign-flip p {paired.sign_flip_p:.2g}, at best {paired.smallest_p:.2g} with {len(seeds)} seeds"
        )
    what = f"{measure.name}, {'difference' if claim.versus is not None else 'mean'} {summary.mean:.4g}"
    if summary.n == 1:
        reasons = [*missing, f"{what} with one seed, which has no interval"]
        return Finding(claim, "inconclusive", reasons, summary, missing)
    verdicts, bounds = [], []
    for name, bound in claim.bounds.items():
        verdict = _hold(name, bound, summary)
        verdicts.append(verdict)
        words = name.removeprefix("difference_").replace("_", " ")
        decides = _how_many_would_decide if claim.metric == "diverged" else _what_would_decide
        more = decides(name, bound, summary) if verdict == "inconclusive" else ""
        bounds.append(f"claimed {words} {bound:g}: {verdict}{more}")
    overall: Verdict = "supported"
    if "not supported" in verdicts and not any(speaks_for_it):
        overall = "not supported"
    elif set(verdicts) != {"supported"} or not all(speaks_for_it):
        overall = "inconclusive"
    interval = f"{what}, 95 % interval {summary.low:.4g} to {summary.high:.4g}, n = {summary.n}{tested}"
    return Finding(claim, overall, [interval, *bounds, *missing], summary, missing)


def _is_claimed_bad(claim: Claim, side: str, measure: Measure) -> bool:
    """Whether every bound says that the variant of this side is bad, or worse than the other."""
    if claim.diagnostic is not None or any(name.endswith("within") for name in claim.bounds):
        return False
    says_variant_is_bad = {name.endswith("at_most") == measure.higher_is_better for name in claim.bounds}
    return says_variant_is_bad == {side == "variant"}


def _hold(name: str, bound: float, summary: Summary) -> Verdict:
    low, high = summary.low, summary.high
    if name.endswith("within"):
        inner = t_interval(summary, 0.90)
        if -bound <= inner[0] and inner[1] <= bound:
            return "supported"
        return "not supported" if low > bound or high < -bound else "inconclusive"
    if name.endswith("at_most"):
        low, high, bound = -high, -low, -bound
    return "supported" if low >= bound else "not supported" if high < bound else "inconclusive"


def _what_would_decide(name: str, bound: float, summary: Summary) -> str:
    distance = bound - abs(summary.mean) if name.endswith("within") else summary.mean - bound
    needed = seeds_needed(distance, summary.sd)
    if needed is None:
        return "; no number of seeds would decide it: the mean is on the bound"
    return f"; about {max(needed, summary.n + 1)} seeds would decide it, if the spread stays ({summary.sd:.2g})"


def _how_many_would_decide(name: str, bound: float, summary: Summary) -> str:
    """Of a proportion."""
    for n in range(summary.n + 1, MAX_SEEDS_NEEDED):
        low, high = proportion_interval(round(summary.mean * n), n)
        if _hold(name, bound, replace(summary, low=low, high=high)) != "inconclusive":
            return f"; about {n} seeds would decide it, if the proportion stays"
    return "; no number of seeds would decide it: the proportion is on the bound"


def to_plain(finding: Finding) -> dict[str, Any]:
    """For JSON."""
    return {
        "statement": finding.claim.statement,
        "metric": finding.claim.metric,
        "published": finding.claim.published,
        "is_difference": finding.claim.versus is not None,
        "verdict": finding.verdict,
        "reasons": finding.reasons,
        "missing": finding.missing,
        "n": finding.summary.n if finding.summary else 0,
        "mean": finding.summary.mean if finding.summary else None,
        "low": finding.summary.low if finding.summary else None,
        "high": finding.summary.high if finding.summary else None,
    }
