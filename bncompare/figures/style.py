"""What all figures share: style, heads, legends, axes; a figure with its name, and as the bytes of a file."""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from bncompare.comparison import Summary
from bncompare.config import Metric
from bncompare.errors import printable
from bncompare.runs import LoadedRun

GREY = "#666666"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#333333",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # names are shown as they are, $ and _ included
    "path.simplify": False,  # on another scale, points that seem to lie on a line do not
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.hashsalt": "bncompare",
}
WIDTH = 7.2  # inches
LOG_SCALE_FROM = 30.0  # ratio of the largest to the smallest value
WRAP = 34  # characters of a name in a line

FEW_SEEDS = 5  # from here on an interval is shown; below, it would say more of the t-table than of the runs

MAX_ROWS = 30  # pairs or variants in a figure with a row each
MAX_NAMED = 4  # variants that a caption goes through one by one

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class NamedFigure:
    """A figure to be put into a file or a page."""

    name: str
    """a file name without its ending, such as `val-loss`"""
    caption: str
    """what is to be seen, in one sentence; serves as the text for who cannot see it"""
    figure: Figure

    def _repr_png_(self) -> bytes:
        """In a notebook."""
        return render(self.figure, "png")


def colour_mapped(axes: Axes) -> list[Artist]:
    """What is drawn there in colours that stand for numbers, which a dark page must not change."""
    return [artist for artist in (*axes.images, *axes.collections) if artist.get_array() is not None]


def file_name(*parts: str) -> str:
    """`sensitivity-val-loss` of `sensitivity` and `val/loss`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", " ".join(parts)).strip("-")


def by_variant(runs: Iterable[LoadedRun]) -> dict[str, list[LoadedRun]]:
    """The runs of each variant, in their order."""
    groups: dict[str, list[LoadedRun]] = {}
    for run in runs:
        groups.setdefault(run.variant, []).append(run)
    return groups


def listed(names: Sequence[str]) -> str:
    """The names, or how many variants they are."""
    return ", ".join(names) if len(names) <= MAX_NAMED else f"{len(names)} variants"


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """A decorator of what draws a figure: in the style of this package."""

    @wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> T:
        with rc_context(STYLE):
            return draw(*arguments, **options)

    return drawn


# ---------------------------------------------------------------- parts of figures


def add_head(figure: Figure, title: str, note: str) -> None:
    """Title, and a line that says what is shown; the layout keeps room for both."""
    text, lines, _ = head(title, note, figure.get_figwidth())
    # The layout keeps room for a title alone: it gets empty lines for the note.
    figure.suptitle(text + "\n" * len(lines), x=0.01, ha="left", fontsize=11, fontweight="bold")
    _add_note(figure, text, lines)


def head(title: str, note: str, width: float) -> tuple[str, list[str], float]:
    """Title and note in lines, and their height, in a figure of some width; in inches."""
    text = wrapped(title, round(11 * width))
    lines = wrapped(note, round(15.5 * width)).splitlines()
    return text, lines, 0.16 + 0.19 * (text.count("\n") + 1) + 0.15 * len(lines)


def add_fixed_head(figure: Figure, title: str, note: str) -> None:
    """The same where the layout is fixed."""
    text, lines, _ = head(title, note, figure.get_figwidth())
    y = 1 - 0.07 / figure.get_figheight()
    figure.suptitle(text, x=0.01, y=y, ha="left", va="top", fontsize=11, fontweight="bold")
    _add_note(figure, text, lines)


def _add_note(figure: Figure, title: str, lines: Sequence[str]) -> None:
    below = 0.1 + 0.19 * (title.count("\n") + 1)  # inches
    figure.text(
        0.01, 1 - below / figure.get_figheight(), "\n".join(lines), fontsize=8, color=GREY, va="top", gid="note"
    )


def add_legend(axes: Axes, entries: Sequence[tuple[Artist, str]]) -> None:
    """In a row above the axes, or at their right: it hides nothing."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    if sum(len(label) + 8 for _, label in entries) <= 84:
        figure = axes.get_figure(root=True)
        assert figure is not None
        offset = ScaledTranslation(0, 4 / 72, figure.dpi_scale_trans)
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "bbox_transform": axes.transAxes + offset}
        place |= {"ncols": len(entries), "borderaxespad": 0, "borderpad": 0}
    _name_entries(axes.legend(*_numbered(entries), **place), entries)


def legend_shape(entries: Sequence[tuple[Artist, str]], width: float) -> tuple[int, float]:
    """The columns of a legend below the axes, and its height in inches, in a figure of some width."""
    longest = max((len(line) for _, label in entries for line in _below(label).splitlines()), default=1)
    columns = max(1, min(len(entries), int((width - 0.2) / (0.62 + 0.068 * longest))))
    rows = math.ceil(len(entries) / columns)
    lines = max((1 + _below(label).count("\n") for _, label in entries), default=1)
    return columns, 0.17 * rows * lines + 0.1


