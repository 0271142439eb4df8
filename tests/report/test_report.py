"""The report: the whole text of each form, and names that try to be more than text."""

import contextlib
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from kit import EXAMPLE, Ended, call

from bncompare.comparison.ask import Ask
from bncompare.config.expand import load_experiment
from bncompare.config.yaml import dump_yaml, parse_yaml
from bncompare.errors import printable
from bncompare.report.again import experiment_config
from bncompare.report.content import chapters
from bncompare.report.markdown import escape, to_markdown
from bncompare.report.table import Table
from bncompare.report.terminal import print_report, print_table
from bncompare.runs.folder import RunStore
from bncompare.runs.read import read_run, read_runs

CONFIG = """\
name: x
seeds: 4
data: {name: random_regression, validation: 200}
model: {name: mlp, hidden: [4]}
training: {epochs: 2, batch_size: full, optimizer: {name: sgd, lr: 0.1}}
compare: {model.norm: [none, batch]}
claims:
- statement: batch is lower
  metric: val/loss
  variant: {model.norm: batch}
  versus: {model.norm: none}
  difference_at_most: -0.2
"""
NONE = [0.72, 0.70, 0.73, 0.71]
BATCH = [0.30, 0.31, 0.29, 0.30]


def write(
    folder: Path,
    values: Sequence[Sequence[float | None]] = (NONE, BATCH),
    config: str = CONFIG,
    environment: dict[str, Any] | None = None,
) -> Path:
    """Run folders of a config, with a best validation loss for each variant and seed; None diverged."""
    (folder / "x.yaml").write_text(config)
    runs = load_experiment(folder / "x.yaml").runs
    labels = list(dict.fromkeys(run.variant.label for run in runs))
    for run in runs:
        value = values[labels.index(run.variant.label)][run.seed]
        run_folder = RunStore(folder / "runs").run(run)
        run_folder.begin(environment or {"versions": {"python": "3.11.7", "torch": "2.9.0"}, "device": "cpu"})
        loss = 3.0 if value is None else value
        names = [*run.metric_names, "lr"]
        run_folder.tables.append(1.0, 1, dict.fromkeys(names, 2 * loss), 0.5, 1.0)
        run_folder.tables.append(2.0, 2, dict.fromkeys(names, float("nan") if value is None else loss), 0.5, 1.0)
        end = {"epoch": 2.0, "step": 2, "train/loss": loss, "val/loss": loss, "test/loss": loss + 0.01}
        status = "completed" if value is not None else "diverged"
        result = {"status": status, "steps": 2, "best": end, "last": end}
        run_folder.finish(result, None, b"")
    return folder / "runs"


def stripped(text: str) -> str:
    """Without the blanks at the ends of lines that a table leaves."""
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


# ---------------------------------------------------------------- whole outputs

TERMINAL = """\
x
Which is better: no norm or BatchNorm?
MLP on random regression; SGD; training examples 1000; hidden [4]; activation relu; lr 0.1; batch size full; \
epochs 2; validation 200; 4 seeds (0-3)

Variants: validation loss at the best epoch

  variant     seeds       mean ± sd          95 % CI   median            range
 ──────────────────────────────────────────────────────────────────────────────
  no norm         4   0.715 ± 0.013   0.694 to 0.736    0.715   0.700 to 0.730
  BatchNorm       4   0.300 ± 0.008   0.287 to 0.313    0.300   0.290 to 0.310

Variants: test loss (best weights)

  variant     seeds       mean ± sd          95 % CI   median            range
 ──────────────────────────────────────────────────────────────────────────────
  no norm         4   0.725 ± 0.013   0.704 to 0.746    0.725   0.710 to 0.740
  BatchNorm       4   0.310 ± 0.008   0.297 to 0.323    0.310   0.300 to 0.320


Pairs of variants: validation loss at the best epoch

  difference            seeds     mean            95 % CI   effect size   P(better)   sign-flip p         p   better
 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────\
────────────────────────
  BatchNorm − no norm       4   −0.415   −0.448 to −0.382        −19.94        1.00          0.12   3.5e-05   \
BatchNorm (preliminary)

Pairs of variants: test loss (best weights)

  difference            seeds     mean            95 % CI   effect size   P(better)   sign-flip p         p   better
 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────\
────────────────────────
  BatchNorm − no norm       4   −0.415   −0.448 to −0.382        −19.94        1.00          0.12   3.5e-05   \
BatchNorm (preliminary)

p: paired t-test
sign-flip p: the least that there can be is 0.12 with 4 seeds

Final metrics, mean ± sd: test loss

  variant     seeds      best epoch      last epoch
 ───────────────────────────────────────────────────
  no norm         4   0.725 ± 0.013   0.725 ± 0.013
  BatchNorm       4   0.310 ± 0.008   0.310 ± 0.008

Final metrics, mean ± sd: training loss

  variant     seeds      best epoch      last epoch
 ───────────────────────────────────────────────────
  no norm         4   0.715 ± 0.013   0.715 ± 0.013
  BatchNorm       4   0.300 ± 0.008   0.300 ± 0.008


Speed and stability: epochs to validation loss 0.45

  variant     seeds   mean ± sd   95 % CI   median    range   without
 ─────────────────────────────────────────────────────────────────────────────
  no norm         0           –         –        –        –   4 never reached
  BatchNorm       4       2 ± 0    2 to 2        2   2 to 2

Speed and stability: steps to validation loss 0.45

  variant     seeds   mean ± sd   95 % CI   median    range   without
 ─────────────────────────────────────────────────────────────────────────────
  no norm         0           –         –        –        –   4 never reached
  BatchNorm       4       2 ± 0    2 to 2        2   2 to 2

Speed and stability: seconds to validation loss 0.45

  variant     seeds   mean ± sd   95 % CI   median    range   without
 ─────────────────────────────────────────────────────────────────────────────
  no norm         0           –         –        –        –   4 never reached
  BatchNorm       4       1 ± 0    1 to 1        1   1 to 1

Speed and stability: mean validation loss over epochs 1 to 2

  variant     seeds       mean ± sd          95 % CI   median            range   without
 ────────────────────────────────────────────────────────────────────────────────────────
  no norm         4   1.072 ± 0.019   1.042 to 1.103    1.073   1.050 to 1.095
  BatchNorm       4   0.450 ± 0.012   0.431 to 0.469    0.450   0.435 to 0.465

threshold of validation loss: 0.45, half-way from the first evaluation of BatchNorm to its best; counted to the \
first evaluation there
mean validation loss over epochs 1 to 2 is the area under the curve over its length, by the trapezoidal rule

claims:
  SUPPORTED (preliminary: 4 seeds): batch is lower
    validation loss at the best epoch, difference −0.415, 95 % CI −0.448 to −0.382, n = 4; exact sign-flip p = 0.12
    claimed at most −0.2: supported
  1 claim judged

validation loss at the best epoch:
  BatchNorm is ahead of no norm by 0.415 (preliminary: 4 seeds)
    95 % CI 0.382 to 0.448; n = 4, sign-flip p = 0.12, the least that 4 seeds can give
test loss (best weights):
  BatchNorm is ahead of no norm by 0.415 (preliminary: 4 seeds)
    95 % CI 0.382 to 0.448; n = 4, sign-flip p = 0.12, the least that 4 seeds can give

"""

