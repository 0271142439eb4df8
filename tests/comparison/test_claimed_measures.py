"""Claims about times, areas and spreads, ratios, and differences of differences."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import compare, loaded_run
from scipy import stats

from bncompare.comparison.claims import judge
from bncompare.comparison.plain import to_plain
from bncompare.config.claims import Claim
from bncompare.config.expand import load_experiment
from bncompare.errors import UserError
from bncompare.runs.read import LoadedRun

BATCH, NONE = {"model.norm": "batch"}, {"model.norm": "none"}


def claim(metric: str = "val/loss", versus: Any = None, **fields: Any) -> Claim:
    base = {"statement": "s", "metric": metric, "variant": BATCH, "versus": versus}
    return Claim.model_validate(base | fields)


def descending(first: float, number: int = 8) -> list[float]:
    """Losses that halve from one evaluation to the next."""
    return [first / 2**i for i in range(number)]


def runs_of(**of: Sequence[Sequence[float]]) -> list[LoadedRun]:
    """Runs of several norms: for each seed the loss at every evaluation."""
    return [loaded_run(name, seed, losses) for name, seeds in of.items() for seed, losses in enumerate(seeds)]


HALVING = runs_of(batch=[descending(0.8), descending(0.4)])  # 0.8 0.4 0.2 0.1 …, an epoch, 10 steps, 0.5 s apart


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("epochs to val/loss 0.1", [4.0, 3.0]),
        ("steps to val/loss 0.1", [40.0, 30.0]),
        ("seconds to val/loss .1", [2.0, 1.5]),
        ("epochs to val/accuracy 0.5", [2.0, 1.0]),
        ("epochs to train/loss 1e-1", [4.0, 3.0]),
        # trapezoids, ½ first + the others but the last + ½ last, over 7 epochs
        ("area of val/loss", [(0.4 + sum(descending(0.4, 6)) + 0.8 / 256) / 7]),
        ("spread of val/loss", [float(np.std(descending(0.8)[-4:], ddof=1))]),
        ("spread of val/accuracy", [float(np.std(descending(0.8)[-4:], ddof=1))]),
    ],
)
def test_what_a_claim_names(metric: str, values: list[float]) -> None:
    """Each measure by hand: a time from its row, an area over the shared epochs, a spread over the second half."""
    finding = judge(claim(metric, at_most=9), HALVING)
    assert finding.summary is not None
    values = values if len(values) > 1 else [values[0], values[0] / 2]  # a half of all losses is a half of both
    assert (finding.summary.max, finding.summary.min) == pytest.approx((max(values), min(values)))


def test_how_a_claim_about_a_time_is_told() -> None:
    """The metric and what it is to reach are in people's words, the difference in epochs."""
    runs = runs_of(batch=[descending(0.8), descending(0.4)] * 3, none=[descending(3.2), descending(3.2)] * 3)
    finding = judge(claim("epochs to val/accuracy 0.9", NONE, difference_at_most=-1), runs)
    assert finding.verdict == "supported"
    assert finding.reasons[0].startswith(
        "epochs to validation accuracy 90 %, difference −2.50 epochs, 95 % CI −3.07 to"
    )
    assert finding.reasons[1].startswith("claimed at most −1 epochs: supported")


def test_a_run_that_never_gets_there_is_worse_than_any_value() -> None:
    """It speaks for a claim that its variant is slow, by the exact interval of the share, never for one of fast."""
    reached = [descending(0.8 * 1.01**seed) for seed in range(6)]
    runs = runs_of(batch=reached, none=[[0.8] * 8] * 6)
    slow = claim("epochs to val/loss 0.3", BATCH, difference_at_least=2, variant=NONE)
    for claimed in (slow, claim("epochs to val/loss 0.3", NONE, difference_at_most=-2)):
        finding = judge(claimed, runs)
        assert finding.verdict == "supported"
        assert finding.missing == ["none: 6 of 6 have no value (never reached), which counts for the claim"]
    assert judge(claim("epochs to val/loss 0.3", variant=NONE, at_most=7), runs).verdict == "not supported"
    one = runs_of(none=[*reached[:5], [0.8] * 8])
    assert judge(claim("epochs to val/loss 0.3", variant=NONE, at_most=7), one).verdict == "inconclusive"
    diverged = [loaded_run("none", seed, [0.8, 0.1, math.nan], "diverged") for seed in range(6)]
    finding = judge(claim("epochs to val/loss 0.3", variant=NONE, at_least=7), diverged)
    assert (finding.verdict, finding.missing[0].split("(")[1]) == (
        "supported",
        "diverged), which counts for the claim",
    )


