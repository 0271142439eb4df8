"""Examples of one's own: what a file may hold, what is recorded of it, and what happens when it moves or changes."""

import io
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit import call, content, strict

from bncompare.config import RunConfig, dataset_of, load_experiment
from bncompare.datasets import Npz
from bncompare.errors import UserError
from bncompare.execution import plan_runs, run_experiment
from bncompare.execution.memory import needed
from bncompare.runs import RunStore
from bncompare.training import Datasets

RANDOM = np.random.default_rng(0)
N, CLASSES = 60, 3
Y = np.arange(N) % CLASSES
Y[:12] = 2
IMAGES = RANDOM.integers(0, 256, (N, 3, 6, 6)).astype(np.uint8)
TABLE = RANDOM.normal([10.0, -3.0, 0.5, 7.0], [5.0, 0.1, 1.0, 0.0], (N, 4))

CONFIG = """\
name: mine
seeds: 2
data: {name: npz, path: my.npz, validation: 8}
model: {name: mlp, hidden: [6]}
training: {epochs: 2, batch_size: 16, device: cpu, optimizer: {name: sgd, lr: 0.05}}
compare: {model.norm: [none, batch]}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a config in `configs/`, and nothing beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BNCOMPARE_DATA", raising=False)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.yaml").write_text(CONFIG)
    return tmp_path


def save(path: str = "configs/my.npz", **arrays: Any) -> None:
    np.savez(path, **arrays)


def loaded(*overrides: str) -> RunConfig:
    return load_experiment(Path("configs/mine.yaml"), overrides=overrides).runs[0]


def train(folder: str, *overrides: str, jobs: int = 1, config: str = "configs/mine.yaml") -> dict[str, bytes]:
    runs = load_experiment(Path(config), overrides=overrides).runs
    for event in run_experiment(plan_runs(runs, RunStore(Path(folder))), data_dir=None, num_processes=jobs):
        assert not hasattr(event.what, "details"), event.what
    return content(Path(folder))


# ---------------------------------------------------------------- what a file may hold


@pytest.mark.parametrize(
    ("arrays", "shape", "outputs", "sizes", "scaling"),
    [
        pytest.param({"x": IMAGES, "y": Y}, (3, 6, 6), 3, (60, 0), "unit", id="coloured images"),
        pytest.param({"x": IMAGES[:, 0], "y": Y}, (1, 6, 6), 3, (60, 0), "unit", id="grey images"),
        pytest.param({"x": TABLE, "y": Y.astype(np.uint8)}, (4,), 3, (60, 0), "standardize", id="features"),
        pytest.param({"x": TABLE, "y": TABLE[:, 0]}, (4,), 1, (60, 0), "standardize", id="regression"),
        pytest.param({"x": TABLE.astype("f2"), "y": TABLE[:, :2]}, (4,), 2, (60, 0), "standardize", id="2 targets"),
        pytest.param(
            {"x_train": IMAGES[:40], "y_train": Y[:40, None], "x_test": IMAGES[40:], "y_test": Y[40:, None]},
            (3, 6, 6),
            3,
            (40, 20),
            "unit",
            id="as Keras has them",
        ),
    ],
)
def test_sizes_come_from_the_file(
    here: Path, arrays: dict[str, Any], shape: tuple[int, ...], outputs: int, sizes: tuple[int, int], scaling: str
) -> None:
    """Shape, classes, numbers of examples; and what is read is of that shape and type."""
    save(**arrays)
    run = loaded()
    data = run.data
    assert isinstance(data, Npz)
    assert (data.input_shape, data.num_outputs, (data.pool_size, data.test_size)) == (shape, outputs, sizes)
    assert data.scaling == scaling
    pool = data.read(None, download=False)
    assert (tuple(pool.inputs.shape), tuple(pool.test_inputs.shape)) == ((sizes[0], *shape), (sizes[1], *shape))
    assert pool.inputs.dtype == (torch.uint8 if scaling == "unit" else torch.float32)
    expected = (torch.int64, (sizes[0],)) if data.is_classification else (torch.float32, (sizes[0], outputs))
    assert (pool.targets.dtype, tuple(pool.targets.shape)) == expected
    x = next(iter(arrays.values())).reshape(-1, *shape)
    np.testing.assert_array_equal(pool.inputs, x.astype(pool.inputs.numpy().dtype))
    if data.is_classification:
        assert data.class_names == ["0", "1", "2"]
        labels = (arrays.get("y_train", arrays.get("y"))).ravel()
        assert data.chance == np.bincount(labels).max() / len(labels)


@pytest.mark.parametrize("x", [IMAGES, IMAGES.astype("f4"), TABLE, IMAGES.reshape(N, -1)], ids=str)
def test_standardize(here: Path, x: np.ndarray) -> None:
    """Each channel of an image and each feature of a vector, over the training examples alone; one that is constant
    becomes 0."""
    save(x=x, y=Y)
    dataset = Datasets(None).of(loaded("data.scaling=standardize"))
    found = dataset.train.batch(dataset.train.rows)[0].numpy()
    raw = x[dataset.train.rows.numpy()].astype(np.float64)
    axes = (0, *range(2, x.ndim))
    std = raw.std(axes, keepdims=True)
    np.testing.assert_allclose(found, (raw - raw.mean(axes, keepdims=True)) / np.where(std, std, 1), atol=2e-4)
    assert dataset.validation is not None
    assert dataset.validation.scale is dataset.train.scale


def test_a_test_set_is_held_out(here: Path) -> None:
    """The same for every seed, of the size asked for; with the others it is the whole file."""
    save(x=np.arange(N * 2.0).reshape(N, 2), y=Y)
    run = loaded("data.test=0.2", "data.scaling=none")
    assert (run.data.pool_size, run.data.test_size) == (48, 12)
    parts = [Datasets(None).of(run.model_copy(update={"seeds": [seed]})) for seed in (0, 1)]
    tests = [part.test.inputs for part in parts if part.test]
    assert torch.equal(*tests)
    whole = torch.cat([parts[0].train.inputs, tests[0]])
    assert sorted(whole[:, 0].tolist()) == [2.0 * i for i in range(N)]
    assert not torch.equal(parts[0].train.rows, parts[1].train.rows)


def test_memory(here: Path) -> None:
    """What is held and what is there while it is read count, however small the file is packed."""
    np.savez_compressed("configs/my.npz", x=np.zeros((5000, 2000)), y=np.arange(5000) % 2)
    assert Path("configs/my.npz").stat().st_size < 200_000
    assert needed(loaded()).data >= 5000 * 2000 * (4 + 8)


# ---------------------------------------------------------------- what it may not


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file, warnings.catch_warnings():
        for name, data in entries.items():
            file.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(shape: tuple[int, ...], data: bytes, descr: str = "|u1") -> bytes:
    """A .npy file that claims to be of a shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def saved(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


OBJECTS = np.array([[1, "a"]] * N, dtype=object)
FLIPPED = bytearray(saved(x=TABLE, y=Y))
FLIPPED[400] ^= 1
BAD: dict[str, tuple[bytes, str]] = {
    "no zip": (b"x,y\n1,2\n", "is damaged, or no .npz file: File is not a zip file"),
    "cut off": (saved(x=TABLE, y=Y)[:900], "is damaged, or no .npz file: File is not a zip file"),
    "no y": (
        saved(x=TABLE, label=Y),
        "has no array 'y'; it holds label, x; wanted: x, y and",
    ),
    "both names": (saved(x=TABLE, x_train=TABLE, y=Y), "has both x and x_train, which mean the same"),
    "half a test set": (saved(x=TABLE, y=Y, x_test=TABLE), "has x_test, but no y_test"),
    "objects": (saved(x=OBJECTS, y=Y), "x holds Python objects, which are not read, as they may hold code"),
    "whole numbers": (saved(x=TABLE.astype(int), y=Y), "(60, 4) int64: must be float, or uint8 for 0…255: x.astype"),
    "one number each": (saved(x=TABLE[:, 0], y=Y), "(60,) float64: must be (N, features), (N, H, W) or (N, C, H, W)"),
    "none": (saved(x=TABLE[:0], y=Y[:0]), "x is (0, 4) float64: must not be empty"),
    "channels last": (saved(x=IMAGES.transpose(0, 2, 3, 1), y=Y), "first: x.transpose(0, 3, 1, 2)"),
    "Fortran": (saved(x=np.asfortranarray(TABLE), y=Y), "is in Fortran's order; write numpy.ascontiguousarray(x)"),
    "lengths": (saved(x=TABLE, y=Y[1:]), "but y is (59,) int64: there must be as many targets as examples"),
    "one-hot": (saved(x=TABLE, y=np.eye(3, dtype=int)[Y]), "a class each; of one column a class: y.argmax(1)"),
    "texts": (saved(x=TABLE, y=Y.astype(str)), "must be whole numbers 0…K−1, the classes, or floats to predict"),
    "from 1": (saved(x=TABLE, y=Y + 1), "y has classes up to 3, but none of 0: they must be 0…K−1; numpy.unique"),
    "negative": (saved(x=TABLE, y=Y - 1), "y holds -1: classes are 0…K−1, 1,000 at most; for regression write"),
    "years": (saved(x=TABLE, y=Y + 1990), "y holds 1992: classes are 0…K−1, 1,000 at most; for regression write"),
    "one class": (saved(x=TABLE, y=Y * 0), "y has one class, 0; it takes two"),
    "new class": (
        saved(x=TABLE, y=Y, x_test=TABLE, y_test=Y + 1),
        "y_test has classes that y has not",
    ),
    "other test": (saved(x=TABLE, y=Y, x_test=IMAGES, y_test=Y), "their examples must be alike"),
    "other targets": (saved(x=TABLE, y=Y, x_test=TABLE, y_test=TABLE[:, 0]), "their targets must be alike"),
    "a bomb": (
        zipped(x=npy((N, 10**9), bytes(1000)), y=npy((N,), bytes(N))),
        "which is not as long as what is there",
    ),
    "too short": (zipped(x=npy((N, 4), bytes(100)), y=npy((N,), bytes(N))), "which is not as long as what is there"),
    "no array": (zipped(x=b"\x00" * 30, y=b""), "is damaged, or no .npz file: "),
    "code in a header": (
        zipped(x=npy((N, 4), bytes(240)).replace(b"False", b"exit("), y=npy((N,), bytes(N))),
        "is damaged, or no .npz file: ",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file(here: Path, what: str) -> None:
    """Refused where configs are checked, in one line: config, line, key, file, what is wrong, what to do."""
    data, message = BAD[what]
    Path("configs/my.npz").write_bytes(data)
    ended = call("train", "configs/mine.yaml", "--dry-run")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: configs/mine.yaml:3: data.path: {here}/configs/my.npz: ")
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (saved(x=np.where(TABLE[5, 2] == TABLE, np.nan, TABLE), y=Y), "x[5, 2] is nan: must be finite"),
        (saved(x=TABLE, y=np.where(Y == 0, 1e20, 1.0)), "y[13] is 1e+20: must be finite, and at most 1e+15"),
        (bytes(FLIPPED), "is damaged, or no .npz file: Bad CRC-32 for file 'x.npy'"),
    ],
    ids=["not a number", "too large", "a flipped bit"],
)
def test_bad_numbers_are_found_before_training(here: Path, data: bytes, message: str) -> None:
    """What takes reading it all is found when it is read, before there is a run folder."""
    Y_FIRST = int(np.flatnonzero(Y == 0)[0])
    Path("configs/my.npz").write_bytes(data)
    ended = call("train", "configs/mine.yaml", "--jobs", "1")
    assert ended.code == 2
    assert message.replace("[13]", f"[{Y_FIRST}]") in ended.err
    assert not Path("runs").exists()


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file; numpy.savez writes one"),
        (a_folder, "is a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    ],
    ids=["missing", "folder", "endless"],
)
def test_no_file(here: Path, make: Callable[[Path], object], message: str) -> None:
    make(Path("configs/my.npz"))
    ended = call("train", "configs/mine.yaml", "--dry-run")
    assert ended.code == 2
    assert ended.err == f"error: configs/mine.yaml:3: data.path: {here}/configs/my.npz: {message}\n"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.test=0.2", "data.test: 0.2, but the file has a test set of its own, x_test"),
        ("data.scaling=unit", "data.scaling: unit is of bytes, 0…255; x is float64; standardize or none"),
        ("data.validation=60", "data.validation: 60 of 60 examples leaves none to train on"),
        ('data.path="a\\0b"', "embedded null"),
        (f"data.path={'x' * 5000}", "cannot be read: File name too long"),
        ("data.path=3", "data.path: must be text, not 3"),
    ],
)
def test_bad_settings(here: Path, setting: str, message: str) -> None:
    save(x=TABLE, y=Y, x_test=TABLE, y_test=Y)
    ended = call("train", "configs/mine.yaml", "--dry-run", "--set", setting)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_no_test_set(here: Path) -> None:
    save(x=TABLE, y=Y)
    with pytest.raises(UserError, match="test, but test is 0 and the file has no x_test: there is no test set"):
        loaded("data.validation=test")


