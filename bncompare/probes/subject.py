"""What is probed: a copy of a model and its optimizer, with a fixed batch of examples."""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import InitVar, dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from bncompare.norms import EvalStats
from bncompare.probes.plan import Plan
from bncompare.randomness import StepRandomness

Parameters = dict[str, Tensor]


@dataclass
class Subject:
    """A copy of a model and its optimizer, whose loss on a batch is a function of its parameters alone."""

    plan: Plan
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: InitVar[tuple[Tensor, Tensor]]
    """inputs and targets, the same at every evaluation"""
    loss_fn: Callable[..., Tensor]
    in_evaluation: Callable[[nn.Module], AbstractContextManager[None]]
    """within it, a model is in evaluation mode, with the statistics that the run is evaluated with"""
    validate: Callable[[EvalStats, int | None], dict[str, float]]
    """metrics of a validation with other statistics: of all examples, or of the first so many, one at a time"""
    step: int
    lr: float
    """of the last step: a schedule may have ended at 0"""
    is_last: bool
    """whether the run ends here"""

    def __post_init__(self, batch: tuple[Tensor, Tensor]) -> None:
        self.model, self.optimizer = copy.deepcopy((self.model, self.optimizer))
        self.inputs, self.targets = batch
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        """those that are trained"""
        self.start = {name: p.detach().clone() for name, p in self.parameters.items()}
        """their values"""
        self.blocks = {layer.name: self.model.get_submodule(layer.name) for layer in self.plan.measured}
        """the layers to be measured, each with what belongs to it: its norm, activation, …"""

    @torch.no_grad()
    def restore_buffers(self) -> None:
        """Undo what forward passes in training mode have changed."""
        for name, buffer in self.model.named_buffers():
            buffer.copy_(self.buffers[name])

    def forward(self) -> Tensor:
        """The outputs for the batch, in training mode; each time with the same buffers and random draws."""
        self.restore_buffers()
        for name, layer in self.model.named_modules():
            if isinstance(layer, StepRandomness):
                layer.reseed(self.plan.seed, f"probe {name}", self.step, self.inputs.device)
        outputs: Tensor = self.model(self.inputs)
        return outputs

    def loss_and_gradients(self) -> tuple[float, Parameters]:
        """The loss of the batch and its gradients for all that is trained."""
        loss = self.loss_fn(self.forward(), self.targets)
        gradients = torch.autograd.grad(loss, list(self.parameters.values()))
        return loss.item(), dict(zip(self.parameters, gradients, strict=True))

    @cached_property
    def gradients(self) -> Parameters:
        """∇L at the model's own parameters."""
        return self.loss_and_gradients()[1]

    @cached_property
    def after(self) -> Parameters:
        """The parameters after the step that the optimizer would take next, with this batch."""
        for name, parameter in self.parameters.items():
            parameter.grad = self.gradients[name].clone()
        weights = [name for layer in self.plan.layers for name in self.weights(layer.name)]
        add_l1([self.parameters[name] for name in weights], self.plan.l1)
        if self.plan.clip_gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip_gradient_norm)
        self.optimizer.step()
        after = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.set(self.start)
        return after

    @torch.no_grad()
    def set(self, values: Parameters) -> None:
        """Give some parameters other values."""
        for name, value in values.items():
            self.parameters[name].copy_(value)

    def weights(self, layer: str) -> list[str]:
        """What is trained of a layer's weight, without its bias: W, or V and g of weight normalization."""
        prefixes = (f"{layer}.linear.", f"{layer}.conv.")
        return [name for name in self.parameters if name.startswith(prefixes) and not name.endswith(".bias")]


@torch.no_grad()
def add_l1(weights: Sequence[Tensor], penalty: float) -> None:
    """Add to the gradients of some weights those of `penalty` times the sum of their absolute values; 0 at 0."""
    for weight in weights if penalty else ():
        assert weight.grad is not None
        weight.grad.add_(weight.sign(), alpha=penalty)


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers together, in float64: the squares of small gradients are 0 in float32."""
    return torch.cat([tensor.flatten() for tensor in tensors]).cpu().double()  # some devices have no float64


def euclidean_norm(tensors: Iterable[Tensor]) -> float:
    """The Euclidean norm of all numbers together."""
    return float(torch.linalg.vector_norm(flat(tensors)))