def test_runs_too_short() -> None:
    """Without the evaluations that a measure is of there is nothing to judge, and that is said."""
    for metric in ("area of val/loss", "spread of val/loss"):
        finding = judge(claim(metric, at_most=9), runs_of(batch=[[0.5], [0.6]]))
        assert finding.verdict == "inconclusive"
        assert finding.reasons == [f"{metric}: the runs have too few evaluations"]


def test_a_claimed_threshold_is_that_of_the_report() -> None:
    """What a claim about a time names is what `compare` measures the speed to, unless it is told another."""
    of_claim = {"claims": [claim("epochs to val/loss 0.15", at_most=9).model_dump()]}
    runs = [loaded_run("batch", seed, descending(0.8), **of_claim) for seed in range(2)]
    for threshold, expected in ((None, 0.15), (0.3, 0.3)):
        found = compare(runs, threshold=threshold)
        assert found.measures[0].measure.name == "val/loss at best"
        assert found.convergence is not None
        assert (found.convergence.threshold, found.convergence.leader) == (expected, None)


# ---------------------------------------------------------------- ratios

A, B = [0.20, 0.25, 0.22, 0.18, 0.21, 0.24], [0.40, 0.44, 0.45, 0.35, 0.47, 0.41]


def ends(**of: Sequence[float]) -> list[LoadedRun]:
    """Runs of several norms: for each seed the loss at the end."""
    return runs_of(**{name: [(9.0, value) for value in values] for name, values in of.items()})


def test_a_ratio_is_judged_on_logarithms() -> None:
    """The geometric mean of the ratios, and exp of the t-interval of the log differences, to people and to JSON."""
    finding = judge(claim(versus=NONE, ratio_at_most=0.6), ends(batch=A, none=B))
    logs = np.log(A) - np.log(B)
    low, high = np.exp(stats.t.interval(0.95, 5, logs.mean(), stats.sem(logs)))
    assert finding.summary is not None
    got = finding.summary.mean, finding.summary.low, finding.summary.high
    assert got == pytest.approx((stats.gmean(np.divide(A, B)), low, high))
    assert finding.verdict == "supported"
    assert finding.reasons[:2] == [
        f"validation loss at the best epoch, ratio ×{got[0]:.3g}, 95 % CI ×{low:.3g} to ×{high:.3g}, n = 6; "
        "exact sign-flip p = 0.031",
        "claimed at most ×0.6: supported",
    ]
    plain = to_plain(finding)
    assert (plain["statistic"], plain["is_difference"], plain["low"]) == ("ratio", False, pytest.approx(low))


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"ratio_at_most": 0.6}, "supported"),
        ({"ratio_at_most": 0.4}, "not supported"),
        ({"ratio_at_least": 0.51}, "inconclusive"),
        ({"ratio_at_least": 0.4, "ratio_at_most": 0.6}, "supported"),
        ({"ratio_at_least": 1}, "not supported"),
    ],
)
def test_where_the_interval_of_a_ratio_lies(bounds: dict[str, float], verdict: str) -> None:
    """Beside its bounds, and turned round the claim of the inverse has the same verdict."""
    runs = ends(batch=A, none=B)
    assert judge(claim(versus=NONE, **bounds), runs).verdict == verdict
    names = {"ratio_at_most": "ratio_at_least", "ratio_at_least": "ratio_at_most"}
    inverse = {names[name]: 1 / value for name, value in bounds.items()}
    assert judge(claim(versus=BATCH, variant=NONE, **inverse), runs).verdict == verdict