MARKDOWN = """\
## x

Which is better: no norm or BatchNorm? MLP on random regression; SGD; training examples 1000; hidden \\[4\\]; \
activation relu; lr 0.1; batch size full; epochs 2; validation 200; 4 seeds (0-3)

**validation loss at the best epoch**

- BatchNorm is ahead of no norm by 0.415 (preliminary: 4 seeds; 95 % CI 0.382 to 0.448; n = 4, sign-flip p = \
0.12, the least that 4 seeds can give)

**test loss (best weights)**

- BatchNorm is ahead of no norm by 0.415 (preliminary: 4 seeds; 95 % CI 0.382 to 0.448; n = 4, sign-flip p = \
0.12, the least that 4 seeds can give)

- **supported (preliminary: 4 seeds)**: batch is lower
  - validation loss at the best epoch, difference −0.415, 95 % CI −0.448 to −0.382, n = 4; exact sign-flip p = 0.12
  - claimed at most −0.2: supported

1 claim judged

**Variants**

| variant | seeds | mean ± sd | 95 % CI | median | range |
| --- | ---: | ---: | ---: | ---: | ---: |
| *validation loss at the best epoch* |  |  |  |  |  |
| no norm | 4 | 0.715 ± 0.013 | 0.694 to 0.736 | 0.715 | 0.700 to 0.730 |
| BatchNorm | 4 | 0.300 ± 0.008 | 0.287 to 0.313 | 0.300 | 0.290 to 0.310 |
| *test loss (best weights)* |  |  |  |  |  |
| no norm | 4 | 0.725 ± 0.013 | 0.704 to 0.746 | 0.725 | 0.710 to 0.740 |
| BatchNorm | 4 | 0.310 ± 0.008 | 0.297 to 0.323 | 0.310 | 0.300 to 0.320 |

**Pairs of variants**

| difference | seeds | mean | 95 % CI | effect size | P(better) | sign-flip p | p | better |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
| *validation loss at the best epoch* |  |  |  |  |  |  |  |  |
| BatchNorm − no norm | 4 | −0.415 | −0.448 to −0.382 | −19.94 | 1.00 | 0.12 | 3.5e-05 | BatchNorm (preliminary) |
| *test loss (best weights)* |  |  |  |  |  |  |  |  |
| BatchNorm − no norm | 4 | −0.415 | −0.448 to −0.382 | −19.94 | 1.00 | 0.12 | 3.5e-05 | BatchNorm (preliminary) |

- p: paired t-test
- sign-flip p: the least that there can be is 0.12 with 4 seeds

**Final metrics, mean ± sd**

| variant | seeds | best epoch | last epoch |
| --- | ---: | ---: | ---: |
| *test loss* |  |  |  |
| no norm | 4 | 0.725 ± 0.013 | 0.725 ± 0.013 |
| BatchNorm | 4 | 0.310 ± 0.008 | 0.310 ± 0.008 |
| *training loss* |  |  |  |
| no norm | 4 | 0.715 ± 0.013 | 0.715 ± 0.013 |
| BatchNorm | 4 | 0.300 ± 0.008 | 0.300 ± 0.008 |

**Speed and stability**

| variant | seeds | mean ± sd | 95 % CI | median | range | without |
| --- | ---: | ---: | ---: | ---: | ---: | --- |
| *epochs to validation loss 0.45* |  |  |  |  |  |  |
| no norm | 0 | – | – | – | – | 4 never reached |
| BatchNorm | 4 | 2 ± 0 | 2 to 2 | 2 | 2 to 2 |  |
| *steps to validation loss 0.45* |  |  |  |  |  |  |
| no norm | 0 | – | – | – | – | 4 never reached |
| BatchNorm | 4 | 2 ± 0 | 2 to 2 | 2 | 2 to 2 |  |
| *seconds to validation loss 0.45* |  |  |  |  |  |  |
| no norm | 0 | – | – | – | – | 4 never reached |
| BatchNorm | 4 | 1 ± 0 | 1 to 1 | 1 | 1 to 1 |  |
| *mean validation loss over epochs 1 to 2* |  |  |  |  |  |  |
| no norm | 4 | 1.072 ± 0.019 | 1.042 to 1.103 | 1.073 | 1.050 to 1.095 |  |
| BatchNorm | 4 | 0.450 ± 0.012 | 0.431 to 0.469 | 0.450 | 0.435 to 0.465 |  |

- threshold of validation loss: 0.45, half-way from the first evaluation of BatchNorm to its best; counted to \
the first evaluation there
- mean validation loss over epochs 1 to 2 is the area under the curve over its length, by the trapezoidal rule

<details><summary>Pairs of variants: speed and stability</summary>

| difference | seeds | mean | 95 % CI | effect size | P(better) | sign-flip p | p | better |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
| *epochs to validation loss 0.45* |  |  |  |  |  |  |  |  |
| BatchNorm − no norm | 4 | – | – | – | 1.00 | – | 0.12 | no clear difference |
| *steps to validation loss 0.45* |  |  |  |  |  |  |  |  |
| BatchNorm − no norm | 4 | – | – | – | 1.00 | – | 0.12 | no clear difference |
| *seconds to validation loss 0.45* |  |  |  |  |  |  |  |  |
| BatchNorm − no norm | 4 | – | – | – | 1.00 | – | 0.12 | no clear difference |
| *mean validation loss over epochs 1 to 2* |  |  |  |  |  |  |  |  |
| BatchNorm − no norm | 4 | −0.623 | −0.672 to −0.573 | −19.94 | 1.00 | 0.12 | 3.5e-05 | BatchNorm (preliminary) |

- p: paired t-test, or exact sign test where a run has no value or all differences are equal
- sign-flip p: the least that there can be is 0.12 with 4 seeds

</details>

<details><summary>Settings that differ</summary>

| variant | model.norm |
| --- | --- |
| no norm | none |
| BatchNorm | batch |

</details>

<details><summary>How to read this</summary>

Variants are compared seed by seed: runs that share a seed share the data split, the batch order and the \
initial weights. A variant is better where the paired t-test, corrected for the number of pairs (Holm), \
gives p &#60; 0.05 (for one pair that is where the 95 % CI of the difference leaves out 0), and the \
sign-flip test, which assumes no normal distribution, does not contradict it by p &#62; 0.10. “No clear \
difference” does not mean that there is none. A verdict is preliminary with fewer than six seeds, as with n \
the sign-flip p cannot be below 2/2ⁿ, and among several pairs where that p, corrected as well, is above \
0.05. Intervals are about other seeds, not about other data sets; where seeds were added after a look at \
others, they hold at every look. Runs that diverged are in no mean: they count as worse \
than any value, and a sign test over the seeds decides. The correction counts the pairs that so many seeds \
could decide (Tarone); a sign test of too few has no corrected p. The effect size is the mean of the \
differences over their standard deviation; P(better) is the share of seeds on which the first is better, \
ties as half.

</details>
"""


