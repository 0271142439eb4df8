"""Settings that have no effect: each is fine, and does nothing in this run."""

from bncompare.config.checks import Problem
from bncompare.config.keys import KeyPath
from bncompare.config.run import RunConfig
from bncompare.config.training import CosineLR, MultiStepLR, ReduceOnPlateau, StepLR
from bncompare.norms import BatchRenorm


def doubts(run: RunConfig) -> list[Problem]:
    """What a run without problems asks for and will not get."""
    training, optimizer, wanted = run.training, run.training.optimizer, run.diagnostics
    evaluations = -(-run.total_steps // (training.eval_every or run.steps_per_epoch))
    found: list[Problem] = [*_doubts_of_schedule(run, evaluations), *_doubts_of_norm(run)]
    if training.eval_every is not None and training.eval_every > run.total_steps:
        message = f"{training.eval_every} is after the end, step {run.total_steps}: the end alone is evaluated"
        found.append((("training", "eval_every"), message))
    stopping = training.early_stopping
    if stopping is not None and stopping.patience >= evaluations - 1:  # the first evaluation improves on nothing
        message = _not_used_up(stopping.patience, evaluations)
        found.append((("training", "early_stopping", "patience"), message))
    if not optimizer.decay_norm and optimizer.weight_decay == 0:
        found.append((("training", "optimizer", "decay_norm"), "has no effect: weight_decay is 0"))
    if wanted.every > evaluations:
        message = f"{wanted.every} is after the end: of {_evaluations(evaluations)} the last alone is measured"
        found.append((("diagnostics", "every"), message))
    if wanted.layers == []:
        found.append((("diagnostics", "layers"), "is empty: no layer is measured"))
    return found


def _evaluations(number: int) -> str:
    return f"{number} evaluation{'' if number == 1 else 's'}"


def _not_used_up(patience: int, evaluations: int) -> str:
    are = "is" if evaluations == 1 else "are"
    return f"{patience} is not used up before the end: there {are} {_evaluations(evaluations)}"


def _doubts_of_schedule(run: RunConfig, evaluations: int) -> list[Problem]:
    scheduler, lr, found = run.training.scheduler, run.training.optimizer.lr, list[Problem]()
    path: KeyPath = ("training", "scheduler")
    length, unit = run.training.epochs, "epoch"
    if length is None:
        length, unit = run.total_steps, "step"
    if isinstance(scheduler, StepLR) and scheduler.step_size >= length:
        found.append(((*path, "step_size"), f"{scheduler.step_size} is not before the end, {unit} {length}"))
    if isinstance(scheduler, MultiStepLR) and scheduler.milestones[-1] >= length:
        found.append(((*path, "milestones"), f"{scheduler.milestones[-1]} is not before the end, {unit} {length}"))
    if isinstance(scheduler, CosineLR) and scheduler.eta_min >= lr:
        found.append(((*path, "eta_min"), f"{scheduler.eta_min} is not below the learning rate, {lr}"))
    if isinstance(scheduler, ReduceOnPlateau):
        if scheduler.min_lr >= lr:
            found.append(((*path, "min_lr"), f"{scheduler.min_lr} is not below the learning rate, {lr}"))
        if scheduler.patience >= evaluations - 2:  # one more than these are needed, after the first evaluation
            found.append(((*path, "patience"), _not_used_up(scheduler.patience, evaluations)))
    return found


def _doubts_of_norm(run: RunConfig) -> list[Problem]:
    norm, path = run.model.norm, ("model", "norm")
    if not isinstance(norm, BatchRenorm):
        return []
    if norm.start >= run.total_steps:
        message = f"{norm.start} is not before the end, step {run.total_steps}: this is plain batch normalization"
        return [((*path, "start"), message)]
    found: list[Problem] = []
    for name, end in {"rmax_end": norm.rmax_end, "dmax_end": norm.dmax_end}.items():
        if end < norm.start:
            written = name in norm.model_fields_set
            relation = f"{end} is before start, {norm.start}" if written else f"{norm.start} is after {name}, {end}"
            message = f"{relation}: the limit jumps instead of growing"
            found.append(((*path, name if written else "start"), message))
    return found
