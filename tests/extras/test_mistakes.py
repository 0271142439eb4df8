"""`mistakes`: predictions that are kept to the bit, images counted by hand, McNemar's test, the whole output."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kit import CONFIGS, ROOT, call, cells, content, looked_at, run_of, strict
from PIL import Image
from scipy.stats import binomtest

from bncompare import comparison
from bncompare.config import load_experiment
from bncompare.errors import UserError
from bncompare.execution import plan_runs, run_experiment
from bncompare.extras import find_mistakes, images_of, mistakes_document, mistakes_html
from bncompare.runs import RunStore, experiments, predictions_csv, read_predictions, read_runs

EXERCISES = sorted((CONFIGS / "exercises").glob("*.yaml"))
SHORT = ["training.steps=60", "training.eval_every=20", "claims=[]"]


def train(folder: Path, *settings: str, seeds: str = "2", jobs: int = 1) -> Path:
    """Digits without a norm and with two, for a few steps."""
    runs = load_experiment(CONFIGS / "demo.yaml", overrides=[*SHORT, *settings], seeds=seeds).runs
    for _ in run_experiment(plan_runs(runs, RunStore(folder)), data_dir=None, num_processes=jobs):
        pass
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return train(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs")
    return Path("runs")


# ---------------------------------------------------------------- predictions.csv


def test_predictions_are_those_of_the_recorded_accuracy(trained: Path) -> None:
    """Law: the test accuracy of the best weights, to the bit; and of the images of the test set, in their order."""
    loaded, _ = read_runs([trained])
    for run in loaded:
        assert run.result is not None
        predictions = read_predictions(run.path, run.result)
        assert predictions.accuracy == run.best("test/accuracy")
        assert np.bincount(predictions.classes).tolist() == [36] * 10
    assert len({run.best("test/accuracy") for run in loaded}) > 2


def test_the_bytes_are_the_same(trained: Path, tmp_path: Path) -> None:
    """In processes of their own, and when a run is interrupted and goes on."""
    assert content(train(tmp_path / "two", jobs=2)) == content(trained)
    (planned,) = plan_runs(
        load_experiment(CONFIGS / "demo.yaml", overrides=SHORT, seeds="2").runs[2:3], RunStore(tmp_path)
    )
    for event in (events := run_experiment([planned], data_dir=None)):
        if event.record is not None:
            planned.folder.save(event.record.checkpoint())
            break
    events.close()  # type: ignore[attr-defined]
    (planned,) = plan_runs([planned.run], RunStore(tmp_path))
    assert planned.state == "begun"
    for _ in run_experiment([planned], data_dir=None):
        pass
    name = planned.folder.path / "predictions.csv"
    assert name.read_bytes() == (trained / name.relative_to(tmp_path)).read_bytes()


def test_regression_has_none(tmp_path: Path) -> None:
    """There are no classes to predict, and nothing is missed."""
    run = run_of("regression.yaml", "training.epochs=2")
    planned = plan_runs([run], RunStore(tmp_path))
    for _ in run_experiment(planned, data_dir=None):
        pass
    assert not (planned[0].folder.path / "predictions.csv").exists()
    assert plan_runs([run], RunStore(tmp_path))[0].is_done
    ended = call("mistakes", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith("/regression: is regression, where an answer is not right or wrong\n")


DAMAGED = {
    None: "lost",
    b"": "damaged: predictions.csv is not class,predicted and two classes a line",
    b"class,predicted\n1,2\n1": "damaged: predictions.csv is not class,predicted and two classes a line",
    b"class,predicted\n1,-2\n": "damaged: predictions.csv is not class,predicted and two classes a line",
    b"class,predicted\n1,1\n": "damaged: predictions.csv has not the test accuracy that result.json has",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_lost_or_damaged_predictions_are_written_again(runs: Path, damage: bytes | None) -> None:
    """With the best weights and to the byte; nothing is trained; `mistakes` says what it leaves out until then."""
    file = sorted(runs.glob("demo/batch-s0-*"))[0] / "predictions.csv"
    before, listing = content(runs), sorted(runs.rglob("*"))
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    why = "No such file or directory" if damage is None else DAMAGED[damage].removeprefix("damaged: ")
    said = call("mistakes", "--versus", "batch", "--json")
    assert said.err == f"warning: {file.parent}: left out: {why}; bncompare train writes predictions.csv again\n"
    assert [seed["seed"] for seed in strict(said.out)["runs/demo"]["seeds"]] == [1]
    settings = [option for setting in SHORT for option in ("--set", setting)]
    ended = call("train", CONFIGS / "demo.yaml", "--seeds", "2", "--jobs", "1", "--no-report", *settings)
    assert ended.code == 0
    assert f"warning: {file}: {DAMAGED[damage]}; it is written again" in ended.err.splitlines()
    assert "finished already; what it had lost is written again" in ended.err
    assert content(runs) == before
    assert sorted(path for path in runs.rglob("*") if path in listing) == listing


def test_predictions_without_the_weights_to_make_them(runs: Path) -> None:
    """What cannot be written again is said, in a line, and the run is as it was."""
    folder = sorted(runs.glob("demo/batch-s0-*"))[0]
    (folder / "predictions.csv").unlink()
    other = sorted(runs.glob("demo/none-s0-*"))[0]
    shutil.copy(other / "best.safetensors", folder)
    run = load_experiment(folder / "config.yaml").runs[0]
    (event,) = run_experiment(plan_runs([run], RunStore(runs)), data_dir=None)
    assert "Missing key(s) in state_dict" in event.what.message  # type: ignore[union-attr]
    assert not (folder / "predictions.csv").exists()


def test_verify_compares_them(runs: Path) -> None:
    """Two answers exchanged leave the accuracy as it is, and are found."""
    folder = sorted(runs.glob("demo/layer-s1-*"))[0]
    header, *lines = (folder / "predictions.csv").read_text().splitlines(keepends=True)
    wrong = [i for i, line in enumerate(lines) if line[0] != line[2]]
    lines[wrong[0]] = f"{lines[wrong[0]][0]},{next(d for d in '0123456789' if d not in lines[wrong[0]])}\n"
    (folder / "predictions.csv").write_text(header + "".join(lines))
    (item,) = strict(call("verify", folder, "--json", "--jobs", "1").out)["runs"]
    assert (item["different"], item["same"][-1]) == (["predictions.csv"], "result.json")


# ---------------------------------------------------------------- two variants


def crafted(folder: Path, answers: dict[str, Sequence[str]]) -> Path:
    """Runs whose answers are written down: of each label a text for each seed, a digit an image; the classes are
    0000 1111 2222. Their weights are none."""
    variants = [
        {"label": label, "model.norm": kind} for label, kind in zip(answers, ("none", "batch", "layer"), strict=False)
    ]
    settings = [*SHORT, f"compare={json.dumps(variants)}"]
    for run in load_experiment(CONFIGS / "demo.yaml", overrides=settings, seeds="3").runs:
        for given in answers[run.variant.label][run.seed : run.seed + 1]:
            right = sum(map(str.__eq__, CLASSES, given)) / len(CLASSES)
            best = {"epoch": 1.0, "step": 60, "val/accuracy": right, "test/accuracy": right}
            store = RunStore(folder).run(run)
            store.begin({})
            store.tables.append(1.0, 60, dict.fromkeys([*run.metric_names, "lr"], 0.5), 1.0, 1.0)
            rows = predictions_csv(zip(map(int, CLASSES), map(int, given), strict=True))
            store.finish({"status": "completed", "steps": 60, "best": best, "last": best}, b"", b"", rows)
    return folder


CLASSES = "000011112222"
BY_HAND = {
    "plain": ["000011110000", "000011110012", "200011112222"],  # 8, 9, 11 of 12 right
    "bn": ["000111112222", "000011112222", "000011112220"],  # 11, 12, 11
}


def test_two_crafted_variants(tmp_path: Path) -> None:
    """Counts, images and matrices by hand."""
    (experiment,) = experiments(read_runs([crafted(tmp_path, BY_HAND)])[0])
    found, warnings = find_mistakes(experiment, "plain,bn")
    assert warnings == []
    assert [(s.both_right, s.only_a, s.only_b, s.both_wrong) for s in found.seeds] == [
        (7, [3], [8, 9, 10, 11], 0),
        (9, [], [8, 9, 10], 0),
        (10, [11], [0], 0),
    ]
    assert [(d.image, d.true, d.a, d.b, d.num_seeds) for d in found.only_b] == [
        (8, 2, [0], [2], 2), (9, 2, [0], [2], 2), (10, 2, [0, 1], [2], 2), (0, 0, [2], [0], 1), (11, 2, [0], [2], 1)
    ]  # fmt: skip
    assert [(d.image, d.true, d.a, d.b, d.num_seeds) for d in found.only_a] == [
        (3, 0, [0], [1], 1),
        (11, 2, [2], [0], 1),
    ]
    assert found.confusion[0].tolist() == [[11, 0, 1], [0, 12, 0], [6, 1, 5]]
    assert found.confusion[1].tolist() == [[11, 1, 0], [0, 12, 0], [1, 0, 11]]
    paired = comparison.compare_paired([11 / 12, 1.0, 11 / 12], [8 / 12, 9 / 12, 11 / 12], higher_is_better=True)
    assert found.accuracy == paired
    assert mistakes_document(found)["seeds"][0]["mcnemar_p"] == pytest.approx(0.375)


@pytest.mark.parametrize("wins", range(0, 40, 3))
@pytest.mark.parametrize("losses", [0, 1, 7, 20])
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    """Of the images that just one gets right, against a half."""
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert comparison.sign_test_p(wins, losses) == pytest.approx(expected)


LABELS = {"plain": BY_HAND["plain"], "a, b": BY_HAND["bn"], "LN": [CLASSES]}


@pytest.mark.parametrize(
    ("versus", "pair"),
    [
        (None, ("plain", "LN")),  # of the baseline and the best
        ("plain,LN", ("plain", "LN")),
        ("LN,plain", ("LN", "plain")),
        ("ln", ("plain", "LN")),
        ("a, b", ("plain", "a, b")),
        ("ln, a, b", ("LN", "a, b")),
        ("plain,plain", "must be two variants"),
        ("plain", "must be two variants"),
        ("plan,LN", "did you mean 'plain'"),
        ("plain,other", "valid: plain, a, b, LN"),
    ],
)
def test_which_two(tmp_path: Path, versus: str | None, pair: tuple[str, str] | str) -> None:
    """By name or label, in any case, one alone beside the baseline; a comma may be in a label."""
    (experiment,) = experiments(read_runs([crafted(tmp_path, LABELS)])[0])
    if isinstance(pair, str):
        with pytest.raises(UserError, match=pair):
            find_mistakes(experiment, versus)
    else:
        found, _ = find_mistakes(experiment, versus)
        assert (found.a, found.b) == pair


# ---------------------------------------------------------------- the command


WHOLE = """\
demo: images of the test set
seed  both right  only plain right  only bn right  both wrong  McNemar's p
0  7  1  4  0  0.38
1  9  0  3  0  0.25
2  10  1  1  0  1
McNemar's test, of each pair of trained networks: the two cannot be told apart with any of 3 seeds (p < 0.05). It is \
about these networks on these images.
Paired t-test, of the way to train: bn is 16.7 points more accurate than plain on average (95 % CI −19.2 to 52.5, \
p = 0.18, 3 seeds): no clear difference, with so few seeds.
runs/demo/mistakes.png
page.html
"""


def test_the_whole_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table, two statements, and what was written; other images than those of the data set are not shown."""
    monkeypatch.chdir(tmp_path)
    crafted(tmp_path / "runs", BY_HAND)
    ended = call("mistakes", "--html", "page.html")
    assert ["  ".join(line) for line in cells(ended.out)] == WHOLE.splitlines()
    assert ended.err == "warning: The images are not to be had: those of this test set are others\n"
    assert ended.code == 0
    with Image.open("runs/demo/mistakes.png") as picture:
        assert picture.size[0] == 1353
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert page.count("<img") == 0
    assert "Only bn is right, with at least one of 3 seeds: 5 of 12 images (41.7 %)" in page


