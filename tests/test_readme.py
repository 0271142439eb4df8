"""What the pages say is so: commands are understood as they stand there, examples run, tables are of the configs."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer

from bncompare.cli import app
from bncompare.config import MODELS, load_experiment, parse_alike_yaml
from bncompare.errors import UserError
from bncompare.execution import plan_runs, run_experiment
from bncompare.extras.laws import equals_reference
from bncompare.norms import NORMS
from bncompare.report import norm_reference
from bncompare.report.markdown import escape
from bncompare.runs import RunStore, read_run
from bncompare.training import build_model

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, page: Path) -> list[str]:
    """What stands between fences of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_tool_of_the_pages_finds_what_is_wrong() -> None:
    """`docs/generate.py` puts back what somebody wrote into a generated part, and names links that lead nowhere."""
    tool = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    page = ROOT / "docs" / "statistics.md"
    text = page.read_text(encoding="utf-8")
    assert tool["generate"](text.replace("seed by seed", "at a glance")).count("at a glance") == 1
    links = "[a](none.md) [b](#claims) [c](#none) [d](../README.md#commands) [e](../README.md#none)"
    links += " `norms/base.py` `norms/no.py`"
    texts = {page: text, README: README.read_text(encoding="utf-8")}
    broken = list(tool["broken_links"](page, links, texts))
    words = [line.removeprefix("docs/statistics.md: ") for line in broken]
    assert words[:-1] == [f"the link to {link} leads nowhere" for link in ("none.md", "#none", "../README.md#none")]
    assert words[-1] == "there is no norms/no.py"


