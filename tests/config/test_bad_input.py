"""Bad configs, options and data directories: exit code 2, one clear message each, and nothing left behind."""

import dataclasses
import gzip
import http.client
import io
import os
import re
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError

import pytest

from bncompare import cli
from bncompare.config.data import MNIST
from bncompare.errors import UserError

BASE = """\
name: base
seeds: 2
data:
  name: random_regression
  samples: 100
  validation: 0.2
model:
  name: mlp
  hidden: [8, 8]
  norm: batch
training:
  epochs: 2
  batch_size: 16
  optimizer: {name: sgd, lr: 0.1}
"""
CLAIM = """\
name: claim
data:
  name: mnist
  scaling: unit
  validation: 200
model:
  name: lenet
training:
  epochs: 1
  optimizer: {name: adam, lr: 0.001}
compare:
  model.norm: [none, batch]
claims:
  - statement: BatchNorm is no worse
    metric: test/accuracy
    variant: {model.norm: batch}
    versus: {model.norm: none}
    difference_at_least: -0.003
"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: Any
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The lines of the message, `error: ` left out, and what a slow machine says it waits for."""
        lines = self.stderr.splitlines()
        return [line.removeprefix("error: ") for line in lines if line not in WAITED_FOR]


WAITED_FOR = ("loading torch…", "reading mnist…", "reading fashion_mnist…")
Command = Callable[..., Ended]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`bncompare train …` as the console script runs it, in an empty folder, with its run folders in `runs`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BNCOMPARE_DATA", raising=False)

    def run(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            cli.main(["train", *arguments])
        captured = capsys.readouterr()
        return Ended(ended.value.code, captured.out, captured.err)

    return run


def assert_refused(ended: Ended) -> None:
    """Exit code 2, a message and nothing else, and no run folder."""
    assert ended.code == 2, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stderr
    assert not Path("runs").exists() or not any(Path("runs").iterdir())


def assert_lines(lines: list[str], patterns: tuple[str, ...]) -> None:
    """As many lines as patterns, in their order; `…` in a pattern stands for any text."""
    assert len(lines) == len(patterns), lines
    for line, pattern in zip(lines, patterns, strict=True):
        regex = ".*".join(re.escape(part) for part in pattern.split("…"))
        assert re.fullmatch(regex, line), f"{line!r} is not {pattern!r}"
        assert line.isprintable(), line
        assert len(line) <= 500, line


def base(old: str, new: str) -> str:
    """The good config with one change."""
    assert BASE.count(old) == 1, old
    return BASE.replace(old, new)


def claim(old: str, new: str) -> str:
    """The good config with a claim, with one change."""
    assert CLAIM.count(old) == 1, old
    return CLAIM.replace(old, new)


def bad(name: str, text: str | bytes, *patterns: str, options: tuple[str, ...] = ()) -> Any:
    """A config, options, and the lines of the message they give."""
    return pytest.param(text if isinstance(text, bytes) else text.encode(), options, patterns, id=name)


def bad_options(*options: str, patterns: tuple[str, ...]) -> Any:
    """Options that are bad with the good config."""
    return bad(" ".join(options)[:60], BASE, *patterns, options=options)


DATA = "data:\n  name: random_regression\n  samples: 100\n  validation: 0.2\n"
SGD = "optimizer: {name: sgd, lr: 0.1}"
NAME_RULE = "must be 1 to 80 letters, digits, '.', '_' or '-', the first no '.' or '-'"

YAML_ERRORS = [
    bad("empty file", "", "config.yaml:1: …mapping…empty"),
    bad("list", "- a\n", "config.yaml:1: …mapping…list"),
    bad("text", "hello\n", "config.yaml:1: …mapping…"),
    bad("duplicate key", base("seeds: 2", "seeds: 2\nseeds: 3"), "config.yaml:3: seeds: …duplicate…config.yaml:2"),
    bad(
        "nested duplicate",
        base("  samples: 100", "  samples: 100\n  samples: 5"),
        "config.yaml:6: data.samples: …duplicate…config.yaml:5",
    ),
    bad(
        "several duplicates",
        base("seeds: 2", "seeds: 2\nname: x\nseeds: 3"),
        "config.yaml:3: name: …duplicate…config.yaml:1",
        "config.yaml:4: seeds: …duplicate…config.yaml:2",
    ),
    bad("anchor", base("samples: 100", "samples: &n 100"), "config.yaml:5: …anchors…"),
    bad("alias", base("samples: 100", "samples: *n"), "config.yaml:5: …aliases…"),
    bad("tag", base("samples: 100", "samples: !!int 100"), "config.yaml:5: tags…"),
    bad("python tag", BASE + "x: !!python/object/apply:os.system [ls]\n", "config.yaml:15: tags…"),
    bad("merge key", base("  epochs: 2", "  <<: {epochs: 2}"), "config.yaml:12: training.<<: unknown key; …"),
    bad("second document", BASE + "---\nname: x\n", "config.yaml:15: …second…---"),
    bad("tab", base("  samples", "\tsamples"), "config.yaml:5: not valid YAML: …"),
    bad("list not closed", base("[8, 8]", "[8, 8"), "config.yaml:10: not valid YAML: …"),
    bad("two colons", base("seeds: 2", "seeds: 2: 3"), "config.yaml:2: not valid YAML: …"),
    bad(
        "control character",
        base("seeds: 2", "seeds: \x1b[2J"),
        "config.yaml:2: not valid YAML: control character U+001B",
    ),
    bad("list as a key", base("seeds: 2", "? [seeds]\n: 2"), "config.yaml:2: …key…"),
    bad("too deep", BASE + "x: " + "[" * 100_000, "config.yaml:15: nested more than 20 levels deep"),
    bad("too large", BASE + "#" * 300_000, "config.yaml: larger than 256 KiB…"),
    bad("not UTF-8", BASE.encode() + b"# caf\xe9\n", "config.yaml:15: not UTF-8…"),
    bad("UTF-16", BASE.encode("utf-16"), "config.yaml:1: not UTF-8…"),
    bad("over-long number", base("samples: 100", f"samples: {'1' * 5000}"), "config.yaml:5: …5000 digits…too long"),
    *(
        bad(
            f"leading zero: {number}",
            base("epochs: 2", f"epochs: {number}"),
            f"config.yaml:12: {number} is ambiguous…",
        )
        for number in ("012", "-012", "+012", "00", "09")
    ),
    bad("leading zero in a list", base("seeds: 2", "seeds: [1, 02]"), "config.yaml:2: 02 is ambiguous: …octal…1.2…"),
    bad("line break in a key", BASE + '"a\\nb": 1\n', "config.yaml:15: 'a…b': unknown key; …"),
    bad("escape sequence in a key", BASE + '"\\e[2J": 1\n', "config.yaml:15: …: unknown key; …"),
]

TYPE_ERRORS = [
    bad("bool for int", base("epochs: 2", "epochs: true"), "config.yaml:12: training.epochs: …number, not true"),
    bad("no for int", base("epochs: 2", "epochs: no"), "config.yaml:12: training.epochs: …whole number, not 'no'"),
    bad("float for int", base("epochs: 2", "epochs: 2.0"), "config.yaml:12: training.epochs: …whole number, not 2.0"),
    bad("quoted int", base("epochs: 2", "epochs: '2'"), "config.yaml:12: training.epochs: …whole number, not '2'"),
    bad("list for int", base("epochs: 2", "epochs: [2]"), "config.yaml:12: training.epochs: …whole number, not [2]"),
    bad("zero", base("epochs: 2", "epochs: 0"), "config.yaml:12: training.epochs: must be at least 1, not 0"),
    bad("text for float", base("lr: 0.1", "lr: fast"), "config.yaml:14: training.optimizer.lr: …number, not 'fast'"),
    bad("yes for float", base("lr: 0.1", "lr: yes"), "config.yaml:14: training.optimizer.lr: …number, not 'yes'"),
    bad("true for float", base("lr: 0.1", "lr: true"), "config.yaml:14: training.optimizer.lr: …number, not true"),
    bad("null for float", base("lr: 0.1", "lr:"), "config.yaml:14: training.optimizer.lr: …number, not null…"),
    bad("negative", base("lr: 0.1", "lr: -0.1"), "config.yaml:14: training.optimizer.lr: …greater than 0…not -0.1"),
    bad("NaN", base("lr: 0.1", "lr: .nan"), "config.yaml:14: training.optimizer.lr: must be finite, not nan"),
    bad("infinity", base("lr: 0.1", "lr: .inf"), "config.yaml:14: training.optimizer.lr: must be finite, not inf"),
    bad("overflow", base("lr: 0.1", "lr: 1e999"), "config.yaml:14: training.optimizer.lr: must be finite, not inf"),
    bad(
        "long value",
        base("lr: 0.1", "lr: " + "x" * 9000),
        "config.yaml:14: training.optimizer.lr: …number, not 'xxx…",
    ),
    bad(
        "number for bool",
        base(SGD, SGD.replace("}", ", nesterov: 1}")),
        "config.yaml:14: …nesterov: …true or false…",
    ),
    bad("number for text", base("name: base", "name: 3"), "config.yaml:1: name: must be text, not 3"),
    bad(
        "text for section",
        base(DATA, "data: mnist\n"),
        "config.yaml:3: data: must be a mapping: {name: mnist}, not 'mnist'",
    ),
    bad("null for section", base(DATA, "data:\n"), "config.yaml:3: data: must be a mapping…null…"),
    bad(
        "text for optimizer",
        base(SGD, "optimizer: sgd"),
        "config.yaml:14: training.optimizer: must be a mapping: {name: sgd, lr: 0.1}, not 'sgd'",
    ),
    bad("number for list", base("[8, 8]", "8"), "config.yaml:9: model.hidden: must be a list: [8], not 8"),
    bad("empty list", base("[8, 8]", "[]"), "config.yaml:9: model.hidden: must not be empty, not []"),
    bad("bad list entry", base("[8, 8]", "[8, 0.5]"), "config.yaml:9: model.hidden[1]: …whole number, not 0.5"),
    bad("null norm", base("norm: batch", "norm:"), "config.yaml:10: model.norm: …none, batch, …, not null…"),
]

RANGE_ERRORS = [
    bad(
        f"{old} → {new}"[:60],
        base(old, new),
        f"config.yaml:{line}: {key}: must be at most {most}, not …",
    )
    for old, new, line, key, most in [
        ("norm: batch", "init: {kind: xavier_uniform, gain: 1e300}", 10, "model.init.gain", "1e+15"),
        ("norm: batch", "init: {kind: normal, std: 2e15}", 10, "model.init.std", "1e+15"),
        ("norm: batch", f"norm: {{kind: local_response, size: {10**21}}}", 10, "model.norm.size", "131071"),
        ("norm: batch", "norm: {kind: local_response, size: 131072}", 10, "model.norm.size", "131071"),
        ("norm: batch", "norm: {kind: batch_renorm, rmax: 1e300}", 10, "model.norm.rmax", "1e+30"),
        ("norm: batch", "norm: {kind: batch_renorm, dmax: 1e300}", 10, "model.norm.dmax", "1e+30"),
        ("norm: batch", "norm: {kind: noisy_batch, noise_std: 1e39}", 10, "model.norm.noise_std", "1e+30"),
        ("norm: batch", "norm: {kind: spectral, n_power_iterations: 1001}", 10, "…n_power_iterations", "1000"),
        ("norm: batch", "norm: {kind: layer, eps: 1e300}", 10, "model.norm.eps", "1e+30"),
        ("epochs: 2", f"epochs: {10**12 + 1}", 12, "training.epochs", "1000000000000"),
        ("lr: 0.1", "lr: 1e300", 14, "training.optimizer.lr", "1e+30"),
        ("lr: 0.1", "lr: 0.1, weight_decay: 1e300", 14, "training.optimizer.weight_decay", "1e+30"),
        ("samples: 100", f"samples: 100\n  train_size: {10**21}", 6, "data.train_size", "1000000000000"),
        ("samples: 100", "samples: 100\n  noise: 1e300", 6, "data.noise", "1e+15"),
    ]
]

KEY_ERRORS = [
    bad("unknown at the top", base("seeds", "sedes"), "config.yaml:2: sedes: unknown key; …did you mean 'seeds'?"),
    bad("unknown in data", base("samples", "sample"), "config.yaml:5: data.sample: unknown…did you mean 'samples'?"),
    bad(
        "unknown in model",
        base("hidden", "hiden"),
        "config.yaml:7: model.hidden: missing…",
        "config.yaml:9: model.hiden: unknown key; …did you mean 'hidden'?",
    ),
    bad(
        "unknown in training",
        base("batch_size", "batchsize"),
        "config.yaml:13: training.batchsize: unknown key; …did you mean 'batch_size'?",
    ),
    bad(
        "unknown in optimizer",
        base("lr: 0.1", "lr: 0.1, momentun: 0.9"),
        "config.yaml:14: training.optimizer.momentun: unknown key; …did you mean 'momentum'?",
    ),
    bad(
        "unknown in norm",
        base("norm: batch", "norm: {kind: batch, epsilon: 1}"),
        "config.yaml:10: model.norm.epsilon: unknown key; valid: kind, …did you mean 'eps'?",
    ),
    bad(
        "unknown in scheduler",
        BASE + "  scheduler:\n    name: step\n    stepsize: 3\n    step_size: 3\n",
        "config.yaml:17: training.scheduler.stepsize: unknown key; …did you mean 'step_size'?",
    ),
    bad(
        "unknown in early stopping",
        BASE + "  early_stopping: {patience: 3, mindelta: 0}\n",
        "config.yaml:15: training.early_stopping.mindelta: unknown key; …did you mean 'min_delta'?",
    ),
    bad(
        "unknown in dropout",
        base("norm: batch", "dropout: {p: 0.5, layer: all}"),
        "config.yaml:10: model.dropout.layer: unknown key; …did you mean 'layers'?",
    ),
    bad("of another dataset", base("samples", "scaling"), "config.yaml:5: data.scaling: unknown key; …samples…"),
    bad("of another model", base("norm: batch", "padding: 2"), "config.yaml:10: model.padding: unknown key; …"),
    bad("no name", base("name: base\n", ""), "config.yaml:1: name: missing…"),
    bad("no data", base(DATA, ""), "config.yaml:1: data: missing…"),
    bad("no data.name", base("  name: random_regression\n", ""), "config.yaml:3: data.name: missing…"),
    bad("no hidden", base("  hidden: [8, 8]\n", ""), "config.yaml:7: model.hidden: missing…"),
    bad("no optimizer", base(f"  {SGD}\n", ""), "config.yaml:11: training.optimizer: missing…"),
    bad("no lr", base(", lr: 0.1", ""), "config.yaml:14: training.optimizer.lr: missing…"),
    bad("no std", base("norm: batch", "init: normal"), "config.yaml:10: model.init.std: missing…"),
    bad("no norm.kind", base("norm: batch", "norm: {eps: 1}"), "config.yaml:10: model.norm.kind: missing…"),
    bad(
        "a warm-up to the end",
        BASE + "  warmup: 2\n",
        "config.yaml:15: training.warmup: 2 is not before the end, epoch 2",
    ),
    bad(
        "label smoothing of numbers",
        BASE + "  label_smoothing: 0.1\n",
        "config.yaml:15: training.label_smoothing: random_regression has no classes",
    ),
    bad(
        "a rate that grows beyond all numbers",
        BASE + "  scheduler: {name: exponential, gamma: 1.0e+30}\n",
        "config.yaml:15: training.scheduler.gamma: 1e+30 lets the learning rate grow from 0.1 to about 1e+59…1e+30",
    ),
    bad("no patience", BASE + "  early_stopping: {}\n", "config.yaml:15: training.early_stopping.patience: missing…"),
]

CHOICE_ERRORS = [
    bad(
        "dataset",
        base("random_regression", "fashion-mnist"),
        "config.yaml:4: data.name: …random_regression, mnist, fashion_mnist, digits, not…'fashion_mnist'?",
    ),
    bad("model", base("name: mlp", "name: lent"), "config.yaml:8: model.name: …mlp, lenet, not 'lent'…'lenet'?"),
    bad(
        "norm",
        base("norm: batch", "norm: bach"),
        "config.yaml:10: model.norm: …none, batch, …, not 'bach'; did you mean 'batch'?",
    ),
    bad(
        "norm.kind",
        base("norm: batch", "norm: {kind: bach}"),
        "config.yaml:10: model.norm.kind: …batch, …, not 'bach'; did you mean 'batch'?",
    ),
    bad("activation", base("norm: batch", "activation: rleu"), "config.yaml:10: model.activation: …'rleu'…'relu'?"),
    bad("init", base("norm: batch", "init: kaiming"), "config.yaml:10: model.init: …kaiming_normal…, not 'kaiming'…"),
    bad(
        "optimizer",
        base("sgd", "sdg"),
        "config.yaml:14: training.optimizer.name: …sgd, adam, …, not 'sdg'…'sgd'?",
    ),
    bad("scheduler", BASE + "  scheduler: cosin\n", "config.yaml:15: training.scheduler: …'cosin'…'cosine'?"),
    bad("monitor", BASE + "  monitor: val_loss\n", "config.yaml:15: training.monitor: …'val_loss'…'val/loss'?"),
    bad("device", BASE + "  device: gpu\n", "config.yaml:15: training.device: …auto, cpu, cuda…, not 'gpu'"),
    bad("batch_size", base("16", "half"), "config.yaml:13: training.batch_size: …full, not 'half'"),
    bad("validation", base("0.2", "train"), "config.yaml:6: data.validation: …fraction…test, not 'train'"),
]

COMBINATION_ERRORS = [
    bad(
        "several at once, by line",
        BASE.replace("seeds: 2", "seeds: two")
        .replace("samples: 100", "samples: many")
        .replace("norm: batch", "norm: bach")
        .replace("epochs", "epoch")
        .replace("lr: 0.1", "lr: .nan"),
        "config.yaml:2: seeds: …, not 'two'",
        "config.yaml:5: data.samples: …, not 'many'",
        "config.yaml:10: model.norm: …'bach'…",
        "config.yaml:12: training.epoch: unknown key; …'epochs'?",
        "config.yaml:14: training.optimizer.lr: …not nan",
    ),
    bad(
        "several combinations at once",
        base("0.2", "0.001").replace("lr: 0.1", "lr: 0.1, nesterov: true") + "  steps: 3\n",
        "config.yaml:6: data.validation: …",
        "config.yaml:12: training.epochs: …not both",
        "config.yaml:14: training.optimizer.nesterov: …momentum…",
    ),
    bad(
        "of two variants",
        BASE + "compare:\n  - label: a\n    model.nrom: none\n  - label: b\n    training.optimizer.lr: x\n",
        "config.yaml:17: model.nrom: unknown key; …'norm'?",
        "config.yaml:19: training.optimizer.lr: …not 'x'",
    ),
    bad(
        "batch norm, batches of one",
        base("batch_size: 16", "batch_size: 1"),
        "config.yaml:10: model.norm: batch norm…hidden.0…one example (training.batch_size…",
    ),
    bad(
        "batch norm from scratch, batches of one",
        base("batch_size: 16", "batch_size: 1").replace("norm: batch", "norm: batch_from_scratch"),
        "config.yaml:10: model.norm: batch_from_scratch norm…hidden.0…one example…",
    ),
    bad(
        "batch norm, one training example",
        base("validation: 0.2", "train_size: 1"),
        "config.yaml:10: model.norm: batch norm…hidden.0…one example…",
    ),
    bad(
        "instance norm on dense layers",
        base("norm: batch", "norm: instance"),
        "config.yaml:10: model.norm: instance norm…dense layer hidden.0…layers: conv…",
    ),
    bad(
        "groups that do not divide",
        base("norm: batch", "norm: {kind: group, groups: 3}").replace("[8, 8]", "[9, 8]"),
        "config.yaml:10: model.norm: group norm…hidden.1…groups: 3…8 channels",
    ),
    bad(
        "channels per group that do not divide",
        base("norm: batch", "norm: {kind: group, channels_per_group: 3}").replace("[8, 8]", "[9, 8]"),
        "config.yaml:10: model.norm: group norm…hidden.1…channels_per_group: 3…8 channels",
    ),
    bad(
        "groups and channels_per_group",
        base("norm: batch", "norm: {kind: group, groups: 2, channels_per_group: 4}"),
        "config.yaml:10: model.norm: group norm…give one of them",
    ),
    bad(
        "unknown layer",
        base("norm: batch", "norm: {kind: batch, layers: [hidden.0, hidden.2]}"),
        "config.yaml:10: model.norm.layers[1]: 'hidden.2'…valid: hidden.0, hidden.1",
    ),
    bad(
        "norm on no layer",
        base("norm: batch", "norm: {kind: batch, layers: conv}"),
        "config.yaml:10: model.norm.layers: no layer…norm: none",
    ),
    bad("validation empty", base("0.2", "0.001"), "config.yaml:6: data.validation: 0.001 of 100…empty…"),
    bad("validation takes all", base("0.2", "100"), "config.yaml:6: data.validation: 100 of 100…none to train on"),
    bad("validation above 1", base("0.2", "1.5"), "config.yaml:6: data.validation: …fraction…, not 1.5"),
    bad(
        "validation on an empty test set",
        base("validation: 0.2", "validation: test\n  test_samples: 0"),
        "config.yaml:6: data.validation: test, …test_samples is 0…",
    ),
    bad(
        "train_size too large",
        base("validation: 0.2", "validation: 0.2\n  train_size: 81"),
        "config.yaml:7: data.train_size: 81…80…",
    ),
    bad(
        "data larger than memory",
        base("samples: 100", "samples: 10000000\n  features: 100000"),
        "base: batch: needs about 4,00… GB (data 4,00…, model …, a batch …) of memory; this machine has …",
    ),
    bad(
        "too many targets",
        base("samples: 100", "samples: 1000000\n  targets: 100000"),
        "base: batch: needs about 2,0… GB (data 2,0…, model …, a batch …) of memory; this machine has …",
    ),
    bad(
        "early stopping without validation",
        base("validation: 0.2", "validation: 0") + "  early_stopping: {monitor: val/loss, patience: 3}\n",
        "config.yaml:15: training.early_stopping.monitor: val/loss…validation is 0…valid: train/loss",
    ),
    bad(
        "scheduler without validation",
        base("validation: 0.2", "validation: 0") + "  scheduler: {name: reduce_on_plateau, monitor: val/loss}\n",
        "config.yaml:15: training.scheduler.monitor: val/loss…validation is 0…valid: train/loss",
    ),
    bad(
        "accuracy of a regression",
        BASE + "  monitor: val/accuracy\n",
        "config.yaml:15: training.monitor: val/accuracy…random_regression…valid: train/loss, val/loss",
    ),
    bad("epochs and steps", base("epochs: 2", "epochs: 2\n  steps: 3"), "config.yaml:12: training.epochs: …not both"),
    bad("no epochs or steps", base("  epochs: 2\n", ""), "config.yaml:11: training.epochs: missing…steps"),
    bad(
        "nesterov without momentum",
        base("lr: 0.1", "lr: 0.1, nesterov: true"),
        "config.yaml:14: training.optimizer.nesterov: …momentum…",
    ),
    bad(
        "lenet on random regression",
        base("name: mlp\n  hidden: [8, 8]", "name: lenet"),
        "config.yaml:8: model.name: lenet cannot take inputs of 10: conv.0 needs images…mlp",
    ),
    bad(
        "milestones that do not increase",
        BASE + "  scheduler: {name: multistep, milestones: [3, 2]}\n",
        "config.yaml:15: training.scheduler.milestones: must increase, not [3, 2]",
    ),
]

DIAGNOSTICS_ERRORS = [
    bad(f"diagnostics {setting}", BASE + f"diagnostics: {{{setting}}}\n", f"config.yaml:15: diagnostics{pattern}")
    for setting, pattern in [
        ("layers: [hidden.0, hidden.0]", ".layers: an entry is there twice: ['hidden.0', 'hidden.0']"),
        ("activations: true, units: [1, 1]", ".units: an entry is there twice: [1, 1]"),
        ("eval_stats: [batch, batch]", ".eval_stats: an entry is there twice: ['batch', 'batch']"),
        ("landscape: [1]", ".landscape: must have at least 2 entries, not [1]"),
        ("layers: [hidden.0, hidden.2]", ".layers[1]: 'hidden.2' is not…valid: hidden.0, hidden.1, output"),
        ("layers: hidden.0", ".layers: must be all, or a list of layer names, not 'hidden.0'"),
        ("units: [0]", ".units: needs activations: true"),
        ("activations: true, units: [3, 8]", ".units: 8 is not a unit of hidden.0: it has units 0 to 7"),
        ("landscape: [4, 0.5]", ".landscape: must increase, not [4.0, 0.5]"),
        ("landscape: [1]", ".landscape: …"),
        ("examples: 81", ".examples: 81 is more than the 80 training examples"),
        ("examples: 1", ".examples: batch norm has no statistics of 1"),
        ("one_at_a_time: 21", ".one_at_a_time: 21 is more than the 20 validation examples"),
        ("gradient: true", ".gradient: unknown key; …did you mean 'gradients'?"),
    ]
]

SAMPLER_ERRORS = [
    bad(
        "clusters of classes where there are none",
        BASE + "  sampler: {name: class_clustered, classes_per_batch: 2}\n",
        "config.yaml:15: training.sampler: class_clustered: random_regression has no classes",
    ),
    bad(
        "clusters that do not divide the batch",
        claim("  epochs: 1\n", "  epochs: 1\n  sampler: {name: class_clustered, classes_per_batch: 3}\n"),
        "config.yaml:10: training.sampler.classes_per_batch: 3 does not divide the batch size, 64",
    ),
    bad(
        "sampler without its option",
        claim("  epochs: 1\n", "  epochs: 1\n  sampler: class_clustered\n"),
        "config.yaml:10: training.sampler.classes_per_batch: missing…",
    ),
    bad(
        "diverged_above at most 1",
        BASE + "  diverged_above: 1\n",
        "config.yaml:15: …diverged_above: …greater than 1…",
    ),
]

NAME_ERRORS = [
    bad(f"name {name[:8]}", base("name: base", f"name: {name}"), f"config.yaml:1: name: {NAME_RULE}, not {shown}")
    for name, shown in [
        ("..", "'..'"),
        (".", "'.'"),
        (".hidden", "'.hidden'"),
        ("-x", "'-x'"),
        ("a b", "'a b'"),
        ("a/b", "'a/b'"),
        ("../x", "'../x'"),
        ("x" * 81, "'xxx…"),
        ("''", "''"),
        ("é", "'é'"),
        ('"a\\0b"', "'a\\x00b'"),
    ]
]

SEEDS_ERRORS = [
    bad(f"seeds {seeds}", base("seeds: 2", f"seeds: {seeds}"), f"config.yaml:2: seeds: …, not {shown}")
    for seeds, shown in [
        ("0", "0"),
        ("-1", "-1"),
        ("10001", "10001"),
        ("[]", "[]"),
        ("[0, -1]", "[0, -1]"),
        ("0-4", "'0-4'"),
        ("true", "true"),
        ("1.5", "1.5"),
        ("[9223372036854775808]", "[9223372036854775808]"),
    ]
]

SEEDS_ERRORS += [
    bad(f"seeds {seeds}", base("seeds: 2", f"seeds: {seeds}"), f"config.yaml:2: seeds{pattern}")
    for seeds, pattern in [
        ("decided", ": must be a number of seeds…, a list…, or {until: decided}, not 'decided'"),
        ("{at_most: 5}", ".until: missing: this key is required"),
        ("{}", ".until: missing: this key is required"),
        ("{until: dark}", ".until: must be one of decided, not 'dark'"),
        ("{until: decided, at_least: 1}", ".at_least: must be at least 2, not 1"),
        ("{until: decided, at_most: 10001}", ".at_most: must be at most 10000, not 10001"),
        ("{until: decided, at_a_time: 0}", ".at_a_time: must be at least 1, not 0"),
        ("{until: decided, at_most: all}", ".at_most: must be a whole number, not 'all'"),
        ("{until: decided, at_most: 3}", ".at_most: 3 is less than at_least, 4"),
        ("{until: decided, at_least: 50}", ".at_most: 40 is less than at_least, 50"),
        ("{until: decided, at_mots: 5}", ".at_mots: unknown key; …did you mean 'at_most'?"),
    ]
]

COMPARE_ERRORS = [
    bad(f"compare {compare[:50]}", BASE + f"compare: {compare}\n", f"config.yaml:15: {pattern}")
    for compare, pattern in [
        ("3", "compare: …mapping…list…, not 3"),
        ("[]", "compare: …, not []"),
        ("{}", "compare: …, not {}"),
        ("{model.norm: batch}", "compare.model.norm: must be a list…, not 'batch'"),
        ("{model.norm: []}", "compare.model.norm: must be a list…, not []"),
        ("{modle.norm: [batch]}", "compare.modle.norm: …data, model, training, diagnostics; did you mean 'model'?"),
        ("{seeds: [1, 2]}", "compare.seeds: …data, model, training, diagnostics"),
        ("{name: [a, b]}", "compare.name: …data, model, training, diagnostics"),
        ("{model.name.x: [1, 2]}", "model.name.x: model.name is 'mlp', …"),
        ("{model.norm: [none, bach]}", "model.norm: …'bach'; did you mean 'batch'?"),
        ("[batch]", "compare[0]: …mapping…label, not 'batch'"),
        ("[{model.norm: batch}]", "compare[0].label: …"),
        ("[{label: 3}]", "compare[0].label: …, not 3"),
        ("[{label: ''}]", "compare[0].label: …, not ''"),
        ('[{label: "a\\nb"}]', "compare[0].label: …, not 'a\\nb'"),
        ("[{label: '  '}]", "compare[0].label: must be 1 to 120 visible characters, not '  '"),
        *(
            (f'[{{label: "a{escape}b"}}]', "compare[0].label: must be 1 to 120 visible characters, not 'a…b'")
            for escape in (r"\u200b", r"\u00a0", r"\u2028", r"\u202e", r"\u00ad", r"\u3164", r"\ufe0f", r"\U000e0001")
        ),
        ('{model.activation: [relu, "a\\nb"]}', r"compare: 'a\nb' is no label…visible…labels of their own…"),
        ("{model.activation: ['']}", "compare: '' is no label (1 to 120 visible characters); …"),
        ("{data.dir: [/a\u00a0b]}", r"compare: '/a\xa0b' is no label (1 to 120 visible characters); …"),
        ('[{label: a}, {label: "a ", model.norm: none}]', "compare: two…called 'a '; it looks like 'a'"),
        ("[{label: a  b}, {label: a b, model.norm: none}]", "compare: two…called 'a b'; it looks like 'a  b'"),
        ("[{label: \u00e9}, {label: e\u0301, model.norm: none}]", "compare: two…called '…'; it looks like '\u00e9'"),
        ("[{label: a1}, {label: a\uff11, model.norm: none}]", "compare: two…called 'a\uff11'; it looks like 'a1'"),
        ("[{label: a, lable: b}]", "compare[0].lable: …"),
        ("[{label: a}, {label: a, model.norm: none}]", "compare: …'a'…"),
        ("[{label: a}, {label: b}]", "compare: 'a' and 'b'…same…"),
        (
            f"{{model.hidden: [{[4] * 60}, {[4] * 61}]}}",
            "compare: two variants are called 'hidden=[4, 4…; give the variants labels of their own: …",
        ),
        ("{training.optimizer.lr: [" + "0.1, " * 10001 + "]}", "compare: more than 10,000 variants"),
    ]
]

CLAIM_ERRORS = [
    bad(
        "claim metric",
        claim("test/accuracy", "test/acc"),
        "config.yaml:15: claims[0].metric: …, not 'test/acc'; did you mean 'test/accuracy'?",
    ),
    bad(
        "claim metric that will not exist",
        claim("  validation: 200\n", "").replace("metric: test/accuracy", "metric: val/loss"),
        "config.yaml:14: claims[0].metric: val/loss…valid: train/loss, train/accuracy, test/loss, test/acc…diverged",
    ),
    bad(
        "claim about a diagnostic that is not measured",
        claim("test/accuracy", "diagnostics/dense.9/gamma mean")
        + "    at: last\ndiagnostics: {norm_parameters: true, layers: [conv.0]}\n",
        "config.yaml:15: claims[0].metric: diagnostics/dense.9/gamma mean will not be measured in batch; "
        "valid: conv.0/gamma mean, conv.0/gamma min, …",
    ),
    bad(
        "claim about a diagnostic that one of the variants has not",
        claim("test/accuracy", "diagnostics/*/gamma mean") + "    at: last\ndiagnostics: {norm_parameters: true}\n",
        "config.yaml:15: claims[0].metric: … will not be measured in none; valid: none: see diagnostics",
    ),
    bad(
        "claim about the mean of a test metric",
        claim("    variant", "    at: mean\n    variant"),
        "config.yaml:16: claims[0].at: must be best or last…",
    ),
    bad(
        "claim at",
        claim("    variant", "    at: first\n    variant"),
        "config.yaml:16: claims[0].at: …best, last…, not 'first'",
    ),
    bad(
        "claim at epoch and step",
        claim("    variant", "    at: {epoch: 1, step: 1}\n    variant"),
        "config.yaml:16: claims[0].at: …epoch or step…",
    ),
    bad(
        "claim variant",
        claim("variant: {model.norm: batch}", "variant: {model.norm: layer}"),
        "config.yaml:16: claims[0].variant: …layer…: none, batch",
    ),
    bad(
        "claim versus",
        claim("versus: {model.norm: none}", "versus: {label: nothing}"),
        "config.yaml:17: claims[0].versus: …nothing…: none, batch",
    ),
    bad(
        "claim: divergence of two variants",
        claim("metric: test/accuracy", "metric: diverged"),
        "config.yaml:17: claims[0].versus: diverged is claimed of one variant: leave out versus",
    ),
    bad(
        "claim at an evaluation without diagnostics",
        claim(
            "    metric: test/accuracy", "    at: {epoch: 1}\n    metric: diagnostics/output/gradient norm"
        ).replace("epochs: 1", "epochs: 3")
        + "diagnostics: {gradients: true, every: 2}\n",
        "config.yaml:15: claims[0].at: diagnostics are measured once in 2 evaluations…: perhaps not there",
    ),
    bad(
        "claim at the best of rare diagnostics",
        claim("metric: test/accuracy", "metric: diagnostics/output/gradient norm")
        + "diagnostics: {gradients: true, every: 2}\n",
        "config.yaml:14: claims[0].at: diagnostics are measured once in 2 evaluations…: perhaps not there",
    ),
    bad(
        "claim without variants to compare",
        claim("compare:\n  model.norm: [none, batch]\n", "").replace("name: lenet\n", "name: lenet\n  norm: batch\n"),
        "config.yaml:16: claims[0].versus: …none… is none of the variants; they are: …",
    ),
    bad(
        "claim without a bound or variants to compare",
        BASE + "claims:\n  - {statement: s, metric: val/loss, variant: {model.norm: batch}}\n",
        "config.yaml:16: claims[0]: needs a bound…",
    ),
    bad(
        "claim beside other problems",
        claim("versus: {model.norm: none}", "versus: {label: nothing}")
        + "diagnostics: {landscape: [4, 1], units: [1]}\n",
        "config.yaml:17: claims[0].versus: …nothing…: none, batch",
        "config.yaml:19: diagnostics.units: needs activations: true",
        "config.yaml:19: diagnostics.landscape: must increase, not [4.0, 1.0]",
    ),
    bad(
        "claim variant as text",
        claim("variant: {model.norm: batch}", "variant: batch"),
        "config.yaml:16: claims[0].variant: must be a mapping…, not 'batch'",
    ),
    bad(
        "claim without a bound",
        claim("    difference_at_least: -0.003\n", ""),
        "config.yaml:14: claims[0]: needs a bound…",
    ),
    bad(
        "claim: a difference without versus",
        claim("    versus: {model.norm: none}\n", ""),
        "config.yaml:14: claims[0]: …versus…",
    ),
    bad(
        "claim: a value with versus", claim("difference_at_least", "at_least"), "config.yaml:14: claims[0]: …versus…"
    ),
    bad(
        "claim bound NaN", claim("-0.003", ".nan"), "config.yaml:18: claims[0].difference_at_least: …finite, not nan"
    ),
    bad(
        "claim key",
        claim("difference_at_least", "diference_at_least"),
        "config.yaml:18: claims[0].diference_at_least: unknown key; …did you mean 'difference_at_least'?",
    ),
    bad(
        "claim without a statement",
        claim("statement: BatchNorm is no worse\n    metric", "metric"),
        "config.yaml:14: claims[0].statement: missing…",
    ),
    bad("claims as a mapping", BASE + "claims: {statement: x}\n", "config.yaml:15: claims: must be a list, not …"),
]

OPTION_ERRORS = [
    bad_options("--set", "training.epochs", patterns=("--set training.epochs: must be KEY=VALUE…",)),
    bad(
        "a dry run of what does not fit",
        base("[8, 8]", f"{[65536] * 40}"),
        "base: batch: needs about 1…,… GB (data 0.0, model 1…,…, a batch …) of memory; this machine has …",
        options=("--dry-run",),
    ),
    bad_options("--set", "training..lr=3", patterns=("--set training..lr=3: must be KEY=VALUE…",)),
    bad_options(
        "--set", "training.optmizer.lr=1", patterns=("--set …: training.optmizer: unknown key; …'optimizer'?",)
    ),
    bad_options("--set", "lr=0.1", patterns=("--set lr=0.1: lr: unknown key; did you mean training.optimizer.lr?",)),
    bad_options("--set", "training.epochs=no", patterns=("--set training.epochs=no: training.epochs: …, not 'no'",)),
    bad_options("--set", "training.epochs=012", patterns=("--set training.epochs=012: 012 is ambiguous…",)),
    bad_options("--set", "training.epochs=", patterns=("--set training.epochs=: training.epochs: …",)),
    bad_options("--set", "model.norm=", patterns=("--set model.norm=: model.norm: …",)),
    bad_options("--set", "training.epochs=[", patterns=("--set training.epochs=[: not valid YAML: …",)),
    bad_options("--set", "name.x=3", patterns=("--set name.x=3: name.x: name is 'base', …",)),
    bad_options("--set", "training.epochs=" + "9" * 60, patterns=("--set …: a number of 60 digits is too long",)),
    bad_options("--set", "training.epochs=" + "x" * 20_000, patterns=("--set training.epochs=…too long",)),
    bad_options("--set", "training.epochs=1\n2", patterns=("--set 'training.epochs=1…: training.epochs: …",)),
    bad_options(
        "--set",
        "data.samples=x",
        "--set",
        "training.epochs=no",
        patterns=("--set data.samples=x: data.samples: …", "--set training.epochs=no: training.epochs: …"),
    ),
    bad(
        "--set without effect",
        CLAIM,
        "--set model.norm=layer: has no effect…compare.model.norm…",
        options=("--set", "model.norm=layer"),
    ),
    bad_options("--seeds", "a", patterns=("--seeds a: …0-4…0,3,7…",)),
    bad_options("--seeds", "0-2,1", patterns=("--seeds 0-2,1: seeds: 1 is there twice",)),
    bad_options("--set", "seeds=[0, 0]", patterns=("--set seeds=[0, 0]: seeds: 0 is there twice",)),
    bad_options("--seeds", "012", patterns=("--seeds 012: 012 is ambiguous…",)),
    bad_options("--seeds", "5-1", patterns=("--seeds 5-1: …",)),
    bad_options("--seeds", "", patterns=("--seeds : …",)),
    bad_options("--seeds", "0", patterns=("--seeds 0: is a number of seeds, and none; the seed 0 alone is 0-0",)),
    bad_options("--seeds", "0-99999", patterns=("--seeds 0-99999: …10000 seeds",)),
    bad_options("--seeds", "1.5", patterns=("--seeds 1.5: …",)),
    bad_options("--seeds", "3", "--until-decided", patterns=("--seeds and --until-decided: one or the other…",)),
    bad_options("--max-seeds", "9", patterns=("--max-seeds 9: …add --until-decided",)),
    bad_options("--until-decided", "--max-seeds", "3", patterns=("--max-seeds 3: seeds.at_most: 3 is less than…4",)),
    bad_options(
        "--until-decided", "--max-seeds", "0", patterns=("--max-seeds 0: seeds.at_most: must be at least 2…",)
    ),
    bad_options("--until-decided", "--select", "1/2", patterns=("--select 1/2: …until it is decided…",)),
    bad_options("--device", "gpu", patterns=("--device gpu: …auto, cpu, cuda…",)),
    bad_options("--device", "", patterns=("--device : …auto, cpu, cuda…",)),
    bad_options("--device", "cuda:", patterns=("--device cuda:: …auto, cpu, cuda…, not 'cuda:'",)),
    bad_options("--device", "cuda:999", patterns=("device cuda:999: …cpu",)),
]


@pytest.mark.parametrize(
    ("content", "options", "patterns"),
    [
        *YAML_ERRORS,
        *TYPE_ERRORS,
        *RANGE_ERRORS,
        *KEY_ERRORS,
        *CHOICE_ERRORS,
        *COMBINATION_ERRORS,
        *DIAGNOSTICS_ERRORS,
        *SAMPLER_ERRORS,
        *NAME_ERRORS,
        *SEEDS_ERRORS,
        *COMPARE_ERRORS,
        *CLAIM_ERRORS,
        *OPTION_ERRORS,
    ],
)
def test_bad_config(train: Command, content: bytes, options: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    """Whatever is wrong with a config is said at once, each with its line, key, bad value and the valid ones."""
    Path("config.yaml").write_bytes(content)
    ended = train("config.yaml", *options)
    assert_refused(ended)
    assert_lines(ended.errors, patterns)


@pytest.mark.parametrize(
    ("number", "last"), [(100, "…:114: key99: …"), (101, "… and 1 more"), (9000, "… and 8900 more")]
)
def test_a_hundred_problems_are_printed(train: Command, number: int, last: str) -> None:
    """Of very many problems the first hundred are said, and how many more there are."""
    Path("config.yaml").write_text(BASE + "".join(f"key{i}: 1\n" for i in range(number)))
    ended = train("config.yaml")
    assert_refused(ended)
    first = [f"config.yaml:{15 + i}: key{i}: unknown key; …" for i in range(100)]
    assert_lines(ended.errors, (*first[: number - 1], last) if number == 100 else (*first, last))


def test_a_long_problem_is_cut_in_its_middle(train: Command) -> None:
    """A line has at most 500 characters; its beginning says what is wrong, its end what would be right."""
    key = "x" * 600
    Path("config.yaml").write_text(BASE + f"{key}: 1\n")
    ended = train("config.yaml")
    assert_refused(ended)
    (line,) = ended.errors
    assert len(line) == 500
    assert_lines([line], (f"config.yaml:15: {key[:100]}…claims, compare, tune, judge_seeds",))


@pytest.mark.parametrize(
    ("paths", "patterns"),
    [
        pytest.param(["none.yaml"], ["none.yaml: no such file"], id="missing"),
        pytest.param(["folder"], ["folder: …folder…"], id="folder"),
        pytest.param(["good.yaml/x.yaml"], ["good.yaml/x.yaml: …"], id="below a file"),
        pytest.param(["link.yaml"], ["link.yaml: no such file"], id="dangling link"),
        pytest.param(["/dev/zero"], ["/dev/zero: larger than 256 KiB…"], id="endless"),
        pytest.param(["binary"], ["binary:2: not UTF-8…"], id="binary"),
        pytest.param(
            ["good.yaml", "same.yaml"], ["same.yaml: name: 'base' is also that of good.yaml"], id="same name"
        ),
        pytest.param(
            ["good.yaml", "good.yaml"],
            ["good.yaml: name: 'base' is also that of good.yaml"],
            id="the same file twice",
        ),
        pytest.param(
            ["none.yaml", "good.yaml", "folder", "bad.yaml"],
            ["none.yaml: no such file", "folder: …folder…", "bad.yaml:5: data.samples: …"],
            id="problems of several configs",
        ),
    ],
)
def test_bad_config_path(train: Command, paths: list[str], patterns: list[str]) -> None:
    """A path that is no config is named, and so is every other one; two experiments need two names."""
    Path("good.yaml").write_text(BASE)
    Path("same.yaml").write_text(base("epochs: 2", "epochs: 3"))
    Path("bad.yaml").write_text(base("samples: 100", "samples: x"))
    Path("binary").write_bytes(bytes(range(256)))
    Path("folder").mkdir()
    Path("link.yaml").symlink_to("nowhere")
    ended = train(*paths)
    assert_refused(ended)
    assert_lines(ended.errors, tuple(patterns))


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "CONFIG"),
        (["--frsh", "good.yaml"], "--fresh"),
        (["good.yaml", "--seeds"], "--seeds"),
        (["good.yaml", "--dry-run=3"], "--dry-run"),
    ],
)
def test_bad_usage(train: Command, arguments: list[str], fragment: str) -> None:
    """A command line that cannot be parsed ends with exit code 2 and names what is wrong."""
    Path("good.yaml").write_text(BASE)
    ended = train(*arguments)
    assert_refused(ended)
    assert fragment in ended.errors[-1] or fragment in ended.stderr.split("Error: ")[-1]


