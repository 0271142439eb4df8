"""`--smoke`: the same experiment in seconds and without a download."""

from typing import Any

from bncompare.config.data import MNIST, Digits, Images, RandomRegression
from bncompare.config.run import RunConfig
from bncompare.config.training import ClassClusteredSampler

SMOKE_EXAMPLES = 512
SMOKE_BATCHES = 16  # an epoch
SMOKE_STEPS = 20
SMOKE_EPOCHS = 2
SMOKE_SEEDS = 2


def shrink(config: RunConfig) -> RunConfig:
    """The same experiment in seconds and without a download: a few examples, a few steps."""
    data, training = config.data, config.training
    if isinstance(data, MNIST):
        shared = data.model_dump(include={*Images.model_fields})
        data = Digits(name="digits", resize=28, **shared)
    elif isinstance(data, RandomRegression):
        sizes = {
            "samples": min(data.samples, 2 * SMOKE_EXAMPLES),
            "test_samples": min(data.test_samples, SMOKE_EXAMPLES),
        }
        data = data.model_copy(update=sizes)
    if config.data.validation_size > 0:
        share = config.data.validation_size / config.data.pool_size
        size = min(round(share * data.pool_size), data.pool_size // 4)
        data = data.model_copy(update={"validation": max(1, size)})
    left = data.pool_size - data.validation_size
    batch_size = training.batch_size if training.batch_size == "full" else min(training.batch_size, 64)
    most = SMOKE_EXAMPLES if batch_size == "full" else min(SMOKE_EXAMPLES, SMOKE_BATCHES * batch_size)
    train_size = min(data.train_size or most, most, left)
    data = data.model_copy(update={"train_size": train_size})
    if isinstance(training.sampler, ClassClusteredSampler) and isinstance(batch_size, int):
        batch_size = max(1, batch_size // training.sampler.classes_per_batch) * training.sampler.classes_per_batch
    update: dict[str, Any] = {"batch_size": batch_size}
    if training.epochs is not None:
        update["epochs"] = min(training.epochs, SMOKE_EPOCHS)
    else:
        update["steps"] = min(training.steps or SMOKE_STEPS, SMOKE_STEPS)
    if training.eval_every is not None:
        update["eval_every"] = min(training.eval_every, SMOKE_STEPS // 2)
    measured: dict[str, Any] = {"every": 1}
    limits = {
        "examples": train_size,
        "one_at_a_time": data.test_size if data.validation == "test" else data.validation,
    }
    for key, limit in limits.items():
        if getattr(config.diagnostics, key) is not None:
            measured[key] = min(getattr(config.diagnostics, key), SMOKE_EXAMPLES, limit)
    return config.model_copy(
        update={
            "name": f"{config.name[:74]}-smoke",
            "seeds": config.seeds[:SMOKE_SEEDS],
            "data": data,
            "training": training.model_copy(update=update),
            "diagnostics": config.diagnostics.model_copy(update=measured),
            "claims": [],
        }
    )
