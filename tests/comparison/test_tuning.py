"""What trials choose and fresh seeds judge: the choice, the evidence of verdicts, the tuning curve."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from kit import compare, loaded_run

from bncompare.comparison import evidence, judge, to_plain, verdict_lines
from bncompare.comparison.tuning import Tuning, TuningCurve, chosen_in
from bncompare.config import Claim, Metric
from bncompare.runs import LoadedRun, experiments, to_json

LR, NORM = "training.optimizer.lr", "model.norm"
INF = math.inf
Losses = Mapping[float, Sequence[float | str]]


def runs_of(of: Mapping[str, Losses], seeds: Sequence[int], tuning: Sequence[int] = (0, 1)) -> list[LoadedRun]:
    """Of each norm and rate the validation loss at the end with each of these seeds, or how the run ended."""
    found = []
    for norm, by_rate in of.items():
        for rate, values in by_rate.items():
            for seed, value in zip(seeds, values, strict=True):
                losses, status = ((9.0, math.nan), value) if isinstance(value, str) else ((9.0, value), "completed")
                settings = {NORM: norm, LR: rate}
                label = f"{norm} lr={rate}"
                run = loaded_run(label, seed, losses, status, settings=settings, tuning_seeds=list(tuning))
                found.append(run)
    return experiments(found)[0].runs if found else []


def both(trials: Mapping[str, Losses], judged: Mapping[str, Losses], fresh: Sequence[int]) -> list[LoadedRun]:
    return experiments([*runs_of(trials, (0, 1)), *runs_of(judged, fresh)])[0].runs


TRIALS: dict[str, Losses] = {
    "none": {0.1: [0.5, 0.6], 0.2: [0.3, 0.4], 0.3: ["diverged", 0.1]},
    "batch": {0.1: [0.2, 0.2], 0.2: [0.1, 0.4], 0.3: [0.4, 0.4]},
}
FRESH = (2, 3, 4, 5, 6, 7)
JUDGED: dict[str, Losses] = {
    "none": {0.2: [0.31, 0.30, 0.32, 0.31, 0.33, 0.30]},
    "batch": {0.1: [0.35, 0.36, 0.37, 0.35, 0.38, 0.36]},
}


def test_the_best_mean_is_chosen_and_a_diverged_run_is_worst() -> None:
    """In closed form: no norm .35 at .2, as .3 diverged once; BatchNorm .2 at .1."""
    assert chosen_in(runs_of(TRIALS, (0, 1))) == {"no norm, lr 0.2", "BatchNorm, lr 0.1"}


def test_verdicts_rest_on_fresh_seeds_alone() -> None:
    """On the trials BatchNorm is far ahead, on all other seeds behind: the second counts."""
    runs = both(TRIALS, JUDGED, FRESH)
    comparison = compare(runs, "val/loss")
    (measure,) = comparison.measures
    (pair,) = measure.pairs
    assert (pair.a, pair.b, pair.verdict, sorted(pair.differences)) == (
        "BatchNorm, lr 0.1", "no norm, lr 0.2", "worse", list(FRESH)
    )  # fmt: skip
    assert [sorted(result.values) for result in measure.variants] == [list(FRESH)] * 2
    assert not measure.chosen_on
    assert {run.seed for run in evidence(runs)} == set(FRESH)
    assert comparison.convergence is not None
    assert {seed for result in comparison.convergence.epochs.variants for seed in result.values} == set(FRESH)


def claim(**bound: float) -> Claim:
    text = {"statement": "BatchNorm is better", "metric": "val/loss"}
    return Claim.model_validate({**text, "variant": {NORM: "batch"}, "versus": {NORM: "none"}, **bound})


def test_claims_rest_on_fresh_seeds_of_the_chosen_alone() -> None:
    """A norm names its chosen setting; what the trials say does not count."""
    finding = judge(claim(difference_at_most=0.0), both(TRIALS, JUDGED, FRESH))
    assert finding.verdict == "not supported"
    assert finding.summary is not None
    assert finding.summary.n == len(FRESH)
    before = judge(claim(difference_at_most=0.0), runs_of(TRIALS, (0, 1)))
    assert (before.verdict, before.summary) == ("inconclusive", None)


def test_trials_alone_give_numbers_and_no_verdict() -> None:
    """As after an interruption; what was chosen is marked as chosen on."""
    comparison = compare(runs_of(TRIALS, (0, 1)), "val/loss")
    (measure,) = comparison.measures
    assert (measure.pairs, measure.chosen_on) == ([], True)
    assert verdict_lines(measure) == [("nothing is judged yet: no run has a seed that did not choose", "")]
    assert comparison.tuning is not None
    assert comparison.tuning.judge_seeds == []


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_norm_without_a_fresh_run_is_not_compared(norm: str) -> None:
    """As where a call was interrupted within the second part."""
    comparison = compare(both(TRIALS, {norm: JUDGED[norm]}, FRESH), "val/loss")
    (pair,) = comparison.measures[0].pairs
    assert (pair.n, pair.verdict) == (0, "not judged")


def test_seeds_that_chose_once_never_judge() -> None:
    """Of an experiment that was tuned with 2 seeds and again with 3, the third judged once and then chose."""
    runs = both(TRIALS, JUDGED, FRESH)
    third = {norm: {rate: [9.0] for rate in rates} for norm, rates in TRIALS.items()}
    third["none"].pop(0.2)
    third["batch"].pop(0.1)
    more = experiments([*runs, *runs_of(third, (2,), tuning=(0, 1, 2))])[0].runs
    assert {run.seed for run in evidence(more)} == set(FRESH) - {2}


# ---------------------------------------------------------------- the tuning curve


def draws(values: Sequence[float], k: int, worst: float) -> list[float]:
    """The best of every draw of k trials, one by one."""
    best = max if worst < 0 else min
    return [best(draw) for draw in itertools.combinations(values, k)]


@pytest.mark.parametrize(
    ("values", "worst"),
    [
        ([0.9, 0.8, 0.8, 0.5, 0.3, 0.1], -INF),
        ([0.9, 0.8, 0.4, 0.1, -INF, -INF], -INF),
        ([0.1, 0.2, 0.25, 0.7, 3.0, INF], INF),
        ([0.4], INF),
        ([-INF, -INF], -INF),
    ],
)
def test_expectation_and_band_are_those_of_all_draws(values: list[float], worst: float) -> None:
    """Against brute force, for a metric that is good high and one that is good low, with diverged trials."""
    curve = TuningCurve("x", values)
    for k in range(1, len(values) + 1):
        bests = sorted(draws(values, k, worst), reverse=worst < 0)
        assert curve.expected[k - 1] == pytest.approx(sum(bests) / len(bests))
        for share, end in zip((0.25, 0.75), curve.band[k - 1], strict=True):
            assert end == bests[math.ceil(share * len(bests) - 1e-9) - 1]


def tuning(metric: str = "val/accuracy", **values: Sequence[float]) -> Tuning:
    curves = [TuningCurve(norm, sorted(of, reverse=metric.endswith("accuracy"))) for norm, of in values.items()]
    return Tuning("validation accuracy", Metric(metric), [0, 1], [2, 3], curves)


ALWAYS = "validation accuracy: a at every number of trials"
LUCKY = {"a": [0.8] * 4, "b": [0.9, 0.1, 0.1, 0.1]}
LOST = {"a": [0.1, INF, INF], "b": [0.5, 0.5, INF]}


@pytest.mark.parametrize(
    ("metric", "values", "leaders", "words"),
    [
        ("val/accuracy", LUCKY, [(1, "a"), (4, "b")], "a below 4 trials, b from 4 trials on"),
        ("val/loss", {"a": [0.8] * 4, "b": [0.9] * 4}, [(1, "a")], ALWAYS),
        ("val/loss", LOST, [(2, "b"), (3, "a")], "b at 2 trials, a from 3 trials on"),
        ("val/loss", {"a": [INF, INF], "b": [INF, INF]}, [], "no norm is sure to have a value"),
    ],
)
def test_where_curves_cross(metric: str, values: dict[str, list[float]], leaders: list[Any], words: str) -> None:
    """By the expected best of so many trials, where it is finite."""
    found = tuning(metric, **values)
    assert found.leaders == leaders
    assert words in found.order


def test_the_budget_is_named() -> None:
    """The same for all norms, or that it is not."""
    assert tuning(a=[0.1, 0.2], b=[0.3, 0.4]).budget == (
        "tuning budget 2 trials × 2 seeds for each norm; verdicts rest on 2 fresh seeds alone"
    )
    assert "not the same: a 1 trials, b 2 trials" in tuning(a=[0.1], b=[0.3, 0.4]).budget


def test_a_curve_counts_a_lost_trial_as_worst() -> None:
    """And JSON has null for what is not finite, and the machine names of norms."""
    comparison = compare(both(TRIALS, JUDGED, FRESH))
    assert comparison.tuning is not None
    assert [curve.values for curve in comparison.tuning.curves] == [
        pytest.approx([0.35, 0.55, INF]), pytest.approx([0.2, 0.25, 0.4])
    ]  # fmt: skip
    plain = to_plain(comparison)["tuning"]
    assert [curve["norm"] for curve in plain["curves"]] == ["none", "batch"]
    assert '"band"' in to_json(plain)


# ---------------------------------------------------------------- what it is for


def false_verdicts(number: int, *, on_fresh_seeds: bool) -> float:
    """The share of experiments in which the noisier of two equal norms is better, after the best of 16 was chosen.

    Settings differ in nothing but luck: losses are normal, with sd 1 for one norm and 0.1 for the other.
    """
    random, wrong, seeds = np.random.default_rng(0), 0, range(6)
    for _ in range(number):
        trials: dict[str, dict[float, list[float]]] = {}
        fresh: dict[str, dict[float, list[float]]] = {}
        for norm, sd in {"none": 0.1, "batch": 1.0}.items():
            values = 5 + sd * random.standard_normal((16, len(seeds)))
            trials[norm] = {i + 1.0: list(of) for i, of in enumerate(values)}
            best = int(values.mean(axis=1).argmin())
            fresh[norm] = {best + 1.0: list(5 + sd * random.standard_normal(len(seeds)))}
        runs = runs_of(trials, seeds, seeds if on_fresh_seeds else ())
        runs += runs_of(fresh, range(6, 12), seeds) if on_fresh_seeds else []
        (pair,) = compare(runs, "val/loss").measures[0].pairs
        wrong += pair.verdict == "better"
    return wrong / number


def test_choosing_numbers_are_optimistic_and_fresh_seeds_are_not() -> None:
    """Of each side 2.5 % are due; on the numbers that chose it is 12 %."""
    assert false_verdicts(40, on_fresh_seeds=False) > 0.06
    assert false_verdicts(80, on_fresh_seeds=True) < 0.05
