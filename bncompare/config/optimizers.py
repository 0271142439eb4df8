"""The optimizers: each with its options, what is wrong with them, and how to build it."""

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bncompare.config.keys import Problem
from bncompare.config.model import Probability
from bncompare.options import NonNegative, Positive, Section, one_of

if TYPE_CHECKING:
    import torch


class OptimizerSection(Section):
    """What every optimizer has, beside its options `lr`, `weight_decay` and `decay_norm`."""

    @property
    def num_moments(self) -> int:
        """How many numbers it keeps for each that it trains."""
        raise NotImplementedError

    def problems(self) -> Iterator[Problem]:
        """What its options ask for together and can't have."""
        yield from ()

    def build(self, groups: list[dict[str, Any]], *, fused: bool) -> "torch.optim.Optimizer":
        """Torch's, for groups of parameters; `fused`: with one kernel for all."""
        raise NotImplementedError


class SGD(OptimizerSection):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    """the optimizer"""
    lr: Positive
    """learning rate"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """momentum"""
    nesterov: bool = False
    """Nesterov's momentum"""
    weight_decay: NonNegative = 0.0
    """L2 penalty"""
    decay_norm: bool = True
    """whether γ and β decay too"""

    @property
    def num_moments(self) -> int:
        return int(self.momentum > 0)

    def problems(self) -> Iterator[Problem]:
        """Nesterov's momentum is one."""
        if self.nesterov and self.momentum == 0:
            yield ("nesterov",), "needs a momentum above 0"

    def build(self, groups: list[dict[str, Any]], *, fused: bool) -> "torch.optim.Optimizer":
        from torch.optim import SGD

        return _eager(SGD)(groups, **self.model_dump(exclude={"name", "decay_norm"}), fused=fused)


class Adam(OptimizerSection):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019)."""

    num_moments: ClassVar = 2

    name: Literal["adam", "adamw"]
    """the optimizer"""
    lr: Positive
    """learning rate"""
    betas: Annotated[list[Probability], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    """decay rates of the two moments"""
    eps: Positive = 1e-8
    """added to the denominator"""
    weight_decay: NonNegative = 0.0
    """L2 penalty (adam) or decoupled weight decay (adamw)"""
    decay_norm: bool = True
    """whether γ and β decay too"""

    def build(self, groups: list[dict[str, Any]], *, fused: bool) -> "torch.optim.Optimizer":
        from torch.optim import Adam, AdamW

        optimizer = _eager(Adam if self.name == "adam" else AdamW)
        options = self.model_dump(exclude={"name", "decay_norm", "betas"})
        return optimizer(groups, betas=(self.betas[0], self.betas[1]), fused=fused, **options)


def _eager(optimizer: "type[torch.optim.Optimizer]") -> "Callable[..., torch.optim.Optimizer]":
    """Torch's class for code that is not compiled, nor profiled by optimizer.

    The wrappers around its methods, which keep torch's compiler out, import it: longer than many a training takes.
    What it tells the profiler, at every step, takes a tenth of a step of a small model.
    """
    import torch

    wrapped = ("add_param_group", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in wrapped}
    unwrapped = torch.no_grad()(inspect.unwrap(optimizer.step))

    def step(self: "torch.optim.Optimizer") -> None:
        # Moments whose gradients have long been 0 shrink to what processors are slow with, and no weight ever feels.
        # It is a thread's own setting: of several one would flush its share, and pass it on to those it starts.
        try:
            torch.set_flush_denormal(torch.get_num_threads() == 1)
            unwrapped(self)
        finally:
            torch.set_flush_denormal(False)

    step.hooked = True  # type: ignore[attr-defined]  # or else torch wraps it
    return type(optimizer.__name__, (optimizer,), methods | {"step": step, "zero_grad": _zero_grad})


def _zero_grad(optimizer: "torch.optim.Optimizer") -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


Optimizer = Annotated[SGD | Adam, one_of("name", SGD, Adam)]
