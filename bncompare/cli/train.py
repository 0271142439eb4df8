"""train, verify, reproduce."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from bncompare.cli.app import app
from bncompare.cli.configs import load_experiments, shipped_configs
from bncompare.cli.look import runs_at
from bncompare.cli.options import (
    AsJson,
    DataFolder,
    Jobs,
    Markdown,
    Overrides,
    Paths,
    RunsFolder,
    count,
    one_form,
    print_json,
    run_json,
)
from bncompare.cli.progress import show_progress, tell_problems
from bncompare.cli.streams import say
from bncompare.errors import UserError, printable

if TYPE_CHECKING:
    from bncompare.comparison import Finding
    from bncompare.execution import Planned
    from bncompare.runs import LoadedRun

QUICK = ("tutorial-regression", "one-at-a-time")  # the published results that --quick reproduces

Seeds = Annotated[
    str | None, typer.Option(metavar="SEEDS", help="0-4, 0,3,7 or a number of seeds, instead of the config's")
]
Selection = Annotated[
    str | None, typer.Option(metavar="I/N", help="only part I of N of the plan, as in the jobs of an array")
]
Address = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="of the Ray cluster: auto or HOST:PORT [default: one started here]"),
]
AllowInexact = Annotated[
    bool,
    typer.Option("--allow-inexact", help="go on from checkpoints of other versions or another kind of CPU"),
]


@app.command(short_help="Train the experiments of config files.")
def train(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG", help="YAML files, each an experiment")],
    overrides: Overrides = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps, instead of the config's")
    ] = None,
    folder: RunsFolder = Path("runs"),
    data_dir: DataFolder = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="shrink to seconds, with made-up images: for CI")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and train nothing")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="train again what is finished already")] = False,
    select: Selection = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="where to train: on this machine, or as tasks of a Ray cluster")
    ] = "local",
    address: Address = None,
    allow_inexact: AllowInexact = False,
    as_json: AsJson = False,
) -> None:
    """Train every variant of the experiments on every seed; go on where an earlier call left off."""
    from bncompare import execution, runs

    if address is not None and executor != "ray":
        raise UserError("--address: is that of a Ray cluster; add --executor ray")
    cluster = (address or "local") if executor == "ray" else None
    store = runs.RunStore(folder)
    experiments = load_experiments(configs, overrides, seeds, device, smoke)
    chosen = [run for experiment in experiments for run in experiment.runs][_selection(select)]
    unfinished = [run for run in chosen if fresh or not store.run(run).has_result]
    if len(unfinished) > 1 and jobs != 1 and executor == "local" and not dry_run:
        execution.start_forkserver(unfinished)  # it imports torch while we do
    planned = execution.plan_runs(chosen, store, fresh=fresh, elsewhere=cluster is not None)
    if dry_run:
        tell_problems(planned)
        _print_plan(planned, as_json)
        return
    with _interruptible():
        events = execution.run_experiment(
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
    jobs: Jobs = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="where MNIST and Fashion-MNIST are [default: as train, but for data.dir]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Retrain finished runs from their config.yaml and compare the bytes; exit code 1 if a run is not reproduced."""
    from bncompare import execution, report

    chosen = execution.choose(runs_at(paths), sample)
    if not chosen:
        raise UserError(f"{', '.join(map(str, paths))}: none of the runs there is finished")
    with _interruptible(advice=""):  # what is retrained is not kept
        verified = list(
            execution.verify_runs(
                chosen,
                data_dir=data_dir,
                num_processes=jobs,
                show=lambda planned, events: show_progress(planned, events, quiet=as_json),
            )
        )
    rows = [item.to_plain() for item in verified]
    if as_json:
        print_json({"runs": rows})
    else:
        report.print_table(report.verified_table(rows))
    if not all(item.is_identical for item in verified):
        raise typer.Exit(1)


@app.command(short_help="Train the configs of published results; one table.")
def reproduce(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="configs of published results [default: all]")
    ] = None,
    folder: RunsFolder = Path("runs"),
    jobs: Jobs = None,
    data_dir: DataFolder = None,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"only the short ones, a minute on two cores: {', '.join(QUICK)}")
    ] = False,
    markdown: Markdown = False,
    as_json: AsJson = False,
) -> None:
    """Train the configs of published results, and print what was claimed, published and measured."""
    from bncompare import comparison, execution, report, runs

    one_form(markdown, as_json)
    experiments = load_experiments(_papers(context, names, quick))
    planned = execution.plan_runs(
        [run for experiment in experiments for run in experiment.runs], runs.RunStore(folder)
    )
    with _interruptible():
        events = execution.run_experiment(planned, data_dir=data_dir, num_processes=jobs)
        failures = show_progress(planned, events, quiet=as_json)
    findings = {name: judged for name, _, judged in _outcomes(planned)}
    if as_json:
        plain = [{"experiment": name, **comparison.to_plain(f)} for name, judged in findings.items() for f in judged]
        print_json({"claims": plain})
    elif markdown:
        print("\n".join(report.table_lines(report.claims_table(findings, names_once=True))))
    else:
        report.print_table(report.claims_table(findings))
    if failures:
        raise typer.Exit(1)


def _papers(context: typer.Context, names: list[str] | None, quick: bool) -> list[Path]:
    """The configs of published results that are asked for."""
    if quick and names:
        raise UserError("--quick: chooses the configs itself; give it or their names")
    papers = {name: path for name, path in shipped_configs(context).items() if path.parent.name == "papers"}
    for name in names or []:
        if name not in papers:
            raise UserError(f"{name}: no such config of a published result; valid: {', '.join(papers)}")
    return [papers[name] for name in names or (QUICK if quick else papers) if name in papers]


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
    from bncompare import report

    if as_json:
        print_json({"runs": rows})
        return
    report.print_table(report.plan_table(rows))
    finished = sum(item.state == "finished" for item in planned)
    print(f"{count(len(planned), 'run')}: {len(planned) - finished} to train, {finished} finished")


def _print_results(planned: "list[Planned]", as_json: bool, *, judge_claims: bool) -> None:
    """The runs that were trained or were there, and what became of the claims."""
    from bncompare import report
    from bncompare.runs import with_names

    if as_json:
        print_json({"runs": [run_json(run) for run in _read_planned(planned)]})
        return
    for name, runs, findings in _outcomes(planned):
        if not runs:
            continue
        report.print_table(report.summary_table(name, with_names(runs)))
        if findings and judge_claims:
            report.print_findings("claims", findings)
        print(f"{count(len(runs), 'run folder')} in {printable(str(runs[0].path.parent))}")


def _outcomes(planned: "list[Planned]") -> "Iterator[tuple[str, list[LoadedRun], list[Finding]]]":
    """By experiment, in the order of the plan: its runs after training, and its claims held against them."""
    from bncompare import comparison
    from bncompare.runs import with_names

    for name in dict.fromkeys(item.run.name for item in planned):
        members = [item for item in planned if item.run.name == name]
        runs = _read_planned(members)
        yield name, runs, [comparison.judge(claim, with_names(runs)) for claim in members[0].run.claims]


def _read_planned(planned: "list[Planned]") -> "list[LoadedRun]":
    """The runs of a plan after training; what cannot be read has failed, and said so."""
    from bncompare import runs

    loaded = []
    for item in planned:
        with suppress(OSError, ValueError, UserError):
            loaded.append(runs.read_run(item.folder.path))
    return loaded
