"""The commands: parse, call the Python API, print. Results go to stdout, progress and errors to stderr."""

import itertools
import math
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from bncompare import streams
from bncompare.errors import StorageError, UserError, printable, problem_lines
from bncompare.streams import say

if TYPE_CHECKING:  # pydantic, NumPy, matplotlib, rich and torch are imported by the commands that need them
    from bncompare.config.expansion import Experiment
    from bncompare.experiment import Planned
    from bncompare.results import LoadedRun

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train a model with and without batch normalization (and other norms) and compare them honestly.",
)

Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="run folders, or folders that hold some")]
QUICK = ("tutorial-regression", "one-at-a-time")  # the published results that --quick reproduces
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document instead of a table")]


def main() -> NoReturn:
    """The entry point: a UserError becomes a message and exit code 2, a full disk exit code 1."""
    streams.prepare()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except UserError as error:
        for text in problem_lines(error.problems):
            say(f"error: {text}" if not text.startswith(" ") else text)
        sys.exit(1 if isinstance(error, StorageError) else 2)
    except streams.OutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still in the buffer
        if error.has_no_reader:  # `bncompare list | head`
            sys.exit(141)
        say(f"error: output: {error}")
        sys.exit(1)
    except OSError as error:
        say(f"error: {error.filename or type(error).__name__}: {error.strerror or error}")
        sys.exit(1)
    sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        from bncompare import __version__

        print(f"bncompare {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Options of bncompare itself."""


# ---------------------------------------------------------------- train


@app.command(short_help="Train the experiments of config files.")
def train(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG", help="YAML files, each an experiment")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="set a key, such as training.optimizer.lr=0.1; repeatable"),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="SEEDS", help="0-4, 0,3,7 or a number of seeds, instead of the config's")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=4096,
            help="runs at a time, each in a process of its own [default: the cores there are; 1 on a GPU]",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps, instead of the config's")
    ] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="where the run folders go")] = Path("runs"),
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where MNIST and Fashion-MNIST are, or are downloaded to")
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="shrink to seconds, with made-up images: for CI")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and train nothing")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="train again what is finished already")] = False,
    select: Annotated[
        str | None, typer.Option(metavar="I/N", help="only part I of N of the plan, as in the jobs of an array")
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="where to train: on this machine, or as tasks of a Ray cluster")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="of the Ray cluster: auto or HOST:PORT [default: one started here]"),
    ] = None,
    allow_inexact: Annotated[
        bool,
        typer.Option("--allow-inexact", help="go on from checkpoints of other versions or another kind of CPU"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train every variant of the experiments on every seed; go on where an earlier call left off."""
    if address is not None and executor != "ray":
        raise UserError("--address: is that of a Ray cluster; add --executor ray")
    cluster = (address or "local") if executor == "ray" else None
    experiments = _load(configs, overrides or [], seeds, device, smoke)
    from bncompare.store import RunStore

    store = RunStore(runs)
    chosen = [run for experiment in experiments for run in experiment.runs][_selection(select)]
    unfinished = [run for run in chosen if fresh or store.run(run).state != "finished"]
    if len(unfinished) > 1 and jobs != 1 and executor == "local" and not dry_run:
        from bncompare import forkserver

        forkserver.start(unfinished)  # it imports torch while we do
    from bncompare.experiment import plan, run_experiment
    from bncompare.progress import show_progress

    planned = plan(chosen, store, fresh=fresh, elsewhere=cluster is not None)
    for item in planned:
        for problem in item.problems if dry_run or item.state != "unreadable" else ():  # which fails, and says why
            say(f"warning: {problem}")
    if dry_run:
        _print_plan(planned, as_json)
        return
    with _interruptible():
        events = run_experiment(
            planned, data_dir=data_dir, num_processes=jobs, allow_inexact=allow_inexact, cluster=cluster
        )
        failures = show_progress(planned, events, quiet=as_json)
        _print_results(planned, as_json, judge_claims=select is None)
    if failures:
        raise typer.Exit(1)


@app.command(short_help="Retrain finished runs and compare the bytes.")
def verify(
    paths: Paths,
    sample: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="K of the runs, drawn at random [default: all]")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=4096, help="runs at a time [default: as train]")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="where MNIST and Fashion-MNIST are [default: as train, but for data.dir]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Retrain finished runs from their config.yaml and compare the bytes; exit code 1 if a run is not reproduced."""
    loaded = _load_runs(paths)
    from bncompare.progress import show_progress
    from bncompare.tables import print_verified
    from bncompare.verification import choose, verify

    chosen = choose(loaded, sample)
    if not chosen:
        raise UserError(f"{', '.join(map(str, paths))}: none of the runs there is finished")
    with _interruptible(advice=""):  # what is retrained is not kept
        verified = list(
            verify(
                chosen,
                data_dir=data_dir,
                num_processes=jobs,
                show=lambda planned, events: show_progress(planned, events, quiet=as_json),
            )
        )
    if as_json:
        _print_json({"runs": [item.to_plain() for item in verified]})
    else:
        print_verified([item.to_plain() for item in verified])
    if not all(item.is_identical for item in verified):
        raise typer.Exit(1)


@app.command(short_help="Train the configs of published results; one table.")
def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="configs of published results [default: all]")
    ] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="where the run folders go")] = Path("runs"),
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=4096, help="runs at a time [default: as train]")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where MNIST and Fashion-MNIST are, or are downloaded to")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"only the short ones, a minute on two cores: {', '.join(QUICK)}")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print the table as Markdown")] = False,
    as_json: AsJson = False,
) -> None:
    """Train the configs of published results, and print what was claimed, published and measured."""
    if markdown and as_json:
        raise UserError("--markdown and --json: one or the other")
    if quick and names:
        raise UserError("--quick: chooses the configs itself; give it or their names")
    from bncompare.config.expansion import load_experiment

    papers = {name: path for name, path in _presets().items() if path.parent.name == "papers"}
    for name in names or []:
        if name not in papers:
            raise UserError(f"{name}: no such config of a published result; valid: {', '.join(papers)}")
    experiments = [load_experiment(papers[name]) for name in names or (QUICK if quick else papers)]
    from bncompare.claims import judge, to_plain
    from bncompare.experiment import plan, run_experiment
    from bncompare.progress import show_progress
    from bncompare.store import RunStore

    planned = plan([run for experiment in experiments for run in experiment.runs], RunStore(runs))
    with _interruptible():
        events = run_experiment(planned, data_dir=data_dir, num_processes=jobs)
        failures = show_progress(planned, events, quiet=as_json)
    rows = []
    for experiment in experiments:
        members = _read_planned([item for item in planned if item.run.name == experiment.name])
        findings = [judge(claim, members) for claim in experiment.runs[0].claims]
        rows += [{"experiment": experiment.name, **to_plain(finding)} for finding in findings]
    if as_json:
        _print_json({"claims": rows})
    elif markdown:
        from bncompare.report.markdown import reproduced_table

        print(reproduced_table(rows), end="")
    else:
        from bncompare.tables import REPRODUCED, print_table, reproduced_cells

        print_table(REPRODUCED, [reproduced_cells(row) for row in rows])
    if failures:
        raise typer.Exit(1)


