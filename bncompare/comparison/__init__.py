"""What runs say about their variants: measures of each run, statistics over seeds, verdicts and claims.

Begin with `measures.py`, then the rules at the head of `verdicts.py`. In go loaded runs, out come numbers and
sentences; no file is read, nothing is drawn.
"""

from bncompare.comparison.ask import Ask
from bncompare.comparison.claims import Finding, claims_of, judge
from bncompare.comparison.comparison import Comparison, Convergence, compare_experiment, one_experiment
from bncompare.comparison.grid import Candidate, Sensitivity
from bncompare.comparison.lines import joined, verdict_lines
from bncompare.comparison.measures import Measure, Missing, level, metric_at
from bncompare.comparison.plain import to_plain
from bncompare.comparison.sequences import t_sequence
from bncompare.comparison.statistics import Paired, Summary, compare_paired, sign_test_p, summarize
from bncompare.comparison.stopping import Undecided, undecided
from bncompare.comparison.tuning import Tuning, TuningCurve, chosen_in, evidence, trials_of
from bncompare.comparison.verdicts import MeasureComparison, Pair, VariantSummary

__all__ = [
    "Ask",
    "Candidate",
    "Comparison",
    "Convergence",
    "Finding",
    "Measure",
    "MeasureComparison",
    "Missing",
    "Pair",
    "Paired",
    "Sensitivity",
    "Summary",
    "Tuning",
    "TuningCurve",
    "Undecided",
    "VariantSummary",
    "chosen_in",
    "claims_of",
    "compare_experiment",
    "compare_paired",
    "evidence",
    "joined",
    "judge",
    "level",
    "metric_at",
    "one_experiment",
    "sign_test_p",
    "summarize",
    "t_sequence",
    "to_plain",
    "trials_of",
    "undecided",
    "verdict_lines",
]
