"""What all figures share: style, heads, legends, axes; and a figure as the bytes of a file."""

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, Literal, ParamSpec

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from matplotlib.transforms import ScaledTranslation

from bncompare.errors import printable

# Okabe & Ito's palette without its yellow: told apart by the colour-blind, dark enough on white. Neighbours differ in
# line style and marker as well, for print in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444")
LINE_STYLES: Final[tuple[Literal["-", "--", ":", "-."], ...]] = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "P", "v", "<", ">")
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
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.hashsalt": "bncompare",
}
WIDTH = 7.2  # inches
LOG_SCALE_FROM = 30.0  # ratio of the largest to the smallest value
WRAP = 34  # characters of a name in a line

SPLITS = {"train": "training", "val": "validation", "test": "test"}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A decorator of what draws a figure: in the style of this package."""

    @wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> Figure:
        with rc_context(STYLE):
            return draw(*arguments, **options)

    return drawn


def metric_label(metric: str, is_classification: bool) -> str:
    """`val/loss` as an axis label, with its unit."""
    if metric == "lr":
        return "learning rate"
    split, _, quantity = metric.partition("/")
    if quantity == "accuracy":
        return f"{SPLITS.get(split, split)} accuracy (%)"
    unit = "cross-entropy, nats" if is_classification else "mean squared error"
    return f"{SPLITS.get(split, split)} {quantity} ({unit})"


# ---------------------------------------------------------------- parts of figures


def add_head(figure: Figure, title: str, note: str) -> None:
    """Title, and a line that says what is shown."""
    title = wrapped(title, round(11 * figure.get_figwidth()))
    lines = wrapped(note, round(15.5 * figure.get_figwidth())).splitlines()
    # The layout keeps room for a title alone: it gets empty lines for the note.
    figure.suptitle(title + "\n" * len(lines), x=0.01, ha="left", fontsize=11, fontweight="bold")
    below = 0.1 + 0.19 * (title.count("\n") + 1)  # inches
    figure.text(0.01, 1 - below / figure.get_figheight(), "\n".join(lines), fontsize=8, color=GREY, va="top")


def add_legend(axes: Axes, entries: Sequence[tuple[Artist, str]], rows_above: int = 0) -> None:
    """In a row above the axes, or at their right: it hides nothing."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    if sum(len(label) + 8 for _, label in entries) <= 84:
        figure = axes.get_figure(root=True)
        assert figure is not None
        offset = ScaledTranslation(0, (10 * rows_above + 4) / 72, figure.dpi_scale_trans)
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "bbox_transform": axes.transAxes + offset}
        place |= {"ncols": len(entries), "borderaxespad": 0, "borderpad": 0}
    box = axes.legend([handle for handle, _ in entries], [str(i) for i in range(len(entries))], **place)
    for text, (_, label) in zip(box.get_texts(), entries, strict=True):
        text.set_text(wrapped(label))  # set here, as matplotlib leaves out labels that start with an underscore


def choose_limits(axis: Axis, values: Sequence[float], metric: str) -> tuple[float, float]:
    """Set the scale and the number format of an axis for a metric; returns its ends, with a margin."""
    if not values:
        format_numbers(axis, metric)
        return 0.0, 1.0
    low, high = min(values), max(values)
    is_log = metric.endswith(("loss", "lr")) and low > 0 and high / low > LOG_SCALE_FROM
    if is_log:
        axis.axes.set_yscale("log")
        low, high = low / 1.15, high * 1.15
    else:
        margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
        low, high = low - margin, high + margin
    format_numbers(axis, metric, math.log10(high / low) if is_log else 0)
    return low, high


def format_numbers(axis: Axis, metric: str, decades: float = 0.0) -> None:
    """Percent, or on a log axis over so many decades plain numbers, 1, 2, 5, 10, … where there is room for them."""
    if metric.endswith("accuracy"):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    elif decades > 0:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades <= 3 else (1.0,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def wrapped(text: str, width: int = WRAP, max_lines: int | None = None) -> str:
    """A name in lines of some width, of which the last says if there is more; it shows all it holds."""
    text = printable(text)
    return "\n".join(textwrap.wrap(text, width, max_lines=max_lines, placeholder="…")) or text


# ---------------------------------------------------------------- files


def render(figure: Figure, format: str) -> bytes:
    """The figure as PNG, SVG or PDF; the same bytes for the same figure."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[
        format
    ]
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a label in a script the font lacks: boxes
        figure.savefig(buffer, format=format, dpi=144, metadata=metadata)
    return buffer.getvalue()


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


def shown_number(value: float, metric: str, sign: Literal["", "+"] = "") -> str:
    """Three digits; an accuracy in percent."""
    text = f"{100 * value:{sign}.{2 if sign else 1}f}" if metric.endswith("accuracy") else f"{value:{sign}.3g}"
    return text.replace("-", "−")