def _load(
    configs: list[Path], overrides: list[str], seeds: str | None, device: str | None, smoke: bool
) -> "list[Experiment]":
    """Every config, or every problem of every config."""
    from bncompare.config.expansion import load_experiment

    experiments, problems, names = [], list[str](), dict[str, Path]()
    for path in configs:
        try:
            experiment = load_experiment(path, overrides=overrides, seeds=seeds, device=device, smoke=smoke)
            if experiment.name in names:
                raise UserError(f"{path}: name: {experiment.name!r} is also that of {names[experiment.name]}")
            names[experiment.name] = path
            experiments.append(experiment)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*dict.fromkeys(problems))
    for text in problem_lines([warning for experiment in experiments for warning in experiment.warnings]):
        say(f"warning: {text}")
    return experiments


def _selection(select: str | None) -> slice:
    """`2/8` as every eighth run of a plan from the second on, so that parts take about as long as each other."""
    if select is None:
        return slice(None)
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", select)
    part, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(f"--select {select:.40}: must be I/N with 1 ≤ I ≤ N, such as 2/8")
    return slice(part - 1, None, parts)


@contextmanager
def _interruptible(advice: str = "; the same command goes on from the last checkpoint") -> Iterator[None]:
    """SIGINT and SIGTERM end training with 130 and 143; what the last checkpoint holds is not lost."""

    def stop(number: int, _frame: object) -> NoReturn:
        say(f"interrupted{advice}")
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_plan(planned: "list[Planned]", as_json: bool) -> None:
    rows = [
        {
            "experiment": item.run.name,
            "variant": item.run.variant.label,
            "seed": item.run.seed,
            "parameters": item.num_parameters,
            "steps": item.run.total_steps,
            "state": item.state,
            "path": str(item.folder.path),
        }
        for item in planned
    ]
    if as_json:
        _print_json({"runs": rows})
        return
    from bncompare.tables import print_table

    columns = ["experiment", "variant", "seed", "parameters", "steps", "state"]
    cells = [[str(row[name]) if name != "parameters" else f"{row[name]:,}" for name in columns] for row in rows]
    print_table(columns, cells, right={"seed", "parameters", "steps"})
    finished = sum(item.state == "finished" for item in planned)
    print(f"{_count(len(planned), 'run')}: {len(planned) - finished} to train, {finished} finished")


