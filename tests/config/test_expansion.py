"""From a config to its runs: variants, seeds, overrides, resolution, digests, --smoke."""

import copy
import dataclasses
import functools
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Le, Lt
from fuzz import fuzz, problem_of
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import ROOT
from pydantic import BaseModel, ValidationError

from bncompare.config.checks import check_run
from bncompare.config.claims import Claim
from bncompare.config.expand import Experiment, load_experiment
from bncompare.config.keys import flatten, lookup, selects
from bncompare.config.model import LeNet
from bncompare.config.ranges import seeds_in
from bncompare.config.run import RunConfig
from bncompare.config.schedulers import ReduceOnPlateau
from bncompare.config.seeds import Listed, Until, design_of, parse_seeds
from bncompare.config.yaml import parse_yaml
from bncompare.datasets import MNIST
from bncompare.errors import UserError
from bncompare.options import Section
from bncompare.runs import LoadedRun, experiments

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))

BASE = """\
name: base
data: {name: random_regression, samples: 100, validation: 0.2}
model: {name: mlp, hidden: [8, 8], norm: batch}
training: {epochs: 2, batch_size: 16, optimizer: {name: sgd, lr: 0.1}}
"""
IMAGES = """\
name: images
data: {name: fashion_mnist, validation: 0.1}
model: {name: lenet, norm: batch}
training: {epochs: 1, optimizer: {name: adam, lr: 0.001}}
"""


@dataclasses.dataclass(frozen=True)
class Expand:
    """Loads a config from its text."""

    folder: Path

    def __call__(self, text: str, *overrides: str, **options: Any) -> Experiment:
        path = self.folder / "config.yaml"
        path.write_text(text)
        return load_experiment(path, overrides=overrides, **options)

    def run(self, text: str, *overrides: str) -> RunConfig:
        """The only run of a config."""
        (run,) = self(text, *overrides).runs
        return run

    def warnings(self, experiment: Experiment) -> list[str]:
        """What is doubtful in a config, the folder left out."""
        return [warning.replace(f"{self.folder}/", "") for warning in experiment.warnings]

    def problems(self, text: str, *overrides: str) -> list[str]:
        """What is wrong with a config, the folder left out."""
        with pytest.raises(UserError) as caught:
            self(text, *overrides)
        return [problem.replace(f"{self.folder}/", "") for problem in caught.value.problems]


@pytest.fixture
def expand(tmp_path: Path) -> Expand:
    return Expand(tmp_path)


def names(experiment: Experiment) -> list[tuple[int, str]]:
    return [(run.seed, run.variant.label) for run in experiment.runs]


# ---------------------------------------------------------------- variants


def test_without_compare_there_is_one_variant(expand: Expand) -> None:
    """A config that compares nothing is one run with seed 0, named after its norm."""
    experiment = expand(BASE)
    assert experiment.name == "base"
    assert experiment.warnings == []
    assert names(experiment) == [(0, "batch")]


def test_grid(expand: Expand) -> None:
    """A mapping is all combinations, the last key fastest, labelled by its values; seeds are outermost."""
    experiment = expand(
        BASE
        + "seeds: 2\ncompare:\n  model.norm: [none, {kind: group, groups: 4}]\n  training.optimizer.lr: [0.1, 1]\n"
    )
    labels = ["none lr=0.1", "none lr=1", "group groups=4 lr=0.1", "group groups=4 lr=1"]
    assert names(experiment) == [(seed, label) for seed in (0, 1) for label in labels]
    assert [(run.model.norm.kind, run.training.optimizer.lr) for run in experiment.runs[:4]] == [
        ("none", 0.1),
        ("none", 1.0),
        ("group", 0.1),
        ("group", 1.0),
    ]
    assert [run.variant.index for run in experiment.runs] == [0, 1, 2, 3] * 2
    assert experiment.runs[2].variant.settings == {
        "model.norm": {"kind": "group", "groups": 4},
        "training.optimizer.lr": 0.1,
    }


def test_named_variants(expand: Expand) -> None:
    """A list is variants with labels of their own, in its order, each with the keys it sets over the shared ones."""
    experiment = expand(
        BASE
        + "seeds: [3, 1]\n"
        + "compare:\n"
        + "  - {label: with BN}\n"
        + "  - {label: plain, model.norm: none, training.optimizer.lr: 0.9}\n"
    )
    assert names(experiment) == [(3, "with BN"), (3, "plain"), (1, "with BN"), (1, "plain")]
    shared, plain = experiment.runs[:2]
    assert (shared.model.norm.kind, shared.training.optimizer.lr) == ("batch", 0.1)
    assert (plain.model.norm.kind, plain.training.optimizer.lr) == ("none", 0.9)
    assert plain.variant.settings == {"model.norm": "none", "training.optimizer.lr": 0.9}
    assert [run.model_copy(update={"seeds": [0]}).digest for run in experiment.runs[:2]] == [
        run.model_copy(update={"seeds": [0]}).digest for run in experiment.runs[2:]
    ]


@pytest.mark.parametrize(
    ("compare", "labels"),
    [
        ("model.bias: [auto, always]", ["auto", "always"]),
        ("training.optimizer.nesterov: [false]", ["nesterov=false"]),
        ("training.clip_gradient_norm: [null, 1e-3]", ["clip_gradient_norm=null", "clip_gradient_norm=0.001"]),
        ("model.hidden: [[4], [4, 4]]", ["hidden=[4]", "hidden=[4, 4]"]),
        ("model.norm.eps: [1e-3]", ["eps=0.001"]),
        ("training.batch_size: [full, 8]", ["full", "batch_size=8"]),
    ],
)
def test_grid_labels(expand: Expand, compare: str, labels: list[str]) -> None:
    """A variant of a grid is labelled by its values as they are written in YAML."""
    experiment = expand(BASE + f"compare: {{{compare}}}\n")
    assert [run.variant.label for run in experiment.runs] == labels


