"""Mistakes as one self-contained page: no script, nothing fetched, every name escaped."""

import base64
import io
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from bncompare.config import load_experiment
from bncompare.errors import UserError, printable
from bncompare.extras.mistakes import Disputed, Mistakes, mistakes_table
from bncompare.extras.mistakes_figure import (
    MAX_CLASSES_NAMED,
    heading,
    largest_mistake,
    percent_text,
    percents,
    rest_of,
)

MAX_IMAGES = 40  # in a block of the page


def images_of(mistakes: Mistakes, data_dir: Path | None) -> tuple[np.ndarray | None, str]:
    """The images of the test set, grey (N, height, width) or coloured (N, height, width, 3), uint8, or None and why;
    nothing is downloaded. Imports torch."""
    from bncompare.training import Datasets

    try:
        pool = Datasets(data_dir, download=False).load(load_experiment(mistakes.run.path / "config.yaml").runs[0])
    except UserError as error:
        return None, f"The images are not to be had: {printable(error.problems[0])}"
    if pool is None or pool.test_targets.tolist() != mistakes.classes:
        return None, "The images are not to be had: those of this test set are others"
    images = pool.test_inputs.numpy()
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        return None, f"There are no pictures: an example is {' × '.join(map(str, images.shape[1:]))} numbers"
    if images.dtype != np.uint8:
        low, high = float(images.min()), float(images.max())
        images = (255 * (images - low) / ((high - low) or 1)).astype(np.uint8)
    return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1), ""


def mistakes_html(found: Sequence[tuple[Mistakes, np.ndarray | None, str]]) -> str:
    """The page, of mistakes with the images of their test set, or why there are none."""
    environment = Environment(
        loader=PackageLoader("bncompare.extras", ""), autoescape=True, undefined=StrictUndefined
    )
    parts = [_part(mistakes, images, why) for mistakes, images, why in found]
    text = environment.get_template("mistakes.html.j2").render(parts=parts, version=version("bncompare"))
    return text + "\n"


def _part(mistakes: Mistakes, images: np.ndarray | None, why: str) -> dict[str, Any]:
    a, b = map(printable, mistakes.short_names)
    blocks, matrices = [], zip((a, b), mistakes.confusion, strict=True)
    for name, disputed in ((b, mistakes.only_b), (a, mistakes.only_a)):
        head, more = heading(mistakes, name, disputed), rest_of(mistakes, disputed, MAX_IMAGES)
        blocks.append((head, more, _thumbnails(mistakes, disputed, images)))
    return {
        "title": printable(mistakes.experiment.title),
        "a": a,
        "b": b,
        "statements": [*map(printable, mistakes.statements)],
        "table": mistakes_table(mistakes),
        "why": why,
        "blocks": blocks,
        "key": printable(mistakes.key),
        "classes": mistakes.class_names,
        "things": mistakes.things,
        "is_small": len(mistakes.class_names) <= MAX_CLASSES_NAMED,
        "matrices": [_matrix(name, counts, largest_mistake(mistakes)) for name, counts in matrices],
    }


def _thumbnails(
    mistakes: Mistakes, disputed: Sequence[Disputed], images: np.ndarray | None
) -> list[tuple[str, int, str, str, str]]:
    """(PNG, place in the test set, class, what A says, what B says) of each image."""
    if images is None:
        return []
    names = mistakes.class_names
    return [
        (_png(images[one.image]), one.image, names[one.true], mistakes.said(one.a), mistakes.said(one.b))
        for one in disputed[:MAX_IMAGES]
    ]


def _png(image: np.ndarray) -> str:
    """An image as a data URI; grey ones dark on white."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(255 - image if image.ndim == 2 else np.ascontiguousarray(image)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _matrix(name: str, counts: np.ndarray, largest: float) -> dict[str, Any]:
    """Texts of the cells, and of mistakes how dark they are, 10 to 80 percent."""
    cells = [[(percent_text(x), round(10 + 70 * x / largest)) for x in row] for row in percents(counts).tolist()]
    return {"name": name, "right": f"{100 * counts.trace() / counts.sum():.1f}", "cells": cells}
