"""A norm at work on a small tensor, step by step, beside the numbers its definition predicts."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bncompare.errors import UserError
from bncompare.norms import (
    NORMS,
    ActivationNorm,
    BatchNorm,
    BatchNormFromScratch,
    Norm,
    RunningNorm,
    WeightParametrization,
)
from bncompare.randomness import StepRandomness, generator

Array = NDArray[np.float64]
MAX_VALUES = 2_000
SHAPE = (4, 3)
# Where a kind says nothing of that shape: groups of equal size, channels of several values.
SHAPES = {"group": (4, 6), "instance": (3, 2, 4)}
# Options with which a few examples and steps show what the kind is about.
EXAMPLES: dict[str, dict[str, Any]] = {
    "ghost_batch": {"virtual_batch_size": 2},
    "batch_renorm": {"start": 0, "rmax_end": 1, "dmax_end": 1, "rmax": 1.25, "dmax": 0.25},
}


@torch.no_grad()
def explain_norm(
    kind: str, shape: tuple[int, ...] | None = None, *, steps: int = 2, seed: int = 0, **options: Any
) -> dict[str, Any]:
    """What a norm does to `steps` random batches of a shape (N, C, …) in training, then to the last in evaluation.

    The result holds plain numbers and lists, for JSON. `shape` is by default a small one that the kind can take,
    `options` are those of the kind. Raises UserError.
    """
    shape = shape or SHAPES.get(kind, SHAPE)
    norm = _options(kind, shape, options)
    random = generator(seed, "explain")
    batches = [torch.randn(shape, dtype=torch.float64, generator=random) for _ in range(steps)]
    report: dict[str, Any] = {
        "kind": kind,
        "formula": norm.formula,
        "statistics_over": norm.axes,
        "shape": list(shape),
    }
    report["options"] = norm.model_dump(exclude={"kind", "layers", "on_output", "placement"})
    if isinstance(norm, WeightParametrization):
        return report | _weight(norm, shape, random)
    assert isinstance(norm, ActivationNorm)
    report["axes"] = list(norm.axes_of(shape))
    report["values_averaged"] = _values_averaged(norm, batches[0].numpy())
    module = _module(norm, shape, learnt=True)
    plain = _module(norm, shape, learnt=False)  # γ = 1 and β = 0: what is called x̂
    parameters = dict(module.named_parameters())
    report["gamma"], report["beta"] = _list(parameters.get("weight")), _list(parameters.get("bias"))
    running = [np.zeros(shape[1]), np.ones(shape[1])]
    report["steps"] = []
    for step, x in enumerate(batches):
        for m in (module, plain):
            if isinstance(m, StepRandomness):
                m.reseed(seed, kind, step, x.device)
        statistics = {name: value.tolist() for name, value in norm.statistics(x.numpy()).items()}
        taken: dict[str, Any] = {"input": _list(x), "statistics": statistics}
        taken |= {"normalized": _list(plain(x)), "output": _list(module(x))}
        buffers = dict(module.named_buffers())
        if isinstance(norm, RunningNorm) and "running_mean" in buffers:
            running = _predict(norm, running, x.numpy(), step)
            taken["running"] = {"mean": _list(buffers["running_mean"]), "var": _list(buffers["running_var"])}
            taken["predicted"] = {"mean": running[0].tolist(), "var": running[1].tolist()}
        report["steps"].append(taken)
    x = batches[-1]
    module.eval()
    plain.eval()
    report["evaluation"] = {"input": _list(x), "normalized": _list(plain(x)), "output": _list(module(x))}
    if isinstance(norm, BatchNorm | BatchNormFromScratch):
        report["largest_difference_to_torch"] = _difference_to_torch(norm, shape, batches)
    return report


def _options(kind: str, shape: tuple[int, ...], options: dict[str, Any]) -> Norm:
    norm = NORMS[kind].model_validate({"kind": kind, **EXAMPLES.get(kind, {}), **options})
    if not isinstance(norm, Norm):
        raise UserError(f"{kind}: there is nothing to explain: {norm.formula}")
    if not 2 <= len(shape) <= 5 or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
        raise UserError(
            f"--shape {','.join(map(str, shape))}: must be N,C or N,C,L or N,C,H,W or N,C,D,H,W with at most "
            f"{MAX_VALUES:,} values"
        )
    problem = norm.problem(shape[1:], shape[0])
    if problem:
        raise UserError(f"--shape {','.join(map(str, shape))}: {kind} norm {problem}")
    return norm


def _module(norm: Norm, shape: tuple[int, ...], *, learnt: bool) -> nn.Module:
    """The norm in float64; with `learnt`, γ and β are what training might have made of them."""
    module = norm.build(shape[1:]).double()
    if learnt:
        for name, low, high in (("weight", 0.5, 2.0), ("bias", -1.0, 1.0)):
            values = getattr(module, name, None)
            if values is not None:
                values.copy_(torch.linspace(low, high, values.numel(), dtype=torch.float64).view_as(values))
    return module


def _values_averaged(norm: ActivationNorm, x: Array) -> list[int]:
    """How many values a statistic is over; the numbers there are, where virtual batches are of unequal size."""
    return list(dict.fromkeys(p.size // v.size for p in norm.batches(x) for v in norm.statistics(p).values())) or [1]


def _predict(norm: RunningNorm, running: list[Array], x: Array, step: int) -> list[Array]:
    """The update rule by hand: running ← (1 − momentum)·running + momentum·batch, the variance over m − 1."""
    parts = norm.batches(x)
    for i, part in enumerate(parts):
        weight = 1 / (step * len(parts) + i + 1) if norm.momentum is None else norm.momentum
        batch = norm.moments(part, ddof=1)
        running = [(1 - weight) * old + weight * new for old, new in zip(running, batch, strict=True)]
    return running


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


def print_explanation(report: dict[str, Any]) -> None:
    """What `explain` found, as a text to read."""
    shape = tuple(report["shape"])
    print(f"{report['kind']}: {report['formula']}")
    print(f"statistics over {report['statistics_over']}")
    if report.get("axes"):
        axes = ", ".join(map(str, report["axes"]))
        values = " or ".join(map(str, report["values_averaged"]))
        print(f"here: axes {axes} of a tensor of shape {shape}, {values} values at a time")
    print("options: " + ", ".join(f"{name} {value}" for name, value in report["options"].items()))
    for name, symbol in (("gamma", "γ"), ("beta", "β")):
        if report.get(name) is not None:
            _print_array(symbol, report[name])
    for name in ("weight", "parameters", "normalized_weight", "singular_values"):
        if name in report:
            values = report[name]
            for key, value in values.items() if isinstance(values, dict) else [("", values)]:
                _print_array(f"{name.replace('_', ' ')} {key}".strip(), value)
    for i, step in enumerate(report.get("steps", []), start=1):
        print(f"\ntraining step {i}")
        _print_array("input x", step["input"])
        for name, value in step["statistics"].items():
            _print_array(name.replace("_", " "), value)
        _print_array("normalized x̂", step["normalized"])
        _print_array("output y", step["output"])
        for name in step.get("running", ()):
            _print_array(f"running {name}", step["running"][name])
            _print_array("  by the update rule", step["predicted"][name])
    if "evaluation" in report:
        print("\nevaluation, of the last input")
        if report["evaluation"]["output"] == report["steps"][-1]["output"]:
            print("  as in training")
            return
        _print_array("normalized x̂", report["evaluation"]["normalized"])
        _print_array("output y", report["evaluation"]["output"])
    if "largest_difference_to_torch" in report:
        print(f"\nlargest difference between our formula and torch.nn: {report['largest_difference_to_torch']:.1e}")


def _print_array(name: str, values: Any) -> None:
    """`name = [numbers]`; of more than two axes a line for each example and channel, the rest in a row."""
    array = np.asarray(values)

    def line(row: Any) -> str:
        return np.array2string(
            np.atleast_1d(row), precision=4, suppress_small=True, floatmode="fixed", sign=" ", max_line_width=10_000
        )

    if array.ndim <= 1:
        print(f"  {name} = {line(array)}")
        return
    print(f"  {name} =")
    for index in np.ndindex(array.shape[: max(1, min(2, array.ndim - 1))]):
        print(f"    [{','.join(map(str, index))}] {line(array[index].ravel())}")
