"""Examples of one's own, from a NumPy file."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from bncompare.datasets.base import FLOAT_BYTES, INDEX_BYTES, MAX_CLASSES, DataSection, Pool
from bncompare.errors import UserError
from bncompare.options import Count, PositiveInt, Section, must_be

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

TestSet = Annotated[
    Count | Annotated[float, Field(gt=0, lt=1)],
    must_be("a fraction between 0 and 1, a number of examples, or 0 for none"),
]


class Content(Section):
    """What an .npz file holds."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """of the file"""
    dtype: Literal["uint8", "float16", "float32", "float64"]
    """of the inputs in the file"""
    shape: Annotated[list[PositiveInt], Field(min_length=1, max_length=3)]
    """of one example: features, or channels, height and width"""
    examples: PositiveInt
    """in x"""
    test_examples: Count
    """in x_test"""
    classes: Annotated[list[PositiveInt], Field(min_length=2, max_length=MAX_CLASSES)] | None
    """examples of each class in x; null = regression"""
    targets: PositiveInt
    """numbers to predict for an example; of classes it is 1"""


class Npz(DataSection):
    """Examples of one's own: a NumPy file with the arrays x and y and, if there are some, x_test and y_test."""

    without_test: ClassVar = "test is 0 and the file has no x_test: there is no test set"

    name: Literal["npz"]
    """the dataset"""
    path: str
    """the .npz file, from the folder of the config; given to --set, from the current folder"""
    test: TestSet = 0
    """held out of x as the test set, the same for every seed, where the file has no x_test: a fraction or a number"""
    scaling: Literal["none", "unit", "standardize"] | None = None
    """inputs as they are; bytes as 0…1; or mean 0 and standard deviation 1 over the training examples, of each
    feature or of each channel of an image; null = unit for bytes, standardize for floats"""
    content: Content | None = None
    """what is in the file; written by bncompare, in a run folder's config.yaml"""

    @property
    def held(self) -> Content:
        """`content`, which is there once a config is resolved."""
        assert self.content is not None
        return self.content

    @property
    def is_resolved(self) -> bool:
        return self.content is not None

    @property
    def _held_out(self) -> int:
        """Examples of x that are the test set."""
        return round(self.held.examples * self.test) if isinstance(self.test, float) else self.test

    @property
    def pool_size(self) -> int:
        return self.held.examples - self._held_out

    @property
    def test_size(self) -> int:
        return self.held.test_examples or self._held_out

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.held.shape)

    @property
    def num_outputs(self) -> int:
        return len(self.held.classes) if self.held.classes else self.held.targets

    @property
    def is_classification(self) -> bool:
        return self.held.classes is not None

    @property
    def chance(self) -> float | None:
        """The share of the most frequent class."""
        return max(self.held.classes) / sum(self.held.classes) if self.held.classes else None

    @property
    def num_bytes(self) -> int:
        """As they stay; as they are in the file; and a part that is cut off."""
        held, width = self.held, 1 if self.held.dtype == "uint8" else FLOAT_BYTES
        numbers = (held.examples + held.test_examples) * math.prod(held.shape)
        in_file = {"uint8": 1, "float16": 2, "float32": 4, "float64": 8}[held.dtype]
        copies = width + max(in_file, width if self._held_out else 0)
        return numbers * copies + 3 * INDEX_BYTES * held.targets * (held.examples + held.test_examples)

    @property
    def title(self) -> str:
        """The name of the file."""
        return Path(self.path).name

    def resolved(self, folder: Path) -> Self:
        from bncompare.datasets import npz_file

        path = os.path.abspath(folder / Path(self.path).expanduser())
        content = self.content or Content.model_validate(npz_file.inspect(path))
        scaling = self.scaling or ("unit" if content.dtype == "uint8" else "standardize")
        return self.model_copy(update={"path": path, "content": content, "scaling": scaling})

    def problems(self) -> "Iterator[tuple[tuple[str, ...], str]]":
        if self.test and self.held.test_examples:
            yield ("test",), f"{self.test}, but the file has a test set of its own, x_test"
        elif isinstance(self.test, float) and not self._held_out:
            yield ("test",), f"{self.test} of {self.held.examples} examples is an empty test set"
        elif self.pool_size < 1:
            yield ("test",), f"{self.test} of {self.held.examples} examples leaves none to train on"
        if self.scaling == "unit" and self.held.dtype != "uint8":
            yield ("scaling",), f"unit is of bytes, 0…255; x is {self.held.dtype}; standardize or none"

    def read(self, data_dir: Path | None, *, download: bool) -> Pool:
        from bncompare.datasets import npz_file

        path = Path(self.path)
        if data_dir is not None and (data_dir / path.name).exists():
            path = data_dir / path.name
        if not path.exists():
            raise UserError(f"{path}: no such file; --data-dir DIR says where {path.name} is")
        found = Content.model_validate(npz_file.inspect(str(path)))
        if found != self.content:
            raise UserError(
                f"{path}: is not the file of this run: its SHA-256 begins with {found.sha256[:12]}, that of the "
                f"run's with {self.held.sha256[:12]}; --data-dir DIR says where that is, or train anew without "
                "data.content"
            )
        return npz_file.read(str(path), self._held_out)

    def scale_and_shift(self, inputs: "Tensor", rows: "Tensor") -> "tuple[Tensor | None, Tensor | None]":
        from bncompare.datasets.scaling import scale_and_shift

        return scale_and_shift(self.scaling or "none", inputs, rows)
