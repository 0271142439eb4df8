"""The tables of a chapter of the report."""

from collections.abc import Sequence
from typing import Any

from bncompare.comparison import (
    Candidate,
    Convergence,
    MeasureComparison,
    Pair,
    Sensitivity,
    Summary,
    VariantSummary,
    rounded,
)
from bncompare.config import flatten, lookup, setting_label
from bncompare.report.table import Table
from bncompare.report.words import labels_of, short, some
from bncompare.runs import LoadedRun, settings_of


def variants_table(title: str, measures: Sequence[MeasureComparison]) -> Table:
    """Each variant by each measure."""
    columns = ["variant", "n", "mean ± sd", "95 % interval", "median", "min to max", "without"]
    groups = []
    for measure in measures:
        rows = []
        for result in measure.variants:
            cells = ["–"] * 4 if result.summary is None else _summary_cells(result.summary)
            rows.append([result.variant, str(len(result.values)), *cells, _missing(result)])
        groups.append((measure.title, rows))
    return Table(columns, groups, set(columns) - {"variant", "without"}, title).without_empty("without")


def _missing(result: VariantSummary) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in result.missing.items())


def _summary_cells(summary: Summary) -> list[str]:
    """mean ± sd, interval, median, range."""

    def show(value: float) -> str:
        return rounded(value, summary.sd)

    if summary.n == 1:
        return [show(summary.mean), "–", show(summary.median), "–"]
    return [
        f"{show(summary.mean)} ± {show(summary.sd)}",
        f"{show(summary.low)} to {show(summary.high)}",
        show(summary.median),
        f"{show(summary.min)} to {show(summary.max)}",
    ]


def finals_table(finals: Sequence[MeasureComparison]) -> Table:
    """Each variant by the metrics of the test and of training, at the best evaluation and at the last."""
    columns = ["variant", "n", "best epoch", "last epoch", "without"]
    groups = []
    for best, last in zip(finals[::2], finals[1::2], strict=True):
        rows = []
        for ends in zip(best.variants, last.variants, strict=True):
            cells = ["–" if of.summary is None else _summary_cells(of.summary)[0] for of in ends]
            rows.append([ends[0].variant, str(len(ends[0].values)), *cells, _missing(ends[0])])
        groups.append((best.metric.words, rows))
    numbers = {"n", "best epoch", "last epoch"}
    title = "Final metrics, mean ± sd"
    return Table(columns, groups, numbers, title).without_empty("without")


def conditions_table(grid: Sensitivity, measure: MeasureComparison) -> Table:
    """Each norm by each value of the condition within which it was chosen."""
    norms = list(dict.fromkeys(candidate.norm for candidate in grid.candidates))
    results = {result.variant: result for result in measure.variants}
    by_norm = {norm: dict.fromkeys(grid.conditions, "–") for norm in norms}
    for condition, candidates in grid.conditions.items():
        for candidate in candidates:
            by_norm[candidate.norm][condition] = _condition_cell(grid, candidate, results[candidate.variant])
    rows = [[norm, *cells.values()] for norm, cells in by_norm.items()]
    notes = ["mean (95 % interval), and what the validation set chose"]
    columns = ["norm", *grid.conditions]
    return Table(columns, [(measure.title, rows)], set(columns[1:]), f"Norms by {grid.within}", notes)


def _condition_cell(grid: Sensitivity, candidate: Candidate, result: VariantSummary) -> str:
    summary, missing = result.summary, _missing(result)
    parts = [missing] if missing else []
    if summary is not None:
        mean, _, _, _ = cells = _summary_cells(summary)
        parts.insert(0, f"{mean.partition(' ')[0]} ({cells[1]})")
    chosen = [setting_label(key, value) for key, value in candidate.setting.items() if key != grid.within]
    return ", ".join([*parts, *chosen])


