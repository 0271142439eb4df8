"""All probes that a config asks for."""

from bncompare.probes.activations import activations
from bncompare.probes.base import Measurement, Probe
from bncompare.probes.covariate_shift import covariate_shift
from bncompare.probes.gradients import gradients
from bncompare.probes.landscape import landscape
from bncompare.probes.norm_parameters import norm_parameters
from bncompare.probes.running_statistics import running_statistics
from bncompare.probes.validation import train_eval_gap


def measure_all(probe: Probe, *, is_last: bool) -> list[Measurement]:
    """What the `diagnostics` section asks for, but for validation."""
    wanted = probe.run.diagnostics
    rows: list[Measurement] = []
    if wanted.activations:
        rows += activations(probe)
    if wanted.gradients:
        rows += gradients(probe)
    if wanted.norm_parameters:
        rows += norm_parameters(probe, all_values=is_last)
    if wanted.running_statistics:
        rows += running_statistics(probe)
    if wanted.covariate_shift:
        rows += covariate_shift(probe)
    if wanted.landscape is not None:
        shortest, longest = wanted.landscape
        rows += landscape(probe, shortest, longest)
    if wanted.train_eval_gap:
        rows += train_eval_gap(probe)
    return rows
