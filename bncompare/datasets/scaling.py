"""How inputs are scaled: by numbers of the training examples alone. Imports torch."""

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**22  # values at a time


def scale_and_shift(scaling: str, inputs: Tensor, rows: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What inputs (N, C, …) are multiplied by and what is added then, for `none`, `unit` (bytes to 0…1) or
    `standardize` (mean 0 and standard deviation 1 over these rows); None = nothing.

    Each feature of a vector has its own, and each channel of an image: (C,) or (C, 1, 1).
    """
    if scaling == "none":
        return None, None
    if scaling == "unit":
        return torch.tensor(1 / 255), None
    moments = _of_bytes(inputs, rows) if inputs.dtype == torch.uint8 else _of_floats(inputs, rows)
    shape = (-1, *[1] * (inputs.dim() - 2))
    scale = torch.tensor([1 / std for _, std in moments]).view(shape)
    return scale, torch.tensor([-mean / std for mean, std in moments]).view(shape)


def _chunks(inputs: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
    return rows.tensor_split(-(-len(rows) * inputs[0].numel() // CHUNK))


def _of_bytes(images: Tensor, rows: Tensor) -> list[tuple[float, float]]:
    """Mean and standard deviation of each channel, from exact integer counts: they do not depend on the order of
    the rows."""
    channels = images.shape[1]
    counts = torch.zeros(256 * channels, dtype=torch.int64)
    first = 256 * torch.arange(channels).view(-1, *[1] * (images.dim() - 2))
    for chunk in _chunks(images, rows):
        places = images.index_select(0, chunk) + first
        counts += torch.bincount(places.flatten(), minlength=len(counts))
    return [_of_counts(of_channel) for of_channel in counts.view(channels, 256)]


def _of_counts(counts: Tensor) -> tuple[float, float]:
    values = torch.arange(256, dtype=torch.float64)
    total = counts.sum()
    mean = (counts * values).sum() / total
    std = ((counts * (values - mean).square()).sum() / total).sqrt().item() or 1.0
    return mean.item(), std


def _of_floats(inputs: Tensor, rows: Tensor) -> list[tuple[float, float]]:
    """The same of floats, in float64 and by NumPy, whose sums do not depend on the number of threads."""
    axes = (0, *range(2, inputs.dim()))
    values = inputs.numpy()
    chunks = [chunk.numpy() for chunk in _chunks(inputs, rows)]
    number = len(rows) * (inputs[0].numel() // inputs.shape[1])
    mean = sum(values[chunk].sum(axes, dtype=np.float64) for chunk in chunks) / number
    centred = mean.reshape(-1, *[1] * (inputs.dim() - 2))
    squares = sum(np.square(values[chunk] - centred).sum(axes) for chunk in chunks)
    std = np.sqrt(squares / number)
    return [(m, s or 1.0) for m, s in zip(mean.tolist(), std.tolist(), strict=True)]
