"""The sentences of a report: question, set-up, warnings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bncompare.config import dataset_of, flatten, proper_name, seed_ranges, setting_words
from bncompare.options import option_name
from bncompare.report.table import as_yaml
from bncompare.runs import ExperimentRuns, LoadedRun, compared_keys, validates_on_test

if TYPE_CHECKING:
    from bncompare.comparison import Candidate, Comparison, Pair, Sensitivity, Tuning

MAX_SETTING_LENGTH = 120
MAX_NAMED = 6  # variants or seeds in a warning or question; more are counted

HOW_TO_READ = (
    "Variants are compared seed by seed: runs that share a seed share the data split, the batch order and the "
    "initial weights. A variant is better where the paired t-test, corrected for the number of pairs (Holm), "
    "gives p < 0.05 (for one pair that is where the 95 % CI of the difference leaves out 0), and the sign-flip "
    "test, which assumes no normal distribution, does not contradict it by p > 0.10. “No clear difference” does "
    "not mean that there is none. A verdict is preliminary with fewer than six seeds, as with n the sign-flip p "
    "cannot be below 2/2ⁿ, and among several pairs where that p, corrected as well, is above 0.05. Intervals are "
    "about other seeds, not about other data sets; where seeds were added after a look at others, they hold at "
    "every look. Runs that diverged are in no mean: they count as worse than any value, and a sign test over the "
    "seeds decides. The correction counts the pairs that so many seeds could decide (Tarone); a sign test of too "
    "few has no corrected p. The effect size is the mean of the differences over their standard deviation; "
    "P(better) is the share of seeds on which the first is better, ties as half."
)


def question_of(comparison: "Comparison") -> str:
    """What the experiment asks."""
    grid = comparison.sensitivity
    names = comparison.variants
    if grid is not None and grid.is_fair:
        names = list(dict.fromkeys(candidate.norm for candidate in grid.candidates if candidate.is_chosen))
    if len(names) == 1:
        return f"How good is {names[0]}?"
    each = ""
    if grid is not None and grid.is_fair:
        chosen = " and ".join(option_name(key) for key in grid.keys if key != grid.within)
        each = f", each at the {chosen} that the validation set chooses" if chosen else ""
    if len(names) > MAX_NAMED:
        return f"Which of {len(names)} variants is better{each}?"
    return f"Which is better: {', '.join(names[:-1])} or {names[-1]}{each}?"


def setup_of(runs: Sequence[LoadedRun], comparison: "Comparison") -> str:
    """Model, data, optimizer, length and seeds, of what all variants share."""
    compared = compared_keys(runs)
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
    data = dataset_of(runs[0].config) if shared("data.path", "data.name") is not None else None
    trained = filter(None, (proper_name(shared("model.name") or ""), data.title if data else ""))
    parts = [" on ".join(trained), proper_name(shared("training.optimizer.name") or "")]
    parts += [f"{name} {short(value)}" for name, value in sizes.items() if value is not None]
    if (tuning := comparison.tuning) is not None:
        parts.append(f"{_counted_seeds(tuning.seeds)} to choose, {_counted_seeds(tuning.judge_seeds)} to judge")
    else:
        parts.append(_counted_seeds(sorted({run.seed for run in runs})))
    return "; ".join(filter(None, parts))


def _counted_seeds(seeds: Sequence[int]) -> str:
    """`5 seeds (0-3, 7)`"""
    which = f" ({_ranges(seeds)})" if seeds else ""
    return f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}{which}"


def judged_together(number: int) -> str:
    """How many claims were judged, of which each may be wrong by chance."""
    if number < 2:
        return "1 claim judged" if number else "no claims to judge"
    return f"{number} claims judged together, uncorrected for their number"


def _ranges(seeds: Sequence[int]) -> str:
    """`0-3, 7`"""
    texts = seed_ranges(seeds)
    return ", ".join(texts if len(texts) <= MAX_NAMED else [*texts[:MAX_NAMED], "…"])


def short(value: Any) -> str:
    """A setting as text, cut where it is long."""
    text = value if isinstance(value, str) else f"{value:.10g}" if isinstance(value, float) else as_yaml(value)
    return text if len(text) <= MAX_SETTING_LENGTH else f"{text[:MAX_SETTING_LENGTH]}…"


def warnings_of(found: ExperimentRuns, comparison: "Comparison") -> list[str]:
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
    judging, tuning = runs, comparison.tuning
    if tuning is not None and tuning.judge_seeds:
        judging = [run for run in runs if run.seed in tuning.judge_seeds and run.variant in comparison.variants]
    seeds = {variant: {run.seed for run in judging if run.variant == variant} for variant in labels_of(judging)}
    everywhere = set.union(*seeds.values())
    lacking = [
        f"{variant} lacks {_ranges(sorted(everywhere - own))}" for variant, own in seeds.items() if own != everywhere
    ]
    if lacking:
        warnings.append(f"variants have different seeds, of which only shared ones are compared: {some(lacking)}")
    twice = _duplicates(runs)
    if twice:
        warnings.append(f"several runs of the same variant and seed, of which the first counts: {some(twice)}")
    if len(everywhere) == 1:
        warnings.append("one seed alone: no CI and no verdict")
    if len(everywhere) == 2:
        warnings.append("two seeds: a verdict rests on the assumption of normal differences alone")
    if validates_on_test(runs):
        warnings.append(
            "validation is on the test set: the best epoch is chosen on it, so its metrics are optimistic"
        )
    environments = [flatten(run.environment) for run in runs]
    for key in sorted({key for environment in environments for key in environment} - _PER_RUN):
        values = list(dict.fromkeys(str(environment[key]) for environment in environments if key in environment))
        if len(values) > 1:
            warnings.append(
                f"runs were made with different {key}: {some(values)}; small differences may come from it"
            )
    if tuning is not None and not tuning.is_equal:
        warnings.append("norms were not tried equally often: the one with more trials has the better chance")
    if comparison.sensitivity:
        warnings += comparison.sensitivity.warnings
    return warnings


def tuned(tuning: "Tuning | None") -> list[str]:
    """What was spent on the choice, and what less would have bought."""
    return [] if tuning is None else [tuning.budget, tuning.order]


def chosen_names(grid: "Sensitivity | None") -> dict[str, str]:
    """Of a sweep with one chosen setting a norm, what the chosen variants are called without it; else nothing.

    A label that the config gives stays.
    """
    if grid is None or not grid.is_fair or grid.within is not None:
        return {}
    chosen = [candidate for candidate in grid.candidates if candidate.is_chosen]
    return {candidate.variant: candidate.norm for candidate in chosen if candidate.variant.startswith(candidate.norm)}


def by_norm(pairs: "Sequence[Pair]", grid: "Sensitivity | None") -> "list[Pair]":
    """The pairs by these names: the settings, which are said once, are in no sentence."""
    names = chosen_names(grid)
    return [replace(pair, a=names.get(pair.a, pair.a), b=names.get(pair.b, pair.b)) for pair in pairs]


def choice_of(grid: "Sensitivity | None") -> list[str]:
    """`chosen by validation: lr 0.1, batch size 16 (BatchNorm, LayerNorm); lr 0.3, batch size 16 (no norm)`"""
    norms: dict[str, list[str]] = {}
    for candidate in grid.candidates if grid and chosen_names(grid) else ():
        if candidate.is_chosen:
            setting = ", ".join(setting_words(*item) for item in candidate.setting.items())
            norms.setdefault(setting, []).append(candidate.norm)
    settings = [f"{setting} ({', '.join(of)})" for setting, of in norms.items()]
    return [f"chosen by validation: {'; '.join(settings)}"] * bool(settings)


def edges_of(candidates: "Sequence[Candidate]") -> list[str]:
    """A line for each end of the grid that was chosen."""
    chosen: dict[tuple[str, str], list[str]] = {}
    for candidate in candidates:
        for key, end in candidate.edges.items():
            setting = setting_words(key, candidate.setting[key])
            chosen.setdefault((setting, "downwards" if end == "lowest" else "upwards"), []).append(candidate.norm)
    return [
        f"{', '.join(norms)}: chosen at the edge of the grid ({setting}): extend it {where}"
        for (setting, where), norms in chosen.items()
    ]


_PER_RUN = {"started", "ended", "stacked"}  # of environment.json


def labels_of(runs: Sequence[LoadedRun]) -> list[str]:
    """The variants, each once."""
    return list(dict.fromkeys(run.variant for run in runs))


def _counted(chosen: Sequence[LoadedRun], runs: Sequence[LoadedRun]) -> str:
    """`2 of 12 runs (none seed 0, none seed 3)`"""
    return f"{len(chosen)} of {len(runs)} runs ({some([f'{run.variant} seed {run.seed}' for run in chosen])})"


def _duplicates(runs: Sequence[LoadedRun]) -> list[str]:
    counts = Counter(f"{run.variant} seed {run.seed}" for run in runs)
    return [name for name, count in counts.items() if count > 1]


def some(texts: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(texts) - MAX_NAMED} more" if len(texts) > MAX_NAMED else ""
    return ", ".join(texts[:MAX_NAMED]) + more
