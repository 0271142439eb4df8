"""What a schema can't say: settings that are each fine and together are not."""

import itertools
import math
from collections import Counter
from typing import Any

from bncompare.config.claims import At, Claim
from bncompare.config.data import RandomRegression
from bncompare.config.keys import KeyPath, selects
from bncompare.config.layers import Layer, layers
from bncompare.config.measured import measured, plan
from bncompare.config.model import LeNet
from bncompare.config.run import RunConfig
from bncompare.config.training import SGD, ClassClusteredSampler, CosineLR, MultiStepLR, ReduceOnPlateau, StepLR
from bncompare.config.yaml import selector_text
from bncompare.norms import BatchFamily, BatchRenorm, NoNorm, Norm
from bncompare.probes import repeated

Problem = tuple[KeyPath, str]

MAX_RUNS = 10_000
MAX_TABLE_BYTES = 32 * 1024 * 1024  # of metrics.csv and of diagnostics.csv: a larger one is not read
NUMBER_BYTES = 25  # of a number and a comma, at most


def check_run(run: RunConfig) -> list[Problem]:
    """Every problem of one run, as (path of the key, what is wrong)."""
    problems = [*_check_seeds(run), *_check_data(run), *_check_training(run), *_check_monitors(run)]
    if isinstance(run.model, LeNet) and isinstance(run.data, RandomRegression):
        problems.append((("model", "name"), "lenet needs images (mnist, fashion_mnist); use mlp"))
    if not any(map(is_fundamental, problems)):
        planned = layers(run)
        problems += [*_check_norm(run, planned), *_check_diagnostics(run, planned), *_check_tables(run)]
    return problems


def is_fundamental(problem: Problem) -> bool:
    """Whether it leaves the layers, the batches or the length of a run unknown, on which other checks rely."""
    path, _ = problem
    return path[0] == "data" or path in (("model", "name"), ("training", "epochs"))


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


def _check_seeds(run: RunConfig) -> list[Problem]:
    twice = next((seed for seed, number in Counter(run.seeds).items() if number > 1), None)
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
        problems.append((("data", "validation"), "test, but test_samples is 0: there is no test set"))
    return problems


def _check_training(run: RunConfig) -> list[Problem]:
    training, problems = run.training, list[Problem]()
    if (training.epochs is None) == (training.steps is None):
        both = training.epochs is not None
        message = "give epochs or steps, not both" if both else "missing: give epochs, or steps"
        problems.append((("training", "epochs"), message))
    optimizer, scheduler, sampler = training.optimizer, training.scheduler, training.sampler
    if isinstance(sampler, ClassClusteredSampler):
        if not run.data.is_classification:
            problems.append((("training", "sampler"), f"class_clustered: {run.data.name} has no classes"))
        elif training.batch_size == "full" or training.batch_size % sampler.classes_per_batch:
            message = f"{sampler.classes_per_batch} does not divide the batch size, {training.batch_size}"
            problems.append((("training", "sampler", "classes_per_batch"), message))
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
    return problems


def _check_diagnostics(run: RunConfig, planned: list[Layer]) -> list[Problem]:
    wanted, problems = run.diagnostics, list[Problem]()
    names = [layer.name for layer in planned]
    if wanted.layers != "all":
        for i, name in enumerate(wanted.layers):
            if name not in names:
                message = f"{name!r} is not a layer of this model; valid: {', '.join(names)}"
                problems.append((("diagnostics", "layers", i), message))
        problems += [(("diagnostics", key), message) for key, message in repeated("layers", wanted.layers)]
    known = plan(run)
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