# ---------------------------------------------------------------- runs


@pytest.fixture
def trained(here: Path) -> Iterator[Path]:
    """With runs of a file of coloured images."""
    save(x=IMAGES[:40], y=Y[:40], x_test=IMAGES[40:], y_test=Y[40:])
    train("runs")
    return here


def test_the_bytes_are_the_same(trained: Path) -> None:
    """In processes of their own; interrupted and resumed; and when retrained from what a run folder says."""
    whole = content(Path("runs"))
    assert train("two", jobs=2) == whole
    (planned,) = plan_runs([loaded()], RunStore(Path("three")))
    for event in (events := run_experiment([planned], data_dir=None)):
        if event.record is not None:
            planned.folder.save(event.record.checkpoint())
            break
    events.close()  # type: ignore[attr-defined]
    assert plan_runs([loaded()], RunStore(Path("three")))[0].state == "begun"
    assert train("three") == whole
    (config,) = Path("runs/mine").glob("none-s0-*/config.yaml")
    again = train("four", config=str(config))
    assert again == {name: data for name, data in whole.items() if "none-s0" in name}
    ended = call("verify", "runs", "--jobs", "1", "--json")
    assert [run["identical"] for run in strict(ended.out)["runs"]] == [True] * 4


def test_a_path_is_from_the_config_or_from_here(here: Path) -> None:
    """In a file from its folder, given to --set from the current one; written down whole, and it decides nothing."""
    save(x=TABLE, y=Y)
    first = loaded()
    assert first.data.model_dump()["path"] == f"{here}/configs/my.npz"
    shutil.move("configs/my.npz", "other.npz")
    moved = loaded("data.path=other.npz")
    assert moved.data.model_dump()["path"] == f"{here}/other.npz"
    assert moved.digest == first.digest
    save("other.npz", x=TABLE, y=np.roll(Y, 1))
    assert loaded("data.path=other.npz").digest != first.digest


