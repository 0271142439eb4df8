"""Bad configs, options and data directories: exit code 2, one clear message each, and nothing left behind."""

import dataclasses
import gzip
import http.client
import io
import os
import re
import shutil
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.error import URLError

import pytest

from bncompare import cli
from bncompare.datasets import MNIST
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


def wrong(text: str | bytes, *patterns: str) -> Any:
    """A config and the lines of the message it gives, each from the line number on."""
    lines = [re.sub(r"^(?=\d)", "config.yaml:", pattern) for pattern in patterns]
    return bad(ascii(patterns[0])[1:60], text, *lines)


def bad_options(*options: str, patterns: tuple[str, ...]) -> Any:
    """Options that are bad with the good config."""
    return bad(" ".join(options)[:60], BASE, *patterns, options=options)


DATA = "data:\n  name: random_regression\n  samples: 100\n  validation: 0.2\n"
SGD = "optimizer: {name: sgd, lr: 0.1}"
NAME_RULE = "must be 1 to 80 letters, digits, '.', '_' or '-', the first no '.' or '-'"

YAML_ERRORS = [
    wrong("", "1: …mapping…empty"),
    wrong("- a\n", "1: …mapping…list"),
    wrong("hello\n", "1: …mapping…"),
    wrong(base("seeds: 2", "seeds: 2\nseeds: 3"), "3: seeds: …duplicate…config.yaml:2"),
    wrong(base("  samples: 100", "  samples: 100\n  samples: 5"), "6: data.samples: …duplicate…config.yaml:5"),
    wrong(
        base("seeds: 2", "seeds: 2\nname: x\nseeds: 3"),
        "3: name: …duplicate…config.yaml:1",
        "4: seeds: …duplicate…config.yaml:2",
    ),
    wrong(base("samples: 100", "samples: &n 100"), "5: …anchors…"),
    wrong(base("samples: 100", "samples: *n"), "5: …aliases…"),
    wrong(base("samples: 100", "samples: !!int 100"), "5: tags…"),
    wrong(BASE + "x: !!python/object/apply:os.system [ls]\n", "15: tags…"),
    wrong(base("  epochs: 2", "  <<: {epochs: 2}"), "12: training.<<: unknown key; …"),
    wrong(BASE + "---\nname: x\n", "15: …second…---"),
    wrong(base("  samples", "\tsamples"), "5: not valid YAML: …"),
    wrong(base("[8, 8]", "[8, 8"), "10: not valid YAML: …"),
    wrong(base("seeds: 2", "seeds: 2: 3"), "2: not valid YAML: …"),
    wrong(base("seeds: 2", "seeds: \x1b[2J"), "2: not valid YAML: control character U+001B"),
    wrong(base("seeds: 2", "? [seeds]\n: 2"), "2: …key…"),
    wrong(BASE + "x: " + "[" * 100_000, "15: nested more than 20 levels deep"),
    wrong(BASE + "#" * 300_000, "config.yaml: larger than 256 KiB…"),
    wrong(BASE.encode() + b"# caf\xe9\n", "15: not UTF-8…"),
    wrong(BASE.encode("utf-16"), "1: not UTF-8…"),
    wrong(base("samples: 100", f"samples: {'1' * 5000}"), "5: …5000 digits…too long"),
    *(
        bad(
            f"leading zero: {number}",
            base("epochs: 2", f"epochs: {number}"),
            f"config.yaml:12: {number} is ambiguous…",
        )
        for number in ("012", "-012", "+012", "00", "09")
    ),
    wrong(base("seeds: 2", "seeds: [1, 02]"), "2: 02 is ambiguous: …octal…1.2…"),
    wrong(BASE + '"a\\nb": 1\n', "15: 'a…b': unknown key; …"),
    wrong(BASE + '"\\e[2J": 1\n', "15: …: unknown key; …"),
]

