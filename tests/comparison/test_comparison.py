"""The comparison: verdicts on experiments whose truth is known, and the rules for what has no value."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from kit import compare, loaded_run, looked_at, variants

from bncompare.comparison.claims import judge
from bncompare.comparison.deciding import decided, deciding_test
from bncompare.comparison.lines import verdict_lines
from bncompare.comparison.measures import metric_at
from bncompare.comparison.plain import to_plain
from bncompare.comparison.sequences import sign_sequence, t_sequence
from bncompare.comparison.statistics import seeds_needed
from bncompare.comparison.stopping import Undecided, undecided
from bncompare.comparison.verdicts import compare_by
from bncompare.config import rounded
from bncompare.config.claims import Claim
from bncompare.config.metrics import Metric
from bncompare.errors import UserError
from bncompare.report.chapter_tables import pairs_table
from bncompare.runs.documents import Result
from bncompare.runs.experiments import compared_keys, experiments
from bncompare.runs.read import LoadedRun

DIVERGED = Result.model_validate({"status": "diverged", "best": {}, "last": {}})
LR, NORM = "training.optimizer.lr", "model.norm"
NONE = [0.72, 0.70, 0.73, 0.71, 0.70, 0.72]
BATCH = [0.30, 0.31, 0.29, 0.30, 0.31, 0.30]


def pair_of(runs: list[LoadedRun], metric: str = "val/loss") -> Any:
    (measure,) = compare(runs, metric).measures
    (pair,) = measure.pairs
    return pair


def there(part: Any) -> Any:
    """What a comparison may lack, and this one has."""
    assert part is not None
    return part


def convergence_of(runs: list[LoadedRun], *metric: str, **options: Any) -> Any:
    return there(compare(runs, *metric, **options).convergence)


# ---------------------------------------------------------------- verdicts


def test_better_in_plain_words() -> None:
    """Difference, interval, n and the exact p are in the sentence; better is positive, for a loss as well."""
    pair = pair_of(variants(none=NONE, batch=BATCH))
    assert (pair.a, pair.b, pair.verdict) == ("BatchNorm", "no norm", "better")
    assert pair.sentence == (
        "BatchNorm is better than no norm by 0.412 (95 % CI 0.391 to 0.432; n = 6, sign-flip p = 0.031)"
    )
    assert pair.paired.difference.mean == pytest.approx(-0.4116667)
    assert pair.probability_better == 1.0
    assert (pair.p, pair.decided_by) == (pair.holm_p, "t-test")
    accuracy = pair_of(variants(none=NONE, batch=BATCH), "test/accuracy")
    assert accuracy.sentence == (
        "BatchNorm is better than no norm by 41.2 points (95 % CI 39.1 to 43.2; n = 6, sign-flip p = 0.031)"
    )
    assert accuracy.paired.difference.mean == pytest.approx(0.4116667)


def test_worse_names_the_winner_first() -> None:
    """A baseline that wins is the subject of the sentence; the pair stays variant − baseline."""
    pair = pair_of(variants(none=BATCH, batch=NONE))
    assert (pair.a, pair.b, pair.verdict, pair.probability_better) == ("BatchNorm", "no norm", "worse", 0.0)
    assert pair.statement == "no norm is better than BatchNorm by 0.412"


@pytest.mark.parametrize(
    ("none", "batch", "verdict", "sentence"),
    [
        (
            *([0.4, 0.45, 0.5, 0.25], [0.3, 0.5, 0.4, 0.2], "undecided"),
            "no clear difference between BatchNorm and no norm: BatchNorm − no norm is −0.05 (95 % CI −0.16 to 0.06; "
            "n = 4, sign-flip p = 0.38; about 18 seeds would be needed)",
        ),
        (  # preliminary, and the least p is said
            *(NONE[:3], BATCH[:3], "better"),
            "BatchNorm is ahead of no norm by 0.417 (preliminary: 3 seeds; 95 % CI 0.354 to 0.479; "
            "n = 3, sign-flip p = 0.25, the least that 3 seeds can give)",
        ),
        (NONE, NONE, "undecided", "BatchNorm and no norm are equal with all 6 seeds"),
        (  # the same difference with every seed, but for rounding, is no spread to judge by
            *(NONE, [x - 0.25 for x in NONE], "better"),
            "BatchNorm is better than no norm with 6 of 6 seeds "
            "(BatchNorm − no norm is −0.250 with each; n = 6, exact sign test p = 0.031)",
        ),
        (
            *([0.5] * 4, [0.25] * 4, "undecided"),
            "no clear difference between BatchNorm and no norm: 4 of 4 seeds to 0 (BatchNorm − no norm is −0.250 "
            "with each; n = 4, exact sign test p = 0.12; 6 seeds would be needed, if the share stays)",
        ),
        (
            *([0.7], [0.3], "not judged"),
            "BatchNorm and no norm share one seed: no CI, so no verdict (BatchNorm − no norm is −0.400 with it)",
        ),
        (  # good survivors do not win
            *(NONE, ["diverged", "diverged", "diverged", *BATCH[3:]], "undecided"),
            "no clear difference between BatchNorm and no norm: 3 of 6 seeds to 3 "
            "(BatchNorm diverged with 3; n = 6, exact sign test p = 1)",
        ),
        (  # 10 seeds to 2 is p = .039
            *(NONE, ["diverged", *BATCH[1:]], "undecided"),
            "no clear difference between BatchNorm and no norm: 5 of 6 seeds to 1 "
            "(BatchNorm diverged with 1; n = 6, exact sign test p = 0.22; 12 seeds would be needed, "
            "if the share stays)",
        ),
    ],
)
def test_a_verdict_in_plain_words(none: list[Any], batch: list[Any], verdict: str, sentence: str) -> None:
    """What is told, what cannot be, the numbers, and how many seeds would do."""
    pair = pair_of(variants(none=none, batch=batch))
    assert (pair.verdict, pair.sentence) == (verdict, sentence)


SEVEN = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]


@pytest.mark.parametrize(
    ("differences", "pairs", "verdict", "is_preliminary"),
    [
        ([0.5, 0.51, 0.52, 0.53, 0.54], 1, "better", True),
        ([0.5, 0.51, 0.52, 0.53, 0.54, 0.55], 1, "better", False),
        ([0.5, 0.51, 0.52, 0.53, 0.54, 0.55, 0.0], 1, "better", False),
        ([0.5, 0.51, 0.52, 0.53, 0.54, 0.0], 1, "better", True),  # five seeds with a difference
        ([1.0] * 6 + [-1.0], 1, "undecided", False),  # t-test p = .047, sign-flip p = .12
        ([1.0, 1.1, 1.2, 1.3, 1.4, -0.1], 1, "better", False),  # sign-flip p = .062
        (SEVEN, 3, "better", False),  # 3 · 2/128 = .047
        (SEVEN[:6], 3, "better", True),
        (SEVEN, 6, "better", True),
        ([*SEVEN, 0.08], 6, "better", False),  # 6 · 2/256 = .047
    ],
)
def test_the_sign_flip_test_confirms_or_contradicts(
    differences: list[float], pairs: int, verdict: str, is_preliminary: bool
) -> None:
    """One pair it must not contradict, from six seeds on; of several it must confirm one, or that is preliminary."""
    outcomes = {seed: (x, 0.0) for seed, x in enumerate(differences)}
    tests = [deciding_test(outcomes, higher_is_better=True) for _ in range(pairs)]
    for decision in decided(tests):
        assert (decision.is_made, decision.is_preliminary) == (verdict == "better", is_preliminary)
        assert decision.is_contradicted == (verdict == "undecided")


def test_a_contradicted_verdict_in_words() -> None:
    """It says so, and that the t-test alone would have decided."""
    pair = pair_of(variants(none=[5.0] * 7, batch=[4.0] * 6 + [6.0]))
    assert pair.verdict == "undecided"
    assert pair.evidence == (
        "95 % CI −1.41 to −0.02; n = 7, sign-flip p = 0.12 contradicts that of the t-test, 0.047; "
        "about 11 seeds would be needed"
    )


def test_several_pairs_may_be_preliminary_with_more_seeds() -> None:
    """The sentence says for how many pairs the seeds are too few."""
    runs = variants(none=NONE, batch=BATCH, layer=[x + 0.001 * i for i, x in enumerate(BATCH)])
    (measure,) = compare(runs, "val/loss").measures
    pair = measure.pairs[0]
    assert (pair.verdict, pair.is_preliminary) == ("better", True)
    assert pair.statement == "BatchNorm is ahead of no norm by 0.412 (preliminary: 6 seeds for 3 pairs)"
    assert pair.sentence.endswith("of 3 pairs)")


# ---------------------------------------------------------------- seeds until it is decided


@pytest.mark.parametrize(
    ("n", "verdict", "sentence"),
    [
        (
            6,
            "better",
            "BatchNorm is better than no norm by 0.412 "
            "(95 % CI, valid at every look: 0.374 to 0.449; n = 6, anytime-valid p = 0.00036)",
        ),
        (
            3,
            "undecided",
            "no clear difference between BatchNorm and no norm: BatchNorm − no norm is −0.417 "
            "(95 % CI, valid at every look: not yet; n = 3, anytime-valid p = 0.08; about 4 seeds would be needed)",
        ),
    ],
)
def test_seeds_until_decided(n: int, verdict: str, sentence: str) -> None:
    """The confidence sequence decides, its interval is the one shown, and never is its verdict preliminary."""
    pair = pair_of(looked_at(variants(none=NONE[:n], batch=BATCH[:n])))
    assert (pair.verdict, pair.is_preliminary, pair.decided_by) == (verdict, False, "t confidence sequence")
    assert pair.sentence == sentence
    looks = t_sequence(list(pair.differences.values()))
    difference = pair.paired.difference
    assert (difference.low, difference.high) == pytest.approx((looks.low, looks.high), nan_ok=True)


def test_what_holds_for_one_number_of_seeds_is_not_told_of_several_looks() -> None:
    """No p of a t-test or of a sign-flip test, in no form."""
    compared = compare(looked_at(variants(none=NONE, batch=BATCH)))
    (pair,) = compared.measures[0].pairs
    paired = to_plain(pair)["paired"]
    assert all(math.isnan(paired[name]) for name in ("t_test_p", "sign_flip_p", "smallest_p"))
    table = pairs_table("", compared.measures)
    assert "sign-flip p" not in table.columns
    assert not any("sign-flip" in note for note in table.notes)
    assert "sign-flip p" in pairs_table("", compare(variants(none=NONE, batch=BATCH)).measures).columns


def test_a_sequence_too_short_to_decide_is_not_corrected_for() -> None:
    """Three seeds cannot decide, so they cost the pair that has more of them nothing (Tarone); four can."""
    long = dict(enumerate(zip([1.0, 1.2, 0.8, 1.1, 0.9, 1.3, 0.7], [0.0] * 7, strict=True)))
    times = []
    for n in (3, 4):
        outcomes = long, dict(list(long.items())[:n])
        tests = [deciding_test(of, higher_is_better=True, is_sequential=True) for of in outcomes]
        times.append(round(decided(tests)[0].adjusted.p / tests[0].p, 6))
    assert times == [1, 2]


def test_seeds_until_decided_with_diverged_runs() -> None:
    """The sign e-process decides; seven seeds that agree are enough, six are not."""
    for n, verdict in ((6, "undecided"), (7, "better")):
        pair = pair_of(looked_at(variants(none=["diverged"] * n, batch=[*BATCH, 0.3][:n])))
        assert (pair.verdict, pair.decided_by) == (verdict, "sign e-process")
        p = sign_sequence([True] * n).p
        assert pair.p == pytest.approx(p)
        assert f"n = {n}, anytime-valid p of a sign e-process = {p:.2g}" in pair.evidence
        assert pair.seeds_needed == (7 if n == 6 else None)


def test_holm_on_anytime_valid_p() -> None:
    """Several pairs cost what they cost any p; a sequence that could give no small p yet costs the others nothing."""
    columns = {"none": NONE, "batch": BATCH, "layer": [x + 0.02 * i for i, x in enumerate(BATCH)]}
    (measure,) = compare(looked_at(variants(**columns)), "val/loss").measures
    p = sorted(pair.p for pair in measure.pairs if pair.p is not None)
    assert min(pair.holm_p for pair in measure.pairs if pair.holm_p is not None) == pytest.approx(3 * p[0])


def test_undecided() -> None:
    """The pairs of the first measure without a verdict, and the inconclusive claims, with the variants they need."""
    claims = [
        {"statement": "lower", "metric": "val/loss", "variant": {"model.norm": "batch"}, "at_most": 0.5},
        {"statement": "open", "metric": "val/loss", "variant": {"model.norm": "layer"}, "at_most": 0.3},
        {"statement": "of nobody", "metric": "val/loss", "variant": {"model.norm": "rms"}, "at_most": 0.3},
    ]
    columns = {"none": NONE, "batch": BATCH, "layer": [x + 0.002 * (-1) ** i for i, x in enumerate(BATCH)]}
    runs = looked_at(variants(**columns))
    (found,) = experiments([dataclasses.replace(run, config=run.config | {"claims": claims}) for run in runs])
    assert undecided(found) == [
        Undecided("LayerNorm against BatchNorm, test accuracy (best weights)", frozenset({"layer", "batch"})),
        Undecided("open", frozenset({"layer"})),
    ]


def test_seeds_needed_and_the_share_of_wins() -> None:
    """Beside the sentence they are numbers; where no number of seeds would do there is none."""
    open_ = pair_of(variants(none=[0.4, 0.45, 0.5, 0.25], batch=[0.3, 0.5, 0.4, 0.2]))
    assert (open_.seeds_needed, open_.probability_better) == (18, 0.75)
    even = pair_of(variants(none=NONE, batch=["diverged"] * 3 + BATCH[3:]))
    assert (even.seeds_needed, even.probability_better) == (None, 0.5)
    one = pair_of(variants(none=[0.7], batch=[0.3]))
    assert (one.p, one.n, one.probability_better) == (None, 1, 1.0)


def test_no_shared_seed() -> None:
    """Seeds of one variant alone are in its summary and in no pair."""
    runs = [*variants(none=NONE), *(loaded_run("batch", 10 + i, (9.0, value)) for i, value in enumerate(BATCH))]
    pair = pair_of(runs)
    assert (pair.verdict, pair.n, pair.paired) == ("not judged", 0, None)
    assert pair.sentence == "BatchNorm and no norm cannot be compared: no seed has a value for both"


def test_pairs_by_seed() -> None:
    """Only shared seeds count, each with its own partner, whatever the order of the runs."""
    runs = variants(none=[0.1 * seed for seed in range(8)])
    runs += [loaded_run("batch", seed, (9.0, 0.1 * seed - 0.01 - 0.001 * (seed % 2))) for seed in (7, 3, 5, 2)]
    pair = pair_of(runs[::-1])
    assert pair.verdict == "better"
    assert list(pair.differences) == [2, 3, 5, 7]
    assert pair.paired.difference.n == 4


# ---------------------------------------------------------------- diverged, unfinished, failed


def test_a_diverged_run_counts_as_worst() -> None:
    """With a diverged run there is no mean to compare: the sign test decides, over all seeds."""
    runs = variants(none=["diverged", *NONE[1:]], batch=BATCH)
    (measure,) = compare(runs, "val/loss").measures
    none = measure.variants[0]
    assert (none.num_runs, none.missing, none.summary and none.summary.n) == (6, {"diverged": 1}, 5)
    (pair,) = measure.pairs
    assert (pair.n, len(pair.differences), pair.decided_by, pair.verdict) == (6, 5, "sign test", "better")
    assert (pair.p, pair.probability_better) == (0.03125, 1.0)
    assert pair.sentence == (
        "BatchNorm is better than no norm with 6 of 6 seeds "
        "(no norm diverged with 1; n = 6, exact sign test p = 0.031)"
    )


def test_all_diverged() -> None:
    """Six seeds on which one variant always diverged decide; five are too few, whatever the verdict looks like."""
    assert pair_of(variants(none=["diverged"] * 6, batch=BATCH)).verdict == "better"
    assert pair_of(variants(none=BATCH, batch=["diverged"] * 6)).verdict == "worse"
    assert pair_of(variants(none=["diverged"] * 5, batch=BATCH[:5])).verdict == "undecided"
    both = pair_of(variants(none=["diverged"] * 6, batch=["diverged"] * 6))
    assert (both.verdict, both.probability_better) == ("undecided", 0.5)


@pytest.mark.parametrize("status", ["failed", "unfinished"])
def test_runs_that_say_nothing(status: str) -> None:
    """A failed or unfinished run is counted, and the other seeds decide."""
    runs = variants(none=[status, *NONE[1:]], batch=BATCH)
    (measure,) = compare(runs, "val/loss").measures
    assert measure.variants[0].missing == {status: 1}
    (pair,) = measure.pairs
    assert (pair.n, pair.verdict, pair.decided_by) == (5, "better", "t-test")


# ---------------------------------------------------------------- several variants


def test_all_pairs_of_a_few_variants() -> None:
    """Three variants make three pairs, the one without a norm as the baseline, corrected by Holm."""
    runs = variants(batch=BATCH, layer=[x + 0.001 * i for i, x in enumerate(BATCH)], none=NONE)
    (measure,) = compare(runs, "val/loss").measures
    assert [(pair.a, pair.b) for pair in measure.pairs] == [
        *(("BatchNorm", "no norm"), ("LayerNorm", "no norm"), ("LayerNorm", "BatchNorm"))
    ]
    smallest = min(pair.p for pair in measure.pairs if pair.p is not None)
    assert min(pair.holm_p for pair in measure.pairs if pair.holm_p is not None) == pytest.approx(3 * smallest)
    assert ", Holm p = " in measure.pairs[0].evidence
    assert " of 3 pairs" in measure.pairs[0].evidence


@pytest.mark.parametrize(("num_layers", "num_pairs"), [(2, 3), (3, 6), (5, 5)])
@pytest.mark.parametrize("dead", ["none", "layer0"])
def test_a_dead_variant_among_several(num_layers: int, num_pairs: int, dead: str) -> None:
    """Where six seeds are too few for a sign test among the pairs, it says how many, all diverged, decide."""
    called = "no norm" if dead == "none" else dead
    alive = [name for name in ("none", *(f"layer{i}" for i in range(num_layers))) if name != dead]

    def pair(n: int) -> Any:
        random = np.random.default_rng(1)
        columns: dict[str, Sequence[float | str]] = {
            name: (0.5 + random.normal(0, 0.1, n)).tolist() for name in alive
        }
        (measure,) = compare(variants(**columns, **{dead: ["diverged"] * n}), "val/loss").measures
        return next(pair for pair in measure.pairs if called in (pair.a, pair.b))

    six = pair(6)
    assert (six.verdict, six.p) == ("undecided", 0.03125)
    assert f"among {num_pairs} pairs: 6 of 6 seeds to 0" in six.statement
    assert six.evidence.endswith(f"; {six.seeds_needed} seeds would be needed, if the share stays")
    verdicts = [pair(n).verdict for n in range(6, 10)]
    assert verdicts == ["undecided" if n < six.seeds_needed else verdicts[-1] for n in range(6, 10)]
    assert verdicts[-1] in ("better", "worse")


def test_a_dead_variant_costs_the_others_nothing() -> None:
    """Two sign tests of five seeds, which never decide, cost the other pair nothing; of six they count as one."""
    batch, layer = [0.30, 0.31, 0.30, 0.33, 0.30, 0.32], [0.36, 0.36, 0.41, 0.36, 0.38, 0.37]
    for n, times in ((5, 1), (6, 2)):
        alone = pair_of(variants(batch=batch[:n], layer=layer[:n]))
        (measure,) = compare(variants(batch=batch[:n], layer=layer[:n], none=["diverged"] * n), "val/loss").measures
        (beside,) = [pair for pair in measure.pairs if "no norm" not in (pair.a, pair.b)]
        assert beside.holm_p == pytest.approx(times * alone.p)
        assert beside.verdict == ("worse" if beside.a == "LayerNorm" else "better")


def test_a_sign_test_of_too_few_seeds_among_many() -> None:
    """It shows no corrected p, which would be that of other pairs, but how many seeds would do."""
    random = np.random.default_rng(1)
    alive = {name: (0.5 + random.normal(0, 0.1, 6)).tolist() for name in ("none", "batch", "layer")}
    (measure,) = compare(variants(**alive, dead=["diverged"] * 6), "val/loss").measures
    for pair in measure.pairs:
        assert (pair.holm_p is None) == ("dead" in (pair.a, pair.b))
        assert (", Holm p = " in pair.evidence) == (pair.holm_p is not None)
    (sentence,) = {pair.evidence for pair in measure.pairs if pair.holm_p is None}
    assert sentence == (
        "dead diverged with 6; n = 6, exact sign test p = 0.031; 6 seeds are too few for 6 pairs; "
        "8 seeds would be needed, if the share stays"
    )


def test_holm_can_open_a_verdict() -> None:
    """An interval that leaves out 0 on its own may not among many pairs, and the sentence says among how many."""
    random = np.random.default_rng(3)
    none = random.normal(1, 0.1, 6)
    values = {"none": none, "a": none - 0.1 + np.array([0.06, -0.06, 0.12, -0.05, 0.02, 0.03])}
    values |= {name: none + random.normal(0, 0.1, 6) for name in "bc"}
    runs = variants(**{name: column.tolist() for name, column in values.items()})
    (measure,) = compare(runs, "val/loss").measures
    pair = measure.pairs[0]
    assert there(pair.paired).difference.high < 0
    assert there(pair.p) < 0.05 < there(pair.holm_p)
    difference = there(pair.paired).difference
    assert pair.seeds_needed == seeds_needed(difference.mean, difference.sd, alpha=0.05 / 6)
    assert pair.statement.startswith("no clear difference between a and no norm among 6 pairs: a − no norm is −0.080")


def test_many_variants_have_one_baseline() -> None:
    """Beyond four variants each is compared with the baseline alone, and the verdicts are told together."""
    worse = {f"worse{i}": [x + 0.1 * i + 0.01 * (j % 2) for j, x in enumerate(NONE)] for i in range(1, 4)}
    runs = variants(none=NONE, batch=BATCH, layer=BATCH[::-1], same=NONE, **worse, group=BATCH)
    (measure,) = compare(runs, "val/loss").measures
    assert [(pair.a, pair.b) for pair in measure.pairs] == [
        (name, "no norm") for name in ("BatchNorm", "LayerNorm", "same", "worse1", "worse2", "worse3", "GroupNorm(2)")
    ]
    assert verdict_lines(measure) == [  # of seven pairs six seeds are too few for the sign-flip test
        ("Ahead of no norm (preliminary: too few seeds for 7 pairs): BatchNorm, LayerNorm, GroupNorm(2)", ""),
        ("Behind no norm (preliminary: too few seeds for 7 pairs): worse1, worse2, worse3", ""),
        ("No clear difference from no norm: same", ""),
    ]
    (versus,) = compare(runs, "val/loss", versus="batch").measures
    assert {pair.b for pair in versus.pairs} == {"BatchNorm"}
    with pytest.raises(UserError, match=r"bach: no such variant; valid: no norm, BatchNorm, "):
        compare(runs, versus="bach")


def test_a_single_variant() -> None:
    """Nothing to compare with: a summary and no pair."""
    (measure,) = compare(variants(batch=BATCH), "val/loss").measures
    assert (measure.pairs, measure.variants[0].values) == ([], dict(enumerate(BATCH)))
    assert verdict_lines(measure) == [("there is a single variant, and nothing to compare it with", "")]


# ---------------------------------------------------------------- how often a verdict is false


@pytest.mark.parametrize("n", [3, 6])
def test_false_verdicts_are_rare(n: int) -> None:
    """Of experiments in which two variants are the same but for noise, at most 5 % call one better."""
    random = np.random.default_rng(n)
    measure = metric_at(Metric("val/loss"), "best")
    false = 0
    for _ in range(1000):
        shared = random.normal(1, 0.3, n)  # what the seed does to both
        a, b = shared + random.normal(0, 0.1, (2, n))
        comparison = compare_by(measure, variants(none=a.tolist(), batch=b.tolist()), [("batch", "none")])
        false += comparison.pairs[0].verdict != "undecided"
    assert 0.03 < false / 1000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


def test_false_verdicts_among_six_pairs_are_rare() -> None:
    """Of experiments with four variants that are the same, at most 5 % call any of the six pairs different."""
    random = np.random.default_rng(4)
    measure = metric_at(Metric("val/loss"), "best")
    pairs = [(a, b) for i, a in enumerate("abcd") for b in "abcd"[:i]]
    false = 0
    for _ in range(500):
        columns = random.normal(1, 0.1, (4, 6)) + random.normal(0, 0.3, 6)
        runs = variants(**{name: column.tolist() for name, column in zip("abcd", columns, strict=True)})
        false += any(pair.verdict != "undecided" for pair in compare_by(measure, runs, pairs).pairs)
    assert false / 500 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 500)


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_false_verdicts_with_diverged_runs_are_rare(rate: float) -> None:
    """Of experiments with three variants that are the same, and diverge as often, at most 5 % tell any pair."""
    random = np.random.default_rng(6)
    measure = metric_at(Metric("val/loss"), "best")
    false = 0
    for _ in range(400):
        values = np.where(random.uniform(size=(3, 8)) < rate, math.nan, random.normal(1, 0.1, (3, 8)))
        columns = [["diverged" if math.isnan(x) else x for x in row] for row in values.tolist()]
        runs = variants(**dict(zip("abc", columns, strict=True)))
        pairs = compare_by(measure, runs, [("a", "b"), ("a", "c"), ("b", "c")]).pairs
        false += any(pair.verdict != "undecided" for pair in pairs)
    assert false / 400 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_real_differences_are_found() -> None:
    """A difference of 1.5 standard deviations is found with 6 seeds in about 80 %, the power it was computed for."""
    random = np.random.default_rng(5)
    measure = metric_at(Metric("val/loss"), "best")
    found = 0
    for _ in range(500):
        none = random.normal(1, 0.3, 6)
        batch = none - 0.15 + random.normal(0, 0.1, 6)
        runs = variants(none=none.tolist(), batch=batch.tolist())
        found += compare_by(measure, runs, [("batch", "none")]).pairs[0].verdict == "better"
    assert found / 500 == pytest.approx(0.82, abs=0.06)


# ---------------------------------------------------------------- what is compared


def names(runs: list[LoadedRun], **options: Any) -> list[str]:
    return [measure.title for measure in compare(runs, **options).measures]


def test_default_metrics() -> None:
    """Without claims the losses of the best epoch and the test of its weights; what is not there is left out."""
    runs = variants(none=NONE, batch=BATCH)
    assert names(runs) == ["validation loss at the best epoch", "test accuracy (best weights)"]
    assert names(runs, at="last") == ["validation loss at the last epoch", "test accuracy (last weights)"]
    assert names(runs, metric=["val/loss", "val/loss"]) == ["validation loss at the best epoch"]
    without = [loaded_run(name, 0, validation=0) for name in ("none", "batch")]
    assert names(without)[0] == "training loss at the best epoch"
    on_test = [loaded_run(name, 0, validation="test") for name in ("none", "batch")]
    assert names(on_test)[1] == "test accuracy (last weights)"  # the best was chosen on it
    unfinished = variants(none=["unfinished"], batch=["unfinished"])
    assert names(unfinished) == ["validation loss at the best epoch"]


@pytest.mark.parametrize(
    ("metric", "compared"),
    [
        ("train/loss", ["training loss at the best epoch", "test accuracy (best weights)"]),
        ("test/loss", ["test loss (best weights)"]),
        ("diagnostics/0/variance", ["validation loss at the best epoch", "test accuracy (best weights)"]),
    ],
)
def test_the_test_metric_is_always_compared(metric: str, compared: list[str]) -> None:
    """Claims that are about others come in addition."""
    claim = {"statement": "s", "variant": {"model.norm": "batch"}, "at_most": 0.5, "metric": metric}
    assert names([loaded_run(name, 0, claims=[claim]) for name in ("none", "batch")]) == compared


def test_final_metrics() -> None:
    """Those of the test and of training, at the best evaluation and the last, of the variants compared."""
    finals = compare(curves(none=[[0.5, 0.4, 0.6]], batch=[[0.5, 0.3, 0.2]]), "val/loss").finals
    assert [measure.name for measure in finals] == [
        f"{name} at {end}" for name in ("test/accuracy", "test/loss", "train/loss") for end in ("best", "last")
    ]
    values = {measure.name: [of.values[0] for of in measure.variants] for measure in finals}
    assert values["train/loss at best"] == [0.4, 0.2]
    assert values["train/loss at last"] == [0.6, 0.2]
    assert all(measure.pairs == [] for measure in finals)
    assert {of.variant for of in compare(grid(GRID)).finals[0].variants} == {"no norm, lr 0.1", "BatchNorm, lr 1"}


def test_claims_say_what_it_is_about() -> None:
    """The metrics of the claims are those compared, each once, where the claims look."""
    about = {"statement": "s", "variant": {"model.norm": "batch"}, "at_most": 0.5}
    claims = [
        about | {"metric": "train/loss", "at": {"epoch": 1}},
        about | {"metric": "test/accuracy"},
        about | {"metric": "test/accuracy", "at_most": 0.7},
        about | {"metric": "nonsense"},
    ]
    runs = [loaded_run(name, seed, (9.0, 0.5), claims=claims) for name in ("none", "batch") for seed in range(2)]
    assert names(runs) == ["training loss at epoch 1", "test accuracy (best weights)"]
    assert names(runs, at="last") == ["training loss at the last epoch", "test accuracy (last weights)"]
    assert names(runs, metric="val/loss") == ["validation loss at the best epoch"]


def test_unknown_metric() -> None:
    """A metric that no run has is an error that names those there are."""
    with pytest.raises(
        UserError, match=r"^val/los: no run has this metric; valid: train/loss, val/loss, .*test/loss$"
    ):
        compare(variants(none=NONE), "val/los")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at": "final"}, "at='final': no such evaluation; valid: best, last"),
        ({"at": ["best"]}, "at=['best']: no such evaluation; valid: best, last"),
        ({"threshold": math.nan}, "threshold=nan: must be a finite number"),
        ({"threshold": "0.5"}, "threshold='0.5': must be a finite number"),
        ({"threshold": True}, "threshold=True: must be a finite number"),
        ({"threshold": 10**400}, "threshold: must be a finite number, at most 1.8e+308 in size"),
        ({"threshold": -(10**5000)}, "threshold: must be a finite number, at most 1.8e+308 in size"),
        ({"versus": ""}, "'': no such variant; valid: no norm, BatchNorm"),
        ({"metric": ""}, "'': no run has this metric; valid: train/loss, "),
        ({"metric": b"val/loss"}, "metric=b'val/loss': must be a metric or several; valid: train/loss, "),
        ({"runs": loaded_run()}, "runs/x/none-0: is a single run; compare takes several, as load_runs gives"),
        ({"window": 0}, "window=0: must be a whole number of evaluations, at least 2"),
        ({"window": 2.5}, "window=2.5: must be a whole number of evaluations, at least 2"),
        ({"versus": 3}, "3: no such variant; valid: no norm, BatchNorm"),
        ({"metric": 3}, "metric=3: must be a metric or several; valid: train/loss, "),
        ({"metric": []}, "metric=[]: must be a metric or several; valid: train/loss, "),
        ({"metric": ["val/loss", None]}, "None: no run has this metric; valid: train/loss, "),
        ({"runs": "runs/x"}, "'runs/x': is no run; compare takes what load_runs gives"),
        ({"runs": None}, "None: is no run; compare takes what load_runs gives"),
        ({"runs": [3]}, "3: is no run; compare takes what load_runs gives"),
        ({"runs": []}, "there are no runs to compare"),
        ({"at": "final", "window": 1}, "at='final': no such evaluation; valid: best, last\nwindow=1: must be "),
    ],
)
def test_wrong_arguments(options: dict[str, Any], words: str) -> None:
    """From Python a wrong argument is an error that says what is valid, as on the command line."""
    with pytest.raises(UserError) as raised:
        compare(**({"runs": variants(none=NONE, batch=BATCH)} | options))
    assert str(raised.value).startswith(words)


def test_numbers_of_numpy_are_numbers() -> None:
    """Threshold and window may be NumPy's."""
    assert convergence_of(variants(none=NONE), threshold=np.float32(0.5), window=np.int64(2)).threshold == 0.5


