"""What a report says about each experiment: verdicts, claims, tables, warnings; the renderers only lay it out."""

import dataclasses
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from bncompare.claims import Finding, claims_of, judge, to_plain
from bncompare.comparison import Comparison, Convergence, Sensitivity, compare_experiment
from bncompare.config import strict_yaml
from bncompare.config.expansion import setting_label
from bncompare.errors import UserError
from bncompare.grouping import ExperimentRuns, experiments, flatten, settings_of, validates_on_test
from bncompare.results import LoadedRun
from bncompare.statistics import Summary
from bncompare.verdicts import MeasureComparison, Pair, VariantSummary, rounded, verdict_lines

MAX_SETTING_LENGTH = 120
MAX_NAMED = 6  # variants or seeds in a warning or question; more are counted

HOW_TO_READ = (
    "Variants are compared seed by seed: runs that share a seed share the data split, the batch order and the "
    "initial weights. A variant is better where the paired t-test, corrected for the number of pairs (Holm), gives "
    "p < 0.05; for one pair that is where the 95 % t-interval of the difference leaves out 0. “No difference can be "
    "told” does not mean that there is none. The sign-flip p assumes no normal distribution; with n seeds it cannot "
    "be below 2/2ⁿ. Runs that diverged are in no mean: they count as worse than any value, and a sign test over the "
    "seeds decides. The effect size is the mean of the differences over their standard deviation; P(better) is the "
    "share of seeds on which the first is better, ties as half."
)


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    title: str
    columns: list[str]
    groups: list[tuple[str, list[list[str]]]]
    """(heading, rows); an empty heading where there is one group alone"""
    numbers: Set[str]
    """columns of numbers, to be set flush right"""
    notes: list[str] = dataclasses.field(default_factory=list)
    is_detail: bool = False
    """whether it may be folded away"""

    def without_empty(self, name: str) -> "Table":
        """Without a column that has nothing in it."""
        i = self.columns.index(name)
        if any(row[i] for _, rows in self.groups for row in rows):
            return self
        groups = [(heading, [row[:i] + row[i + 1 :] for row in rows]) for heading, rows in self.groups]
        return dataclasses.replace(self, columns=self.columns[:i] + self.columns[i + 1 :], groups=groups)


@dataclass(frozen=True)
class Section:
    """One experiment."""

    title: str
    question: str
    setup: str
    verdicts: list[tuple[str, list[tuple[str, str]]]]
    """(measure, its (statement, evidence)s)"""
    warnings: list[str]
    findings: list[Finding]
    tables: list[Table]
    environment: Table | None
    command: str
    """that trains it again, from `config`"""
    config: str
    """the experiment as one YAML file"""
    comparison: Comparison
    experiment: ExperimentRuns

    @property
    def headline(self) -> str:
        """In one line, what became of the claims, and the first difference that can be told by the first measure."""
        counts = Counter(finding.verdict for finding in self.findings)
        total = len(self.findings)
        parts = [f"{count} of {total} claims {verdict}" for verdict, count in counts.items()]
        told = [p.statement for p in self.comparison.measures[0].pairs if p.verdict in ("better", "worse")]
        return "; ".join([*parts, told[0] if told else self.verdicts[0][1][0][0]])


def sections(
    runs: Sequence[LoadedRun],
    *,
    metrics: Sequence[str] | None = None,
    at: Literal["best", "last"] | None = None,
    versus: str | None = None,
    threshold: float | None = None,
) -> list[Section]:
    """A section for each experiment among the runs; the options are those of `compare`."""
    return [_section(found, metrics, at, versus, threshold) for found in experiments(runs)]


