"""Before or after looking: claims that a run held when it began, and those that were stated later."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import kit
import pytest
from kit import variants

from bncompare.comparison.claims import claims_of, judge
from bncompare.comparison.plain import to_plain
from bncompare.config.claims import Claim
from bncompare.config.expand import load_experiment
from bncompare.errors import UserError
from bncompare.report.run_tables import claims_table
from bncompare.runs.read import LoadedRun, read_run

HELD: dict[str, Any] = {
    "statement": "BatchNorm is lower",
    "metric": "val/loss",
    "variant": {"model.norm": "batch"},
    "versus": {"model.norm": "none"},
    "difference_at_most": -0.2,
}
VALUES = {"none": [0.7, 0.71, 0.72, 0.7], "batch": [0.3, 0.31, 0.3, 0.32], "layer": [0.4, 0.4, 0.41, 0.4]}


def runs(held: dict[str, Any], *lacking: tuple[str, int]) -> list[LoadedRun]:
    """Four seeds of three norms, which hold a claim but for some, by norm and seed."""
    return [
        run
        if (run.variant, run.seed) in lacking
        else dataclasses.replace(run, config=run.config | {"claims": [Claim.model_validate(held).model_dump()]})
        for run in variants(**VALUES)
    ]


@pytest.mark.parametrize(
    ("changed", "lacking", "exploratory"),
    [
        ({}, [], ""),
        ({"statement": "in other words", "published": ".3 against .7"}, [], ""),
        ({}, [("layer", 0), ("layer", 1)], ""),  # they do not speak
        ({}, [("batch", 1), ("none", 3)], "stated after the runs of seeds 1, 3 began"),
        ({}, [("batch", 2)], "stated after the runs of seed 2 began"),
        ({"difference_at_most": -0.3}, [], "stated after the runs of seeds 0-3 began"),
        ({"difference_within": 0.5}, [], "stated after the runs of seeds 0-3 began"),
        ({"metric": "val/accuracy"}, [], "stated after the runs of seeds 0-3 began"),
        ({"at": "last"}, [], "stated after the runs of seeds 0-3 began"),
        ({"versus": {"model.norm": "layer"}}, [], "stated after the runs of seeds 0-3 began"),
        ({"variant": {"model.norm": "layer"}}, [], "stated after the runs of seeds 0-3 began"),
        ({"seeds": "1-3"}, [], "stated after the runs of seeds 1-3 began"),
    ],
)
def test_a_claim_stated_after_a_run_began_is_exploratory(
    changed: dict[str, Any], lacking: list[tuple[str, int]], exploratory: str
) -> None:
    """It is judged as any other, and marked, unless every run that it is judged by held what it says."""
    stated = Claim.model_validate(HELD | changed)
    finding, held = judge(stated, runs(HELD, *lacking)), judge(stated, runs(HELD | changed))
    assert (finding.exploratory, held.exploratory) == (exploratory, "")
    assert (finding.verdict, finding.reasons, finding.summary) == (held.verdict, held.reasons, held.summary)
    preliminary = held.outcome.removeprefix(held.verdict).strip(" ()")
    marks = ", ".join(filter(None, ["exploratory" if exploratory else "", preliminary]))
    assert finding.outcome == f"{held.verdict} ({marks})"
    assert finding.evidence[:1] == ([f"exploratory: {exploratory}"] if exploratory else held.evidence[:1])
    assert to_plain(finding)["exploratory"] == (exploratory or None)
    table = claims_table({"x": [finding, finding]})
    assert table.groups[0][1][0][-1] == finding.outcome
    assert table.notes == ["2 claims judged together, uncorrected for their number"]


def test_the_seeds_of_a_claim_alone_speak() -> None:
    """The others, which were seen before it was stated, are left out, whether they hold it or not."""
    claimed = Claim.model_validate(HELD | {"seeds": "2-3"})
    there = runs(HELD | {"seeds": [2, 3]}, ("none", 0), ("batch", 0), ("batch", 1))
    finding = judge(claimed, there)
    assert (finding.exploratory, finding.summary and finding.summary.n) == ("", 2)
    assert finding.evidence[0] == "judged by the seeds 2-3 alone"
    of_two = judge(Claim.model_validate(HELD), [run for run in there if run.seed > 1])
    assert (finding.summary, finding.reasons) == (of_two.summary, of_two.reasons)
    assert to_plain(finding)["seeds"] == [2, 3]
    assert claims_table({"x": [finding]}).groups[0][1][0][3].endswith("n = 2, seeds 2-3")


def test_each_claim_is_judged_once() -> None:
    """Those of the config as it is now, in its words and its order; then what the runs hold and it does not."""
    there = runs(HELD)
    again, new = HELD | {"statement": "in other words"}, HELD | {"difference_at_most": -0.5}
    for stated, statements in [
        ([], ["BatchNorm is lower"]),
        ([again], ["in other words"]),
        ([new], ["BatchNorm is lower", "BatchNorm is lower"]),
        ([new, again], ["BatchNorm is lower", "in other words"]),
    ]:
        found = claims_of(there, [Claim.model_validate(claim) for claim in stated])
        assert [claim.statement for claim in found] == statements


CONFIG = """\
name: tiny
seeds: 6
data: {name: random_regression, samples: 32, features: 3, validation: 8}
model: {name: mlp, hidden: [4]}
training: {epochs: 1, batch_size: 8, device: cpu, optimizer: {name: adam, lr: 0.01}}
compare: {model.norm: [none, batch]}
claims:
- {statement: It learns, metric: val/loss, variant: {model.norm: batch}, at_most: 100}
"""
ADDED = "seed 6 was added after 0-5 had been reported"
LATER = "- {statement: It learns well, metric: val/loss, variant: {model.norm: batch}, at_most: 90}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return tmp_path


def test_a_claim_of_an_edited_config(folder: Path) -> None:
    """It is judged on the runs that are there, which keep what they hold; more seeds hold it, and it stays marked.

    So it is in every form of the report, on the page, and in what `check` says.
    """
    train = ("train", "tiny.yaml", "--jobs", "1")
    assert "claim supported: It learns\n" in kit.call(*train, "--no-report").out
    configs = {path: path.read_bytes() for path in folder.glob("runs/tiny/*/config.yaml")}
    (folder / "tiny.yaml").write_text(CONFIG + LATER)
    out = kit.call(*train).out
    assert "claim supported: It learns\nclaim supported (exploratory): It learns well\n" in out
    assert '"badge supported">supported (exploratory)</span>' in Path("runs/tiny/report.html").read_text()
    assert "It learns well" not in kit.call("check", "runs").out

    out = kit.call(*train, "--no-report", "--seeds", "7").out
    assert "claim supported: It learns\nclaim supported (exploratory): It learns well\n" in out
    assert configs == {path: path.read_bytes() for path in configs}
    assert f"\nnote: {ADDED}\n" in out
    why = "stated after the runs of seeds 0-5 began"
    out = kit.call("check", "runs").out
    assert f"  SUPPORTED (exploratory): It learns well\n    exploratory: {why}\n" in out
    assert out.startswith(f"runs/tiny:\nnote: {ADDED}\n")
    assert "\n  2 claims judged together, uncorrected for their number\n" in out
    assert f"  SUPPORTED (exploratory): It learns well\n    exploratory: {why}\n" in kit.call("report", "runs").out
    markdown = kit.call("report", "runs", "--markdown").out
    assert f"- **supported (exploratory)**: It learns well\n  - exploratory: {why}\n" in markdown
    assert "2 claims judged together, uncorrected for their number\n" in markdown
    (found,) = json.loads(kit.call("report", "runs", "--json").out)["experiments"]
    assert [claim["exploratory"] for claim in found["claims"]] == [None, why]
    assert found["notes"] == [ADDED]


def test_papers_mark_what_was_stated_later(folder: Path) -> None:
    """And keep the claim that was there before, should the config have it no more."""
    presets = folder / "presets"
    (presets / "papers").mkdir(parents=True)
    (presets / "papers/tiny.yaml").write_text(CONFIG)
    kit.call("papers", "--jobs", "1", presets=presets)
    (presets / "papers/tiny.yaml").write_text(CONFIG.split("- {")[0] + LATER)
    claims = json.loads(kit.call("papers", "--json", presets=presets).out)["claims"]
    assert [(claim["statement"], claim["exploratory"]) for claim in claims] == [
        ("It learns well", "stated after the runs of seeds 0-5 began"),
        ("It learns", None),
    ]


def test_what_was_chosen_on_the_command_line(folder: Path) -> None:
    """A metric, an evaluation, a baseline and a threshold are named as chosen there, in every form of the report."""
    kit.call("train", "tiny.yaml", "--jobs", "1", "--no-report")
    plain = json.loads(kit.call("report", "runs", "--json").out)["experiments"][0]
    assert (plain["chosen"], plain["notes"]) == ({}, [])
    assert "command line" not in kit.call("report", "runs").out
    asked = ["--metric", "train/loss", "--at", "last", "--versus", "batch", "--threshold", "0.5"]
    said = "chosen for this comparison: metric training loss; last evaluation; baseline BatchNorm; threshold of "
    said += "training loss 0.5"
    report = ("report", "runs", *asked)
    assert f"\nnote: {said}\n" in kit.call(*report).out
    assert f"> [!NOTE]\n> - {said}\n" in kit.call(*report, "--markdown").out
    chosen = json.loads(kit.call(*report, "--json").out)["experiments"][0]
    assert chosen["notes"] == [said]
    assert chosen["chosen"] == {"metrics": ["train/loss"], "at": "last", "versus": "batch", "threshold": 0.5}
    kit.call(*report, "--html", "page.html")
    assert said in Path("page.html").read_text()


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("7-9", "none of them is trained; the seeds are 0-5"),
        ("2-0", "must be seeds such as 6-11, 0,3,7 or [0, 3, 7], not '2-0'"),
        ("3", "must be seeds such as 6-11, 0,3,7 or [0, 3, 7], not 3"),
    ],
)
def test_seeds_that_no_claim_may_have(seeds: str, message: str, folder: Path) -> None:
    """Seeds of which none is trained could not judge it."""
    (folder / "tiny.yaml").write_text(CONFIG.replace("at_most: 100", f"at_most: 100, seeds: {seeds}"))
    with pytest.raises(UserError) as error:
        load_experiment(folder / "tiny.yaml")
    assert error.value.problems == (f"{folder / 'tiny.yaml'}:8: claims[0].seeds: {message}",)


def test_seeds_of_the_command_line_leave_a_claim(folder: Path) -> None:
    """It stays with the runs, for the seeds that it is about, and is inconclusive where none of them is there."""
    (folder / "tiny.yaml").write_text(CONFIG.replace("at_most: 100", "at_most: 100, seeds: 2-4"))
    kit.call("train", "tiny.yaml", "--jobs", "1", "--no-report", "--seeds", "2")
    finding = "  INCONCLUSIVE: It learns\n    judged by the seeds 2-4 alone\n    model.norm: batch selects no run\n"
    assert finding in kit.call("check", "runs").out
    held = [read_run(path).claims[0].seeds for path in folder.glob("runs/tiny/*") if path.is_dir()]
    assert held == [[2, 3, 4]] * 4
