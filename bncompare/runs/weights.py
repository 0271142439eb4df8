"""best.safetensors, read without torch."""

import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

from bncompare.config import MAX_TABLE_BYTES
from bncompare.errors import UserError
from bncompare.runs.files import MISSING, regular_file

MAX_HEADER_BYTES = 4 * 1024 * 1024  # of best.safetensors: tens of thousands of tensors
ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}  # of safetensors, as NumPy calls them


def read_norm_parameters(path: Path) -> dict[str, dict[str, Any]]:
    """γ (`weight`) and β (`bias`) of each norm layer in best.safetensors, as NumPy arrays; torch is not imported."""
    import numpy as np

    layers: dict[str, dict[str, Any]] = {}
    try:
        with regular_file(path / "best.safetensors") as file:
            left = MAX_TABLE_BYTES
            for name, (dtype, shape, begin, end) in sorted(_tensors(file).items()):
                layer, _, quantity = name.rpartition(".")
                if not (layer.endswith(".norm") and quantity in ("weight", "bias") and name.isprintable()):
                    continue
                if dtype in FLOATS and 0 not in shape:
                    left -= end - begin
                    if left < 0:
                        raise ValueError(f"γ and β are larger than {MAX_TABLE_BYTES >> 10:,} KiB")
                    file.seek(begin)
                    values = np.frombuffer(file.read(end - begin), np.dtype(FLOATS[dtype]))
                    layers.setdefault(layer, {})[quantity] = values.reshape(shape)
    except MISSING:
        return {}
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path / 'best.safetensors'}: cannot be read: {why}") from None
    return layers


def check_weights(path: Path) -> None:
    """Raises OSError if a best.safetensors cannot be read, ValueError if it is not whole."""
    with regular_file(path) as file:
        _tensors(file)


def _tensors(file: BinaryIO) -> dict[str, tuple[str, list[int], int, int]]:
    """(dtype, shape, first byte, end) of each tensor of a safetensors file: its header, not what that is of.

    The library would take the header's word for its length, and follow a link. Raises ValueError.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header is larger than {MAX_HEADER_BYTES >> 10:,} KiB")
    found: dict[str, tuple[str, list[int], int, int]] = {}
    start = 8 + length
    try:
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            dtype, shape, (begin, end) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
            if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
                raise ValueError
            if dtype in ITEM_BYTES and math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
                raise ValueError
            found[name] = dtype, shape, start + begin, start + end
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise ValueError("its header is not that of a safetensors file") from None
    if os.fstat(file.fileno()).st_size != max([start, *(end for *_, end in found.values())]):
        raise ValueError("its length is not what its header says")
    return found