def _section(
    found: ExperimentRuns,
    metrics: Sequence[str] | None,
    at: Literal["best", "last"] | None,
    versus: str | None,
    threshold: float | None,
) -> Section:
    runs = found.runs
    try:
        comparison = compare_experiment(found, metrics, at=at, versus=versus, threshold=threshold)
    except UserError as error:
        raise UserError(*(f"{found.place}: {problem}" for problem in error.problems)) from None
    speed = comparison.convergence
    extra = [speed.epochs, speed.steps, speed.seconds] if speed and not _is_trivial(speed, runs) else []
    extra += [measure for measure in (speed and speed.area, comparison.stability) if measure]
    tables = [_variants("Variants", comparison.measures), _pairs("Pairs of variants", comparison.measures)]
    if comparison.sensitivity:
        tables.append(_sensitivity(comparison.sensitivity))
    notes = _speed_notes(speed, runs) if speed else []
    tables += [
        dataclasses.replace(_variants("Speed and stability", extra), notes=notes),
        dataclasses.replace(_pairs("Pairs of variants: speed and stability", extra), is_detail=True),
        _differences(runs),
    ]
    return Section(
        found.title,
        _question(comparison),
        _setup(runs),
        [(measure.title, verdict_lines(measure)) for measure in comparison.measures],
        _warnings(found, comparison),
        [judge(claim, runs) for claim in claims_of(runs)],
        [table for table in tables if table.groups],
        _environment(runs),
        f"bncompare train {found.name}.yaml",
        strict_yaml.dump(experiment_config(runs)),
        comparison,
        found,
    )


def document(found: Sequence[Section]) -> dict[str, Any]:
    """The whole report for JSON."""
    return {
        "experiments": [
            {
                "name": section.experiment.name,
                "title": section.title,
                "folder": str(section.experiment.folder),
                "question": section.question,
                "setup": section.setup,
                "verdicts": [
                    {"measure": name, "statement": statement, "evidence": evidence}
                    for name, lines in section.verdicts
                    for statement, evidence in lines
                ],
                "warnings": section.warnings,
                "claims": [to_plain(finding) for finding in section.findings],
                "comparison": dataclasses.asdict(section.comparison),
                "environment": dict(section.environment.groups[0][1]) if section.environment else {},
                "command": section.command,
                "config": section.config,
            }
            for section in found
        ]
    }


# ---------------------------------------------------------------- words


def _question(comparison: Comparison) -> str:
    grid = comparison.sensitivity
    names = comparison.variants
    if grid is not None and grid.is_fair:
        names = [candidate.norm for candidate in grid.candidates if candidate.is_chosen]
    if len(names) == 1:
        return f"How good is {names[0]}?"
    each = ""
    if grid is not None and grid.is_fair:
        each = (
            f", each at the {' and '.join(key.split('.')[-1] for key in grid.keys)} that the validation set chooses"
        )
    if len(names) > MAX_NAMED:
        return f"Which of {len(names)} variants is better{each}?"
    return f"Which is better: {', '.join(names[:-1])} or {names[-1]}{each}?"


def _setup(runs: Sequence[LoadedRun]) -> str:
    """Model, data, optimizer, length and seeds, of what all variants share."""
    compared = {key for run in runs for key in settings_of(run)}
    flat = flatten(runs[0].config)

    def shared(*keys: str) -> Any:
        """The first of these settings that is given; None where variants differ in it."""
        for key in keys:
            is_compared = any(key == part or key.startswith(f"{part}.") for part in compared)
            if is_compared or flat.get(key) is not None:
                return None if is_compared else flat[key]
        return None

    sizes = {
        "training examples": shared("data.train_size", "data.samples"),
        "hidden": shared("model.hidden"),
        "activation": shared("model.activation"),
        "lr": shared("training.optimizer.lr"),
        "batch size": shared("training.batch_size"),
        "epochs": shared("training.epochs"),
        "steps": shared("training.steps"),
        "validation": shared("data.validation"),
    }
    trained = [name for name in (shared("model.name"), shared("data.name")) if name is not None]
    parts = [" on ".join(map(str, trained)), str(shared("training.optimizer.name") or "")]
    parts += [f"{name} {_short(value)}" for name, value in sizes.items() if value is not None]
    seeds = sorted({run.seed for run in runs})
    parts.append(f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'} ({_ranges(seeds)})")
    return "; ".join(filter(None, parts))


def _ranges(seeds: Sequence[int]) -> str:
    """`0-3, 7`"""
    ranges: list[list[int]] = []
    for seed in seeds:
        if ranges and seed == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], seed]
        else:
            ranges.append([seed])
    texts = ["-".join(map(str, ends)) for ends in ranges]
    return ", ".join(texts if len(texts) <= MAX_NAMED else [*texts[:MAX_NAMED], "…"])


