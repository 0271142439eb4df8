"""Optimizers and learning-rate schedules."""

from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from bncompare.config import (
    SGD,
    CosineLR,
    ExponentialLR,
    MultiStepLR,
    ReduceOnPlateau,
    RunConfig,
    StepLR,
    is_better_high,
)
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
    if isinstance(choice, SGD):
        return torch.optim.SGD(
            groups,
            choice.lr,
            momentum=choice.momentum,
            nesterov=choice.nesterov,
            weight_decay=choice.weight_decay,
            fused=fused,
        )
    optimizer = torch.optim.Adam if choice.name == "adam" else torch.optim.AdamW
    beta1, beta2 = choice.betas
    return optimizer(
        groups,
        choice.lr,
        betas=(beta1, beta2),
        eps=choice.eps,
        weight_decay=choice.weight_decay,
        fused=fused,
    )


def build_scheduler(
    run: RunConfig, optimizer: torch.optim.Optimizer
) -> lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau | None:
    """The learning-rate schedule of a run; None where the rate stays as it is."""
    choice = run.training.scheduler
    if isinstance(choice, StepLR):
        return lr_scheduler.StepLR(optimizer, choice.step_size, choice.gamma)
    if isinstance(choice, MultiStepLR):
        return lr_scheduler.MultiStepLR(optimizer, choice.milestones, choice.gamma)
    if isinstance(choice, ExponentialLR):
        return lr_scheduler.ExponentialLR(optimizer, choice.gamma)
    if isinstance(choice, CosineLR):
        length = run.training.epochs or run.total_steps
        return lr_scheduler.CosineAnnealingLR(optimizer, length, choice.eta_min)
    if isinstance(choice, ReduceOnPlateau):
        return lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode="max" if is_better_high(choice.monitor or "") else "min",
            factor=choice.factor,
            patience=choice.patience,
            threshold=choice.threshold,
            min_lr=choice.min_lr,
        )
    return None