# ---------------------------------------------------------------- experiments


def test_experiments_are_told_apart() -> None:
    """Runs of other settings than those compared are another experiment, named by what differs."""
    runs = [loaded_run("none", 0), loaded_run("batch", 0, (9.0, 0.4))]
    again = [loaded_run(name, 0, (9.0, 0.3), extra={"epochs": 9, "same": 1}) for name in ("none", "batch")]
    first = [dataclasses.replace(r, config=r.config | {"extra": {"epochs": 5, "same": 1}}) for r in runs]
    found = experiments([*first, *again])
    assert [(e.title, e.place, len(e.runs)) for e in found] == [
        ("x (extra.epochs=5)", "runs/x (extra.epochs=5)", 2),
        ("x (extra.epochs=9)", "runs/x (extra.epochs=9)", 2),
    ]
    assert [e.title for e in experiments(runs)] == ["x"]
    with pytest.raises(UserError, match=r"of 2 experiments, not one: x \(extra.epochs=5\), x \(extra.epochs=9\)"):
        compare([*first, *again])


def test_what_does_not_set_experiments_apart() -> None:
    """Seed, claims, device, the folder of the data and what the variants set are no reason."""
    runs = [
        loaded_run("none", 0),
        loaded_run("batch", 1, (9.0, 0.4), settings={"model.norm": "batch", "training.optimizer.lr": 1}),
    ]
    other = loaded_run("batch", 2, (9.0, 0.4))
    other.config["claims"] = [1]
    other.config["data"] = {**other.config["data"], "dir": "/elsewhere"}
    other.config["training"] = {**other.config["training"], "device": "cuda"}
    (found,) = experiments([*runs, other])
    assert found.title == "x"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ([{LR: 0.1}, {LR: 0.0001}], ["x (lr 0.1)", "x (lr 0.0001)"]),
        ([{LR: 0.1}, {LR: 0.1}], ["x", "x"]),  # copies
        ([{LR: 0.1}, {}], ["x", "x"]),  # which is the same, as resolved
        ([{LR: 0.1, NORM: "batch"}, {LR: 0.2, NORM: "none"}], ["x (batch, lr 0.1)", "x (none, lr 0.2)"]),
        ([{"model.unknown": 1}, {"model.unknown": 2}], ["x (unknown 1)", "x (unknown 2)"]),  # by no key of the config
        ([{"model.unknown": 1}, {}], ["x (unknown 1)", "x"]),
    ],
)
def test_a_variant_is_a_label_with_its_settings(settings: list[dict[str, Any]], found: list[str]) -> None:
    """One label with several settings is told apart by the keys that differ; one with the same is a copy."""
    runs = [loaded_run("x", 0, settings=of) for of in settings]
    (experiment,) = experiments([*runs, loaded_run("other", 0)])
    assert [r.variant for r in experiment.runs] == [*found, "other"]
    (again,) = experiments(experiment.runs)
    assert again.runs == experiment.runs


