"""What a schema can't say: settings that are each fine and together are not."""

import math
from collections import Counter
from collections.abc import Iterable

from bncompare.config.architecture import Layer
from bncompare.config.keys import KeyPath, Problem
from bncompare.config.quantities import layers, measured, plan
from bncompare.config.run import RunConfig
from bncompare.config.seeds import Until
from bncompare.norms import NoNorm, Norm
from bncompare.probes import Plan, repeated

MAX_RUNS = 10_000
MAX_TABLE_BYTES = 32 * 1024 * 1024  # of metrics.csv and of diagnostics.csv: a larger one is not read
NUMBER_BYTES = 25  # of a number and a comma, at most


def check_run(run: RunConfig) -> list[Problem]:
    """Every problem of one run, as (path of the key, what is wrong)."""
    problems = [*_check_seeds(run), *_check_data(run), *_check_training(run), *_check_monitors(run)]
    problems += _below(("model",), _unsuited(run))
    if not any(map(is_fundamental, problems)):
        known, planned = plan(run), layers(run)
        problems += [
            *_check_norm(run, planned),
            *_check_diagnostics(run, planned, known),
            *_check_stack(run, planned),
        ]
        problems += _check_tables(run, planned, known)
    return problems


def _unsuited(run: RunConfig) -> list[Problem]:
    setting = run.data.enlarged_by
    advice = f"; give data.{setting}" if setting else ""
    return [(key, message + advice) for key, message in run.model.problems(run.data.input_shape)]


def _below(section: KeyPath, problems: Iterable[Problem]) -> list[Problem]:
    return [((*section, *key), message) for key, message in problems]


def is_fundamental(problem: Problem) -> bool:
    """Whether it leaves the layers, the batches or the length of a run unknown, on which other checks rely."""
    path, _ = problem
    return path[0] == "data" or path in (("model", "name"), ("training", "epochs"))


def _check_seeds(run: RunConfig) -> list[Problem]:
    seeds = run.seeds
    if isinstance(seeds, Until):
        message = f"{seeds.at_most} is less than at_least, {seeds.at_least}"
        return [(("seeds", "at_most"), message)] if seeds.at_most < seeds.at_least else []
    twice = next((seed for seed, number in Counter(seeds).items() if number > 1), None)
    return [] if twice is None else [(("seeds",), f"{twice} is there twice")]


def _check_data(run: RunConfig) -> list[Problem]:
    data, problems = run.data, list[Problem]()
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
        problems.append((("data", "validation"), f"test, but {data.without_test}"))
    return [*_below(("data",), data.problems()), *problems]


def _check_training(run: RunConfig) -> list[Problem]:
    training, problems = run.training, list[Problem]()
    if (training.epochs is None) == (training.steps is None):
        both = training.epochs is not None
        message = "give epochs or steps, not both" if both else "missing: give epochs, or steps"
        problems.append((("training", "epochs"), message))
    of_sampler = training.sampler.problems(training.batch_size, run.data.name, has_classes=run.data.is_classification)
    problems += _below(("training", "sampler"), of_sampler)
    problems += _below(("training", "optimizer"), training.optimizer.problems())
    length = training.epochs or training.steps or 1
    scheduled = length - training.warmup  # a schedule counts from the end of the warm-up
    problems += _below(("training", "scheduler"), training.scheduler.problems(scheduled, training.optimizer.lr))
    if training.warmup >= length:
        unit = "step" if training.epochs is None else "epoch"
        problems.append((("training", "warmup"), f"{training.warmup} is not before the end, {unit} {length}"))
    if training.label_smoothing > 0 and not run.data.is_classification:
        problems.append((("training", "label_smoothing"), f"{run.data.name} has no classes"))
    return problems


def _check_monitors(run: RunConfig) -> list[Problem]:
    training, problems = run.training, list[Problem]()
    monitors: dict[KeyPath, str | None] = {("training", "monitor"): training.monitor}
    if training.early_stopping is not None:
        monitors["training", "early_stopping", "monitor"] = training.early_stopping.monitor
    monitors["training", "scheduler", "monitor"] = training.scheduler.watched
    for path, metric in monitors.items():
        if metric is not None and metric not in run.metric_names:
            if metric.endswith("accuracy") and not run.data.is_classification:
                why = f"{run.data.name} has no accuracy"
            else:
                why = "data.validation is 0"
            valid = ", ".join(run.metric_names)
            problems.append((path, f"{metric} will not exist: {why}; valid: {valid}"))
    return problems


def _check_stack(run: RunConfig, planned: list[Layer]) -> list[Problem]:
    """What differs between seeds cannot be of one program."""
    differing: dict[KeyPath, bool] = {
        ("training", "clip_gradient_norm"): run.training.clip_gradient_norm is not None,
        ("training", "scheduler"): run.training.scheduler.watching("train/loss").watched is not None,
        ("model", "dropout"): any(layer.dropout for layer in planned),
    }
    message = "is another for each seed, and training.stack trains all seeds as one program"
    return [(path, message) for path, is_so in differing.items() if is_so and run.training.stack]


