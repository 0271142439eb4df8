"""The commands about norms and models, by their whole output."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from kit import CONFIGS, Ended, call, strict

from bncompare.norms.base import NORMS


def test_norms_lists_every_kind() -> None:
    """`norms` has a row for each kind with its formula; `--json` says the same."""
    ended = call("norms")
    code, out, err = ended.code, ended.out, ended.err
    assert (code, err) == (0, "")
    assert [kind for kind in NORMS if re.search(rf"^  {kind} ", out, re.MULTILINE)] == list(NORMS)
    document = json.loads(call("norms", "--json").out)
    assert {kind: entry["formula"] for kind, entry in document.items()} == {k: n.formula for k, n in NORMS.items()}


def test_one_norm() -> None:
    """`norms KIND` says what it is, its formula, its axes, and each option with default and meaning."""
    ended = call("norms", "ghost_batch")
    code, out, err = ended.code, ended.out, ended.err
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[:5] == [
        "ghost_batch: Batch normalization over virtual batches, smaller than the optimizer's (Hoffer et al. 2017).",
        "",
        "    batch normalization of each virtual batch",
        "",
        "statistics over: a virtual batch and the positions of one channel",
    ]
    (option,) = [line for line in lines if "virtual_batch_size" in line]
    assert re.split(r"\s{2,}", option.strip())[:2] == ["virtual_batch_size", "16"]
    named = [line.split()[0] for line in lines[8:-1] if re.match(r"  \S", line)]
    assert named == [name for name in NORMS["ghost_batch"].model_fields if name != "kind"]


@pytest.mark.parametrize("command", ["norms", "explain"])
def test_unknown_kind(command: str) -> None:
    """A kind that does not exist is answered with those that do."""
    ended = call(command, "bacth")
    code, out, err = ended.code, ended.out, ended.err
    assert (code, out) == (2, "")
    assert err == f"error: bacth: no such norm; valid: {', '.join(NORMS)}; did you mean 'batch'?\n"


def test_explain() -> None:
    """`explain` shows the axes, both steps beside the update rule, evaluation, and the difference to torch.nn."""
    ended = call("explain", "batch", "--shape", "2,2", "--steps", "2", "--momentum", "0.5", "--seed", "3")
    code, out, err = ended.code, ended.out, ended.err
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "batch: y = γ·(x − mean)/√(var + eps) + β"
    assert lines[2] == "here: axes 0 of a tensor of shape (2, 2), 2 values at a time"
    assert [line for line in lines if line and not line.startswith(" ")][4:] == [
        "training step 1",
        "training step 2",
        "evaluation, of the last input",
        lines[-1],
    ]
    for name in ("mean", "var"):
        for i, line in enumerate(lines):
            if line.startswith(f"  running {name} = "):
                assert lines[i + 1].replace("  by the update rule", f"running {name}").strip() == line.strip()
    assert float(lines[-1].removeprefix("largest difference between our formula and torch.nn: ")) < 1e-12
    report = json.loads(call("explain", "batch", "--shape", "2,2", "--momentum", "0.5", "--seed", "3", "--json").out)
    x = report["steps"][0]["input"]
    assert report["steps"][0]["statistics"]["mean"] == pytest.approx([(x[0][c] + x[1][c]) / 2 for c in (0, 1)])


@pytest.mark.parametrize("kind", NORMS)
def test_explain_without_options(kind: str) -> None:
    """Every kind is explained by its name alone, on a tensor that shows what it does."""
    ended = call("explain", kind)
    code, out, err = ended.code, ended.out, ended.err
    assert (code, err) == (0, "")
    assert out.startswith(f"{kind}: ")
    assert not re.search(r"(?<!e)-\d", out)  # a minus is one
    for step in json.loads(call("explain", kind, "--json").out).get("steps", []):
        assert step["normalized"] != step["input"]


def test_explain_by_hand() -> None:
    """Each rule stands there with the numbers of the first value; the unbiased variance says why."""
    lines = [line.strip() for line in call("explain", "batch", "--steps", "1").out.splitlines()]
    start = lines.index("first value, by hand:") + 1
    assert lines[start : start + 6] == [
        "mean = (1.962 + 0.7879 + 0.1887 + 0.2559)/4 = 0.7986",
        "var = ((1.962 − 0.7986)² + (0.7879 − 0.7986)² + (0.1887 − 0.7986)² + (0.2559 − 0.7986)²)/4 = 0.5049; "
        "biased: over n",
        "x̂ = (1.962 − 0.7986)/√(0.5049 + 1e−05) = 1.637",
        "y = γ·x̂ + β = 0.5·1.637 + (−1) = −0.1815",
        "running mean = 0.9·0 + 0.1·0.7986 = 0.07986",
        "running var = 0.9·1 + 0.1·(4/3)·0.5049 = 0.9673; unbiased: n/(n − 1)",
    ]


STANDARD = ["batch", "batch_from_scratch", "layer", "channel_layer", "instance", "group"]


@pytest.mark.parametrize("shape", ["3,4", "2,4,3", "3,4,2,2"])
@pytest.mark.parametrize("kind", STANDARD)
def test_explain_by_hand_is_what_the_module_does(kind: str, shape: str) -> None:
    """The numbers by hand are those of the tables, and the gradients torch's; --backward changes no other number."""
    if (kind, shape) == ("instance", "3,4"):
        return  # of one value
    arguments = ("explain", kind, "--shape", shape, "--json")
    report = strict(call(*arguments, "--backward").out)
    for step in report["steps"]:
        by_hand = {line["name"]: line["value"] for line in step["by_hand"]}
        found = {"x̂": step["normalized"], "y": step["output"], **step["statistics"]}
        found |= {f"running {name}": values for name, values in step.get("running", {}).items()}
        assert by_hand == pytest.approx({name: np.ravel(values)[0] for name, values in found.items()})
    gradients = report.pop("backward")
    assert gradients["largest_difference_to_torch"] < 1e-12
    assert gradients["by_hand"][0]["value"] == pytest.approx(np.ravel(gradients["by_x"])[0])
    assert report == strict(call(*arguments).out)