def test_variants_do_not_touch_each_other(expand: Expand) -> None:
    """What one variant sets below a shared key is not seen by the next."""
    first, second = expand(
        BASE + "compare:\n- {label: a, model.norm.eps: 0.5}\n- {label: b, model.bias: always}\n"
    ).runs
    assert first.model.norm.model_dump()["eps"] == 0.5
    assert second.model.norm.model_dump()["eps"] == 1e-5
    assert first.model.bias == "auto"


def test_variants_share_what_they_do_not_set(expand: Expand) -> None:
    """A section is read once for all variants that leave it as it is: loading takes a time linear in their number."""
    first, *others = expand(BASE + "compare: {training.epochs: [1, 2], data.noise: [0.5, 1, 2]}\n").runs
    for name in ("model", "diagnostics"):
        assert all(getattr(run, name) is getattr(first, name) for run in others)
    assert len({id(run.data) for run in [first, *others]}) == 3


def test_two_variants_with_the_same_settings(expand: Expand) -> None:
    """Two variants that would train the same thing are an error that names both, however they are written."""
    for compare in (
        "compare: [{label: a}, {label: b}]\n",
        "compare: [{label: a, model.norm: batch}, {label: b, model.norm: {kind: batch, eps: 1e-5}}]\n",
        "compare: [{label: a, training.optimizer.lr: 1}, {label: b, training.optimizer.lr: 1.0}]\n",
        "compare: [{label: a, training.device: cpu}, {label: b, training.device: auto}]\n",
    ):
        (problem,) = expand.problems(BASE + compare)
        assert problem.startswith("config.yaml:5: compare: ")
        assert "'a' and 'b'" in problem
        assert "same" in problem


def test_duplicate_labels(expand: Expand) -> None:
    """Two variants of one label are an error at the line of the second."""
    (problem,) = expand.problems(BASE + "compare:\n- {label: a}\n- {label: b}\n- {label: a, model.norm: none}\n")
    assert problem.startswith("config.yaml:8: compare: ")
    assert "'a'" in problem
    (problem,) = expand.problems(BASE + "compare:\n  model.norm: [none, batch, none]\n")
    assert "'none'" in problem


# ---------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    ("written", "seeds"),
    [("1", [0]), ("3", [0, 1, 2]), ("[7]", [7]), ("[7, 0, 3]", [7, 0, 3]), (f"[{2**63 - 1}]", [2**63 - 1])],
)
def test_seeds_in_a_config(expand: Expand, written: str, seeds: list[int]) -> None:
    """`seeds` is a number of seeds from 0 on, or a list that is kept in its order."""
    assert [run.seed for run in expand(BASE + f"seeds: {written}\n").runs] == seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [0, 1, 2]),
        ("0-4", [0, 1, 2, 3, 4]),
        ("5-5", [5]),
        ("7,", None),
        ("0,3,7-9", [0, 3, 7, 8, 9]),
        ("3, 1", [3, 1]),
        ("100000000-100000001", [100000000, 100000001]),
        ("4-0", None),
        ("-1", None),
        ("1.0", None),
        ("", None),
        ("all", None),
        ("0-10000", None),
        ("99999999999999999999", None),
        ("012", None),
        ("0,01", None),
    ],
)
def test_seeds_on_the_command_line(expand: Expand, text: str, seeds: list[int] | None) -> None:
    """`--seeds` is a number, a range or a list, goes before the config's, and is an error otherwise."""
    if seeds is None:
        with pytest.raises(UserError, match=r"^--seeds .*(must be a range|is not a range|is ambiguous)"):
            parse_seeds(text)
    else:
        assert [run.seed for run in expand(BASE + "seeds: [42]\n", seeds=text).runs] == seeds


def test_a_seed_given_twice(expand: Expand) -> None:
    """A seed that is there twice is an error, wherever the seeds are given."""
    text = BASE + "seeds: [4, 3, 4]\n"
    assert expand.problems(text) == ["config.yaml:5: seeds: 4 is there twice"]
    assert expand.problems(text, "seeds=[0, 0]") == ["--set seeds=[0, 0]: seeds: 0 is there twice"]
    with pytest.raises(UserError, match=r"^--seeds 0-2,1-3: seeds: 1 is there twice$"):
        expand(text, seeds="0-2,1-3")


UNTIL = "seeds: {until: decided, at_least: 3, at_most: 5}\n"


@pytest.mark.parametrize(
    ("seeds", "overrides", "options", "design"),
    [
        ("seeds: {until: decided}\n", [], {}, (4, 40, 1)),
        (UNTIL, [], {}, (3, 5, 1)),
        (UNTIL, ["seeds.at_a_time=2"], {}, (3, 5, 2)),
        (UNTIL, [], {"until_decided": True}, (3, 5, 1)),
        (UNTIL, [], {"max_seeds": 7}, (3, 7, 1)),
        ("seeds: 3\n", [], {"until_decided": True}, (4, 40, 1)),
        ("", [], {"until_decided": True, "max_seeds": 6}, (4, 6, 1)),
        ("seeds: 3\n", [], {}, "0-2"),
        ("seeds: [7]\n", [], {}, "7"),
        (UNTIL, [], {"seeds": "6-9,2"}, "2,6-9"),
        (UNTIL, ["seeds=[4, 1, 2]"], {}, "1-2,4"),
        (UNTIL, [], {"smoke": True}, "0-1"),
        ("seeds: 10000\n", [], {}, "0-9999"),
    ],
)
def test_the_design_is_written_with_each_run(
    expand: Expand, seeds: str, overrides: list[str], options: dict[str, Any], design: Any
) -> None:
    """Which seeds were asked for, or until when there are more; in config.yaml, and not in the digest."""
    runs = expand(BASE + seeds, *overrides, **options).runs
    numbers = {} if isinstance(design, str) else dict(zip(("at_least", "at_most", "at_a_time"), design, strict=True))
    expected = Until(until="decided", **numbers) if numbers else Listed(seeds=design)
    assert {run.design for run in runs} == {expected}
    if isinstance(expected, Until):
        assert [run.seed for run in runs] == list(range(expected.at_most))
    assert runs[0].digest == runs[0].model_copy(update={"design": None}).digest
    # The config.yaml of a run remembers; with other seeds it is an experiment of its own.
    text = runs[-1].to_yaml()
    assert expand(text).runs == [runs[-1]]
    assert expand(text, seeds="0-1").runs[0].design == Listed(seeds="0-1")
    assert expand(text, until_decided=True).runs[0].design == Until(until="decided")


