"""Settings that are fine, and in this run do nothing, or not what one might think."""

from bncompare.config.keys import Problem
from bncompare.config.run import RunConfig
from bncompare.config.schedulers import not_used_up
from bncompare.norms import NoNorm


def doubts(run: RunConfig) -> list[Problem]:
    """What whoever wrote a config without problems may not know."""
    training, optimizer, wanted, init = run.training, run.training.optimizer, run.diagnostics, run.model.init
    evaluations = run.num_evaluations - training.evaluate_at_start  # which no schedule counts
    found: list[Problem] = [*_of_schedule(run, evaluations), *_of_norm(run)]
    if run.data.validation == "test":
        message = (
            "test: the best epoch is chosen on the test set, so its test metrics are optimistic; compare the last"
        )
        found.append((("data", "validation"), message))
    if training.eval_every is not None and training.eval_every > run.total_steps:
        message = f"{training.eval_every} is after the end, step {run.total_steps}: the end alone is evaluated"
        found.append((("training", "eval_every"), message))
    stopping = training.early_stopping
    if stopping is not None and stopping.patience >= evaluations - 1:  # the first evaluation improves on nothing
        message = not_used_up(stopping.patience, evaluations)
        found.append((("training", "early_stopping", "patience"), message))
    if not optimizer.decay_norm and optimizer.weight_decay == 0:
        found.append((("training", "optimizer", "decay_norm"), "has no effect: weight_decay is 0"))
    if training.l1 > 0 and training.trainable == "norm":
        found.append((("training", "l1"), "has no effect: no weight is trained"))
    if run.model.activation == "selu" and isinstance(run.model.norm, NoNorm) and init.kind != "lecun_normal":
        message = f"selu normalizes itself with init: lecun_normal (Klambauer et al. 2017), not with {init.kind}"
        found.append((("model", "activation"), message))
    if wanted.every > evaluations:
        number = f"{evaluations} evaluation{'' if evaluations == 1 else 's'}"
        message = f"{wanted.every} is after the end: of {number} the last alone is measured"
        found.append((("diagnostics", "every"), message))
    if wanted.layers == []:
        found.append((("diagnostics", "layers"), "is empty: no layer is measured"))
    return found


def _of_schedule(run: RunConfig, evaluations: int) -> list[Problem]:
    epochs, lr = run.training.epochs, run.training.optimizer.lr
    length, end = (run.total_steps, f"step {run.total_steps}") if epochs is None else (epochs, f"epoch {epochs}")
    if warmup := run.training.warmup:  # from whose end a schedule counts
        length, end = length - warmup, f"{end}, which is {length - warmup} after the warm-up"
        evaluations -= (run.warmup_steps - 1) // (run.training.eval_every or run.steps_per_epoch)
    found = run.training.scheduler.doubts(length, end, lr, evaluations)
    return [(("training", "scheduler", *key), message) for key, message in found]


def _of_norm(run: RunConfig) -> list[Problem]:
    return [(("model", "norm", key), message) for key, message in run.model.norm.doubts(run.total_steps)]
