"""`explain`: the numbers it shows are those of the definition, for every kind."""

import json

import numpy as np
import pytest
from kit import fits

from bncompare.errors import UserError
from bncompare.extras.explain import explain_norm
from bncompare.norms.base import NORMS

KINDS = [kind for kind in NORMS if kind != "none"]
SHAPES = [(4, 6), (3, 4, 5), (3, 4, 2, 3), (3, 4, 2, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_and_shape(kind: str, shape: tuple[int, ...]) -> None:
    """Every kind explains itself on 1d, 2d and 3d data, as strict JSON; the update rule predicts what is tracked."""
    if not fits(kind, *shape[1:]):
        with pytest.raises(UserError, match="one value per channel"):
            explain_norm(kind, shape)
        return
    report = explain_norm(kind, shape, steps=3)
    json.dumps(report, allow_nan=False)
    for step in report.get("steps", []):
        if "predicted" in step:
            np.testing.assert_allclose(step["running"]["mean"], step["predicted"]["mean"], atol=1e-12)
            np.testing.assert_allclose(step["running"]["var"], step["predicted"]["var"], atol=1e-12)


def test_batch_norm_3d_tutorial() -> None:
    """BatchNorm3d by hand: momentum 0.3, the biased variance in the output and the unbiased in the buffer."""
    report = explain_norm("batch", (3, 4, 2, 2, 3), steps=2, momentum=0.3)
    assert report["axes"] == [0, 2, 3, 4]
    assert report["values_averaged"] == [36]
    first, second = (np.array(step["input"]) for step in report["steps"])
    axes = (0, 2, 3, 4)
    mean1 = 0.3 * first.mean(axes)
    np.testing.assert_allclose(report["steps"][0]["running"]["mean"], mean1)
    np.testing.assert_allclose(report["steps"][1]["running"]["mean"], 0.7 * mean1 + 0.3 * second.mean(axes))
    var = 0.7 * (0.7 + 0.3 * first.var(axes, ddof=1)) + 0.3 * second.var(axes, ddof=1)
    np.testing.assert_allclose(report["steps"][1]["running"]["var"], var)
    by_hand = (second - second.mean(axes, keepdims=True)) / np.sqrt(second.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(report["steps"][1]["normalized"], by_hand, atol=1e-12)
    gamma, beta = (np.array(report[name]).reshape(1, 4, 1, 1, 1) for name in ("gamma", "beta"))
    np.testing.assert_allclose(report["steps"][1]["output"], gamma * by_hand + beta, atol=1e-12)
    mean, var = (np.array(report["steps"][1]["running"][name]).reshape(1, 4, 1, 1, 1) for name in ("mean", "var"))
    np.testing.assert_allclose(report["evaluation"]["normalized"], (second - mean) / np.sqrt(var + 1e-5), atol=1e-12)
    assert report["largest_difference_to_torch"] < 1e-12


@pytest.mark.parametrize("kind", ["layer", "group", "rms", "instance", "batch", "ghost_batch"])
def test_statistics_shown_are_those_used(kind: str) -> None:
    """The statistics beside a step are the ones that turn its input into its normalized output."""
    report = explain_norm(kind, (4, 4, 3, 3), steps=1)
    step = report["steps"][0]
    x, y = np.array(step["input"]), np.array(step["normalized"])
    statistics = {name: np.array(value) for name, value in step["statistics"].items()}
    if kind == "rms":
        expected = x / np.sqrt(statistics["mean_square"].reshape(4, 1, 1, 1) + 1e-5)
    else:
        shape = {"layer": (4, 1, 1, 1), "group": (4, 2, 1, 1), "instance": (4, 4, 1, 1), "batch": (1, 4, 1, 1)}
        mean, var = (statistics[name] for name in ("mean", "var"))
        if kind == "group":
            mean, var = np.repeat(mean, 2, 1).reshape(4, 4, 1, 1), np.repeat(var, 2, 1).reshape(4, 4, 1, 1)
        elif kind == "ghost_batch":
            mean, var = np.repeat(mean, 2, 0).reshape(4, 4, 1, 1), np.repeat(var, 2, 0).reshape(4, 4, 1, 1)
        else:
            mean, var = mean.reshape(shape[kind]), var.reshape(shape[kind])
        expected = (x - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("noisy_batch", "weight", "spectral", "weight_standardization")]
)
def test_the_output_is_made_of_what_is_shown_before_it(kind: str) -> None:
    """y = γ·x̂ + β, or τ where that is less, in training and in evaluation; the noise of `noisy_batch` comes after."""
    report = explain_norm(kind, (3, 4, 2, 3))
    for step in [*report["steps"], report["evaluation"]]:
        x_hat = np.array(step["normalized"])
        gamma, beta = (np.array(report[name] or default) for name, default in (("gamma", [1.0]), ("beta", [0.0])))
        if gamma.ndim == 1:
            gamma, beta = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)
        wanted = gamma * x_hat + beta
        if kind == "filter_response":
            wanted = np.maximum(wanted, np.array(report["learned"]["threshold"]).reshape(1, -1, 1, 1))
            assert x_hat.min() < 0
        np.testing.assert_allclose(step["output"], wanted, atol=1e-12)


@pytest.mark.parametrize("group_size", [4, 2])
def test_whitening_shows_its_covariance(group_size: int) -> None:
    """What is shown is Σ but for eps: x̂ is Σ^(−1/2)·(x − mean); channels of two groups have nothing in common."""
    report = explain_norm("whitening", (6, 4), steps=1, group_size=group_size)
    assert report["values_averaged"] == [6]
    step = report["steps"][0]
    mean, covariance = (np.array(step["statistics"][name]) for name in ("mean", "covariance"))
    values, vectors = np.linalg.eigh(covariance + 1e-5 * np.eye(4))
    whitened = (np.array(step["input"]) - mean) @ vectors @ np.diag(values**-0.5) @ vectors.T
    np.testing.assert_allclose(step["normalized"], whitened, atol=1e-9)
    np.testing.assert_allclose(step["running"]["mean"], 0.1 * mean)
    assert (covariance[:2, 2:] == 0).all() == (group_size == 2)


def test_spectral_norm() -> None:
    """After spectral normalization the largest singular value is 1, up to the power iteration."""
    report = explain_norm("spectral", (4, 5))
    assert report["singular_values"]["after"][0] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shape", [(3,), (2, 0), (1, 4), (100, 100), (2, 2, 2, 2, 2, 2)], ids=str)
def test_bad_shapes(shape: tuple[int, ...]) -> None:
    """A shape that is none, too large, or has one value per channel is refused with a reason."""
    with pytest.raises(UserError, match=r"--shape "):
        explain_norm("batch", shape)
