"""Probes: what a model is like at an evaluation, measured on a copy of it, so that training never notices.

A probe takes a `Probe`, a copy of model and optimizer with a fixed batch of training examples, and yields
`Measurement`s. The names of what is measured are those of `config.measured`.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from bncompare.config.architecture import layers
from bncompare.config.measured import LANDSCAPE, PERCENTILES, measured_layers
from bncompare.config.schema import RunConfig
from bncompare.data import Split
from bncompare.norms.evaluation import batch_norms, evaluation_statistics, set_evaluation_mode
from bncompare.norms.kinds import EvalStats
from bncompare.randomness import StepRandomness, generator

Parameters = dict[str, Tensor]

LANDSCAPE_POINTS = 8  # along the negative gradient, evenly spaced in the logarithm
ROUNDING = 1e-5  # of a mean: a standard deviation below it is that of float32
SATURATED = {"sigmoid": (0.01, 0.99), "tanh": (-0.98, 0.98)}  # tanh x = 2 sigmoid(2x) − 1: the same, stretched


@dataclass(frozen=True)
class Measurement:
    """A row of diagnostics.csv beside its epoch and step."""

    layer: str
    """a layer of the model, or `model` for the whole"""
    quantity: str
    value: float


def probe_batch(run: RunConfig, split: Split) -> tuple[Tensor, Tensor]:
    """The examples that are measured on: drawn from the training examples by the seed alone."""
    number = run.diagnostics.examples or run.batch_size
    order = torch.randperm(len(split), generator=generator(run.seed, "probe"))
    return split.batch(split.rows[order[:number].to(split.rows.device)])


class Probe:
    """A copy of a model and its optimizer, whose loss on a batch is a function of its parameters alone."""

    def __init__(
        self,
        run: RunConfig,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch: tuple[Tensor, Tensor],
        loss_fn: Callable[..., Tensor],
        step: int,
        lr: float,
    ) -> None:
        self.run = run
        self.model, self.optimizer = copy.deepcopy((model, optimizer))
        self.inputs, self.targets = batch
        self.loss_fn = loss_fn
        self.step = step
        self.lr = lr
        """of the last step: a schedule may have ended at 0"""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        """those that are trained"""
        self.start = {name: p.detach().clone() for name, p in self.parameters.items()}
        """their values"""
        self.blocks = {layer.name: self.model.get_submodule(layer.name) for layer in measured_layers(run)}
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
                layer.reseed(self.run.seed, f"probe {name}", self.step, self.inputs.device)
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
        if self.run.training.clip_gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.run.training.clip_gradient_norm)
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


def measure(probe: Probe, train_split: Split, statistics: EvalStats, *, is_last: bool) -> list[Measurement]:
    """What the `diagnostics` section asks for, but for validation; `statistics` are those of evaluation."""
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
        rows += train_eval_gap(probe, train_split, statistics)
    return rows


# ---------------------------------------------------------------- cheap: a forward pass or two


@torch.no_grad()
def activations(probe: Probe) -> Iterator[Measurement]:
    """What enters and leaves each activation, over the examples of the batch, in training mode.

    Percentiles as in Ioffe & Szegedy 2015, Fig. 1. A sigmoid is saturated below .01 and above .99, a tanh beyond
    ±.98, where its slope is under 4 % of its largest; a ReLU unit is dead if it is 0 for every example and position.
    Cost: a forward pass.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for name, block in probe.blocks.items():
        if hasattr(block, "activation"):

            def keep(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                seen[name] = (inputs[0], output)

            handles.append(block.get_submodule("activation").register_forward_hook(keep))
    probe.forward()
    for handle in handles:
        handle.remove()
    kind = probe.run.model.activation
    for name, (entered, left) in seen.items():
        for quantity, value in zip(PERCENTILES, _percentiles(entered), strict=True):
            yield Measurement(name, f"input {quantity}", value)
        for where, values in (("input", entered), ("output", left)):
            yield Measurement(name, f"{where} mean", values.mean().item())
            yield Measurement(name, f"{where} std", values.std(correction=0).item())
        if kind in SATURATED:
            low, high = SATURATED[kind]
            yield Measurement(name, "saturated", ((left < low) | (left > high)).float().mean().item())
        if kind == "relu":
            units = left.transpose(0, 1).flatten(1)
            yield Measurement(name, "dead", (units == 0).all(1).float().mean().item())
        for unit in probe.run.diagnostics.units:
            for quantity, value in zip(PERCENTILES, _percentiles(entered[:, unit]), strict=True):
                yield Measurement(name, f"input {quantity} of unit {unit}", value)


def _percentiles(values: Tensor) -> list[float]:
    # NumPy's: torch.quantile refuses more than 2²⁴ values.
    found: list[float] = np.percentile(values.cpu().numpy(), list(PERCENTILES.values())).tolist()
    return found


def gradients(probe: Probe) -> Iterator[Measurement]:
    """‖∇_W L‖₂ for the weight W of each layer, and ‖ΔW‖₂/‖W‖₂ of the step that the optimizer would take with it.

    The step has the learning rate of the last one. Where W is a function of other parameters (weight and spectral
    normalization), both are about these together. Cost: a training step.
    """
    for layer in probe.blocks:
        names = probe.weights(layer)
        if names:
            moved = _norm([probe.after[name] - probe.start[name] for name in names])
            size = _norm([probe.start[name] for name in names])
            yield Measurement(layer, "gradient norm", _norm([probe.gradients[name] for name in names]))
            yield Measurement(layer, "update ratio", moved / size if size > 0 else math.nan)


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


@torch.no_grad()
def running_statistics(probe: Probe) -> Iterator[Measurement]:
    """Running statistics of each norm layer against those of the batch, over its channels.

    `running mean distance`: root mean square of (running mean − batch mean) / batch standard deviation.
    `running variance ratio`: geometric mean of running / batch variance, the latter unbiased (of ℓp norms, moments;
    of ghost batches, the mean over the virtual ones). A channel that is constant but for rounding is left out.
    Cost: a forward pass, and one of the norm layers.
    """
    inputs: dict[nn.Module, Tensor] = {}
    names = {block.norm: layer for layer, block in probe.blocks.items() if hasattr(block, "norm")}
    norms = [norm for norm in batch_norms(probe.model) if norm in names and norm.running_mean is not None]
    handles = [
        norm.register_forward_pre_hook(lambda module, args: inputs.__setitem__(module, args[0])) for norm in norms
    ]
    probe.forward()
    for handle in handles:
        handle.remove()
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        layer = names[norm]
        running_mean, running_var = (probe.buffers[f"{layer}.norm.running_{name}"] for name in ("mean", "var"))
        # The cumulative average of one batch is that batch's statistics, whatever the kind of norm.
        momentum, norm.momentum = norm.momentum, None
        norm.num_batches_tracked.zero_()
        norm(inputs[norm])
        norm.momentum = momentum
        std = inputs[norm].transpose(0, 1).flatten(1).std(1)
        kept = std > ROUNDING * norm.running_mean.abs()
        distance = (running_mean - norm.running_mean)[kept] / std[kept]
        ratio = (running_var[kept] / norm.running_var[kept]).log().mean().exp()
        yield Measurement(layer, "running mean distance", distance.square().mean().sqrt().item())
        yield Measurement(layer, "running variance ratio", ratio.item())


@torch.no_grad()
def train_eval_gap(probe: Probe, train_split: Split, statistics: EvalStats) -> Iterator[Measurement]:
    """The loss of the batch in training mode and in evaluation mode.

    Cost: two forward passes; with population statistics, a pass over the training set for each norm layer.
    """
    loss = probe.loss_fn(probe.forward(), probe.targets)
    yield Measurement("model", "loss in training mode", loss.item())
    probe.restore_buffers()
    with evaluation_statistics(probe.model, train_split, statistics):
        set_evaluation_mode(probe.model)
        loss = probe.loss_fn(probe.model(probe.inputs), probe.targets)
    yield Measurement("model", "loss in evaluation mode", loss.item())
    probe.model.train()


# ---------------------------------------------------------------- expensive: several training steps


def landscape(probe: Probe, shortest: float, longest: float) -> Iterator[Measurement]:
    """The loss L and its gradient along a line (Santurkar et al. 2018, §3.1 and Fig. 4).

    At w − s·lr·∇L(w), for `LANDSCAPE_POINTS` values of s between `shortest` and `longest`, with the learning rate of
    the last step, over all that is trained: the range of L; the range of ‖∇L(w) − ∇L(w − s·lr·∇L)‖₂ (gradient
    predictiveness); and the largest of the latter over the distance s·lr·‖∇L‖₂ (effective β-smoothness).
    Cost: `LANDSCAPE_POINTS` + 1 training steps.
    """
    length = probe.lr * _norm(probe.gradients.values())  # of a step: 0 where the learning rate or it underflows
    losses, changes, smoothness = [], [], []
    for s in np.geomspace(shortest, longest, LANDSCAPE_POINTS).tolist():
        probe.set({name: value - s * probe.lr * probe.gradients[name] for name, value in probe.start.items()})
        loss, there = probe.loss_and_gradients()
        losses.append(loss)
        changes.append(_norm([there[name] - gradient for name, gradient in probe.gradients.items()]))
        smoothness.append(changes[-1] / (s * length) if s * length != 0 else 0.0)
    probe.set(probe.start)
    # NumPy's: of values that include a NaN they are NaN.
    found = (
        *(np.min(losses), np.max(losses), np.ptp(losses)),
        *(np.min(changes), np.max(changes), np.max(smoothness)),
    )
    for quantity, value in zip(LANDSCAPE, found, strict=True):
        yield Measurement("model", quantity, float(value))


def covariate_shift(probe: Probe) -> Iterator[Measurement]:
    """Internal covariate shift of each layer (Santurkar et al. 2018, Definition 2.1): ‖G − G′‖₂ and cos(G, G′).

    G is the gradient of the batch's loss for the weight of layer i; G′ the same after layers 1 to i−1, with their
    norms, have taken the step that the optimizer would take with this batch and the learning rate of the last step.
    The first layer has none. Cost: a training step for each layer.
    """
    own, after = probe.gradients, probe.after
    for i, layer in enumerate(layers(probe.run)):
        names = probe.weights(layer.name)
        if i > 0 and layer.name in probe.blocks and names:
            moved = probe.loss_and_gradients()[1]
            here, there = (_flat(g[name] for name in names) for g in (own, moved))
            yield Measurement(layer.name, "covariate shift", _norm([here - there]))
            lengths = _norm([here]) * _norm([there])
            cosine = float(here @ there) / lengths if lengths != 0 else math.nan
            yield Measurement(layer.name, "covariate shift cosine", cosine)
        probe.set({name: value for name, value in after.items() if name.startswith(f"{layer.name}.")})
    probe.set(probe.start)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers together, in float64: the squares of small gradients are 0 in float32."""
    return torch.cat([tensor.flatten() for tensor in tensors]).cpu().double()  # some devices have no float64


def _norm(tensors: Iterable[Tensor]) -> float:
    """The Euclidean norm of all numbers together."""
    return float(torch.linalg.vector_norm(_flat(tensors)))