def _print_results(planned: "list[Planned]", as_json: bool, *, judge_claims: bool) -> None:
    from bncompare.claims import judge
    from bncompare.tables import print_findings, print_summary

    loaded = _read_planned(planned)
    if as_json:
        _print_json({"runs": [_run_json(run) for run in loaded]})
        return
    for name in dict.fromkeys(run.experiment for run in loaded):
        runs = [run for run in loaded if run.experiment == name]
        print_summary(name, runs)
        claims = next(item.run.claims for item in planned if item.run.name == name)
        if claims and judge_claims:
            print_findings("claims", [judge(claim, runs) for claim in claims])
        print(f"{_count(len(runs), 'run folder')} in {printable(str(runs[0].path.parent))}")


def _read_planned(planned: "list[Planned]") -> "list[LoadedRun]":
    """The runs of a plan after training; what cannot be read has failed, and said so."""
    from bncompare.results import read_run

    loaded = []
    for item in planned:
        with suppress(OSError, ValueError, UserError):
            loaded.append(read_run(item.folder.path))
    return loaded


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _run_json(run: "LoadedRun") -> dict[str, Any]:
    return {
        "path": str(run.path),
        "experiment": run.experiment,
        "variant": run.variant,
        "seed": run.seed,
        "status": run.status,
        "result": run.result,
    }


def _print_json(document: Any) -> None:
    from bncompare.store import to_json

    print(to_json(document), end="")


# ---------------------------------------------------------------- writing configs


