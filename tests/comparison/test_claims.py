"""Claims: the verdict on experiments whose truth is known, and what is said where there is none."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pytest
from kit import CONFIGS, loaded_run, looked_at, variants
from scipy import stats

from bncompare.comparison.claims import Finding, claims_of, judge
from bncompare.comparison.measures import metric_at
from bncompare.comparison.plain import to_plain
from bncompare.comparison.sequences import share_sequence, t_sequence
from bncompare.comparison.verdicts import compare_by
from bncompare.config.claims import Claim
from bncompare.config.expand import load_experiment
from bncompare.config.metrics import Metric
from bncompare.errors import UserError
from bncompare.report.run_tables import measured_cell
from bncompare.runs.folder import RunStore
from bncompare.runs.read import LoadedRun


def claim(**fields: Any) -> Claim:
    base = {"statement": "s", "metric": "val/loss", "variant": {"model.norm": "batch"}}
    return Claim.model_validate(base | fields)


def versus(**bounds: float) -> Claim:
    return claim(versus={"model.norm": "none"}, **bounds)


CLEAR = variants(batch=[0.30, 0.31, 0.29, 0.30], none=[0.72, 0.70, 0.73, 0.71])  # differences −.42, −.39, −.44, −.41


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"difference_at_most": -0.2}, "supported"),
        ({"difference_at_most": -0.6}, "not supported"),
        ({"difference_at_most": -0.415}, "inconclusive"),
        ({"difference_at_least": -0.6}, "supported"),
        ({"difference_at_least": -0.2}, "not supported"),
        ({"difference_within": 0.5}, "supported"),
        ({"difference_within": 0.1}, "not supported"),
        ({"difference_within": 0.415}, "inconclusive"),
        ({"difference_at_least": -0.6, "difference_at_most": -0.2}, "supported"),
        ({"difference_at_least": -0.2, "difference_at_most": -0.415}, "not supported"),
        ({"difference_at_least": -0.6, "difference_at_most": -0.415}, "inconclusive"),
        ({"at_most": 0.5}, "supported"),
        ({"at_most": 0.2}, "not supported"),
        ({"at_most": 0.301}, "inconclusive"),
        ({"at_least": 0.2}, "supported"),
        ({"at_least": 0.5}, "not supported"),
    ],
)
def test_where_the_interval_lies(bounds: dict[str, float], verdict: str) -> None:
    """Of one variant the 95 % interval of the mean decides, of two that of the paired differences."""
    claimed = versus(**bounds) if any("difference" in name for name in bounds) else claim(**bounds)
    assert judge(claimed, CLEAR).verdict == verdict


def test_the_numbers_are_shown() -> None:
    """The reasons name metric, evaluation, difference, interval, seeds, exact p."""
    finding = judge(versus(difference_at_most=-0.2), CLEAR)
    assert finding.reasons == [
        "validation loss at the best epoch, difference −0.415, 95 % CI −0.448 to −0.382, n = 4; "
        "exact sign-flip p = 0.12",
        "claimed at most −0.2: supported",
    ]
    differences = np.array([-0.42, -0.39, -0.44, -0.41])
    half = 3.182446305 * differences.std(ddof=1) / 2
    assert finding.summary is not None
    assert (finding.summary.low, finding.summary.high) == pytest.approx((-0.415 - half, -0.415 + half))


def test_pairs_by_seed() -> None:
    """Differences are taken seed by seed: a spread that both variants share does not count."""
    shared = [0.1, 5.0, 2.0, 9.0]
    runs = variants(batch=[v - 0.01 - 0.0001 * i for i, v in enumerate(shared)], none=list(shared))
    assert judge(versus(difference_at_most=-0.005), runs).verdict == "supported"
    assert judge(versus(difference_at_most=-0.005), runs[::-1]).verdict == "supported"


def test_inconclusive_says_what_would_decide() -> None:
    """An inconclusive claim names the seeds it would take at the observed spread."""
    finding = judge(versus(difference_at_most=0.0), variants(batch=[0.3, 0.5, 0.4, 0.2], none=[0.4, 0.45, 0.5, 0.25]))
    assert finding.verdict == "inconclusive"
    (reason,) = [reason for reason in finding.reasons if "would decide" in reason]
    assert reason == "claimed at most 0: inconclusive; about 18 seeds would decide it, if the spread stays (0.071)"


@pytest.mark.parametrize(
    ("status", "value"), [("diverged", 0.1), ("diverged", math.nan), ("unfinished", 0.1), ("failed", 0.1)]
)
def test_a_run_without_a_value_never_supports(status: str, value: float) -> None:
    """A diverged or unfinished run leaves the claim at best inconclusive, and is counted."""
    runs = [*CLEAR[1:], loaded_run("batch", 0, (9.0, value), status)]
    finding = judge(versus(difference_at_most=-0.2), runs)
    assert finding.verdict == "inconclusive"
    assert f"batch: 1 of 4 have no value ({status})" in finding.reasons
    assert judge(versus(difference_at_most=-0.6), runs).verdict == "not supported"


BAD = {"variant": {"model.norm": "none"}}
WORSE = BAD | {"versus": {"model.norm": "batch"}}


def with_diverged(none: list[float], batch: list[float], diverged: int) -> list[LoadedRun]:
    """Runs of which the first of `none` diverged."""
    return variants(batch=batch, none=["diverged"] * diverged + none[diverged:])


SPREAD = [0.01 * math.sin(i) for i in range(20)]


@pytest.mark.parametrize("n", [6, 10, 20])
@pytest.mark.parametrize(
    "claimed",
    [
        claim(**BAD, at_least=0.5),
        claim(**WORSE, difference_at_least=0.2),
        versus(difference_at_most=-0.2),
        claim(**BAD, metric="val/accuracy", at_most=0.5),
        claim(**WORSE, metric="val/accuracy", difference_at_most=-0.2),
    ],
    ids=["loss", "loss difference", "loss difference, turned", "accuracy", "accuracy difference"],
)
def test_more_diverged_runs_never_weaken_a_claim_of_bad(claimed: Claim, n: int) -> None:
    """From no diverged run to n, a true claim stays supported; its values may be few, or none."""
    for diverged in range(n + 1):
        runs = with_diverged([0.7 + x for x in SPREAD[:n]], [0.3 - x for x in SPREAD[:n]], diverged)
        finding = judge(claimed, runs)
        assert finding.verdict == "supported", diverged
        assert any("counts for the claim" in reason for reason in finding.reasons) == (diverged > 0)


@pytest.mark.parametrize("n", [3, 6, 10, 20])
def test_one_more_diverged_run_never_weakens_the_verdict(n: int) -> None:
    """Once a run diverged, whatever the values of the others, the verdict on a claim of bad only grows stronger."""
    strength = {"not supported": 0, "inconclusive": 1, "supported": 2}
    random = np.random.default_rng(n)
    seen = set()
    for shift in [-0.3, -0.1, 0.0, 0.1, 0.3] * 4:
        batch = random.normal(0.5, 0.1, n).tolist()
        none = random.normal(0.5 + shift, 0.1, n).tolist()
        for claimed in (claim(**BAD, at_least=0.5), claim(**WORSE, difference_at_least=0.0)):
            verdicts = [judge(claimed, with_diverged(none, batch, k)).verdict for k in range(1, n + 1)]
            assert verdicts == sorted(verdicts, key=strength.__getitem__)
            assert verdicts[-1] == ("supported" if n >= 6 else "inconclusive")
            seen.update(verdicts)
    assert seen == ({"inconclusive"} if n == 3 else set(strength) - ({"not supported"} if n == 6 else set()))


def test_how_a_claim_with_diverged_runs_is_told() -> None:
    """All seeds are counted; the mean of those with a value stands beside them, without its interval."""
    runs = with_diverged([0.7] * 4 + [0.72, 0.4], [0.3] * 6, 4)
    assert judge(claim(**BAD, at_least=0.3), runs).reasons == [
        "validation loss at the best epoch, mean 0.560 over the 2 of 6 seeds that have a value",
        "claimed at least 0.3: supported; 6 of 6 seeds are, 95 % CI of that share 0.54 to 1",
        "none: 4 of 6 have no value (diverged), which counts for the claim",
    ]
    finding = judge(claim(**BAD, at_least=0.5), runs)
    assert finding.reasons[1] == (
        "claimed at least 0.5: inconclusive; 5 of 6 seeds are, 95 % CI of that share 0.36 to 1; "
        "about 12 seeds would decide it, if the proportion stays"
    )
    assert (to_plain(finding)["low"], to_plain(finding)["high"]) == (None, None)
    missing = "none: 4 of 6 have no value (diverged), which counts for the claim"
    assert measured(finding) == f"validation loss at the best epoch: 0.560, n = 2; {missing}"
    five = judge(claim(**BAD, at_least=0.5), with_diverged([0.7] * 5, [0.3] * 5, 5))
    assert five.reasons[:2] == [
        "validation loss at the best epoch, mean: none of 5 seeds has a value",
        "claimed at least 0.5: inconclusive; 5 of 5 seeds are, 95 % CI of that share 0.48 to 1; "
        "about 6 seeds would decide it, if the proportion stays",
    ]
    assert five.summary is None
    both = [*with_diverged([0.7] * 8, [0.3] * 8, 1)[1:], loaded_run("batch", 0, (9.0, math.nan), "diverged")]
    assert (
        judge(claim(**WORSE, difference_at_least=0.1), both)
        .reasons[1]
        .startswith("claimed at least 0.1: supported; 7 of 7 seeds are (1 on neither side)")
    )
    gone = [loaded_run("batch", seed, (9.0, math.nan), "diverged") for seed in range(3)]
    both = [*(run for run in with_diverged([0.7] * 6, [0.3] * 6, 6) if run.seed > 2 or run.variant != "batch"), *gone]
    assert judge(claim(**WORSE, difference_at_least=0.1), both).reasons[1] == (
        "claimed at least 0.1: inconclusive; 3 of 3 seeds are (3 on neither side), 95 % CI of that share 0.29 to 1; "
        "about 12 seeds would decide it, if the proportion stays"  # of which six are on one of the sides
    )


def test_diverged_runs_that_do_not_speak_for_the_claim() -> None:
    """A claim of good they never let be supported; it may be refuted by the values alone, or by their number."""
    few, most = with_diverged([0.7 + x for x in SPREAD[:8]], [0.3] * 8, 1), with_diverged([0.7] * 8, [0.3] * 8, 8)
    good = claim(**BAD, at_most=0.9)
    assert [judge(good, runs).verdict for runs in (few, most)] == ["inconclusive", "not supported"]
    assert judge(claim(**BAD, at_most=0.6), few).verdict == "not supported"
    verdicts = [judge(good, with_diverged([0.7 + x for x in SPREAD], [], k)).verdict for k in range(21)]
    assert verdicts == ["supported"] + ["inconclusive"] * 14 + ["not supported"] * 6  # 5 of 20: 9 % to 49 %
    # neither end is claimed, or both are
    assert judge(versus(difference_within=0.6), few).verdict == "inconclusive"
    assert judge(versus(difference_at_most=-0.2, difference_at_least=-0.6), few).verdict == "inconclusive"
    assert judge(versus(difference_at_least=-0.6), few).verdict == "inconclusive"
    unfinished = [*CLEAR[:7], loaded_run("none", 3, (9.0, math.nan), "unfinished")]
    assert judge(claim(**BAD, at_least=0.5), unfinished).verdict == "inconclusive"


@pytest.mark.parametrize("rate", [0.1, 0.45])
@pytest.mark.parametrize("n", [6, 20])
def test_false_support_by_diverged_runs_is_rare(n: int, rate: float) -> None:
    """Where just half of the runs are bad, diverged or not, at most 2.5 % of experiments call the variant bad."""
    random = np.random.default_rng(n)
    share = (0.5 - rate) / (1 - rate)  # of the values that are above the bound of 0.5
    supported = 0
    for _ in range(500):
        values = 0.5 + 0.1 * np.where(random.uniform(size=n) < share, 1, -1) * random.exponential(size=n)
        runs = with_diverged(values.tolist(), [], int(random.binomial(n, rate)))
        supported += judge(claim(**BAD, at_least=0.5), runs).verdict == "supported"
    assert supported / 500 < 0.025 + 3 * math.sqrt(0.025 * 0.975 / 500)


def test_too_little_to_say() -> None:
    """One seed, no shared seed, no run, several variants or one with itself: inconclusive, with the reason."""
    one = judge(versus(difference_at_most=0.0), [CLEAR[0], CLEAR[4]])
    assert (one.verdict, one.reasons) == (
        "inconclusive",
        ["validation loss at the best epoch, difference −0.420 with one seed, which has no CI"],
    )
    apart = judge(versus(difference_at_most=0.0), [*CLEAR[:2], *CLEAR[6:]])
    assert apart.reasons == ["no seed has a value on every side"]
    assert judge(versus(difference_at_most=0.0), CLEAR[:4]).reasons == ["model.norm: none selects no run"]
    itself = judge(claim(versus={"label": "batch"}, difference_at_least=-0.1), CLEAR)
    assert (itself.verdict, itself.reasons) == ("inconclusive", ["label: batch is the variant itself"])
    several = judge(claim(variant={"model.activation": "relu"}, at_most=1.0), CLEAR)
    assert several.reasons == ["model.activation: relu selects 2 variants: batch, none"]


def test_at_an_epoch_or_a_step() -> None:
    """`at` chooses a row of metrics.csv; one that is not there is no value."""
    for at in ({"epoch": 1}, {"step": 10}):
        first = judge(claim(at_most=8.9, at=at), CLEAR)
        assert (first.summary and first.summary.mean) == 9.0
    assert judge(claim(at_most=9.1, at={"epoch": 7}), CLEAR).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("bounds", "n", "verdict"),
    [
        ({"difference_at_least": 0.0}, 20, "inconclusive"),
        ({"difference_at_most": 0.0}, 20, "inconclusive"),
        ({"difference_at_least": -0.003}, 5, "inconclusive"),
        ({"difference_at_least": -0.003}, 6, "supported"),
        ({"difference_at_least": 0.1}, 5, "inconclusive"),
        ({"difference_at_least": 0.1}, 6, "not supported"),
        ({"difference_within": 0.1}, 5, "inconclusive"),
        ({"difference_within": 0.1}, 6, "supported"),
    ],
)
def test_differences_without_spread(bounds: dict[str, float], n: int, verdict: str) -> None:
    """Two collapsed networks are neither more nor less accurate than each other: the sign test decides."""
    collapsed = variants(batch=[0.1] * n, none=[0.1] * n)
    finding = judge(versus(**bounds), collapsed)
    assert finding.verdict == verdict
    assert finding.reasons[0] == (
        f"validation loss at the best epoch, difference 0 with each of {n} seeds, which leaves no spread to judge by"
    )
    if 0.0 in bounds.values():
        assert finding.reasons[1].endswith("inconclusive; no seed is on either side of it")


def test_the_bound_itself_but_for_rounding() -> None:
    """0.3 − 0.2 is not below 0.1."""
    assert judge(versus(difference_at_least=0.1), variants(batch=[0.3] * 6, none=[0.2] * 6)).verdict == "inconclusive"


@pytest.mark.parametrize("bounds", [{"difference_at_most": 0.0}, {"difference_at_least": 0.0}])
@pytest.mark.parametrize("gap", [0.0, 2.0**-54])
def test_differences_of_rounding_are_on_a_bound_of_0(bounds: dict[str, float], gap: float) -> None:
    """What differs by the last bit of its values is neither above nor below, all the same or not, diverged or not."""
    values = [0.3, 0.3 + 2.0**-54, 0.3 - gap, 0.3, 0.3 + 2.0**-54, 0.3, 0.3 + 2.0**-54]
    assert len(set(values)) >= 2
    finding = judge(versus(**bounds), variants(batch=values, none=[0.3] * 7))
    assert (finding.verdict, finding.summary and finding.summary.sd) == ("inconclusive", 0.0)
    assert finding.reasons[1].endswith("; no seed is on either side of it")
    worse = judge(claim(**WORSE, difference_at_least=0.0), with_diverged([0.3] * 8, [*values, 0.3], 1))
    assert worse.reasons[1].startswith("claimed at least 0: inconclusive; 1 of 1 seeds are (7 on neither side)")


def test_a_bound_within_rounding_of_the_values() -> None:
    """How near a bound is its own is a matter of the values, not of the bound."""
    runs = variants(batch=[1e6 + 0.001] * 6, none=[1e6] * 6)
    for bound in ("difference_at_least", "difference_at_most"):
        last = claim(versus={"model.norm": "none"}, at="last", **{bound: 0.001})
        assert judge(last, runs).verdict == "inconclusive"
    tiny = variants(batch=[1.0 + 1e-9] * 6, none=[1.0] * 6)
    assert judge(versus(difference_at_least=0.0), tiny).verdict == "supported"


def test_more_seeds_than_anyone_trains() -> None:
    """A mean near its bound says that more than 10,000 seeds would be needed, not that none would do."""
    finding = judge(
        versus(difference_at_most=0.0), variants(batch=[0.3, 0.5001, 0.3, 0.5], none=[0.5, 0.3, 0.5, 0.3])
    )
    assert finding.reasons[1] == (
        "claimed at most 0: inconclusive; "
        "it would take more than 10,000 seeds to decide it, if the spread stays (0.23)"
    )


def test_the_first_diverged_run_changes_the_question() -> None:
    """From the mean to the median: with fewer than six seeds a claim of bad is open from then on."""
    none, batch = [0.7 + x for x in SPREAD], [0.3 - x for x in SPREAD]
    for n in (3, 5, 6):
        for claimed in (claim(**BAD, at_least=0.5), claim(**WORSE, difference_at_least=0.2)):
            verdicts = [judge(claimed, with_diverged(none[:n], batch[:n], k)).verdict for k in range(3)]
            assert verdicts == ["supported"] + ["supported" if n >= 6 else "inconclusive"] * 2


def test_equal_values_of_one_variant() -> None:
    """The same value with each seed is no interval of width 0 either."""
    assert [judge(claim(at_most=0.5), variants(batch=[0.3] * n)).verdict for n in (5, 6)] == [
        "inconclusive",
        "supported",
    ]


def test_within_is_told_by_the_interval_that_decides() -> None:
    """One α for all bounds: equivalence is decided, and told, by the 95 % interval, alone or beside other bounds."""
    runs = variants(batch=[0.30, 0.31, 0.29, 0.30], none=[0.72, 0.70, 0.73, 0.71])
    low, high = stats.t.interval(0.95, 3, -0.415, stats.sem([-0.42, -0.39, -0.44, -0.41]))
    for bounds in ({"difference_within": 0.45}, {"difference_within": 0.45, "difference_at_most": -0.2}):
        finding = judge(versus(**bounds), runs)
        assert (finding.verdict, finding.is_preliminary, to_plain(finding)["confidence"]) == ("supported", True, 0.95)
        assert finding.summary is not None
        assert (finding.summary.low, finding.summary.high) == pytest.approx((low, high))
        assert "difference −0.415, 95 % CI −0.448 to −0.382, n = 4" in finding.reasons[0]
        cell = "validation loss at the best epoch: difference −0.415 (−0.448 to −0.382), n = 4"
        assert measured(finding) == cell
    within_90 = -stats.t.interval(0.9, 3, -0.415, stats.sem([-0.42, -0.39, -0.44, -0.41]))[0] + 0.001
    assert judge(versus(difference_within=within_90), runs).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("differences", "bounds", "outcome"),
    [
        ([-0.4, -0.41, -0.42, -0.43, -0.44], {"difference_at_most": -0.2}, "supported, preliminary"),
        ([-0.4, -0.41, -0.42, -0.43, -0.44], {"difference_at_least": -0.2}, "not supported, preliminary"),
        ([-0.4, -0.41, -0.42, -0.43, -0.44, -0.45], {"difference_at_most": -0.2}, "supported"),
        ([-0.4, -0.41, -0.42, -0.43, -0.44, -0.45], {"difference_within": 0.5}, "supported"),
        # the seed on the bound says nothing of it
        ([-0.2, -0.21, -0.22, -0.23, -0.24, -0.25], {"difference_at_most": -0.2}, "supported, preliminary"),
        # t = 2.5 of seven, p = .047; 12 or 16 of 128 sign patterns are as far
        ([-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 1.0], {"difference_at_most": 0.0}, "inconclusive"),
    ],
)
def test_the_sign_flip_test_confirms_or_contradicts(
    differences: list[float], bounds: dict[str, float], outcome: str
) -> None:
    """With fewer than six seeds off the bound a verdict is preliminary; with more a sign-flip p above .10 forbids."""
    runs = variants(batch=[5 + x for x in differences], none=[5.0] * len(differences))
    finding = judge(versus(**bounds), runs)
    assert finding.verdict + ", preliminary" * finding.is_preliminary == outcome
    assert to_plain(finding)["is_preliminary"] == finding.is_preliminary
    assert (f"preliminary: {len(differences)} seeds" in finding.outcome) == finding.is_preliminary
    if outcome == "inconclusive":
        assert finding.reasons[1] == (
            "claimed at most 0: inconclusive; "
            "the CI says supported, which the sign-flip p of the bound, 0.12, contradicts"
        )


@pytest.mark.parametrize(
    ("n", "bounds", "verdict"),
    [
        (3, {"difference_at_most": -0.2}, "inconclusive"),
        (5, {"difference_at_most": -0.2}, "supported"),
        (5, {"difference_at_least": -0.2}, "not supported"),
        (8, {"difference_within": 0.5}, "supported"),
        (8, {"difference_within": 0.41}, "inconclusive"),
    ],
)
def test_seeds_until_decided_are_judged_by_the_sequence(n: int, bounds: dict[str, float], verdict: str) -> None:
    """The interval shown is that of the confidence sequence, and called so; too few seeds have none."""
    differences = [-0.4 - 0.01 * (i % 3) for i in range(n)]
    runs = looked_at(variants(batch=[1 + x for x in differences], none=[1.0] * n))
    finding = judge(versus(**bounds), runs)
    assert (finding.verdict, finding.is_sequential, finding.is_preliminary) == (verdict, True, False)
    looks = t_sequence(differences)
    assert finding.summary is not None
    assert (finding.summary.low, finding.summary.high) == pytest.approx((looks.low, looks.high), nan_ok=True)
    assert (
        "95 % CI, valid at every look, not yet" if n == 3 else "95 % CI, valid at every look, −0."
    ) in finding.reasons[0]
    assert "sign-flip" not in finding.reasons[0]


@pytest.mark.parametrize(("diverged", "verdict"), [(6, "inconclusive"), (7, "supported")])
def test_sequential_claims_about_diverged_runs(diverged: int, verdict: str) -> None:
    """A proportion, and the share of seeds where runs diverged, by the beta-binomial sequence: seven, not six."""
    bad = looked_at(variants(batch=["diverged"] * diverged))
    finding = judge(claim(metric="diverged", at_least=0.5), bad)
    assert (finding.verdict, finding.summary and finding.summary.low) == (
        verdict,
        pytest.approx(share_sequence([True] * diverged).low),
    )
    beside = looked_at(variants(none=["diverged"] * diverged, batch=[0.3] * diverged))
    finding = judge(claim(**WORSE, difference_at_least=0.0), beside)
    assert finding.verdict == verdict
    assert "95 % CI, valid at every look, of that share" in finding.reasons[1]


def measured(finding: Finding) -> str:
    """As `papers` shows it."""
    return measured_cell(finding)


@pytest.mark.parametrize(("mean", "sd"), [(0.03, 0.1), (0.0, 0.1), (0.06, 0.06), (0.16, 0.1)])
def test_the_seeds_that_would_decide_within(mean: float, sd: float) -> None:
    """With the seeds named, and no fewer, `within` is decided in 80 % of experiments of that mean and spread."""
    unit = np.array([-1.0, 0.0, 1.0])  # of mean 0 and standard deviation 1
    differences = mean + sd * unit
    finding = judge(versus(difference_within=0.1), variants(batch=(1 + differences).tolist(), none=[1.0] * 3))
    (reason,) = [reason for reason in finding.reasons if "would decide" in reason]
    needed = int(reason.split("about ")[1].split(" seeds")[0])
    for n, is_enough in ((needed, True), (needed - 1, False)):
        samples = np.random.default_rng(1).normal(mean, sd, (40_000, n))
        half = stats.t.ppf(0.975, n - 1) * samples.std(axis=1, ddof=1) / math.sqrt(n)
        far = np.abs(samples.mean(axis=1)) + half <= 0.1 if mean < 0.1 else samples.mean(axis=1) - half > 0.1
        assert (far.mean() >= 0.8 - 0.005) if is_enough else (far.mean() < 0.8 + 0.005)


@pytest.mark.parametrize("n", [3, 6])
def test_false_support_is_rare(n: int) -> None:
    """Where the truth is just on the wrong side of a bound, at most 2.5 % of experiments support the claim."""
    random = np.random.default_rng(7)
    supported = 0
    for _ in range(1000):
        none = random.normal(1, 0.3, n)
        batch = none + random.normal(0, 0.1, n)
        runs = variants(batch=batch.tolist(), none=none.tolist())
        supported += judge(versus(difference_at_most=0.0), runs).verdict == "supported"
    assert supported / 1000 < 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1000)


@pytest.mark.parametrize(("collapse", "least", "most"), [(0.0, 0.015, 0.035), (0.2, 0.24, 0.30)])
def test_false_support_where_runs_collapse(collapse: float, least: float, most: float) -> None:
    """A t-interval's error rate is of values near normal: where 20 % of runs collapse, all of six are too often well.

    The bound is a little above the true mean, so the claim is false.
    """
    random = np.random.default_rng(9)
    bound = (1 - collapse) * 0.9 + collapse * 0.1 + 1e-6
    accurate = claim(metric="val/accuracy", at_least=bound)
    supported = 0
    for _ in range(2000):
        values = np.where(random.uniform(size=6) < collapse, 0.1, random.normal(0.9, 0.01, 6))
        runs = variants(batch=(1 - values).tolist())
        supported += judge(accurate, runs).verdict == "supported"
    assert least < supported / 2000 < most


def test_copies_of_a_run_count_once() -> None:
    """The first of a seed counts, its status too; so it does in a report."""
    copies = [loaded_run("none", 3, (9.0, 0.1)), loaded_run("batch", 0, (9.0, math.nan), "diverged")]
    finding = judge(versus(difference_at_most=-0.2), [*CLEAR, *copies])
    assert finding == judge(versus(difference_at_most=-0.2), CLEAR)
    measure = metric_at(Metric("val/loss"), "best")
    assert compare_by(measure, [*CLEAR, *copies], [("batch", "none")]) == compare_by(
        measure, CLEAR, [("batch", "none")]
    )
    lost = loaded_run("batch", 4, (9.0, math.nan), "diverged")
    assert compare_by(measure, [*CLEAR, lost, lost], []).variants[0].missing == {"diverged": 1}


def test_false_equivalence_is_rare() -> None:
    """Where two variants differ by just the margin, at most 2.5 % of experiments call them equivalent."""
    random = np.random.default_rng(8)
    supported = 0
    for _ in range(1000):
        none = random.normal(1, 0.3, 6)
        batch = none + 0.1 + random.normal(0, 0.05, 6)
        supported += (
            judge(versus(difference_within=0.1), variants(batch=batch.tolist(), none=none.tolist())).verdict
            == "supported"
        )
    assert supported / 1000 < 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1000)


def test_hostile_claims_are_left_out() -> None:
    """What a foreign folder calls a claim and is none costs nothing."""
    good = claim(at_most=1.0).model_dump()
    runs = [
        loaded_run("batch", claims=value)
        for value in (None, 3, "x", {"a": 1}, [1, {}, good, {"statement": 1}], [good])
    ]
    assert claims_of(runs) == [claim(at_most=1.0)]


# ---------------------------------------------------------------- the command


def write(folder: Path, values: dict[str, list[float]], difference: float) -> None:
    """Run folders of a regression experiment with these training losses."""
    text = (
        "name: x\nseeds: 4\ndata: {name: random_regression}\nmodel: {name: mlp, hidden: [4]}\n"
        "training: {epochs: 1, batch_size: full, optimizer: {name: sgd, lr: 0.1}}\n"
        "compare: {model.norm: [none, batch]}\n"
        "claims:\n- {statement: batch is lower, metric: train/loss, variant: {model.norm: batch}, "
        f"versus: {{model.norm: none}}, difference_at_most: {difference}}}\n"
    )
    path = folder / "x.yaml"
    path.write_text(text)
    for config in load_experiment(path).runs:
        value = values[config.variant.label][config.seed]
        folder_of = RunStore(folder / "runs").run(config)
        folder_of.begin({})
        folder_of.tables.append(1.0, 1, {"train/loss": value, "lr": 0.1}, 0.1, 1.0)
        best = {"epoch": 1.0, "step": 1, "train/loss": value}
        folder_of.finish({"status": "completed", "steps": 1, "best": best, "last": best}, None, b"")


@pytest.mark.parametrize(
    ("difference", "verdict", "code", "strict_code"),
    [(-0.2, "supported", 0, 0), (-0.6, "not supported", 3, 3), (-0.415, "inconclusive", 0, 3)],
)
def test_check(
    difference: float, verdict: str, code: int, strict_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` prints each claim with its verdict and exits with 3 if one is not supported (or, strict, undecided)."""
    write(tmp_path, {"batch": [0.30, 0.31, 0.29, 0.30], "none": [0.72, 0.70, 0.73, 0.71]}, difference)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        ended = kit.call("check", "runs", *arguments)
        return ended.code, ended.out

    got, out = call()
    lines, mark = out.splitlines(), "" if verdict == "inconclusive" else " (preliminary: 4 seeds)"
    assert (got, lines[:2]) == (code, ["runs/x:", f"  {verdict.upper()}{mark}: batch is lower"])
    assert lines[2].startswith("    training loss at the best epoch, difference −0.415, 95 % CI −0.448 to −0.382")
    assert call("--strict")[0] == strict_code
    got, out = call("--json")
    ((finding,),) = json.loads(out).values()
    assert (got, finding["verdict"], finding["n"]) == (code, verdict, 4)


