"""What a person reads shows all it holds, in order, whatever somebody wrote into a config or a run folder."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import call

from bncompare.errors import printable

# A control character, one that turns the direction, one without width, three that look like nothing.
UNSEEN = "\x1b\u202e\u200b\u3164\ufe0f\u2800"
HOSTILE = "a" + "b".join(UNSEEN) + "c"
CONFIG = """\
name: tiny
seeds: 2
data: {name: random_regression, samples: 32, test_samples: 16, features: 3, validation: 8}
model: {name: mlp, hidden: [4]}
training: {epochs: 1, batch_size: 8, device: cpu, optimizer: {name: adam, lr: 0.01}}
compare: [{label: none, model.norm: none}, {label: LABEL, model.norm: batch}]
claims:
  - statement: STATEMENT
    published: PUBLISHED
    metric: test/loss
    variant: {model.norm: batch}
    versus: {model.norm: none}
    difference_at_most: 1
"""


@pytest.mark.parametrize("character", [*UNSEEN, "\xad", "\u2066", "\u2028", "\u034f", "\U000e0041", "\U000e0101"])
def test_printable(character: str) -> None:
    """What has no ink, or moves what has, is replaced; letters, accents and spaces stay."""
    assert printable(f"a{character}b") == "a\N{REPLACEMENT CHARACTER}b"
    assert printable("γ é 正規化 שלום 🦊 ~") == "γ é 正規化 שלום 🦊 ~"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folders of a config without guile."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(CONFIG)
    with contextlib.chdir(folder):
        assert call("train", "tiny.yaml").code == 0
    return folder / "runs"


def spoil_label(runs: Path) -> None:
    spoil_configs(runs, "LABEL")


def spoil_claim(runs: Path) -> None:
    spoil_configs(runs, "STATEMENT")
    spoil_configs(runs, "PUBLISHED")


def spoil_settings(runs: Path) -> None:
    spoil_configs(runs, "kind: batch")


def spoil_configs(runs: Path, word: str) -> None:
    for config in runs.rglob("config.yaml"):
        key, colon, _ = word.rpartition(": ")
        text = config.read_text()
        config.write_text(text.replace(word, f"{key}{colon}{json.dumps(HOSTILE, ensure_ascii=True)}"))


def spoil_folder(runs: Path) -> None:
    visible = HOSTILE.replace("\x1b", "").replace("\u202e", "").replace("\u200b", "")  # others are skipped
    (runs / "tiny").rename(runs / visible)


def spoil_error(runs: Path) -> None:
    for result in runs.rglob("result.json"):
        result.write_text(json.dumps({"status": "failed", "error": HOSTILE}))


def spoil_environment(runs: Path) -> None:
    for environment in runs.rglob("environment.json"):
        content = json.loads(environment.read_text())
        environment.write_text(json.dumps(content | {"platform": HOSTILE[3:], "versions": {HOSTILE[3:]: "1"}}))


COMMANDS = [
    *("list runs", "report runs", "report runs --markdown", "report runs --html report.html", "check runs"),
    *("export runs", "plot runs --format svg", "list runs --json", "report runs --json", "check runs --json"),
]


@pytest.mark.parametrize(
    "spoil", [spoil_label, spoil_claim, spoil_settings, spoil_folder, spoil_error, spoil_environment]
)
def test_run_folders_of_others(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    """No command writes what cannot be seen to the terminal, into a page or into a drawing."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs")
    spoil(Path("runs"))
    folders = sorted(Path("runs").glob("*/*-s0-*"))
    commands = [command.split() for command in COMMANDS] + [["show", str(folder)] for folder in folders]
    commands += [["train", str(folder / "config.yaml"), "--dry-run"] for folder in folders]
    written = {}
    for command in commands:
        ended = call(*command)
        assert ended.code in (0, 2, 3), ended.err
        written[" ".join(command)] = ended.out + ended.err
    written |= {str(path): path.read_text() for path in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.svg")]}
    assert {name: text for name, text in written.items() if set(text) & set(UNSEEN)} == {}


def test_a_label_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a config through training to the summary."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(CONFIG.replace("LABEL", json.dumps("a\u202eb\u3164c")))
    ended = call("train", "tiny.yaml", "--jobs", "1")
    assert not set(ended.out + ended.err) & set(UNSEEN)