def test_seeds_that_were_looked_at(tmp_path: Path) -> None:
    """Where seeds were asked for until it is decided, what is said of training holds at every look."""
    (experiment,) = experiments(read_runs([crafted(tmp_path, BY_HAND)])[0])
    found, _ = find_mistakes(replace(experiment, runs=looked_at(experiment.runs)), None)
    assert found.statements[1] == (
        "t confidence sequence, of the way to train: bn is 16.7 points more accurate than plain on average "
        "(95 % CI, valid at every look: not yet, anytime-valid p = 0.86, 3 seeds): no clear difference."
    )
    accuracy = mistakes_document(found)["accuracy_b_minus_a"]
    p = 1.352**-0.5  # E² = (1 + 4n)⁻¹ Rⁿ = 13⁻¹ 2.6³
    assert (accuracy["t_test_p"], accuracy["anytime_p"]) == (None, pytest.approx(p, rel=1e-3))


def test_json(runs: Path) -> None:
    """Strict, with the places of the images; nothing is drawn."""
    ended = call("mistakes", "--json", "--versus", "none,batch")
    found = strict(ended.out)["runs/demo"]
    assert (found["a"], found["b"], len(found["seeds"]), found["classes"]) == ("none", "batch", 2, list("0123456789"))
    for seed in found["seeds"]:
        counts = [seed["both_right"], len(seed["only_a_right"]), len(seed["only_b_right"]), seed["both_wrong"]]
        assert sum(counts) == 360
        assert seed["accuracy"] == [(counts[0] + counts[1]) / 360, (counts[0] + counts[2]) / 360]
    assert (ended.err, list(runs.rglob("mistakes*"))) == ("", [])


