"""tune."""

from pathlib import Path
from typing import Annotated

import typer

from bncompare.cli.app import app
from bncompare.cli.configs import OneConfig, load_experiments
from bncompare.cli.options import (
    AsJson,
    DataFolder,
    Device,
    DryRun,
    Jobs,
    NoReport,
    Overrides,
    RunsFolder,
    SmokeTest,
)
from bncompare.cli.train import train_runs
from bncompare.errors import UserError

Over = Annotated[
    list[str] | None,
    typer.Option(
        "--over",
        metavar="KEY=VALUES",
        help="a hyperparameter: training.optimizer.lr=log:1e-4:3, training.optimizer.momentum=linear:0:0.99, "
        "training.batch_size=16,64; repeatable [default: those of the config's tune]",
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(metavar="N", help="the points at which each norm is tried [default: the config's, else 16]"),
]
TuningSeeds = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="SEEDS", help="of a trial: 0-4, 0,3,7 or a number of seeds [default: the config's, else 2]"
    ),
]
FreshSeeds = Annotated[
    str | None,
    typer.Option(
        "--judge-seeds",
        metavar="SEEDS",
        help="of the chosen, likewise; a number is of the next ones [default: the config's, else 6]",
    ),
]


@app.command(short_help="The best of each norm at equal budget, judged on fresh seeds.")
def tune(
    config: OneConfig,
    over: Over = None,
    trials: Trials = None,
    seeds: TuningSeeds = None,
    judge_seeds: FreshSeeds = None,
    overrides: Overrides = None,
    jobs: Jobs = None,
    device: Device = None,
    folder: RunsFolder = Path("runs"),
    data_dir: DataFolder = None,
    smoke: SmokeTest = False,
    dry_run: DryRun = False,
    no_report: NoReport = False,
    as_json: AsJson = False,
) -> None:
    """Try every norm at the same points, choose each one's best on validation, and judge these on fresh seeds."""
    from bncompare import config as configs

    tuning = configs.tuning_options(over or [], trials, judge_seeds)
    (experiment,) = load_experiments([config], overrides, seeds=seeds, device=device, smoke=smoke, tuning=tuning)
    if not experiment.runs[0].tuning_seeds:
        raise UserError(f"{config}: has no tune; say what to tune: --over training.optimizer.lr=log:1e-4:3")
    train_runs(
        experiment.runs,
        folder,
        dry_run=dry_run,
        no_report=no_report,
        as_json=as_json,
        num_processes=jobs,
        data_dir=data_dir,
    )