@given(st.lists(st.integers(0, 20) | st.integers(0, 10**17), min_size=1, unique=True))
def test_the_seeds_of_a_design_are_read_back(seeds: list[int]) -> None:
    """What is written in ranges is what was asked for."""
    design = design_of(seeds)
    assert isinstance(design, Listed)
    assert seeds_in(design.seeds) == sorted(seeds)


# ---------------------------------------------------------------- overrides


def test_set_nested_keys(expand: Expand) -> None:
    """`--set` sets keys at any depth, the last one of equal keys, with values read as YAML."""
    run = expand.run(
        BASE,
        "training.optimizer.lr=1e-3",
        "model.hidden=[4, 2]",
        "training.early_stopping.patience=3",
        "training.epochs=7",
        "training.epochs = 9",
        "data={name: random_regression, samples: 50}",
    )
    assert run.training.optimizer.lr == 0.001
    assert run.model.model_dump()["hidden"] == [4, 2]
    assert run.training.early_stopping is not None
    assert run.training.early_stopping.patience == 3
    assert run.training.epochs == 9
    assert run.data.pool_size == 50
    assert run.data.validation == 0


def test_set_through_a_shorthand(expand: Expand) -> None:
    """A key below a shorthand keeps what the shorthand says."""
    run = expand.run(
        BASE,
        "model.norm.eps=1e-3",
        "model.init=normal",
        "model.init.std=0.5",
        "model.dropout=0.25",
        "model.dropout.layers=last",
        "training.scheduler=step",
        "training.scheduler.step_size=2",
    )
    model = run.model.model_dump()
    assert (model["norm"]["kind"], model["norm"]["eps"]) == ("batch", 1e-3)
    assert model["init"] == {"kind": "normal", "std": 0.5}
    assert (model["dropout"]["p"], model["dropout"]["layers"]) == (0.25, "last")
    assert run.training.scheduler.model_dump() == {"name": "step", "step_size": 2, "gamma": 0.1}


def test_set_through_a_shorthand_below_compare(expand: Expand) -> None:
    """A variant may set an option of the norm that the shared settings name by a shorthand."""
    runs = expand(BASE + "compare: {model.norm.eps: [1e-3, 1e-4]}\n").runs
    assert [(run.model.norm.kind, run.model.norm.model_dump()["eps"]) for run in runs] == [
        ("batch", 1e-3),
        ("batch", 1e-4),
    ]


def test_set_what_is_compared(expand: Expand) -> None:
    """`--set compare.KEY=[…]` replaces the values of a grid, or starts one."""
    grid = BASE + "compare: {model.norm: [none, batch]}\n"
    experiment = expand(grid, "compare.model.norm=[layer, {kind: group, groups: 4}]")
    assert [run.variant.label for run in experiment.runs] == ["layer", "group groups=4"]
    experiment = expand(grid, "compare.training.optimizer.lr=[0.1, 0.2]")
    labels = ["none lr=0.1", "none lr=0.2", "batch lr=0.1", "batch lr=0.2"]
    assert [run.variant.label for run in experiment.runs] == labels
    assert [run.variant.label for run in expand(BASE, "compare.model.norm=[none]").runs] == ["none"]
    assert [run.variant.label for run in expand(grid, "compare=null").runs] == ["batch"]


@pytest.mark.parametrize(
    ("compare", "override", "hint"),
    [
        ("{model.norm: [none, batch]}", "model.norm=layer", "compare.model.norm"),
        ("{model.norm: [none, batch]}", "model.norm.eps=1e-3", "compare sets model.norm"),
        ("{model.norm.eps: [1e-3, 1e-4]}", "model.norm.eps=0.1", "compare.model.norm.eps"),
        (
            "[{label: a, model.norm: none}, {label: b, model.norm: batch}]",
            "model.norm=layer",
            "compare sets model.norm",
        ),
    ],
)
def test_an_override_without_effect(expand: Expand, compare: str, override: str, hint: str) -> None:
    """An override that every variant overrides again is an error that says so."""
    (problem,) = expand.problems(BASE + f"compare: {compare}\n", override)
    assert problem.startswith(f"--set {override}: ")
    assert "no effect" in problem
    assert hint in problem


def test_an_override_without_effect_that_is_no_value_either(expand: Expand) -> None:
    """What is wrong with the value goes first: a valid one would have been said to have no effect."""
    (problem,) = expand.problems(BASE + "compare: {model.norm: [none, batch]}\n", "model.norm.kind=btach")
    assert problem.startswith("--set model.norm.kind=btach: model.norm.kind: must be one of none, batch, ")
    assert problem.endswith("not 'btach'; did you mean 'batch'?")


def test_an_override_of_some_variants(expand: Expand) -> None:
    """An override that some variant does not override again is no error."""
    runs = expand(BASE + "compare: [{label: a, model.norm: none}, {label: b}]\n", "model.norm=layer").runs
    assert [run.model.norm.kind for run in runs] == ["none", "layer"]


