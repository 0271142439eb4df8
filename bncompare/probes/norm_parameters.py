"""γ and β."""

from collections.abc import Iterator

from bncompare.probes.base import Measurement, Probe


def norm_parameters(probe: Probe, *, all_values: bool) -> Iterator[Measurement]:
    """γ and β of each norm layer. Cost: none to speak of."""
    for layer, block in probe.blocks.items():
        norm = getattr(block, "norm", None)
        for quantity, symbol in (("weight", "gamma"), ("bias", "beta")):
            values = getattr(norm, quantity, None)
            if values is None:
                continue
            for name, value in (("mean", values.mean()), ("min", values.min()), ("max", values.max())):
                yield Measurement(layer, f"{symbol} {name}", value.item())
            if all_values:
                for i, value in enumerate(values.flatten().tolist()):
                    yield Measurement(layer, f"{symbol}[{i}]", value)
