"""`train`: an experiment from Python, by the same way as the command."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncompare.api import pages
from bncompare.api.cell import Cell, is_notebook
from bncompare.api.configs import config_called, experiments_of, shipped_configs
from bncompare.api.rounds import plan_rounds, train_rounds
from bncompare.api.runs import Runs
from bncompare.api.screens import Lines, Screen, screen_of
from bncompare.errors import UserError, printable

if TYPE_CHECKING:
    from bncompare.config import Experiment
    from bncompare.execution import Rounds


def train(
    config: "str | PathLike[str] | Mapping[str, Any]",
    *,
    settings: Mapping[str, Any] | None = None,
    seeds: int | str | Sequence[int] | None = None,
    until_decided: bool = False,
    max_seeds: int | None = None,
    judge_seeds: int | str | Sequence[int] | None = None,
    jobs: int | None = None,
    device: str | None = None,
    stack: bool = False,
    runs: str | PathLike[str] = "runs",
    data_dir: str | PathLike[str] | None = None,
    smoke: bool = False,
    fresh: bool = False,
    cluster: str | None = None,
    allow_inexact: bool = False,
    keep_checkpoints: bool = False,
    report: bool = False,
    progress: bool = True,
) -> Runs:
    """Train every variant of an experiment on every seed, and return the runs; go on where an earlier call left off.

    What is finished is not trained again, and after an interruption (Ctrl-C, or that of a kernel, which stays a
    KeyboardInterrupt) the same call goes on from the last checkpoints. It may be called in any thread.

    Args:
        config: a file, the name of a preset such as "demo", or a mapping as the YAML would be.
        settings: values by dotted key, such as {"training.optimizer.lr": 0.1}; as `--set`.
        seeds: a number of seeds, a list of them, or "0-4"; by default those of the config.
        until_decided: seeds 0, 1, … until every claim and main comparison is decided, `max_seeds` (40) at most.
        judge_seeds: fresh seeds, likewise, for what the others choose in a grid of norms.
        jobs: runs at a time, each in a process of its own where there are several; by default one a core, or one on
            a GPU. 1 trains in this process.
        device: auto, cpu, cuda, cuda:1 or mps, instead of the config's.
        stack: all seeds of a variant as one program, for a GPU; without checkpoints.
        runs: the folder of run folders.
        data_dir: where MNIST and Fashion-MNIST are, or are downloaded to.
        smoke: shrink to seconds, with small digits in place of MNIST and Fashion-MNIST.
        fresh: train again what is finished already.
        cluster: the address of a Ray cluster to train on, such as "auto"; "local" starts one here.
        allow_inexact: go on from checkpoints of other versions or another kind of CPU.
        keep_checkpoints: of finished runs, so that more epochs go on from them.
        report: write overview.png and report.html into the folder of the experiment, as the command does.
        progress: show how far it is: bars in a notebook and on a terminal, else lines on stderr.

    Returns:
        The runs in the order of the config; those that failed are among them, if they have a folder.

    Raises:
        UserError: for anything in the arguments, the config or the data that is not right, all of it at once, before
            the first run.
        StorageError: if the folders cannot be written.

    What is only doubtful, what a run lost, and which runs failed, are warnings (UserWarning); a failed run is tried
    again by the same call.
    """
    from bncompare.config import tuning_options
    from bncompare.execution import refuse_in_worker

    refuse_in_worker()
    of_seeds = {"seeds": _seeds(seeds), "until_decided": until_decided, "max_seeds": max_seeds}
    options = {"device": device, "stack": stack, "smoke": smoke}
    overrides = [f"{key}={_as_yaml(value)}" for key, value in (settings or {}).items()]
    tuning = tuning_options([], None, _seeds(judge_seeds))
    experiment = _experiment(config, overrides, tuning=tuning, **of_seeds, **options)
    rounds = plan_rounds(experiment.runs, Path(runs), num_processes=_checked(jobs), cluster=cluster, fresh=fresh)
    failures = train_rounds(
        rounds,
        _screen(progress),
        _warn,
        num_processes=jobs,
        data_dir=None if data_dir is None else Path(data_dir),
        cluster=cluster,
        allow_inexact=allow_inexact,
        keep_checkpoints=keep_checkpoints,
    )
    if failures:
        _warn(f"{len(failures)} of {len(rounds.planned)} runs failed: {'; '.join(failures)}")
    if report:
        pages.write_all(rounds.planned)
    return _trained(rounds)


MAX_JOBS = 4096


def _trained(rounds: "Rounds") -> Runs:
    """The runs of all rounds."""
    from bncompare.runs import with_names

    notes = [line for course in rounds.courses.values() for line in course.outcome]
    return Runs(with_names(pages.read_planned(rounds.planned)), stated=rounds.plan[0].run.claims, notes=notes)


def _checked(jobs: Any) -> int | None:
    """The number of jobs. Raises UserError."""
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or not 1 <= jobs <= MAX_JOBS):
        raise UserError(f"jobs={jobs!r}: must be a whole number from 1 to {MAX_JOBS}")
    number: int | None = jobs
    return number


def _screen(progress: bool) -> Lines | Screen:
    """A cell of a notebook, stderr, or nothing but what goes wrong."""
    if progress and is_notebook():
        return Cell()
    return screen_of(_on_stderr) if progress else Lines(_nowhere, quiet=True)


def _experiment(config: Any, overrides: Sequence[str], **options: Any) -> "Experiment":
    """The experiment of a config as it was named, after its warnings. Raises UserError."""
    if isinstance(config, str | PathLike):
        config = config_called(Path(config), shipped_configs())
    elif not isinstance(config, Mapping):
        raise UserError(
            f"{config!r:.80}: is no config; train takes a file, a preset's name, or a mapping as the YAML would be"
        )
    (experiment,) = experiments_of([config], overrides, **options)
    for warning in experiment.warnings:
        _warn(warning)
    return experiment


def _seeds(seeds: int | str | Sequence[int] | None) -> str | None:
    """As `--seeds` takes them."""
    if seeds is None or isinstance(seeds, str):
        return seeds
    if isinstance(seeds, Sequence):
        return ",".join(map(str, seeds)) if len(seeds) != 1 else f"{seeds[0]}-{seeds[0]}"
    return str(seeds)


def _as_yaml(value: Any) -> str:
    """On one line, as `--set` takes it."""
    from bncompare.config import selector_text

    return selector_text({"value": value}).partition(": ")[2]


def _warn(text: str) -> None:
    """A Python warning, at the line that called `train`."""
    frame, depth = sys._getframe(1), 2
    while frame.f_globals.get("__name__", "").startswith("bncompare.") and frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, stacklevel=depth)


def _on_stderr(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _nowhere(line: str) -> None:
    """Where lines go that nobody wants."""