def test_check_without_claims(tmp_path: Path) -> None:
    """Where no claim is made `check` says so and exits with 2."""
    write(tmp_path, {"batch": [0.3] * 4, "none": [0.7] * 4}, 0)
    for path in tmp_path.rglob("config.yaml"):
        text = path.read_text()
        path.write_text(text[: text.index("claims:")])
    ended = kit.call("check", tmp_path / "runs")
    assert ended.code == 2
    assert ended.err == f"error: {tmp_path / 'runs'}: the experiments there make no claims\n"


def test_train_ends_with_the_claims(tmp_path: Path) -> None:
    """The end of `train` holds the config's claims against its runs, and says what these are instead."""
    settings = ["--set", "training.epochs=100", "--seeds", "2", "--runs", str(tmp_path)]
    ended = kit.call("train", CONFIGS / "regression.yaml", "--no-report", *settings)
    assert ended.code == 0
    out = ended.out
    assert out.count("The tutorial: BatchNorm trains faster") == 2
    assert out.count(" (these runs were trained with training.epochs=100, not 200)\n") == 2


def test_overrides_may_leave_a_claim_behind() -> None:
    """A claim that --set leaves without its epoch or variant is a warning; in the file itself it is an error."""
    experiment = load_experiment(CONFIGS / "regression.yaml", overrides=["training.epochs=3"], seeds="1")
    assert [warning.split(": ", 1)[1] for warning in experiment.warnings] == [
        "claims[0].at: epoch 50 is after the end, epoch 3; this claim cannot be judged",
        "claims[1].at: epoch 100 is after the end, epoch 3; this claim cannot be judged",
    ]
    experiment = load_experiment(CONFIGS / "mnist-mlp.yaml", overrides=["compare.model.norm=[layer]"], seeds="1")
    assert all("is none of the variants; they are: layer" in warning for warning in experiment.warnings)
    assert len(experiment.warnings) == 2


