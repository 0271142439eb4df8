"""What a schema can't say: settings that are each fine and together are not."""

from bncompare.config.architecture import Layer, layers
from bncompare.config.schema import (
    SGD,
    Claim,
    LeNet,
    MultiStepLR,
    RandomRegression,
    ReduceOnPlateau,
    RunConfig,
)
from bncompare.config.strict_yaml import KeyPath
from bncompare.norms import NoNorm, Norm
from bncompare.norms.kinds import BatchFamily, TrackingBatchNorm

Problem = tuple[KeyPath, str]

MAX_VALUES = 250_000_000  # samples × features: 1 GB of float32
MAX_RUNS = 10_000


def check_run(run: RunConfig) -> list[Problem]:
    """Every problem of one run, as (path of the key, what is wrong)."""
    problems = [*_check_data(run), *_check_training(run), *_check_monitors(run)]
    if isinstance(run.model, LeNet) and isinstance(run.data, RandomRegression):
        problems.append((("model", "name"), "lenet needs images (mnist, fashion_mnist); use mlp"))
    elif not problems:  # the layers can be worked out
        problems += _check_norm(run)
    return problems


def _check_data(run: RunConfig) -> list[Problem]:
    data, problems = run.data, list[Problem]()
    if isinstance(data, RandomRegression) and (data.samples + data.test_samples) * data.features > MAX_VALUES:
        problems.append((("data", "samples"), f"samples × features is over {MAX_VALUES:,} values (1 GB)"))
    left = data.pool_size - data.validation_size
    if isinstance(data.validation, float) and data.validation_size == 0:
        message = f"{data.validation} of {data.pool_size} examples is an empty validation set"
        problems.append((("data", "validation"), message))
    elif left < 1:
        message = f"{data.validation_size} of {data.pool_size} examples leaves none to train on"
        problems.append((("data", "validation"), message))
    elif data.num_train > left:
        message = f"{data.train_size} is more than the {left} examples that are left for training"
        problems.append((("data", "train_size"), message))
    if data.validation == "test" and data.test_size == 0:
        problems.append((("data", "validation"), "test, but test_samples is 0: there is no test set"))
    return problems


def _check_training(run: RunConfig) -> list[Problem]:
    training, problems = run.training, list[Problem]()
    if (training.epochs is None) == (training.steps is None):
        both = training.epochs is not None
        message = "give epochs or steps, not both" if both else "missing: give epochs, or steps"
        problems.append((("training", "epochs"), message))
    optimizer, scheduler = training.optimizer, training.scheduler
    if isinstance(optimizer, SGD) and optimizer.nesterov and optimizer.momentum == 0:
        problems.append((("training", "optimizer", "nesterov"), "needs a momentum above 0"))
    if isinstance(scheduler, MultiStepLR) and scheduler.milestones != sorted(set(scheduler.milestones)):
        message = f"must increase, not {scheduler.milestones}"
        problems.append((("training", "scheduler", "milestones"), message))
    return problems


def _check_monitors(run: RunConfig) -> list[Problem]:
    training, problems = run.training, list[Problem]()
    monitors: dict[KeyPath, str | None] = {("training", "monitor"): training.monitor}
    if training.early_stopping is not None:
        monitors["training", "early_stopping", "monitor"] = training.early_stopping.monitor
    if isinstance(training.scheduler, ReduceOnPlateau):
        monitors["training", "scheduler", "monitor"] = training.scheduler.monitor
    for path, metric in monitors.items():
        if metric is not None and metric not in run.metric_names:
            if metric.endswith("accuracy") and not run.data.is_classification:
                why = f"{run.data.name} has no accuracy"
            else:
                why = "data.validation is 0"
            valid = ", ".join(run.metric_names)
            problems.append((path, f"{metric} will not exist: {why}; valid: {valid}"))
    if run.diagnostics.eval_stats and not run.data.has_validation:
        problems.append((("diagnostics", "eval_stats"), "needs validation examples: data.validation is 0"))
    return problems


