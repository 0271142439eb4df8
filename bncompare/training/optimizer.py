"""What the optimizer of a run trains, what of it decays, and with which learning rate."""

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


class LearningRate:
    """The learning rate of a run's optimizer, step by step: its warm-up, then its schedule."""

    def __init__(self, run: RunConfig, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.full = optimizer, run.training.optimizer.lr
        # Worked out anew from the config they would take 3 % of a step of a small model.
        self.warmup_steps, self.unit = run.warmup_steps, run.schedule_unit
        schedule = run.training.scheduler
        self.scheduler = schedule.build(optimizer, (run.total_steps - self.warmup_steps) // self.unit)
        self.watched = schedule.watched

    @property
    def value(self) -> float:
        """What it is now."""
        return float(self.optimizer.param_groups[0]["lr"])

    def before(self, step: int) -> None:
        """Set what is not the schedule's; the last step of the warm-up has all of it."""
        if step < self.warmup_steps:
            for group in self.optimizer.param_groups:
                group["lr"] = self.full * ((step + 1) / self.warmup_steps)

    def after(self, step: int) -> None:
        """Go on in the schedule, whose unit is that of the run's length, unless it watches evaluations."""
        is_due = step + 1 > self.warmup_steps and (step + 1) % self.unit == 0
        if self.scheduler and self.watched is None and is_due:
            self.scheduler.step()

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """Let a schedule that watches evaluations see the one after this step."""
        if self.scheduler and self.watched is not None and step + 1 >= self.warmup_steps:
            self.scheduler.step(metrics[self.watched])

    def state_dict(self) -> dict[str, Any] | None:
        """The schedule's; None if there is none."""
        return self.scheduler.state_dict() if self.scheduler else None

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on where another was."""
        if self.scheduler:
            self.scheduler.load_state_dict(state)
