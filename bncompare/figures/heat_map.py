"""A metric of each norm and setting, as colours and numbers."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bncompare.comparison import Candidate
from bncompare.config import Metric
from bncompare.errors import printable
from bncompare.figures.settings import Cells, counted, name_positions, num_diverged, ordered
from bncompare.figures.style import WIDTH, WRAP, add_colour_bar, add_head, colour_scale, format_percent, styled


@styled
def heat_map(cells: Cells, metric: Metric, hyperparameter: str, *, title: str, note: str) -> Figure:
    """Mean of a metric for each row and value, written into its cell; ✕ where runs diverged; the chosen framed."""
    values = ordered(list(cells.values()))
    means = np.full((len(cells), len(values)), np.nan)
    found = [
        (i, j, row[value]) for i, row in enumerate(cells.values()) for j, value in enumerate(values) if value in row
    ]
    for i, j, candidate in found:
        if candidate.result.summary:
            means[i, j] = candidate.result.summary.mean
    width = min(WIDTH + max(0, len(values) - 8) * 0.6, 14)
    figure = Figure(figsize=(width, 1.5 + 0.42 * len(cells)), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=False)
    colors = colormaps["viridis" if metric.higher_is_better else "viridis_r"].with_extremes(bad="#eeeeee")
    scale = colour_scale(means.ravel())
    image = axes.imshow(np.ma.masked_invalid(means), norm=scale, cmap=colors, aspect="auto")
    for i, j, candidate in found:
        _write_cell(axes, i, j, candidate, metric, 8 if len(values) <= 12 else 6, colors(scale(means[i, j])))
    name_positions(axes.xaxis, {value: float(j) for j, value in enumerate(values)}, 12)
    name_positions(axes.yaxis, {row: float(i) for i, row in enumerate(cells)}, WRAP)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(printable(hyperparameter))
    bar = add_colour_bar(figure, image, axes, f"{metric.words}\n({metric.unit})" if metric.unit else metric.words)
    if metric.is_accuracy:
        format_percent(bar)
    note += "; ✕: diverged, not in the mean" if any(num_diverged(c.result) for _, _, c in found) else ""
    note += "; framed: chosen on the validation set" if any(c.is_chosen for _, _, c in found) else ""
    add_head(figure, title, f"{note}; brighter is better")
    return figure


def _write_cell(
    axes: Axes, i: int, j: int, candidate: Candidate, metric: Metric, size: float, color: tuple[float, ...]
) -> None:
    """The mean and how many diverged, legible on the cell's colour; a frame if the candidate was chosen.

    Its label, which a page shows under the pointer, says all that is known of it.
    """
    result = candidate.result
    seeds = list(map(metric.shown, sorted(result.values.values())))
    unit, diverged = " %" * metric.is_accuracy, num_diverged(result)
    told = [f"{metric.words} {metric.shown(result.summary.mean)}{unit}"] if result.summary else []
    told += [f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}{unit}"] if len(seeds) > 1 else []
    told += [f"{diverged} of {len(seeds) + diverged} diverged"] if diverged else []
    lines = [metric.shown(result.summary.mean)] if result.summary else []
    lines += [counted(result)] if num_diverged(result) else []
    luminance = np.dot(color[:3], [0.299, 0.587, 0.114]) if result.summary else 1.0
    axes.text(
        j, i, "\n".join(lines), ha="center", va="center", fontsize=size, linespacing=1.1,
        color="black" if luminance > 0.5 else "white", gid="cell", label="\n".join([candidate.variant, *told]),
    )  # fmt: skip
    if candidate.is_chosen:
        axes.add_patch(Rectangle((j - 0.47, i - 0.45), 0.94, 0.9, fill=False, edgecolor="black", linewidth=1.6))
        axes.add_patch(Rectangle((j - 0.455, i - 0.42), 0.91, 0.84, fill=False, edgecolor="white", linewidth=0.8))
