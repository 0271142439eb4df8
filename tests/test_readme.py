"""The README's reference is made from the code, and its commands are the ones CI types.

python tests/test_readme.py        writes the generated parts anew
"""

import inspect
import re
import types
import typing
from pathlib import Path
from typing import Any

import pytest
import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bncompare.cli import app
from bncompare.config import claims, data, diagnostics, model, training
from bncompare.config import run as whole
from bncompare.config.expand import load_experiment
from bncompare.config.yaml import dump_yaml
from bncompare.errors import UserError
from bncompare.execution.plan import plan_runs
from bncompare.execution.sweep import run_experiment
from bncompare.norms.base import NORMS, Norm, register_norm
from bncompare.report.markdown import escape
from bncompare.report.tables import norm_reference
from bncompare.runs.folder import RunStore
from bncompare.runs.read import read_run

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
COMMANDS = (
    "train",
    "verify",
    "reproduce",
    "plot",
    "report",
    "check",
    "export",
    "list",
    "show",
    "norms",
    "explain",
    "graph",
    "init",
    "schema",
)
SECTIONS: dict[str, list[type[BaseModel]]] = {
    "the whole": [whole.ExperimentFile],
    "data": [data.RandomRegression, data.Images],
    "model": [model.MLP, model.LeNet],
    "model.norm": list(NORMS.values()),
    "model.init": [model.DefaultInit, model.GainInit, model.NormalInit],
    "model.dropout (mlp)": [model.Dropout],
    "training": [training.Training],
    "training.optimizer": [training.SGD, training.Adam],
    "training.scheduler": [
        *(training.ConstantLR, training.StepLR, training.MultiStepLR, training.ExponentialLR, training.CosineLR),
        training.ReduceOnPlateau,
    ],
    "training.sampler": [training.ShuffledSampler, training.ClassClusteredSampler],
    "training.early_stopping": [training.EarlyStopping],
    "diagnostics": [diagnostics.Diagnostics],
    "claims": [claims.Claim],
}