CLAIMED = """\
name: x
data: {name: mnist, validation: 0.2}
model: {name: mlp, hidden: [4]}
training: {epochs: 3, optimizer: {name: sgd, lr: 0.1}}
diagnostics: {eval_stats: [batch], gradients: true}
compare: [{label: plain}, {label: bn, model.norm: batch}, {label: bn 8, model.norm: batch, training.batch_size: 8}]
claims:
- statement: s
""".splitlines()
BATCH_ACCURACY = "diagnostics/model/val/accuracy with batch statistics"
GRADIENT = "diagnostics/output/gradient norm"
RANGES = {
    "accuracy": "between 0 and 1, as every accuracy is from 0 to 1",
    "share of runs": "between 0 and 1, as every share of runs is from 0 to 1",
    "difference in accuracy": "between -1 and 1, as every difference in accuracy is from -1 to 1",
    "loss": "above 0, as every loss is 0 or more",
    "gradient norm": "above 0, as every gradient norm is 0 or more",
}
PLAIN = "variant: {label: plain}"
WITHIN, WHOLE = "difference_within: 0.1", "diverged is said of a whole run: leave out at"
PAIR = "variant: {label: bn} | versus: {model.norm: none}"


SEVERAL = "model.norm: batch is 2 variants, not one: bn, bn 8; add a key that tells them apart, or give a label"
REFUSED = [  # the claim but for its statement, the key at fault, what is said of it
    *(
        (f"metric: val/loss | {selectors} | {bound}", key, message)
        for selectors, bound, key, message in [
            (
                f"{PLAIN} | versus: {{model.norm: none}}",
                WITHIN,
                "versus",
                "model.norm: none is the variant itself, plain",
            ),
            (f"{PLAIN} | versus: {{label: plain}}", WITHIN, "versus", "label: plain is the variant itself, plain"),
            ("variant: {model.norm: batch}", "at_most: 0.1", "variant", SEVERAL),
            (f"{PLAIN} | versus: {{model.norm: batch}}", "difference_at_most: 0", "versus", SEVERAL),
            (
                *("variant: {model.norm: layer}", "at_most: 0.1", "variant"),
                "model.norm: layer is none of the variants; they are: plain, bn, bn 8",
            ),
        ]
    ),
    *(
        (f"metric: {metric} | {selectors} | {key}: {bound}", key, f"must be {RANGES[what]}, not {bound}")
        for metric, selectors, key, bound, what in [
            ("test/accuracy", PLAIN, "at_least", 98, "accuracy"),
            ("val/accuracy", PLAIN, "at_most", 1, "accuracy"),
            ("train/accuracy", PLAIN, "at_least", 0, "accuracy"),
            (BATCH_ACCURACY, "variant: {label: bn}", "at_least", 1, "accuracy"),
            ("test/accuracy", PAIR, "difference_at_least", 1, "difference in accuracy"),
            ("val/accuracy", PAIR, "difference_at_most", -5, "difference in accuracy"),
            ("val/accuracy", PAIR, "difference_within", 1, "difference in accuracy"),
            ("train/loss", PLAIN, "at_most", 0, "loss"),
            ("test/loss", PLAIN, "at_least", 0, "loss"),
            ("diverged", PLAIN, "at_least", 0, "share of runs"),
            ("diverged", PLAIN, "at_least", 1, "share of runs"),
            ("diverged", PLAIN, "at_most", 0, "share of runs"),
            (GRADIENT, PLAIN, "at_least", 0, "gradient norm"),
        ]
    ),
    *(
        (
            f"metric: val/loss | {selectors} | {upper} | {lower}",
            upper.split(":")[0],
            f"{upper.split()[1]} {what} {lower}",
        )
        for selectors, upper, lower, what in [
            (PLAIN, "at_most: 0.2", "at_least: 0.5", "contradicts"),
            (PAIR, "difference_at_most: -0.2", "difference_at_least: 0.1", "contradicts"),
            (PAIR, WITHIN, "difference_at_least: 0.2", "contradicts"),
            (PAIR, "difference_at_most: -0.2", WITHIN, "contradicts"),
            (PLAIN, "at_most: 0.5", "at_least: 0.5", "leaves nothing between it and"),
        ]
    ),
    *(
        (f"metric: diverged | {PLAIN} | at: {at} | at_least: 0.5", "at", WHOLE)
        for at in ("last", "mean", "{epoch: 2}", "{step: 1, epoch: 2}")
    ),
]


