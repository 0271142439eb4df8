"""plot, report, check, export, list, show."""

import itertools
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bncompare.cli.app import app
from bncompare.cli.options import (
    RUNS,
    AsJson,
    Everything,
    Markdown,
    Paths,
    count,
    one_form,
    output_option,
    print_json,
    run_json,
)
from bncompare.cli.streams import say
from bncompare.errors import UserError, printable

if TYPE_CHECKING:
    from bncompare.runs import LoadedRun


Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="VALUE",
        help="for the time to reach it [default: half-way from the best variant's first evaluation to its best]",
    ),
]
Within = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="compare the norms at each value of this hyperparameter of a grid, such as training.batch_size, the "
        "others chosen for it",
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(
        metavar="OTHER",
        help="another folder with runs of the same experiment, as of another machine or version: each variant "
        "against itself there, seed by seed",
    ),
]


@app.command("plot", short_help="Draw the figures that fit the runs.")
def plot_figures(
    paths: Paths,
    output: Annotated[
        Path | None,
        output_option(
            "DIR",
            "folder for the figures [default: the experiment's own; the run's if PATH is one; this one if PATHs are "
            "some]",
        ),
    ] = None,
    format: Annotated[Literal["png", "svg", "pdf"], typer.Option(help="file format")] = "png",
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="only figures of this column of metrics.csv, such as val/loss; repeatable"),
    ] = None,
    x: Annotated[Literal["epoch", "step"], typer.Option(help="the horizontal axis")] = "epoch",
    everything: Everything = False,
) -> None:
    """Draw what the runs contain: curves, differences seed by seed, hyperparameter sweeps, times to a threshold."""
    from bncompare import figures, runs

    loaded = runs_at(paths, with_diagnostics=not metric)
    available = list(dict.fromkeys(name for run in loaded for name in run.metrics if name not in ("epoch", "step")))
    for name in metric or []:
        if name not in available:
            raise UserError(f"--metric {name}: no run has it; valid: {', '.join(available)}")
    chosen = {run.path for run in loaded} & set(paths)
    # Of chosen runs alone, not in place of the figures of the whole experiment.
    elsewhere = output if output or not chosen else Path() if len(paths) > 1 else None
    taken: set[Path] = set()
    groups = runs.newest_first(runs.experiments(loaded))
    for experiment in itertools.chain.from_iterable(group if everything else group[:1] for group in groups):
        target = elsewhere or (paths[0] if chosen else experiment.folder)
        if everything:
            target /= experiment.slug
        runs.make_folder(target)
        for figure in figures.experiment_figures(experiment.runs, metrics=metric, x=x, title=experiment.title):
            stem = figure.name if elsewhere is None else f"{experiment.name}-{figure.name}"
            # Experiments of one name from several folders stand side by side.
            file = runs.unused(target / stem, f".{format}", taken)
            taken.add(file)
            runs.write_output(file, figures.render(figure.figure, format))
            print(printable(str(file)))
    for newest, *others in groups:
        if others and not everything:
            say(f"{newest.folder}: the figures are of the newest, {newest.title}; --all draws {len(others)} more")


@app.command(short_help="Which variant is better, by how much, how sure.")
def report(
    paths: Paths,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write one self-contained page with figures")
    ] = None,
    markdown: Markdown = False,
    as_json: AsJson = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="a metric to compare by, such as test/accuracy; repeatable [default: those of the claims, else "
            "validation loss, and the test's]",
        ),
    ] = None,
    at: Annotated[
        Literal["best", "last"] | None,
        typer.Option(help="the evaluation [default: the claim's, else best; last where the best is chosen on test]"),
    ] = None,
    versus: Annotated[
        str | None, typer.Option(metavar="LABEL", help="compare each variant with this one alone")
    ] = None,
    threshold: Threshold = None,
    within: Within = None,
    against: Against = None,
    everything: Everything = False,
) -> None:
    """Compare the variants of each experiment seed by seed: a verdict in plain words, and the numbers behind it."""
    from bncompare import comparison, report, runs

    one_form(markdown, as_json)
    if threshold is not None and not math.isfinite(threshold):
        raise UserError(f"--threshold {threshold}: must be finite")
    loaded = runs_at(paths, with_diagnostics=html is not None)
    if against is not None and (versus is not None or within is not None):
        raise UserError("--against: compares each variant with itself; leave out --versus and --within")
    beside = None if against is None else (str(against), runs_at([against], with_diagnostics=html is not None))
    ask = comparison.Ask(metric, at, versus, threshold, within=within)
    chapters = report.chapters(loaded, ask, everything=everything, beside=beside)
    if html is not None:
        runs.write_output(html, report.to_html(chapters).encode())
        print(printable(str(html)), file=sys.stderr if markdown or as_json else sys.stdout)
    if markdown:
        print(report.to_markdown(chapters), end="")
    elif as_json:
        print_json(report.document(chapters))
    elif html is None:
        report.print_report(chapters)