@pytest.mark.parametrize("text", [BASE, CLAIM])
def test_the_good_configs_are_good(train: Command, text: str) -> None:
    """The configs that the bad ones are made of are accepted, and a dry run leaves no run folder either."""
    Path("config.yaml").write_text(text)
    ended = train("config.yaml", "--dry-run")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout
    assert not Path("runs").exists()


# ---------------------------------------------------------------- data directories

IMAGES = """\
name: images
data: {name: mnist}
model: {name: mlp, hidden: [4]}
training: {steps: 1, optimizer: {name: sgd, lr: 0.1}}
"""
IMAGE_FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
ARCHIVES = [f"{name}.gz" for name in IMAGE_FILES]
DATA_ROOT = Path(os.environ["BNCOMPARE_DATA"]).resolve() if os.environ.get("BNCOMPARE_DATA") else None


def offline(*_arguments: object, **_options: object) -> NoReturn:
    raise URLError("no network in tests")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads fail at once, here and on machines with a network."""
    monkeypatch.setattr(urllib.request, "urlopen", offline)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the eight published MNIST files, archives and extracted."""
    if DATA_ROOT is None:
        pytest.skip("BNCOMPARE_DATA is not set")
    folder = tmp_path_factory.mktemp("originals")
    for name in ARCHIVES:
        content = (DATA_ROOT / "MNIST" / "raw" / name).read_bytes()
        (folder / name).write_bytes(content)
        (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(content))
    return folder


