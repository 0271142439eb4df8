"""Write shapes.npz beside this file: 16×16 coloured images of discs, squares and crosses, as data of one's own."""

from pathlib import Path

import numpy as np

SIDE = 16


def draw(number: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (number, 3, 16, 16) uint8, channels first, and their classes (number,): disc, square, cross."""
    classes = np.arange(number) % 3
    row, column = np.mgrid[:SIDE, :SIDE]
    images = random.normal(70, 30, (number, 3, SIDE, SIDE))
    for image, label in zip(images, classes, strict=True):
        radius = random.integers(3, 6)
        down, right = (abs(grid - random.integers(radius, SIDE - radius)) for grid in (row, column))
        disc, square = down**2 + right**2 <= radius**2, np.maximum(down, right) < radius
        cross = square & (np.minimum(down, right) < 2)
        shape = (disc, square, cross)[label]
        image[:, shape] += random.uniform(60, 160, 3)[:, np.newaxis]
    return images.clip(0, 255).astype(np.uint8), classes


def write(path: Path) -> None:
    """1,500 images to train and validate on, and 600 to test."""
    x, y = draw(1500, np.random.default_rng(0))
    x_test, y_test = draw(600, np.random.default_rng(1))
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)


if __name__ == "__main__":
    write(Path(__file__).with_name("shapes.npz"))
