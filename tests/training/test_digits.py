"""Digits: the images in the package, how they are split and enlarged, what follows from their size."""

import hashlib
import socket

import pytest
import torch
from kit import CONFIGS, call
from torch.nn.functional import interpolate

from bncompare.config import RunConfig, layers, load_experiment
from bncompare.datasets.digits import FILE, read_digits
from bncompare.errors import UserError
from bncompare.execution.memory import needed
from bncompare.training.data import Dataset, Datasets
from bncompare.training.loop import train
from bncompare.training.model import build_model

LENET = "model={name: lenet}"


def run_of(*overrides: str, seed: int = 0) -> RunConfig:
    settings = ["compare.model.norm=[batch]", "claims=[]", *overrides]
    return load_experiment(CONFIGS / "demo.yaml", overrides=settings, seeds=f"{seed}-{seed}").runs[0]


def digits(*overrides: str, seed: int = 0) -> Dataset:
    return Datasets(None).of(run_of(*overrides, seed=seed))


def test_the_file_is_the_published_one() -> None:
    """Byte for byte what scikit-learn ships as datasets/data/digits.csv.gz."""
    checksum = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert checksum == "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"


def test_the_first_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """As anyone sees them in `zcat digits.csv.gz`: a 0 and a 1, dark pixels 0, the brightest 255; no network."""
    monkeypatch.setattr(socket, "socket", None)
    data = run_of().data
    assert data.name == "digits"
    images, labels, *_ = read_digits(data)
    assert labels[:2].tolist() == [0, 1]
    # 0 0 5 13 9 1 0 0 and 0 3 15 2 0 11 8 0, times 255/16
    assert images[0, 0, [0, 2]].tolist() == [[0, 0, 80, 207, 143, 16, 0, 0], [0, 48, 239, 32, 0, 175, 128, 0]]
    assert (images.min(), images.max()) == (0, 255)


@pytest.mark.parametrize("side", [8, 28])
def test_sizes_and_classes(side: int) -> None:
    """The images are as many and as large as the config said; a tenth of the test set is of each class."""
    run = run_of(f"data.resize={28 if side == 28 else 'null'}", "data.validation=0")
    dataset = Datasets(None).of(run)
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.test)) == (run.data.num_train, run.data.test_size) == (1437, 360)
    x, y = dataset.train.batch(dataset.train.rows)
    assert x.shape == (1437, *run.data.input_shape) == (1437, 1, side, side)
    assert (x.min(), x.max()) == (0, 1)
    assert torch.bincount(y).tolist() == [142, 146, 141, 147, 145, 146, 145, 143, 138, 144]
    assert torch.bincount(dataset.test.targets).tolist() == [36] * run.data.num_outputs


def test_no_image_is_in_two_parts() -> None:
    """Training, validation and test images are disjoint, and those of every seed together all 1,797."""
    for seed in ("0-0", "1-1"):
        run = load_experiment(CONFIGS / "demo.yaml", seeds=seed).runs[0]
        dataset = Datasets(None).of(run)
        parts = [dataset.train, dataset.validation, dataset.test]
        assert [len(part) for part in parts if part] == [1293, 144, 360]
        images = [image.numpy().tobytes() for part in parts if part for image in part.inputs[part.rows]]
        whole = read_digits(run.data)  # type: ignore[arg-type]
        assert sorted(images) == sorted(image.numpy().tobytes() for part in whole[::2] for image in part)
        assert len(set(images)) == 1797


def test_the_test_set_is_the_same_for_every_seed_and_size() -> None:
    """It is drawn once; what the seed draws is the validation set."""
    one, other, large = digits(), digits(seed=3), digits("data.resize=28")
    assert one.test is not None
    assert other.test is not None
    assert large.test is not None
    assert torch.equal(one.test.inputs, other.test.inputs)
    assert torch.equal(one.test.targets, large.test.targets)
    assert hashlib.sha256(one.test.inputs.numpy().tobytes()).hexdigest()[:16] == "5de30ef98b72f8c1"


def test_enlarged_as_torch_does() -> None:
    """Bilinear interpolation to 28×28, to the nearest of 256 values."""
    small, large = digits().train.inputs, digits("data.resize=28").train.inputs
    reference = interpolate(small.double(), size=28, mode="bilinear")
    assert (large - reference).abs().max() <= 1
    assert (large - reference).abs().mean() < 0.3


@pytest.mark.parametrize(
    ("overrides", "inputs"), [([], 64), (["data.resize=28"], 784), ([LENET, "data.resize=28"], 400)]
)
def test_what_follows_from_the_size(overrides: list[str], inputs: int) -> None:
    """Layers, model, and estimate of memory are of the images that there are."""
    run = run_of(*overrides)
    first, last = next(layer for layer in layers(run) if layer.kind == "dense"), layers(run)[-1]
    assert (first.in_features, last.out_features) == (inputs, 10)
    x, _ = digits(*overrides).train.batch(torch.arange(4))
    assert build_model(run)(x).shape == (4, 10)
    side = run.data.input_shape[-1]
    assert needed(run).data == 2 * 1797 * side * side


@pytest.mark.parametrize("padding", [0, 2])
def test_lenet_needs_them_enlarged(padding: int) -> None:
    """At 8×8 nothing is left after two convolutions and poolings: the message says what to do."""
    model = f"model={{name: lenet, padding: {padding}}}"
    said = r"lenet cannot take inputs of 1×8×8: conv\.1 leaves nothing of [24]×[24]; give data\.resize: 28$"
    with pytest.raises(UserError, match=said):
        run_of(model)
    assert run_of(model, "data.resize=28").data.input_shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.resize=32", "data.resize: must be one of 28, not 32"),
        ("data.dir=here", "data.dir: unknown key; valid: "),
        ("data.name=digit", "did you mean 'digits'?"),
        ("data.train_size=1294", "data.train_size: 1294 is more than the 1293 examples that are left"),
    ],
)
def test_bad_settings(setting: str, message: str) -> None:
    """Each is named with what would do."""
    ended = call("train", CONFIGS / "demo.yaml", "--set", setting, "--dry-run")
    assert ended.code == 2
    assert message in ended.err


@pytest.mark.parametrize(("norm", "least", "most"), [("none", 0, 0.2), ("batch", 0.93, 1), ("layer", 0.9, 1)])
def test_the_demo_tells_the_story(norm: str, least: float, most: float) -> None:
    """Without a norm nothing is learned; with BatchNorm or LayerNorm nearly all digits are recognized."""
    run = run_of(f"compare.model.norm=[{norm}]")
    *_, last = train(run, Datasets(None).of(run), torch.device("cpu"))
    assert last.outcome is not None
    assert least <= last.outcome.best["test/accuracy"] <= most
