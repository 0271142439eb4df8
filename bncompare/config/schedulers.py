"""The learning-rate schedules: each with its options, what is wrong with them, and how to build it."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bncompare.config.keys import Problem
from bncompare.config.metrics import Metric, MonitorName
from bncompare.options import MAX_NUMBER, Count, NonNegative, Positive, PositiveInt, Section, one_of

if TYPE_CHECKING:
    import torch

Gamma = Annotated[float, Field(gt=0, le=1)]


def not_used_up(patience: int, evaluations: int) -> str:
    """What is said of a patience that so many evaluations do not exhaust."""
    are, s = ("is", "") if evaluations == 1 else ("are", "s")
    return f"{patience} is not used up before the end: there {are} {evaluations} evaluation{s}"


class SchedulerSection(Section):
    """What every learning-rate schedule has."""

    @property
    def watched(self) -> str | None:
        """The metric that it follows from evaluation to evaluation; None: it goes by epochs (or steps)."""
        return None

    def watching(self, metric: str) -> "SchedulerSection":
        """The same, with this metric where it follows one and leaves open which."""
        return self

    def problems(self, length: int, lr: float) -> Iterator[Problem]:
        """What its options ask for together and can't have in so many epochs or steps."""
        yield from ()

    def doubts(self, length: int, end: str, lr: float, evaluations: int) -> Iterator[Problem]:
        """What has no effect in so many epochs or steps, the last of which is called `end`, and evaluations."""
        yield from ()

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """Torch's scheduler, for so many epochs (or steps) after the warm-up; None where the rate stays as it is."""
        raise NotImplementedError


class ConstantLR(SchedulerSection):
    """The learning rate stays as it is."""

    name: Literal["none"]
    """the scheduler"""

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """No scheduler."""
        return None


class StepLR(SchedulerSection):
    """lr × gamma every `step_size` epochs (steps, where `training.steps` is given)."""

    name: Literal["step"]
    """the scheduler"""
    step_size: PositiveInt
    """epochs (or steps) between reductions"""
    gamma: Gamma = 0.1
    """factor"""

    def doubts(self, length: int, end: str, lr: float, evaluations: int) -> Iterator[Problem]:
        """No reduction comes."""
        if self.step_size >= length:
            yield ("step_size",), f"{self.step_size} is not before the end, {end}"

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.StepLR."""
        from torch.optim.lr_scheduler import StepLR

        return StepLR(optimizer, self.step_size, self.gamma)


class MultiStepLR(SchedulerSection):
    """lr × gamma at each milestone."""

    name: Literal["multistep"]
    """the scheduler"""
    milestones: Annotated[list[PositiveInt], Field(min_length=1)]
    """epochs (or steps) of the reductions"""
    gamma: Gamma = 0.1
    """factor"""

    def problems(self, length: int, lr: float) -> Iterator[Problem]:
        """Each milestone comes after the one before."""
        if self.milestones != sorted(set(self.milestones)):
            yield ("milestones",), f"must increase, not {self.milestones}"

    def doubts(self, length: int, end: str, lr: float, evaluations: int) -> Iterator[Problem]:
        """The last reduction does not come."""
        if self.milestones[-1] >= length:
            yield ("milestones",), f"{self.milestones[-1]} is not before the end, {end}"

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.MultiStepLR."""
        from torch.optim.lr_scheduler import MultiStepLR

        return MultiStepLR(optimizer, self.milestones, self.gamma)


class ExponentialLR(SchedulerSection):
    """lr × gamma every epoch (or step); above 1 it grows, as in Li & Arora 2020."""

    name: Literal["exponential"]
    """the scheduler"""
    gamma: Positive
    """factor"""

    def problems(self, length: int, lr: float) -> Iterator[Problem]:
        """The rate stays a number to the end."""
        exponent = math.log10(lr) + length * math.log10(self.gamma)  # itself it may be none
        if exponent > math.log10(MAX_NUMBER):
            grown = f"from {lr:g} to about 1e+{round(exponent)} in the end"
            yield ("gamma",), f"{self.gamma:g} lets the learning rate grow {grown}; at most {MAX_NUMBER:g}"

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.ExponentialLR."""
        from torch.optim.lr_scheduler import ExponentialLR

        return ExponentialLR(optimizer, self.gamma)


class CosineLR(SchedulerSection):
    """From lr to `eta_min` along half a cosine over the whole run, or what a warm-up leaves of it."""

    name: Literal["cosine"]
    """the scheduler"""
    eta_min: NonNegative = 0.0
    """final learning rate"""

    def doubts(self, length: int, end: str, lr: float, evaluations: int) -> Iterator[Problem]:
        """It does not fall."""
        if self.eta_min >= lr:
            yield ("eta_min",), f"{self.eta_min} is not below the learning rate, {lr}"

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.CosineAnnealingLR."""
        from torch.optim.lr_scheduler import CosineAnnealingLR

        return CosineAnnealingLR(optimizer, length, self.eta_min)


class ReduceOnPlateau(SchedulerSection):
    """lr × factor when the monitored metric has not improved for `patience` evaluations."""

    name: Literal["reduce_on_plateau"]
    """the scheduler"""
    monitor: MonitorName | None = None
    """the metric; null = training.monitor"""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """factor"""
    patience: Count = 10
    """evaluations without improvement that are borne"""
    threshold: NonNegative = 1e-4
    """the least relative change that counts as an improvement"""
    min_lr: NonNegative = 0.0
    """lowest learning rate"""

    @property
    def watched(self) -> str | None:
        """`monitor`, which is resolved with the config."""
        return self.monitor

    def watching(self, metric: str) -> SchedulerSection:
        """`monitor` goes first."""
        return self.model_copy(update={"monitor": self.monitor or metric})

    def doubts(self, length: int, end: str, lr: float, evaluations: int) -> Iterator[Problem]:
        """No reduction can come, or none is allowed."""
        if self.min_lr >= lr:
            yield ("min_lr",), f"{self.min_lr} is not below the learning rate, {lr}"
        if self.patience >= evaluations - 2:  # one more than these are needed, after the first evaluation
            yield ("patience",), not_used_up(self.patience, evaluations)

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.ReduceLROnPlateau."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        mode: Literal["min", "max"] = "max" if Metric(self.monitor or "").higher_is_better else "min"
        options = self.model_dump(include={"factor", "patience", "threshold", "min_lr"})
        return ReduceLROnPlateau(optimizer, mode, **options)


Scheduler = Annotated[
    SchedulerSection,
    one_of("name", ConstantLR, StepLR, MultiStepLR, ExponentialLR, CosineLR, ReduceOnPlateau, short=True),
]