def test_one_label_is_told_apart_by_its_options() -> None:
    """By the kind of norm where that does, else by every option that one of them has."""

    def names_of(*norms: dict[str, Any]) -> list[str]:
        runs = [loaded_run("x", 0, settings={NORM: norm}, model={"norm": norm}) for norm in norms]
        (experiment,) = experiments(runs)
        return [r.variant for r in experiment.runs]

    none, layer = {"kind": "none"}, {"kind": "layer", "eps": 0.1}
    assert names_of(none, layer) == ["x (none)", "x (layer)"]
    assert names_of(layer, layer | {"eps": 0.2}) == ["x (eps 0.1)", "x (eps 0.2)"]
    assert names_of(none, layer, layer | {"eps": 0.2}) == ["x (none)", "x (layer, eps 0.1)", "x (layer, eps 0.2)"]


@pytest.mark.parametrize("order", [1, -1])
def test_an_edited_variant_has_one_answer(order: int) -> None:
    """Claims and verdicts are about the same runs, whatever their order."""
    losses = {0.1: NONE, 0.2: BATCH}
    plain = [
        loaded_run("plain", i, (9.0, x), settings={LR: lr}) for lr, of in losses.items() for i, x in enumerate(of)
    ]
    batch = [loaded_run("bn", i, (9.0, 0.5 + 0.001 * i), settings={NORM: "batch"}) for i in range(6)]
    (experiment,) = experiments([*plain, *batch][::order])
    (measure,) = compare(experiment.runs, "val/loss", versus="bn").measures
    assert {(pair.a, pair.verdict) for pair in measure.pairs} == {
        ("plain (lr 0.1)", "worse"),
        ("plain (lr 0.2)", "better"),
    }
    claimed = {"statement": "s", "metric": "val/loss", "versus": {"label": "bn"}, "difference_at_most": 0}
    by_label, *by_settings = [
        judge(Claim.model_validate(claimed | {"variant": variant}), experiment.runs)
        for variant in ({"label": "plain"}, {LR: 0.1, NORM: "none"}, {LR: 0.2, NORM: "none"})
    ]
    assert by_label.reasons[0].startswith("label: plain selects 2 variants: plain (lr 0.")
    assert [finding.verdict for finding in by_settings] == ["not supported", "supported"]


