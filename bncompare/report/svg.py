"""A matplotlib figure as an element of a page: neutral colours are the page's, what is of a variant says so."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bncompare.errors import printable
from bncompare.figures import colour_mapped, render

# Of the figures’ style; the colours of data stay. What has no fill is black, and gets its own from the style sheet.
PAGE_COLOURS = {
    "#ffffff": "var(--ground)",
    "#000000": "var(--ink)",
    "#333333": "var(--ink)",
    "#666666": "var(--quiet)",
    "#cccccc": "var(--faint)",
    "#e2e2e2": "var(--line)",
}
DARK_GROUND = "#14181d"  # as in page.css
CONTRAST = 3.5  # on it, of the colour of a line; W3C asks for 3
KEPT = "kept"
Numbers = Mapping[str, int]
"""of variants and norms, by name"""


@dataclass(frozen=True)
class Drawing:
    """A figure of a page, and the curves in it."""

    svg: Markup
    x: str
    """the name of the x axis, such as `epoch`"""
    panels: Sequence[Mapping[str, Any]]
    """for the script: where the axes are, and the curves in them; empty if it has none"""


def drawing_of(figure: Figure, caption: str, prefix: str, numbers: Numbers) -> Drawing:
    """The figure with a text alternative, ids that are its own, and the artists labelled with a variant marked."""
    curves = [(axes, series) for axes in figure.axes if (series := _series(axes, numbers))]
    cells = [(axes, found) for axes in figure.axes if (found := _cells(axes))]
    _mark(figure, numbers)
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)  # the ground is the page's, with shades where there is more beyond an edge
    for i, (axes, _) in enumerate(curves):
        axes.set_gid(f"panel-{i}")
        axes.yaxis.set_gid("ticks-y")
        axes.yaxis.label.set_gid("name-y")
    svg = _element(render(figure, "svg").decode(), caption, prefix)
    names = [axes.get_xlabel() for axes in figure.axes] + [figure.get_supxlabel()]
    # After drawing, when the layout is done.
    panels = [_panel(axes, series) for axes, series in curves] + [_place(axes) | {"cells": of} for axes, of in cells]
    return Drawing(svg, next(filter(None, names), ""), panels)


# ---------------------------------------------------------------- curves


def _series(axes: Axes, numbers: Numbers) -> dict[int, dict[str, Any]]:
    """The mean of each variant, and its seeds, as (x, y)."""
    found: dict[int, dict[str, Any]] = {}
    dots: dict[int, Any] = {}
    for line in axes.lines:
        number, kind = numbers.get(str(line.get_label())), line.get_gid()
        points = np.asarray(line.get_xydata())
        if number is not None and len(points):
            if kind in ("mean", "number"):
                found[number] = {"color": to_hex(line.get_color()), "mean": points, "seeds": dots.get(number, [])}
            elif kind == "mean of the rest":
                found[number]["mean"] = np.concatenate([found[number]["mean"], points])
            elif kind == "seeds":
                dots[number] = _one_a_place(points)
    for collection in axes.collections:
        number = numbers.get(str(collection.get_label()))
        if number in found and isinstance(collection, LineCollection) and not collection.get_rasterized():
            found[number]["seeds"] = collection.get_segments()
    return found


def _one_a_place(points: Any) -> list[list[tuple[float, float]]]:
    """Dots as lists of which each has no more than one at each x."""
    at: dict[float, list[float]] = {}
    for x, y in points:
        at.setdefault(float(x), []).append(float(y))
    return [[(x, of[i]) for x, of in at.items() if i < len(of)] for i in range(max(map(len, at.values())))]


def _cells(axes: Axes) -> list[tuple[float, float, str]]:
    """Those of a heat map: column, row, and what is known of each."""
    return [(*text.get_position(), str(text.get_label())) for text in axes.texts if text.get_gid() == "cell"]


def _place(axes: Axes) -> dict[str, Any]:
    """Where axes are, as shares of the figure, and what they show."""
    box = axes.get_position()
    return {
        "box": [round(side, 5) for side in (box.x0, 1 - box.y1, box.width, box.height)],
        "xlim": axes.get_xlim(),
        "ylim": axes.get_ylim(),
        "log": [scale == "log" for scale in (axes.get_xscale(), axes.get_yscale())],
        "x": [],
        "series": [],
    }


def _panel(axes: Axes, series: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    figure = axes.get_figure(root=True)
    assert figure is not None
    x = sorted({float(at) for of in series.values() for points in (of["mean"], *of["seeds"]) for at, _ in points})

    def column(points: Any) -> list[float | None]:
        values = {float(at): float(y) for at, y in points}
        return [_number(values.get(at, math.nan)) for at in x]

    names = axes.xaxis.get_major_formatter()
    return _place(axes) | {
        "label": axes.get_ylabel() or figure.get_supylabel() or axes.get_title(loc="left"),
        "title": axes.get_title(loc="left").replace("\n", ", "),
        "names": [names(at).replace("\n", " ") for at in x] if isinstance(names, FuncFormatter) else None,
        "scales": _has_scales(axes, series),
        "ticks": axes.yaxis.get_tick_params()["labelleft"],
        "percent": _is_percent(axes),
        "x": x,
        "series": [
            {
                "variant": number,
                "color": page_colour(of["color"]),
                "mean": column(of["mean"]),
                "seeds": [column(points) for points in of["seeds"]],
            }
            for number, of in series.items()
        ],
    }


def _is_percent(axes: Axes) -> bool:
    """Whether the numbers are fractions, shown in percent."""
    return axes.yaxis.get_major_formatter()(0.5).startswith("50")


def _has_scales(axes: Axes, series: Mapping[int, Mapping[str, Any]]) -> bool:
    """Whether the script can change the y axis from linear to log, or back: it moves what is of a variant."""
    means = np.concatenate([of["mean"][:, 1] for of in series.values()])
    is_of_variants = all(str(artist.get_gid()).startswith("variant-") for artist in (*axes.lines, *axes.collections))
    is_vector = not any(artist.get_rasterized() for artist in axes.collections)
    are_counts = any(line.get_drawstyle() != "default" for line in axes.lines)
    is_positive = bool(np.nanmin(means, initial=math.inf) > 0)
    return is_of_variants and is_vector and is_positive and not are_counts and not _is_percent(axes)


def _number(value: float) -> float | None:
    """Five digits are more than a figure shows; JSON has no NaN."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