def _check_tables(run: RunConfig) -> list[Problem]:
    """A run whose tables would be too large to be read would never be finished."""
    evaluations = -(-run.total_steps // (run.training.eval_every or run.steps_per_epoch))
    measurements = evaluations // run.diagnostics.every + 1
    sizes = [len(f"{layer},{quantity},".encode()) + 3 * NUMBER_BYTES for layer, quantity in measured(run)]
    chosen = plan(run).chosen if run.diagnostics.norm_parameters else ()
    normalized = [layer for layer in layers(run) if layer.norm and layer.name in chosen]
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
    has_parameters = any(layer.norm and layer.norm.has_parameters for layer in planned)
    if run.training.trainable in ("norm", "random") and not has_parameters:
        problems.append((("training", "trainable"), f"{run.training.trainable}: {norm.kind} norm has no γ or β"))
    problems += _check_eval_stats(run, norm, planned)
    return problems


def _check_eval_stats(run: RunConfig, norm: Norm, planned: list[Layer]) -> list[Problem]:
    if not isinstance(norm, BatchFamily):
        return []
    chosen = {norm.evaluated_with, *run.diagnostics.eval_stats}
    smallest = min([size for size in (run.data.validation_size, run.data.test_size) if size], default=2)
    if "batch" in chosen and smallest == 1 and any(layer.norm and layer.kind == "dense" for layer in planned):
        return [(("model", "norm"), "evaluation with batch statistics needs 2 examples or more to evaluate on")]
    return []


# ---------------------------------------------------------------- claims


def check_claims(claims: list[Claim]) -> list[Problem]:
    """What is wrong with claims whatever is trained: with their bounds, and with how these fit the metric."""
    problems = list[Problem]()
    for i, claim in enumerate(claims):
        path: KeyPath = ("claims", i)
        if claim.problem:
            problems.append((path, claim.problem))
        else:
            problems += [((*path, key), message) for key, message in _check_bounds(claim)]
        if claim.metric == "diverged" and claim.versus is not None:
            problems.append(((*path, "versus"), "diverged is claimed of one variant: leave out versus"))
        if message := _check_form_of_at(claim):
            problems.append(((*path, "at"), message))
    return problems


def _check_form_of_at(claim: Claim) -> str | None:
    at = claim.at
    if claim.metric == "diverged":  # the config.yaml of a run writes out the default
        return None if at == "best" else "diverged is said of a whole run: leave out at"
    if not isinstance(at, str) and (at.epoch is None) == (at.step is None):
        return "give epoch or step"
    if claim.metric.startswith("test/") and at not in ("best", "last"):
        return "must be best or last: the test set is evaluated at the end alone"
    return None


def _check_bounds(claim: Claim) -> list[tuple[str, str]]:
    """A bound that no value meets, or every one, says nothing; nor do two that no interval meets together."""
    problems = []
    for name, bound in claim.bounds.items():
        low, high, what = _range(claim.metric, is_difference=name.startswith("difference"))
        if not low < bound < high:
            every = f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
            limits = f"between {low:g} and {high:g}" if math.isfinite(high) else f"above {low:g}"
            problems.append((name, f"must be {limits}, as every {what} is {every}, not {bound:g}"))
    least = {name: -v if name.endswith("within") else v for name, v in claim.bounds.items() if "at_most" not in name}
    most = {name: bound for name, bound in claim.bounds.items() if "at_least" not in name}
    if least and most:
        lower, upper = max(least, key=least.__getitem__), min(most, key=most.__getitem__)
        if least[lower] >= most[upper]:
            how = "contradicts" if least[lower] > most[upper] else "leaves nothing between it and"
            problems.append((upper, f"{most[upper]:g} {how} {lower}: {claim.bounds[lower]:g}"))
    return problems


def _range(metric: str, *, is_difference: bool) -> tuple[float, float, str]:
    """The least and the greatest value there can be, and what it is a value of."""
    what, low, high = "value", -math.inf, math.inf
    if "/loss" in metric:  # and `diagnostics/model/val/loss with batch statistics`
        what, low = "loss", 0
    elif metric == "diverged" or "/accuracy" in metric:
        what, low, high = "share of runs" if metric == "diverged" else "accuracy", 0, 1
    elif metric.startswith("diagnostics/") and metric.endswith((" norm", " ratio", " distance", " std")):
        what, low = metric.rpartition("/")[2], 0
    return (low - high, high - low, f"difference in {what}") if is_difference else (low, high, what)


def unjudgeable(variants: list[RunConfig]) -> list[Problem]:
    """What claims are about and these variants will not have: a variant, a metric, an evaluation."""
    config, problems = variants[0], list[Problem]()
    metrics = [*config.metric_names]
    if config.data.test_size > 0:
        metrics += [f"test/{name.split('/')[1]}" for name in metrics if name.startswith("train/")]
    metrics.append("diverged")
    resolved = [variant.model_dump(exclude={"claims"}) for variant in variants] if config.claims else []
    for i, claim in enumerate(config.claims):
        path: KeyPath = ("claims", i)
        chosen = {
            key: [variant for variant, plain in zip(variants, resolved, strict=True) if selects(selector, plain)]
            for key, selector in _selectors(claim).items()
        }
        if claim.diagnostic is not None:
            problems += [((*path, "metric"), message) for message in _check_diagnostic(claim, chosen)]
        elif claim.metric not in metrics:
            problems.append(((*path, "metric"), f"{claim.metric} will not exist; valid: {', '.join(metrics)}"))
        problems += [((*path, key), message) for key, message in _check_selectors(claim, chosen, variants)]
        if not _check_form_of_at(claim) and (absent := _check_at(claim, variants)):
            problems.append(((*path, "at"), absent))
    return problems


def _selectors(claim: Claim) -> dict[str, dict[str, Any]]:
    return {"variant": claim.variant} | ({"versus": claim.versus} if claim.versus is not None else {})


def _check_diagnostic(claim: Claim, chosen: dict[str, list[RunConfig]]) -> list[str]:
    """A diagnostic is measured in the variants that a claim is about."""
    assert claim.diagnostic is not None
    layer, quantity = claim.diagnostic
    for variant in itertools.chain(*chosen.values()):
        rows = measured(variant)
        if any(row[1] == quantity and layer in (row[0], "*") for row in rows):
            continue
        valid = ", ".join(dict.fromkeys(f"{name}/{what}" for name, what in rows)) or "none: see diagnostics"
        return [f"{claim.metric} will not be measured in {variant.variant.label}; valid: {valid}"]
    return []


def _check_selectors(
    claim: Claim, chosen: dict[str, list[RunConfig]], variants: list[RunConfig]
) -> list[tuple[str, str]]:
    """Each names one variant, and another than the other does; (key, what is wrong)."""
    problems, selected = [], list[str]()
    for key, selector in _selectors(claim).items():
        found, what = [variant.variant.label for variant in chosen[key]], selector_text(selector)
        if not found:
            labels = ", ".join(variant.variant.label for variant in variants)
            problems.append((key, f"{what} is none of the variants; they are: {labels}"))
        elif len(found) > 1:
            message = f"{what} is {len(found)} variants, not one: {', '.join(found)}"
            problems.append((key, f"{message}; add a key that tells them apart, or give a label"))
        elif found == selected:
            problems.append((key, f"{what} is the variant itself, {found[0]}"))
        selected = found
    return problems


def _check_at(claim: Claim, variants: list[RunConfig]) -> str | None:
    """Whether there will be a value where a claim is about; what is wrong."""
    at, every = claim.at, variants[0].diagnostics.every
    if claim.metric == "diverged":
        return None
    is_measured = at != "best" and (isinstance(at, str) or all(run.is_measured(_step(at, run)) for run in variants))
    if claim.diagnostic is not None and every > 1 and not is_measured:
        return f"diagnostics are measured once in {every} evaluations and at the last: perhaps not there"
    if isinstance(at, str):
        return None
    if at.epoch is not None:
        longest = max(config.total_steps / config.steps_per_epoch for config in variants)
        asked, is_after, end = f"epoch {at.epoch}", at.epoch > longest, f"epoch {longest:g}"
    else:
        last = max(config.total_steps for config in variants)
        asked, is_after, end = f"step {at.step}", (at.step or 0) > last, f"step {last}"
    if is_after:
        return f"{asked} is after the end, {end}"
    if not any(run.is_evaluated(_step(at, run)) for run in variants):
        every_step = variants[0].training.eval_every or variants[0].steps_per_epoch
        return f"{asked} is not evaluated: there is an evaluation every {every_step} steps, and at the end"
    return None


def _step(at: At, run: RunConfig) -> int:
    return at.step if at.step is not None else (at.epoch or 0) * run.steps_per_epoch
