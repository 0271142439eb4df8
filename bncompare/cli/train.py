"""train, verify, reproduce."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from bncompare.cli.app import app
from bncompare.cli.configs import shipped_configs
from bncompare.cli.look import runs_at
from bncompare.cli.options import AsJson, Paths, count, print_json, run_json
from bncompare.cli.streams import say
from bncompare.errors import UserError, printable, problem_lines

if TYPE_CHECKING:
    from bncompare.config import Experiment
    from bncompare.execution import Planned
    from bncompare.runs import LoadedRun

QUICK = ("tutorial-regression", "one-at-a-time")  # the published results that --quick reproduces


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
    experiments = load_experiments(configs, overrides or [], seeds, device, smoke)
    from bncompare.runs import RunStore

    store = RunStore(runs)
    chosen = [run for experiment in experiments for run in experiment.runs][_selection(select)]
    unfinished = [run for run in chosen if fresh or not store.run(run).has_result]
    if len(unfinished) > 1 and jobs != 1 and executor == "local" and not dry_run:
        from bncompare.execution import start_forkserver

        start_forkserver(unfinished)  # it imports torch while we do
    from bncompare.cli.progress import show_progress, tell_problems
    from bncompare.execution import plan_runs, run_experiment

    planned = plan_runs(chosen, store, fresh=fresh, elsewhere=cluster is not None)
    if dry_run:
        tell_problems(planned)
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
    loaded = runs_at(paths)
    from bncompare.cli.progress import show_progress
    from bncompare.execution import choose, verify_runs
    from bncompare.report import print_verified

    chosen = choose(loaded, sample)
    if not chosen:
        raise UserError(f"{', '.join(map(str, paths))}: none of the runs there is finished")
    with _interruptible(advice=""):  # what is retrained is not kept
        verified = list(
            verify_runs(
                chosen,
                data_dir=data_dir,
                num_processes=jobs,
                show=lambda planned, events: show_progress(planned, events, quiet=as_json),
            )
        )
    if as_json:
        print_json({"runs": [item.to_plain() for item in verified]})
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
    from bncompare.config import load_experiment

    papers = {name: path for name, path in shipped_configs().items() if path.parent.name == "papers"}
    for name in names or []:
        if name not in papers:
            raise UserError(f"{name}: no such config of a published result; valid: {', '.join(papers)}")
    experiments = [load_experiment(papers[name]) for name in names or (QUICK if quick else papers)]
    from bncompare.cli.progress import show_progress
    from bncompare.comparison import judge, to_plain
    from bncompare.execution import plan_runs, run_experiment
    from bncompare.runs import RunStore

    planned = plan_runs([run for experiment in experiments for run in experiment.runs], RunStore(runs))
    with _interruptible():
        events = run_experiment(planned, data_dir=data_dir, num_processes=jobs)
        failures = show_progress(planned, events, quiet=as_json)
    rows = []
    for experiment in experiments:
        members = _read_planned([item for item in planned if item.run.name == experiment.name])
        findings = [judge(claim, members) for claim in experiment.runs[0].claims]
        rows += [{"experiment": experiment.name, **to_plain(finding)} for finding in findings]
    if as_json:
        print_json({"claims": rows})
    elif markdown:
        from bncompare.report import reproduced_table

        print(reproduced_table(rows), end="")
    else:
        from bncompare.report import REPRODUCED, print_table, reproduced_cells

        print_table(REPRODUCED, [reproduced_cells(row) for row in rows])
    if failures:
        raise typer.Exit(1)


def load_experiments(
    configs: list[Path], overrides: list[str], seeds: str | None, device: str | None, smoke: bool
) -> "list[Experiment]":
    """Every config, or every problem of every config."""
    from bncompare.config import load_experiment

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
        print_json({"runs": rows})
        return
    from bncompare.report import print_table

    columns = ["experiment", "variant", "seed", "parameters", "steps", "state"]
    cells = [[str(row[name]) if name != "parameters" else f"{row[name]:,}" for name in columns] for row in rows]
    print_table(columns, cells, right={"seed", "parameters", "steps"})
    finished = sum(item.state == "finished" for item in planned)
    print(f"{count(len(planned), 'run')}: {len(planned) - finished} to train, {finished} finished")


def _print_results(planned: "list[Planned]", as_json: bool, *, judge_claims: bool) -> None:
    from bncompare.comparison import judge
    from bncompare.report import print_findings, print_summary

    loaded = _read_planned(planned)
    if as_json:
        print_json({"runs": [run_json(run) for run in loaded]})
        return
    for name in dict.fromkeys(run.experiment for run in loaded):
        runs = [run for run in loaded if run.experiment == name]
        print_summary(name, runs)
        claims = next(item.run.claims for item in planned if item.run.name == name)
        if claims and judge_claims:
            print_findings("claims", [judge(claim, runs) for claim in claims])
        print(f"{count(len(runs), 'run folder')} in {printable(str(runs[0].path.parent))}")


def _read_planned(planned: "list[Planned]") -> "list[LoadedRun]":
    """The runs of a plan after training; what cannot be read has failed, and said so."""
    from bncompare.runs import read_run

    loaded = []
    for item in planned:
        with suppress(OSError, ValueError, UserError):
            loaded.append(read_run(item.folder.path))
    return loaded
