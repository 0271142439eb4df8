"""How variants look: a colour belongs to a kind of norm, stroke and marker to what else tells variants apart."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D

from bncompare.config import lookup
from bncompare.runs import LoadedRun

# The five that are compared most are Okabe & Ito's, told apart by the colour-blind, and grey for no norm.
HUES = {
    "none": "#6b7280",
    "batch": "#d55e00",
    "layer": "#0072b2",
    "group": "#009e73",
    "rms": "#cc79a7",
    "instance": "#56b4e9",
    "local_response": "#7a7a00",
    "weight": "#6a3d9a",
    "spectral": "#332288",
    "weight_standardization": "#8b5cf6",
    "channel_layer": "#1e40af",
    "filter_response": "#0d9488",
    "whitening": "#3f6212",
    "iterative_whitening": "#65a30d",
    "switchable": "#be185d",
    "dyt": "#a21caf",
    "derf": "#701a75",
    "dyisru": "#d946ef",
    "hard_tanh": "#9f7aea",
}
# The others of batch normalization's family are warm as it is, and differ from it in stroke as well.
BATCH_FAMILY = {
    "batch_from_scratch": "#8c2d04",
    "ghost_batch": "#e69f00",
    "batch_renorm": "#a6192e",
    "noisy_batch": "#ff7f50",
    "mean_only_batch": "#b8860b",
    "variance_only_batch": "#e34a6f",
    "lp_batch": "#7f4f24",
    "population_batch": "#f4a261",
}
OTHER = "#117733"  # kinds that are not ours
TONES = ((0.0, 0.0), (1.0, 0.42), (0.0, 0.42))  # as it is; mixed with white; with black
RAMP, RAMP_TO = colormaps["viridis"], 0.78  # beyond it, too bright for a line on white
STROKES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "P", "v", "<", ">")


class Look(NamedTuple):
    """What tells a variant, or a quantity, from others."""

    color: str
    line: Any
    marker: str

    def handle(self, **options: Any) -> Line2D:
        """For a legend: all three, but for what the options say."""
        return Line2D([], [], **({"color": self.color, "linestyle": self.line, "marker": self.marker} | options))


def looks(runs: Sequence[LoadedRun]) -> dict[str, Look]:
    """Those of the variants of a figure, of which no two share both colour and stroke.

    The first variant of a kind has the colour itself, the second a lighter tone, the third a darker one. Where all
    are of one kind and more than these tones, their colours go from dark to bright in their order.
    """
    kinds = {run.variant: str(lookup(run.config, "model.norm.kind") or "") for run in reversed(runs)}
    is_ramp = len(set(kinds.values())) == 1 and len(kinds) > len(TONES)
    found: dict[str, Look] = {}
    count = Counter[str]()
    for variant in dict.fromkeys(run.variant for run in runs):
        kind = kinds[variant]
        hue = (HUES | BATCH_FAMILY).get(kind, OTHER)
        number = count[hue]
        count[hue] += 1
        first = 1 + [*BATCH_FAMILY].index(kind) if kind in BATCH_FAMILY else 0
        color = to_hex(RAMP(RAMP_TO * number / (len(kinds) - 1))) if is_ramp else _tone(hue, number)
        found[variant] = Look(color, stroke(first + number), MARKERS[number % len(MARKERS)])
    return found


def stroke(i: int) -> Any:
    """The i-th: solid, dashed, … then dashes of growing length."""
    return STROKES[i] if i < len(STROKES) else (0, (i, 2, 1, 2))


def _tone(hue: str, number: int) -> str:
    towards, share = TONES[number % len(TONES)]
    red, green, blue = ((1 - share) * part + share * towards for part in to_rgb(hue))
    return to_hex((red, green, blue))