@pytest.mark.parametrize(("fields", "key", "message"), REFUSED)
def test_what_no_config_may_claim(fields: str, key: str, message: str, tmp_path: Path) -> None:
    """What could not be judged, or is true or false of any runs, is refused by its line and key."""
    path = tmp_path / "x.yaml"
    lines = CLAIMED + ["  " + field for field in fields.split(" | ")]
    path.write_text("\n".join(lines))
    with pytest.raises(UserError) as error:
        load_experiment(path)
    (number,) = [i for i, line in enumerate(lines, 1) if line.startswith(f"  {key}:")]
    assert error.value.problems == (f"{path}:{number}: claims[0].{key}: {message}",)


@pytest.mark.parametrize(
    "fields",
    [
        f"metric: test/accuracy | {PLAIN} | at_least: 0.01 | at_most: 0.99",
        f"metric: test/accuracy | {PAIR} | difference_at_least: -0.99 | difference_within: 0.99",
        f"metric: val/loss | {PAIR} | difference_at_most: -3 | difference_at_least: -3.1",
        f"metric: val/loss | {PLAIN} | at: {{epoch: 2}} | at_least: 1e-3",
        f"metric: val/loss | {PAIR} | difference_at_least: 0 | difference_within: 0.1",
        f"metric: diverged | {PLAIN} | at: best | at_least: 0.5",  # as the config.yaml of a run has it
        "metric: val/loss | variant: {model.norm: batch, training.batch_size: 8} | at_most: 98",
    ],
)
def test_what_a_config_may_claim(fields: str, tmp_path: Path) -> None:
    """Bounds at the ends of what there is, several that agree, and selectors of one variant."""
    path = tmp_path / "x.yaml"
    path.write_text("\n".join(CLAIMED + ["  " + field for field in fields.split(" | ")]))
    assert len(load_experiment(path).runs) == 3