def test_a_file_that_moved_or_changed(trained: Path) -> None:
    """Its place may be said anew; another file in its place is refused, whoever asks for the run again."""
    (config,) = Path("runs/mine").glob("batch-s1-*/config.yaml")
    shutil.copytree("runs/mine", "before")
    Path("elsewhere").mkdir()
    shutil.move("configs/my.npz", "elsewhere/my.npz")
    gone = f"{trained}/configs/my.npz: no such file; --data-dir DIR says where my.npz is"
    assert strict(call("verify", config.parent, "--json").out)["runs"][0]["problem"] == gone
    assert call("verify", config.parent, "--data-dir", "elsewhere", "--jobs", "1").code == 0
    save(x=IMAGES[:40], y=np.roll(Y[:40], 1), x_test=IMAGES[40:], y_test=Y[40:])
    (verified,) = strict(call("verify", config.parent, "--json").out)["runs"]
    assert "configs/my.npz: is not the file of this run: its SHA-256 begins with" in verified["problem"]
    ended = call("train", config, "--runs", "again", "--jobs", "1")
    assert ended.code == 2
    assert "is not the file of this run" in ended.err
    assert not Path("again").exists()
    assert content(Path("before")) == content(Path("runs/mine"))


def test_looks_take_no_file(trained: Path) -> None:
    """What is said of runs is recorded with them."""
    Path("configs/my.npz").unlink()
    (config,) = Path("runs/mine").glob("none-s0-*/config.yaml")
    assert "MLP on my.npz" in call("report").out
    for command in (["report"], ["plot"], ["list"], ["show", config.parent], ["export"], ["graph", config]):
        ended = call(*command)
        assert ended.code == 0, (command, ended.err)
    ended = call("mistakes")
    assert ended.code == 0
    assert ended.out.startswith("mine: images of the test set")
    assert f"{trained}/configs/my.npz: no such file" in ended.err


