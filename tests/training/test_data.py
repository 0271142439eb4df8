"""Datasets: what is drawn, how it is split, how pixels become inputs."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from kit import CONFIGS

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.datasets import MNIST, Pool
from bncompare.datasets.published import find_data_dir
from bncompare.training.data import Dataset, load_dataset


def run_of(config: str, *overrides: str) -> RunConfig:
    return load_experiment(CONFIGS / config, overrides=overrides, seeds="1").runs[0]


def regression(*overrides: str) -> Dataset:
    return load_dataset(run_of("regression.yaml", *overrides), None)


def images(*overrides: str) -> tuple[Dataset, Pool]:
    run = run_of("smoke.yaml", *overrides)
    pool = run.data.read(None, download=False)
    return load_dataset(run, pool), pool


def test_noise_only() -> None:
    """Inputs and targets are independent standard normals, as in the tutorial."""
    dataset = regression("data.samples=20000", "data.test_samples=5")
    x, y = dataset.train.batch(dataset.train.rows)
    assert x.shape == (20000, 10)
    assert y.shape == (20000, 1)
    tolerance = 4 / 20000**0.5
    assert abs(x.mean()) < tolerance / 10**0.5 * 2
    assert abs(x.std() - 1) < tolerance
    assert abs(y.mean()) < tolerance
    assert abs(y.std() - 1) < tolerance
    assert (x * y).mean(0).abs().max() < tolerance
    assert dataset.test is not None
    assert len(dataset.test) == 5


def test_linear_signal() -> None:
    """Without noise the target is a linear function of variance 1; a least-squares fit has no residual."""
    dataset = regression("data.samples=5000", "data.signal=linear", "data.noise=0")
    x, y = (tensor.numpy().astype(np.float64) for tensor in dataset.train.batch(dataset.train.rows))
    weights, residual, *_ = np.linalg.lstsq(x, y, rcond=None)
    assert residual[0] / len(y) < 1e-10
    np.testing.assert_allclose(np.sum(weights**2), 1, rtol=1e-6)
    test = dataset.test
    assert test is not None
    np.testing.assert_allclose(test.inputs.numpy() @ weights, test.targets.numpy(), atol=1e-5)


@pytest.mark.parametrize("signal", ["linear", "teacher"])
def test_several_targets(signal: str) -> None:
    """Each target has a signal and noise of its own, all of variance 1; the inputs are those of one target."""
    settings = ["data.samples=20000", f"data.signal={signal}", "claims=[]"]
    one, three = regression(*settings), regression(*settings, "data.targets=3", "data.noise=0")
    assert torch.equal(one.train.inputs, three.train.inputs)
    assert three.train.targets.shape == (20000, 3)
    assert (three.train.targets.std(0) - 1).abs().max() < 0.05
    assert (three.train.targets.T.corrcoef() - torch.eye(3)).abs().max() < 0.9


def test_teacher_signal() -> None:
    """The teacher's target has mean 0 and variance 1, plus the variance of the noise, and is not linear."""
    dataset = regression("data.samples=50000", "data.signal=teacher", "data.noise=0.5")
    x, y = (tensor.numpy().astype(np.float64) for tensor in dataset.train.batch(dataset.train.rows))
    assert abs(y.mean()) < 0.03
    assert y.var() == pytest.approx(1.25, rel=0.05)
    residual = np.linalg.lstsq(x, y, rcond=None)[1][0] / len(y)
    assert 0.26 < residual < 1


@pytest.mark.parametrize("validation", ["0.25", "500", "0", "test"])
def test_splits(validation: str) -> None:
    """Training and validation examples are disjoint and of the sizes asked for; 0 means none, test the test set."""
    dataset, pool = images(f"data.validation={validation}", "data.train_size=null", "training.early_stopping=null")
    expected = {"0.25": 359, "500": 500, "0": 0, "test": 360}[validation]
    assert (len(dataset.validation) if dataset.validation else 0) == expected
    if validation == "test":
        assert dataset.validation is not None
        assert dataset.validation.inputs is pool.test_inputs
        assert len(dataset.train) == 1437
    elif dataset.validation:
        assert sorted([*dataset.train.rows.tolist(), *dataset.validation.rows.tolist()]) == list(range(1437))


def test_train_sizes_are_nested() -> None:
    """A smaller train_size is a subset of a larger one, beside the same validation examples."""
    small, _ = images("data.train_size=100")
    large, _ = images("data.train_size=300")
    assert large.train.rows[:100].tolist() == small.train.rows.tolist()
    assert small.validation is not None
    assert large.validation is not None
    assert small.validation.rows.tolist() == large.validation.rows.tolist()


@pytest.mark.parametrize("binarize", ["true", "false"])
@pytest.mark.parametrize("scaling", ["none", "unit", "standardize"])
def test_scaling(scaling: str, binarize: str) -> None:
    """Pixels become 0…255, 0…1, or mean 0 and standard deviation 1 over the training examples."""
    dataset, pool = images(f"data.scaling={scaling}", f"data.binarize={binarize}")
    x, y = dataset.train.batch(dataset.train.rows)
    assert x.dtype == torch.float32
    raw = pool.inputs[dataset.train.rows].numpy().astype(np.float64)
    if binarize == "true":
        raw = np.where(raw >= 128, 255.0, 0.0)
    expected = {"none": raw, "unit": raw / 255, "standardize": (raw - raw.mean()) / raw.std()}[scaling]
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(y, pool.targets[dataset.train.rows])
    assert dataset.test is not None
    assert dataset.test.scale == dataset.train.scale


def test_images_stay_bytes() -> None:
    """The images in memory are the pool's own uint8 tensors, not copies."""
    dataset, pool = images()
    assert dataset.train.inputs is pool.inputs
    assert dataset.train.inputs.dtype == torch.uint8


def test_order_of_data_directories(tmp_path: Path) -> None:
    """--data-dir goes before BNCOMPARE_DATA, that before data.dir, that before the cache."""
    plain, configured = MNIST(name="mnist"), MNIST(name="mnist", dir="/configured")
    environment = {"BNCOMPARE_DATA": "/environment", "XDG_CACHE_HOME": "/cache"}
    assert find_data_dir(tmp_path, configured, environment) == tmp_path
    assert find_data_dir(None, configured, environment) == Path("/environment")
    del environment["BNCOMPARE_DATA"]
    assert find_data_dir(None, configured, environment) == Path("/configured")
    assert find_data_dir(None, plain, environment) == Path("/cache/bncompare")
    assert find_data_dir(None, plain, {}) == Path.home() / ".cache" / "bncompare"


@pytest.mark.data
@pytest.mark.skipif("BNCOMPARE_DATA" not in os.environ, reason="needs the real archives")
@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.2860, 0.3530)])
def test_real_images(name: str, mean: float, std: float) -> None:
    """The real datasets have their published sizes, class counts, and mean and standard deviation."""
    pool = MNIST(name=name).read(None, download=True)  # type: ignore[arg-type]
    assert pool.inputs.shape == (60000, 1, 28, 28)
    assert pool.test_inputs.shape == (10000, 1, 28, 28)
    pixels = pool.inputs.to(torch.float64) / 255
    assert pixels.mean().item() == pytest.approx(mean, abs=5e-5)
    assert pixels.std().item() == pytest.approx(std, abs=5e-5)
    counts = torch.bincount(pool.targets).tolist()
    assert counts == (
        [6000] * 10 if name == "fashion_mnist" else [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    )
