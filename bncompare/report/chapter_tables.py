"""The tables of a chapter of the report."""

import math
from collections.abc import Sequence
from typing import Any

from bncompare.comparison import (
    Candidate,
    Convergence,
    Measure,
    MeasureComparison,
    Missing,
    Pair,
    Sensitivity,
    Summary,
    Tuning,
    VariantSummary,
    level,
)
from bncompare.config import flatten, lookup, setting_value, setting_words
from bncompare.options import option_name
from bncompare.report.table import Table
from bncompare.report.words import labels_of, short, some
from bncompare.runs import LoadedRun, settings_of


def variants_table(title: str, measures: Sequence[MeasureComparison]) -> Table:
    """Each variant by each measure."""
    columns = ["variant", "seeds", "mean ± sd", "95 % CI", "median", "range", *MISSING]
    groups = []
    for by in measures:
        rows = []
        for result in by.variants:
            cells = ["–"] * 4 if result.summary is None else _summary_cells(by.measure, result.summary)
            rows.append([result.variant, str(len(result.values)), *cells, *_missing(result)])
        groups.append((_heading(by.title, by.measure.unit), rows))
    return _without_empty(
        Table(columns, groups, set(columns) - {"variant", "without"}, title, interval_notes(measures))
    )


def interval_notes(measures: Sequence[MeasureComparison]) -> list[str]:
    """What the intervals of a table are, where they are not those of a fixed number of seeds."""
    return ["95 % CI: valid at every look, as seeds were added"] if any(by.is_sequential for by in measures) else []


MISSING = ["diverged", "without"]


def _missing(result: VariantSummary) -> list[str]:
    """How many runs diverged; how many have no value for another reason, and which."""
    others = {reason: count for reason, count in result.missing.items() if reason != "diverged"}
    diverged = result.missing.get(Missing.DIVERGED, 0)
    return [str(diverged or ""), ", ".join(f"{count} {reason}" for reason, count in others.items())]


def _without_empty(table: Table) -> Table:
    for name in MISSING:
        table = table.without_empty(name)
    return table


def _heading(title: str, unit: str) -> str:
    """Words and unit, of which times have theirs in their words."""
    return f"{title}, {unit}" if unit in ("%", "points") else title


def _summary_cells(measure: Measure, summary: Summary) -> list[str]:
    """mean ± sd, interval, median, range."""
    half = (summary.high - summary.low) / 2

    def show(value: float) -> str:
        return measure.shown(value, half)

    if summary.n == 1:
        return [show(summary.mean), "–", show(summary.median), "–"]
    return [
        f"{show(summary.mean)} ± {show(summary.sd)}",
        f"{show(summary.low)} to {show(summary.high)}" if summary.has_interval else "–",
        show(summary.median),
        f"{show(summary.min)} to {show(summary.max)}",
    ]


def finals_table(finals: Sequence[MeasureComparison]) -> Table:
    """Each variant by the metrics of the test and of training, at the best evaluation and at the last."""
    columns = ["variant", "seeds", "best epoch", "last epoch", *MISSING]
    groups = []
    for best, last in zip(finals[::2], finals[1::2], strict=True):
        rows = []
        for ends in zip(best.variants, last.variants, strict=True):
            cells = ["–" if of.summary is None else _summary_cells(best.measure, of.summary)[0] for of in ends]
            rows.append([ends[0].variant, str(len(ends[0].values)), *cells, *_missing(ends[0])])
        groups.append((_heading(best.metric.words, best.measure.unit), rows))
    numbers = {"seeds", "best epoch", "last epoch"}
    return _without_empty(Table(columns, groups, numbers, "Final metrics, mean ± sd"))


def conditions_table(grid: Sensitivity, measure: MeasureComparison) -> Table:
    """Each norm by each value of the condition within which it was chosen."""
    norms = list(dict.fromkeys(candidate.norm for candidate in grid.candidates))
    results = {result.variant: result for result in measure.variants}
    by_norm = {norm: dict.fromkeys(grid.conditions, "–") for norm in norms}
    for condition, candidates in grid.conditions.items():
        for candidate in candidates:
            result = results[candidate.variant]
            by_norm[candidate.norm][condition] = _condition_cell(grid, candidate, measure.measure, result)
    rows = [[norm, *cells.values()] for norm, cells in by_norm.items()]
    notes = ["mean (95 % CI), and what the validation set chose"]
    columns = ["norm", *grid.conditions]
    heading = _heading(measure.title, measure.measure.unit)
    title = f"Norms by {option_name(grid.within or '')}"
    return Table(columns, [(heading, rows)], set(columns[1:]), title, notes)


