"""A claim and the runs it is about: supported, not supported, or inconclusive.

The rules:

- A bound is about the mean over the seeds, for two variants the mean of the differences seed by seed. It is supported
  if its 95 % CI lies wholly on the claimed side, not supported if wholly on the other; `difference_within` if it lies
  wholly between the bounds, or wholly beyond one of them. So α is .05, two-sided, for all of them; the interval that
  is shown is the one that decides, and the seeds that would decide are those of the same test (with power 0.8).
- The t-test behind it must not be contradicted by the exact sign-flip test about the same bound: with a p above 0.10
  the claim is inconclusive. With fewer than 6 seeds that test could not reach 0.05, and a verdict is *preliminary*,
  as it rests on normal values alone.
- Where seeds were added after others had been looked at (`until: decided`, or by hand), the intervals are confidence
  sequences (`sequences.py`), a 95 % CI, valid at every look, of a mean as of a proportion; without a sign-flip test.
- `ratio_at_least` and `ratio_at_most` are about the geometric mean of the ratios variant / versus: the logarithms of
  the values are compared, by the same rules, and the interval is exp of that of their mean difference. A value that
  is not above 0 has no ratio, and leaves the claim inconclusive.
- With `than` what is bounded is the difference of the differences of two pairs, or the ratio of their ratios, seed by
  seed, over the seeds that all four variants have.
- A run that never reached what `epochs to …` names is worse than any time, as one that diverged.
- `diverged` of one variant is a proportion, and its interval the exact one (Clopper & Pearson 1934): of six runs that
  all diverged, 54 % to 100 %.
- Where every run without a value diverged and so speaks for the claim (that its variant is bad, or worse than the
  other), there is no mean. A run that diverged is worse than any value, and all seeds decide, by the exact interval
  of the share of them on the claimed side: supported if it lies above ½, not supported if below. That is the sign
  test of a claim about the median. Seeds on the bound, or with both runs diverged, are left out.
  So the first run that diverges changes the question, from the mean to the median, and that takes six seeds: with
  fewer, a claim of bad that their mean supported is inconclusive once a run diverged. After the first, one more run
  that diverges is one more seed on the claimed side, which never makes the verdict weaker.
- Where all values are equal there is no t-test, and the same sign test decides. No interval of width 0 decides
  anything: a difference of 0 with every seed is neither above nor below 0.
- A run without a value that does not speak for the claim (diverged where the variant is claimed good, or unfinished)
  leaves it at best inconclusive, as a mean of the others would be too good. That mean may still refute the claim, and
  so may the sign test.
- Each claim is stated before the runs and judged on its own, so there is no correction for their number.
- A claim that is not in the config with which a run began was stated when that run could have been seen. Where one of
  the runs that it is judged by is such, it is judged all the same, and marked as exploratory. A claim in other words
  is the same. `seeds: 6-11` leaves the judgement to those seeds, where others were seen before.
- Intervals are about other seeds of the same experiment, not about other data sets or models.

A claim that is false is supported in at most 2.5 % of experiments: each end of the interval errs that often. The
sign test and the interval of a proportion hold that whatever the values are, the t-interval for values (or
differences) near normal only; with two seeds it rests on that alone. Where runs collapse it fails: if 20 % do, six
seeds hold none of them in .8⁶ = 26 % of experiments, and a bound between the mean and the values of the others is
supported in 27 %, though false.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from bncompare.comparison.bounds import Bound, Judgement, hits_interval, interval_name, judge_all, mean_interval
from bncompare.comparison.measures import Measure, Missing
from bncompare.comparison.named import measure_named
from bncompare.comparison.statistics import (
    MAX_EXACT_SEEDS,
    ROUNDING,
    Summary,
    difference,
    sign_flip_p,
    summarize,
)
from bncompare.comparison.tuning import evidence
from bncompare.config import Claim, lookup, seed_ranges, selector_text, selects
from bncompare.runs import LoadedRun, follows_looks

NO_VALUE = "no seed has a value on every side"


@dataclass(frozen=True)
class Finding:
    """What the runs say about a claim."""

    claim: Claim
    verdict: Judgement
    reasons: list[str]
    """the numbers that decide it, a line each"""
    summary: Summary | None = None
    """of the values, or of the differences; its interval is the one that decides, NaN where the sign test does; None
    where there are no values"""
    missing: list[str] = field(default_factory=list)
    """of which variant how many runs have no value, and why; among the reasons as well"""
    is_sequential: bool = False
    """whether its intervals are those that hold at every look"""
    is_preliminary: bool = False
    """whether it rests on normal values alone, as so few seeds leave the sign-flip test without a say"""
    overridden: dict[str, Any] = field(default_factory=dict)
    """the settings, by dotted key, that the claim was stated for, where its runs were trained with others"""
    exploratory: str = ""
    """after which of its runs the claim was stated; empty where all held it when they began"""
    measured: str = "no value"
    """the number that decides it, with its interval, for people"""

    @property
    def outcome(self) -> str:
        """The verdict, and how far it is to be trusted."""
        seeds = [f"preliminary: {self.summary.n} seeds"] if self.is_preliminary and self.summary else []
        marks = ["exploratory"] * bool(self.exploratory) + seeds
        return f"{self.verdict} ({', '.join(marks)})" if marks else self.verdict

    @property
    def evidence(self) -> list[str]:
        """What is to be known of how it was stated, then the reasons, a line each."""
        seeds = self.claim.seeds
        alone = [f"judged by the seeds {', '.join(seed_ranges(seeds))} alone"] if seeds else []
        return [*([f"exploratory: {self.exploratory}"] if self.exploratory else []), *alone, *self.reasons]


def claims_of(runs: Sequence[LoadedRun], stated: Sequence[Claim] = ()) -> list[Claim]:
    """The claims that are stated of an experiment now, then others that its runs hold, each once."""
    claims: dict[str, Claim] = {}
    for claim in itertools.chain(stated, *(run.claims for run in runs)):
        claims.setdefault(claim.decisive, claim)
    return list(claims.values())


def judge(claim: Claim, runs: Sequence[LoadedRun]) -> Finding:
    """Hold a claim against the runs of its experiment, by the rules at the top of this module.

    Where settings were chosen on some seeds, the others of the chosen variants judge it.
    """
    runs = [run for run in evidence(runs) if claim.is_about(run.seed)]
    speaking = [run for run in runs if any(selects(side.selector, run.config) for side in claim.sides)]
    is_sequential = follows_looks(runs)
    finding, overridden, trained = _judged(claim, runs, is_sequential), {}, {}
    if seen := {run.seed for run in speaking if claim.decisive not in {held.decisive for held in run.claims}}:
        seeds = f"seed{'s' * (len(seen) > 1)} {', '.join(seed_ranges(seen))}"
        finding = replace(finding, exploratory=f"stated after the runs of {seeds} began")
    for run in speaking:
        for key, value in run.config["variant"].get("overridden", {}).items():
            overridden[key], trained[key] = value, lookup(run.config, key)
    if not overridden:
        return finding
    changes = [f"{key}={_text(trained[key])}, not {_text(value)}" for key, value in overridden.items()]
    note = f"these runs were trained with {', '.join(changes)}"
    return replace(finding, reasons=[note, *finding.reasons], overridden=overridden)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _judged(claim: Claim, runs: Sequence[LoadedRun], is_sequential: bool) -> Finding:
    if claim.problem:
        return Finding(claim, "inconclusive", [claim.problem])
    measure = measure_named(claim.measure, claim.at, runs)
    if measure is None:
        return Finding(claim, "inconclusive", [f"{claim.metric}: the runs have too few evaluations"])
    sides, labels = list[_Side](), list[str]()
    for key, selector, sign in claim.sides:
        chosen = [run for run in runs if selects(selector, run.config)]
        if problem := _problem_of(key, chosen, labels):
            return Finding(claim, "inconclusive", [f"{selector_text(selector)} {problem}"])
        labels.append(chosen[0].variant)
        sides.append(_side(claim, measure, chosen, is_claimed_bad=_is_claimed_bad(claim, sign, measure)))
    missing = [side.missing for side in sides if side.missing]
    if claim.is_ratio and (without := _without_logarithm(dict(zip(labels, sides, strict=True)))):
        return Finding(claim, "inconclusive", [*missing, f"{measure.words}: not above 0 in {without}: no ratio"])
    what = _What(measure, claim, is_sequential)
    outcomes = what.by_seed([side.values for side in sides])
    values = [outcome for outcome in outcomes if math.isfinite(outcome)]
    summary = summarize(values) if values else None
    if len(outcomes) < 2:
        reason = f"{what.mean(summary.mean)} with one seed, which has no CI" if summary else NO_VALUE
        reasons = [*missing, reason]
        return Finding(claim, "inconclusive", reasons, what.told(summary), missing, measured=what.measured(summary))
    verdict, reasons, summary, is_preliminary = _decide(claim, what, outcomes, sides)
    if verdict == "supported" and not all(side.speaks_for_it for side in sides if side.missing):
        verdict = "inconclusive"
    is_preliminary = is_preliminary and verdict != "inconclusive"
    finding = Finding(
        claim, verdict, [*reasons, *missing], what.told(summary), missing, is_sequential, is_preliminary
    )
    return replace(finding, measured=what.measured(summary))


def _problem_of(key: str, chosen: Sequence[LoadedRun], before: Sequence[str]) -> str | None:
    """Why the runs that a selector chose are not those of one variant, and of another one than those before."""
    labels = list(dict.fromkeys(run.variant for run in chosen))
    if len(labels) > 1:
        return f"selects {len(labels)} variants: {', '.join(labels)}"
    if labels and labels[0] in before:
        return "is the variant itself" if key == "versus" else "is one of the first pair"
    return None if labels else "selects no run"


@dataclass(frozen=True)
class _What:
    """The number of each seed that a claim is about, and its words; of a ratio it is the logarithm."""

    measure: Measure
    claim: Claim
    is_sequential: bool

    @property
    def is_difference(self) -> bool:
        """Whether it is of two variants or four."""
        return self.claim.versus is not None

    def by_seed(self, sides: Sequence[dict[int, float]]) -> list[float]:
        """Of each seed that all sides have; NaN if both of a pair diverged."""
        gap = _log_ratio if self.claim.is_ratio else difference
        found = []
        for seed in sorted(set.intersection(*map(set, sides))):
            values = [side[seed] for side in sides]
            numbers = [gap(*values[i : i + 2]) for i in range(0, len(values), 2)] if len(values) > 1 else values
            found.append(difference(*numbers) if len(numbers) > 1 else numbers[0])
        return found

    def __str__(self) -> str:
        return f"{self.measure.words}, {self.claim.statistic}"

    def shown(self, value: float, half: float = math.nan) -> str:
        """A number with its unit."""
        if self.claim.is_ratio:
            return f"×{_exp(value):.3g}"
        if self.is_difference:
            return self.measure.difference(value, half, "+")
        return f"{self.measure.shown(value, half)} {self.measure.unit}".strip()

    def mean(self, value: float, half: float = math.nan) -> str:
        """What it is, and how much."""
        return f"{self} {self.shown(value, half)}"

    def measured(self, summary: Summary | None) -> str:
        """The same in a cell of a table, with the interval where there is one."""
        if summary is None:
            return "no value"
        kept, half = self.clipped(summary), (summary.high - summary.low) / 2
        kind = f"{self.claim.statistic} " if self.is_difference else ""
        interval = f" ({self.interval(kept.low, kept.high, half)})" if kept.has_interval else ""
        return f"{self.measure.words}: {kind}{self.shown(summary.mean, half)}{interval}, n = {summary.n}"

    def interval(self, low: float, high: float, half: float) -> str:
        """Its ends, without the unit."""
        if self.claim.is_ratio:
            return f"{self.shown(low)} to {self.shown(high)}"
        return f"{self.measure.shown(low, half)} to {self.measure.shown(high, half)}"

    def clipped(self, summary: Summary) -> Summary:
        """With an interval in the range of what is possible."""
        is_wider = self.claim.is_ratio or self.claim.than is not None
        return summary if is_wider else self.measure.clipped(summary, of_differences=self.is_difference)

    def told(self, summary: Summary | None) -> Summary | None:
        """Of ratios the geometric mean, and what the interval of the logarithms is of it."""
        if summary is None or not self.claim.is_ratio:
            return summary
        if not summary.has_interval:
            summary = replace(summary, low=math.nan, high=math.nan)
        logs = dataclasses.asdict(summary)
        return Summary(**logs | {name: _exp(log) for name, log in logs.items() if name != "n"})

    def bounds(self) -> list[Bound]:
        """Those of the claim, which are said in the same unit."""
        if self.claim.is_ratio:
            logs = {name: math.log(value) for name, value in self.claim.bounds.items()}
            return [Bound(*item, self.shown, self.is_sequential) for item in logs.items()]

        def shown(value: float) -> str:
            scale = 100 if self.measure.unit == "%" else 1
            unit = self.measure.unit_of_differences if self.is_difference else self.measure.unit
            return f"{scale * value:.4g} {unit}".replace("-", "−").strip()

        return [Bound(*item, shown, self.is_sequential) for item in self.claim.bounds.items()]


def _without_logarithm(sides: "dict[str, _Side]") -> str | None:
    """The first run whose value is 0 or below."""
    found = ((label, seed, value) for label, side in sides.items() for seed, value in side.values.items())
    return next((f"{label} seed {seed}" for label, seed, value in found if -math.inf < value <= 0), None)


def _log_ratio(a: float, b: float) -> float:
    """log(a / b); as `difference`, where they are equal, or one of them is at the bad end."""
    gap = difference(a, b)
    return gap if gap == 0 or not math.isfinite(gap) else math.log(a) - math.log(b)


def _exp(value: float) -> float:
    """Of an interval of few seeds as well, beyond which no float is."""
    return math.exp(min(value, 700.0)) if not math.isnan(value) else value


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
    reasons = {o.missing if o.missing is Missing.NEVER_REACHED else o.status for o in without}
    counts = reasons <= {Missing.DIVERGED, Missing.NEVER_REACHED} and is_claimed_bad
    missing = f"{runs[0].variant}: {len(without)} of {len(outcomes)} have no value ({', '.join(sorted(reasons))})"
    return _Side(values, missing + (", which counts for the claim" if counts else ""), counts)


def _is_claimed_bad(claim: Claim, sign: int, measure: Measure) -> bool:
    """Whether every bound says that the variant whose values have this sign is bad, or worse than the other."""
    if claim.diagnostic is not None or any(bound.is_within for bound in _bounds(claim)):
        return False
    says_variant_is_bad = {bound.is_upper == measure.higher_is_better for bound in _bounds(claim)}
    return says_variant_is_bad == {sign > 0}


def _bounds(claim: Claim) -> list[Bound]:
    return [Bound(*item) for item in claim.bounds.items()]


def _is_proportion(claim: Claim) -> bool:
    return claim.metric == "diverged" and claim.versus is None


class _Judged(NamedTuple):
    """Of a claim: as in a finding."""

    verdict: Judgement
    reasons: list[str]
    summary: Summary | None
    is_preliminary: bool


def _decide(claim: Claim, what: _What, outcomes: Sequence[float], sides: Sequence[_Side]) -> _Judged:
    """By the interval of the mean; by all seeds where there is none, or runs that diverged speak for the claim."""
    values = [outcome for outcome in outcomes if math.isfinite(outcome)]
    has_interval = bool(values) and (_is_proportion(claim) or summarize(values).has_spread)
    if len(values) < len(outcomes) or not has_interval:
        size = max((abs(x) for side in sides for x in side.values.values() if math.isfinite(x)), default=0.0)
        by_sign_test = _by_sign_test(claim, what, outcomes, rounding=ROUNDING * (1.0 if claim.is_ratio else size))
        speaks = any(side.speaks_for_it for side in sides)
        if speaks or by_sign_test.verdict == "not supported" or not has_interval:
            return by_sign_test
    return _by_interval(claim, what, values)


def _by_interval(claim: Claim, what: _What, values: Sequence[float]) -> _Judged:
    """Where the interval of the mean, or that of a proportion, lies beside each bound."""
    summary, is_sequential = summarize(values), what.is_sequential
    bounds, is_preliminary = what.bounds(), False
    if _is_proportion(claim):
        hits = [value > 0 for value in values]
        low, high = hits_interval(hits, is_sequential=is_sequential)
        verdict, reasons = judge_all(bounds, lambda bound: bound.judge_share(hits))
    else:
        low, high = mean_interval(values, is_sequential=is_sequential)
        verdict, reasons = judge_all(bounds, lambda bound: bound.judge_mean(values))
        is_preliminary = not is_sequential and not all(bound.has_exact_test(values) for bound in bounds)
    half, summary = (high - low) / 2, replace(summary, low=low, high=high)
    kept = what.clipped(summary)
    interval = what.interval(kept.low, kept.high, half) if kept.has_interval else "not yet"
    first = f"{what.mean(summary.mean, half)}, {interval_name(is_sequential)} {interval}, n = {summary.n}"
    if claim.versus is not None and not is_sequential:
        p, exact = sign_flip_p(values, np.random.default_rng(0)), "exact " if summary.n <= MAX_EXACT_SEEDS else ""
        first += f"; {exact}sign-flip p = {p:.2g}"
    return _Judged(verdict, [first, *reasons], summary, is_preliminary)


def _by_sign_test(claim: Claim, what: _What, outcomes: Sequence[float], *, rounding: float) -> _Judged:
    """Whether more than half of the seeds are on the claimed side of each bound.

    Outcomes no further than `rounding` from a bound are on it.
    """
    n, values = len(outcomes), [outcome for outcome in outcomes if math.isfinite(outcome)]
    verdict, reasons = judge_all(what.bounds(), lambda bound: bound.count(outcomes, rounding))
    if not values:
        return _Judged(verdict, [f"{what}: none of {n} seeds has a value", *reasons], None, False)
    summary = replace(summarize(values), low=math.nan, high=math.nan)
    first = f"{what.mean(summary.mean)} with each of {n} seeds, which leaves no spread to judge by"
    if summary.n < n:
        first = f"{what.mean(summary.mean)} over the {summary.n} of {n} seeds that have a value"
    return _Judged(verdict, [first, *reasons], summary, False)
