"""The settings of a sweep as figures order and name them."""

import json
from collections.abc import Sequence
from typing import Any

from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, NullLocator

from bncompare.comparison import Candidate, Missing, Sensitivity, VariantSummary
from bncompare.config import setting_words
from bncompare.figures.looks import Look
from bncompare.figures.style import wrapped
from bncompare.options import option_name

ALL_VARIANTS = "all variants"  # where the norm is none of the settings that differ
WORDS = {"lr": "learning rate"}

Value = float | str
Cells = dict[str, dict[Value, Candidate]]
"""by row (the norm, and in a heat map what else tells variants apart), then by the value that is swept"""
Facets = dict[str, Cells]
"""by the values of the other hyperparameters, in words"""


def swept_key(table: Sensitivity) -> str:
    """The hyperparameter with the most values."""
    return max(table.keys, key=lambda key: len({value_of(candidate.setting[key]) for candidate in table.candidates}))


def by_setting(table: Sensitivity) -> list[Candidate]:
    """The candidates in the order of their hyperparameters, that with the most values last."""
    keys = sorted(table.keys, key=lambda key: key == swept_key(table))
    values = {key: ordered([{value_of(c.setting[key]): c for c in table.candidates}]) for key in keys}
    return sorted(table.candidates, key=lambda c: [values[key].index(value_of(c.setting[key])) for key in keys])


def norms_left_out(table: Sensitivity, looks: dict[str, Look]) -> str:
    """What a note adds where not all norms are shown."""
    number = len({candidate.norm for candidate in table.candidates})
    return f"; the {len(looks)} best of {number} norms, the baseline among them" if len(looks) < number else ""


def hyperparameter_words(key: str) -> str:
    """`learning rate` of `training.optimizer.lr`, `activation` of `model.activation`."""
    name = option_name(key)
    return WORDS.get(name, name)


def short_key(key: str) -> str:
    """`lr` of `training.optimizer.lr`."""
    return key.removeprefix("training.").removeprefix("optimizer.")


def settings_in_words(keys: Sequence[str], setting: dict[str, Any]) -> str:
    """`lr 0.1, batch size 16`."""
    return ", ".join(setting_words(key, setting[key]) for key in keys)


def cells_of(table: Sensitivity, swept: str) -> Cells:
    """By row: the norm, and what else tells variants apart but for what is swept."""
    cells: Cells = {}
    for candidate in table.candidates:
        others = (setting_words(key, candidate.setting[key]) for key in table.keys if key != swept)
        row = ", ".join(part for part in (candidate.norm, *others) if part) or ALL_VARIANTS
        cells.setdefault(row, {}).setdefault(value_of(candidate.setting[swept]), candidate)
    return cells


def facets_of(table: Sensitivity, swept: str) -> Facets:
    """By the other hyperparameters, then by norm."""
    facets: Facets = {}
    others = [key for key in table.keys if key != swept]
    for candidate in table.candidates:
        cells = facets.setdefault(settings_in_words(others, candidate.setting), {})
        cells.setdefault(candidate.norm or ALL_VARIANTS, {})[value_of(candidate.setting[swept])] = candidate
    return facets


def value_of(setting: object) -> Value:
    """A number as such, anything else as text."""
    if isinstance(setting, int | float) and not isinstance(setting, bool) and abs(setting) < 1e300:
        return setting
    return setting if isinstance(setting, str) else json.dumps(setting, default=str)


def num_diverged(result: VariantSummary) -> int:
    """Runs that diverged."""
    return result.missing.get(Missing.DIVERGED, 0)


def counted(result: VariantSummary) -> str:
    """`✕ 1/3`: how many of its runs diverged."""
    return f"✕ {num_diverged(result)}/{len(result.values) + num_diverged(result)}"


def ordered(rows: Sequence[dict[Value, Candidate]]) -> list[Value]:
    """The values of the hyperparameter: numbers by size, then names."""
    values = {value for row in rows for value in row}
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [*numbers, *sorted(value for value in values if isinstance(value, str))]


def positions_of(values: Sequence[Value]) -> dict[Value, float]:
    """Where values stand: where they are, or side by side if some are names."""
    if any(isinstance(value, str) for value in values):
        return {value: float(i) for i, value in enumerate(values)}
    return {value: float(value) for value in values}


def name_positions(axis: Axis, positions: dict[Value, float], width: int) -> None:
    """Ticks at the values, with their names."""
    axis.set_major_locator(FixedLocator(list(positions.values())))
    axis.set_minor_locator(NullLocator())
    labels = [value if isinstance(value, str) else f"{value:g}" for value in positions]
    axis.set_ticklabels([wrapped(label, width, max_lines=3) for label in labels])
    for text in axis.get_ticklabels():
        text.set_parse_math(False)