def test_ratios_that_are_none() -> None:
    """Of a value that is 0 there is none; equal values are on the bound of 1; a run that diverged is beyond any."""
    zero = judge(claim(versus=NONE, ratio_at_most=2), ends(batch=[0.5, 0.0], none=[0.5, 0.6]))
    assert (zero.verdict, zero.reasons) == (
        "inconclusive",
        ["validation loss at the best epoch: not above 0 in batch seed 1: no ratio"],
    )
    same = judge(claim(versus=NONE, ratio_at_most=1), ends(batch=[0.5] * 6, none=[0.5 + 2**-54] * 6))
    assert (same.verdict, same.reasons[1]) == (
        "inconclusive",
        "claimed at most ×1: inconclusive; no seed is on either side of it",
    )
    for metric, bounds in (("val/loss", {"ratio_at_most": 0.9}), ("val/accuracy", {"ratio_at_least": 1.1})):
        diverged = [loaded_run("none", seed, (9.0, math.nan), "diverged") for seed in range(6)]
        finding = judge(claim(metric, NONE, **bounds), ends(batch=A) + diverged)
        assert (finding.verdict, finding.summary) == ("supported", None)


def test_the_interval_of_a_ratio_covers() -> None:
    """Of lognormal values, whose log differences are normal, 95 % of the intervals hold the true ratio."""
    random, covered, number = np.random.default_rng(0), 0, 400
    for _ in range(number):
        shared, (a, b) = random.normal(size=5), random.normal(scale=0.3, size=(2, 5))
        runs = ends(batch=(0.7 * np.exp(shared + a)).tolist(), none=np.exp(shared + b).tolist())
        summary = judge(claim(versus=NONE, at="last", ratio_at_most=1), runs).summary
        assert summary is not None
        covered += summary.low <= 0.7 <= summary.high
    assert abs(covered / number - 0.95) < 3 * math.sqrt(0.05 * 0.95 / number)


# ---------------------------------------------------------------- a difference of differences

SMALL, LARGE = {"training.batch_size": 16}, {"training.batch_size": 128}
MORE = {"variant": BATCH | LARGE, "versus": NONE | LARGE, "than": SMALL}


def factorial(**of: Sequence[float]) -> list[LoadedRun]:
    """Runs of two norms at two batch sizes, as `batch128=…`: the loss of each seed at the end, NaN if it diverged."""
    found = []
    for name, values in of.items():
        norm, size = name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))
        settings = {"model.norm": norm, "training.batch_size": size}
        training = {"optimizer": {"lr": 0.1}, "monitor": "val/loss", "batch_size": size}
        for seed, value in enumerate(values):
            status = "completed" if math.isfinite(value) else "diverged"
            found.append(loaded_run(name, seed, (9.0, value), status, settings=settings, training=training))
    return found


SEEDS = np.random.default_rng(1).normal(size=(4, 6))
FOUR = dict(
    zip(("batch128", "none128", "batch16", "none16"), np.exp(0.1 * SEEDS) * [[1], [2], [1], [1.2]], strict=True)
)


def test_a_difference_of_differences() -> None:
    """(batch − none at 128) − (batch − none at 16), seed by seed; as a ratio the logarithms of these."""
    runs = factorial(**{name: values.tolist() for name, values in FOUR.items()})
    gaps = FOUR["batch128"] - FOUR["none128"] - (FOUR["batch16"] - FOUR["none16"])
    finding = judge(claim(**MORE, difference_at_most=0), runs)
    assert finding.verdict == "supported"
    assert finding.summary is not None
    low, high = stats.t.interval(0.95, 5, gaps.mean(), stats.sem(gaps))
    assert (finding.summary.mean, finding.summary.low, finding.summary.high) == pytest.approx(
        (gaps.mean(), low, high)
    )
    assert finding.reasons[0].startswith("validation loss at the best epoch, difference of differences −")
    logs = np.log(FOUR["batch128"]) - np.log(FOUR["none128"]) - np.log(FOUR["batch16"]) + np.log(FOUR["none16"])
    ratio = judge(claim(**MORE, ratio_at_most=1), runs)
    assert ratio.summary is not None
    assert ratio.summary.mean == pytest.approx(math.exp(logs.mean()))
    assert ", ratio of ratios ×" in ratio.reasons[0]
    # the same the other way round, and nothing without the seeds of all four
    turned = MORE | {"variant": BATCH | SMALL, "versus": NONE | SMALL, "than": LARGE}
    assert judge(claim(**turned, difference_at_least=0), runs).verdict == "supported"
    fewer = [run for run in runs if run.variant != "none16" or run.seed > 1]
    kept = judge(claim(**MORE, difference_at_most=0), fewer).summary
    assert kept is not None
    assert (kept.n, kept.mean) == (4, pytest.approx(gaps[2:].mean()))
    alone = judge(claim(**MORE, difference_at_most=0), [run for run in runs if run.variant != "none16"])
    assert alone.reasons == ["model.norm: none, training.batch_size: 16 selects no run"]