def test_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables first, then what to mind, the claims, and the verdict where one looks: at the end."""
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    ended = call("report", "runs")
    assert (ended.code, ended.err) == (0, "")
    assert stripped(ended.out) == TERMINAL


@pytest.mark.parametrize("width", [60, 80])
def test_narrow_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number and word is there, none is cut, and no line is longer than the terminal is wide."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    found, out = chapters(read_runs([EXAMPLE])[0]), Terminal()
    with contextlib.redirect_stdout(out):
        print_report(found)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert max(map(len, text.splitlines())) <= width
    for table in found[0].tables:
        cells = [cell for _, rows in table.groups for row in rows for cell in row]
        numbers = [i for i, name in enumerate(table.columns) if name in table.numbers]
        assert table.is_detail or all(row[i] in text for _, rows in table.groups for row in rows for i in numbers)
        assert table.is_detail or all(word in text for cell in [*table.columns, *cells] for word in cell.split())


def test_a_table_without_room(capsys: pytest.CaptureFixture[str]) -> None:
    """Headings fold first; columns that still do not fit follow below, beside those that tell the rows apart."""
    columns = ["", "norm", "lr", "best accuracy", "worst accuracy"]
    table = Table.of(columns, [["", "BatchNorm", "0.1", "97.2 ± 0.4", "96.0 ± 0.7"]], {*columns[2:]})
    table = dataclasses.replace(table, num_keys=3).without_empty("")
    shown = {}
    for width in (60, 45, 30):
        print_table(table, width)
        shown[width] = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]
    values = ["97.2", "±", "0.4", "96.0", "±", "0.7"]
    assert shown[60] == [["norm", "lr", "best", "accuracy", "worst", "accuracy"], ["BatchNorm", "0.1", *values]]
    assert shown[45] == [["best", "worst"], ["norm", "lr", "accuracy", "accuracy"], ["BatchNorm", "0.1", *values]]
    assert shown[30] == [
        *([["best"], ["norm", "lr", "accuracy"], ["BatchNorm", "0.1", *values[:3]]]),
        *([["worst"], ["norm", "lr", "accuracy"], ["BatchNorm", "0.1", *values[3:]]]),
    ]


def test_markdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict and claims first, the tables below, the longer ones folded away."""
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    ended = call("report", "runs", "--markdown")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == MARKDOWN


