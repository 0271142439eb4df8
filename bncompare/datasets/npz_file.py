"""An .npz file: what is in it, checked, with the inputs' header alone; then its arrays as tensors."""

import functools
import hashlib
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from bncompare.datasets.base import MAX_CLASSES, Pool
from bncompare.errors import UserError, printable
from bncompare.options import MAX_SCALE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

MAX_EXAMPLES = 100_000_000
MAX_FEATURES = 100_000_000  # of one example
MAX_TARGETS = 100_000
CHUNK = 2**20  # numbers at a time
CHANNELS = (1, 3, 4)  # of an image, as people have them
# What zipfile and NumPy raise for bytes that are no .npz file, or one that is packed in a way they do not know.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
    *(EOFError, ValueError, TypeError, SyntaxError, RuntimeError),
)


class _Wrong(Exception):
    """What is wrong with a file, in words."""


@dataclass(frozen=True)
class _Array:
    """One of the arrays of a file, by its header."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def words(self) -> str:
        """`x is (100, 8, 8) uint8`"""
        return f"{self.name} is {self.shape} {self.dtype}"


def inspect(path: str) -> dict[str, Any]:
    """What a file holds, as `Content` has it. Of the inputs it looks at the header alone. Raises UserError."""
    with _errors(path):
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise _Wrong("is a folder" if stat.S_ISDIR(found.st_mode) else "is no regular file")
        return _inspect(path, found.st_mtime_ns, found.st_size, found.st_ino)


@functools.lru_cache(maxsize=16)
def _inspect(path: str, _modified: int, _size: int, _inode: int) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:
        x, y, x_test, y_test = _arrays(file)
        shape = _input_shape(x)
        _check_targets(x, y)
        classes = _classes(file, y, y_test) if y.dtype.kind in "iu" else None
        if x_test and y_test:
            if _input_shape(x_test) != shape or x_test.dtype != x.dtype:
                raise _Wrong(f"{x.words}, but {x_test.words}: their examples must be alike")
            _check_targets(x_test, y_test)
            if (y_test.dtype.kind in "iu") != (classes is not None) or _num_targets(y_test) != _num_targets(y):
                raise _Wrong(f"{y.words}, but {y_test.words}: their targets must be alike")
    with open(path, "rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return {
        "sha256": sha256,
        "dtype": x.dtype.name,
        "shape": list(shape),
        "examples": x.shape[0],
        "test_examples": x_test.shape[0] if x_test else 0,
        "classes": classes,
        "targets": _num_targets(y),
    }


@contextmanager
def _errors(path: str) -> Iterator[None]:
    """Whatever is wrong with a file as a line for people."""
    try:
        yield
    except _Wrong as error:
        problem = str(error)
    except FileNotFoundError:
        problem = "no such file; numpy.savez writes one"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    except MemoryError:
        problem = "is larger than the memory there is"
    except DAMAGED as error:
        problem = f"is damaged, or no .npz file: {(str(error).splitlines() or ['it ends too early'])[0]}"
    else:
        return
    raise UserError(printable(f"{path}: {problem}"))


# ---------------------------------------------------------------- what is in it


def _arrays(file: zipfile.ZipFile) -> tuple[_Array, _Array, _Array | None, _Array | None]:
    """The headers of x, y, x_test, y_test; x and y may be called x_train and y_train, as in Keras."""
    there = {name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")}
    names = [f"{part}_train" if part not in there and f"{part}_train" in there else part for part in "xy"]
    for name, other in (("x", "x_train"), ("y", "y_train"), ("y_test", "x_test"), ("x_test", "y_test")):
        is_test = name.endswith("test")
        if not is_test and {name, other} <= there:
            raise _Wrong(f"has both {name} and {other}, which mean the same")
        if is_test and other in there and name not in there:
            raise _Wrong(f"has {other}, but no {name}")
    for name in names:
        if name not in there:
            listed = ", ".join(sorted(there)[:20]) or "nothing"
            raise _Wrong(
                f"has no array {name!r}; it holds {listed}; wanted: x, y and, if there are some, x_test, y_test"
            )
    tests = [_header(file, name) if name in there else None for name in ("x_test", "y_test")]
    return _header(file, names[0]), _header(file, names[1]), tests[0], tests[1]


@contextmanager
def _opened(file: zipfile.ZipFile, name: str) -> "Iterator[tuple[IO[bytes], _Array]]":
    """The numbers of an array after its header, which must be as long as they are: no more is ever unpacked."""
    entry = file.getinfo(f"{name}.npy")
    with file.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise _Wrong(f"{name} is of a version of NumPy's format that is not known here, {version}")
        shape, fortran, dtype = read[version](stream)
        array = _Array(name, shape, dtype)
        if dtype.hasobject:
            raise _Wrong(f"{name} holds Python objects, which are not read, as they may hold code; make it numbers")
        size = dtype.itemsize
        for length in shape:
            size *= length
        if stream.tell() + size != entry.file_size:
            raise _Wrong(f"is damaged: {array.words}, which is not as long as what is there")
        if fortran and len(shape) > 1:
            raise _Wrong(f"{name} is in Fortran's order; write numpy.ascontiguousarray({name})")
        yield stream, array


def _header(file: zipfile.ZipFile, name: str) -> _Array:
    with _opened(file, name) as (_, array):
        return array


def _input_shape(x: _Array) -> tuple[int, ...]:
    """Of one example. Raises _Wrong if the array is no inputs."""
    if x.dtype.name not in ("uint8", "float16", "float32", "float64"):
        raise _Wrong(f"{x.words}: must be float, or uint8 for 0…255: {x.name}.astype('float32')")
    if len(x.shape) not in (2, 3, 4):
        raise _Wrong(f"{x.words}: must be (N, features), (N, H, W) or (N, C, H, W)")
    if 0 in x.shape or x.shape[0] > MAX_EXAMPLES or np.prod(x.shape[1:], dtype=float) > MAX_FEATURES:
        raise _Wrong(f"{x.words}: must not be empty, nor beyond {MAX_EXAMPLES:,} examples or features")
    if len(x.shape) == 4 and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS:
        raise _Wrong(f"{x.words}: has its channels last; they must be first: {x.name}.transpose(0, 3, 1, 2)")
    return (1, *x.shape[1:]) if len(x.shape) == 3 else x.shape[1:]


def _num_targets(y: _Array) -> int:
    return y.shape[1] if len(y.shape) > 1 else 1


def _check_targets(x: _Array, y: _Array) -> None:
    is_class = y.dtype.kind in "iu"
    if not is_class and y.dtype.kind != "f":
        raise _Wrong(
            f"{y.words}: must be whole numbers 0…K−1, the classes, or floats to predict; "
            f"numpy.unique({y.name}, return_inverse=True)[1] numbers classes"
        )
    if len(y.shape) not in (1, 2) or 0 in y.shape:
        raise _Wrong(f"{y.words}: must be (N,){'' if is_class else ' or (N, targets)'}")
    if is_class and _num_targets(y) > 1:
        raise _Wrong(f"{y.words}: must be (N,), a class each; of one column a class: {y.name}.argmax(1)")
    if _num_targets(y) > MAX_TARGETS:
        raise _Wrong(f"{y.words}: has more than {MAX_TARGETS:,} targets")
    if y.shape[0] != x.shape[0]:
        raise _Wrong(f"{x.words}, but {y.words}: there must be as many targets as examples")


def _classes(file: zipfile.ZipFile, y: _Array, y_test: _Array | None) -> list[int]:
    """Examples of each class in y. Raises _Wrong unless they are 0…K−1, all there."""
    counts = _counts(file, y.name)
    missing = np.flatnonzero(counts[: counts.nonzero()[0][-1] + 1] == 0)
    number = int(counts.nonzero()[0][-1]) + 1
    if len(missing):
        few = ", ".join(map(str, missing[:5])) + ", …" * (len(missing) > 5)
        raise _Wrong(
            f"{y.name} has classes up to {number - 1}, but none of {few}: they must be 0…K−1; "
            f"numpy.unique({y.name}, return_inverse=True)[1] numbers them; for regression write floats"
        )
    if number == 1:
        raise _Wrong(f"{y.name} has one class, 0; it takes two to learn something")
    if y_test is not None and y_test.dtype.kind in "iu" and (_counts(file, y_test.name)[number:]).any():
        raise _Wrong(f"{y_test.name} has classes that {y.name} has not, which are 0…{number - 1}")
    of_classes: list[int] = counts[:number].tolist()
    return of_classes


def _counts(file: zipfile.ZipFile, name: str) -> "NDArray[np.int64]":
    counts = np.zeros(MAX_CLASSES, dtype=np.int64)
    with _opened(file, name) as (stream, array):
        while content := stream.read(CHUNK * array.dtype.itemsize):
            values = np.frombuffer(content, array.dtype)
            low, high = values.min(), values.max()
            if low < 0 or high >= MAX_CLASSES:
                odd = low if low < 0 else high
                raise _Wrong(
                    f"{name} holds {odd}: classes are 0…K−1, {MAX_CLASSES:,} at most; for regression write floats: "
                    f"{name}.astype('float32')"
                )
            counts += np.bincount(values.astype(np.int64), minlength=MAX_CLASSES)
    return counts


# ---------------------------------------------------------------- its examples


def read(path: str, held_out: int) -> Pool:
    """The examples of a file that was inspected; so many of x are the test set, if it has none of its own. Raises
    UserError."""
    import torch

    from bncompare.randomness import generator

    with _errors(path), zipfile.ZipFile(path) as file:
        x, y, x_test, y_test = _arrays(file)
        inputs, targets = _inputs(file, x), _targets(file, y)
        if x_test and y_test:
            return Pool(inputs, targets, _inputs(file, x_test), _targets(file, y_test))
        order = torch.randperm(len(inputs), generator=generator(0, "npz test"))
        rest, test = order[held_out:].sort().values, order[:held_out].sort().values
        if not held_out:
            return Pool(inputs, targets, inputs[:0], targets[:0])
        return Pool(inputs[rest], targets[rest], inputs[test], targets[test])


def _inputs(file: zipfile.ZipFile, x: _Array) -> "Tensor":
    """(N, features) or (N, C, H, W), uint8 or float32."""
    import torch

    values = _values(file, x)
    if values.dtype != np.uint8:
        values = _floats(values, x.name)
    return torch.from_numpy(values).view(len(values), *_input_shape(x))


def _targets(file: zipfile.ZipFile, y: _Array) -> "Tensor":
    """(N,) int64 or (N, targets) float32."""
    import torch

    values = _values(file, y)
    if y.dtype.kind in "iu":
        return torch.from_numpy(values.astype(np.int64)).flatten()
    return torch.from_numpy(_floats(values, y.name)).view(len(values), -1)


def _values(file: zipfile.ZipFile, array: _Array) -> "NDArray[np.generic]":
    with file.open(f"{array.name}.npy") as stream:
        values: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
    return values


def _floats(values: "NDArray[np.generic]", name: str) -> "NDArray[np.float32]":
    """As float32. Raises _Wrong for what is not finite, or so large that its square is not."""
    step = max(1, CHUNK // max(1, values[0].size))
    for start in range(0, len(values), step):
        bad = ~(np.abs(values[start : start + step].astype(np.float64)) <= MAX_SCALE)
        if bad.any():
            place = tuple(int(i[0]) for i in bad.nonzero())
            at = [start + place[0], *place[1:]]
            number = float(values[tuple(at)])
            raise _Wrong(f"{name}{at} is {number:g}: must be finite, and at most {MAX_SCALE:g} in size")
    return values.astype(np.float32)