@pytest.mark.parametrize(
    "bounds", [{}, {"difference_at_least": -1.0}, {"versus": {"model.norm": "none"}, "at_most": 1}]
)
def test_no_claim_is_supported_without_its_bound(bounds: dict[str, Any]) -> None:
    """A recorded claim, which nobody has checked, with no bound or one for another number of variants."""
    finding = judge(claim(**bounds), CLEAR)
    assert (finding.verdict, finding.summary) == ("inconclusive", None)


def test_diverged_as_a_metric() -> None:
    """`diverged` is 1 for a run that diverged and 0 for one that did not; unfinished runs have no value.

    Its interval is that of a proportion: of six runs that all diverged it begins at .025^(1/6).
    """

    def runs(diverged: int, of: int) -> list[LoadedRun]:
        return variants(batch=["diverged"] * diverged + [0.3] * (of - diverged))

    def most(diverged: int, of: int, **bounds: float) -> list[str]:
        finding = judge(claim(metric="diverged", **bounds), runs(diverged, of))
        return [finding.verdict, *finding.reasons]

    verdict, interval, bound = most(6, 6, at_least=0.5)
    assert verdict == "supported"
    assert interval == f"diverged (1 or 0), mean 1.00, 95 % CI {0.025 ** (1 / 6):.2f} to 1.00, n = 6"
    assert most(6, 6, at_most=0.5)[0] == "not supported"
    assert most(0, 6, at_most=0.5)[0] == "supported"
    verdict, _, bound = most(6, 6, at_least=0.8)
    assert (verdict, bound) == (
        "inconclusive",
        "claimed at least 0.8: inconclusive; about 17 seeds would decide it, if the proportion stays",
    )  # .025^(1/17) = .805, .025^(1/16) = .794
    verdict, _, bound = most(1, 2, at_least=0.5)
    assert bound.endswith("; it would take more than 10,000 seeds to decide it, if the proportion stays")
    unfinished = [loaded_run("batch", 0, (9.0, 0.3), "unfinished"), *runs(7, 7)[1:]]
    assert judge(claim(metric="diverged", at_least=0.5), unfinished).verdict == "inconclusive"


