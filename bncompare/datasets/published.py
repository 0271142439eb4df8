"""MNIST and Fashion-MNIST: found, downloaded, verified."""

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.error import URLError

from bncompare.datasets.base import Pool
from bncompare.datasets.digits import Digits
from bncompare.datasets.images import Images
from bncompare.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

DOWNLOAD_TIMEOUT_SECONDS = 30
MAX_FILE_BYTES = 64 * 1024 * 1024  # the largest that was published has 47 MB
CLOTHES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class MNIST(Images):
    """28×28 grey images of ten classes: 60,000 to train on and 10,000 to test."""

    pool_size: ClassVar = 60_000
    test_size: ClassVar = 10_000
    side: ClassVar = 28

    name: Literal["mnist", "fashion_mnist"]
    """the dataset"""
    dir: str | None = None
    """folder with torchvision's layout (MNIST/raw/…); null = BNCOMPARE_DATA or a cache; --data-dir goes first"""

    def small(self, num_examples: int) -> Images:
        """Digits, of the same size."""
        return Digits(name="digits", resize=28, **self.model_dump(exclude={"name", "dir"}))

    @property
    def title(self) -> str:
        return {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}[self.name]

    @property
    def class_names(self) -> list[str]:
        return list(CLOTHES) if self.name == "fashion_mnist" else super().class_names

    def load(self, data_dir: Path | None, *, download: bool) -> Pool:
        """The images, verified; downloads and extracts what is missing. Raises UserError."""
        name = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[self.name]
        folder = find_data_dir(data_dir, self)
        if (files := _read(folder, name)) is None:
            if not download:
                raise UserError(
                    f"{name} is not whole in {folder / name / 'raw'}; --data-dir and BNCOMPARE_DATA say where it is"
                )
            _prepare(self._publisher(name), folder)
            files = _read(folder, name)
            assert files is not None
        images, labels, test_images, test_labels = files
        return Pool(_images(images), _labels(labels), _images(test_images), _labels(test_labels))

    def _publisher(self, name: str) -> Any:
        """A class of torchvision.datasets: it knows the addresses, checksums and layout. Raises UserError."""
        try:
            from torchvision import datasets  # 2.3 s, so that only what is not there yet waits for it
        except (ImportError, RuntimeError) as error:  # it is of another version than torch, or of another build
            import torch

            why = str(error).strip().splitlines()[0]
            raise UserError(
                f"{self.name}: needs torchvision, the one that belongs to torch {torch.__version__} ({why}), to be "
                "downloaded: pip install torchvision, from where torch was installed from"
            ) from None
        return getattr(datasets, name)


def find_data_dir(option: Path | None, data: MNIST, environment: Mapping[str, str] = os.environ) -> Path:
    """--data-dir, else BNCOMPARE_DATA, else data.dir, else a cache folder."""
    if option is not None:
        return option
    if environment.get("BNCOMPARE_DATA"):
        return Path(environment["BNCOMPARE_DATA"])
    if data.dir is not None:
        return Path(data.dir).expanduser()
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bncompare"


# MD5 sums of the extracted files, in the order of a `Pool`. torchvision has those of the archives only, so it would
# read a copy that was cut short or changed without a word.
EXTRACTED_MD5 = {
    "MNIST": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}


def _read(data_dir: Path, name: str) -> "list[NDArray[np.uint8]] | None":
    """The four extracted files in `data_dir`, or None if one is not there, whole."""
    files = []
    for file, checksum in EXTRACTED_MD5[name].items():
        content = _whole(data_dir / name / "raw" / file, checksum)
        if content is None:
            return None
        files.append(content)
    return files


# The files are known to the byte, and so are their headers: 16 bytes before the images, 8 before the labels.


def _images(content: "NDArray[np.uint8]") -> "Tensor":
    import torch

    return torch.from_numpy(content[16:]).view(-1, 1, MNIST.side, MNIST.side)


def _labels(content: "NDArray[np.uint8]") -> "Tensor":
    import torch

    return torch.from_numpy(content[8:]).long()


def _prepare(published: Any, data_dir: Path) -> None:
    """Put the four extracted files into `data_dir`, from the archives there or from their publisher.

    `published`, of torchvision, does the work in a scratch folder, from which only verified files are moved to their
    names. Raises UserError.
    """
    name = published.__name__
    folder = data_dir / name / "raw"
    expected = EXTRACTED_MD5[name]
    archives = [file for file, checksum in published.resources if _is_whole(folder / file, checksum)]
    if not data_dir.is_dir() and (data_dir.exists() or data_dir.is_symlink()):
        raise UserError(f"{data_dir}: cannot hold {name}: is not a folder, or a link to nowhere")
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=".incomplete-") as scratch:
            raw = Path(scratch, name, "raw")
            raw.mkdir(parents=True)
            for file in archives:
                shutil.copyfile(folder / file, raw / file)
            _download(published, Path(scratch), folder)
            folder.mkdir(parents=True, exist_ok=True)
            for file, checksum in expected.items():
                if not _is_whole(raw / file, checksum):
                    raise UserError(f"{folder / file}: cannot be extracted: is the disk full?")
            for path in raw.iterdir():
                path.replace(folder / path.name)
    except OSError as error:
        where = error.filename or folder
        raise UserError(f"{where}: cannot prepare {name} in {data_dir}: {error.strerror or error}") from None
    finally:
        for path in new_folders:
            with contextlib.suppress(OSError):  # it is not there, or no longer empty
                path.rmdir()


def _is_whole(path: Path, checksum: str) -> bool:
    return _whole(path, checksum) is not None


def _whole(path: Path, checksum: str) -> "NDArray[np.uint8] | None":
    """The bytes of a file, or of what a link leads to, if it has this MD5 sum; what cannot be one of those files is
    not read."""
    if not (path.is_file() and path.stat().st_size <= MAX_FILE_BYTES):
        return None
    import numpy as np

    content = np.fromfile(path, np.uint8)
    return content if hashlib.md5(content.data, usedforsecurity=False).hexdigest() == checksum else None


def _download(published: Any, scratch: Path, folder: Path) -> None:
    """Download the archives that are not in `scratch` yet, verify and extract all. Raises UserError."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        published(scratch, download=True)
    except (RuntimeError, URLError, TimeoutError, ConnectionError, HTTPException) as error:
        wanted = [
            f"  {file} ({'damaged' if (folder / file).exists() else 'missing'}; MD5 {checksum})"
            for file, checksum in published.resources
            if not _is_whole(scratch / published.__name__ / "raw" / file, checksum)
        ]
        damaged = [
            f"{folder / file} is there, but is not what was published."
            for file, checksum in EXTRACTED_MD5[published.__name__].items()
            if (folder / file).exists() and not _is_whole(folder / file, checksum)
        ]
        cause = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(
            f"{published.__name__} is not whole in {folder} and could not be downloaded ({cause}).",
            *damaged,
            f"Put these files into {folder}:",
            *wanted,
            f"They are at {' and '.join(published.mirrors)}. Or name a folder that has them with --data-dir.",
        ) from None
    finally:
        socket.setdefaulttimeout(before)
