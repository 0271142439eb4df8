"""What a newcomer types wrongly, and what the answer says to type instead."""

import shlex
from pathlib import Path

import pytest
from kit import call

from bncompare.norms import NORMS

MINE = """\
name: mine
seeds: 2
data: {name: random_regression, samples: 32, features: 3, validation: 8}
model: {name: mlp, hidden: [4], norm: batch}
training: {epochs: 2, batch_size: 8, device: cpu, optimizer: {name: sgd, lr: 0.1}}
"""
KINDS = ", ".join(NORMS)
TOP = "name, seeds, data, model, training, diagnostics, claims, compare, tune, judge_seeds"
NOTHING = "runs: nothing trained yet; `bncompare demo` trains a first experiment"
PAPERS = ["ioffe-2015-fig1", "ioffe-2015-grid", "ioffe-2015-steps", "ioffe-2017-renorm"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a config and nothing else, in which the command lines are typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "my.yaml").write_text(MINE)
    for name, old, new in (
        ("text-optimizer", "optimizer: {name: sgd, lr: 0.1}", "optimizer: sgd"),
        ("text-data", "data: {name: random_regression, samples: 32, features: 3, validation: 8}", "data: mnist"),
        ("one-hidden", "hidden: [4]", "hidden: 128"),
        ("torch-norm", "norm: batch", "norm: nn.BatchNorm1d"),
        ("no-norm", "norm: batch", "norm: no"),
        ("compare-norm", "seeds: 2", "seeds: 2\ncompare: {norm: [none, batch]}"),
        ("flat-lr", "seeds: 2", "seeds: 2\nlr: 0.1"),
    ):
        assert old in MINE
        (tmp_path / f"{name}.yaml").write_text(MINE.replace(old, new))


def one_of(place: str, wrong: str, meant: str) -> str:
    """What a norm that is none is answered."""
    return f"{place}: must be one of {KINDS}, not '{wrong}'; did you mean '{meant}'?"


