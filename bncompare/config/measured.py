"""What diagnostics.csv will hold, worked out from the config alone."""

from collections.abc import Iterator

from bncompare.config.layers import Layer, layers
from bncompare.config.run import RunConfig
from bncompare.norms import BatchFamily, EvalStats, MeanOnlyBatchNorm, PopulationBatchNorm

PERCENTILES = {"p15": 15, "p50": 50, "p85": 85}
LANDSCAPE = (
    *("landscape loss min", "landscape loss max", "landscape loss range"),
    *("gradient change min", "gradient change max", "beta smoothness"),
)


def measured_layers(run: RunConfig) -> list[Layer]:
    """The layers that are measured one by one."""
    chosen = run.diagnostics.layers
    return [layer for layer in layers(run) if chosen == "all" or layer.name in chosen]


def measured(run: RunConfig) -> list[tuple[str, str]]:
    """Every (layer, quantity) of diagnostics.csv, but for single values of γ and β."""
    first = layers(run)[0].name
    rows = [
        (layer.name, name) for layer in measured_layers(run) for name in _of_layer(run, layer, layer.name == first)
    ]
    return rows + [("model", name) for name in _of_model(run)]


def _of_layer(run: RunConfig, layer: Layer, is_first: bool) -> Iterator[str]:
    wanted, norm = run.diagnostics, layer.norm
    if wanted.activations and not layer.is_output:
        yield from (f"input {name}" for name in PERCENTILES)
        yield from ("input mean", "input std", "output mean", "output std")
        if run.model.activation in ("sigmoid", "tanh"):
            yield "saturated"
        if run.model.activation == "relu":
            yield "dead"
        yield from (f"input {name} of unit {unit}" for unit in wanted.units for name in PERCENTILES)
    trainable = run.training.trainable
    trains_weights = trainable != "norm" and (trainable != "random" or (norm is not None and norm.has_parameters))
    if wanted.gradients and trains_weights:
        yield from ("gradient norm", "update ratio")
    if wanted.norm_parameters and norm is not None:
        has_gamma = norm.has_parameters and not isinstance(norm, MeanOnlyBatchNorm)
        for symbol, is_there in (("gamma", has_gamma), ("beta", norm.has_shift)):
            yield from (f"{symbol} {name}" for name in ("mean", "min", "max") if is_there)
    if wanted.running_statistics and _tracks(norm):
        yield from ("running mean distance", "running variance ratio")
    if wanted.covariate_shift and trains_weights and not is_first:
        yield from ("covariate shift", "covariate shift cosine")


def _of_model(run: RunConfig) -> Iterator[str]:
    wanted, norm = run.diagnostics, run.model.norm
    if wanted.train_eval_gap:
        yield from ("loss in training mode", "loss in evaluation mode")
    if wanted.landscape is not None:
        yield from LANDSCAPE
    if isinstance(norm, BatchFamily):
        names = [name for name in run.metric_names if name.startswith("val/")]
        yield from (f"{name} with {statistics} statistics" for statistics in validated_with(run) for name in names)
        if wanted.one_at_a_time is not None:
            yield from (
                f"{name} one at a time with {s} statistics" for s in one_at_a_time_statistics(norm) for name in names
            )


def _tracks(norm: object) -> bool:
    """Whether a norm has running statistics."""
    return isinstance(norm, PopulationBatchNorm) or (
        isinstance(norm, BatchFamily) and "running" in norm.available_statistics
    )


def validated_with(run: RunConfig) -> list[EvalStats]:
    """Of the statistics asked for in `diagnostics.eval_stats` those that the norm has."""
    norm = run.model.norm
    available = norm.available_statistics if isinstance(norm, BatchFamily) else []
    return [statistics for statistics in run.diagnostics.eval_stats if statistics in available]


def one_at_a_time_statistics(norm: BatchFamily) -> list[EvalStats]:
    """The statistics with which examples are classified one at a time."""
    return [statistics for statistics in norm.available_statistics if statistics != "population"]
