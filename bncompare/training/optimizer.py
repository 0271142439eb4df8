"""What the optimizer of a run trains, and what of it decays."""

from typing import Any

import torch
from torch import nn

from bncompare.config import RunConfig
from bncompare.training.model import trainable_parameters


def build_optimizer(run: RunConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of what a run trains; the rest of the model needs no gradient from here on."""
    choice = run.training.optimizer
    norms, others = trainable_parameters(run, model)
    trained = {id(parameter) for parameter in [*norms, *others]}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)
    groups: list[dict[str, Any]] = [{"params": [*others, *norms]}]  # one, as each costs a kernel call
    if choice.weight_decay > 0 and not choice.decay_norm:
        groups = [{"params": others}, {"params": norms, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    # One kernel for all parameters: half the time of a step of a small model.
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return choice.build(groups, fused=fused)