SET = "--set model.norm={0}: model.norm"
MISTAKES = {
    # names that the field uses
    **{
        f"norms {word}": f"{word}: no such norm; valid: {KINDS}; did you mean '{kind}'?"
        for word, kind in {
            "batchnorm": "batch",
            "BatchNorm": "batch",
            "bn": "batch",
            "ln": "layer",
            "GroupNorm": "group",
            "InstanceNorm2d": "instance",
            "rmsnorm": "rms",
            "DyT": "dyt",
            "DynamicTanh": "dyt",
            "frn": "filter_response",
            "ws": "weight_standardization",
            "IterNorm": "iterative_whitening",
            "SwitchNorm2d": "switchable",
            "off": "none",
        }.items()
    },
    "explain BatchNorm2d": f"BatchNorm2d: no such norm; valid: {KINDS}; did you mean 'batch'?",
    "norms dropout": f"dropout: no such norm; valid: {KINDS}",
    "train torch-norm.yaml": one_of("torch-norm.yaml:4: model.norm", "nn.BatchNorm1d", "batch"),
    "train no-norm.yaml": one_of("no-norm.yaml:4: model.norm", "no", "none"),
    "train my.yaml --set model.norm=gn": one_of(SET.format("gn"), "gn", "group"),
    # settings in the wrong place
    "train my.yaml --set lr=0.1": "--set lr=0.1: lr: unknown key; did you mean training.optimizer.lr?",
    "train my.yaml --set training.lr=0.1": (
        "--set training.lr=0.1: training.lr: unknown key; did you mean training.optimizer.lr?"
    ),
    "train my.yaml --set learning_rate=0.1": (
        "--set learning_rate=0.1: learning_rate: unknown key; did you mean training.optimizer.lr?"
    ),
    "train my.yaml --set epoch=3": "--set epoch=3: epoch: unknown key; did you mean training.epochs?",
    "train my.yaml --set optimizer.lr=1": (
        "--set optimizer.lr=1: optimizer: unknown key; did you mean training.optimizer?"
    ),
    "train flat-lr.yaml": "flat-lr.yaml:3: lr: unknown key; did you mean training.optimizer.lr?",
    "train compare-norm.yaml": (
        "compare-norm.yaml:3: compare.norm: cannot be compared; valid keys start with data, model, training, "
        "diagnostics; did you mean model.norm?"
    ),
    "train my.yaml --set depth=3": f"--set depth=3: depth: unknown key; valid: {TOP}",
    "train my.yaml --epochs 3": "--epochs: no such option; --set training.epochs=3",
    "train my.yaml --lr 0.1": "--lr: no such option; --set training.optimizer.lr=0.1",
    "train my.yaml --batch-size=64": "--batch-size: no such option; --set training.batch_size=64",
    "graph my.yaml --norm layer": "--norm: no such option; --set model.norm=layer",
    "train my.yaml --momentum .9": (
        "--momentum: no such option; --set model.norm.momentum=.9 or --set training.optimizer.momentum=.9"
    ),
    # a name where a mapping belongs
    "train text-optimizer.yaml": (
        "text-optimizer.yaml:5: training.optimizer: must be a mapping: {name: sgd, lr: 0.1}, not 'sgd'"
    ),
    "train text-data.yaml": "text-data.yaml:3: data: must be a mapping: {name: mnist}, not 'mnist'",
    "train one-hidden.yaml": "one-hidden.yaml:4: model.hidden: must be a list: [128], not 128",
    "train my.yaml --set model.hidden=64,32": (
        "--set model.hidden=64,32: model.hidden: must be a list: [64, 32], not '64,32'"
    ),
    "train my.yaml --set training.early_stopping=3": (
        "--set training.early_stopping=3: training.early_stopping: must be a mapping: {patience: 3}, not 3"
    ),
    # what there is not
    "train my.yaml --set model.name=resnet18": (
        "--set model.name=resnet18: model.name: must be one of …, not 'resnet18'; "
        "docs/extending.md says how to add one"
    ),
    "train my.yaml --set data.name=cifar10": (
        "--set data.name=cifar10: data.name: must be one of …, not 'cifar10'; docs/extending.md says how to add one"
    ),
    "train mnst-mlp": "mnst-mlp: no such file, and no preset of this name; did you mean 'mnist-mlp'?",
    "train norm": "norm: which preset? norm-zoo-lenet, norm-zoo-mlp",
    "train resnet": "resnet: no such file, and no preset of this name; `bncompare init` lists those there are",
    "train mine.yaml": "mine.yaml: no such file",
    "init fashion": "fashion: which preset? fashion-lenet-high-lr, fashion-lenet",
    "papers ioffe": f"ioffe: which config of a published result? {', '.join(PAPERS)}",
    # before anything is trained
    "plot": NOTHING,
    "report": NOTHING,
    "list": NOTHING,
    "check": NOTHING,
    "plot runs/": NOTHING,
    "report elsewhere": "elsewhere: no such folder",
    "report my.yaml": "my.yaml: is a file, not a run folder",
    # seeds
    "train my.yaml --seeds 0": "--seeds 0: is a number of seeds, and none; the seed 0 alone is 0-0",
    "train my.yaml --seeds 3,3": "--seeds 3,3: seeds: 3 is there twice",
    "train my.yaml --seeds 4-0": "--seeds 4-0: 4-0 is not a range of 1 to 10000 seeds",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistake(line: str) -> None:
    """One line that says what to type instead, exit code 2, and nothing on stdout."""
    ended = call(*shlex.split(line))
    begins, _, ends = f"error: {MISTAKES[line]}\n".partition("…")
    if len(begins) > 300:  # perhaps cut in the middle
        begins, ends = begins[:150], begins[-80:]
    assert ended.err.startswith(begins)
    assert ended.err.endswith(ends)
    assert ended.err.count("\n") == 1
    assert (ended.code, ended.out) == (2, "")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        ("train regre --dry-run", "  regression "),
        ("graph mnist", "mnist-mlp: no norm"),
        ("init mnist", "# MNIST: "),
        ("init --schema", '{\n  "$schema"'),
    ],
)
def test_a_preset_is_named_by_how_it_begins(line: str, begins: str) -> None:
    """What is no mistake: the beginning of one preset's name alone."""
    ended = call(*line.split())
    assert (ended.code, ended.err) == (0, "")
    assert begins in ended.out


def test_a_file_goes_before_a_preset() -> None:
    """A file of the name of a preset is what is meant."""
    Path("demo").write_text(MINE)
    assert "mine" in call("train", "demo", "--dry-run").out