def test_mistakes_of_any_classes(here: Path) -> None:
    """As many classes as there are; coloured images in colour, and of numbers that are no image no picture."""
    from bncompare.extras import find_mistakes, images_of
    from bncompare.runs import experiments, read_runs

    cases = {"images": IMAGES, "floats": IMAGES.astype("f4")[:, :1], "table": TABLE}
    for name, x in cases.items():
        save(x=x[:40], y=Y[:40], x_test=x[40:], y_test=Y[40:])
        train(name)
        (experiment,) = experiments(read_runs([Path(name)])[0])
        found, _ = find_mistakes(experiment, None)
        assert found.class_names == ["0", "1", "2"]
        images, why = images_of(found, None)
        if name == "table":
            assert images is None
            assert why == "There are no pictures: an example is 4 numbers"
            assert found.things == "examples"
        else:
            assert images is not None
            assert images.shape == ((20, 6, 6, 3) if name == "images" else (20, 6, 6))
            assert images.dtype == np.uint8


def test_a_config_without_content_is_not_known() -> None:
    """Of a run from elsewhere nothing is said that its config does not hold."""
    assert dataset_of({"data": {"name": "npz", "path": "x.npz"}}) is None
    assert dataset_of({"data": {"name": "of somebody else"}}) is None
    assert dataset_of({}) is None


def test_smoke_takes_the_file(here: Path) -> None:
    save(x=TABLE, y=Y)
    (first, *_) = load_experiment(Path("configs/mine.yaml"), smoke=True).runs
    assert first.data.input_shape == (4,)
    Datasets(None).of(first)
