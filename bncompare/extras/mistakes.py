"""Which test images one variant gets wrong and another right, with the same seed.

McNemar's exact test (1947) is of two trained networks on the same images: of those that just one of them gets right,
either should have half if both are as accurate. It says nothing about another seed; the paired t-test of the
accuracies, seed by seed, does, and is about the way to train. Where seeds were added after others had been looked at,
that is the t confidence sequence.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bncompare.comparison import Paired, compare_paired, sign_test_p, t_sequence
from bncompare.config import dataset_of, did_you_mean
from bncompare.errors import UserError
from bncompare.report import Table
from bncompare.runs import ExperimentRuns, LoadedRun, Predictions, baseline, read_predictions

ALPHA = 0.05
MAX_NAME = 14  # characters of a variant that fit below an image
FEW_SEEDS = 6  # with fewer a verdict is preliminary


@dataclass(frozen=True)
class Seed:
    """Two trained networks on the same images."""

    seed: int
    both_right: int
    only_a: list[int]
    """the images that A alone gets right, by their place in the test set"""
    only_b: list[int]
    both_wrong: int

    @property
    def p(self) -> float:
        """McNemar's exact test, two-sided."""
        return sign_test_p(len(self.only_a), len(self.only_b))

    @property
    def num_images(self) -> int:
        return self.both_right + len(self.only_a) + len(self.only_b) + self.both_wrong

    @property
    def accuracies(self) -> tuple[float, float]:
        """Of A and of B."""
        right = self.both_right + len(self.only_a), self.both_right + len(self.only_b)
        return right[0] / self.num_images, right[1] / self.num_images


@dataclass(frozen=True)
class Disputed:
    """An image that one variant alone gets right, with some of the seeds."""

    image: int
    """its place in the test set"""
    true: int
    """its class"""
    a: list[int]
    """what A says most often with those seeds; several classes that it says as often"""
    b: list[int]
    num_seeds: int
    """with how many seeds"""


@dataclass(frozen=True)
class Mistakes:
    """Two variants of an experiment on the test set."""

    experiment: ExperimentRuns
    a: str
    b: str
    things: str
    """what the test set is of: images, or examples"""
    seeds: list[Seed]
    class_names: list[str]
    confusion: tuple[np.ndarray, np.ndarray]
    """of A and of B, all seeds together: (true class, what it says) → images"""
    accuracy: Paired
    """B − A, seed by seed; its interval holds at every look where there were several"""
    anytime_p: float | None
    """anytime-valid, of equal accuracies on average, where there were several looks"""
    only_a: list[Disputed]
    """the images that A alone gets right, those of most seeds first"""
    only_b: list[Disputed]
    classes: list[int]
    """of the images, in the order of the test set"""

    @property
    def run(self) -> LoadedRun:
        """One of the runs."""
        return self.experiment.runs[0]

    @property
    def short_names(self) -> tuple[str, str]:
        """The variants as they stand below an image and above a column: A and B where the names are long."""
        return ("A", "B") if max(len(self.a), len(self.b)) > MAX_NAME else (self.a, self.b)

    @property
    def key(self) -> str:
        """What A and B are, where they stand for long names; else nothing."""
        return "" if self.short_names == (self.a, self.b) else f"A is {self.a}, B is {self.b}."

    def said(self, classes: Sequence[int]) -> str:
        """What a variant says of an image: `3`, `3 or 5`."""
        return " or ".join(self.class_names[one] for one in classes)

    @property
    def statements(self) -> list[str]:
        """What the tests say, and of what."""
        return [self._about_networks(), self._about_training()]

    def _about_networks(self) -> str:
        found = {True: 0, False: 0}
        for seed in self.seeds:
            if seed.p < ALPHA:
                found[len(seed.only_b) > len(seed.only_a)] += 1
        words = [
            f"{name} makes fewer mistakes with {found[of_b]}" for of_b, name in ((True, self.b), (False, self.a))
        ]
        more = [text for text, of_b in zip(words, (True, False), strict=True) if found[of_b]]
        said = " and ".join(more) or "the two cannot be told apart with any"
        return (
            f"McNemar's test, of each pair of trained networks: {said} of {_seeds(len(self.seeds))} (p < {ALPHA:g}). "
            f"It is about these networks on these {self.things}."
        )

    def _about_training(self) -> str:
        gap, p = self.accuracy.difference, self.anytime_p or self.accuracy.t_test_p
        is_b = gap.mean >= 0
        low, high = (gap.low, gap.high) if is_b else (-gap.high, -gap.low)
        better, worse = (self.b, self.a) if is_b else (self.a, self.b)
        said = f"{better} is {points(abs(gap.mean))} points more accurate than {worse} on average"
        if gap.mean == 0:
            said = f"{better} and {worse} are equally accurate on average"
        if gap.n == 1:
            return f"Paired t-test: {said}; one seed says nothing about another: train more."
        if not gap.has_spread:
            return f"Paired t-test: {said}, with every seed alike, which leaves no spread to judge by."
        sure = "another seed would most likely say so too" if p < ALPHA else "no clear difference"
        if self.anytime_p is not None:
            interval = f"{points(low)} to {points(high)}" if gap.has_interval else "not yet"
            return (
                f"t confidence sequence, of the way to train: {said} (95 % CI, valid at every look: {interval}, "
                f"anytime-valid p = {p:.2g}, {_seeds(gap.n)}): {sure}."
            )
        if gap.n < FEW_SEEDS:
            sure = f"{'preliminary' if p < ALPHA else sure}, with so few seeds"
        return (
            f"Paired t-test, of the way to train: {said} (95 % CI {points(low)} to {points(high)}, p = {p:.2g}, "
            f"{_seeds(gap.n)}): {sure}."
        )


