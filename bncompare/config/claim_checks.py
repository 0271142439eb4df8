"""Claims that no runs could answer, and bounds that any runs would meet, or none."""

import itertools
import math

from bncompare.config.claims import At, Claim, Side
from bncompare.config.keys import KeyPath, Problem, selects
from bncompare.config.quantities import measured
from bncompare.config.ranges import seed_ranges
from bncompare.config.run import RunConfig
from bncompare.config.seeds import seeds_of
from bncompare.config.yaml import selector_text


def check_claims(claims: list[Claim]) -> list[Problem]:
    """What is wrong with claims whatever is trained: with their bounds, and with how these fit the metric."""
    problems = list[Problem]()
    for i, claim in enumerate(claims):
        path: KeyPath = ("claims", i)
        if claim.problem:
            problems.append((path, claim.problem))
        else:
            problems += [((*path, key), message) for key, message in _check_bounds(claim)]
        if message := _check_threshold(claim):
            problems.append(((*path, "metric"), message))
        if claim.metric == "diverged" and claim.versus is not None:
            problems.append(((*path, "versus"), "diverged is claimed of one variant: leave out versus"))
        if message := _check_form_of_at(claim):
            problems.append(((*path, "at"), message))
    return problems


def _check_form_of_at(claim: Claim) -> str | None:
    at = claim.at
    if claim.metric == "diverged":  # the config.yaml of a run writes out the default
        return None if at == "best" else "diverged is said of a whole run: leave out at"
    if claim.measure.kind != "value":
        return None if at == "best" else f"{claim.metric} is said of a whole run: leave out at"
    if not isinstance(at, str) and (at.epoch is None) == (at.step is None):
        return "give epoch or step"
    if claim.metric.startswith("test/") and at not in ("best", "last"):
        return "must be best or last: the test set is evaluated at the end alone"
    return None


def _check_threshold(claim: Claim) -> str | None:
    """A threshold of a time that every run or none reaches."""
    named = claim.measure
    low, high, what = _range_of(named.metric)
    if named.kind != "time" or low < named.threshold <= high:
        return None
    limits = f"above 0 and at most {high:g}" if math.isfinite(high) else "above 0"
    return f"the {what} to reach must be {limits}, not {named.threshold:g}"


def _check_bounds(claim: Claim) -> list[tuple[str, str]]:
    """A bound that no value meets, or every one, says nothing; nor do two that no interval meets together."""
    problems = []
    for name, bound in claim.bounds.items():
        low, high, what = _range(claim, name.partition("_")[0])
        if name.startswith("ratio") and low < 0:
            problems.append((name, f"a ratio is of what is always above 0: {claim.metric} may be below"))
        elif not low < bound < high:
            every = f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
            limits = f"between {low:g} and {high:g}" if math.isfinite(high) else f"above {low:g}"
            problems.append((name, f"must be {limits}, as every {what} is {every}, not {bound:g}"))
    least = {name: -v if name.endswith("within") else v for name, v in claim.bounds.items() if "at_most" not in name}
    most = {name: bound for name, bound in claim.bounds.items() if "at_least" not in name}
    if least and most:
        lower, upper = max(least, key=least.__getitem__), min(most, key=most.__getitem__)
        if least[lower] >= most[upper]:
            how = "contradicts" if least[lower] > most[upper] else "leaves nothing between it and"
            problems.append((upper, f"{most[upper]:g} {how} {lower}: {claim.bounds[lower]:g}"))
    return problems


def _range(claim: Claim, of: str) -> tuple[float, float, str]:
    """The least and the greatest value, difference or ratio there can be, and what it is a value of."""
    low, high, what = _range_of(claim.measure.metric)
    if claim.measure.kind != "value":
        what = {"time": f"number of {claim.measure.unit}s", "spread": "spread"}.get(claim.measure.kind, what)
    if claim.measure.kind in ("time", "spread"):
        low, high = 0, math.inf
    if of == "ratio":
        return low, math.inf, f"ratio of {what}"
    if of != "difference":
        return low, high, what
    return (low - high) * (times := 1 + (claim.than is not None)), (high - low) * times, f"difference in {what}"


def _range_of(metric: str) -> tuple[float, float, str]:
    what, low, high = "value", -math.inf, math.inf
    if "/loss" in metric:  # and `diagnostics/model/val/loss with batch statistics`
        what, low = "loss", 0
    elif metric == "diverged" or "/accuracy" in metric:
        what, low, high = "share of runs" if metric == "diverged" else "accuracy", 0, 1
    elif metric.startswith("diagnostics/") and metric.endswith((" norm", " ratio", " distance", " std")):
        what, low = metric.rpartition("/")[2], 0
    return low, high, what