def test_the_mean_over_the_evaluations() -> None:
    """`at: mean` averages over the run; a value that is not finite leaves none."""
    finding = judge(claim(at="mean", at_most=5), CLEAR)
    assert finding.summary is not None
    assert finding.summary.mean == pytest.approx((9 + 0.3) / 2)
    assert finding.reasons[0].startswith("validation loss over all evaluations, mean 4.6500,")
    assert judge(claim(at="mean", at_most=5), variants(batch=[math.nan] * 2)).summary is None


DIAGNOSTICS = """\
epoch,step,layer,quantity,value
1,10,hidden.0,beta smoothness,1
1,10,hidden.1,beta smoothness,3
1,10,model,val/loss with batch statistics,0.5
2,20,hidden.0,beta smoothness,5
2,20,hidden.1,beta smoothness,11
"""


@pytest.mark.parametrize(
    ("metric", "at", "expected"),
    [
        ("diagnostics/hidden.0/beta smoothness", "last", 5),
        ("diagnostics/hidden.0/beta smoothness", "best", 5),
        ("diagnostics/hidden.0/beta smoothness", "mean", 3),
        ("diagnostics/hidden.0/beta smoothness", {"step": 10}, 1),
        ("diagnostics/*/beta smoothness", {"epoch": 1}, 2),
        ("diagnostics/*/beta smoothness", "mean", 5),
        ("diagnostics/model/val/loss with batch statistics", "last", 0.5),
        ("diagnostics/model/val/loss with batch statistics", "best", None),
        ("diagnostics/hidden.7/beta smoothness", "last", None),
    ],
)
def test_diagnostics_as_a_metric(metric: str, at: Any, expected: float | None, tmp_path: Path) -> None:
    """A claim may be about a quantity of diagnostics.csv; `*` is the mean over the layers."""
    (tmp_path / "diagnostics.csv").write_text(DIAGNOSTICS)
    measured = [dataclasses.replace(item, path=tmp_path) for item in variants(batch=[0.3] * 2)]
    finding = judge(claim(metric=metric, at=at, at_most=9), measured)
    assert (finding.summary and finding.summary.mean) == expected