NO_ASSIGNMENTS = ["", "training.epochs", "=3", ".x=3", "x.=3", "a..b=3", "a b=3", "-x=3", "a[0]=3"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=no", "training.epochs: must be a whole number, not 'no'"),
        ("training.optimizer.lr=", "training.optimizer.lr: must be a number, not null"),
        ("model.hidden.0=3", "model.hidden.0: model.hidden is [8, 8], which has no keys"),
        ("data.sample=3", "data.sample: unknown key"),
        ("model.norm=bach", "did you mean 'batch'?"),
        ("training.epochs=[", "not valid YAML"),
        ("training.epochs=*x", "aliases"),
        *((text, "KEY=VALUE") for text in NO_ASSIGNMENTS),
    ],
)
def test_a_bad_override_is_named(expand: Expand, override: str, message: str) -> None:
    """A bad value given to --set is reported at the --set, not at a line of the file."""
    (problem,) = expand.problems(BASE, override)
    assert problem.startswith(f"--set {override}: ")
    assert message in problem


# ---------------------------------------------------------------- mutated configs


def test_a_mutated_config_loads_or_is_refused(tmp_path: Path) -> None:
    """Whatever happens to a config, loading it gives runs or printable problems; tests/fuzz.py tries many more."""
    assert fuzz(200, 7, tmp_path) == []


@pytest.mark.parametrize("raised", [ValueError("x"), UserError("a\x1b[2J"), UserError("a\nb"), UserError()])
def test_fuzzing_finds(raised: Exception) -> None:
    """Any other exception, and a problem that is no printable line, is found."""

    def load() -> None:
        raise raised

    assert problem_of(load)


# ---------------------------------------------------------------- numbers


def unbounded(annotation: Any, metadata: Sequence[Any]) -> list[Any]:
    """The numbers in a type that may be as large as one likes."""
    metadata = [inner for item in metadata for inner in getattr(item, "metadata", [item])]
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        return unbounded(inner, [*metadata, *more])
    if annotation in (int, float):
        return [] if any(isinstance(item, Le | Lt) for item in metadata) else [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [found for argument in typing.get_args(annotation) for found in unbounded(argument, metadata)]
    return [found for argument in typing.get_args(annotation) for found in unbounded(argument, [])]


def sections(above: type[Section] = Section) -> list[type[Section]]:
    return [section for below in above.__subclasses__() for section in (below, *sections(below))]


def test_every_number_has_a_largest_value() -> None:
    """No key takes a number that could only fail: one beyond float32, or beyond what can be counted to."""
    assert not {
        f"{section.__name__}.{name}"
        for section in sections()
        if section.__module__.startswith("bncompare.") and section is not Claim
        for name, field in section.model_fields.items()
        if unbounded(field.annotation, field.metadata)
    }


# ---------------------------------------------------------------- resolution


def missing_keys(section: BaseModel, written: Any, path: str = "") -> list[str]:
    """Keys of a section, and of those in it, that are not written out."""
    missing = [f"{path}{key}" for key in type(section).model_fields if key not in written]
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, BaseModel) and key in written:
            missing += missing_keys(value, written[key], f"{path}{key}.")
    return missing


@pytest.mark.parametrize(
    ("extra", "monitor", "stopping", "scheduler"),
    [
        ([], "val/loss", None, None),
        (["data.validation=0"], "train/loss", None, None),
        (["data.validation=test"], "val/loss", None, None),
        (["training.monitor=train/loss"], "train/loss", None, None),
        (["training.early_stopping.patience=1"], "val/loss", "val/loss", None),
        (["training.early_stopping={patience: 1, monitor: train/loss}"], "train/loss", "train/loss", None),
        (["training.early_stopping.patience=1", "training.monitor=train/loss"], "train/loss", "train/loss", None),
        (
            ["training.early_stopping={patience: 1, monitor: val/loss}", "training.monitor=train/loss"],
            "train/loss",
            "val/loss",
            None,
        ),
        (["training.scheduler=reduce_on_plateau"], "val/loss", None, "val/loss"),
        (["training.scheduler=reduce_on_plateau", "data.validation=0"], "train/loss", None, "train/loss"),
        (["training.scheduler={name: reduce_on_plateau, monitor: train/loss}"], "val/loss", None, "train/loss"),
        (
            ["training.early_stopping={patience: 1, monitor: train/loss}", "training.scheduler=reduce_on_plateau"],
            "train/loss",
            "train/loss",
            "train/loss",
        ),
    ],
)
def test_monitors_are_resolved(
    expand: Expand, extra: list[str], monitor: str, stopping: str | None, scheduler: str | None
) -> None:
    """The best evaluation, early stopping and the scheduler agree on a metric unless they are told otherwise."""
    training = expand.run(BASE, *extra).training
    assert training.monitor == monitor
    assert (training.early_stopping and training.early_stopping.monitor) == stopping
    found = training.scheduler.monitor if isinstance(training.scheduler, ReduceOnPlateau) else None
    assert found == scheduler


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("smoke", [False, True], ids=["full", "smoke"])
def test_config_yaml_round_trip(path: Path, smoke: bool, tmp_path: Path) -> None:
    """The config.yaml of a run of every variant of every shipped config gives that run again: equal, with the same
    digest. It holds every key of every section, and names the metric that decides."""
    written = tmp_path / "config.yaml"
    for run in {run.variant.label: run for run in load_experiment(path, smoke=smoke).runs}.values():
        text = run.to_yaml()
        written.write_text(text, encoding="utf-8")
        (again,) = load_experiment(written).runs
        assert (again, again.digest, again.to_yaml()) == (run, run.digest, text)
        data = parse_yaml(text, "config.yaml").data
        assert missing_keys(run, data) == []
        assert data["training"]["monitor"] in run.metric_names
        assert data["seeds"] == [run.seed]
        if run.training.early_stopping is not None:
            assert data["training"]["early_stopping"]["monitor"] in run.metric_names