def _condition_cell(grid: Sensitivity, candidate: Candidate, measure: Measure, result: VariantSummary) -> str:
    parts = []
    if (summary := result.summary) is not None:
        half = (summary.high - summary.low) / 2
        mean, low, high = (measure.shown(value, half) for value in (summary.mean, summary.low, summary.high))
        parts.append(f"{mean} ({low} to {high})" if summary.has_interval else mean)
    parts += [f"{count} {reason}" for reason, count in result.missing.items()]
    chosen = [setting_words(key, value) for key, value in candidate.setting.items() if key != grid.within]
    return ", ".join([*parts, *chosen])


def pairs_table(title: str, measures: Sequence[MeasureComparison]) -> Table:
    """Each pair of variants by each measure."""
    columns = ["difference", "seeds", "mean", "95 % CI", "effect size", "P(better)", "sign-flip p"]
    columns += ["p", "Holm p", "better"]
    groups, least = [], {}
    for by in measures:
        rows = []
        family = sum(pair.p is not None for pair in by.pairs)
        for pair in by.pairs:
            mean, interval, effect, sign_flip = _difference_cells(pair)
            better = "–" if pair.probability_better is None else f"{pair.probability_better:.2f}"
            p = "–" if pair.p is None else f"{pair.p:.2g}"
            holm = f"{pair.holm_p:.2g}" if family > 1 and pair.holm_p is not None else ""
            winner = {"better": pair.a, "worse": pair.b, "undecided": "no clear difference", "not judged": "–"}
            told = winner[pair.verdict] + " (preliminary)" * pair.is_preliminary
            cells = [mean, interval, effect, better, sign_flip, p, holm, told]
            rows.append([f"{pair.a} − {pair.b}", str(pair.n), *cells])
            if pair.paired is not None and pair.paired.difference.n > 1 and not pair.is_sequential:
                least[pair.paired.difference.n] = pair.paired.smallest_p
        if rows:
            groups.append((_heading(by.title, by.measure.unit_of_differences), rows))
    notes = [_p_note(measures), *interval_notes(measures)]
    if least:
        floors = ", ".join(f"{p:.2g} with {n} seeds" for n, p in sorted(least.items()))
        notes.append(f"sign-flip p: the least that there can be is {floors}")
    table = Table(columns, groups, set(columns) - {"difference", "better"}, title, notes)
    return table.without_empty("Holm p").without_empty("sign-flip p")


def _p_note(measures: Sequence[MeasureComparison]) -> str:
    """Of which test the p is."""
    tests = {pair.test for by in measures for pair in by.pairs if pair.test}
    means, signs = "paired t-test", "exact sign test"
    if any(by.is_sequential for by in measures):
        means, signs = "anytime-valid, of the t confidence sequence", "the sign e-process"
    if all(test.is_of_means for test in tests):
        return f"p: {means}"
    return f"p: {means}, or {signs} where a run has no value or all differences are equal"


def _difference_cells(pair: Pair) -> list[str]:
    """mean, interval, effect size, sign-flip p."""
    no_p = "" if pair.is_sequential else "–"
    if pair.paired is None:
        return ["–", "–", "–", no_p]
    difference, show = pair.paired.difference, pair.measure.shown
    half = (difference.high - difference.low) / 2
    mean = show(difference.mean, half, "+")
    if difference.n == 1:
        return [mean, "–", "–", no_p]
    interval = f"{show(difference.low, half)} to {show(difference.high, half)}" if difference.has_interval else "–"
    effect = f"{pair.paired.effect_size:.2f}".replace("-", "−")
    return [mean, interval, effect, "" if pair.is_sequential else f"{pair.paired.sign_flip_p:.2g}"]