def test_a_section_whose_kind_is_compared_is_compared_whole() -> None:
    """Two optimizers with keys of their own, and a norm by its kind, are one experiment."""
    sections = {"sgd": {"name": "sgd", "momentum": 0.9}, "adam": {"name": "adam", "betas": [0.9, 0.99]}}
    runs = [
        loaded_run(name, 0, settings={"training.optimizer.name": name}, training={"optimizer": section})
        for name, section in sections.items()
    ]
    (found,) = experiments(runs)
    assert [r.variant for r in found.runs] == ["sgd", "adam"]
    assert compared_keys(runs) == ["training.optimizer"]
    both = loaded_run("x", 0, settings={"model.norm.eps": 1, "model.norm.kind": "batch", LR: 1, "name": "y"})
    assert compared_keys([both]) == ["model.norm", LR, "name"]


# ---------------------------------------------------------------- hyperparameters


def grid(values: dict[str, dict[float, Sequence[float | str]]], **options: Any) -> list[LoadedRun]:
    """Runs of a grid norm × learning rate."""
    return [
        loaded_run(
            f"{norm} lr={lr}", x.seed, x.metrics["train/loss"], x.status, settings={NORM: norm, LR: lr}, **options
        )
        for norm, by_lr in values.items()
        for lr, ends in by_lr.items()
        for of in ({NORM: norm, LR: lr},)
        for x in variants(x=ends)
    ]