def points(fraction: float) -> str:
    """A difference of accuracies in percentage points."""
    return f"{100 * fraction:.1f}".replace("-", "−")


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def find_mistakes(experiment: ExperimentRuns, versus: str | None) -> tuple[Mistakes, list[str]]:
    """What two variants get wrong, and a line for each run that has no predictions.

    `versus` names both, with a comma between, or one beside the baseline; by default they are the baseline and the
    best by validation. Raises UserError if there are no such variants, or no seed for which both have predictions.
    """
    if not any("train/accuracy" in run.metrics for run in experiment.runs):
        raise UserError(f"{experiment.place}: is regression, where an answer is not right or wrong")
    a, b = choose_pair(experiment.runs, versus)
    warnings: list[str] = []
    found: dict[str, dict[int, Predictions]] = {a: {}, b: {}}
    for run in experiment.runs:
        if run.variant in found and run.result is not None and run.result.status.has_value:
            try:
                found[run.variant][run.seed] = read_predictions(run.path, run.result)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                warnings.append(f"{run.path}: left out: {why}; bncompare train writes predictions.csv again")
    shared = sorted(found[a].keys() & found[b].keys())
    first = found[a][shared[0]].classes if shared else []
    for seed in shared:
        if not first == found[a][seed].classes == found[b][seed].classes:
            warnings.append(f"{experiment.place}: seed {seed}: left out: tested on other images")
    pairs = {s: (found[a][s], found[b][s]) for s in shared if first == found[a][s].classes == found[b][s].classes}
    if not pairs:
        raise UserError(f"{experiment.place}: {a} and {b} have predictions for no seed in common", *warnings)
    return _compared(experiment, a, b, pairs), warnings


def _compared(
    experiment: ExperimentRuns, a: str, b: str, pairs: dict[int, tuple[Predictions, Predictions]]
) -> Mistakes:
    classes = next(iter(pairs.values()))[0].classes
    seeds = [_seed(seed, *of) for seed, of in pairs.items()]
    accuracies = [seed.accuracies for seed in seeds]
    paired = compare_paired([y for _, y in accuracies], [x for x, _ in accuracies], higher_is_better=True)
    looks = t_sequence([y - x for x, y in accuracies]) if experiment.is_sequential else None
    if looks and paired.difference.has_spread:
        paired = replace(paired, difference=replace(paired.difference, low=looks.low, high=looks.high))
    size = 1 + max(max(max(one.classes), max(one.predicted)) for both in pairs.values() for one in both)
    confusion = tuple(_confusion([both[i] for both in pairs.values()], size) for i in (0, 1))
    data = dataset_of(experiment.runs[0].config)
    things = "examples" if data and len(data.input_shape) == 1 else "images"
    names = data.class_names if data and size <= data.num_outputs else list(map(str, range(size)))
    size = len(names)
    only_a, only_b = (
        _disputed({seed.seed: images for seed, images in zip(seeds, of, strict=True)}, pairs)
        for of in ([seed.only_a for seed in seeds], [seed.only_b for seed in seeds])
    )
    confusions, anytime_p = (confusion[0], confusion[1]), looks.p if looks else None
    return Mistakes(experiment, a, b, things, seeds, names, confusions, paired, anytime_p, only_a, only_b, classes)


def _seed(seed: int, a: Predictions, b: Predictions) -> Seed:
    true = np.array(a.classes)
    right_a, right_b = true == np.array(a.predicted), true == np.array(b.predicted)
    only_a, only_b = np.flatnonzero(right_a & ~right_b).tolist(), np.flatnonzero(right_b & ~right_a).tolist()
    return Seed(seed, int((right_a & right_b).sum()), only_a, only_b, int((~right_a & ~right_b).sum()))