@pytest.mark.parametrize("label", ["no", "1e3", "a: b", " # ", "ß – 7 µm", "'\"", "[x]", "-", "x" * 120])
def test_labels_and_statements_round_trip(expand: Expand, label: str) -> None:
    """Any label a config may give to a variant comes back from config.yaml."""
    quoted = "'" + label.replace("'", "''") + "'"
    claim = f"claims: [{{statement: {quoted}, metric: val/loss, variant: {{label: {quoted}}}, at_most: 9}}]\n"
    run = expand.run(BASE + f"compare: [{{label: {quoted}, model.norm: none}}]\n" + claim)
    assert run.variant.label == label
    again = expand.run(run.to_yaml())
    assert again == run


# ---------------------------------------------------------------- digests


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "training.device=cpu",
        "training.checkpoint_every=3",
        "data.dir=/elsewhere",
        "claims=[{statement: s, metric: test/accuracy, variant: {label: none}, at_least: 0.5}]",
        "compare=[{label: another}]",
        "compare.model.norm=[batch]",
        "model.norm={kind: batch, eps: 1e-5, momentum: 0.1, affine: true}",
        "training.monitor=val/loss",
        "training.scheduler=none",
        "training.sampler=shuffled",
        "training.diverged_above=null",
        "diagnostics={eval_stats: [], every: 1, layers: all, landscape: null}",
        "seeds=[0]",
    ],
)
def test_digest_ignores(expand: Expand, override: str) -> None:
    """The digest is the same for what does not change the numbers: names, claims, device, folders, spelling."""
    assert expand.run(IMAGES, override).digest == expand.run(IMAGES).digest


def test_digest_is_of_one_seed(expand: Expand) -> None:
    """A run has the same digest whichever other seeds and variants it is trained with."""
    runs = expand(IMAGES + "compare: {model.norm: [none, batch]}\n", seeds="0-2").runs
    (batch,) = [run for run in runs if run.variant.label == "batch" and run.seed == 0]
    assert batch.digest == expand.run(IMAGES).digest
    assert len({run.digest for run in runs}) == len(runs) == 6


@pytest.mark.parametrize(
    "override",
    [
        "training.optimizer.lr=0.002",
        "training.optimizer.weight_decay=0.1",
        "training.optimizer.betas=[0.9, 0.99]",
        "training.optimizer={name: adamw, lr: 0.001}",
        "seeds=[1]",
        "model.norm=none",
        "model.norm=batch_from_scratch",
        "model.norm.eps=1e-3",
        "model.norm.momentum=null",
        "model.norm.affine=false",
        "model.norm.layers=conv",
        "model.norm.placement=after",
        "model.norm.on_output=true",
        "model.init=xavier_uniform",
        "model.bias=always",
        "model.activation=tanh",
        "model.padding=0",
        "model.pooling=max",
        "model={name: mlp, hidden: [8], norm: batch}",
        "training.threads=2",
        "training.epochs=2",
        "training.batch_size=32",
        "training.eval_every=10",
        "training.evaluate_at_start=true",
        "training.scheduler=cosine",
        "training.clip_gradient_norm=1",
        "training.monitor=train/loss",
        "training.early_stopping.patience=3",
        "data.name=mnist",
        "data.validation=0.2",
        "data.train_size=1000",
        "data.scaling=none",
        "data.binarize=true",
        "training.sampler={name: class_clustered, classes_per_batch: 2}",
        "training.diverged_above=1000",
        "diagnostics.eval_stats=[batch]",
        "diagnostics.gradients=true",
        "diagnostics.every=2",
    ],
)
def test_digest_changes(expand: Expand, override: str) -> None:
    """The digest changes with every setting that may change the numbers."""
    digest = expand.run(IMAGES, override).digest
    assert len(digest) == 8
    assert digest != expand.run(IMAGES).digest


MANY_KEYS = [
    BASE,
    "name: many\ndata: {name: mnist, validation: 200}\nmodel: {name: lenet, norm: batch_renorm}\n"
    "training: {steps: 9, eval_every: 3, optimizer: {name: adam, lr: 0.1}, early_stopping: {patience: 1},"
    " sampler: {name: class_clustered, classes_per_batch: 2}, scheduler: {name: reduce_on_plateau, patience: 0}}\n"
    "diagnostics: {gradients: true, landscape: [0.5, 4]}\n",
]