GRID: dict[str, dict[float, Sequence[float | str]]] = {
    "none": {0.01: [0.9, 0.8], 0.1: [0.5, 0.52], 1.0: ["diverged", 0.1]},
    "batch": {0.01: [0.7, 0.6], 0.1: [0.4, 0.41], 1.0: [0.3, 0.32]},
}


def test_chosen_on_validation() -> None:
    """Each norm stands with its best learning rate by validation; a diverged run makes its own the worst."""
    comparison = compare(grid(GRID), "test/accuracy")
    assert comparison.variants == ["no norm, lr 0.1", "BatchNorm, lr 1"]
    chosen = there(comparison.sensitivity)
    assert chosen.is_fair
    assert chosen.keys == ["training.optimizer.lr"]
    assert chosen.notes == [
        "no norm: lr 0.1 chosen of 3 by validation loss at the best epoch",
        "BatchNorm: lr 1 chosen of 3 by validation loss at the best epoch",
    ]
    assert (chosen.warnings, chosen.conditions) == ([], {})
    assert {c.variant: c.edges for c in chosen.candidates if c.edges} == {"BatchNorm, lr 1": {LR: "highest"}}
    table = [(c.norm, c.setting["training.optimizer.lr"], c.is_chosen) for c in chosen.candidates]
    assert table == [
        *[("no norm", 0.01, False), ("no norm", 0.1, True), ("no norm", 1.0, False)],
        *[("BatchNorm", 0.01, False), ("BatchNorm", 0.1, False), ("BatchNorm", 1.0, True)],
    ]
    assert chosen.candidates[2].result.missing == {"diverged": 1}
    (pair,) = comparison.measures[0].pairs
    assert (pair.a, pair.b) == ("BatchNorm, lr 1", "no norm, lr 0.1")
    assert {v.variant for v in comparison.measures[0].variants} == {"no norm, lr 0.1", "BatchNorm, lr 1"}