def test_quiz() -> None:
    """Three questions without their numbers, then the answers, which are those of `explain`."""
    ended = call("explain", "batch", "--quiz")
    questions, _, answers = ended.out.partition("Answers\n")
    assert re.findall(r"^  \d\. (.*)$", questions, re.MULTILINE) == ["mean = ?", "x̂ = ?", "running var = ?"]
    told = re.findall(r"^  \d\. (.*)$", answers, re.MULTILINE)
    assert len(told) == 3
    explained = call("explain", "batch").out
    for answer in told:
        assert f"    {answer}\n" in explained
        assert answer.partition(" = ")[2] not in questions


def test_explain_ghost_batches_of_unequal_size() -> None:
    """Five examples are virtual batches of three and two, with so many values and statistics of their own."""
    ended = call("explain", "ghost_batch", "--shape", "5,1,2", "--steps", "1")
    code, out = ended.code, ended.out
    assert code == 0
    assert "here: axes 0, 2 of a tensor of shape (5, 1, 2), 6 or 4 values at a time" in out.splitlines()
    report = json.loads(call("explain", "ghost_batch", "--shape", "5,1,2", "--steps", "1", "--json").out)
    assert report["values_averaged"] == [6, 4]
    (step,) = report["steps"]
    parts = (step["input"][:3], step["input"][3:])
    means = [sum(x for example in part for x in example[0]) / (2 * len(part)) for part in parts]
    assert [mean for (mean,) in step["statistics"]["mean"]] == pytest.approx(means)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("batch", "--shape", "3,x"), "error: --shape 3,x: must be whole numbers, such as 3,4,2,2,3\n"),
        (("layer", "--momentum", "0.1"), "error: --momentum: layer norm has no running statistics\n"),
        (("none", "--quiz"), "error: --quiz: there is no rule to ask about: y = x\n"),
        (
            ("rms", "--backward"),
            "error: --backward: is written out for batch, batch_from_scratch, layer, channel_layer, instance, group, "
            "not for rms\n",
        ),
        (("weight", "--quiz"), "error: --quiz: there is no rule to ask about: W = g·V/‖V‖\n"),
    ],
)
def test_explain_errors(arguments: tuple[str, ...], message: str) -> None:
    """What `explain` can't show is answered in one line."""
    assert call("explain", *arguments) == Ended(2, "", message)


def test_graph(tmp_path: Path) -> None:
    """`graph` prints a table per variant with totals, and draws one; `--json` has the same numbers."""
    config = str(CONFIGS / "mnist-mlp.yaml")
    ended = call("graph", config, "-o", str(tmp_path / "model.dot"), "--variant", "batch")
    code, out, err = ended.code, ended.out, ended.err
    assert (code, err) == (0, f"{tmp_path / 'model.dot'}\n")
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if line.strip()]
    assert rows[0] == ["mnist-mlp: BatchNorm"]
    assert rows[3:] == [
        ["hidden.0.flatten", "Flatten", "784", "0", "0"],
        ["hidden.0.linear", "Linear", "128", "100,352", "100,352"],
        ["hidden.0.norm", "BatchNorm1d", "128", "256", "0"],
        ["hidden.0.activation", "ReLU", "128", "0", "0"],
        ["output.linear", "Linear", "10", "1,290", "1,280"],
        ["total", "101,898", "101,632"],
    ]
    document = json.loads(call("graph", config, "--json").out)
    assert list(document) == ["none", "batch"]
    assert sum(row["parameters"] for row in document["batch"]) == 101_898


def test_graph_of_what_is_trained(tmp_path: Path) -> None:
    """Where less than all is trained, `graph` has a column for it, and the drawing says so."""
    settings = ["--set", "model.hidden=[8]", "--set", "training.trainable=random"]
    settings += ["--set", "compare.model.norm=[batch]", "-o", str(tmp_path / "model.dot")]
    ended = call("graph", str(CONFIGS / "mnist-mlp.yaml"), *settings)
    code, out = ended.code, ended.out
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if line.strip()]
    assert (code, rows[1]) == (0, ["layer", "kind", "output", "parameters", "trained", "multiply-adds"])
    assert rows[4:6] == [
        ["hidden.0.linear", "Linear", "8", "6,272", "16", "6,272"],
        ["hidden.0.norm", "BatchNorm1d", "8", "16", "0", "0"],
    ]
    assert rows[-1] == ["total", "6,378", "16", "6,352"]
    assert "6,272 parameters\n16 trained" in (tmp_path / "model.dot").read_text()


def test_graph_errors() -> None:
    """An unknown variant, or a drawing of several, is answered with the variants there are."""
    config = str(CONFIGS / "mnist-mlp.yaml")
    assert call("graph", config, "--variant", "x") == Ended(2, "", "error: --variant x: valid: none, batch\n")
    ended = call("graph", config, "-o", "x.svg")
    code, err = ended.code, ended.err
    assert (code, err) == (2, "error: -o x.svg: draws one variant; choose with --variant: none, batch\n")