def test_diagnostics_of_runs_that_diverged(tmp_path: Path) -> None:
    """Neither end of a diagnostic is bad: a run that diverged has no value, for a claim or against it."""
    (tmp_path / "diagnostics.csv").write_text(DIAGNOSTICS)
    about = {"metric": "diagnostics/hidden.0/beta smoothness", "at": "last"}
    diverged = [dataclasses.replace(item, path=tmp_path) for item in variants(batch=["diverged"] * 6)]
    for bounds in ({"at_most": 9}, {"at_least": 9}):
        finding = judge(claim(**about, **bounds), diverged)
        assert (finding.verdict, finding.reasons[1]) == ("inconclusive", "no seed has a value on every side")


@pytest.mark.parametrize("text", ["epoch,step,layer\n", "epoch,step,layer,quantity,value\n1,10,a,b,x\n", "nothing"])
def test_damaged_diagnostics(text: str, tmp_path: Path) -> None:
    """Diagnostics that cannot be read leave the claim without a value."""
    (tmp_path / "diagnostics.csv").write_text(text)
    measured = [dataclasses.replace(loaded_run("batch"), path=tmp_path)]
    finding = judge(claim(metric="diagnostics/a/b", at="last", at_most=9), measured)
    assert finding.verdict == "inconclusive"
    assert finding.summary is None