def test_json(tmp_path: Path) -> None:
    """One document: for each experiment verdicts, claims, the whole comparison, and the config to train it again."""
    runs = write(tmp_path)
    ended = call("report", runs, "--json")
    (experiment,) = json.loads(ended.out)["experiments"]
    assert (ended.code, ended.err) == (0, "")
    assert list(experiment) == [
        *("name", "title", "folder", "question", "setup", "verdicts", "chosen", "notes", "warnings"),
        *("claims", "comparison", "environment", "command", "config"),
    ]
    assert experiment["verdicts"] == [
        {
            "measure": measure,
            "statement": "BatchNorm is ahead of no norm by 0.415 (preliminary: 4 seeds)",
            "evidence": "95 % CI 0.382 to 0.448; n = 4, sign-flip p = 0.12, the least that 4 seeds can give",
        }
        for measure in ("validation loss at the best epoch", "test loss (best weights)")
    ]
    (pair,) = experiment["comparison"]["measures"][0]["pairs"]
    assert (pair["a"], pair["b"], pair["verdict"], pair["paired"]["sign_flip_p"]) == (
        "batch",
        "none",
        "better",
        0.125,
    )
    assert experiment["claims"][0]["verdict"] == "supported"
    assert experiment["environment"] == {"python": "3.11.7", "torch": "2.9.0", "device": "cpu"}


# ---------------------------------------------------------------- names that others chose


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


ATTACKS = [
    *("<script>alert(1)</script>", "\"' onmouseover=alert(1) x='"),
    *("</style></title></svg><img src=x onerror=alert(1)>", "javascript:alert(1) --> ]]> <!--"),
    *("{{ 7 * 7 }} {% raw %} ${x}", "שלום עולם \u202eabc\u202c", "$\\frac{1}{2}$ _a_ `b` | c", "x" * 120),
]