def _presets() -> dict[str, Path]:
    """The shipped configs by name: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    folder = package / "presets" if (package / "presets").is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.rglob("*.yaml"))}


@app.command(short_help="Print a commented config to start from.")
def init(
    preset: Annotated[str | None, typer.Argument(metavar="PRESET", help="one of the shipped configs")] = None,
) -> None:
    """Print a commented config to start from; without PRESET, say which there are."""
    presets = _presets()
    if preset is None:
        width = max(map(len, presets)) + 2
        for name, path in presets.items():
            print(f"{name:{width}}{path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        say("bncompare init NAME > config.yaml")
    elif preset in presets:
        print(presets[preset].read_text(encoding="utf-8"), end="")
    else:
        raise UserError(f"{preset}: no such preset; valid: {', '.join(presets)}")


@app.command(short_help="Print the JSON Schema of configs.")
def schema() -> None:
    """Print the JSON Schema of configs, for editors that complete and check YAML."""
    from bncompare.config.schema import ExperimentFile

    _print_json(ExperimentFile.model_json_schema())


# ---------------------------------------------------------------- norms and models


@app.command(short_help="The kinds of norm.")
def norms(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="one kind, with all it takes")] = None,
    as_json: AsJson = False,
) -> None:
    """The kinds of norm: formula, what its statistics are taken over, options."""
    from bncompare.norms import NORMS
    from bncompare.tables import norm_reference, print_norm, print_table

    chosen = {name: norm_reference(NORMS[name]) for name in ([_norm_kind(kind)] if kind else NORMS)}
    if as_json:
        _print_json({name: vars(reference) for name, reference in chosen.items()})
    elif kind:
        print_norm(chosen[kind])
    else:
        columns = ["kind", "formula", "statistics over", "options"]
        print_table(columns, [[name, r.formula, r.axes, r.options_line] for name, r in chosen.items()])


def _norm_kind(kind: str) -> str:
    from bncompare.config.problems import did_you_mean
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
    from bncompare.explain import explain as explain_norm
    from bncompare.tables import print_explanation

    report = explain_norm(_norm_kind(kind), sizes, steps=steps, seed=seed, **options)
    if as_json:
        _print_json(report)
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
    (experiment,) = _load([config], overrides or [], None, None, False)
    variants = {run.variant.label: run for run in reversed(experiment.runs)}
    if variant is not None and variant not in variants:
        raise UserError(f"--variant {variant}: valid: {', '.join(reversed(variants))}")
    chosen = [run for label, run in reversed(variants.items()) if variant in (None, label)]
    if output is not None and len(chosen) > 1:
        raise UserError(f"-o {output}: draws one variant; choose with --variant: {', '.join(reversed(variants))}")
    from bncompare.graph import draw, layer_table
    from bncompare.tables import print_layers

    tables = {run.variant.label: layer_table(run) for run in chosen}
    if as_json:
        _print_json({label: [vars(row) for row in rows] for label, rows in tables.items()})
    else:
        for label, rows in tables.items():
            print_layers(f"{experiment.name}: {label}", [vars(row) for row in rows])
    if output is not None:
        draw(chosen[0], tables[chosen[0].variant.label], output)
        say(str(output))


# ---------------------------------------------------------------- looking at runs


@app.command(short_help="Draw the figures that fit the runs.")
def plot(
    paths: Paths,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="folder for the figures [default: the experiment's own; this one if PATH is a run]",
        ),
    ] = None,
    format: Annotated[Literal["png", "svg", "pdf"], typer.Option(help="file format")] = "png",
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="only figures of this column of metrics.csv, such as val/loss; repeatable"),
    ] = None,
    x: Annotated[Literal["epoch", "step"], typer.Option(help="the horizontal axis")] = "epoch",
) -> None:
    """Draw what the runs contain: curves, differences seed by seed, hyperparameter sweeps, times to a threshold."""
    from bncompare.figures import experiment_figures
    from bncompare.grouping import experiments
    from bncompare.plotting import render
    from bncompare.store import write_atomic

    runs = _load_runs(paths, with_diagnostics=not metric)
    available = list(dict.fromkeys(name for run in runs for name in run.metrics if name not in ("epoch", "step")))
    for name in metric or []:
        if name not in available:
            raise UserError(f"--metric {name}: no run has it; valid: {', '.join(available)}")
    chosen = bool({run.path for run in runs} & set(paths))
    # Of chosen runs alone, not in place of the figures of the whole experiment.
    elsewhere = output if output or not chosen else Path()
    taken: set[Path] = set()
    for experiment in experiments(runs):
        target = experiment.folder if elsewhere is None else elsewhere
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{target}: cannot be created: {error.strerror}") from None
        for figure in experiment_figures(experiment.runs, metrics=metric, x=x, title=experiment.title):
            stem = figure.name if elsewhere is None else f"{experiment.name}-{figure.name}"
            # Experiments of one name, with other settings or from other folders, stand side by side.
            names = (f"{stem}{'' if number == 1 else f'-{number}'}.{format}" for number in itertools.count(1))
            file = next(target / name for name in names if target / name not in taken)
            taken.add(file)
            write_atomic(file, render(figure.figure, format))
            print(printable(str(file)))


@app.command(short_help="Which variant is better, by how much, how sure.")
def report(
    paths: Paths,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write one self-contained page with figures")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="print Markdown, for a pull request or the summary of a CI job")
    ] = False,
    as_json: AsJson = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="a metric to compare by, such as test/accuracy; repeatable [default: those of the claims, else "
            "validation loss and test]",
        ),
    ] = None,
    at: Annotated[
        Literal["best", "last"] | None,
        typer.Option(help="the evaluation [default: the claim's, else best; last where the best is chosen on test]"),
    ] = None,
    versus: Annotated[
        str | None, typer.Option(metavar="LABEL", help="compare each variant with this one alone")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="VALUE", help="for the time to reach it [default: the best that every run reached]"),
    ] = None,
) -> None:
    """Compare the variants of each experiment seed by seed: a verdict in plain words, and the numbers behind it."""
    if markdown and as_json:
        raise UserError("--markdown and --json: one or the other")
    if threshold is not None and not math.isfinite(threshold):
        raise UserError(f"--threshold {threshold}: must be finite")
    from bncompare.report.content import document, sections

    runs = _load_runs(paths, with_diagnostics=html is not None)
    found = sections(runs, metrics=metric, at=at, versus=versus, threshold=threshold)
    if html is not None:
        from bncompare.report.html import to_html
        from bncompare.store import write_atomic

        write_atomic(html, to_html(found).encode())
        print(printable(str(html)), file=sys.stderr if markdown or as_json else sys.stdout)
    if markdown:
        from bncompare.report.markdown import to_markdown

        print(to_markdown(found), end="")
    elif as_json:
        _print_json(document(found))
    elif html is None:
        from bncompare.report.terminal import print_report

        print_report(found)


@app.command(short_help="Hold claims against the runs.")
def check(
    paths: Paths,
    strict: Annotated[bool, typer.Option("--strict", help="exit code 3 for an inconclusive claim as well")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the claims of experiments against their runs; exit code 3 if one is not supported."""
    from bncompare.claims import claims_of, judge, to_plain
    from bncompare.grouping import experiments
    from bncompare.tables import print_findings

    findings = {
        found.place: [judge(claim, found.runs) for claim in claims_of(found.runs)]
        for found in experiments(_load_runs(paths, with_diagnostics=True))
    }
    if not any(findings.values()):
        raise UserError(f"{', '.join(map(str, paths))}: the experiments there make no claims")
    if as_json:
        _print_json({place: [to_plain(finding) for finding in judged] for place, judged in findings.items()})
    else:
        for place, judged in findings.items():
            print_findings(place, judged)
    verdicts = {finding.verdict for judged in findings.values() for finding in judged}
    if "not supported" in verdicts or (strict and "inconclusive" in verdicts):
        raise typer.Exit(3)