# ---------------------------------------------------------------- other settings than those of its file

STATED = """\
name: x
seeds: 2
data: {name: random_regression, samples: 32, test_samples: 16, features: 3, validation: 8}
model: {name: mlp, hidden: [4]}
training: {epochs: 20, batch_size: 8, device: cpu, optimizer: {name: sgd, lr: 0.1}}
compare: {model.norm: [none, batch]}
claims: [{statement: s, metric: val/loss, variant: {model.norm: batch}, versus: {model.norm: none},
  difference_at_most: 0}]
"""
OTHER_CLAIM = "claims=[{statement: t, metric: val/loss, variant: {model.norm: batch}, at_most: 1}]"


@pytest.mark.parametrize(
    ("overrides", "overridden"),
    [
        ([], {}),
        (["training.epochs=5"], {"training.epochs": 20}),
        (["training.epochs=20"], {}),  # as in the file
        (["training.epochs=5", "data.samples=40"], {"training.epochs": 20, "data.samples": 32}),
        (["training.optimizer={name: adam, lr: 0.1}"], {"training.optimizer.name": "sgd"}),
        (["compare.model.norm=[none, batch, layer]"], {}),
        (["name=y", "training.device=auto", "training.checkpoint_every=3"], {}),  # which decide no number
        (["training.epochs=5", OTHER_CLAIM], {}),  # claimed of these settings
    ],
)
def test_what_a_claim_was_stated_for(overrides: list[str], overridden: dict[str, Any], tmp_path: Path) -> None:
    """A run knows what --set changed of its file, which changes none of its digests; seeds are not of it."""
    (tmp_path / "x.yaml").write_text(STATED)
    runs = load_experiment(tmp_path / "x.yaml", overrides=overrides, seeds="3").runs
    assert all(run.variant.overridden == overridden for run in runs)
    (tmp_path / "again.yaml").write_text(runs[0].to_yaml())
    (again,) = load_experiment(tmp_path / "again.yaml").runs
    assert (again.digest, again.variant) == (runs[0].digest, runs[0].variant)


def test_a_variant_of_the_command_line_was_claimed_nothing_of(tmp_path: Path) -> None:
    """It has nothing in the file to differ from, and a file that is valid with --set alone has nothing to say."""
    (tmp_path / "x.yaml").write_text(STATED)
    overrides = ["compare.model.norm=[none, batch, layer]", "training.epochs=5"]
    runs = load_experiment(tmp_path / "x.yaml", overrides=overrides, seeds="1").runs
    assert [run.variant.overridden for run in runs] == [{"training.epochs": 20}, {"training.epochs": 20}, {}]
    (tmp_path / "x.yaml").write_text(STATED.replace("epochs: 20", "epochs: -1"))
    (run, _) = load_experiment(tmp_path / "x.yaml", overrides=["training.epochs=5"], seeds="1").runs
    assert run.variant.overridden == {}


def test_a_finding_of_other_settings() -> None:
    """It says what its runs were trained with, and what the claim was stated for; the verdict is that of the runs."""
    runs = [
        dataclasses.replace(
            run,
            config=run.config
            | {
                "variant": run.config["variant"] | {"overridden": {"training.epochs": 20}},
                "training": run.config["training"] | {"epochs": 5},
            },
        )
        for run in CLEAR
    ]
    plain, finding = judge(versus(difference_at_most=-0.2), CLEAR), judge(versus(difference_at_most=-0.2), runs)
    assert (plain.overridden, finding.overridden) == ({}, {"training.epochs": 20})
    assert finding.reasons == ["these runs were trained with training.epochs=5, not 20", *plain.reasons]
    assert (finding.verdict, finding.summary) == (plain.verdict, plain.summary)
    assert to_plain(finding)["overridden"] == {"training.epochs": 20}
    others = [run for run in runs if run.variant == "none"] + [run for run in CLEAR if run.variant == "batch"]
    assert judge(claim(at_most=0.5), others).overridden == {}  # not about those runs