@app.command(short_help="Hold claims against the runs.")
def check(
    paths: Paths,
    strict: Annotated[bool, typer.Option("--strict", help="exit code 3 for an inconclusive claim as well")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the claims of experiments against their runs; exit code 3 if one is not supported."""
    from bncompare import comparison, report, runs

    experiments = runs.experiments(runs_at(paths, with_diagnostics=True))
    findings = {
        found.place: [comparison.judge(claim, found.runs) for claim in comparison.claims_of(found.runs)]
        for found in experiments
    }
    if not any(findings.values()):
        raise UserError(f"{', '.join(map(str, paths))}: the experiments there make no claims")
    if as_json:
        print_json(
            {place: [comparison.to_plain(finding) for finding in judged] for place, judged in findings.items()}
        )
    else:
        for found in experiments:
            report.print_findings(found.place, findings[found.place], found.notes)
    verdicts = {finding.verdict for judged in findings.values() for finding in judged}
    if "not supported" in verdicts or (strict and "inconclusive" in verdicts):
        raise typer.Exit(3)


@app.command(short_help="Runs for other tools: CSV or TensorBoard.")
def export(
    paths: Paths,
    to: Annotated[Literal["csv", "tensorboard"], typer.Option("--to", help="what to write")] = "csv",
    output: Annotated[
        Path | None, output_option("PATH", "a file for CSV [default: stdout], a folder for TensorBoard")
    ] = None,
    diagnostics: Annotated[
        bool, typer.Option("--diagnostics", help="CSV of the diagnostics, a row per layer and quantity")
    ] = False,
) -> None:
    """Write runs for other tools: a CSV row per run, evaluation and metric, or a TensorBoard run for each run."""
    from bncompare import extras, runs

    if diagnostics and to != "csv":
        raise UserError(f"--diagnostics: is CSV; leave out --to {to}")
    loaded = runs_at(paths, with_diagnostics=diagnostics)
    lines = runs.csv_lines(loaded, diagnostics=diagnostics)
    if to == "tensorboard":
        if output is None:
            raise UserError("--to tensorboard needs a folder: -o DIR")
        folders = extras.write_event_files(loaded, output)
        shown = printable(str(output))
        print(f"{count(len(folders), 'run')} in {shown}; tensorboard --logdir {shown}")
    elif output is None:
        sys.stdout.writelines(lines)
    else:
        runs.write_output(output, "".join(lines).encode())
        print(printable(str(output)))


@app.command("list", short_help="A line per run.")
def list_runs(paths: Paths, as_json: AsJson = False) -> None:
    """A line per run: its status, length, best validation and test metrics."""
    from bncompare import report, runs

    loaded = runs_at(paths)
    if as_json:
        print_json({"runs": [run_json(run) for run in loaded]})
    else:
        report.print_table(report.runs_table(runs.with_names(loaded)))


@app.command()
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="a run folder")],
    as_json: AsJson = False,
) -> None:
    """One run: its config, its metrics, γ and β of each norm layer, and its last diagnostics."""
    from bncompare import runs

    loaded = runs_at([run], with_diagnostics=True)
    if len(loaded) != 1:
        raise UserError(f"{run}: holds {len(loaded)} runs; name one of them (bncompare list {run})")
    parameters = runs.read_norm_parameters(loaded[0].path)
    if as_json:
        norms = {layer: {q: v.tolist() for q, v in values.items()} for layer, values in parameters.items()}
        last = {f"{row.layer}/{row.quantity}": row.value for row in loaded[0].diagnostics}
        print_json({**run_json(loaded[0]), "config": loaded[0].config, "norms": norms, "diagnostics": last})
    else:
        _print_run(runs.with_names(loaded)[0], parameters)


def _print_run(run: "LoadedRun", parameters: dict[str, Any]) -> None:
    """Where it is, what it is, the rest of its config, and its tables."""
    from bncompare import config, report

    print(printable(str(run.path)))
    print(printable(f"{run.experiment}: {run.variant}, seed {run.seed}, {run.status}") + "\n")
    said = ("name", "variant", "seeds", "claims")
    text = config.dump_yaml({key: value for key, value in run.config.items() if key not in said})
    print("\n".join(map(printable, text.split("\n"))))
    metrics = report.metrics_table(run)
    if metrics:
        report.print_table(metrics)
    if run.result and run.result.error:
        print(f"error: {printable(run.result.error)}")
    if parameters:
        report.print_table(report.norm_parameters_table(parameters))
    for table in report.diagnostics_tables(run.diagnostics):
        report.print_table(table)


def _meant(path: Path) -> str | None:
    """The folder that a path may mean which leads nowhere: one of runs/, or one beside it with nearly its name."""
    from bncompare import config

    for folder in (RUNS / path.parent, path.parent):
        if folder.is_dir():
            there = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
            if meant := config.suggestion(path.name, there):
                return printable(str(folder / meant))
    return None


def runs_at(paths: list[Path], *, with_diagnostics: bool = False) -> "list[LoadedRun]":
    """The runs there, and a warning for what cannot be read."""
    from bncompare import runs

    if RUNS in paths and not (RUNS.is_dir() and any(RUNS.iterdir())):
        raise UserError(f"{RUNS}: nothing trained yet; `bncompare demo` trains a first experiment")
    try:
        loaded, warnings = runs.read_runs(paths)
    except UserError as error:
        meant = [found for path in paths if not os.path.exists(path) and (found := _meant(path))]
        hint = f"; did you mean {' '.join(meant)}?" if meant else ""
        raise UserError(*(f"{problem}{hint}" for problem in error.problems)) from None
    if with_diagnostics:
        warnings += [run.diagnostics_problem for run in loaded if run.diagnostics_problem]
    for warning in warnings:
        say(f"warning: {warning}")
    if not loaded:
        raise UserError(f"{', '.join(map(str, paths))}: none of the run folders can be read")
    return loaded