Place = Callable[..., Path]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Puts published files into a data directory; the others are left out."""

    def put(names: list[str], dataset: str = "MNIST") -> Path:
        raw = tmp_path / "data" / dataset / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.link(request.getfixturevalue("originals") / name, raw / name)
        return raw

    return put


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file's content; other links to it keep theirs."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))


def halve(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Everything in a folder, hidden files too: its kind, size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        is_folder = path.is_dir() and not path.is_symlink()
        found[str(path.relative_to(folder))] = (
            status.st_mode,
            0 if is_folder else status.st_size,
            status.st_mtime_ns,
        )
    return found


def kinds_and_sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything in a folder but the times, which creating and removing a scratch folder may change."""
    return {name: (mode, size) for name, (mode, size, _) in listing(folder).items()}


def no_directory(_place: Place) -> None:
    """Nothing there."""


def no_nested_directory(_place: Place) -> None:
    """Nothing there, nor are the folders above it."""


def empty_directory(_place: Place) -> None:
    Path("data").mkdir()


def file_as_directory(_place: Place) -> None:
    Path("data").write_text("not a folder")


def dangling_link(_place: Place) -> None:
    Path("data").symlink_to("nowhere")


def other_dataset(place: Place) -> None:
    place(ARCHIVES, "FashionMNIST")