TYPE_ERRORS = [
    wrong(base("epochs: 2", "epochs: true"), "12: training.epochs: …number, not true"),
    wrong(base("epochs: 2", "epochs: no"), "12: training.epochs: …whole number, not 'no'"),
    wrong(base("epochs: 2", "epochs: 2.0"), "12: training.epochs: …whole number, not 2.0"),
    wrong(base("epochs: 2", "epochs: '2'"), "12: training.epochs: …whole number, not '2'"),
    wrong(base("epochs: 2", "epochs: [2]"), "12: training.epochs: …whole number, not [2]"),
    wrong(base("epochs: 2", "epochs: 0"), "12: training.epochs: must be at least 1, not 0"),
    wrong(base("lr: 0.1", "lr: fast"), "14: training.optimizer.lr: …number, not 'fast'"),
    wrong(base("lr: 0.1", "lr: yes"), "14: training.optimizer.lr: …number, not 'yes'"),
    wrong(base("lr: 0.1", "lr: true"), "14: training.optimizer.lr: …number, not true"),
    wrong(base("lr: 0.1", "lr:"), "14: training.optimizer.lr: …number, not null…"),
    wrong(base("lr: 0.1", "lr: -0.1"), "14: training.optimizer.lr: …greater than 0…not -0.1"),
    wrong(base("lr: 0.1", "lr: .nan"), "14: training.optimizer.lr: must be finite, not nan"),
    wrong(base("lr: 0.1", "lr: .inf"), "14: training.optimizer.lr: must be finite, not inf"),
    wrong(base("lr: 0.1", "lr: 1e999"), "14: training.optimizer.lr: must be finite, not inf"),
    wrong(base("lr: 0.1", "lr: " + "x" * 9000), "14: training.optimizer.lr: …number, not 'xxx…"),
    wrong(base(SGD, SGD.replace("}", ", nesterov: 1}")), "14: …nesterov: …true or false…"),
    wrong(base("name: base", "name: 3"), "1: name: must be text, not 3"),
    wrong(base(DATA, "data: mnist\n"), "3: data: must be a mapping: {name: mnist}, not 'mnist'"),
    wrong(base(DATA, "data:\n"), "3: data: must be a mapping…null…"),
    wrong(base(SGD, "optimizer: sgd"), "14: training.optimizer: must be a mapping: {name: sgd, lr: 0.1}, not 'sgd'"),
    wrong(base("[8, 8]", "8"), "9: model.hidden: must be a list: [8], not 8"),
    wrong(base("[8, 8]", "[]"), "9: model.hidden: must not be empty, not []"),
    wrong(base("[8, 8]", "[8, 0.5]"), "9: model.hidden[1]: …whole number, not 0.5"),
    wrong(base("norm: batch", "norm:"), "10: model.norm: …none, batch, …, not null…"),
]

RANGE_ERRORS = [
    bad(f"{old} → {new}"[:60], base(old, new), f"config.yaml:{line}: {key}: must be at most {most}, not …")
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
    wrong(base("seeds", "sedes"), "2: sedes: unknown key; …did you mean 'seeds'?"),
    wrong(base("samples", "sample"), "5: data.sample: unknown…did you mean 'samples'?"),
    wrong(
        base("hidden", "hiden"), "7: model.hidden: missing…", "9: model.hiden: unknown key; …did you mean 'hidden'?"
    ),
    wrong(base("batch_size", "batchsize"), "13: training.batchsize: unknown key; …did you mean 'batch_size'?"),
    wrong(
        base("lr: 0.1", "lr: 0.1, momentun: 0.9"),
        "14: training.optimizer.momentun: unknown key; …did you mean 'momentum'?",
    ),
    wrong(
        base("norm: batch", "norm: {kind: batch, epsilon: 1}"),
        "10: model.norm.epsilon: unknown key; valid: kind, …did you mean 'eps'?",
    ),
    wrong(
        BASE + "  scheduler:\n    name: step\n    stepsize: 3\n    step_size: 3\n",
        "17: training.scheduler.stepsize: unknown key; …did you mean 'step_size'?",
    ),
    wrong(
        BASE + "  early_stopping: {patience: 3, mindelta: 0}\n",
        "15: training.early_stopping.mindelta: unknown key; …did you mean 'min_delta'?",
    ),
    wrong(
        base("norm: batch", "dropout: {p: 0.5, layer: all}"),
        "10: model.dropout.layer: unknown key; …did you mean 'layers'?",
    ),
    wrong(base("samples", "scaling"), "5: data.scaling: unknown key; …samples…"),
    wrong(base("norm: batch", "padding: 2"), "10: model.padding: unknown key; …"),
    wrong(base("name: base\n", ""), "1: name: missing…"),
    wrong(base(DATA, ""), "1: data: missing…"),
    wrong(base("  name: random_regression\n", ""), "3: data.name: missing…"),
    wrong(base("  hidden: [8, 8]\n", ""), "7: model.hidden: missing…"),
    wrong(base(f"  {SGD}\n", ""), "11: training.optimizer: missing…"),
    wrong(base(", lr: 0.1", ""), "14: training.optimizer.lr: missing…"),
    wrong(base("norm: batch", "init: normal"), "10: model.init.std: missing…"),
    wrong(base("norm: batch", "norm: {eps: 1}"), "10: model.norm.kind: missing…"),
    wrong(BASE + "  early_stopping: {}\n", "15: training.early_stopping.patience: missing…"),
    wrong(BASE + "  warmup: 2\n", "15: training.warmup: 2 is not before the end, epoch 2"),
    wrong(BASE + "  label_smoothing: 0.1\n", "15: training.label_smoothing: random_regression has no classes"),
    wrong(
        BASE + "  scheduler: {name: exponential, gamma: 1.0e+30}\n",
        "15: training.scheduler.gamma: 1e+30 lets the learning rate grow from 0.1 to about 1e+59…1e+30",
    ),
]

