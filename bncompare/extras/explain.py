"""A norm at work on a small tensor, step by step, beside the numbers its definition predicts."""

import copy
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bncompare.errors import UserError
from bncompare.extras import by_hand
from bncompare.norms import (
    NORMS,
    ActivationNorm,
    BatchNorm,
    BatchNormFromScratch,
    NoNorm,
    Norm,
    RunningNorm,
    WeightParametrization,
)
from bncompare.randomness import StepRandomness, generator

Array = NDArray[np.float64]
MAX_VALUES = 2_000
# The first that a kind can take: some want groups of equal size, others channels of several values.
SHAPES = ((4, 3), (4, 6), (3, 2, 4))
# Options with which a few examples and steps show what the kind is about.
EXAMPLES: dict[str, dict[str, Any]] = {
    "ghost_batch": {"virtual_batch_size": 2},
    "batch_renorm": {"start": 0, "rmax_end": 1, "dmax_end": 1, "rmax": 1.25, "dmax": 0.25},
}


@torch.no_grad()
def explain_norm(
    kind: str,
    shape: tuple[int, ...] | None = None,
    *,
    steps: int = 2,
    seed: int = 0,
    backward: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """What a norm does to `steps` random batches of a shape (N, C, …) in training, then to the last in evaluation.

    With `backward`, the gradients by the last batch of training as well, for random ones by its output. The result
    holds plain numbers and lists, for JSON; `by_hand` has the rules for the first value of a tensor. `shape` is by
    default a small one that the kind can take, `options` are those of the kind. Raises UserError.
    """
    norm = NORMS[kind].model_validate({"kind": kind, **EXAMPLES.get(kind, {}), **options})
    shape = shape or next((small for small in SHAPES if _problem(norm, small) is None), SHAPES[0])
    _check(norm, shape, backward=backward)
    random = generator(seed, "explain")
    batches = [torch.randn(shape, dtype=torch.float64, generator=random) for _ in range(steps)]
    report: dict[str, Any] = {
        "kind": kind,
        "formula": norm.formula,
        "statistics_over": norm.axes,
        "shape": list(shape),
    }
    report["options"] = norm.model_dump(exclude={"kind", "layers", "on_output", "placement", "weight_norm"})
    if isinstance(norm, NoNorm):
        return report
    if isinstance(norm, WeightParametrization):
        return report | _weight(norm, shape, random)
    assert isinstance(norm, ActivationNorm)
    report["axes"] = list(norm.axes_of(shape))
    report["values_averaged"] = _values_averaged(norm, batches[0].numpy())
    module = _module(norm, shape, learnt=True)
    plain = _module(norm, shape, learnt=False)  # what is called x̂
    parameters = dict(module.named_parameters())
    report["gamma"], report["beta"] = (_list(parameters.pop(name, None)) for name in ("weight", "bias"))
    report["learned"] = {name: _list(value) for name, value in parameters.items()}
    report["steps"] = _train(norm, module, plain, batches, seed)
    x = batches[-1]
    if backward:
        report["backward"] = _backward(norm, module, x, torch.randn(shape, dtype=torch.float64, generator=random))
    module.eval()
    plain.eval()
    report["evaluation"] = {"input": _list(x), "normalized": _list(plain(x)), "output": _list(module(x))}
    if isinstance(norm, BatchNorm | BatchNormFromScratch):
        report["largest_difference_to_torch"] = _difference_to_torch(norm, shape, batches)
    return report


def _train(
    norm: ActivationNorm, module: nn.Module, plain: nn.Module, batches: list[Tensor], seed: int
) -> list[dict[str, Any]]:
    """Each batch in training: what goes in, what comes out, what is tracked, and the rules by hand."""
    running = [np.zeros(batches[0].shape[1]), np.ones(batches[0].shape[1])]
    parameters = dict(module.named_parameters())
    first = [float(parameters[name].flatten()[0]) if name in parameters else None for name in ("weight", "bias")]
    steps = []
    for step, x in enumerate(batches):
        for m in (module, plain):
            if isinstance(m, StepRandomness):
                m.reseed(seed, norm.kind, step, x.device)
        statistics = {name: value.tolist() for name, value in norm.statistics(x.numpy()).items()}
        taken: dict[str, Any] = {"input": _list(x), "statistics": statistics}
        taken |= {"normalized": _list(plain(x)), "output": _list(module(x))}
        lines = by_hand.forward(norm, x.numpy(), *first)
        buffers = dict(module.named_buffers())
        if isinstance(norm, RunningNorm) and "running_mean" in buffers:
            running = _predict(norm, running, x.numpy(), step, lines)
            taken["running"] = {"mean": _list(buffers["running_mean"]), "var": _list(buffers["running_var"])}
            taken["predicted"] = {"mean": running[0].tolist(), "var": running[1].tolist()}
        elif names := [name for name in buffers if name.startswith("running_")]:
            taken["running"] = {name.removeprefix("running_"): _list(buffers[name]) for name in names}
        taken["by_hand"] = list(map(vars, lines))
        steps.append(taken)
    return steps


def _problem(norm: Norm | NoNorm, shape: tuple[int, ...]) -> str | None:
    return norm.problem(shape[1:], shape[0]) if isinstance(norm, Norm) else None


def _check(norm: Norm | NoNorm, shape: tuple[int, ...], *, backward: bool) -> None:
    if not 2 <= len(shape) <= 5 or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
        raise UserError(
            f"--shape {','.join(map(str, shape))}: must be N,C or N,C,L or N,C,H,W or N,C,D,H,W with at most "
            f"{MAX_VALUES:,} values"
        )
    if problem := _problem(norm, shape):
        raise UserError(f"--shape {','.join(map(str, shape))}: {norm.kind} norm {problem}")
    if backward and isinstance(norm, Norm) and norm.formula != by_hand.STANDARD:
        kinds = ", ".join(kind for kind, other in NORMS.items() if other.formula == by_hand.STANDARD)
        raise UserError(f"--backward: is written out for {kinds}, not for {norm.kind}")


def _module(norm: Norm, shape: tuple[int, ...], *, learnt: bool) -> nn.Module:
    """The norm in float64; with `learnt`, γ and β are what training might have made of them, else 1 and 0, and
    nothing is cut off by a threshold."""
    module = norm.build(shape[1:]).double()
    threshold = getattr(module, "threshold", None)
    if threshold is not None and not learnt:
        threshold.fill_(-torch.inf)
    if learnt:
        for name, low, high in (("weight", 0.5, 2.0), ("bias", -1.0, 1.0)):
            values = getattr(module, name, None)
            if values is not None:
                values.copy_(torch.linspace(low, high, values.numel(), dtype=torch.float64).view_as(values))
    return module


def _values_averaged(norm: ActivationNorm, x: Array) -> list[int]:
    """How many values a statistic is over; the numbers there are, where virtual batches are of unequal size."""
    statistics = [(part, norm.statistics(part)) for part in norm.batches(x)]
    sizes = [p.size // v.size for p, of in statistics for name, v in of.items() if name != "covariance"]
    return list(dict.fromkeys(sizes)) or [1]


def _predict(norm: RunningNorm, running: list[Array], x: Array, step: int, lines: list[by_hand.Line]) -> list[Array]:
    """The update rule: running ← (1 − momentum)·running + momentum·batch, the variance over m − 1; in `lines` go
    those of the first channel."""
    parts = norm.batches(x)
    for i, part in enumerate(parts):
        weight = 1 / (step * len(parts) + i + 1) if norm.momentum is None else norm.momentum
        batch = norm.moments(part, ddof=1)
        is_unbiased = batch[1][0] != norm.moments(part)[1][0]
        sizes = (None, part.size // part.shape[1] if is_unbiased else None)
        for name, old, new, size in zip(("mean", "var"), running, batch, sizes, strict=True):
            lines.append(by_hand.running(name, weight, float(old[0]), float(new[0]), size))
        running = [(1 - weight) * old + weight * new for old, new in zip(running, batch, strict=True)]
    return running


@torch.enable_grad()
def _backward(norm: ActivationNorm, module: nn.Module, x: Tensor, gradient: Tensor) -> dict[str, Any]:
    """The gradients by the formula, and how far torch's are from it."""
    x, module, gamma = x.detach().requires_grad_(), copy.deepcopy(module), getattr(module, "weight", None)
    found = by_hand.backward(
        norm, x.detach().numpy(), gradient.numpy(), None if gamma is None else gamma.numpy(force=True)
    )
    by_torch = torch.autograd.grad(module.train()(x), [x, *module.parameters()], gradient)
    ours = [found[name] for name in ("by_x", "by_gamma", "by_beta") if name in found]
    largest = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(ours, by_torch, strict=True))
    plain = {name: value.tolist() for name, value in found.items() if name != "by_hand"}
    return plain | {"by_hand": list(map(vars, found["by_hand"])), "largest_difference_to_torch": largest}


def _difference_to_torch(norm: Norm, shape: tuple[int, ...], batches: list[Tensor]) -> float:
    """Between our formula and torch.nn: outputs in training and evaluation, and running statistics."""
    options = norm.model_dump(exclude={"kind"})
    pair = [
        _module(NORMS[kind].model_validate({"kind": kind, **options}), shape, learnt=True)  # type: ignore[arg-type]
        for kind in ("batch", "batch_from_scratch")
    ]
    outputs = [[module(x) for x in batches] + [module.eval()(batches[-1]), *module.buffers()] for module in pair]
    return float(max((a - b).abs().max() for a, b in zip(*outputs, strict=True)))


def _weight(norm: WeightParametrization, shape: tuple[int, ...], random: torch.Generator) -> dict[str, Any]:
    """A norm of weights, on the weight of a dense layer from C inputs to C outputs."""
    layer = nn.Linear(shape[1], shape[1], bias=False).double()
    layer.weight.copy_(torch.randn(layer.weight.shape, dtype=torch.float64, generator=random))
    report: dict[str, Any] = {"weight": _list(layer.weight)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm.parametrize(layer)
    report["parameters"] = {name.rpartition(".")[2]: _list(value) for name, value in layer.named_parameters()}
    report["normalized_weight"] = _list(layer.weight)
    report["singular_values"] = {
        "before": _list(torch.linalg.svdvals(torch.tensor(report["weight"], dtype=torch.float64))),
        "after": _list(torch.linalg.svdvals(layer.weight)),
    }
    return report


def _list(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().tolist()