def sensitivity_table(grid: Sensitivity) -> Table:
    """Every setting of a grid, and which were chosen."""
    names = {key: option_name(key) for key in grid.keys}
    columns = ["norm", *names.values(), "seeds", "mean ± sd", "95 % CI", *MISSING, ""]
    rows = []
    for candidate in grid.candidates:
        result = candidate.result
        cells = ["–"] * 2 if result.summary is None else _summary_cells(grid.by, result.summary)[:2]
        values = [short(value) for value in candidate.setting.values()]
        ends = [f"{end} {names[key]}" for key, end in candidate.edges.items()]
        chosen = ", ".join(["chosen", *ends]) if candidate.is_chosen else ""
        rows.append([candidate.norm, *values, str(len(result.values)), *cells, *_missing(result), chosen])
    numbers = set(columns) - {"norm", "without", ""}
    notes = [*grid.notes, *grid.warnings]
    heading = _heading(grid.measure, grid.by.unit)
    table = Table(columns, [(heading, rows)], numbers, "Hyperparameters", notes, num_keys=1 + len(names))
    return _without_empty(table).without_empty("norm")


def tuning_table(tuning: Tuning) -> Table:
    """The expected best of each norm at 1, 2, 4, … trials, and at all."""
    most = max(tuning.trials.values())
    at = [k for k in (2**i for i in range(most.bit_length())) if k < most] + [most]
    columns = ["norm", *(f"{k} trial{'' if k == 1 else 's'}" for k in at), "no value"]
    rows = []
    for curve in tuning.curves:
        cells = [curve.expected[k - 1] if k <= len(curve.expected) else math.nan for k in at]
        shown = [tuning.metric.shown(value) if math.isfinite(value) else "–" for value in cells]
        rows.append([curve.norm, *shown, str(sum(map(math.isinf, curve.values)) or "")])
    unit = "%" if tuning.metric.is_accuracy else ""
    notes = [tuning.budget, tuning.order, "the expected best of so many of these trials, in all draws of them"]
    heading = _heading(f"best {tuning.measure}", unit)
    return Table(columns, [(heading, rows)], set(columns[1:]), "Tuning", notes).without_empty("no value")


def speed_notes(speed: Convergence, runs: Sequence[LoadedRun]) -> list[str]:
    """What the times are to, and the area under."""
    why = "as asked" if speed.leader is None else f"half-way from the first evaluation of {speed.leader} to its best"
    threshold = level(speed.metric, speed.threshold)
    notes = [f"threshold of {speed.metric.words}: {threshold}, {why}; counted to the first evaluation there"]
    if is_trivial(speed, runs):
        notes = [f"every run is at {speed.metric.words} {threshold}, {why}, from its first evaluation on"]
    if speed.area:
        notes.append(
            f"{speed.area.measure.words} is the area under the curve over its length, by the trapezoidal rule"
        )
    return notes


def is_trivial(speed: Convergence, runs: Sequence[LoadedRun]) -> bool:
    """Whether all runs are at the threshold at once, so that there is no time to tell."""
    first = {run.metrics["epoch"][0] for run in runs if run.metrics["epoch"]}
    results = speed.epochs.variants
    return all(not result.missing and set(result.values.values()) <= first for result in results)


def differences_table(runs: Sequence[LoadedRun]) -> Table:
    """The settings that variants differ in, as the config gives them, or as resolved where it does not."""
    keys = list(dict.fromkeys(key for run in runs for key in settings_of(run)))
    first = {run.variant: run for run in reversed(runs)}
    rows = []
    for variant in labels_of(runs):
        settings, config = settings_of(first[variant]), first[variant].config
        values = {key: settings[key] if key in settings else _resolved(config, key) for key in keys}
        rows.append([variant, *(short(setting_value(key, value)) for key, value in values.items())])
    groups = [("", rows)] if keys else []
    return Table(["variant", *keys], groups, title="Settings that differ", is_detail=True)


def _resolved(config: dict[str, Any], key: str) -> Any:
    """A setting that the variant leaves as it is; of a norm the kind."""
    value = lookup(config, key)
    return value.get("kind") if isinstance(value, dict) else value


def environment_of(runs: Sequence[LoadedRun]) -> dict[str, str]:
    """Where the runs were trained, by name; nothing if none says."""
    environments = [flatten(run.environment) for run in runs]
    found = {}
    for key in dict.fromkeys(key for environment in environments for key in environment):
        values = list(dict.fromkeys(str(environment[key]) for environment in environments if key in environment))
        if key == "ended":
            continue
        if key == "started":
            found[key] = " to ".join(dict.fromkeys([min(values), max(values)]))
        else:
            found[key.removeprefix("versions.")] = some(values)
    return found
