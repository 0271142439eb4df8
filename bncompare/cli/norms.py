"""norms, explain, graph."""

from pathlib import Path
from typing import Annotated

import typer

from bncompare.cli.app import app
from bncompare.cli.options import AsJson, print_json
from bncompare.cli.streams import say
from bncompare.cli.train import load_experiments
from bncompare.errors import UserError


@app.command(short_help="The kinds of norm.")
def norms(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="one kind, with all it takes")] = None,
    as_json: AsJson = False,
) -> None:
    """The kinds of norm: formula, what its statistics are taken over, options."""
    from bncompare.norms import NORMS
    from bncompare.report import norm_reference, print_norm, print_table

    chosen = {name: norm_reference(NORMS[name]) for name in ([_norm_kind(kind)] if kind else NORMS)}
    if as_json:
        print_json({name: vars(reference) for name, reference in chosen.items()})
    elif kind:
        print_norm(chosen[kind])
    else:
        columns = ["kind", "formula", "statistics over", "options"]
        print_table(columns, [[name, r.formula, r.axes, r.options_line] for name, r in chosen.items()])


def _norm_kind(kind: str) -> str:
    from bncompare.config import did_you_mean
    from bncompare.norms import NORMS

    if kind not in NORMS:
        raise UserError(f"{kind}: no such norm; valid: {', '.join(NORMS)}{did_you_mean(kind, NORMS)}")
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
    as_json: AsJson = False,
) -> None:
    """A norm at work on a small tensor, step by step, beside what its update rule predicts."""
    from bncompare.norms import NORMS

    options = {}
    if momentum is not None:
        if "momentum" not in NORMS[_norm_kind(kind)].model_fields:
            raise UserError(f"--momentum: {kind} norm has no running statistics")
        options["momentum"] = momentum
    try:
        sizes = tuple(int(size) for size in shape.split(",")) if shape is not None else None
    except ValueError:
        raise UserError(f"--shape {shape}: must be whole numbers, such as 3,4,2,2,3") from None
    from bncompare.extras import explain_norm, print_explanation

    report = explain_norm(_norm_kind(kind), sizes, steps=steps, seed=seed, **options)
    if as_json:
        print_json(report)
    else:
        print_explanation(report)


@app.command()
def graph(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="a YAML file")],
    variant: Annotated[str | None, typer.Option(metavar="LABEL", help="one variant [default: all]")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="set a key; repeatable")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="draw one variant: .svg, .png or .dot")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The model: a table of its layers, and a drawing."""
    (experiment,) = load_experiments([config], overrides or [], None, None, False)
    variants = {run.variant.label: run for run in reversed(experiment.runs)}
    if variant is not None and variant not in variants:
        raise UserError(f"--variant {variant}: valid: {', '.join(reversed(variants))}")
    chosen = [run for label, run in reversed(variants.items()) if variant in (None, label)]
    if output is not None and len(chosen) > 1:
        raise UserError(f"-o {output}: draws one variant; choose with --variant: {', '.join(reversed(variants))}")
    from bncompare.extras import draw, layer_table
    from bncompare.report import print_layers

    tables = {run.variant.label: layer_table(run) for run in chosen}
    if as_json:
        print_json({label: [vars(row) for row in rows] for label, rows in tables.items()})
    else:
        for label, rows in tables.items():
            print_layers(f"{experiment.name}: {label}", [vars(row) for row in rows])
    if output is not None:
        draw(chosen[0], tables[chosen[0].variant.label], output)
        say(str(output))