def others(value: Any) -> list[Any]:
    """Values that may stand in place of one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value / 2, 0.25]
    plain = [
        "cpu",
        "all",
        "none",
        "always",
        "relu",
        "unit",
        "norm",
        "layer",
        "last",
        "max",
        "spectral",
        "val/loss",
        "train/loss",
    ]
    return [1, 2, 2.5, [7], [0.1, 0.2], "other", "batch", "after", "before_norm", "tanh", *plain, {"x": 1}, ["batch"]]


def loaded(config: dict[str, Any]) -> LoadedRun:
    """A run with this config."""
    return LoadedRun(Path("runs/a/b"), "a", "b", 0, 0, config, {}, 0.0, None, [])


@pytest.mark.parametrize("text", MANY_KEYS)
def test_what_decides_the_numbers_is_said_once(expand: Expand, text: str) -> None:
    """Whatever key of the schema two runs differ in: they have one digest exactly if they are one experiment."""
    config = expand.run(text)
    plain = config.model_dump()
    changed = set()
    for key in flatten(plain):
        for other in others(lookup(plain, key)):
            altered = copy.deepcopy(plain)
            *above, last = key.split(".")
            functools.reduce(lambda section, name: section[name], above, altered)[last] = other
            try:
                differing = RunConfig.model_validate(altered)
            except ValidationError:
                continue
            if key == "seeds" or differing == config:
                continue
            found = experiments([loaded(plain), loaded(differing.model_dump())])
            assert (len(found) == 1) == (differing.digest == config.digest), key
            changed.add(key)
    assert len(changed) > 0.8 * len(flatten(plain)), set(flatten(plain)) - changed


def test_runs_that_differ_in_what_decides_nothing_are_one_experiment(expand: Expand) -> None:
    """Neither where a run is trained, nor how often it is saved, nor where its data lie sets it apart."""
    configs = [
        expand.run(IMAGES, *overrides)
        for overrides in ([], ["training.checkpoint_every=3"], ["training.device=cpu"], ["data.dir=/elsewhere"])
    ]
    assert len({config.digest for config in configs}) == 1
    assert len(experiments([loaded(config.model_dump()) for config in configs])) == 1


# ---------------------------------------------------------------- claims

CLAIMS = """\
compare: {model.norm: [none, {kind: batch, eps: 1e-3}], training.optimizer.lr: [0.1, 0.2]}
claims:
- statement: it helps
  metric: val/loss