def no_raw_folder(place: Place) -> None:
    raw = place(ARCHIVES)
    for name in ARCHIVES:
        (raw / name).rename(raw.parent / name)


def raw_is_a_file(_place: Place) -> None:
    Path("data/MNIST").mkdir(parents=True)
    Path("data/MNIST/raw").write_text("not a folder")


def truncated_archive(place: Place) -> None:
    rewrite(place(ARCHIVES) / ARCHIVES[0], halve)


def flipped_byte(place: Place) -> None:
    rewrite(place(ARCHIVES) / ARCHIVES[1], flip)


def empty_archive(place: Place) -> None:
    rewrite(place(ARCHIVES) / ARCHIVES[0], lambda _: b"")


def archive_missing(place: Place) -> None:
    place([name for name in ARCHIVES if name != ARCHIVES[3]])


def two_archives_missing(place: Place) -> None:
    place(ARCHIVES[1:3])


def archive_is_a_folder(place: Place) -> None:
    raw = place(ARCHIVES[1:])
    (raw / ARCHIVES[0]).mkdir()


def archive_is_a_dangling_link(place: Place) -> None:
    raw = place(ARCHIVES[1:])
    (raw / ARCHIVES[0]).symlink_to("nowhere")


def archive_of_other_file(place: Place) -> None:
    raw = place(ARCHIVES)
    (raw / ARCHIVES[0]).unlink()
    os.link(raw / ARCHIVES[2], raw / ARCHIVES[0])