def unjudgeable(variants: list[RunConfig]) -> list[Problem]:
    """What claims are about and these variants will not have: a variant, a metric, an evaluation."""
    config, problems = variants[0], list[Problem]()
    metrics = [*config.metric_names]
    if config.data.test_size > 0:
        metrics += [f"test/{name.split('/')[1]}" for name in metrics if name.startswith("train/")]
    metrics.append("diverged")
    resolved = [variant.model_dump(exclude={"claims"}) for variant in variants] if config.claims else []
    for i, claim in enumerate(config.claims):
        path: KeyPath = ("claims", i)
        chosen = [
            [variant for variant, plain in zip(variants, resolved, strict=True) if selects(side.selector, plain)]
            for side in claim.sides
        ]
        if claim.diagnostic is not None:
            problems += [((*path, "metric"), message) for message in _check_diagnostic(claim, chosen)]
        elif claim.measure.metric not in metrics:
            valid = ", ".join(metrics if claim.measure.kind == "value" else config.metric_names)
            problems.append(((*path, "metric"), f"{claim.measure.metric} will not exist; valid: {valid}"))
        elif message := _check_length(claim, variants):
            problems.append(((*path, "metric"), message))
        problems += [((*path, key), message) for key, message in _check_sides(claim.sides, chosen, variants)]
        if not _check_form_of_at(claim) and (absent := _check_at(claim, variants)):
            problems.append(((*path, "at"), absent))
    return problems


def _check_length(claim: Claim, variants: list[RunConfig]) -> str | None:
    """A spread is over no more than the second half of the evaluations."""
    least = {"area": 2, "spread": 4}.get(claim.measure.kind, 0)
    shortest = min(run.num_evaluations for run in variants)
    return f"takes at least {least} evaluations of each run, not {shortest}" if shortest < least else None


def of_no_seed(config: RunConfig) -> list[Problem]:
    """Claims of which none of the seeds is trained."""
    seeds = seeds_of(config.seeds)
    return [
        (("claims", i, "seeds"), f"none of them is trained; the seeds are {', '.join(seed_ranges(seeds))}")
        for i, claim in enumerate(config.claims)
        if not any(map(claim.is_about, seeds))
    ]


def _check_diagnostic(claim: Claim, chosen: list[list[RunConfig]]) -> list[str]:
    """A diagnostic is measured in the variants that a claim is about."""
    assert claim.diagnostic is not None
    layer, quantity = claim.diagnostic
    for variant in itertools.chain(*chosen):
        rows = measured(variant)
        if any(row[1] == quantity and layer in (row[0], "*") for row in rows):
            continue
        valid = ", ".join(dict.fromkeys(f"{name}/{what}" for name, what in rows)) or "none: see diagnostics"
        return [f"{claim.metric} will not be measured in {variant.variant.label}; valid: {valid}"]
    return []


def _check_sides(
    sides: list[Side], chosen: list[list[RunConfig]], variants: list[RunConfig]
) -> list[tuple[str, str]]:
    """Each is one variant, and another than those before; (key, what is wrong)."""
    problems, selected = [], list[list[str]]()
    for (key, selector, _), of_side in zip(sides, chosen, strict=True):
        found, what = [variant.variant.label for variant in of_side], selector_text(selector)
        if not found:
            labels = ", ".join(variant.variant.label for variant in variants)
            problems.append((key, f"{what} is none of the variants; they are: {labels}"))
        elif len(found) > 1:
            message = f"{what} is {len(found)} variants, not one: {', '.join(found)}"
            problems.append((key, f"{message}; add a key that tells them apart, or give a label"))
        elif found in selected:
            which = "the variant itself" if key == "versus" else "one of the first pair"
            problems.append((key, f"{what} is {which}, {found[0]}"))
        selected.append(found)
    return problems


def _check_at(claim: Claim, variants: list[RunConfig]) -> str | None:
    """Whether there will be a value where a claim is about; what is wrong."""
    at, every = claim.at, variants[0].diagnostics.every
    if claim.metric == "diverged" or claim.measure.kind != "value":
        return None
    is_measured = at != "best" and (isinstance(at, str) or all(run.is_measured(_step(at, run)) for run in variants))
    if claim.diagnostic is not None and every > 1 and not is_measured:
        return f"diagnostics are measured once in {every} evaluations and at the last: perhaps not there"
    if isinstance(at, str):
        return None
    if at.epoch is not None:
        longest = max(config.total_steps / config.steps_per_epoch for config in variants)
        asked, is_after, end = f"epoch {at.epoch}", at.epoch > longest, f"epoch {longest:g}"
    else:
        last = max(config.total_steps for config in variants)
        asked, is_after, end = f"step {at.step}", (at.step or 0) > last, f"step {last}"
    if is_after:
        return f"{asked} is after the end, {end}"
    if not any(run.is_evaluated(_step(at, run)) for run in variants):
        if 0 in (at.epoch, at.step):
            return f"{asked} is not evaluated: set training.evaluate_at_start"
        every_step = variants[0].training.eval_every or variants[0].steps_per_epoch
        return f"{asked} is not evaluated: there is an evaluation every {every_step} steps, and at the end"
    return None


def _step(at: At, run: RunConfig) -> int:
    return at.step if at.step is not None else (at.epoch or 0) * run.steps_per_epoch