def test_links_lead_somewhere_on_the_site_too() -> None:
    """Where a page links to a file of the repository, such as an example, the site has it: a strict build passes."""
    hooks = runpy.run_path(str(ROOT / "docs" / "site" / "hooks.py"))
    pages = {f"docs/{page.name}": page.name for page in (ROOT / "docs").glob("*.md")} | hooks["PAGES"]
    there = {*pages.values(), *(file.name for file in hooks["FILES"]), "ci/workflow.yml", "ci/Dockerfile"}
    for name in pages:
        text = (ROOT / name).read_text(encoding="utf-8")
        links = hooks["LINK"].findall(hooks["with_links_of_the_site"](text, str(Path(name).parent)))
        assert set(links) <= there, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_whole(page: Path) -> None:
    """Each row has the cells of its header: nothing in a cell breaks it, neither a bar nor the end of a line."""
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE):
        header, *rows = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert rows.count(header) == len(rows) >= 2


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("commands", r"`--at best\|last`"),
        ("commands", "`bncompare norms [KIND]`"),
        ("commands", "`bncompare train CONFIG...`"),
        ("configs", "| `diagnostics` | [mapping](#diagnostics) | its defaults |"),
        ("configs", "| `layers` | all but `none` |"),
        ("configs", "| `optimizer` | `sgd`, `adam`, `adamw` | required |"),
        ("configs", "| `threads` | whole number ≥ 1 and ≤ 256 | `1` |"),
    ],
)
def test_the_references_say_what_may_be_left_out(page: str, words: str) -> None:
    """Choices that may be left out have their values, arguments that may their brackets, sections no long default."""
    assert words in (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")


WORKFLOW = ROOT / "docs" / "ci" / "workflow.yml"
TYPED = [block for page in PAGES for block in blocks("sh", page)] + [WORKFLOW.read_text(encoding="utf-8")]
COMMANDS = [line for text in TYPED for line in re.findall(r"(?:^ *|bin/)(bncompare .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_in_the_pages_are_understood(line: str) -> None:
    """Each command that a page types is there, and takes what it is given."""
    _, name, *arguments = shlex.split(re.split(" >>? ", line)[0], comments=True)
    commands = typer.main.get_command(app).commands
    assert commands[name].make_context(name, arguments).params


def test_the_workflow_to_copy() -> None:
    """Its steps use an action or run something; it reports, whatever fails, and ends with the check."""
    workflow = parse_alike_yaml(WORKFLOW.read_text(encoding="utf-8"), WORKFLOW.name)
    assert workflow.keys() == {"name", "on", "permissions", "env", "jobs"}
    (job,) = workflow["jobs"].values()
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    whatever = [step["name"] for step in job["steps"] if step.get("if") == "always()"]
    assert whatever == ["Report", "Figures", "Link"]
    assert job["steps"][-1]["run"] == "bncompare check\n"


def test_the_workflow_to_copy_reports(tmp_path: Path) -> None:
    """Its step does what it says where there is nothing but runs: the summary, the page, figures beside it."""
    shutil.copytree(ROOT / "runs" / "example", tmp_path / "runs" / "example")
    steps = parse_alike_yaml(WORKFLOW.read_text(encoding="utf-8"), WORKFLOW.name)["jobs"]["compare"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("name") == "Report"]
    script = f'bncompare() {{ {sys.executable} -m bncompare "$@"; }}\n{script}'
    environment = os.environ | {"GITHUB_STEP_SUMMARY": "summary.md", "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("## example")
    assert {path.name for path in (tmp_path / "report").iterdir()} > {"report.html", "example-overview.png"}


def test_every_command_is_documented() -> None:
    """Each command of the CLI has a line in the README and a chapter in the reference."""
    names = list(typer.main.get_command(app).commands)
    lines = re.findall(r"^\| \w+ \| `bncompare (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    chapters = re.findall(r"^## (\w+)$", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(lines) == sorted(chapters) == sorted(names)


def test_ci_types_the_readmes_test_command() -> None:
    """.ci/run calls the very line that the README gives for the tests."""
    commands = re.findall(r"^python3 -m venv .*pytest.*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 1
    assert commands[0] in (ROOT / ".ci" / "run").read_text()


def test_the_committed_example_is_of_today() -> None:
    """The run folders in runs/example are the ones that the command in runs/README.md would make, claims included."""
    settings = ["name=example", "training.eval_every=10"]
    runs = load_experiment(ROOT / "configs" / "regression.yaml", overrides=settings, seeds="3").runs
    for run in runs:
        folder = RunStore(ROOT / "runs").run(run)
        assert read_run(folder.path).status == "completed"  # its weights, which nothing here reads, are not committed
        assert (folder.path / "config.yaml").read_text(encoding="utf-8") == run.to_yaml()
    assert len(list((ROOT / "runs" / "example").glob("*/config.yaml"))) == len(runs)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "papers").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_papers_config_says_what_it_is(path: Path) -> None:
    """Named as its file; a header of claim, setup and run time; six seeds or more; claims, and what was published."""
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    assert [any(line.startswith(f"# {word}: ") for line in header) for word in ("Claim", "Setup", "Run time")] == [
        True
    ] * 3
    experiment = load_experiment(path)
    claims = experiment.runs[0].claims
    assert experiment.name == path.stem
    assert len({run.seed for run in experiment.runs}) >= 6
    assert any(claim.published for claim in claims)


def test_the_table_of_published_results_is_of_the_configs() -> None:
    """Every claim of every paper stands in the table as the config says it, with a verdict once it is trained."""
    table = (
        (ROOT / "docs" / "results.md")
        .read_text(encoding="utf-8")
        .split("## Published results")[1]
        .split("\n\n| ")[1]
        .split("\n\n")[0]
    )
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]
    found = [(claim, published) for _, claim, published, _, _ in rows]
    expected = [
        (escape(claim.statement), escape(claim.published or ""))
        for path in sorted((ROOT / "configs" / "papers").glob("*.yaml"))
        for claim in load_experiment(path).runs[0].claims
    ]
    assert found == expected
    verdicts = {row[-1].removesuffix(" (exploratory)") for row in rows}
    assert verdicts <= {"supported", "not supported", "inconclusive"}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks("yaml", page)], ids=lambda page: page.stem)
def test_configs_in_the_pages_are_valid(page: Path, tmp_path: Path) -> None:
    """Every config that a page prints expands into runs; a section alone does in the place of a config's own."""
    shipped = (ROOT / "configs" / "mnist-mlp.yaml").read_text(encoding="utf-8")
    path = tmp_path / "config.yaml"
    np.savez(tmp_path / "my.npz", x=np.zeros((60_000, 4), np.float32), y=np.arange(60_000) % 2)
    for block in blocks("yaml", page):
        section = block.split(":")[0]
        rest = "" if section == "name" else re.sub(rf"^{section}:.*?(?=^\w|\Z)", "", shipped, flags=re.M | re.S)
        path.write_text(rest + block)
        assert load_experiment(path, overrides=["claims=[]"]).runs


def test_the_recipe_for_a_norm(tmp_path: Path) -> None:
    """The new norm of the page, typed as it stands there, is a kind like any other: config, training, reference."""
    recipe, *_ = blocks("python", ROOT / "docs" / "extending.md")
    before = dict(NORMS)
    try:
        names: dict[str, Any] = {}
        exec(recipe, names)
        NORMS.add(names["MaxNorm"])
        (kind,) = NORMS.keys() - before.keys()
        settings = [f"compare.model.norm=[{kind}, {{kind: {kind}, eps: 0.01}}]", "training.epochs=1"]
        runs = load_experiment(ROOT / "configs" / "smoke.yaml", overrides=settings, seeds="1").runs
        planned = plan_runs(runs, RunStore(tmp_path))
        events = list(run_experiment(planned, data_dir=None))
        assert [event.record.outcome.status for event in events if event.record and event.record.outcome] == [
            "completed"
        ] * 2
        assert load_experiment(planned[0].folder.path / "config.yaml").runs == [runs[0]]
        assert norm_reference(NORMS[kind]).options_line.startswith("eps ")
        assert equals_reference(NORMS[kind](kind=kind), (6,)) is None
        del names["MaxNorm"].reference
        assert equals_reference(NORMS[kind](kind=kind), (6,)) == (
            "it has no `reference`, its formula in NumPy, to be held against"
        )
        with pytest.raises(UserError, match=r"model\.norm\.epz: unknown key; valid: .*did you mean 'eps'"):
            load_experiment(
                ROOT / "configs" / "smoke.yaml", overrides=[f"compare.model.norm=[{{kind: {kind}, epz: 1}}]"]
            )
        with pytest.raises(ValueError, match="already"):
            NORMS.add(NORMS[kind])
    finally:
        NORMS.clear()
        NORMS.update(before)


def test_the_recipe_for_a_model() -> None:
    """The new model of the page is one like any other, as it stands there."""
    (recipe,) = [text for text in blocks("python", ROOT / "docs" / "extending.md") if "MODELS.add" in text]
    before = dict(MODELS)
    try:
        exec(recipe, {})
        (name,) = MODELS.keys() - before.keys()
        run = load_experiment(ROOT / "configs" / "smoke.yaml", overrides=[f"model={{name: {name}}}"]).runs[0]
        assert build_model(run)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
        assert MODELS[name].model_validate({"name": name}).channels == 16
        with pytest.raises(ValueError, match="already"):
            MODELS.add(MODELS[name])
    finally:
        MODELS.clear()
        MODELS.update(before)


def test_the_examples_of_the_python_api(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The page's examples run as they stand there, one after the other."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in blocks("python", ROOT / "docs" / "python.md"):
        exec(example, names)
    printed = capsys.readouterr().out
    assert printed.startswith("<6 runs: first>\n2 completed ")
    assert "figures: overview, train-loss, " in printed
    assert "validation loss at the best epoch: no clear difference between BatchNorm and no norm" in printed
    assert len(names["table"]) == 6 * 2
    assert (tmp_path / "figures" / "overview.svg").is_file()
