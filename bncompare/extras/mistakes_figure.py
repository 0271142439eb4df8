"""Mistakes as a picture: images that one of two variants gets wrong, and where either goes wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bncompare.extras.mistakes import Disputed, Mistakes
from bncompare.figures import add_head, styled

COLUMNS, ROWS = 8, 2  # of images in a block
MAX_CLASSES_NAMED = 30  # of a confusion matrix whose cells have room for a number
GREY = "#666666"


def heading(mistakes: Mistakes, name: str, disputed: Sequence[Disputed]) -> str:
    """What a block of images shows."""
    share = len(disputed) / len(mistakes.classes)
    seeds = f", with at least one of {len(mistakes.seeds)} seeds" if len(mistakes.seeds) > 1 else ""
    of_all = f"{len(disputed)} of {len(mistakes.classes)} {mistakes.things} ({100 * share:.1f} %)"
    return f"Only {name} is right{seeds}: {of_all}"


def rest_of(mistakes: Mistakes, disputed: Sequence[Disputed], number: int) -> str:
    """Which of them are seen."""
    some = disputed[:number]
    if len(disputed) <= number:
        return ""
    if len(mistakes.seeds) == 1:
        return f"The first {number} of the test set are shown."
    most, least = some[0].num_seeds, some[-1].num_seeds
    seeds = f"{most}" if most == least else f"{least} to {most}"
    return f"Shown are {number}, with {seeds} of {len(mistakes.seeds)} seeds."


@styled
def draw_mistakes(mistakes: Mistakes, images: np.ndarray | None, why_none: str) -> Figure:
    """Two blocks of images, as `images_of` gives them, or `why_none`, above two confusion matrices."""
    a, b = mistakes.short_names
    sides = ((b, mistakes.only_b), (a, mistakes.only_a))
    rows = [min(ROWS, -(-len(disputed) // COLUMNS)) if images is not None else 0 for _, disputed in sides]
    heights = [0.55 + 1.45 * number for number in rows] + [4.6]
    figure = Figure(figsize=(9.4, 0.6 + sum(heights)), layout=ConstrainedLayoutEngine(h_pad=0.07))
    blocks: Any = figure.subfigures(3, 1, height_ratios=heights)
    add_head(
        figure,
        f"{mistakes.experiment.title}: what {a} and {b} get wrong",
        f"{mistakes.key} Best weights, test set. Above an image its class, below what each says"
        f"{' most often with those seeds' if len(mistakes.seeds) > 1 else ''}.".lstrip(),
    )
    for block, (name, disputed), num_rows in zip(blocks[:2], sides, rows, strict=True):
        title = heading(mistakes, name, disputed)
        more = rest_of(mistakes, disputed, COLUMNS * ROWS)
        block.suptitle(f"{title}. {more}" if more else title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        if images is not None and num_rows:
            _draw_images(block.subplots(num_rows, COLUMNS), mistakes, disputed, images)
        elif images is None and disputed:
            block.text(0.01, 0.4, why_none, fontsize=8, color=GREY, va="top")
    axes = blocks[2].subplots(1, 2)
    worst = largest_mistake(mistakes)
    for ax, name, counts in zip(axes, (a, b), mistakes.confusion, strict=True):
        _draw_confusion(ax, name, counts, mistakes.class_names, worst)
    return figure


def _draw_images(grid: np.ndarray, mistakes: Mistakes, disputed: Sequence[Disputed], images: np.ndarray) -> None:
    a, b = mistakes.short_names
    names = mistakes.class_names
    for axes in grid.flat:
        axes.axis("off")
    for axes, one in zip(grid.flat, disputed, strict=False):
        axes.axis("on")
        axes.grid(visible=False)
        axes.imshow(images[one.image], cmap="gray_r", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_title(names[one.true], loc="center", fontsize=8.5, pad=3)
        axes.set_xlabel(f"{a}: {mistakes.said(one.a)}\n{b}: {mistakes.said(one.b)}", fontsize=7, labelpad=3)
        for spine in axes.spines.values():
            spine.set(visible=True, color="#cccccc")


def percents(counts: np.ndarray) -> np.ndarray:
    """Of the images of each class, a row, those that are said to be of each class."""
    shares: np.ndarray = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def largest_mistake(mistakes: Mistakes) -> float:
    """In percent of a class: the end of a scale that both matrices share."""
    return max(float(_mistaken(counts).max()) for counts in mistakes.confusion) or 1.0


def _mistaken(counts: np.ndarray) -> np.ndarray:
    """The same without what is right."""
    return np.where(np.eye(len(counts), dtype=bool), 0, percents(counts))


def percent_text(value: float) -> str:
    """A cell of a confusion matrix."""
    return "" if value == 0 else "·" if value <= 0.5 else f"{value:.0f}"


def _draw_confusion(axes: Axes, name: str, counts: np.ndarray, names: Sequence[str], worst: float) -> None:
    """Mistakes in colour, on a scale that both matrices share; what is right in grey."""
    mistaken, size = _mistaken(counts), len(counts)
    axes.imshow(np.ma.masked_equal(mistaken, 0), cmap="Oranges", vmin=-0.1 * worst, vmax=worst)
    axes.grid(visible=False)
    shares = percents(counts) if size <= MAX_CLASSES_NAMED else np.empty((0, 0))
    for (row, column), value in np.ndenumerate(shares):
        color = "#999999" if row == column else "white" if value > 0.6 * worst else "#222222"
        axes.text(column, row, percent_text(value), ha="center", va="center", fontsize=7, color=color)
    if size <= MAX_CLASSES_NAMED:
        _name_classes(axes, names)
    axes.tick_params(length=0, labelsize=7.5)
    right = counts.trace() / counts.sum()
    axes.set_title(f"{name}: {100 * right:.1f} % right", fontsize=9.5)
    axes.set_xlabel("what it says")
    axes.set_ylabel("class, 100 % a row")


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    rotation = 45 if max(map(len, names)) > 2 else 0
    axes.set_xticks(range(len(names)), names, rotation=rotation, ha="right" if rotation else "center")
    axes.set_yticks(range(len(names)), names)