@pytest.mark.parametrize(
    ("diverged", "verdict"),
    [("none128", "supported"), ("batch16", "supported"), ("batch128", "not supported"), ("none16", "not supported")],
)
def test_diverged_runs_of_an_interaction(diverged: str, verdict: str) -> None:
    """Where the runs that diverged are on the side that is claimed bad they count for the claim, else against it."""
    values = {name: of.tolist() for name, of in FOUR.items()} | {diverged: [math.nan] * 6}
    assert judge(claim(**MORE, difference_at_most=-0.1), factorial(**values)).verdict == verdict


def test_both_diverged_says_nothing() -> None:
    """If none trains without BatchNorm, at either batch size, it cannot be told where it helps more."""
    values = {name: of.tolist() for name, of in FOUR.items()} | dict.fromkeys(("none128", "none16"), [math.nan] * 6)
    finding = judge(claim(**MORE, difference_at_most=0), factorial(**values))
    assert (finding.verdict, finding.reasons[1].split("; ")[1]) == ("inconclusive", "no seed is on either side of it")


# ---------------------------------------------------------------- what a config may say

CLAIMED = """\
name: x
data: {name: mnist, validation: 0.2}
model: {name: mlp, hidden: [4]}
training: {epochs: 3, optimizer: {name: sgd, lr: 0.1}}
diagnostics: {norm_parameters: true}
compare: {model.norm: [none, batch], training.batch_size: [16, 128]}
claims:
- statement: s
"""
REGRESSION = CLAIMED.replace("name: mnist", "name: random_regression")
ONE = "variant: {label: batch batch_size=16}"
PAIR = f"{ONE} | versus: {{label: none batch_size=16}}"
BATCHES = f"{ONE} | versus: {{label: batch batch_size=128}}"
FIRST = (
    "variant: {model.norm: batch, training.batch_size: 128} | versus: {model.norm: none, training.batch_size: 128}"
)
TIME = "epochs to val/accuracy 0.95"
FORM = "must be epochs to METRIC VALUE, as epochs to val/accuracy 0.95; METRIC is one of train/loss, train/accuracy, "
FORM += "val/loss, val/accuracy, not '{}'"