def add_legend_below(figure: Figure, entries: Sequence[tuple[Artist, str]], **place: Any) -> None:
    """One for all axes, at the lower edge of the figure."""
    columns, _ = legend_shape(entries, figure.get_figwidth())
    place = {"loc": "outside lower left"} | place
    _name_entries(figure.legend(*_numbered(entries), ncols=columns, **place), entries, _below)


def _below(label: str) -> str:
    return wrapped(label, 90)


def _numbered(entries: Sequence[tuple[Artist, str]]) -> tuple[list[Artist], list[str]]:
    return [handle for handle, _ in entries], [str(i) for i in range(len(entries))]


def _name_entries(
    box: Legend, entries: Sequence[tuple[Artist, str]], shown: Callable[[str], str] | None = None
) -> None:
    """Set here, as matplotlib leaves out labels that start with an underscore."""
    for text, (_, label) in zip(box.get_texts(), entries, strict=True):
        text.set_text((shown or wrapped)(label))


def row_labels(axes: Axes, left: Sequence[str], right: Sequence[str]) -> None:
    """Names of the rows at the left of the axes, numbers at their right."""
    axes.set_yticks(range(len(left)), [wrapped(label, max_lines=3) for label in left])
    for name in axes.get_yticklabels():
        name.set_parse_math(False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    for row, text in enumerate(right):
        axes.annotate(
            text, (1, row), (6, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points", fontsize=8,
            color="#333333", va="center", annotation_clip=False,
        )  # fmt: skip


def is_wide(low: float, high: float) -> bool:
    """Whether a range is for a log scale."""
    return 0 < low < high and high / low > LOG_SCALE_FROM


def choose_limits(axis: Axis, values: Sequence[float], metric: Metric) -> tuple[float, float]:
    """Set the scale and the number format of an axis for a metric; returns its ends, with a margin."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if metric.is_accuracy:
        format_percent(axis)
    if values and is_wide(low, high) and not metric.is_accuracy:
        axis.axes.set_yscale("log")
        low, high = low / 1.15, high * 1.15
        format_decades(axis, math.log10(high / low))
    elif values:
        margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
        low, high = low - margin, high + margin
    if metric.is_accuracy:
        low, high = possible(low, high, metric)
    return (low, high) if low < high else (0.0, 1.0)


def possible(low: float, high: float, metric: Metric) -> tuple[float, float]:
    """An interval, cut to what the metric can be: no loss below 0, no accuracy beyond 0 to 100 %."""
    top = 1.0 if metric.is_accuracy else math.inf
    return min(max(low, 0.0), top), min(max(high, 0.0), top)


def band_of(summary: Summary, metric: Metric, is_few: bool) -> tuple[float, float]:
    """What is shaded around a mean: lowest to highest of few seeds, else the 95 % CI of the mean."""
    if is_few:
        return summary.min, summary.max
    return possible(summary.low, summary.high, metric)


def spread_words(is_few: bool) -> str:
    """What `band_of` is."""
    return "lowest to highest seed" if is_few else "95 % CI of the mean"


def format_percent(axis: Axis) -> None:
    """Fractions as percent, without the sign."""
    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{100 * value:.6g}".replace("-", "−")))


def format_decades(axis: Axis, decades: float) -> None:
    """Plain numbers on a log axis over so many decades: 1, 2, 5, 10, … where there is room for them."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades <= 3 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def colour_scale(values: Iterable[float]) -> Normalize:
    """From the least to the greatest of the finite ones; by the logarithm where they are far apart."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    return LogNorm(low, high) if is_wide(low, high) else Normalize(low, high)


def add_colour_bar(figure: Figure, image: Any, axes: Axes | Sequence[Axes], label: str) -> Axis:
    """What the colours of an image stand for, at the right; returns its axis."""
    bar = figure.colorbar(image, ax=axes, pad=0.02, label=label)
    bar.outline.set_visible(False)
    if isinstance(image.norm, LogNorm):
        low, high = image.get_clim()
        format_decades(bar.ax.yaxis, math.log10(high / low))
    return bar.ax.yaxis


def wrapped(text: str, width: int = WRAP, max_lines: int | None = None) -> str:
    """A name in lines of some width, of which the last says if there is more; it shows all it holds."""
    text = printable(text)
    return "\n".join(textwrap.wrap(text, width, max_lines=max_lines, placeholder="…")) or text


# ---------------------------------------------------------------- files


def render(figure: Figure, format: str) -> bytes:
    """The figure as PNG, SVG or PDF; the same bytes for the same figure."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    without = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}[format]
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a label in a script the font lacks: boxes
        figure.savefig(buffer, format=format, dpi=144, metadata={without: None})
    return buffer.getvalue()