"""


@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        ("{model.norm: none}", ["none lr=0.1", "none lr=0.2"]),
        ("{model.norm: batch}", ["batch eps=0.001 lr=0.1", "batch eps=0.001 lr=0.2"]),
        ("{model.norm.kind: batch, training.optimizer.lr: 0.2}", ["batch eps=0.001 lr=0.2"]),
        ("{model.norm: {kind: batch, eps: 1e-3}}", ["batch eps=0.001 lr=0.1", "batch eps=0.001 lr=0.2"]),
        ("{model.norm.eps: 1e-3}", ["batch eps=0.001 lr=0.1", "batch eps=0.001 lr=0.2"]),
        ("{label: none lr=0.2}", ["none lr=0.2"]),
        ("{training.optimizer: {lr: 0.1}}", ["none lr=0.1", "batch eps=0.001 lr=0.1"]),
        ("{model.norm: layer}", []),
        ("{model.norm: {kind: batch, eps: 1e-5}}", []),
        ("{label: none}", []),
        ("{model.nrom: none}", []),
        ("{training.optimizer.lr: 0.3}", []),
    ],
)
def test_which_variants_a_claim_selects(expand: Expand, selector: str, labels: list[str]) -> None:
    """A claim selects variants by resolved settings or label; it is about one, and else an error that lists them."""
    text = BASE + CLAIMS + f"  variant: {selector}\n  at_most: 9\n"
    wanted = parse_yaml(selector, "selector").data
    runs = expand(BASE + CLAIMS[: CLAIMS.index("claims")]).runs
    assert [run.variant.label for run in runs if selects(wanted, run.model_dump())] == labels
    if len(labels) == 1:
        assert expand(text).runs[0].claims[0].variant == wanted
    else:
        (problem,) = expand.problems(text)
        assert problem.startswith("config.yaml:9: claims[0].variant: ")
        assert ", ".join(labels or [run.variant.label for run in runs]) in problem


CLAIMED = """\
compare: {model.norm: [none, batch]}
claims:
- {statement: a, metric: val/loss, at: {epoch: 2}, variant: {model.norm: batch}, at_most: 9}
- {statement: b, metric: val/loss, variant: {model.norm: none}, at_most: 9}
"""


@pytest.mark.parametrize(
    ("override", "left", "warning"),
    [
        ("training.epochs=1", ["b"], "config.yaml:7: claims[0].at: epoch 2 is after the end, epoch 1"),
        (
            "compare.model.norm=[none, layer]",
            ["b"],
            "config.yaml:7: claims[0].variant: model.norm: batch is none of…",
        ),
        (
            "training={steps: 20, eval_every: 4, batch_size: 16, optimizer: {name: sgd, lr: 0.1}}",
            ["b"],
            "config.yaml:7: claims[0].at: epoch 2 is not evaluated: there is an evaluation every 4 steps, and…",
        ),
        ("training.optimizer.lr=0.2", ["a", "b"], None),
    ],
)
def test_a_claim_that_an_override_leaves_nothing_to_judge_by(
    expand: Expand, override: str, left: list[str], warning: str | None
) -> None:
    """It is left out of the runs, with a warning; without overrides the same would be an error."""
    experiment = expand(BASE + CLAIMED, override)
    assert {tuple(claim.statement for claim in run.claims) for run in experiment.runs} == {tuple(left)}
    said = expand.warnings(experiment)
    assert len(said) == (warning is not None)
    for line in said:
        assert line.startswith(str(warning).rstrip("…"))
        assert line.endswith("; this claim cannot be judged")


@pytest.mark.parametrize(
    ("written", "bad", "message"),
    [
        (
            "at_most: 9}\n- ",
            "at_most: 0}\n- ",
            "config.yaml:7: claims[0].at_most: must be above 0, as every loss is 0 …",
        ),
        ("at: {epoch: 2}", "at: {epoch: 2, step: 3}", "config.yaml:7: claims[0].at: give epoch or step"),
        ("at_most: 9}\n- ", "difference_at_most: 9}\n- ", "config.yaml:7: claims[0]: difference_… is about two…"),
    ],
)
def test_no_override_excuses_a_bad_claim(expand: Expand, written: str, bad: str, message: str) -> None:
    """What is wrong with a claim whatever is trained stays an error with --set."""
    (problem,) = expand.problems(BASE + CLAIMED.replace(written, bad), "training.optimizer.lr=0.2")
    assert problem.startswith(message.rstrip("…"))


def test_validating_on_the_test_set_is_warned_of(expand: Expand) -> None:
    """Whoever chooses the best evaluation on the test set is told once that its test metrics are optimistic."""
    (warning,) = expand(BASE + "compare: {model.norm: [none, batch]}\n", "data.validation=test").warnings
    assert "test" in warning
    assert "optimistic" in warning


def test_a_rate_grows_after_the_warm_up_alone(expand: Expand) -> None:
    """Whether a growing rate stays a number is asked of the epochs that it grows in."""
    growing = "training.scheduler={name: exponential, gamma: 1.0e+20}"
    assert len(expand.problems(BASE, growing)) == 1
    assert expand.run(BASE, growing, "training.warmup=1").training.warmup == 1


TEN = "training={epochs: 10, optimizer: {name: sgd, lr: 0.1}}"
STEPS = "training={steps: 10, eval_every: 1, optimizer: {name: sgd, lr: 0.1}}"
LONG = "training={steps: 50000, optimizer: {name: sgd, lr: 0.1}}"
RENORM = "model.norm={kind: batch_renorm, start: 10, rmax_end: 10, dmax_end: 10}"
LATE = "model.norm={kind: batch_renorm, rmax_end: 100, dmax_end: 100}"


@pytest.mark.parametrize(
    ("overrides", "fine", "doubtful", "message"),
    [
        ([TEN], "training.scheduler={name: step, step_size: 9}", "10", ".step_size: 10 is not before…epoch 10"),
        ([STEPS], "training.scheduler={name: step, step_size: 9}", "10", ".step_size: 10 is not before…step 10"),
        ([TEN], "training.scheduler={name: multistep, milestones: [3, 9]}", "10", ".milestones: 10 is not before…"),
        (
            [TEN, "training.warmup=3"],
            "training.scheduler={name: step, step_size: 6}",
            "7",
            ".step_size: 7 is not before…epoch 10, which is 7 after the warm-up",
        ),
        (
            [TEN, "training.warmup=3"],
            "training.scheduler={name: reduce_on_plateau, patience: 5}",
            "6",
            ".patience: 6 is not…8 evaluations",
        ),
        ([TEN, "training.trainable=norm"], "training.l1=0", "0.1", ": has no effect: no weight is trained"),
        ([TEN], "training.scheduler={name: cosine, eta_min: 0.09}", "0.1", ".eta_min: 0.1 is not below…0.1"),
        (
            [TEN],
            "training.scheduler={name: reduce_on_plateau, patience: 3, min_lr: 0.09}",
            "0.1",
            ".min_lr: 0.1 is not below…0.1",
        ),
        (
            [TEN],
            "training.scheduler={name: reduce_on_plateau, patience: 7}",
            "8",
            ".patience: 8 is not…10 evaluations",
        ),
        ([TEN], "training.early_stopping={patience: 8}", "9", ".patience: 9 is not used up…are 10 evaluations"),
        ([STEPS], "training.eval_every=10", "11", ": 11 is after the end, step 10: the end alone is evaluated"),
        ([TEN], "diagnostics={gradients: true, every: 10}", "11", ".every: 11 is after the end…10 evaluations…"),
        ([TEN], "diagnostics={gradients: true, layers: [output]}", "", ".layers: is empty: no layer is measured"),
        ([TEN, "training.optimizer.decay_norm=false"], "training.optimizer.weight_decay=0.1", "0", "…decay is 0"),
        ([TEN, RENORM], "model.norm.rmax_end=10", "9", ": 9 is before start, 10: the limit jumps…"),
        ([TEN, RENORM], "model.norm.dmax_end=10", "9", ": 9 is before start, 10: the limit jumps…"),
        ([TEN, LATE], "model.norm.start=19", "20", ": 20 is not before the end, step 20: this is plain batch…"),
        ([LONG, "model.norm=batch_renorm"], "model.norm.start=25000", "25001", ": 25001 is after dmax_end, 25000: …"),
    ],
)
def test_what_has_no_effect_is_warned_of(
    expand: Expand, overrides: list[str], fine: str, doubtful: str, message: str
) -> None:
    """A setting that will do nothing, or not what it says, is a warning with its key; one that just does is none."""
    assert expand(BASE, *overrides, fine).warnings == []
    changed = re.sub(r"(output|[0-9.]+)(?=[^0-9a-z.]*$)", doubtful, fine)
    assert changed != fine
    (warning,) = expand(BASE, *overrides, changed).warnings
    pattern = ".*".join(re.escape(part) for part in message.split("…"))
    key = changed.partition("=")[0]
    assert re.fullmatch(rf"--set .*: {re.escape(key)}.*{pattern}", warning) or "decay_norm: has no effect" in warning


def test_selu_without_its_initial_weights_is_warned_of(expand: Expand) -> None:
    """It is made for LeCun's; where a norm follows, these make no difference."""
    settings = [TEN, "model.activation=selu", "model.norm=none"]
    (warning,) = expand(BASE, *settings, "model.init=kaiming_normal").warnings
    assert "model.activation: selu normalizes itself with init: lecun_normal" in warning
    assert expand(BASE, *settings, "model.init=lecun_normal").warnings == []
    assert expand(BASE, *settings, "model.norm=batch").warnings == []


def test_a_warning_is_said_once_for_all_variants(expand: Expand) -> None:
    """What is doubtful in all variants is one warning, at its line."""
    experiment = expand(BASE + "compare: {model.norm: [none, batch]}\n", "training.early_stopping.patience=2")
    (warning,) = experiment.warnings
    assert warning.endswith(
        "training.early_stopping.patience: 2 is not used up before the end: there are 2 evaluations"
    )