SIZE = "training.batch_size"


def by_size(**options: Any) -> list[LoadedRun]:
    """A grid norm × learning rate × batch size, where the best rate is another for each batch size."""
    ends: dict[tuple[str, int], list[float]] = {
        ("none", 4): [0.5, 0.7, 0.9], ("none", 64): [0.9, 0.6, 0.8], ("batch", 4): [0.8, 0.6, 0.7],
        ("batch", 64): [0.9, 0.5, 0.3],
    }  # fmt: skip
    return [
        loaded_run(
            f"{norm} lr={lr} batch_size={size}", seed, (9.0, loss + 0.01 * seed * (1 + (norm == "batch"))),
            settings={NORM: norm, LR: lr, SIZE: size}, **options,
        )
        for (norm, size), losses in ends.items()
        for lr, loss in zip((0.01, 0.1, 1.0), losses, strict=True)
        for seed in range(3)
    ]  # fmt: skip


def test_chosen_within_a_condition() -> None:
    """The rate is chosen for each norm and batch size, and norms are compared at equal batch sizes."""
    comparison = compare(by_size(), within=SIZE)
    chosen = there(comparison.sensitivity)
    names = {label: [(c.norm, c.setting[LR], c.edges) for c in of] for label, of in chosen.conditions.items()}
    assert names == {
        "batch size 4": [("no norm", 0.01, {LR: "lowest"}), ("BatchNorm", 0.1, {})],
        "batch size 64": [("no norm", 0.1, {}), ("BatchNorm", 1.0, {LR: "highest"})],
    }
    assert chosen.notes[0] == "no norm at batch size 4: lr 0.01 chosen of 3 by validation loss at the best epoch"
    pairs = comparison.measures[0].pairs
    assert [(pair.a, pair.b, pair.verdict) for pair in pairs] == [
        ("BatchNorm, lr 0.1, batch size 4", "no norm, lr 0.01, batch size 4", "worse"),
        ("BatchNorm, lr 1, batch size 64", "no norm, lr 0.1, batch size 64", "better"),
    ]
    assert {len(pair.among) for pair in pairs} == {2}  # each is corrected for the pairs of all conditions
    assert compare(by_size()).variants == ["no norm, lr 0.01, batch size 4", "BatchNorm, lr 1, batch size 64"]
    document = json.loads(json.dumps(to_plain(comparison)))["sensitivity"]
    assert (document["within"], document["candidates"][0]["edges"]) == (SIZE, {LR: "lowest"})


