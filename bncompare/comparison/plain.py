"""Comparisons and findings for JSON."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from bncompare.comparison.claims import Finding
from bncompare.comparison.comparison import Comparison, Convergence
from bncompare.comparison.grid import Candidate, Sensitivity
from bncompare.comparison.tuning import Tuning, TuningCurve
from bncompare.comparison.verdicts import MeasureComparison, Pair, VariantSummary
from bncompare.config import Metric

# What a document holds of these; of other dataclasses the fields.
_NAMES: dict[type, tuple[str, ...]] = {
    Comparison: ("experiment", "variants", "measures", "finals", "convergence", "stability", "sensitivity", "tuning"),
    Sensitivity: ("keys", "measure", "metric", "candidates", "is_fair", "notes", "warnings", "within"),
    Tuning: ("measure", "metric", "seeds", "judge_seeds", "curves"),
    TuningCurve: ("norm", "values", "expected", "band"),
    MeasureComparison: ("name", "metric", "higher_is_better", "variants", "pairs", "chosen_on"),
    Pair: (
        *("a", "b", "n", "differences", "paired", "probability_better", "decided_by", "p", "holm_p"),
        *("seeds_needed", "verdict", "statement", "evidence"),
    ),
}


_LABELLED: dict[type, tuple[str, ...]] = {
    Comparison: ("variants",),
    Convergence: ("leader",),
    VariantSummary: ("variant",),
    Pair: ("a", "b"),
    Candidate: ("variant", "norm"),
    TuningCurve: ("norm",),
}
"""what in these is a name, in place of which a document has the label"""


def to_plain(value: Any, labels: Mapping[str, str] | None = None) -> Any:
    """A comparison, a finding or a part of one as mappings, lists, texts and numbers; a metric by its name, a variant
    by its label where `labels` has it, as a comparison's do."""
    if isinstance(value, Comparison):
        labels = value.labels
    if isinstance(value, Metric):
        return value.name
    if isinstance(value, Finding):
        return _finding(value)
    if is_dataclass(value):
        names = _NAMES.get(type(value)) or [field.name for field in fields(value)]
        plain = {name: to_plain(getattr(value, name), labels) for name in names}
        return plain | {name: _labelled(plain[name], labels or {}) for name in _LABELLED.get(type(value), ())}
    if isinstance(value, Mapping):
        return {key: to_plain(item, labels) for key, item in value.items()}
    return [to_plain(item, labels) for item in value] if isinstance(value, list) else value


def _labelled(names: Any, labels: Mapping[str, str]) -> Any:
    """A name or several as labels."""
    return [labels.get(name, name) for name in names] if isinstance(names, list) else labels.get(names, names)


def _finding(finding: Finding) -> dict[str, Any]:
    """Its interval only where that decides."""
    summary = finding.summary
    has_interval = summary is not None and math.isfinite(summary.low)
    return {
        "statement": finding.claim.statement,
        "metric": finding.claim.metric,
        "published": finding.claim.published,
        "is_difference": finding.claim.versus is not None and not finding.claim.is_ratio,
        "statistic": finding.claim.statistic,
        "verdict": finding.verdict,
        "reasons": finding.reasons,
        "missing": finding.missing,
        "n": summary.n if summary else 0,
        "mean": summary.mean if summary else None,
        "low": summary.low if summary and has_interval else None,
        "high": summary.high if summary and has_interval else None,
        "confidence": 0.95,
        "is_preliminary": finding.is_preliminary,
        "is_sequential": finding.is_sequential,
        "overridden": finding.overridden,
        "exploratory": finding.exploratory or None,
        "seeds": finding.claim.seeds,
    }