def test_the_page_has_the_images(runs: Path) -> None:
    """Those of the test set, each with its class and what both say; names that are markup stay text."""
    (experiment,) = experiments(read_runs([runs])[0])
    found, _ = find_mistakes(experiment, None)
    images, why = images_of(found, None)
    assert images is not None
    assert (images.shape, why) == ((360, 8, 8), "")
    page = mistakes_html([(replace(found, a="<b>", b="A variant with a rather long name"), images, why)])
    assert "<b>:" not in page
    assert "A is &lt;b&gt;, B is A variant" in page
    first = found.only_b[0]
    answers = f"<br>A: {found.said(first.a)}<br>B: {found.said(first.b)}"
    assert f'alt="test image {first.image}, of class {first.true}"><b>{first.true}</b>{answers}' in page


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MNIST is not to be had, the counts are, and a line says how to get the images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BNCOMPARE_DATA", raising=False)
    crafted(tmp_path / "runs", BY_HAND)
    for path in Path("runs").rglob("config.yaml"):
        text = path.read_text(encoding="utf-8").replace("name: digits", "name: fashion_mnist")
        path.write_text(text.replace(", resize: null", ""))
    ended = call("mistakes", "--data-dir", "nowhere", "-o", "pictures")
    assert ended.code == 0
    assert ended.err.startswith("warning: The images are not to be had: FashionMNIST is not whole in nowhere/")
    assert ended.out.endswith("pictures/demo-mistakes.png\n")
    assert not Path("nowhere").exists()