def test_a_condition_alone() -> None:
    """A grid of norms and one condition has nothing to choose, and a verdict for each value."""
    runs = [r for r in by_size() if "lr=0.1" in r.variant]
    runs = [
        loaded_run(r.variant, r.seed, r.metrics["val/loss"], settings={NORM: of[NORM], SIZE: of[SIZE]})
        for r in runs
        for of in (r.config["variant"]["settings"],)
    ]
    comparison = compare(runs, within=SIZE)
    assert there(comparison.sensitivity).notes == []
    assert [len(of) for of in there(comparison.sensitivity).conditions.values()] == [2, 2]
    assert len(comparison.measures[0].pairs) == 2


@pytest.mark.parametrize(
    ("runs", "within", "valid"),
    [
        (by_size(), "batch_size", f"batch_size: no hyperparameter of a grid of norms; valid: {LR}, {SIZE}"),
        (by_size(), "", f"'': no hyperparameter of a grid of norms; valid: {LR}, {SIZE}"),
        (
            variants(none=NONE, batch=BATCH),
            SIZE,
            f"{SIZE}: no hyperparameter of a grid of norms; the variants are no such grid",
        ),
        ([r for r in by_size() if "none" in r.variant], SIZE, f"{SIZE}: no hyperparameter of a grid of norms; the "),
    ],
)
def test_no_such_condition(runs: list[LoadedRun], within: str, valid: str) -> None:
    """What no grid of norms varies is an error that names what it does."""
    with pytest.raises(UserError) as raised:
        compare(runs, within=within)
    assert str(raised.value).startswith(valid)


@pytest.mark.parametrize(("values", "edge"), [([0.1, 0.2, 0.3], "lowest"), ([0.1], None), ([True, False], None)])
def test_what_is_an_edge(values: list[Any], edge: str | None) -> None:
    """An end of several numbers; of one value, or of names and switches, there is none."""
    runs = [
        loaded_run(
            f"{norm} {value} {size}", seed, (9.0, 0.1 + i), settings={NORM: norm, "model.bias": value, LR: size}
        )
        for norm in ("none", "batch")
        for i, value in enumerate(values)
        for size in (1, 2)
        for seed in range(2)
    ]
    chosen = [c for c in there(compare(runs).sensitivity).candidates if c.is_chosen]
    assert [c.edges.get("model.bias") for c in chosen] == [edge, edge]


def test_chosen_by_the_metric_that_training_monitors() -> None:
    """Where training monitors the validation accuracy, the highest is chosen."""
    runs = [dataclasses.replace(r, config=r.config | {"training": {"monitor": "val/accuracy"}}) for r in grid(GRID)]
    comparison = compare(runs)
    assert comparison.variants == ["no norm, lr 0.1", "BatchNorm, lr 1"]
    chosen = there(comparison.sensitivity)
    assert chosen.measure == "validation accuracy at the best epoch"


def test_the_test_set_never_chooses() -> None:
    """The choice is by validation, also where the test set would choose another, and whatever is asked for."""
    runs = grid(GRID)
    for r in runs:
        if r.variant in ("none lr=0.01", "batch lr=0.01") and r.result:
            assert r.result.best is not None
            r.result.best.update({"test/accuracy": 1.0, "test/loss": 0.0})
    for metric in ("test/accuracy", "test/loss"):
        assert compare(runs, metric).variants == ["no norm, lr 0.1", "BatchNorm, lr 1"]


def test_what_chose_does_not_judge_first() -> None:
    """After a choice on validation the test set leads, also where claims are on validation alone; that is marked."""

    def titles(runs: list[LoadedRun], metrics: list[str] | None = None) -> list[str]:
        return [measure.title for measure in compare(runs, metrics).measures]

    runs = grid(GRID)
    test, chose = "test accuracy (best weights)", "validation loss at the best epoch"
    mark = " (the hyperparameters were chosen on it)"
    assert titles(runs) == [test, chose + mark]
    assert titles(runs, ["val/loss", "train/loss", "test/accuracy"]) == [
        *(test, chose + mark, "training loss at the best epoch")
    ]
    assert titles(runs, ["val/loss"]) == [chose + mark]
    claim = {"statement": "s", "metric": "val/loss", "at": "last", "variant": {"label": "none lr=0.1"}, "at_most": 1}
    claimed = [dataclasses.replace(run, config=run.config | {"claims": [claim]}) for run in runs]
    assert titles(claimed) == [test, "validation loss at the last epoch" + mark]
    last = ["validation loss at the last epoch", "test accuracy (last weights)"]
    assert titles(grid(GRID, validation="test")) == last  # nothing was chosen
    long = {"epoch": [1.0, 2.0, 3.0, 4.0], "step": [1.0, 2.0, 3.0, 4.0]}
    long |= {f"val/{name}": [0.9, 0.5, 0.5, 0.4] for name in ("loss", "accuracy")}
    comparison = compare([dataclasses.replace(run, metrics=long) for run in runs])
    speed = there(comparison.convergence)
    others = [speed.epochs, speed.steps, speed.seconds, speed.area, comparison.stability]
    assert [measure is not None and measure.chosen_on for measure in others] == [True] * 5


@pytest.mark.parametrize(
    ("validation", "why"),
    [
        (0, "there is no validation set to choose on"),
        ("test", "the validation set is the test set, on which nothing may"),
    ],
)
def test_no_fair_choice(validation: Any, why: str) -> None:
    """Without a validation set of its own nothing is chosen: norms are compared at equal learning rates."""
    comparison = compare(grid(GRID, validation=validation), "train/loss")
    chosen = there(comparison.sensitivity)
    assert not chosen.is_fair
    assert not any(candidate.is_chosen for candidate in chosen.candidates)
    (warning,) = chosen.warnings
    assert chosen.notes == []
    assert warning.startswith(f"no fair choice is possible: {why}")
    assert [(pair.a, pair.b) for pair in comparison.measures[0].pairs] == [
        (f"BatchNorm, lr {lr}", f"no norm, lr {lr}") for lr in (0.01, 0.1, 1)
    ]


def test_named_variants_are_no_grid() -> None:
    """Variants that set different keys, or one of each norm, are compared as they stand."""
    named = {"plain": {NORM: "none", LR: 0.9}, "with BN": {NORM: "batch", LR: 1.0}}
    runs = [loaded_run(name, seed, settings=of) for name, of in named.items() for seed in range(2)]
    assert compare(runs).sensitivity is None
    padded = [loaded_run("padded", seed, settings={NORM: "none", "model.padding": 2}) for seed in range(2)]
    assert compare([*runs, *padded]).sensitivity is None


def test_a_sweep_without_norms() -> None:
    """A hyperparameter swept alone is what is compared: every value, and the table of sensitivity."""
    runs = [loaded_run(f"lr={lr}", seed, (9.0, lr), settings={LR: lr}) for lr in (0.1, 0.2) for seed in range(3)]
    comparison = compare(runs)
    assert comparison.variants == ["lr 0.1", "lr 0.2"]
    chosen = there(comparison.sensitivity)
    assert (chosen.is_fair, chosen.notes) == (False, [])
    assert chosen.candidates[0].norm == ""


# ---------------------------------------------------------------- convergence and stability


def curves(**of: Sequence[Sequence[float]]) -> list[LoadedRun]:
    return [loaded_run(name, seed, curve) for name, many in of.items() for seed, curve in enumerate(many)]


