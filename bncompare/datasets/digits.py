"""The 8×8 digits that lie in this package: read, enlarged, split.

`digits.csv.gz` is, byte for byte, the file that scikit-learn ships: the test set of E. Alpaydin and C. Kaynak,
Optical Recognition of Handwritten Digits (UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49,
CC BY 4.0). A line is an image: 64 pixels of 0…16, row by row, and its class.
"""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bncompare.datasets.base import Pool
from bncompare.datasets.images import Images

if TYPE_CHECKING:
    from torch import Tensor

FILE = Path(__file__).with_name("digits.csv.gz")
SIDE = 8
BRIGHTEST = 16


class Digits(Images):
    """8×8 grey images of handwritten digits, 1,437 to train on and 360 to test: real, and in the package."""

    pool_size: ClassVar = 1_437
    test_size: ClassVar = 360  # 36 a class: what knows nothing is right in a tenth
    enlarged_by: ClassVar = "resize: 28"

    name: Literal["digits"]
    """the dataset"""
    resize: Literal[28] | None = None
    """enlarge the images, by bilinear interpolation, to the 28×28 pixels that lenet takes; null = 8×8"""

    @property
    def side(self) -> int:
        return self.resize or 8

    def load(self, data_dir: Path | None, *, download: bool) -> Pool:
        return Pool(*read_digits(self))


def read_digits(data: Digits) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
    """Images (N, 1, side, side) of 0…255 and classes (N,) to train on, then those to test on.

    The file is in the order of its 13 writers: its end would test on writers that were not validated on. So the test
    set is drawn, once and for all, with as many images of each class.
    """
    import numpy as np
    import torch

    from bncompare.randomness import generator

    with gzip.open(FILE, "rt", encoding="ascii") as lines:
        table = torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.int32))
    images, labels = table[:, :-1].view(-1, 1, SIDE, SIDE), table[:, -1].long()
    scale = BRIGHTEST
    if data.side != SIDE:
        images, scale = _enlarge(images, data.side), BRIGHTEST * (2 * data.side) ** 2
    images = ((images * 255 + scale // 2) // scale).to(torch.uint8)
    order = torch.randperm(len(labels), generator=generator(0, "digits test"))
    a_class = data.test_size // data.num_outputs
    drawn = [order[labels[order] == label][:a_class] for label in range(data.num_outputs)]
    is_test = torch.zeros(len(labels), dtype=torch.bool).index_fill(0, torch.cat(drawn), True)
    return images[~is_test], labels[~is_test], images[is_test], labels[is_test]


def _enlarge(images: "Tensor", side: int) -> "Tensor":
    """Bilinear interpolation, times (2·side)²: in whole numbers, so that it is the same on every machine."""
    import torch

    unit = 2 * side  # pixel i of the result lies at ((2i + 1)·8/side − 1)/2 of the image
    at = ((2 * torch.arange(side, dtype=torch.int32) + 1) * SIDE - side).clamp(0, (SIDE - 1) * unit)
    low, part = at // unit, at % unit
    high = (low + 1).clamp(max=SIDE - 1)
    for axis in (2, 3):
        parts = part.view(-1, 1) if axis == 2 else part
        images = images.index_select(axis, low) * (unit - parts) + images.index_select(axis, high) * parts
    return images