# ---------------------------------------------------------------- exercises


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_an_exercise(path: Path, tmp_path: Path) -> None:
    """Named as its file, it asks, says what to run and what comes out; its claims are judged, and on the page."""
    text = path.read_text(encoding="utf-8")
    for word in ("Question", "Run", "Expected", "Setup", "Run time"):
        assert re.search(rf"^# {word}: ", text, re.MULTILINE), word
    assert (load_experiment(path).name, len(load_experiment(path).runs[0].claims) >= 2) == (path.stem, True)
    side = "28" if "lenet" in text else "null"
    settings = [f"data={{name: digits, resize: {side}, validation: 64, train_size: 64}}", "training.batch_size=32"]
    settings += ["training.steps=4", "training.eval_every=2"] if "steps:" in text else ["training.epochs=2"]
    runs = load_experiment(path, overrides=settings, seeds="1").runs
    for _ in run_experiment(plan_runs(runs, RunStore(tmp_path)), data_dir=None):
        pass
    (experiment,) = experiments(read_runs([tmp_path])[0])
    claims = comparison.claims_of(experiment.runs)
    assert [comparison.judge(claim, experiment.runs).claim for claim in claims] == runs[0].claims
    page = (ROOT / "docs" / "exercises.md").read_text(encoding="utf-8")
    assert f"bncompare train {path.stem}\n" in page
    for claim in claims:
        assert claim.statement in page