def extracted_truncated(place: Place) -> None:
    rewrite(place(IMAGE_FILES) / IMAGE_FILES[0], halve)


def extracted_changed(place: Place) -> None:
    rewrite(place(IMAGE_FILES) / IMAGE_FILES[0], flip)


def endless(place: Place) -> None:
    """A terabyte in place of an archive, and devices in place of the others."""
    raw = place([])
    with (raw / ARCHIVES[0]).open("wb") as file:
        file.truncate(2**40)
    for name in (*ARCHIVES[1:], *IMAGE_FILES):
        (raw / name).symlink_to("/dev/zero")


def extracted_missing(place: Place) -> None:
    place(IMAGE_FILES[1:])


@pytest.mark.parametrize(
    ("spoil", "data_dir", "files"),
    [
        pytest.param(no_directory, "data", ARCHIVES, id="missing"),
        pytest.param(no_nested_directory, "data/below/that", ARCHIVES, id="missing with its parents"),
        pytest.param(empty_directory, "data", ARCHIVES, id="empty"),
        pytest.param(file_as_directory, "data", [], id="a file"),
        pytest.param(file_as_directory, "data/sub", [], id="below a file"),
        pytest.param(dangling_link, "data", [], id="dangling link"),
        pytest.param(other_dataset, "data", ARCHIVES, id="other dataset", marks=pytest.mark.data),
        pytest.param(no_raw_folder, "data", ARCHIVES, id="no raw folder", marks=pytest.mark.data),
        pytest.param(raw_is_a_file, "data", [], id="raw is a file"),
        pytest.param(endless, "data", ARCHIVES, id="files without end", marks=pytest.mark.data),
        pytest.param(truncated_archive, "data", ARCHIVES[:1], id="archive truncated", marks=pytest.mark.data),
        pytest.param(flipped_byte, "data", ARCHIVES[1:2], id="archive with a flipped byte", marks=pytest.mark.data),
        pytest.param(empty_archive, "data", ARCHIVES[:1], id="archive empty", marks=pytest.mark.data),
        pytest.param(archive_missing, "data", ARCHIVES[3:], id="archive missing", marks=pytest.mark.data),
        pytest.param(
            two_archives_missing,
            "data",
            [ARCHIVES[0], ARCHIVES[3]],
            id="two archives missing",
            marks=pytest.mark.data,
        ),
        pytest.param(archive_is_a_folder, "data", ARCHIVES[:1], id="archive is a folder", marks=pytest.mark.data),
        pytest.param(
            archive_is_a_dangling_link, "data", ARCHIVES[:1], id="archive is a dangling link", marks=pytest.mark.data
        ),
        pytest.param(
            archive_of_other_file, "data", ARCHIVES[:1], id="archive is another one", marks=pytest.mark.data
        ),
        pytest.param(extracted_truncated, "data", ARCHIVES, id="extracted file truncated", marks=pytest.mark.data),
        pytest.param(extracted_changed, "data", ARCHIVES, id="extracted file changed", marks=pytest.mark.data),
        pytest.param(extracted_missing, "data", ARCHIVES, id="extracted file missing", marks=pytest.mark.data),
    ],
)
def test_bad_data_directory(
    train: Command, place: Place, spoil: Callable[[Place], None], data_dir: str, files: list[str], tmp_path: Path
) -> None:
    """Data that is not whole is one message with the folder and the files to get; no file or folder is changed."""
    spoil(place)
    Path("config.yaml").write_text(IMAGES)
    before = kinds_and_sizes(tmp_path)
    ended = train("config.yaml", "--data-dir", data_dir)
    assert_refused(ended)
    assert "MNIST" in ended.stderr
    assert data_dir in ended.errors[0]
    named = [name for name in ARCHIVES if re.search(rf"^  {re.escape(name)} ", ended.stderr, re.MULTILINE)]
    if files:
        assert named == files
        assert f"Put these files into {data_dir}/MNIST/raw" in ended.stderr
    assert kinds_and_sizes(tmp_path) == before


