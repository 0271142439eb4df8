"""What every dataset has, and the registry of datasets.

Importing this imports no torch, so that configs are checked without it; `draw` and `read` do.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from bncompare.options import Count, PositiveInt, Section, must_be
from bncompare.plugins import Registry

if TYPE_CHECKING:
    from torch import Tensor

FLOAT_BYTES, INDEX_BYTES = 4, 8
MAX_CLASSES = 1_000  # three digits each in predictions.csv

Validation = Annotated[
    Literal["test"] | Count | Annotated[float, Field(gt=0, lt=1)],
    must_be("a fraction between 0 and 1, a number of examples, 0 for none, or test"),
]


@dataclass(frozen=True)
class Pool:
    """Examples before they are split: those to train and validate on, and the test set."""

    inputs: "Tensor"
    """(N, *input_shape) uint8 or float32"""
    targets: "Tensor"
    """(N,) int64 classes, or (N, targets) float32"""
    test_inputs: "Tensor"
    test_targets: "Tensor"


class DataSection(Section):
    """What every dataset has. It overrides `draw` or `read`, which bring its examples.

    A key called `dir` or `path` says where the examples are, and is not among what decides the numbers of a run:
    where a file decides them, `resolved` writes a hash of it into another key.
    """

    enlarged_by: ClassVar[str] = ""
    """the setting that makes its inputs larger, for a model that can't take them"""
    without_test: ClassVar[str] = "there is no test set"
    """said where there is none and one is asked for"""

    validation: Validation = 0
    """held out of the training set: a fraction, a number of examples, 0 for none, or `test` to validate on the
    test set"""
    train_size: PositiveInt | None = None
    """how many of the remaining examples to train on; null = all"""
    name: str
    """the dataset"""

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name

    @property
    def is_resolved(self) -> bool:
        """Whether its sizes and shapes are known: see `resolved`."""
        return True

    @property
    def pool_size(self) -> int:
        """Examples before validation is held out."""
        raise NotImplementedError

    @property
    def test_size(self) -> int:
        """Examples in the test set."""
        raise NotImplementedError

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example: (features,) or (channels, height, width)."""
        raise NotImplementedError

    @property
    def num_outputs(self) -> int:
        """Numbers that a model gives for an example: a logit a class, or a value a target."""
        raise NotImplementedError

    @property
    def is_classification(self) -> bool:
        """Whether there will be `…/accuracy` metrics."""
        return False

    @property
    def class_names(self) -> list[str]:
        """What people call the classes; none in regression."""
        return [str(label) for label in range(self.num_outputs)] if self.is_classification else []

    @property
    def chance(self) -> float | None:
        """The accuracy of what knows nothing; none in regression."""
        return 1 / self.num_outputs if self.is_classification else None

    @property
    def num_bytes(self) -> int:
        """Of memory that its examples take as floats, and once more while they are drawn or read."""
        return 2 * FLOAT_BYTES * (self.pool_size + self.test_size) * math.prod(self.input_shape)

    @property
    def source(self) -> str:
        """What of a config decides the examples that are read, as text: runs where it is the same share them."""
        return self.model_dump_json(exclude={"validation", "train_size", "scaling"})

    @property
    def is_stored(self) -> bool:
        """Whether its examples are read, and the same for every seed."""
        return type(self).read is not DataSection.read

    def small(self, num_examples: int) -> "DataSection":
        """Some that take no time and no download; `num_examples` are enough to train on."""
        return self

    def resolved(self, folder: Path) -> Self:
        """With what its files hold written out, so that a run's config can be read without them; relative paths are
        from `folder`. Raises UserError, about its key `path`."""
        return self

    def problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Options that are each fine and together are not, as (key, what is wrong)."""
        yield from ()

    def draw(self, part: str, num_examples: int, seed: int) -> "tuple[Tensor, Tensor]":
        """Inputs and targets, as a `Pool` has them, of a part, `train` or `test`; anew for each seed."""
        raise NotImplementedError

    def read(self, data_dir: Path | None, *, download: bool) -> Pool:
        """Its examples, the same for each seed; `data_dir`, from the command line, goes before what the config says.

        Downloads what is missing if it may. Raises UserError.
        """
        raise NotImplementedError

    def scale_and_shift(self, inputs: "Tensor", rows: "Tensor") -> "tuple[Tensor | None, Tensor | None]":
        """What inputs are multiplied by, as float32, and what is added then, for training on these rows of `inputs`;
        each is broadcast over an example; None = nothing."""
        return None, None

    @property
    def validation_size(self) -> int:
        """Examples held out of the pool for validation."""
        if isinstance(self.validation, float):
            return round(self.pool_size * self.validation)
        return 0 if self.validation == "test" else self.validation

    @property
    def num_train(self) -> int:
        """Examples trained on."""
        available = self.pool_size - self.validation_size
        return available if self.train_size is None else self.train_size

    @property
    def has_validation(self) -> bool:
        """Whether there will be `val/…` metrics."""
        return self.validation == "test" or self.validation_size > 0


DATASETS = Registry[type[DataSection]]("datasets", DataSection, "name")
"""every dataset"""