@app.command(short_help="Runs for other tools: CSV or TensorBoard.")
def export(
    paths: Paths,
    to: Annotated[Literal["csv", "tensorboard"], typer.Option("--to", help="what to write")] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PATH", help="a file for CSV [default: stdout], a folder for TensorBoard"
        ),
    ] = None,
) -> None:
    """Write runs for other tools: a CSV row per run, evaluation and metric, or a TensorBoard run for each run."""
    from bncompare.api import Runs
    from bncompare.export import csv_lines, write_event_files
    from bncompare.store import write_atomic

    runs = Runs(_load_runs(paths))
    if to == "tensorboard":
        if output is None:
            raise UserError("--to tensorboard needs a folder: -o DIR")
        folders = write_event_files(runs, output)
        shown = printable(str(output))
        print(f"{_count(len(folders), 'run')} in {shown}; tensorboard --logdir {shown}")
    elif output is None:
        sys.stdout.writelines(csv_lines(runs))
    else:
        write_atomic(output, "".join(csv_lines(runs)).encode())
        print(printable(str(output)))


@app.command("list", short_help="A line per run.")
def list_runs(paths: Paths, as_json: AsJson = False) -> None:
    """A line per run: its status, length, best validation and test metrics."""
    from bncompare.tables import print_runs

    runs = _load_runs(paths)
    if as_json:
        _print_json({"runs": [_run_json(run) for run in runs]})
    else:
        print_runs(runs)


@app.command()
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="a run folder")],
    as_json: AsJson = False,
) -> None:
    """One run: its config, its metrics, γ and β of each norm layer, and its last diagnostics."""
    from bncompare.results import read_norm_parameters
    from bncompare.tables import print_diagnostics, print_run

    runs = _load_runs([run], with_diagnostics=True)
    if len(runs) != 1:
        raise UserError(f"{run}: holds {len(runs)} runs; name one of them (bncompare list {run})")
    parameters = read_norm_parameters(runs[0].path)
    if as_json:
        norms = {layer: {q: v.tolist() for q, v in values.items()} for layer, values in parameters.items()}
        last = {f"{row.layer}/{row.quantity}": row.value for row in runs[0].diagnostics}
        _print_json({**_run_json(runs[0]), "config": runs[0].config, "norms": norms, "diagnostics": last})
    else:
        print_run(runs[0], parameters)
        print_diagnostics(runs[0].diagnostics)


def _load_runs(paths: list[Path], *, with_diagnostics: bool = False) -> "list[LoadedRun]":
    """The runs there, and a warning for what cannot be read."""
    from bncompare.results import load_runs

    runs, warnings = load_runs(paths)
    if with_diagnostics:
        warnings += [run.diagnostics_problem for run in runs if run.diagnostics_problem]
    for warning in warnings:
        say(f"warning: {warning}")
    if not runs:
        raise UserError(f"{', '.join(map(str, paths))}: none of the run folders can be read")
    return runs
