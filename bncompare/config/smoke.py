"""`--smoke`: the same experiment in seconds and without a download."""

from typing import Any

from bncompare.config.run import RunConfig
from bncompare.config.seeds import seeds_of

SMOKE_EXAMPLES = 512
SMOKE_BATCHES = 16  # an epoch
SMOKE_BATCH_SIZE = 64
SMOKE_STEPS = 20
SMOKE_EPOCHS = 2
SMOKE_SEEDS = 2


def shrink(variants: list[RunConfig]) -> list[RunConfig]:
    """The same variants in seconds and without a download: a few examples, as many for each, a few steps."""
    batches = [SMOKE_EXAMPLES if size == "full" else SMOKE_BATCHES * size for size in map(_batch_size, variants)]
    return [_shrink(config, min(SMOKE_EXAMPLES, *batches)) for config in variants]


def _batch_size(config: RunConfig) -> Any:
    size = config.training.batch_size
    return size if size == "full" else min(size, SMOKE_BATCH_SIZE)


def _shrink(config: RunConfig, num_train: int) -> RunConfig:
    data, training, batch_size = config.data.small(SMOKE_EXAMPLES), config.training, _batch_size(config)
    if config.data.validation_size > 0:
        share = config.data.validation_size / config.data.pool_size
        size = min(round(share * data.pool_size), data.pool_size // 4)
        data = data.model_copy(update={"validation": max(1, size)})
    train_size = min(data.train_size or num_train, num_train, data.pool_size - data.validation_size)
    data = data.model_copy(update={"train_size": train_size})
    update: dict[str, Any] = {
        "batch_size": batch_size if batch_size == "full" else training.sampler.at_most(batch_size)
    }
    if training.epochs is not None:
        update["epochs"] = length = min(training.epochs, SMOKE_EPOCHS)
    else:
        update["steps"] = length = min(training.steps or SMOKE_STEPS, SMOKE_STEPS)
    update["warmup"] = min(training.warmup, length - 1)
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
            "seeds": list(seeds_of(config.seeds)[:SMOKE_SEEDS]),
            "data": data,
            "training": training.model_copy(update=update),
            "diagnostics": config.diagnostics.model_copy(update=measured),
            "claims": [],
        }
    )