# ---------------------------------------------------------------- colours


def page_colour(color: str) -> str:
    """A colour of a figure on a page: neutral ones are the page's, one too dark for a dark page may be lightened."""
    if color in PAGE_COLOURS:
        return PAGE_COLOURS[color]
    return color if on_dark(color) == color else f"var(--on-dark-{color[1:]}, {color})"


def on_dark(color: str) -> str:
    """The colour, mixed with as much white as it needs to stand out from a dark ground."""
    red, green, blue = to_rgb(color)
    rests = (1 - share / 20 for share in range(20))
    mixed = (to_hex((1 - rest * (1 - red), 1 - rest * (1 - green), 1 - rest * (1 - blue))) for rest in rests)
    return next(tone for tone in mixed if _contrast(tone, DARK_GROUND) >= CONTRAST)


def _contrast(color: str, ground: str) -> float:
    """WCAG 2.2: the ratio of relative luminances."""
    bright, dark = sorted((_luminance(color), _luminance(ground)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# ---------------------------------------------------------------- marks


def _mark(figure: Figure, numbers: Numbers) -> None:
    """Give artists the ids that `_rewrite` reads."""
    # Not by `findobj`, which makes ticks of every axis to look at them.
    for axes in figure.axes:
        for artist in (*axes.lines, *axes.collections, *axes.texts, *axes.patches):
            number = numbers.get(str(artist.get_label()))
            if number is not None:
                artist.set_gid(f"variant-{number}")
    for legend in (*figure.legends, *(own for axes in figure.axes if (own := axes.get_legend()))):
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            number = numbers.get(str(handle.get_label())) if handle else None
            if handle and number is not None:
                handle.set_gid(f"key-{number}")
                text.set_gid(f"key-{number}")
    for axes in figure.axes:
        of_data = colour_mapped(axes)
        for artist in (*of_data, *axes.texts, *axes.patches, *axes.lines) if of_data else ():
            artist.set_gid(KEPT)


def _element(svg: str, caption: str, prefix: str) -> Markup:
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # a style would hold for all of the page
                parent.remove(child)
    _rewrite(root, prefix, is_kept=False)
    root.set("role", "img")
    root.set("preserveAspectRatio", "xMinYMin")
    root.set("aria-label", printable(caption))
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _rewrite(element: ElementTree.Element, prefix: str, *, is_kept: bool) -> None:
    """Names without namespaces; marks as attributes, other ids of groups gone (some are there twice)."""
    element.tag = element.tag.partition("}")[2]
    element.text = element.tail = None  # line breaks and blanks alone, as letters are paths
    attributes, element.attrib = dict(element.attrib), {}
    name = attributes.pop("id", "")
    kind, _, number = name.partition("-")
    if name and element.tag != "g":
        element.set("id", f"{prefix}-{name}")
    elif kind in ("variant", "key", "panel", "ticks", "name"):
        element.set(f"data-{kind}", number)
    elif kind == KEPT:
        is_kept = True
        element.set("fill", "#000000")
    for key, value in attributes.items():
        key = key.partition("}")[2] or key
        value = re.sub(r"^#|(?<=url\()#", f"#{prefix}-", value)
        if key == "style" and not is_kept:
            value = re.sub("#[0-9a-f]{6}", lambda found: page_colour(found[0]), value)
        element.set(key, value)
    for child in element:
        _rewrite(child, prefix, is_kept=is_kept)