def _short(value: Any) -> str:
    text = strict_yaml.dump(value).removesuffix("...\n").strip() if not isinstance(value, str) else value
    return text if len(text) <= MAX_SETTING_LENGTH else f"{text[:MAX_SETTING_LENGTH]}…"


def _warnings(found: ExperimentRuns, comparison: Comparison) -> list[str]:
    """What a reader must know before believing the numbers."""
    runs = found.runs
    warnings = []
    by_status: dict[str, list[LoadedRun]] = {}
    for run in runs:
        by_status.setdefault(run.status, []).append(run)
    meanings = {
        "diverged": "they are in no mean, and count as worse than any value",
        "failed": "they are left out",
        "unfinished": "they are left out until the same command has finished them",
    }
    for status, meaning in meanings.items():
        if status in by_status:
            warnings.append(f"{_counted(by_status[status], runs)} {status}: {meaning}")
    seeds = {variant: {run.seed for run in runs if run.variant == variant} for variant in _labels(runs)}
    everywhere = set.union(*seeds.values())
    lacking = [
        f"{variant} lacks {_ranges(sorted(everywhere - own))}" for variant, own in seeds.items() if own != everywhere
    ]
    if lacking:
        warnings.append(f"variants have different seeds, of which only shared ones are compared: {_some(lacking)}")
    twice = _duplicates(runs)
    if twice:
        warnings.append(f"several runs of the same variant and seed, of which the first counts: {_some(twice)}")
    if len(everywhere) == 1:
        warnings.append("one seed alone: no interval and no verdict")
    if validates_on_test(runs):
        warnings.append(
            "validation is on the test set: the best evaluation is chosen on it, so its metrics are optimistic"
        )
    if any((run.result or {}).get("synthetic_data") for run in runs):
        warnings.append("the images are made up (--smoke or data.synthetic): the numbers mean nothing")
    environments = [flatten(run.environment) for run in runs]
    for key in sorted({key for environment in environments for key in environment} - _PER_RUN):
        values = list(dict.fromkeys(str(environment[key]) for environment in environments if key in environment))
        if len(values) > 1:
            warnings.append(
                f"runs were made with different {key}: {_some(values)}; small differences may come from it"
            )
    if comparison.sensitivity:
        warnings += [note for note in comparison.sensitivity.notes if "end of the grid" in note or "no fair" in note]
    if found.apart:
        warnings.append(f"{found.folder} holds runs with other settings as well; this is about {found.title}")
    return warnings


_PER_RUN = {"started"}  # of environment.json


def _labels(runs: Sequence[LoadedRun]) -> list[str]:
    return list(dict.fromkeys(run.variant for run in runs))


def _counted(chosen: Sequence[LoadedRun], runs: Sequence[LoadedRun]) -> str:
    """`2 of 12 runs (none seed 0, none seed 3)`"""
    return f"{len(chosen)} of {len(runs)} runs ({_some([f'{run.variant} seed {run.seed}' for run in chosen])})"


def _duplicates(runs: Sequence[LoadedRun]) -> list[str]:
    names = [f"{run.variant} seed {run.seed}" for run in runs]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MAX_NAMED} more" if len(texts) > MAX_NAMED else ""
    return ", ".join(texts[:MAX_NAMED]) + more


# ---------------------------------------------------------------- tables


def _variants(title: str, measures: Sequence[MeasureComparison]) -> Table:
    columns = ["variant", "n", "mean ± sd", "95 % interval", "median", "min to max", "without"]
    groups = []
    for measure in measures:
        rows = []
        for result in measure.variants:
            cells = ["–"] * 4 if result.summary is None else _summary_cells(result.summary)
            rows.append([result.variant, str(len(result.values)), *cells, _missing(result)])
        groups.append((measure.title, rows))
    return Table(title, columns, groups, set(columns) - {"variant", "without"}).without_empty("without")


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


def _pairs(title: str, measures: Sequence[MeasureComparison]) -> Table:
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
    return Table(title, columns, groups, set(columns) - {"difference", "better"}, [note]).without_empty("Holm p")


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