def _check_norm(run: RunConfig) -> list[Problem]:
    norm, problems = run.model.norm, list[Problem]()
    if isinstance(norm, NoNorm):
        if run.training.trainable == "norm":
            return [(("training", "trainable"), "norm: this model has no norm to train")]
        return []
    planned = layers(run)
    if isinstance(norm.layers, list):
        names = [layer.name for layer in planned if not layer.is_output]
        for i, name in enumerate(norm.layers):
            if name not in names:
                message = f"{name!r} is not a layer of this model; valid: {', '.join(names)}"
                problems.append((("model", "norm", "layers", i), message))
    if not any(layer.norm for layer in planned) and not problems:
        message = f"no layer of this {run.model.name} would have a norm; use norm: none"
        problems.append((("model", "norm", "layers"), message))
    for layer in planned:
        problem = layer.norm.problem(layer.shape, run.batch_size) if layer.norm else None
        if problem:
            problems.append((("model", "norm"), f"{norm.kind} norm on {layer.kind} layer {layer.name} {problem}"))
            break  # the other layers have the same
    if run.training.trainable == "norm" and not any(layer.norm and layer.norm.has_parameters for layer in planned):
        problems.append((("training", "trainable"), f"norm: {norm.kind} norm has no γ or β to train"))
    problems += _check_eval_stats(run, norm, planned)
    return problems


def _check_eval_stats(run: RunConfig, norm: Norm, planned: list[Layer]) -> list[Problem]:
    chosen = {*run.diagnostics.eval_stats}
    if chosen and not isinstance(norm, BatchFamily):
        return []  # nothing to measure; a variant may have no statistics
    if isinstance(norm, BatchFamily):
        chosen.add(norm.eval_stats)
        if isinstance(norm, TrackingBatchNorm) and not norm.track_running_stats:
            chosen.add("batch")
    smallest = min([size for size in (run.data.validation_size, run.data.test_size) if size], default=2)
    if "batch" in chosen and smallest == 1 and any(layer.norm and layer.kind == "dense" for layer in planned):
        return [(("model", "norm"), "evaluation with batch statistics needs 2 examples or more to evaluate on")]
    return []


def _check_at(claim: Claim, variants: list[RunConfig]) -> list[str]:
    at = claim.at
    if isinstance(at, str):
        return []
    if (at.epoch is None) == (at.step is None):
        return ["give epoch or step"]
    if claim.metric.startswith("test/"):
        return ["must be best or last: the test set is evaluated at the end alone"]
    if at.epoch is not None:
        longest = max(config.total_steps / config.steps_per_epoch for config in variants)
        return [f"epoch {at.epoch} is after the end, epoch {longest:g}"] if at.epoch > longest else []
    last = max(config.total_steps for config in variants)
    return [f"step {at.step} is after the end, step {last}"] if (at.step or 0) > last else []


def check_claims(variants: list[RunConfig]) -> list[Problem]:
    """Every claim names variants that exist, a metric that exists, and a bound of the right sort."""
    config, problems = variants[0], list[Problem]()
    metrics = [*config.metric_names]
    if config.data.test_size > 0:
        metrics += [f"test/{name.split('/')[1]}" for name in metrics if name.startswith("train/")]
    for i, claim in enumerate(config.claims):
        path: KeyPath = ("claims", i)
        if claim.metric not in metrics:
            problems.append(((*path, "metric"), f"{claim.metric} will not exist; valid: {', '.join(metrics)}"))
        for key, selector in (("variant", claim.variant), ("versus", claim.versus)):
            if selector is not None and not any(variant.matches(selector) for variant in variants):
                labels = ", ".join(variant.variant.label for variant in variants)
                problems.append(((*path, key), f"{selector} is none of the variants; they are: {labels}"))
        differences = [name.startswith("difference") for name in claim.bounds]
        if not differences:
            problems.append((path, "needs a bound: at_least, at_most, or difference_at_least, …"))
        elif claim.versus is None and any(differences):
            problems.append((path, "difference_… is about two variants: name the other one in versus"))
        elif claim.versus is not None and not all(differences):
            bounds = ", ".join(name for name in claim.bounds if not name.startswith("difference"))
            problems.append((path, f"{bounds} is about one variant: leave out versus, or use difference_…"))
        if claim.versus == claim.variant:
            problems.append(((*path, "versus"), f"{claim.versus} is the variant itself"))
        problems += [((*path, "at"), message) for message in _check_at(claim, variants)]
    return problems