CHOICE_ERRORS = [
    bad(
        "dataset",
        base("random_regression", "fashion-mnist"),
        "config.yaml:4: data.name: …random_regression, …, not 'fashion-mnist'; did you mean 'fashion_mnist'?",
    ),
    bad("model", base("name: mlp", "name: lent"), "config.yaml:8: model.name: …mlp, …'lent'…'lenet'?"),
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
    bad("optimizer", base("sgd", "sdg"), "config.yaml:14: training.optimizer.name: …sgd, adam, …, not 'sdg'…'sgd'?"),
    bad("scheduler", BASE + "  scheduler: cosin\n", "config.yaml:15: training.scheduler: …'cosin'…'cosine'?"),
    bad("monitor", BASE + "  monitor: val_loss\n", "config.yaml:15: training.monitor: …'val_loss'…'val/loss'?"),
    bad("device", BASE + "  device: gpu\n", "config.yaml:15: training.device: …auto, cpu, cuda…, not 'gpu'"),
    bad("batch_size", base("16", "half"), "config.yaml:13: training.batch_size: …full, not 'half'"),
    bad("validation", base("0.2", "train"), "config.yaml:6: data.validation: …fraction…test, not 'train'"),
]

COMBINATION_ERRORS = [
    wrong(
        BASE.replace("seeds: 2", "seeds: two")
        .replace("samples: 100", "samples: many")
        .replace("norm: batch", "norm: bach")
        .replace("epochs", "epoch")
        .replace("lr: 0.1", "lr: .nan"),
        "2: seeds: …, not 'two'",
        "5: data.samples: …, not 'many'",
        "10: model.norm: …'bach'…",
        "12: training.epoch: unknown key; …'epochs'?",
        "14: training.optimizer.lr: …not nan",
    ),
    wrong(
        base("0.2", "0.001").replace("lr: 0.1", "lr: 0.1, nesterov: true") + "  steps: 3\n",
        "6: data.validation: …",
        "12: training.epochs: …not both",
        "14: training.optimizer.nesterov: …momentum…",
    ),
    wrong(
        BASE + "compare:\n  - label: a\n    model.nrom: none\n  - label: b\n    training.optimizer.lr: x\n",
        "17: model.nrom: unknown key; …'norm'?",
        "19: training.optimizer.lr: …not 'x'",
    ),
    wrong(
        base("batch_size: 16", "batch_size: 1"),
        "10: model.norm: batch norm…hidden.0…one example (training.batch_size…",
    ),
    wrong(
        base("batch_size: 16", "batch_size: 1").replace("norm: batch", "norm: batch_from_scratch"),
        "10: model.norm: batch_from_scratch norm…hidden.0…one example…",
    ),
    wrong(base("validation: 0.2", "train_size: 1"), "10: model.norm: batch norm…hidden.0…one example…"),
    wrong(base("norm: batch", "norm: instance"), "10: model.norm: instance norm…dense layer hidden.0…layers: conv…"),
    wrong(
        base("norm: batch", "norm: {kind: group, groups: 3}").replace("[8, 8]", "[9, 8]"),
        "10: model.norm: group norm…hidden.1…groups: 3…8 channels",
    ),
    wrong(
        base("norm: batch", "norm: {kind: group, channels_per_group: 3}").replace("[8, 8]", "[9, 8]"),
        "10: model.norm: group norm…hidden.1…channels_per_group: 3…8 channels",
    ),
    wrong(
        base("norm: batch", "norm: {kind: group, groups: 2, channels_per_group: 4}"),
        "10: model.norm: group norm…give one of them",
    ),
    wrong(
        base("norm: batch", "norm: {kind: batch, layers: [hidden.0, hidden.2]}"),
        "10: model.norm.layers[1]: 'hidden.2'…valid: hidden.0, hidden.1",
    ),
    wrong(base("norm: batch", "norm: {kind: batch, layers: conv}"), "10: model.norm.layers: no layer…norm: none"),
    wrong(base("0.2", "0.001"), "6: data.validation: 0.001 of 100…empty…"),
    wrong(base("0.2", "100"), "6: data.validation: 100 of 100…none to train on"),
    wrong(base("0.2", "1.5"), "6: data.validation: …fraction…, not 1.5"),
    wrong(
        base("validation: 0.2", "validation: test\n  test_samples: 0"),
        "6: data.validation: test, …test_samples is 0…",
    ),
    wrong(base("validation: 0.2", "validation: 0.2\n  train_size: 81"), "7: data.train_size: 81…80…"),
    wrong(
        base("samples: 100", "samples: 10000000\n  features: 100000"),
        "base: batch: needs about 4,00… GB (data 4,00…, model …, a batch …) of memory; this machine has …",
    ),
    wrong(
        base("samples: 100", "samples: 1000000\n  targets: 100000"),
        "base: batch: needs about 2,0… GB (data 2,0…, model …, a batch …) of memory; this machine has …",
    ),
    wrong(
        base("validation: 0.2", "validation: 0") + "  early_stopping: {monitor: val/loss, patience: 3}\n",
        "15: training.early_stopping.monitor: val/loss…validation is 0…valid: train/loss",
    ),
    wrong(
        base("validation: 0.2", "validation: 0") + "  scheduler: {name: reduce_on_plateau, monitor: val/loss}\n",
        "15: training.scheduler.monitor: val/loss…validation is 0…valid: train/loss",
    ),
    wrong(
        BASE + "  monitor: val/accuracy\n",
        "15: training.monitor: val/accuracy…random_regression…valid: train/loss, val/loss",
    ),
    wrong(base("epochs: 2", "epochs: 2\n  steps: 3"), "12: training.epochs: …not both"),
    wrong(base("  epochs: 2\n", ""), "11: training.epochs: missing…steps"),
    wrong(base("lr: 0.1", "lr: 0.1, nesterov: true"), "14: training.optimizer.nesterov: …momentum…"),
    wrong(
        base("name: mlp\n  hidden: [8, 8]", "name: lenet"),
        "8: model.name: lenet cannot take inputs of 10: conv.0 needs images…mlp",
    ),
    wrong(
        BASE + "  scheduler: {name: multistep, milestones: [3, 2]}\n",
        "15: training.scheduler.milestones: must increase, not [3, 2]",
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
    wrong(
        BASE + "  sampler: {name: class_clustered, classes_per_batch: 2}\n",
        "15: training.sampler: class_clustered: random_regression has no classes",
    ),
    wrong(
        claim("  epochs: 1\n", "  epochs: 1\n  sampler: {name: class_clustered, classes_per_batch: 3}\n"),
        "10: training.sampler.classes_per_batch: 3 does not divide the batch size, 64",
    ),
    wrong(
        claim("  epochs: 1\n", "  epochs: 1\n  sampler: class_clustered\n"),
        "10: training.sampler.classes_per_batch: missing…",
    ),
    wrong(BASE + "  diverged_above: 1\n", "15: …diverged_above: …greater than 1…"),
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
    wrong(
        claim("test/accuracy", "test/acc"), "15: claims[0].metric: …, not 'test/acc'; did you mean 'test/accuracy'?"
    ),
    wrong(
        claim("  validation: 200\n", "").replace("metric: test/accuracy", "metric: val/loss"),
        "14: claims[0].metric: val/loss…valid: train/loss, train/accuracy, test/loss, test/acc…diverged",
    ),
    wrong(
        claim("test/accuracy", "diagnostics/dense.9/gamma mean")
        + "    at: last\ndiagnostics: {norm_parameters: true, layers: [conv.0]}\n",
        "15: claims[0].metric: diagnostics/dense.9/gamma mean will not be measured in batch; "
        "valid: conv.0/gamma mean, conv.0/gamma min, …",
    ),
    wrong(
        claim("test/accuracy", "diagnostics/*/gamma mean") + "    at: last\ndiagnostics: {norm_parameters: true}\n",
        "15: claims[0].metric: … will not be measured in none; valid: none: see diagnostics",
    ),
    wrong(claim("    variant", "    at: mean\n    variant"), "16: claims[0].at: must be best or last…"),
    wrong(claim("    variant", "    at: first\n    variant"), "16: claims[0].at: …best, last…, not 'first'"),
    wrong(claim("    variant", "    at: {epoch: 1, step: 1}\n    variant"), "16: claims[0].at: …epoch or step…"),
    wrong(
        claim("variant: {model.norm: batch}", "variant: {model.norm: layer}"),
        "16: claims[0].variant: …layer…: none, batch",
    ),
    wrong(
        claim("versus: {model.norm: none}", "versus: {label: nothing}"),
        "17: claims[0].versus: …nothing…: none, batch",
    ),
    wrong(
        claim("metric: test/accuracy", "metric: diverged"),
        "17: claims[0].versus: diverged is claimed of one variant: leave out versus",
    ),
    wrong(
        claim(
            "    metric: test/accuracy", "    at: {epoch: 1}\n    metric: diagnostics/output/gradient norm"
        ).replace("epochs: 1", "epochs: 3")
        + "diagnostics: {gradients: true, every: 2}\n",
        "15: claims[0].at: diagnostics are measured once in 2 evaluations…: perhaps not there",
    ),
    wrong(
        claim("metric: test/accuracy", "metric: diagnostics/output/gradient norm")
        + "diagnostics: {gradients: true, every: 2}\n",
        "14: claims[0].at: diagnostics are measured once in 2 evaluations…: perhaps not there",
    ),
    wrong(
        claim("compare:\n  model.norm: [none, batch]\n", "").replace("name: lenet\n", "name: lenet\n  norm: batch\n"),
        "16: claims[0].versus: …none… is none of the variants; they are: …",
    ),
    wrong(
        BASE + "claims:\n  - {statement: s, metric: val/loss, variant: {model.norm: batch}}\n",
        "16: claims[0]: needs a bound…",
    ),
    wrong(
        claim("versus: {model.norm: none}", "versus: {label: nothing}")
        + "diagnostics: {landscape: [4, 1], units: [1]}\n",
        "17: claims[0].versus: …nothing…: none, batch",
        "19: diagnostics.units: needs activations: true",
        "19: diagnostics.landscape: must increase, not [4.0, 1.0]",
    ),
    wrong(
        claim("variant: {model.norm: batch}", "variant: batch"),
        "16: claims[0].variant: must be a mapping…, not 'batch'",
    ),
    wrong(claim("    difference_at_least: -0.003\n", ""), "14: claims[0]: needs a bound…"),
    wrong(claim("    versus: {model.norm: none}\n", ""), "14: claims[0]: …versus…"),
    wrong(claim("difference_at_least", "at_least"), "14: claims[0]: …versus…"),
    wrong(claim("-0.003", ".nan"), "18: claims[0].difference_at_least: …finite, not nan"),
    wrong(
        claim("difference_at_least", "diference_at_least"),
        "18: claims[0].diference_at_least: unknown key; …did you mean 'difference_at_least'?",
    ),
    wrong(claim("statement: BatchNorm is no worse\n    metric", "metric"), "14: claims[0].statement: missing…"),
    wrong(BASE + "claims: {statement: x}\n", "15: claims: must be a list, not …"),
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
    ("number", "last"), [(100, "…:114: key99: …"), (101, "… and 1 more"), (300, "… and 200 more")]
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


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads fail at once, here and on machines with a network."""
    monkeypatch.setattr(urllib.request, "urlopen", Mock(side_effect=URLError("no network in tests")))


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


def with_bad(place: Place, archive: int, change: Callable[[bytes], bytes], files: list[str] = ARCHIVES) -> None:
    """Published files of which one is changed."""
    rewrite(place(files) / files[archive], change)


def no_raw_folder(place: Place) -> None:
    for path in [*(raw := place(ARCHIVES)).iterdir()]:
        path.rename(raw.parent / path.name)


def raw_is_a_file(_: Place) -> None:
    Path("data/MNIST").mkdir(parents=True)
    Path("data/MNIST/raw").write_text("not a folder")


def archive_of_other_file(place: Place) -> None:
    raw = place(ARCHIVES)
    (raw / ARCHIVES[0]).unlink()
    os.link(raw / ARCHIVES[2], raw / ARCHIVES[0])


def endless(place: Place) -> None:
    """A terabyte in place of an archive, and devices in place of the others."""
    raw = place([])
    with (raw / ARCHIVES[0]).open("wb") as file:
        file.truncate(2**40)
    for name in (*ARCHIVES[1:], *IMAGE_FILES):
        (raw / name).symlink_to("/dev/zero")


# What is there, in which folder, and which files are to be got.
WITHOUT_DATA: dict[str, tuple[Callable[[Place], object], str, list[str]]] = {
    "missing": (lambda _: None, "data", ARCHIVES),
    "missing with its parents": (lambda _: None, "data/below/that", ARCHIVES),
    "empty": (lambda _: Path("data").mkdir(), "data", ARCHIVES),
    "a file": (lambda _: Path("data").write_text("not a folder"), "data", []),
    "below a file": (lambda _: Path("data").write_text("not a folder"), "data/sub", []),
    "dangling link": (lambda _: Path("data").symlink_to("nowhere"), "data", []),
    "raw is a file": (raw_is_a_file, "data", []),
}
BAD_DATA: dict[str, tuple[Callable[[Place], object], str, list[str]]] = {
    "other dataset": (lambda place: place(ARCHIVES, "FashionMNIST"), "data", ARCHIVES),
    "no raw folder": (no_raw_folder, "data", ARCHIVES),
    "files without end": (endless, "data", ARCHIVES),
    "archive truncated": (lambda place: with_bad(place, 0, halve), "data", ARCHIVES[:1]),
    "archive with a flipped byte": (lambda place: with_bad(place, 1, flip), "data", ARCHIVES[1:2]),
    "archive empty": (lambda place: with_bad(place, 0, lambda _: b""), "data", ARCHIVES[:1]),
    "archive missing": (lambda place: place(ARCHIVES[:3]), "data", ARCHIVES[3:]),
    "two archives missing": (lambda place: place(ARCHIVES[1:3]), "data", [ARCHIVES[0], ARCHIVES[3]]),
    "archive is a folder": (lambda place: (place(ARCHIVES[1:]) / ARCHIVES[0]).mkdir(), "data", ARCHIVES[:1]),
    "archive is a dangling link": (
        lambda place: (place(ARCHIVES[1:]) / ARCHIVES[0]).symlink_to("nowhere"),
        "data",
        ARCHIVES[:1],
    ),
    "archive is another one": (archive_of_other_file, "data", ARCHIVES[:1]),
    "extracted file truncated": (lambda place: with_bad(place, 0, halve, IMAGE_FILES), "data", ARCHIVES),
    "extracted file changed": (lambda place: with_bad(place, 0, flip, IMAGE_FILES), "data", ARCHIVES),
    "extracted file missing": (lambda place: place(IMAGE_FILES[1:]), "data", ARCHIVES),
}


@pytest.mark.parametrize(
    ("spoil", "data_dir", "files"),
    [
        *(pytest.param(*of, id=name) for name, of in WITHOUT_DATA.items()),
        *(pytest.param(*of, id=name, marks=pytest.mark.data) for name, of in BAD_DATA.items()),
    ],
)
def test_bad_data_directory(
    train: Command, place: Place, spoil: Callable[[Place], object], data_dir: str, files: list[str], tmp_path: Path
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


def login_page(*_arguments: object) -> Answer:
    return Answer(b"<html>Please log in to this network</html>")


ANSWERS = {
    "wrong": login_page,
    "garbled": http.client.BadStatusLine("ICY 200 OK"),
    "cut": http.client.IncompleteRead(b"", 100),
    "reset": ConnectionResetError(104, "Connection reset by peer"),
    "none": TimeoutError("timed out"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_bad_download(
    train: Command, monkeypatch: pytest.MonkeyPatch, answer: Exception | Callable[..., Answer], tmp_path: Path
) -> None:
    """A download that goes wrong, in whatever way, is one message with all the files to get, and leaves nothing."""
    monkeypatch.setattr(urllib.request, "urlopen", Mock(side_effect=answer))
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
        pool = MNIST(name="mnist").read(data_dir, download=True)
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
def test_an_extracted_copy_is_only_read(place: Place, pool_sizes: PoolSizes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extracted files without their archives are used as they are, without torchvision, and nothing is written."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
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