def _sensitivity(grid: Sensitivity) -> Table:
    columns = ["norm", *grid.keys, "n", "mean ± sd", "95 % interval", "without", ""]
    rows = []
    for candidate in grid.candidates:
        result = candidate.result
        cells = ["–"] * 2 if result.summary is None else _summary_cells(result.summary)[:2]
        values = [_short(value) for value in candidate.setting.values()]
        chosen = "chosen" if candidate.is_chosen else ""
        rows.append([candidate.norm, *values, str(len(result.values)), *cells, _missing(result), chosen])
    numbers = set(columns) - {"norm", "without", ""}
    return Table("Hyperparameters", columns, [(grid.measure, rows)], numbers, grid.notes).without_empty("without")


def _speed_notes(speed: Convergence, runs: Sequence[LoadedRun]) -> list[str]:
    why = "as asked" if speed.threshold_is_given else "the best value that every run reached that did not diverge"
    notes = [f"threshold of {speed.metric}: {speed.threshold:.4g}, {why}; counted to the first evaluation there"]
    if _is_trivial(speed, runs):
        notes = [f"every run is at {speed.metric} {speed.threshold:.4g}, {why}, from its first evaluation on"]
    if speed.area:
        notes.append(f"{speed.area.name} is the area under the curve over its length, by the trapezoidal rule")
    return notes


def _is_trivial(speed: Convergence, runs: Sequence[LoadedRun]) -> bool:
    """Whether all runs are at the threshold at once, so that there is no time to tell."""
    first = {run.metrics["epoch"][0] for run in runs if run.metrics["epoch"]}
    results = speed.epochs.variants
    return all(not result.missing and set(result.values.values()) <= first for result in results)


def _differences(runs: Sequence[LoadedRun]) -> Table:
    """The settings that variants differ in, as the config gives them, or as resolved where it does not."""
    keys = list(dict.fromkeys(key for run in runs for key in settings_of(run)))
    first = {run.variant: run for run in reversed(runs)}
    rows = []
    for variant in _labels(runs):
        settings, config = settings_of(first[variant]), first[variant].config
        cells = [setting_label("", settings[key]) if key in settings else _resolved(config, key) for key in keys]
        rows.append([variant, *(_short(cell.removeprefix("=")) for cell in cells)])
    return Table("Settings that differ", ["variant", *keys], [("", rows)] if keys else [], set(), is_detail=True)


def _resolved(config: dict[str, Any], key: str) -> str:
    """A setting that the variant leaves as it is; of a norm the kind."""
    value = lookup(config, key)
    return setting_label("", value.get("kind") if isinstance(value, dict) else value)


def lookup(config: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; None if there is none."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _environment(runs: Sequence[LoadedRun]) -> Table | None:
    environments = [flatten(run.environment) for run in runs]
    rows = []
    for key in dict.fromkeys(key for environment in environments for key in environment):
        values = list(dict.fromkeys(str(environment[key]) for environment in environments if key in environment))
        if key == "started":
            values = list(dict.fromkeys([min(values), max(values)]))
            rows.append([key, " to ".join(values)])
        else:
            rows.append([key.removeprefix("versions."), _some(values)])
    return Table("Environment", ["", "value"], [("", rows)], set(), is_detail=True) if rows else None


def experiment_config(runs: Sequence[LoadedRun]) -> dict[str, Any]:
    """The config of the whole experiment, put together from its runs; training it gives the same run folders."""
    compared = dict.fromkeys(key for run in runs for key in settings_of(run))
    # model.norm holds all of model.norm.eps
    keys = [key for key in compared if not any(key.startswith(f"{other}.") for other in compared)]
    first = {run.variant: run for run in sorted(runs, key=lambda run: run.variant_index, reverse=True)}
    config = {key: value for key, value in runs[0].config.items() if key != "variant"}
    config["seeds"] = sorted({run.seed for run in runs})
    if isinstance(config.get("data"), dict):
        config["data"] = {key: value for key, value in config["data"].items() if key != "dir"}
    if keys:
        config["compare"] = [
            {"label": variant} | {key: lookup(run.config, key) for key in keys}
            for variant, run in reversed(first.items())
        ]
    return config