def hostile(folder: Path) -> Path:
    """Two experiments that others made: every name, value and statement tries to be more than text."""
    runs = write(folder, (NONE[:2], BATCH[:2]), CONFIG.replace("seeds: 4", "seeds: 2"))
    keys = ["".join(c for c in attack if c.isprintable()) for attack in ATTACKS]
    for path in list(runs.rglob("config.yaml")):
        config = parse_yaml(path.read_text(), "config.yaml").data
        (seed,) = config["seeds"]
        number = config["variant"]["index"]
        template, environment = path.parent, {"versions": {ATTACKS[0]: ATTACKS[1]}, "device": f"{ATTACKS[2]}{seed}"}
        for i, attack in enumerate(ATTACKS[number::2]):
            settings = {"model.norm": attack, keys[i]: [attack]}
            label = printable(attack)  # a run with any other is left out
            config["variant"] = {"label": label, "index": 2 * i + number, "settings": settings}
            claim = {
                "statement": attack + "\x1b[31m",
                "metric": "val/loss",
                "variant": {"label": label},
                "at_most": 1,
            }
            config["claims"] = [claim]
            config["data"] = {"name": ATTACKS[i // 2], "validation": 0.2, **{key: {keys[0]: keys} for key in keys}}
            target = shutil.copytree(template, template.parent / f"{number}-{i}-{seed}")
            (target / "config.yaml").write_text(json.dumps(config))
            (target / "environment.json").write_text(json.dumps(environment))
        shutil.rmtree(template)
    return runs


def test_hostile_names_in_a_terminal_and_markdown(tmp_path: Path) -> None:
    """No control characters reach the terminal; in Markdown a name is neither markup nor HTML nor a mention."""
    runs = hostile(tmp_path)
    text = call("report", runs).out
    assert all(character.isprintable() or character == "\n" for character in text)
    markdown = call("report", runs, "--markdown").out
    tags = set(Page(re.sub(r"`[^`\n]*`", "", markdown)).tags)
    assert tags <= {"details", "summary"}
    assert re.search(r"(?<!\\)[`$]", markdown) is None
    assert escape("@team see https://x.y www.x.y [a](b) <b> a|b #1") == (
        r"&#64;team see https&#58;&#47;&#47;x.y www&#46;x.y \[a\](b) &#60;b&#62; a\|b &#35;1"
    )


REGRESSION = "{name: random_regression, validation: 200"
TRAINING = "{batch_size: full, optimizer: {name: sgd, lr: 0.1}"


@pytest.mark.parametrize(
    ("compare", "first", "gone"),
    [
        ("model.norm: [none, batch]", "MLP on random regression", ""),
        ("training.optimizer: [{name: sgd, lr: 0.1}, {name: adam, lr: 0.1}]", "MLP on random regression", "SGD lr"),
        ("training.optimizer.lr: [0.1, 0.2]", "MLP on random regression", "lr"),
        ("model.hidden: [[4], [8]]", "MLP on random regression", "hidden"),
        ("data.train_size: [100, 200]", "MLP on random regression", "training"),
        ("data.samples: [1000, 2000]", "MLP on random regression", "training"),
        (f"data: [{REGRESSION}}}, {REGRESSION}, noise: 2}}]", "MLP", "training validation"),
        ("model: [{name: mlp, hidden: [4]}, {name: mlp, hidden: [8]}]", "random regression", "hidden activation"),
        (
            f"training: [{TRAINING}, epochs: 1}}, {TRAINING}, epochs: 2}}]",
            *("MLP on random regression", "SGD lr batch epochs"),
        ),
    ],
)
def test_the_setup_is_what_variants_share(compare: str, first: str, gone: str, tmp_path: Path) -> None:
    """What is compared is not in the line on the set-up: neither one variant's value nor a None."""
    config = CONFIG[: CONFIG.index("claims")].replace("model.norm: [none, batch]", compare)
    (chapter,) = chapters(read_runs([write(tmp_path, config=config)])[0])
    parts = [
        *("SGD", "training examples 1000", "hidden [4]", "activation relu", "lr 0.1"),
        *("batch size full", "epochs 2"),
    ]
    parts = [part for part in (*parts, "validation 200") if part.split()[0] not in gone.split()]
    assert chapter.setup.split("; ") == [first, *parts, "4 seeds (0-3)"]


# ---------------------------------------------------------------- warnings


def warnings_of(runs: Path) -> list[str]:
    (chapter,) = chapters(read_runs([runs])[0])
    return chapter.warnings


def test_nothing_to_warn_of(tmp_path: Path) -> None:
    """A complete experiment has no warnings."""
    assert warnings_of(write(tmp_path)) == []


def test_warnings(tmp_path: Path) -> None:
    """Diverged, unfinished and missing runs and mixed versions are said, by name."""
    runs = write(tmp_path, (NONE, [None, *BATCH[1:]]))
    none = sorted(runs.glob("x/none-*"))
    (none[1] / "result.json").unlink()
    shutil.rmtree(none[3])
    environment = {"versions": {"python": "3.11.7", "torch": "2.10.0"}, "device": "cpu", "started": "2026-01-01"}
    (none[1] / "environment.json").write_text(json.dumps({"device": "cpu", "started": "2026-01-02"}))
    (none[0] / "environment.json").write_text(json.dumps(environment))
    assert warnings_of(runs) == [
        "1 of 7 runs (BatchNorm seed 0) diverged: they are in no mean, and count as worse than any value",
        "1 of 7 runs (no norm seed 1) unfinished: they are left out until the same command has finished them",
        "variants have different seeds, of which only shared ones are compared: no norm lacks 3",
        "runs were made with different versions.torch: 2.10.0, 2.9.0; small differences may come from it",
    ]


def test_warning_of_validation_on_the_test_set(tmp_path: Path) -> None:
    """Where the best evaluation is chosen on the test set, the report says so."""
    runs = write(tmp_path, config=CONFIG.replace("validation: 200", "validation: test"))
    assert "validation is on the test set: the best epoch is chosen on it, so its metrics are optimistic" in (
        warnings_of(runs)
    )


def test_one_seed_and_the_same_seed_twice(tmp_path: Path) -> None:
    """One seed gives no verdict; a copy of a run is named, and counts once."""
    runs = write(tmp_path, (NONE[:1], BATCH[:1]), CONFIG.replace("seeds: 4", "seeds: 1"))
    folder = next(runs.glob("x/none-*"))
    shutil.copytree(folder, folder.parent / "copy")
    assert warnings_of(runs) == [
        "several runs of the same variant and seed, of which the first counts: no norm seed 0",
        "one seed alone: no CI and no verdict",
    ]
    assert "BatchNorm and no norm share one seed: no CI, so no verdict" in call("report", runs).out


# ---------------------------------------------------------------- several experiments, options, errors


def test_two_seeds(tmp_path: Path) -> None:
    """With two seeds there is a verdict, and the warning what it rests on."""
    runs = write(tmp_path, (NONE[:2], BATCH[:2]), CONFIG.replace("seeds: 4", "seeds: 2"))
    assert warnings_of(runs) == ["two seeds: a verdict rests on the assumption of normal differences alone"]


def test_a_variant_that_was_edited(tmp_path: Path) -> None:
    """A named variant trained again with another setting, into the same folder, is another in all of a report."""
    config = CONFIG.replace("{model.norm: [none, batch]}", "[{label: bn, model.norm: batch}, {label: plain, LR}]")
    config = config.replace("versus: {model.norm: none}", "versus: {label: plain}")
    for lr, values in ((0.1, NONE), (0.2, [x / 10 for x in NONE])):
        runs = write(tmp_path, (BATCH, values), config.replace("LR", f"training.optimizer.lr: {lr}"))
    (chapter,) = chapters(read_runs([runs])[0])
    assert sorted(chapter.comparison.variants) == ["bn", "plain (lr 0.1)", "plain (lr 0.2)"]
    assert chapter.warnings == []
    pairs = {(pair.a, pair.b): pair.verdict for pair in chapter.comparison.measures[0].pairs}
    verdicts = [pairs.get(("bn", f"plain (lr {lr})")) for lr in (0.1, 0.2)]
    assert verdicts in (["better", "worse"], ["better", None], [None, "worse"])
    assert {"plain (lr 0.1)", "plain (lr 0.2)"} in [set(pair) for pair in pairs]
    (reason,) = chapter.findings[0].reasons
    assert reason.startswith("label: plain selects 2 variants: plain (lr 0.")


def test_chapters_with_keys_of_their_own(tmp_path: Path) -> None:
    """Two optimizers, each with keys that the other has not, are one experiment."""
    config = CONFIG[: CONFIG.index("claims")].replace(
        "model.norm: [none, batch]", "training.optimizer.name: [sgd, adam]"
    )
    (chapter,) = chapters(read_runs([write(tmp_path, config=config)])[0])
    assert (chapter.title, chapter.comparison.variants) == ("x", ["sgd", "adam"])
    assert "lr" not in chapter.setup


def test_several_experiments(tmp_path: Path) -> None:
    """Each experiment has a part of its own, in every form, with its own verdict."""
    runs = write(tmp_path)
    shutil.copytree(EXAMPLE, runs / "example")
    assert call("report", runs, "--markdown").out.count("\n## ") == 1
    assert [e["name"] for e in json.loads(call("report", runs, "--json").out)["experiments"]] == ["example", "x"]


@pytest.mark.parametrize("first", ["val/loss", "test/loss"])
def test_the_headline_is_of_the_first_measure(first: str, tmp_path: Path) -> None:
    """What another measure tells does not become the headline, however clear it is: with many, one is by chance."""
    runs = write(tmp_path, (NONE, NONE[::-1]), CONFIG[: CONFIG.index("claims")])
    for path in runs.glob("x/batch-*/result.json"):
        result = json.loads(path.read_text())
        result["best"]["test/loss"] -= 0.4
        path.write_text(json.dumps(result))
    metrics = dict.fromkeys([first, "val/loss", "test/loss"])
    (chapter,) = chapters(read_runs([runs])[0], Ask(list(metrics)))
    told = {
        "val/loss": "no clear difference between BatchNorm and no norm",
        "test/loss": "BatchNorm is ahead of no norm",
    }
    assert chapter.headline.startswith(told[first])


def test_what_chose_comes_second(tmp_path: Path) -> None:
    """Where validation chose the learning rates, the first verdict, tables and headline are the test set's."""
    config = CONFIG[: CONFIG.index("claims")].replace("batch]}", "batch], training.optimizer.lr: [0.1, 0.2]}")
    runs = write(tmp_path, (NONE, [1.0] * 4, BATCH, [1.0] * 4), config)
    for path in runs.glob("x/batch*/result.json"):
        result = json.loads(path.read_text())
        result["best"]["test/loss"] += 0.9
        path.write_text(json.dumps(result))
    (chapter,) = chapters(read_runs([runs])[0])
    titles = ["test loss (best weights)", "validation loss at the best epoch (the hyperparameters were chosen on it)"]
    assert [title for title, _ in chapter.verdicts] == titles
    assert [title for title, _ in chapter.tables[0].groups] == titles
    speed = {
        title: title.endswith(" (the hyperparameters were chosen on it)") for title, _ in chapter.tables[4].groups
    }
    assert speed == dict.fromkeys(speed, True)
    assert any("mean validation loss over epochs" in title for title in speed)
    assert chapter.headline.startswith("no norm is ahead of BatchNorm by ")
    assert chapter.verdicts[0][1][0][0].startswith("no norm is ahead of BatchNorm by ")
    assert chapter.verdicts[0][1][1][0] == "chosen by validation: lr 0.1 (no norm, BatchNorm)"
    assert chapter.verdicts[1][1][0][0].startswith("BatchNorm is ahead of no norm by ")


GRID = "{model.norm: [none, batch], training.optimizer.lr: [0.1, 0.2, 0.3], training.batch_size: [8, full]}"


def test_within_a_condition(tmp_path: Path) -> None:
    """A table of norms by the condition, a verdict for each, and beside it what was chosen at an edge of the grid."""
    config = CONFIG[: CONFIG.index("claims")].replace("{model.norm: [none, batch]}", GRID)
    worse = [1.0] * 4
    none, batch = (NONE, NONE, worse, worse, worse, worse), (worse, worse, BATCH, worse, worse, BATCH)
    runs = write(tmp_path, (*none, *batch), config)
    (chapter,) = chapters(read_runs([runs])[0], Ask(within="training.batch_size"))
    assert (
        chapter.question == "Which is better: no norm or BatchNorm, each at the lr that the validation set chooses?"
    )
    table = chapter.tables[0]
    assert (table.title, table.columns) == ("Norms by batch size", ["norm", "batch size 8", "full"])
    assert table.groups == [
        (
            "test loss (best weights)",
            [
                ["no norm", *["0.725 (0.704 to 0.746), lr 0.1"] * 2],
                ["BatchNorm", *[f"0.310 (0.297 to 0.323), lr {lr}" for lr in (0.2, 0.3)]],
            ],
        )
    ]
    first, second = chapter.verdicts[:2]
    assert first == (
        "test loss (best weights), batch size 8",
        [
            *((p.statement, p.evidence) for p in chapter.comparison.measures[0].pairs[:1]),
            ("no norm: chosen at the edge of the grid (lr 0.1): extend it downwards", ""),
        ],
    )
    assert (second[0], [statement for statement, _ in second[1][1:]]) == (
        "test loss (best weights), full",
        [
            "no norm: chosen at the edge of the grid (lr 0.1): extend it downwards",
            "BatchNorm: chosen at the edge of the grid (lr 0.3): extend it upwards",
        ],
    )
    assert [len(lines) for _, lines in chapter.verdicts[2:]] == [1, 1]
    text = call("report", runs, "--within", "training.batch_size").out
    assert "  no norm: chosen at the edge of the grid (lr 0.1): extend it downwards\n" in text
    assert call("report", runs, "--within", "lr").err.startswith(
        f"error: {runs}/x: lr: no hyperparameter of a grid of norms; valid: training.optimizer.lr, "
    )


def earlier_and_later(folder: Path, dates: Sequence[str] = ("2026-01-01", "2026-01-02")) -> Path:
    """Runs of 2 epochs and of 3 in one folder, trained at these dates."""
    for epochs, date in zip((2, 3), dates, strict=True):
        config = CONFIG.replace("epochs: 2", f"epochs: {epochs}")
        runs = write(folder, config=config, environment={"device": "cpu", "started": f"{date}T00:00:00+00:00"})
    return runs


@pytest.mark.parametrize(
    ("dates", "newest", "earlier"),
    [(("2026-01-01", "2026-01-02"), 3, 2), (("2026-01-02", "2026-01-01"), 2, 3), (("?", "2026-01-01"), 2, 3)],
)
def test_other_settings_in_one_folder(dates: Sequence[str], newest: int, earlier: int, tmp_path: Path) -> None:
    """The runs trained last are reported in full, the others in a line; where no date is written, files have one."""
    runs = earlier_and_later(tmp_path, dates)
    (chapter,) = chapters(read_runs([runs])[0])
    assert chapter.title == f"x (training.epochs={newest})"
    assert chapter.warnings == [
        f"also in {runs}/x, trained earlier: x (training.epochs={earlier}), 8 runs: 1 of 1 claims supported "
        "(preliminary: 4 seeds); BatchNorm is ahead of no norm by 0.415 (preliminary: 4 seeds) (--all)"
    ]
    found = chapters(read_runs([runs])[0], everything=True)
    assert [chapter.title for chapter in found] == [f"x (training.epochs={epochs})" for epochs in (newest, earlier)]
    assert found[0].warnings == [
        f"{runs}/x holds runs with other settings as well; this is about x (training.epochs={newest})"
    ]
    document = json.loads(call("report", runs, "--json", "--all").out)
    assert len(document["experiments"]) == 2
    # What is asked of the newest need not be there in the others.
    assert call("report", runs, "--versus", "batch", "--at", "last").code == 0


def test_two_folders_with_one_experiment(tmp_path: Path) -> None:
    """Their headings say which is which."""
    (tmp_path / "a").mkdir()
    runs = write(tmp_path / "a")
    shutil.copytree(runs, tmp_path / "b")
    titles = [chapter.title for chapter in chapters(read_runs([runs, tmp_path / "b"])[0])]
    assert titles == [f"x in {runs}/x", f"x in {tmp_path}/b/x"]


def test_against_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variant stands against itself in the other folder, seed by seed; claims are about the first alone."""
    for name, batch in (("here", BATCH), ("there", [x - 0.1 + 0.001 * i for i, x in enumerate(BATCH)])):
        (tmp_path / name).mkdir()
        write(tmp_path / name, (NONE, batch), environment={"device": {"here": "cpu", "there": "cuda"}[name]})
    monkeypatch.chdir(tmp_path)
    beside = ("there/runs", read_runs([Path("there/runs")])[0])
    (chapter,) = chapters(read_runs([Path("here/runs")])[0], beside=beside)
    assert (chapter.title, chapter.question) == (
        "x against there/runs",
        "Do the runs in here/runs/x and in there/runs differ?",
    )
    pairs = [(pair.a, pair.b, pair.n, pair.verdict) for pair in chapter.comparison.measures[0].pairs]
    assert pairs == [
        ("no norm (there/runs)", "no norm", 4, "undecided"),
        ("BatchNorm (there/runs)", "BatchNorm", 4, "better"),
    ]
    assert [finding.verdict for finding in chapter.findings] == ["supported"]
    assert chapter.warnings == ["runs were made with different device: cpu, cuda; small differences may come from it"]
    assert [name for name in chapter.config.splitlines() if "label:" in name] == ["- label: none", "- label: batch"]
    ended = call("report", "here/runs", "--against", "there/runs", "--html", "page.html")
    assert (ended.code, ended.out, ended.err) == (0, "page.html\n", "")


def test_against_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several in the other folder that with the fewest differences, which are said; a grid is compared whole."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    compared = CONFIG[: CONFIG.index("claims")].replace("batch]", "batch], training.optimizer.lr: [1, 2]")
    values = (NONE, BATCH, NONE, BATCH)
    write(tmp_path / "here", values, compared)
    for config in (
        compared.replace("epochs: 2", "epochs: 3"),
        compared.replace("[4]", "[9]").replace("epochs: 2", "epochs: 3"),
    ):
        write(tmp_path / "there", values, config)
    monkeypatch.chdir(tmp_path)
    beside = ("there/runs", read_runs([Path("there/runs")])[0])
    (chapter,) = chapters(read_runs([Path("here/runs")])[0], beside=beside)
    assert chapter.warnings == ["training.epochs=3 in there/runs, not 2"]
    assert len(chapter.comparison.measures[0].pairs) == 4
    assert chapter.comparison.sensitivity is None


def test_what_stands_against_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without the experiment is an error that says what there is, as is a second way to choose pairs."""
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call("report", "runs", "--against", EXAMPLE).err == (
        f"error: {EXAMPLE}: has no runs of the experiment x; there are: example\n"
    )
    for option in ("--versus", "--within"):
        assert call("report", "runs", "--against", "runs", option, "none").err == (
            "error: --against: compares each variant with itself; leave out --versus and --within\n"
        )


def test_options(tmp_path: Path) -> None:
    """The metric, the evaluation, the baseline and the threshold may be chosen."""
    runs = write(tmp_path)
    document = json.loads(
        call(
            "report", runs, "--json", "--metric", "test/loss", "--at", "last", "--versus", "batch", "--threshold", "1"
        ).out
    )
    comparison = document["experiments"][0]["comparison"]
    assert [measure["name"] for measure in comparison["measures"]] == ["test/loss at last"]
    assert [(pair["a"], pair["b"]) for pair in comparison["measures"][0]["pairs"]] == [("none", "batch")]
    assert (comparison["convergence"]["threshold"], comparison["convergence"]["leader"]) == (1.0, None)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ["--metric", "loss"],
            "error: runs/x: loss: no run has this metric; valid: train/loss, val/loss, test/loss\n",
        ),
        (["--versus", "bach"], "error: runs/x: bach: no such variant; valid: no norm, BatchNorm\n"),
        (["--markdown", "--json"], "error: --markdown and --json: one or the other\n"),
    ],
)
def test_errors(options: list[str], error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric or variant that is not there is an error with those that are."""
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call("report", "runs", *options) == Ended(2, "", error)


def test_html_to_nowhere(tmp_path: Path) -> None:
    """A page that cannot be written is exit code 1, and says why."""
    ended = call("report", write(tmp_path), "--html", tmp_path / "none" / "page.html")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {tmp_path / 'none' / 'page.html'}: cannot be written: ")


# ---------------------------------------------------------------- how to reproduce


@pytest.mark.parametrize(
    "compare",
    [
        "{model.norm: [none, batch, {kind: group, groups: 2}]}",
        "{model.norm: [none, batch], training.optimizer.lr: [0.1, 1.0]}",
        "{training.optimizer.name: [sgd, adam], model.norm: [none, batch]}",
        "[{label: plain, training.batch_size: 32}, {label: BN, model.norm: batch, model.norm.eps: 0.01}]",
    ],
)
def test_the_config_trains_the_same_runs(compare: str, tmp_path: Path) -> None:
    """The config put together from the runs expands to the very same run folders."""
    config = CONFIG[: CONFIG.index("claims")].replace("{model.norm: [none, batch]}", compare)
    (tmp_path / "before.yaml").write_text(config)
    before = load_experiment(tmp_path / "before.yaml").runs
    for run in before:
        folder = RunStore(tmp_path).run(run)
        folder.begin({})
        folder.fail({"status": "failed"})
    loaded = [read_run(RunStore(tmp_path).run(run).path) for run in before]
    (tmp_path / "after.yaml").write_text(dump_yaml(experiment_config(loaded)))
    after = load_experiment(tmp_path / "after.yaml").runs
    assert [RunStore(tmp_path).run(run).path for run in after] == [RunStore(tmp_path).run(run).path for run in before]


def test_markdown_of_the_example() -> None:
    """The example's report in Markdown: tables of as many cells as columns."""
    text = to_markdown(chapters(read_runs([EXAMPLE])[0]))
    for block in re.findall(r"(?:^\|.*\|$\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