def test_convergence() -> None:
    """The threshold is half-way to the best variant's best; epochs, steps, seconds and area are measures."""
    slow = [[8.0, 6.0, 4.0, 2.0], [8.0, 6.0, 4.0, 2.5]]
    fast = [[4.0, 2.0, 1.0, 1.0], [4.0, 2.6, 2.4, 1.0]]
    comparison = compare(curves(none=slow, batch=fast), "val/loss")
    speed = there(comparison.convergence)
    assert (speed.metric.name, speed.threshold, speed.leader) == ("val/loss", 2.5, "BatchNorm")  # from 4 to 1
    assert [v.values for v in speed.epochs.variants] == [{0: 4.0, 1: 4.0}, {0: 2.0, 1: 3.0}]
    assert [v.values for v in speed.steps.variants] == [{0: 40.0, 1: 40.0}, {0: 20.0, 1: 30.0}]
    assert [v.values for v in speed.seconds.variants] == [{0: 2.0, 1: 2.0}, {0: 1.0, 1: 1.5}]
    assert there(speed.area).variants[0].values[0] == pytest.approx((7 + 5 + 3) / 3)
    assert speed.epochs.pairs[0].differences == {0: -2.0, 1: -1.0}
    assert there(comparison.stability).name == "sd of val/accuracy over the last 2 evaluations"


def test_never_reached() -> None:
    """A run that never gets there is counted as such, is in no mean, and is slower than any other."""
    curve = [4.0, 2.0, 1.0, 1.0]
    comparison = compare(curves(none=[[8.0, 6.0, 4.0, 3.0]] * 6, batch=[curve] * 6), "val/loss", threshold=2.0)
    speed = there(comparison.convergence)
    assert speed.leader is None
    none, batch = speed.epochs.variants
    assert (none.missing, none.summary, batch.missing) == ({"never reached": 6}, None, {})
    assert speed.epochs.pairs[0].sentence == (
        "BatchNorm is faster than no norm with 6 of 6 seeds "
        "(no norm never got there with 6; n = 6, exact sign test p = 0.031)"
    )


def test_a_variant_that_learns_nothing_does_not_set_the_threshold() -> None:
    """That it never got there is what is said; a seed of the best variant that learned nothing changes little."""
    chance, good = [2.3, 2.3, 2.3], [1.5, 0.4, 0.3]
    speed = convergence_of(curves(none=[chance] * 3, batch=[good] * 3), "val/loss")
    assert (speed.leader, speed.threshold) == ("BatchNorm", 0.9)
    assert [v.missing for v in speed.epochs.variants] == [{"never reached": 3}, {}]
    speed = convergence_of(curves(none=[chance] * 6, batch=[[1.5, 0.4, 0.2]] * 5 + [chance]), "val/loss")
    assert 0.9 < speed.threshold < 1.5
    assert [v.missing for v in speed.epochs.variants] == [{"never reached": 6}, {"never reached": 1}]
    accuracy = convergence_of(curves(none=[[0.9, 0.9]], batch=[[0.5, 0.1]]), "val/accuracy")
    assert (accuracy.leader, accuracy.threshold) == ("BatchNorm", 0.7)


def test_diverging_after_the_threshold_is_not_fast() -> None:
    """Six runs that cross the threshold at once and then diverge make a variant slower, and are in no mean time."""
    steady = curves(none=[[8.0, 6.0, 4.0 + 0.1 * i, 2.0] for i in range(6)], batch=[[1.0, 0.5, math.nan]] * 6)
    runs = [dataclasses.replace(r, result=DIVERGED) if r.variant == "batch" else r for r in steady]
    speed = convergence_of(runs, "val/loss", threshold=5.0)
    assert speed.epochs.variants[1].missing == {"diverged": 6}
    assert speed.epochs.pairs[0].verdict == "worse"


def test_diverged_runs_do_not_set_the_threshold() -> None:
    """The threshold is of the runs that ended well; a diverged one is counted, and has no area."""
    good = curves(none=[[8.0, 4.0, 2.0]], batch=[[4.0, 2.0, 1.0]])
    wild = dataclasses.replace(good[1], seed=1, result=DIVERGED)
    wild = dataclasses.replace(wild, metrics=good[1].metrics | {"val/loss": [8.0, 0.1, math.nan]})
    speed = convergence_of([*good, wild], "val/loss")
    assert speed.threshold == 2.5
    assert speed.epochs.variants[1].missing == {"diverged": 1}
    assert there(speed.area).variants[1].missing == {"diverged": 1}


def test_early_stopping_bounds_the_area() -> None:
    """The area is over the epochs that all runs have, so that a run that stopped early is not flattered."""
    speed = convergence_of(curves(none=[[8.0, 6.0, 4.0, 3.0]], batch=[[4.0, 2.0]]), "val/loss")
    assert there(speed.area).name == "mean val/loss over epochs 1 to 2"
    assert [v.values[0] for v in there(speed.area).variants] == [7.0, 3.0]


def test_nothing_to_tell_of_speed() -> None:
    """Runs that have not ended have no convergence and no stability."""
    comparison = compare(variants(none=["unfinished"], batch=["unfinished"]))
    assert (comparison.convergence, comparison.stability) == (None, None)


# ---------------------------------------------------------------- as a document


def test_a_document_has_machine_names() -> None:
    """In JSON a metric is its name, and a pair its numbers, verdict and words; what is None stays so."""
    document = json.loads(json.dumps(to_plain(compare(grid(GRID)))))
    first = document["measures"][0]
    assert (first["metric"], first["higher_is_better"], first["chosen_on"]) == ("test/accuracy", True, False)
    assert document["convergence"]["metric"] == document["sensitivity"]["metric"] == "val/loss"
    assert document["convergence"]["epochs"]["higher_is_better"] is False
    assert document["convergence"]["leader"] == "batch lr=1.0"
    assert [measure["name"] for measure in document["finals"][:2]] == [
        "test/accuracy at best",
        "test/accuracy at last",
    ]
    (pair,) = first["pairs"]
    assert list(pair) == [
        *("a", "b", "n", "differences", "paired", "probability_better", "decided_by", "p", "holm_p"),
        *("seeds_needed", "verdict", "statement", "evidence"),
    ]
    assert document["sensitivity"]["candidates"][2]["result"]["missing"] == {"diverged": 1}
    assert to_plain(compare(variants(none=["unfinished"])))["convergence"] is None


# ---------------------------------------------------------------- numbers as text


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0.97634, 0.0021, "0.9763"),
        (123.456, 15, "123"),
        (0.5, 0.14, "0.50"),
        (1.0, 0.0, "1"),
        (2.5, math.nan, "2.5"),
        (0.12345, 1e-12, "0.1235"),
        (-0.0123, 0.01, "−0.012"),
        (-0.0001, 0.1, "0.00"),  # a zero has no sign
        (12345.0, 0.0, "12345"),
    ],
)
def test_rounded(value: float, spread: float, text: str) -> None:
    """As many decimals as the spread has two significant digits."""
    assert rounded(value, spread) == text


def test_an_evaluation_at_the_start_sets_no_threshold() -> None:
    """It says nothing of training: the way to the best begins at the first evaluation after some."""
    runs = variants(none=NONE, batch=BATCH)
    at_start = {"epoch": 0.0, "step": 0.0, "train/loss": 90.0, "val/loss": 90.0, "val/accuracy": 0.0}
    earlier = [
        dataclasses.replace(run, metrics={name: [at_start[name], *of] for name, of in run.metrics.items()})
        for run in runs
    ]
    without, with_start = (compare(of).convergence for of in (runs, earlier))
    assert without is not None
    assert with_start is not None
    assert with_start.threshold == without.threshold