@pytest.mark.parametrize(
    ("config", "fields", "key", "message"),
    [
        *(
            (CLAIMED, f"metric: {metric} | {ONE} | at_most: 5", "metric", FORM.format(metric))
            for metric in (
                "epochs to val/acc 0.9",
                "epochs to test/accuracy 0.9",
                "epochs to val/accuracy",
                "epochs to",
            )
        ),
        (
            *(CLAIMED, f"metric: area of lr | {ONE} | at_most: 5", "metric"),
            "must be area of METRIC, as area of val/accuracy; METRIC is one of train/loss, train/accuracy, val/loss, "
            "val/accuracy, not 'area of lr'",
        ),
        (
            *(CLAIMED, f"metric: epochs to val/accuracy 95 | {ONE} | at_most: 5", "metric"),
            "the accuracy to reach must be above 0 and at most 1, not 95",
        ),
        (
            *(CLAIMED, f"metric: epochs to val/loss 0 | {ONE} | at_most: 5", "metric"),
            "the loss to reach must be above 0, not 0",
        ),
        (
            *(REGRESSION, f"metric: {TIME} | {ONE} | at_most: 5", "metric"),
            "val/accuracy will not exist; valid: train/loss, val/loss",
        ),
        (
            CLAIMED,
            f"metric: {TIME} | at: last | {ONE} | at_most: 5",
            "at",
            f"{TIME} is said of a whole run: leave out at",
        ),
        (
            *(CLAIMED, f"metric: {TIME} | {ONE} | at_least: 0", "at_least"),
            "must be above 0, as every number of epochs is 0 or more, not 0",
        ),
        (
            *(CLAIMED, f"metric: spread of val/loss | {ONE} | at_most: 5", "metric"),
            "takes at least 4 evaluations of each run, not 3",
        ),
        (
            *(CLAIMED, f"metric: diagnostics/hidden.0/gamma mean | {BATCHES} | ratio_at_most: 2", "ratio_at_most"),
            "a ratio is of what is always above 0: diagnostics/hidden.0/gamma mean may be below",
        ),
        (
            CLAIMED,
            f"metric: val/loss | {PAIR} | ratio_at_most: -1",
            "ratio_at_most",
            "must be greater than 0, not -1",
        ),
        (
            *(CLAIMED, f"metric: val/loss | {PAIR} | ratio_at_most: 2 | ratio_at_least: 3", "ratio_at_most"),
            "2 contradicts ratio_at_least: 3",
        ),
        (
            *(CLAIMED, f"metric: val/loss | {ONE} | ratio_at_most: 2", ""),
            "ratio_… is about two variants: name the other one in versus",
        ),
        (
            *(CLAIMED, f"metric: val/loss | {PAIR} | ratio_at_most: 2 | difference_at_most: 0", ""),
            "bounds differences and ratios: make two claims of it",
        ),
        (
            *(CLAIMED, f"metric: val/loss | {ONE} | than: {{training.batch_size: 128}} | at_most: 2", ""),
            "than is about a second pair: name the variant of the first one in versus",
        ),
        (
            *(
                CLAIMED,
                f"metric: val/loss | {FIRST} | than: {{training.batch_size: 64}} | difference_at_most: 0",
                "than",
            ),
            "model.norm: batch, training.batch_size: 64 is none of the variants; they are: none batch_size=16, "
            "none batch_size=128, batch batch_size=16, batch batch_size=128",
        ),
        (
            *(
                CLAIMED,
                f"metric: val/loss | {FIRST} | than: {{training.batch_size: 128}} | difference_at_most: 0",
                "than",
            ),
            "model.norm: batch, training.batch_size: 128 is one of the first pair, batch batch_size=128",
        ),
        (
            CLAIMED,
            f"metric: val/accuracy | {FIRST} | than: {{training.batch_size: 16}} | difference_at_most: -2",
            "difference_at_most",
            "must be between -2 and 2, as every difference in accuracy is from -2 to 2, not -2",
        ),
        (
            *(CLAIMED, f"metric: val/loss | at: {{step: 0}} | {ONE} | at_most: 5", "at"),
            "step 0 is not evaluated: set training.evaluate_at_start",
        ),
    ],
)
def test_what_no_config_may_claim(config: str, fields: str, key: str, message: str, tmp_path: Path) -> None:
    """Each is refused with the line of its key, and what would be valid."""
    lines = config.splitlines() + ["  " + field for field in fields.split(" | ")]
    path = tmp_path / "x.yaml"
    path.write_text("\n".join(lines))
    number = next((i for i, line in enumerate(lines, 1) if key and line.startswith(f"  {key}: ")), 8)
    with pytest.raises(UserError) as refused:
        load_experiment(path)
    assert refused.value.problems[0] == f"{path}:{number}: claims[0]{'.' * bool(key)}{key}: {message}"


@pytest.mark.parametrize(
    ("overrides", "fields"),
    [
        ([], f"metric: {TIME} | {ONE} | at_most: 5"),
        ([], f"metric: area of train/loss | {PAIR} | ratio_at_most: 1.5"),
        (["training.evaluate_at_start=true"], f"metric: spread of val/loss | {ONE} | at_most: 5"),
        (["training.evaluate_at_start=true"], f"metric: val/loss | at: {{step: 0}} | {ONE} | at_most: 5"),
        (["training.evaluate_at_start=true"], f"metric: val/loss | at: {{epoch: 0}} | {ONE} | at_most: 5"),
        ([], f"metric: val/accuracy | {FIRST} | than: {{training.batch_size: 16}} | difference_at_least: 0.01"),
    ],
)
def test_what_a_config_may_claim(overrides: list[str], fields: str, tmp_path: Path) -> None:
    """It comes back from the config.yaml of a run."""
    path = tmp_path / "x.yaml"
    path.write_text(CLAIMED + "".join(f"  {field}\n" for field in fields.split(" | ")))
    experiment = load_experiment(path, overrides=overrides)
    (run, *_), again = experiment.runs, tmp_path / "again.yaml"
    assert (len(run.claims), experiment.warnings) == (1, [])
    again.write_text(run.to_yaml())
    assert load_experiment(again).runs[0].claims == run.claims