def _confusion(predictions: Sequence[Predictions], size: int) -> np.ndarray:
    counts = np.zeros((size, size), dtype=np.int64)
    for one in predictions:
        np.add.at(counts, (one.classes, one.predicted), 1)
    return counts


def _disputed(by_seed: dict[int, list[int]], pairs: dict[int, tuple[Predictions, Predictions]]) -> list[Disputed]:
    """The images of some seeds, those of most seeds first, then in the order of the test set."""
    seeds_of: dict[int, list[int]] = {}
    for seed, images in by_seed.items():
        for image in images:
            seeds_of.setdefault(image, []).append(seed)
    found = []
    for image, seeds in seeds_of.items():
        a, b = (_most_often([pairs[s][i].predicted[image] for s in seeds]) for i in (0, 1))
        found.append(Disputed(image, pairs[seeds[0]][0].classes[image], a, b, len(seeds)))
    return sorted(found, key=lambda disputed: (-disputed.num_seeds, disputed.image))


def _most_often(classes: Sequence[int]) -> list[int]:
    counts = Counter(classes)
    return sorted(one for one, count in counts.items() if count == max(counts.values()))


# ---------------------------------------------------------------- which two


def choose_pair(runs: Sequence[LoadedRun], versus: str | None) -> tuple[str, str]:
    """The variants A and B. Raises UserError."""
    variants = list(dict.fromkeys(run.variant for run in runs))
    if len(variants) < 2:
        raise UserError(f"{runs[0].path.parent}: holds one variant, {variants[0]}; it takes two to compare")
    base = baseline(runs, variants)
    if versus is None:
        return base, max((name for name in variants if name != base), key=lambda name: _score(runs, name))
    names = {run.config["variant"]["label"]: run.variant for run in reversed(runs)} | {
        name: name for name in variants
    }
    names |= {name.lower(): variant for name, variant in names.items() if name.lower() not in names}

    def named(text: str) -> str | None:
        return names.get(text.strip(), names.get(text.strip().lower()))

    alone = named(versus)
    if alone is not None and alone != base:
        return base, alone
    parts = versus.split(",")
    for i in range(1, len(parts)):  # a label may hold a comma
        a, b = named(",".join(parts[:i])), named(",".join(parts[i:]))
        if a is not None and b is not None and a != b:
            return a, b
    unknown = next((part for part in parts if named(part) is None), "")
    hint = did_you_mean(unknown.strip(), names) if unknown else ""
    raise UserError(f"--versus {versus}: must be two variants, A,B; valid: {', '.join(variants)}{hint}")


def _score(runs: Sequence[LoadedRun], variant: str) -> float:
    """The mean accuracy by which the best is chosen: of validation, where there is one."""
    best = [(run.best("val/accuracy"), run.best("test/accuracy")) for run in runs if run.variant == variant]
    values = [value for value in (val if val is not None else test for val, test in best) if value is not None]
    return sum(values) / len(values) if values else -1.0


# ---------------------------------------------------------------- for people and programs


def mistakes_table(mistakes: Mistakes) -> Table:
    """A row for each seed."""
    a, b = mistakes.short_names
    columns = ["seed", "both right", f"only {a} right", f"only {b} right", "both wrong", "McNemar's p"]
    rows = []
    for seed in mistakes.seeds:
        counts = [seed.seed, seed.both_right, len(seed.only_a), len(seed.only_b), seed.both_wrong]
        rows.append([*map(str, counts), f"{seed.p:.2g}"])
    title = f"{mistakes.experiment.title}: {mistakes.things} of the test set"
    return Table(columns, [("", rows)], frozenset(columns), title, [mistakes.key] if mistakes.key else [])


def mistakes_document(mistakes: Mistakes) -> dict[str, Any]:
    """For `--json`, by labels."""
    gap, labels = mistakes.accuracy.difference, {run.variant: run.label for run in mistakes.experiment.runs}
    return {
        "experiment": mistakes.experiment.title,
        "a": labels[mistakes.a],
        "b": labels[mistakes.b],
        "seeds": [
            {
                "seed": seed.seed,
                "both_right": seed.both_right,
                "only_a_right": seed.only_a,
                "only_b_right": seed.only_b,
                "both_wrong": seed.both_wrong,
                "accuracy": list(seed.accuracies),
                "mcnemar_p": seed.p,
            }
            for seed in mistakes.seeds
        ],
        "accuracy_b_minus_a": {
            **{name: getattr(gap, name) for name in ("mean", "low", "high", "n")},
            "t_test_p": mistakes.accuracy.t_test_p if mistakes.anytime_p is None else None,
            "anytime_p": mistakes.anytime_p,
        },
        "classes": mistakes.class_names,
        "confusion": {"a": mistakes.confusion[0].tolist(), "b": mistakes.confusion[1].tolist()},
    }  # fmt: skip
