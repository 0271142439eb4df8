"""What a report says about each experiment: verdicts, claims, tables, warnings; the renderers only lay it out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bncompare.comparison import (
    Ask,
    Comparison,
    Finding,
    claims_of,
    compare_experiment,
    evidence,
    judge,
    level,
    to_plain,
    verdict_lines,
)
from bncompare.config import Claim, dump_yaml
from bncompare.errors import UserError
from bncompare.options import option_name
from bncompare.report.again import experiment_config
from bncompare.report.chapter_tables import (
    conditions_table,
    differences_table,
    environment_of,
    finals_table,
    is_trivial,
    pairs_table,
    sensitivity_table,
    speed_notes,
    tuning_table,
    variants_table,
)
from bncompare.report.table import Table
from bncompare.report.words import by_norm, choice_of, edges_of, question_of, setup_of, tuned, warnings_of
from bncompare.runs import (
    ExperimentRuns,
    LoadedRun,
    against,
    experiments,
    newest_first,
)


@dataclass(frozen=True)
class Chapter:
    """One experiment."""

    title: str
    question: str
    setup: str
    verdicts: list[tuple[str, list[tuple[str, str]]]]
    """(measure, its (statement, evidence)s)"""
    notes: list[str]
    """what was chosen or added when the runs could have been seen"""
    warnings: list[str]
    findings: list[Finding]
    tables: list[Table]
    environment: dict[str, str]
    command: str
    """that trains it again, from `config`"""
    config: str
    """the experiment as one YAML file"""
    comparison: Comparison
    experiment: ExperimentRuns
    ask: Ask

    @property
    def headline(self) -> str:
        """In one line, what became of the claims, and the first difference that can be told by the first measure."""
        counts = Counter(finding.outcome for finding in self.findings)
        total = len(self.findings)
        parts = [f"{count} of {total} claims {verdict}" for verdict, count in counts.items()]
        pairs = by_norm(self.comparison.measures[0].pairs, self.comparison.sensitivity)
        told = [pair.statement for pair in pairs if pair.is_told]
        return "; ".join([*parts, told[0] if told else self.verdicts[0][1][0][0]])


def chapters(
    runs: Sequence[LoadedRun],
    ask: Ask | None = None,
    *,
    everything: bool = False,
    beside: tuple[str, Sequence[LoadedRun]] | None = None,
    stated: Sequence[Claim] = (),
) -> list[Chapter]:
    """A chapter for each experiment among the runs, the newest of those that one folder holds with other settings.

    `everything` gives each of these a chapter. `beside` is another folder and its runs, against which each
    experiment is set, seed by seed. `stated` are the claims of the config as it is now; those trained last are held
    against them beside the claims that they hold. Raises UserError where `ask` asks for what is not there, and where
    the other folder has no such experiment.
    """
    found = []
    for group in newest_first(experiments(runs)):
        for experiment in group if everything else group[:1]:
            is_newest = experiment is group[0]
            chapter = _chapter(experiment, ask or Ask(), beside, stated if is_newest else ())
            others = [other for other in group if other is not experiment]
            lines = [_in_a_line(other) for other in others]
            if everything and others:
                lines = [f"{experiment.folder} holds runs with other settings as well; this is about {chapter.title}"]
            found.append(replace(chapter, warnings=[*chapter.warnings, *lines]))
    titles = Counter(chapter.title for chapter in found)
    return [
        replace(chapter, title=f"{chapter.title} in {chapter.experiment.folder}")
        if titles[chapter.title] > 1
        else chapter
        for chapter in found
    ]


def _in_a_line(other: ExperimentRuns) -> str:
    """What is left out: the same experiment, trained before with other settings."""
    headline = _chapter(other, Ask(), None).headline
    return f"also in {other.folder}, trained earlier: {other.title}, {len(other.runs)} runs: {headline} (--all)"


def _chapter(
    of: ExperimentRuns,
    ask: Ask,
    beside: tuple[str, Sequence[LoadedRun]] | None,
    stated: Sequence[Claim] = (),
) -> Chapter:
    found, title, question, differences = of, of.title, "", list[str]()
    if beside is not None:
        name, theirs = beside
        found, differences = against(of, experiments(theirs), name)
        title = f"{of.title} against {name}"
        question = f"Do the runs in {of.folder} and in {name} differ?"
    try:
        comparison = compare_experiment(found, ask)
    except UserError as error:
        raise UserError(*(f"{of.place}: {problem}" for problem in error.problems)) from None
    judging = replace(of, runs=evidence(of.runs))
    return Chapter(
        title,
        question or question_of(comparison),
        setup_of(of.runs, comparison),
        _verdicts(comparison),
        [*_chosen(ask, of, comparison), *judging.notes],
        [*differences, *warnings_of(found, comparison)],
        [judge(claim, of.runs) for claim in claims_of(of.runs, stated)],
        [table for table in (*_tables(comparison, found.runs), differences_table(of.runs)) if table.groups],
        environment_of(found.runs),
        f"bncompare train {found.name}.yaml",
        dump_yaml(experiment_config(of.runs)),
        comparison,
        found,
        ask,
    )


def _tables(comparison: Comparison, runs: Sequence[LoadedRun]) -> list[Table]:
    """All of a comparison, in the order of the questions that a reader has."""
    speed = comparison.convergence
    extra = [speed.epochs, speed.steps, speed.seconds] if speed and not is_trivial(speed, runs) else []
    extra += [measure for measure in (speed and speed.area, comparison.stability) if measure]
    grid = comparison.sensitivity
    tables = [conditions_table(grid, comparison.measures[0])] if grid and grid.conditions else []
    tables += [variants_table("Variants", comparison.measures), pairs_table("Pairs of variants", comparison.measures)]
    tables.append(finals_table(comparison.finals))
    if grid:
        tables.append(sensitivity_table(grid))
    if comparison.tuning:
        tables.append(tuning_table(comparison.tuning))
    notes = speed_notes(speed, runs) if speed else []
    return [
        *tables,
        replace(variants_table("Speed and stability", extra), notes=notes),
        replace(pairs_table("Pairs of variants: speed and stability", extra), is_detail=True),
    ]


def _chosen(ask: Ask, found: ExperimentRuns, comparison: Comparison) -> list[str]:
    """What was asked for, and so may have been chosen for what comes out."""
    words, speed = [], comparison.convergence
    if ask.metrics is not None:
        words.append(f"metric {', '.join(dict.fromkeys(found.metric(name).words for name in ask.metrics))}")
    if ask.at is not None:
        words.append(f"{ask.at} evaluation")
    if ask.versus is not None:
        names = {run.label: run.variant for run in found.runs}
        words.append(f"baseline {names.get(ask.versus, ask.versus)}")
    if ask.threshold is not None and speed is not None:
        words.append(f"threshold of {speed.metric.words} {level(speed.metric, speed.threshold)}")
    if ask.within is not None:
        words.append(f"norms within {option_name(ask.within)}")
    return [f"chosen for this comparison: {'; '.join(words)}"] if words else []


def _verdicts(comparison: Comparison) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of each measure, or of each at each condition; beside those of the first, where the grid was too narrow."""
    grid = comparison.sensitivity
    conditions = {"": grid.candidates} if grid else {}
    if grid and grid.conditions:
        conditions = {f", {condition}": candidates for condition, candidates in grid.conditions.items()}
    found = []
    for measure in comparison.measures:
        for condition, candidates in (conditions or {"": []}).items():
            pairs = measure.pairs
            if condition:
                variants = {candidate.variant for candidate in candidates}
                pairs = [pair for pair in pairs if pair.a in variants]
            lines = verdict_lines(replace(measure, pairs=by_norm(pairs, grid)))
            if measure is comparison.measures[0]:
                about = (*choice_of(grid), *edges_of(candidates), *tuned(comparison.tuning))
                lines += [(line, "") for line in about]
            found.append((measure.title + condition, lines))
    return found


def document(found: Sequence[Chapter]) -> dict[str, Any]:
    """The whole report for JSON."""
    return {
        "experiments": [
            {
                "name": chapter.experiment.name,
                "title": chapter.title,
                "folder": str(chapter.experiment.folder),
                "question": chapter.question,
                "setup": chapter.setup,
                "verdicts": [
                    {"measure": name, "statement": statement, "evidence": evidence}
                    for name, lines in chapter.verdicts
                    for statement, evidence in lines
                ],
                "chosen": chapter.ask.chosen,
                "notes": chapter.notes,
                "warnings": chapter.warnings,
                "claims": [to_plain(finding) for finding in chapter.findings],
                "comparison": to_plain(chapter.comparison),
                "environment": chapter.environment,
                "command": chapter.command,
                "config": chapter.config,
            }
            for chapter in found
        ]
    }
