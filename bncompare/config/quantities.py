"""The layers of a run, and what diagnostics.csv will hold of them, worked out from the config alone."""

from bncompare.config.architecture import Layer
from bncompare.config.run import RunConfig
from bncompare.config.seeds import seeds_of
from bncompare.probes import Plan


def layers(run: RunConfig) -> list[Layer]:
    """The layers from input to output."""
    return run.model.layers(run.data.input_shape, run.data.num_outputs)


def count_parameters(run: RunConfig) -> int:
    """Trainable numbers in the model."""
    trainable = run.training.trainable
    return sum(layer.num_trained(part, trainable) for layer in layers(run) for part in layer.parts)


def cost(run: RunConfig) -> int:
    """Steps × parameters, which tells long runs from short ones."""
    return run.total_steps * count_parameters(run)


def plan(run: RunConfig) -> Plan:
    """What of a run its probes have to know."""
    planned, data, chosen = layers(run), run.data, run.diagnostics.layers
    return Plan(
        seed=seeds_of(run.seeds)[0],
        layers=planned,
        chosen=[layer.name for layer in planned] if chosen == "all" else chosen,
        norm=run.model.norm,
        trainable=run.training.trainable,
        clip_gradient_norm=run.training.clip_gradient_norm,
        l1=run.training.l1,
        validated_by=[name for name in run.metric_names if name.startswith("val/")],
        num_validation=data.test_size if data.validation == "test" else data.validation_size,
    )


def measured(run: RunConfig, known: Plan | None = None) -> list[tuple[str, str]]:
    """Every (layer, quantity) of diagnostics.csv, but for single values of γ and β; `known` is the run's plan."""
    known, wanted = known or plan(run), run.diagnostics.wanted
    rows = [
        (layer.name, name) for layer in known.measured for probe in wanted for name in probe.of_layer(known, layer)
    ]
    return rows + [("model", name) for probe in wanted for name in probe.of_model(known)]