def _check_diagnostics(run: RunConfig, planned: list[Layer], known: Plan) -> list[Problem]:
    wanted, problems = run.diagnostics, list[Problem]()
    names = [layer.name for layer in planned]
    if wanted.layers != "all":
        for i, name in enumerate(wanted.layers):
            if name not in names:
                message = f"{name!r} is not a layer of this model; valid: {', '.join(names)}"
                problems.append((("diagnostics", "layers", i), message))
        problems += [(("diagnostics", key), message) for key, message in repeated("layers", wanted.layers)]
    problems += [(("diagnostics", key), message) for probe in wanted.probes for key, message in probe.problems(known)]
    if wanted.examples is not None:
        if wanted.examples > run.data.num_train:
            message = f"{wanted.examples} is more than the {run.data.num_train} training examples"
            problems.append((("diagnostics", "examples"), message))
        for layer in planned:
            if layer.norm and layer.norm.problem(layer.shape, wanted.examples):
                message = f"{run.model.norm.kind} norm has no statistics of {wanted.examples}"
                problems.append((("diagnostics", "examples"), message))
                break
    return problems


def _check_tables(run: RunConfig, planned: list[Layer], known: Plan) -> list[Problem]:
    """A run whose tables would be too large to be read would never be finished."""
    evaluations = run.num_evaluations
    measurements = evaluations // run.diagnostics.every + 1 + run.training.evaluate_at_start
    sizes = [len(f"{layer},{quantity},".encode()) + 3 * NUMBER_BYTES for layer, quantity in measured(run, known)]
    chosen = known.chosen if run.diagnostics.norm_parameters else ()
    normalized = [layer for layer in planned if layer.norm and layer.name in chosen]
    values = sum(2 * math.prod(layer.shape) for layer in normalized)  # of γ and β, each recorded at the end
    tables: dict[KeyPath, tuple[str, int]] = {
        ("training", "eval_every"): ("metrics.csv", evaluations * (len(run.metric_names) + 3) * NUMBER_BYTES),
        ("diagnostics", "every"): ("diagnostics.csv", measurements * sum(sizes) + values * 5 * NUMBER_BYTES),
    }
    most = MAX_TABLE_BYTES >> 20
    return [
        (
            path,
            f"{evaluations:,} evaluations make {name} up to {size >> 20:,} MiB; no more than {most} are read",
        )
        for path, (name, size) in tables.items()
        if size > MAX_TABLE_BYTES
    ]


def _check_norm(run: RunConfig, planned: list[Layer]) -> list[Problem]:
    norm, problems = run.model.norm, list[Problem]()
    if isinstance(norm, NoNorm):
        if run.training.trainable in ("norm", "random"):
            message = f"{run.training.trainable}: this model has no norm with γ and β"
            return [(("training", "trainable"), message)]
        return []
    if norm.of_weight not in (norm, None):
        problems += _check_together(run)
    if isinstance(norm.layers, list):
        names = [layer.name for layer in planned if layer.has_weight and not layer.is_output]
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
    has_parameters = any(layer.norm and layer.norm.has_parameters for layer in planned)
    if run.training.trainable in ("norm", "random") and not has_parameters:
        problems.append((("training", "trainable"), f"{run.training.trainable}: {norm.kind} norm has no γ or β"))
    problems += _check_eval_stats(run, norm, planned)
    return problems


def _check_together(run: RunConfig) -> list[Problem]:
    """A norm of the weight with one of what leaves the layer is where that is."""
    of_weight = run.model.norm.model_dump()["weight_norm"]
    elsewhere = [name for name, usual in (("layers", "all"), ("on_output", False)) if of_weight[name] != usual]
    message = "has no effect: a norm of the weight is in the layers of the other; give it there"
    problems: list[Problem] = [(("model", "norm", "weight_norm", name), message) for name in elsewhere]
    if run.training.trainable == "random":
        problems.append((("training", "trainable"), "random: not of weights that a norm of their own makes"))
    return problems


def _check_eval_stats(run: RunConfig, norm: Norm, planned: list[Layer]) -> list[Problem]:
    chosen = {norm.evaluated_with, *run.diagnostics.eval_stats}.intersection(norm.available_statistics)
    smallest = min([size for size in (run.data.validation_size, run.data.test_size) if size], default=2)
    if "batch" in chosen and smallest == 1 and any(layer.norm and layer.kind == "dense" for layer in planned):
        return [(("model", "norm"), "evaluation with batch statistics needs 2 examples or more to evaluate on")]
    return []
