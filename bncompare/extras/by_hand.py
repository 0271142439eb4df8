"""The rules of a norm with the numbers put in, for the first value of a tensor, forwards and backwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bncompare.norms import ActivationNorm, BatchNorm, GroupNorm

Array = NDArray[np.float64]
MAX_TERMS = 8
STANDARD = BatchNorm.formula  # y = γ·(x − mean)/√(var + eps) + β, which several kinds share


@dataclass(frozen=True)
class Line:
    """`name = rule = value`."""

    name: str
    rule: str
    value: float
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name} = {self.rule} = {number(self.value)}{self.note}"


def number(value: float) -> str:
    """Four digits, and a true minus."""
    return f"{value:.4g}".replace("-", "−")


def term(value: float) -> str:
    """The same within a formula."""
    return f"({number(value)})" if value < 0 else number(value)


def forward(norm: ActivationNorm, x: Array, gamma: float | None, beta: float | None) -> list[Line]:
    """Mean and variance of the first group of values of x, (N, C, …), and the first output; [] for other formulas."""
    if norm.formula != STANDARD:
        return []
    values, first, eps = _first_group(norm, x), float(x.flat[0]), norm.model_dump()["eps"]
    mean, var = float(values.mean()), float(values.var())
    normalized = (first - mean) / (var + eps) ** 0.5
    squares = [f"({number(value)} − {term(mean)})²" for value in values]
    lines = [
        Line("mean", f"{_sum(list(map(term, values)))}/{len(values)}", mean),
        Line("var", f"{_sum(squares)}/{len(values)}", var, "; biased: over n"),
        Line("x̂", f"({number(first)} − {term(mean)})/√({number(var)} + {number(eps)})", normalized),
    ]
    if gamma is not None:
        name, rule = "γ·x̂", f"{number(gamma)}·{term(normalized)}"
        if beta is not None:
            name, rule = f"{name} + β", f"{rule} + {term(beta)}"
        lines.append(Line("y", f"{name} = {rule}", gamma * normalized + (beta or 0)))
    return lines


def running(name: str, weight: float, old: float, batch: float, unbiased: int | None) -> Line:
    """The update of a running statistic by a batch's; of a variance over so many values, which is made unbiased."""
    new = (1 - weight) * old + weight * batch
    rule = f"{number(1 - weight)}·{term(old)} + {number(weight)}·"
    if unbiased is None:
        return Line(f"running {name}", rule + term(batch), new)
    n = unbiased
    biased = batch * (n - 1) / n
    return Line(f"running {name}", f"{rule}({n}/{n - 1})·{number(biased)}", new, "; unbiased: n/(n − 1)")


def backward(norm: ActivationNorm, x: Array, gradient: Array, gamma: Array | None) -> dict[str, Any]:
    """The gradients of the loss by x, γ and β, for one by y, by the rule of `STANDARD`; by hand for the first x.

    γ is (C,), or (C, …) of layer normalization.

        ∂L/∂x̂ = γ·∂L/∂y
        ∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂·mean(x̂·∂L/∂x̂))/√(var + eps)

    with means over what the statistics are over: each value moves the mean and the variance of all others.
    """
    eps, shape = norm.model_dump()["eps"], x.shape
    grouped, axes = (x.shape, norm.axes_of(x.shape))
    if isinstance(norm, GroupNorm):
        grouped, axes = (len(x), norm.num_groups(x.shape[1]), -1), (2,)
    x_grouped = x.reshape(grouped)
    std = (x_grouped.var(axes, keepdims=True) + eps) ** 0.5
    x_hat = (x_grouped - x_grouped.mean(axes, keepdims=True)) / std
    around = () if gamma is None else (1, *gamma.shape, *[1] * (x.ndim - gamma.ndim - 1))
    by_hat = gradient if gamma is None else gradient * gamma.reshape(around)
    g = by_hat.reshape(grouped)
    mean_g, mean_product = g.mean(axes, keepdims=True), (x_hat * g).mean(axes, keepdims=True)
    by_x = ((g - mean_g - x_hat * mean_product) / std).reshape(shape)
    first = [float(array.flat[0]) for array in (g, mean_g, x_hat, mean_product, std, by_x)]
    rule = f"({number(first[0])} − {term(first[1])} − {term(first[2])}·{term(first[3])})/{number(first[4])}"
    found: dict[str, Any] = {"by_y": gradient, "by_x": by_x, "by_hand": [Line("∂L/∂x", rule, first[5])]}
    if gamma is not None:
        over = (0, *range(gamma.ndim + 1, x.ndim))
        found |= {"by_gamma": (gradient * x_hat.reshape(shape)).sum(over)}
        found |= {"by_beta": gradient.sum(over)} if norm.has_shift else {}
    return found


def _first_group(norm: ActivationNorm, x: Array) -> Array:
    """The values that the statistics of the first one are over."""
    if isinstance(norm, GroupNorm):
        return x[0, : x.shape[1] // norm.num_groups(x.shape[1])].ravel()
    return x[tuple(slice(None) if axis in norm.axes_of(x.shape) else 0 for axis in range(x.ndim))].ravel()


def _sum(terms: Sequence[str]) -> str:
    """`(a + b + c)`, the middle left out where there are many."""
    shown = [*terms[:2], "…", terms[-1]] if len(terms) > MAX_TERMS else terms
    return f"({' + '.join(shown)})"
