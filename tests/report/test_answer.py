"""The answer at the end of training: a sentence and a table, whatever became of the runs."""

import math

import pytest
from kit import loaded_run, variants

from bncompare.report import answer_of, chapters, print_answer
from bncompare.runs import LoadedRun

GOOD, BAD = (0.03, 0.02, 0.04, 0.03, 0.02, 0.04), (0.88, 0.9, 0.89, 0.9, 0.88, 0.89)


def grid() -> list[LoadedRun]:
    """Two norms at two rates, the second of which is better for both."""
    return [
        loaded_run(f"{norm} lr={lr}", seed, (9.0, loss + 0.01 * seed + lr / 100), settings=settings)
        for norm, loss in (("none", 0.5), ("batch", 0.1))
        for lr in (0.2, 0.1)
        for settings in [{"model.norm": norm, "training.optimizer.lr": lr}]
        for seed in range(3)
    ]


@pytest.mark.parametrize(
    ("runs", "sentence", "variant", "columns"),
    [
        pytest.param(
            variants(none=BAD, batch=GOOD),
            "BatchNorm 96.0 %, no norm 10.0 % test accuracy: +86.0 points, 95 % CI 84.7 to 87.3, 6 seeds",
            "BatchNorm",
            ["variant", "seeds", "mean ± sd", "difference"],
            id="told",
        ),
        pytest.param(
            variants(none=BAD, rms=(0.5, 0.6, 0.5, 0.6, 0.5, 0.6), batch=GOOD, layer=(0.4, 0.5, 0.4, 0.5, 0.4, 0.5)),
            "BatchNorm 96.0 %, no norm 10.0 % test accuracy: +86.0 points, 95 % CI 84.7 to 87.3, 6 seeds "
            "(preliminary)",
            "LayerNorm",
            ["variant", "seeds", "mean ± sd", "difference"],
            id="the best of several",
        ),
        pytest.param(
            variants(none=(0.3, 0.2, 0.4), batch=(0.2, 0.4, 0.3)),
            "BatchNorm 69 %, no norm 69 % test accuracy: no clear difference (0 points, 95 % CI −43 to 43, 3 seeds)",
            "BatchNorm",
            ["variant", "seeds", "mean ± sd", "difference"],
            id="undecided",
        ),
        pytest.param(
            variants(none=(0.3, 0.31, 0.32), batch=(0.2, 0.24, 0.2), layer=(0.3, 0.4, 0.2), rms=(0.3, 0.2, 0.4)),
            "BatchNorm 77.7 %, no norm 68.0 % test accuracy: no clear difference among 6 pairs (+9.7 points, "
            "95 % CI 3.4 to 15.9, 3 seeds)",
            "BatchNorm",
            ["variant", "seeds", "mean ± sd", "difference"],
            id="undecided among several",
        ),
        pytest.param(
            variants(none=(0.3,), batch=(0.2,)),
            "BatchNorm 79.0 %, no norm 69.0 % test accuracy: +10.00 points, 1 seed, so no verdict",
            "BatchNorm",
            ["variant", "seeds", "mean ± sd", "difference"],
            id="one seed",
        ),
        pytest.param(
            variants(none=("diverged",) * 3, batch=(0.2, 0.2, 0.2)),
            "BatchNorm 79.0 % test accuracy, 3 seeds; no norm: 3 of 3 diverged",
            "no norm",
            ["variant", "seeds", "mean ± sd", "difference", "no value"],
            id="the baseline diverged",
        ),
        pytest.param(
            variants(none=("diverged",) * 2, batch=("diverged", "failed")),
            "no run has a validation loss: 3 diverged, 1 failed",
            "no norm",
            ["variant", "seeds", "mean ± sd", "difference", "no value"],
            id="all diverged",
        ),
        pytest.param(
            variants(batch=(0.2, 0.3)),
            "BatchNorm 74.0 % test accuracy, 2 seeds",
            "BatchNorm",
            ["variant", "seeds", "mean ± sd"],
            id="one variant",
        ),
    ],
)
def test_the_sentence(runs: list[LoadedRun], sentence: str, variant: str, columns: list[str]) -> None:
    """The best variant against the baseline, with what there is to say of it; no column without a cell."""
    (chapter,) = chapters(runs)
    answer = answer_of(chapter)
    assert answer.sentence == sentence
    assert list(answer.table.columns) == columns
    ((_, rows),) = answer.table.groups
    assert variant in [row[0] for row in rows]


def test_a_sweep_has_a_row_per_norm() -> None:
    """That of the chosen setting, under a name of its own."""
    (chapter,) = chapters(grid())
    answer = answer_of(chapter)
    ((_, rows),) = answer.table.groups
    assert [row[0] for row in rows] == ["no norm, lr 0.1", "BatchNorm, lr 0.1"]
    assert answer.sentence.startswith(
        "BatchNorm 87.9 %, no norm 47.9 % test accuracy, each at the setting that validation chose: "
    )


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """80 columns do for long labels, large spreads, runs that diverged and what is said below."""
    names = [f"variant {i} with a name as long as people give them in their notebooks" for i in range(3)]
    runs = variants(**{name: (0.9 - i / 4, 0.5 - i / 9, math.pi / 4) for i, name in enumerate(names)})
    (chapter,) = chapters([*runs, loaded_run(names[2], 3, (9.0, math.nan), "diverged")])
    answer = answer_of(chapter)
    print_answer(answer)
    table = capsys.readouterr().out.split("test accuracy")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert len({row[0] for row in answer.table.groups[0][1]}) == 3


def test_a_label_of_the_config_stays() -> None:
    """In a sweep of variants that the config names, the sentence and the verdicts call them so."""
    runs = [
        loaded_run(f"{name} at {lr}", seed, (9.0, loss + 0.01 * seed + lr / 100), settings=settings)
        for name, norm, loss in (("plain", "none", 0.5), ("normed", "batch", 0.1))
        for lr in (0.2, 0.1)
        for settings in [{"model.norm": norm, "training.optimizer.lr": lr}]
        for seed in range(3)
    ]
    (chapter,) = chapters(runs)
    for words in (answer_of(chapter).sentence, chapter.verdicts[0][1][0][0]):
        assert "normed at 0.1" in words
        assert "plain at 0.1" in words
