"""What datasets of images have in common: how pixels become inputs."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bncompare.datasets.base import DataSection, Pool

if TYPE_CHECKING:
    from torch import Tensor

BINARIZE_AT = 128


class Images(DataSection):
    """What every dataset of images has that is known here: one grey channel, ten classes."""

    scaling: Literal["none", "unit", "standardize"] = "unit"
    """pixel values: 0…255, 0…1, or mean 0 and standard deviation 1 over the training examples"""
    binarize: bool = False
    """set pixels of 128 and more to the largest value and the rest to 0, before scaling"""

    @property
    def side(self) -> int:
        """Pixels in a row of an image, and in a column."""
        raise NotImplementedError

    @property
    def num_bytes(self) -> int:
        """A byte a pixel, and once more while the files are read."""
        return 2 * (self.pool_size + self.test_size) * math.prod(self.input_shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width)"""
        return (1, self.side, self.side)

    @property
    def num_outputs(self) -> int:
        """One logit a class."""
        return 10

    @property
    def is_classification(self) -> bool:
        """Whether there will be `…/accuracy` metrics."""
        return True

    def load(self, data_dir: Path | None, *, download: bool) -> Pool:
        """The images as they were published. Raises UserError."""
        raise NotImplementedError

    def read(self, data_dir: Path | None, *, download: bool) -> Pool:
        pool = self.load(data_dir, download=download)
        if not self.binarize:
            return pool
        return replace(pool, inputs=_binarized(pool.inputs), test_inputs=_binarized(pool.test_inputs))

    def scale_and_shift(self, inputs: "Tensor", rows: "Tensor") -> "tuple[Tensor | None, Tensor | None]":
        from bncompare.datasets.scaling import scale_and_shift

        return scale_and_shift(self.scaling, inputs, rows)


def _binarized(images: "Tensor") -> "Tensor":
    return (images >= BINARIZE_AT).to(images.dtype).mul_(255)