@pytest.mark.parametrize("source", ["option", "environment", "config"])
def test_the_data_directory_that_was_asked_for_is_named(
    train: Command, monkeypatch: pytest.MonkeyPatch, source: str, tmp_path: Path
) -> None:
    """The message names the folder whichever way it was given: --data-dir, BNCOMPARE_DATA or data.dir."""
    Path("config.yaml").write_text(IMAGES.replace("{name: mnist}", "{name: fashion_mnist, dir: from-config}"))
    options = []
    if source != "config":
        monkeypatch.setenv("BNCOMPARE_DATA", "from-environment")
    if source == "option":
        options = ["--data-dir", "from-option"]
    before = kinds_and_sizes(tmp_path)
    ended = train("config.yaml", *options)
    assert_refused(ended)
    assert f"from-{source}/FashionMNIST/raw" in ended.stderr
    assert kinds_and_sizes(tmp_path) == before


class Answer(io.BytesIO):
    """What urlopen returns, as far as torchvision looks at it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.length = len(content)
        self.url: str | None = None


def wrong_answer(*_arguments: object, **_options: object) -> Answer:
    return Answer(b"<html>Please log in to this network</html>")


def garbled_answer(*_arguments: object, **_options: object) -> NoReturn:
    raise http.client.BadStatusLine("ICY 200 OK")


def cut_answer(*_arguments: object, **_options: object) -> NoReturn:
    raise http.client.IncompleteRead(b"", 100)


def reset_connection(*_arguments: object, **_options: object) -> NoReturn:
    raise ConnectionResetError(104, "Connection reset by peer")


def no_answer(*_arguments: object, **_options: object) -> NoReturn:
    raise TimeoutError("timed out")


@pytest.mark.parametrize("answer", [wrong_answer, garbled_answer, cut_answer, reset_connection, no_answer])
def test_bad_download(
    train: Command, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., object], tmp_path: Path
) -> None:
    """A download that goes wrong, in whatever way, is one message with all the files to get, and leaves nothing."""
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    Path("config.yaml").write_text(IMAGES)
    before = kinds_and_sizes(tmp_path)
    ended = train("config.yaml", "--data-dir", "data")
    assert ended.code == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "data/MNIST/raw" in ended.stderr
    assert [name for name in ARCHIVES if name in ended.stderr] == ARCHIVES
    assert kinds_and_sizes(tmp_path) == before


@pytest.fixture
def pool_sizes() -> Callable[[Path], list[tuple[int, ...]]]:
    """Loads MNIST from a data directory and tells the shapes of its four parts."""

    def load(data_dir: Path) -> list[tuple[int, ...]]:
        from bncompare.training.images import load_pool

        pool = load_pool(MNIST(name="mnist"), data_dir)
        return [tuple(part.shape) for part in vars(pool).values()]

    return load


PUBLISHED = [(60_000, 1, 28, 28), (60_000,), (10_000, 1, 28, 28), (10_000,)]
PoolSizes = Callable[[Path], list[tuple[int, ...]]]


@pytest.mark.data
def test_archives_are_extracted(place: Place, pool_sizes: PoolSizes, originals: Path) -> None:
    """The four archives alone give 60,000 and 10,000 images, and stay beside the extracted files."""
    raw = place(ARCHIVES)
    assert pool_sizes(raw.parents[1]) == PUBLISHED
    assert sorted(listing(raw.parents[1])) == [
        "MNIST",
        "MNIST/raw",
        *sorted(f"MNIST/raw/{p.name}" for p in raw.iterdir()),
    ]
    assert sorted(path.name for path in raw.iterdir()) == sorted([*IMAGE_FILES, *ARCHIVES])
    for name in IMAGE_FILES:
        assert (raw / name).read_bytes() == (originals / name).read_bytes()


@pytest.mark.data
@pytest.mark.parametrize("spoil", [halve, flip], ids=["truncated", "changed"])
def test_a_bad_extracted_file_is_healed(
    place: Place, pool_sizes: PoolSizes, originals: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """An extracted file that is cut short or changed is extracted again from the archive beside it."""
    raw = place([*IMAGE_FILES, *ARCHIVES])
    rewrite(raw / IMAGE_FILES[2], spoil)
    assert pool_sizes(raw.parents[1]) == PUBLISHED
    assert (raw / IMAGE_FILES[2]).read_bytes() == (originals / IMAGE_FILES[2]).read_bytes()
    assert sorted(path.name for path in raw.iterdir()) == sorted([*IMAGE_FILES, *ARCHIVES])


@pytest.mark.data
def test_an_extracted_copy_is_only_read(place: Place, pool_sizes: PoolSizes) -> None:
    """Extracted files without their archives are used as they are, and nothing is written."""
    raw = place(IMAGE_FILES)
    before = listing(raw.parents[1])
    assert pool_sizes(raw.parents[1]) == PUBLISHED
    assert listing(raw.parents[1]) == before


@pytest.mark.data
def test_a_failed_preparation_can_be_mended(place: Place, pool_sizes: PoolSizes, originals: Path) -> None:
    """Once the file that was asked for is put where the message says, the data is used."""
    raw = place(ARCHIVES[:3])
    with pytest.raises(UserError) as caught:
        pool_sizes(raw.parents[1])
    assert ARCHIVES[3] in str(caught.value)
    shutil.copy(originals / ARCHIVES[3], raw)
    assert pool_sizes(raw.parents[1]) == PUBLISHED