# ---------------------------------------------------------------- --smoke


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_smoke_shrinks_every_shipped_config(path: Path) -> None:
    """--smoke keeps the variants and bounds the rest: no download, few examples, few steps, no claims."""
    full, smoke = load_experiment(path), load_experiment(path, smoke=True)
    assert smoke.name == f"{full.name}-smoke"
    assert {run.variant.label for run in smoke.runs} == {run.variant.label for run in full.runs}
    assert {run.digest for run in smoke.runs}.isdisjoint(run.digest for run in full.runs)
    for run in smoke.runs:
        assert run.name == smoke.name
        assert run.seed < 2
        assert run.claims == []
        assert run.total_steps <= 32
        assert run.data.num_train <= 512
        assert run.data.pool_size + run.data.test_size <= 2_500
        assert not isinstance(run.data, MNIST)
        assert check_run(run) == []
    sizes = {run.data.num_train for run in smoke.runs}
    assert len(sizes) == len({run.data.num_train for run in full.runs})  # else one experiment becomes several


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["data.samples=3", "data.validation=1"], id="three examples"),
        pytest.param(["data.samples=100000", "data.validation=1e-4"], id="few of many to validate on"),
        pytest.param(["data.samples=1000000", "data.validation=0.9999"], id="few of many to train on"),
        pytest.param(["data.samples=100000", "data.validation=99000"], id="most of many to validate on"),
        pytest.param(["data.test_samples=0"], id="no test set"),
        pytest.param(["data.samples=100000", "data.train_size=70000"], id="a large train_size"),
        pytest.param(["data.samples=100000", "training.batch_size=5000"], id="large batches"),
        pytest.param(["data.samples=100000", "training.batch_size=full"], id="full batches"),
        pytest.param(
            ["training={steps: 100000, eval_every: 5000, optimizer: {name: sgd, lr: 0.1}}"], id="steps and eval_every"
        ),
        pytest.param(["training.epochs=500", "training.batch_size=2", "data.samples=100000"], id="small batches"),
        pytest.param(
            ["data={name: mnist, validation: 0.0002}", "training.early_stopping.patience=1"], id="a dozen images"
        ),
        pytest.param(["data={name: mnist, validation: 0.9998}"], id="all but a dozen images"),
        pytest.param(["data={name: mnist, validation: 59990}"], id="all but ten images"),
        pytest.param(["data={name: mnist, validation: test}"], id="validation on the test set"),
    ],
)
def test_smoke_of_any_valid_config_is_valid(expand: Expand, overrides: list[str]) -> None:
    """What passes the checks at full size still passes them shrunk, with the same metrics, and stays small."""
    (full,) = expand(BASE, *overrides).runs
    (run,) = expand(BASE, *overrides, smoke=True).runs
    assert check_run(run) == []
    assert run.metric_names == full.metric_names
    assert run.training.monitor in run.metric_names
    assert 1 <= run.data.num_train <= 512
    assert 1 <= run.total_steps <= 1024


def test_smoke_keeps_a_long_name_valid(expand: Expand) -> None:
    """The name of a shrunk experiment is a valid name too."""
    run = expand(BASE, f"name={'x' * 80}", smoke=True).runs[0]
    assert len(run.name) == 80
    assert run.name.endswith("-smoke")


# ---------------------------------------------------------------- steps


def regression(num_train: int, batch_size: int | str, **training: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "x",
            "data": {"name": "random_regression", "samples": num_train},
            "model": {"name": "mlp", "hidden": [1]},
            "training": {"batch_size": batch_size, "optimizer": {"name": "sgd", "lr": 0.1}, **training},
        }
    )


@pytest.mark.parametrize(
    ("num_train", "batch_size", "steps", "dropped"),
    [
        (100, 16, 7, 0),
        (96, 16, 6, 0),
        (97, 16, 6, 1),
        (98, 16, 7, 0),
        (17, 16, 1, 1),
        (16, 16, 1, 0),
        (10, 16, 1, 0),
        (2, 1, 2, 0),
        (3, 2, 1, 1),
        (1, 16, 1, 0),
        (1, 1, 1, 0),
        (97, "full", 1, 0),
        (1, "full", 1, 0),
    ],
)
def test_steps_per_epoch(num_train: int, batch_size: int | str, steps: int, dropped: int) -> None:
    """A ragged last batch is trained on, unless it would have just one example, which is left out."""
    run = regression(num_train, batch_size, epochs=3)
    assert (run.steps_per_epoch, run.dropped_examples) == (steps, dropped)
    assert run.total_steps == 3 * steps
    assert regression(num_train, batch_size, steps=11).total_steps == 11


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 10_000), st.integers(1, 300))
def test_batches_cover_the_examples(num_train: int, batch_size: int) -> None:
    """The batches of an epoch are full but for the last, hold all examples but those left out, and never just one."""
    run = regression(num_train, batch_size, epochs=1)
    used = num_train - run.dropped_examples
    last = used - (run.steps_per_epoch - 1) * run.batch_size
    assert 1 <= last <= run.batch_size
    assert run.dropped_examples in (0, 1)
    if num_train > 1 and batch_size > 1:
        assert last > 1


def test_num_train(expand: Expand) -> None:
    """Validation is held out first; train_size takes from the rest."""
    run = expand.run(BASE, "data.validation=0.25", "data.train_size=60")
    assert (run.data.validation_size, run.data.num_train) == (25, 60)
    run = expand.run(BASE, "data.validation=10")
    assert (run.data.validation_size, run.data.num_train) == (10, 90)
    run = expand.run(BASE, "data.validation=test")
    assert (run.data.validation_size, run.data.num_train) == (0, 100)
    assert run.data.has_validation


def test_lenet_is_read(expand: Expand) -> None:
    """`model.name` decides which keys a model has."""
    assert isinstance(expand.run(IMAGES).model, LeNet)
    (problem,) = expand.problems(IMAGES, "model.hidden=[3]")
    assert problem.startswith("--set model.hidden=[3]: model.hidden: unknown key")
