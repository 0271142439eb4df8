"""norms, explain, graph."""

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from bncompare.cli.app import app
from bncompare.cli.configs import OneConfig, load_experiments
from bncompare.cli.options import AsJson, Overrides, output_option, print_json
from bncompare.cli.streams import say
from bncompare.errors import UserError, printable, raised


@app.command(short_help="The kinds of norm.")
def norms(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="one kind, with all it takes")] = None,
    test: Annotated[
        str | None, typer.Option("--test", metavar="KIND", help="hold one kind against the laws of every norm")
    ] = None,
    new: Annotated[
        str | None,
        typer.Option("--new", metavar="NAME", help="write a package for a norm of your own, with its test"),
    ] = None,
    output: Annotated[Path | None, output_option("DIR", "where --new writes it [default: bncompare-NAME]")] = None,
    as_json: AsJson = False,
) -> None:
    """The kinds of norm: formula, what its statistics are taken over, options."""
    if [kind, test, new].count(None) < 2:
        raise UserError("KIND, --test KIND, --new NAME: one of them")
    if output is not None and new is None:
        raise UserError(f"-o {output}: is where --new writes a package")
    if new is not None:
        _write_package(new, output)
    elif test is not None:
        _test_norm(_norm_kind(test), as_json)
    else:
        _print_norms(kind, as_json)


def _write_package(name: str, folder: Path | None) -> None:
    from bncompare import extras

    folder = extras.write_package(name, folder)
    print(folder)
    say(f"next: pip install -e {folder}; bncompare norms --test {name}")


def _test_norm(kind: str, as_json: bool) -> None:
    """A line for each law; exit code 1 if one is broken."""
    from bncompare import extras

    held = []
    for one in extras.laws_of(kind):
        held.append(one)
        if not as_json:
            line = f"{'✗' if one.broken else '✓'} {one.law}: {one.broken or one.says}"
            print(textwrap.fill(printable(line), 80, subsequent_indent="  "))
    if as_json:
        print_json({one.law: one.broken for one in held})
    if any(one.broken for one in held):
        raise typer.Exit(1)


def _print_norms(kind: str | None, as_json: bool) -> None:
    from bncompare import norms, plugins, report

    chosen = [_norm_kind(kind)] if kind else list(norms.NORMS)
    references = {name: report.norm_reference(norms.NORMS[name]) for name in chosen}
    if as_json:
        print_json({name: vars(reference) for name, reference in references.items()})
    elif kind:
        norm = references[kind]
        report.print_text(f"{norm.kind}: {norm.summary}")
        print(f"\n    {norm.formula}\n\nstatistics over: {norm.axes}")
        if plugin := plugins.origin(norms.NORMS[kind]):
            print(f"from: {plugin}")
        if norm.options:
            report.print_table(report.options_table(norm))
    else:
        report.print_table(report.norms_table(references.values()))


def _norm_kind(kind: str) -> str:
    """A kind that there is."""
    from bncompare import config, norms

    if kind not in norms.NORMS:
        valid = ", ".join(norms.NORMS)
        raise UserError(f"{kind}: no such norm; valid: {valid}{config.did_you_mean(kind, norms.NORMS)}")
    return kind


@app.command(short_help="A norm at work, step by step.")
def explain(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="a kind of norm")],
    shape: Annotated[
        str | None, typer.Option(metavar="N,C,...", help="shape of the tensor [default: 4,3, or what the kind needs]")
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, max=20, help="training steps")] = 2,
    momentum: Annotated[
        float | None, typer.Option(metavar="M", min=0, max=1, help="of the running statistics [default: the kind's]")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="SEED", min=0, help="of the random numbers")] = 0,
    backward: Annotated[bool, typer.Option("--backward", help="the gradients as well, by their formula")] = False,
    quiz: Annotated[
        bool, typer.Option("--quiz", help="three questions with other numbers for each --seed, and their answers")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A norm at work on a small tensor, step by step, beside what its update rule predicts."""
    from bncompare import extras, norms, plugins

    options = {}
    if momentum is not None:
        if "momentum" not in norms.NORMS[_norm_kind(kind)].model_fields:
            raise UserError(f"--momentum: {kind} norm has no running statistics")
        options["momentum"] = momentum
    try:
        sizes = tuple(int(size) for size in shape.split(",")) if shape is not None else None
    except ValueError:
        raise UserError(f"--shape {shape}: must be whole numbers, such as 3,4,2,2,3") from None
    try:
        report = extras.explain_norm(_norm_kind(kind), sizes, steps=steps, seed=seed, backward=backward, **options)
    except UserError:
        raise
    except Exception as error:
        plugin = plugins.origin(norms.NORMS[kind])
        if plugin is None:
            raise
        raise UserError(f"{kind}, of {plugin}: {raised(error)}") from None
    if as_json:
        print_json(report)
    elif quiz:
        extras.print_quiz(report)
    else:
        extras.print_explanation(report)


@app.command()
def graph(
    config: OneConfig,
    variant: Annotated[str | None, typer.Option(metavar="LABEL", help="one variant [default: all]")] = None,
    overrides: Overrides = None,
    output: Annotated[Path | None, output_option("FILE", "draw one variant: .svg, .png or .dot")] = None,
    as_json: AsJson = False,
) -> None:
    """The model: a table of its layers, and a drawing."""
    from bncompare import extras, report

    (experiment,) = load_experiments([config], overrides)
    variants = {run.variant.label: run for run in reversed(experiment.runs)}
    if variant is not None and variant not in variants:
        raise UserError(f"--variant {variant}: valid: {', '.join(reversed(variants))}")
    chosen = [run for label, run in reversed(variants.items()) if variant in (None, label)]
    if output is not None and len(chosen) > 1:
        raise UserError(f"-o {output}: draws one variant; choose with --variant: {', '.join(reversed(variants))}")
    tables = {run.variant.label: extras.layer_table(run) for run in chosen}
    if as_json:
        print_json({label: [vars(row) for row in rows] for label, rows in tables.items()})
    else:
        for run, rows in zip(chosen, tables.values(), strict=True):
            report.print_table(
                report.layers_table(f"{experiment.name}: {run.variant_name}", [vars(row) for row in rows])
            )
    if output is not None:
        extras.draw(chosen[0], tables[chosen[0].variant.label], output)
        say(str(output))