def pairs_table(title: str, measures: Sequence[MeasureComparison]) -> Table:
    """Each pair of variants by each measure."""
    columns = ["difference", "n", "mean", "95 % interval", "effect size", "P(better)", "sign-flip p (least)"]
    columns += ["p", "Holm p", "better"]
    groups = []
    for measure in measures:
        rows = []
        family = sum(pair.p is not None for pair in measure.pairs)
        for pair in measure.pairs:
            mean, interval, effect, sign_flip = _difference_cells(pair)
            better = "–" if pair.probability_better is None else f"{pair.probability_better:.2f}"
            p = "–" if pair.p is None else f"{pair.p:.2g}"
            holm = f"{pair.holm_p:.2g}" if family > 1 and pair.holm_p is not None else ""
            winner = {"better": pair.a, "worse": pair.b, "undecided": "undecided", "not judged": "–"}[pair.verdict]
            cells = [mean, interval, effect, better, sign_flip, p, holm, winner]
            rows.append([f"{pair.a} − {pair.b}", str(pair.n), *cells])
        if rows:
            groups.append((measure.title, rows))
    note = "p: paired t-test"
    if any(pair.decided_by == "sign test" for measure in measures for pair in measure.pairs):
        note += ", or exact sign test where a run has no value or all differences are equal"
    return Table(columns, groups, set(columns) - {"difference", "better"}, title, [note]).without_empty("Holm p")


def _difference_cells(pair: Pair) -> list[str]:
    """mean, interval, effect size, sign-flip p."""
    if pair.paired is None:
        return ["–"] * 4
    difference = pair.paired.difference
    if difference.n == 1:
        return [f"{difference.mean:.3g}", "–", "–", "–"]
    half = (difference.high - difference.low) / 2
    mean, low, high = (rounded(value, half) for value in (difference.mean, difference.low, difference.high))
    sign_flip = f"{pair.paired.sign_flip_p:.2g} ({pair.paired.smallest_p:.2g})"
    return [mean, f"{low} to {high}", f"{pair.paired.effect_size:.2f}", sign_flip]


def sensitivity_table(grid: Sensitivity) -> Table:
    """Every setting of a grid, and which were chosen."""
    columns = ["norm", *grid.keys, "n", "mean ± sd", "95 % interval", "without", ""]
    rows = []
    for candidate in grid.candidates:
        result = candidate.result
        cells = ["–"] * 2 if result.summary is None else _summary_cells(result.summary)[:2]
        values = [short(value) for value in candidate.setting.values()]
        ends = [f"{end} {key.split('.')[-1]}" for key, end in candidate.edges.items()]
        chosen = ", ".join(["chosen", *ends]) if candidate.is_chosen else ""
        rows.append([candidate.norm, *values, str(len(result.values)), *cells, _missing(result), chosen])
    numbers = set(columns) - {"norm", "without", ""}
    notes = [*grid.notes, *grid.warnings]
    return Table(columns, [(grid.measure, rows)], numbers, "Hyperparameters", notes).without_empty("without")


def speed_notes(speed: Convergence, runs: Sequence[LoadedRun]) -> list[str]:
    """What the times are to, and the area under."""
    why = "as asked" if speed.leader is None else f"half-way from the first evaluation of {speed.leader} to its best"
    notes = [f"threshold of {speed.metric.name}: {speed.threshold:.4g}, {why}; counted to the first evaluation there"]
    if is_trivial(speed, runs):
        notes = [f"every run is at {speed.metric.name} {speed.threshold:.4g}, {why}, from its first evaluation on"]
    if speed.area:
        notes.append(f"{speed.area.name} is the area under the curve over its length, by the trapezoidal rule")
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
        cells = [settings[key] if key in settings else _resolved(config, key) for key in keys]
        rows.append([variant, *(short(_words(cell)) for cell in cells)])
    groups = [("", rows)] if keys else []
    return Table(["variant", *keys], groups, title="Settings that differ", is_detail=True)


def _resolved(config: dict[str, Any], key: str) -> Any:
    """A setting that the variant leaves as it is; of a norm the kind."""
    value = lookup(config, key)
    return value.get("kind") if isinstance(value, dict) else value


def _words(value: Any) -> str:
    """A setting as a label says it, without its key."""
    return setting_label("", value).removeprefix("=")


def environment_of(runs: Sequence[LoadedRun]) -> dict[str, str]:
    """Where the runs were trained, by name; nothing if none says."""
    environments = [flatten(run.environment) for run in runs]
    found = {}
    for key in dict.fromkeys(key for environment in environments for key in environment):
        values = list(dict.fromkeys(str(environment[key]) for environment in environments if key in environment))
        if key == "started":
            found[key] = " to ".join(dict.fromkeys([min(values), max(values)]))
        else:
            found[key.removeprefix("versions.")] = some(values)
    return found