def values(annotation: Any, metadata: list[Any]) -> str:
    """What a key may be, in a few words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return values(arguments[0], list(arguments[1:]))
    if origin is typing.Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return ", ".join(dict.fromkeys(values(argument, metadata) for argument in arguments))
    if annotation is type(None):
        return "`null`"
    if annotation in (int, float):
        bounds = [
            f"{sign} {getattr(constraint, attribute):g}"
            for constraint in _constraints(metadata)
            for kind, attribute, sign in ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Lt, "lt", "<"))
            if isinstance(constraint, kind)
        ]
        return " ".join(["whole number" if annotation is int else "number", *bounds])
    if annotation is bool:
        return "`true`, `false`"
    if annotation is str:
        return "text"
    if annotation is Norm:
        return "any other kind"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        tag = next((name for name in ("name", "kind") if name in annotation.model_fields), None)
        return values(annotation.model_fields[tag].annotation, []) if tag else "mapping"
    return "list" if origin is list else "mapping"


def _constraints(metadata: list[Any]) -> list[Any]:
    found = [inner for item in metadata for inner in getattr(item, "metadata", [item])]
    return [item for item in found if isinstance(item, Ge | Gt | Lt | Le)]


def config_reference() -> str:
    lines = []
    for title, sections in SECTIONS.items():
        lines += [f"### {title}", ""]
        for section in sections:
            if len(sections) > 1:
                tag = next(name for name in ("name", "kind") if name in section.model_fields)
                kinds = typing.get_args(section.model_fields[tag].annotation)
                lines += [f"**{' · '.join(f'`{kind}`' for kind in kinds)}** — {section.__doc__}", ""]
            rows = [
                f"| `{name}` | {values(field.annotation, list(field.metadata))} | {default(field)} | "
                f"{' '.join((field.description or '').split())} |"
                for name, field in section.model_fields.items()
                if not (name in ("name", "kind") and len(sections) > 1) and name != "variant"
            ]
            if rows:
                lines += ["| key | value | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value = field.default
    if isinstance(value, BaseModel):
        shown = value.model_dump()
        value = next(iter(shown.values())) if len(shown) == 1 or "p" in shown else shown
    return f"`{dump_yaml(value).removesuffix('...' + chr(10)).strip()}`"


def command_reference() -> str:
    lines = []
    callbacks = {command.name or command.callback.__name__: command.callback for command in app.registered_commands}
    for command in COMMANDS:
        function = callbacks[command]
        hints = typing.get_type_hints(function, include_extras=True)
        arguments, options = [], []
        for name, parameter in inspect.signature(function).parameters.items():
            annotation, info = typing.get_args(hints[name])
            if isinstance(info, typer.models.ArgumentInfo):
                arguments.append(info.metavar + ("..." if typing.get_origin(annotation) is list else ""))
                continue
            # In Annotated, Typer keeps the first of the names as the default.
            first = [info.default] if isinstance(info.default, str) else []
            names = ", ".join([*first, *(info.param_decls or [])] or [f"--{name.replace('_', '-')}"])
            choices = (
                "\\|".join(typing.get_args(annotation)) if typing.get_origin(annotation) is typing.Literal else ""
            )
            value = "" if annotation is bool else f" {info.metavar or choices}"
            shown = f" (default: {parameter.default})" if isinstance(parameter.default, str | Path) else ""
            options.append(f"| `{names}{value}` | {info.help}{shown} |")
        lines += [f"**`{' '.join(['bncompare', command, *arguments])}`** — {function.__doc__}", ""]
        if options:
            lines += ["| option | meaning |", "| --- | --- |", *options, ""]
    return "\n".join(lines)


def norm_table() -> str:
    """The kinds of norm, from the source that `bncompare norms` prints."""
    lines = ["| kind | formula | statistics over | options |", "| --- | --- | --- | --- |"]
    for norm in map(norm_reference, NORMS.values()):
        cells = [f"`{norm.kind}`", f"{norm.formula}", norm.axes, norm.options_line]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


GENERATED = {"norms": norm_table, "command reference": command_reference, "config reference": config_reference}


def replace_part(text: str, name: str, content: str) -> str:
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    assert len(pattern.findall(text)) == 1
    return pattern.sub(lambda _: start + content + end, text)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_parts_are_up_to_date(name: str) -> None:
    """The reference in the README is what the code gives now; `python tests/test_readme.py` writes it."""
    text = README.read_text(encoding="utf-8")
    assert replace_part(text, name, GENERATED[name]()) == text


def test_every_command_is_documented() -> None:
    """Each command of the CLI has its options in the README."""
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert names == set(COMMANDS)


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
    """Every claim of every paper stands in the README's table as the config says it, with a verdict."""
    table = README.read_text(encoding="utf-8").split("### Published results")[1].split("\n\n| ")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]
    found = [(claim, published) for _, claim, published, _, _ in rows]
    expected = [
        (escape(claim.statement), escape(claim.published or ""))
        for path in sorted((ROOT / "configs" / "papers").glob("*.yaml"))
        for claim in load_experiment(path).runs[0].claims
    ]
    assert found == expected
    assert {row[-1] for row in rows} <= {"supported", "not supported", "inconclusive"}


def test_configs_in_the_readme_are_valid(tmp_path: Path) -> None:
    """Every whole config printed in the README expands into runs."""
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    whole = [block for block in blocks if "name:" in block and "training:" in block]
    assert whole
    for i, block in enumerate(whole):
        path = tmp_path / f"{i}.yaml"
        path.write_text(block)
        assert load_experiment(path).runs


def test_the_recipe_for_a_norm(tmp_path: Path) -> None:
    """The README's new norm, typed as it stands there, is a kind like any other: config, training, reference."""
    recipe = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8").split("**A norm**")[1], re.DOTALL)
    assert recipe is not None
    before = dict(NORMS)
    try:
        exec(recipe[1], {})
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
        with pytest.raises(UserError, match=r"model\.norm\.epz: unknown key; valid: .*did you mean 'eps'"):
            load_experiment(
                ROOT / "configs" / "smoke.yaml", overrides=[f"compare.model.norm=[{{kind: {kind}, epz: 1}}]"]
            )
        with pytest.raises(ValueError, match="already"):
            register_norm(NORMS[kind])
    finally:
        NORMS.clear()
        NORMS.update(before)


def test_the_example_of_the_python_api(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's example of the API runs as it stands there."""
    pytest.importorskip("pandas")
    example = re.search(
        r"```python\n(.*?)```", README.read_text(encoding="utf-8").split("## From Python")[1], re.DOTALL
    )
    assert example is not None
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(example[1], names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train/loss at the last evaluation: no difference between batch and none can be told")
    assert lines[1].startswith("test/loss at the last evaluation: ")
    assert len(names["rows"]) == len(names["table"]) == 6 * (20 * 2 + 1)


if __name__ == "__main__":
    readme = README.read_text(encoding="utf-8")
    for part, make in GENERATED.items():
        readme = replace_part(readme, part, make())
    README.write_text(readme, encoding="utf-8")
