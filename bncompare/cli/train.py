"""train, demo, verify, papers."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from bncompare import api
from bncompare.cli.answer import print_answers, tell_other_settings
from bncompare.cli.app import app
from bncompare.cli.configs import Configs, load_experiments, presets_of
from bncompare.cli.look import runs_at
from bncompare.cli.options import (
    Address,
    AllowInexact,
    AsJson,
    DataFolder,
    Device,
    DryRun,
    Executor,
    Jobs,
    JudgeSeeds,
    KeepCheckpoints,
    Markdown,
    MaxSeeds,
    NoReport,
    Overrides,
    RunPaths,
    RunsFolder,
    Seeds,
    Selection,
    SmokeTest,
    Stack,
    UntilDecided,
    one_form,
    print_json,
    run_json,
)
from bncompare.cli.plan import chosen_runs, print_plan
from bncompare.cli.streams import say, warn
from bncompare.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bncompare.comparison import Finding
    from bncompare.config import RunConfig
    from bncompare.execution import Planned

QUICK = ("tutorial-regression", "one-at-a-time")  # the published results that --quick trains


@app.command("train", short_help="Train the experiments of config files.")
def train_experiments(
    configs: Configs,
    overrides: Overrides = None,
    seeds: Seeds = None,
    until_decided: UntilDecided = False,
    max_seeds: MaxSeeds = None,
    judge_seeds: JudgeSeeds = None,
    jobs: Jobs = None,
    device: Device = None,
    stack: Stack = False,
    folder: RunsFolder = Path("runs"),
    data_dir: DataFolder = None,
    smoke: SmokeTest = False,
    dry_run: DryRun = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="train again what is finished already")] = False,
    select: Selection = None,
    executor: Executor = "local",
    address: Address = None,
    allow_inexact: AllowInexact = False,
    keep_checkpoints: KeepCheckpoints = False,
    no_report: NoReport = False,
    as_json: AsJson = False,
) -> None:
    """Train every variant of the experiments on every seed; go on where an earlier call left off."""
    from bncompare import config

    if address is not None and executor != "ray":
        raise UserError("--address: is that of a Ray cluster; add --executor ray")
    cluster = (address or "local") if executor == "ray" else None
    tuning = config.tuning_options([], None, judge_seeds)
    of_seeds = {"seeds": seeds, "until_decided": until_decided, "max_seeds": max_seeds}
    options = {"device": device, "stack": stack, "smoke": smoke}
    experiments = load_experiments(configs, overrides, tuning=tuning, **of_seeds, **options)
    train_runs(
        chosen_runs(experiments, select),
        folder,
        fresh=fresh,
        dry_run=dry_run,
        is_part=select is not None,
        no_report=no_report,
        as_json=as_json,
        num_processes=jobs,
        data_dir=data_dir,
        cluster=cluster,
        allow_inexact=allow_inexact,
        keep_checkpoints=keep_checkpoints,
    )


def train_runs(
    chosen: "Sequence[RunConfig]",
    folder: Path,
    *,
    fresh: bool = False,
    dry_run: bool = False,
    is_part: bool = False,
    no_report: bool = False,
    as_json: bool = False,
    **options: Any,
) -> None:
    """Train these runs, or say what that would be; the options are those of `run_experiment`."""
    jobs = 1 if dry_run else options["num_processes"]
    rounds = api.plan_rounds(chosen, folder, num_processes=jobs, cluster=options.get("cluster"), fresh=fresh)
    if dry_run:
        print_plan(rounds, as_json)
        return
    with _interruptible(f"; the same command {api.when_called_again(rounds)}"):
        try:
            if not as_json:
                tell_other_settings(rounds.plan)
            failures = api.train_rounds(rounds, api.screen_of(say, quiet=as_json), warn, **options)
        except SystemExit as interruption:
            finished = [item for item in rounds.planned if item.folder.has_result]
            if interruption.code == 128 + signal.SIGINT and finished and not as_json:
                print_answers(finished, judge_claims=False, with_report=False)
            raise
    # All is kept: a signal may end what draws, whose C code would swallow an exception.
    if as_json:
        until = [course.to_plain() for course in rounds.courses.values() if course.until]
        print_json({"runs": [run_json(run) for run in api.read_planned(rounds.planned)], "until_decided": until})
    else:
        outcomes = {folder: course.outcome for folder, course in rounds.courses.items()}
        with_report = not (is_part or no_report)
        print_answers(rounds.planned, judge_claims=not is_part, with_report=with_report, outcomes=outcomes)
    if failures:
        raise typer.Exit(1)


@app.command(short_help="Twenty seconds that show what a norm does.")
def demo(
    context: typer.Context,
    folder: RunsFolder = Path("runs"),
    jobs: Jobs = None,
) -> None:
    """Train the preset `demo`, in which the norm decides: real digits, no download; `train` for your own."""
    (experiment,) = load_experiments([presets_of(context)["demo"]])
    train_runs(experiment.runs, folder, num_processes=jobs, data_dir=None)


@app.command(short_help="Retrain finished runs and compare the bytes.")
def verify(
    paths: RunPaths,
    sample: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="K of the runs, drawn at random [default: all]")
    ] = None,
    jobs: Jobs = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="where MNIST, Fashion-MNIST and .npz files are [default: as train, but for data.dir]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Retrain finished runs from their config.yaml and compare the bytes; exit code 1 if a run is not reproduced."""
    from bncompare import execution, report

    chosen = execution.choose(runs_at(paths), sample)
    if not chosen:
        raise UserError(f"{', '.join(map(str, paths))}: none of the runs there is finished")
    with _interruptible():  # what is retrained is not kept
        verified = list(
            execution.verify_runs(
                chosen,
                data_dir=data_dir,
                num_processes=jobs,
                show=lambda planned, events: api.show_progress(
                    chain([execution.Round(list(planned), [], is_last=True)], events),
                    api.screen_of(say, quiet=as_json),
                    warn,
                ),
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
def papers(
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
    from bncompare import comparison, report

    one_form(markdown, as_json)
    experiments = load_experiments(_papers(context, names, quick))
    rounds = api.plan_rounds(chosen_runs(experiments, None), folder, num_processes=jobs)
    with _interruptible(f"; the same command {api.when_called_again(rounds)}"):
        screen = api.screen_of(say, quiet=as_json)
        failures = api.train_rounds(rounds, screen, warn, data_dir=data_dir, num_processes=jobs)
    findings = _findings(rounds.planned)
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
    there = {name: path for name, path in presets_of(context).items() if path.parent.name == "papers"}
    if names:
        return list(dict.fromkeys(api.preset_called(name, there, "config of a published result") for name in names))
    return [path for name, path in there.items() if not quick or name in QUICK]


@contextmanager
def _interruptible(advice: str = "") -> Iterator[None]:
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


def _findings(planned: "list[Planned]") -> "dict[str, list[Finding]]":
    """By experiment, in the order of the plan: its claims held against its runs after training."""
    from bncompare import comparison
    from bncompare.runs import with_names

    found = {}
    for members in api.by_folder(planned).values():
        runs = with_names(api.read_planned(members))
        claims = comparison.claims_of(runs, members[0].run.claims)
        found[members[0].run.name] = [comparison.judge(claim, runs) for claim in claims]
    return found
