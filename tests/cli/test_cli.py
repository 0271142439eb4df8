"""The commands from outside: what they print where, the files they leave, the codes they exit with."""

import contextlib
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from kit import CONFIGS, TINY, Ended, call, cells, spawn, strict
from safetensors.numpy import save as save_tensors

from bncompare import cli
from bncompare.api import progress
from bncompare.comparison import summarize
from bncompare.config import rounded
from bncompare.runs.read import LoadedRun, read_run, read_runs
from bncompare.runs.weights import read_norm_parameters

DIVERGING = """\
name: wild
data: {name: random_regression, samples: 32, test_samples: 16, features: 3}
model: {name: mlp, hidden: [4]}
training: {epochs: 30, batch_size: 8, device: cpu, optimizer: {name: sgd, lr: 0.01}}
compare: [{label: steady, training.epochs: 2}, {label: wild, training.optimizer.lr: 1e6}]
"""
SLOW = """\
name: slow
data: {name: random_regression, samples: 1000, test_samples: 100, features: 10, validation: 0.2}
model: {name: mlp, hidden: [16], norm: batch, dropout: 0.1}
training:
  epochs: 60
  batch_size: 16
  device: cpu
  optimizer: {name: adam, lr: 0.01}
  scheduler: {name: cosine}
  early_stopping: {patience: 58}
"""
FILES = ["best.safetensors", "config.yaml", "environment.json", "metrics.csv", "result.json", "timing.csv"]
OPTIONS = {
    "train": ["--set", "--seeds", "--device", "--runs", "--data-dir", "--smoke", "--dry-run", "--fresh", "--json"],
    "plot": ["-o", "--format", "--metric", "--x"],
    "export": ["--to", "-o"],
    "list": ["--json"],
    "show": ["--json"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test works in a folder of its own, where the configs are; paths in outputs are relative to it."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SECONDS_BETWEEN_LINES", "SECONDS_BEFORE_ESTIMATE"):  # however slow the machine
        monkeypatch.setattr(progress, name, math.inf)
    for name, text in (("tiny", TINY), ("wild", DIVERGING), ("slow", SLOW)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A folder in which `train tiny.yaml` has been called, and what it said; not to be changed."""
    path = tmp_path_factory.mktemp("trained")
    (path / "tiny.yaml").write_text(TINY)
    with contextlib.chdir(path):
        return path, call("train", "tiny.yaml")


@pytest.fixture
def runs(trained: tuple[Path, Ended], folder: Path) -> list[Path]:
    """The four finished run folders, below runs/tiny, in the order of training."""
    shutil.copytree(trained[0] / "runs", folder / "runs")
    return [one("none-s0"), one("batch-s0"), one("none-s1"), one("batch-s1")]


def one(prefix: str, experiment: str = "tiny") -> Path:
    (path,) = Path("runs", experiment).glob(f"{prefix}-*")
    return path


def content(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder: its bytes and when it was written."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def spread(values: list[float]) -> str:
    summary = summarize(values)
    return f"{rounded(summary.mean, summary.sd)} ± {rounded(summary.sd, summary.sd)}"


def value(run: LoadedRun, evaluation: str, metric: str) -> float:
    assert run.result
    number = getattr(run, evaluation)(metric)
    assert isinstance(number, float)
    return number


# ---------------------------------------------------------------- help, version, usage


COMMANDS = typer.main.get_command(cli.app).commands


def test_help_has_four_groups() -> None:
    """`bncompare --help` names each command once, with a sentence, in one of four groups; then the exit codes."""
    ended = call("--help")
    assert (ended.code, ended.err) == (0, "")
    *sections, codes = re.findall(r"^[A-Z][a-z ]+:\n(?:  .*\n)+", ended.out.partition("--help ")[2], re.MULTILINE)
    assert [section.partition(":")[0] for section in sections] == ["Train", "Look", "Learn", "Check"]
    listed = [name for section in sections for name in re.findall(r"^  ([a-z]+) +[A-Z]", section, re.MULTILINE)]
    assert sorted(listed) == sorted(COMMANDS)
    assert re.findall(r"^  ([0-9][0-9, ]*?)  +\w", codes, re.MULTILINE) == ["0", "1", "2", "3", "130, 143"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples(name: str) -> None:
    """The help of a command ends with two command lines, each of which is understood."""
    ended = call(name, "--help")
    lines = [line.strip() for line in ended.out.rpartition("  Examples:\n")[2].splitlines()]
    assert len(lines) == 2
    for line in lines:
        program, command, *arguments = shlex.split(line.partition(" > ")[0])
        assert program == "bncompare"
        assert COMMANDS[command].make_context(command, arguments).params


@pytest.mark.parametrize("command", OPTIONS)
def test_help_lists_every_option(command: str) -> None:
    """Each command's help has every option of the contract."""
    ended = call(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    words = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", ended.out))
    assert {*OPTIONS[command], "--help"} <= words


@pytest.mark.parametrize(
    ("words", "completed"), [("bncompare tr", "train"), ("bncompare graph mnist", "mnist-mlp")], ids=str
)
def test_a_shell_completes(words: str, completed: str) -> None:
    """The beginning of a command, or of a preset, is completed."""
    place = str(words.count(" "))
    ended = spawn(COMP_WORDS=words, COMP_CWORD=place, _BNCOMPARE_COMPLETE="complete_bash")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{completed}\n", "")


def test_version() -> None:
    """`--version` prints name and version."""
    assert call("--version") == Ended(0, "bncompare 0.1.0\n", "")
    assert spawn("--version").stdout == "bncompare 0.1.0\n"


@pytest.mark.parametrize(
    "arguments",
    [["train"], ["train", "tiny.yaml", "--no-such"], ["no-such"], ["plot", ".", "--x", "hour"], ["show"]],
    ids=" ".join,
)
def test_bad_usage(arguments: list[str]) -> None:
    """Bad usage is a message on stderr and exit code 2."""
    ended = call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


NO_PARTS = ["", "2", "0/3", "4/3", "1/0", "a/b", "1/2/3", "-1/3", "1.5/3", "٢/٣", f"1/{'9' * 5000}"]
TRAIN = ("train", "tiny.yaml", "--runs", "new")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "no.yaml", "--runs", "new"), "no.yaml: no such file"),
        ((*TRAIN, "--address", "auto"), "--address: is that of a Ray cluster; add --executor ray"),
        *(
            ((*TRAIN, "--select", part), f"--select {part[:40]}: must be I/N with 1 ≤ I ≤ N, such as 2/8")
            for part in NO_PARTS
        ),
        (("show", "runs"), "runs: holds 4 runs; name one of them (bncompare list runs)"),
        (
            ("plot", "runs", "--metric", "val/accuracy", "-o", "new"),
            "--metric val/accuracy: no run has it; valid: train/loss, val/loss, lr",
        ),
        *(
            (("report", "runs", "--threshold", value), f"--threshold {value}: must be finite")
            for value in ("nan", "inf")
        ),
    ],
)
def test_what_a_command_refuses(runs: list[Path], arguments: tuple[str, ...], message: str) -> None:
    """What cannot be done is one line that says what can, exit code 2, and nothing written."""
    assert call(*arguments) == Ended(2, "", f"error: {message}\n")
    assert not Path("new").exists()


HEAVY = ("torch", "torchvision")
LIGHT = (*HEAVY, "scipy", "matplotlib", "jinja2")  # to say what there is, no number is computed and nothing drawn


@pytest.mark.parametrize(
    ("arguments", "modules"),
    [
        (["--help"], (*LIGHT, "pydantic", "numpy", "rich")),
        (["train", "--help"], (*LIGHT, "numpy", "rich")),
        (["norms"], (*LIGHT, "numpy")),
        (["list", "runs"], LIGHT),
        (["show", "RUN"], LIGHT),
        (["export", "runs"], (*LIGHT, "rich")),
        (["report", "runs"], LIGHT),
        (["plot", "runs"], (*HEAVY, "jinja2", "scipy")),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_not_imported(runs: list[Path], arguments: list[str], modules: tuple[str, ...]) -> None:
    """Looking at runs never loads torch, and --help no NumPy (pydantic typer itself loads to parse a command)."""
    arguments = [str(runs[1]) if argument == "RUN" else argument for argument in arguments]
    code = f"""
import sys
from bncompare.cli import main
sys.argv = ["bncompare", *{arguments!r}]
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
print([name for name in {modules!r} if name in sys.modules], file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr == "[]\n"
    assert ended.stdout


# ---------------------------------------------------------------- train


NAMES = {"none": "no norm", "batch": "BatchNorm"}


def test_train_ends_with_the_answer(trained: tuple[Path, Ended], runs: list[Path]) -> None:
    """stdout is a row per variant with mean ± sd of what the runs' files say, a sentence, and what was written."""
    _, ended = trained
    assert ended.code == 0
    tested = {
        variant: [value(read_run(one(f"{variant}-s{seed}")), "best", "test/loss") for seed in (0, 1)]
        for variant in ("none", "batch")
    }
    difference = summarize([batch - none for batch, none in zip(tested["batch"], tested["none"], strict=True)])
    title, header, none, batch, *notes, folder, overview, page, following = cells(ended.out)
    assert (title, header) == (["tiny"], ["variant", "seeds", "mean ± sd", "difference"])
    assert none == ["no norm", "2", spread(tested["none"])]
    assert batch[:3] == ["BatchNorm", "2", spread(tested["batch"])]
    assert float(batch[3].split(" ")[0].replace("−", "-")) == pytest.approx(difference.mean, abs=0.05)
    assert notes[2][0].startswith("BatchNorm ")
    assert " test loss: no clear difference (" in notes[2][0]
    assert [folder, overview, page] == [
        ["4 runs in runs/tiny"],
        ["runs/tiny/overview.png"],
        ["runs/tiny/report.html"],
    ]
    assert following == ["next: bncompare report runs/tiny"]
    assert Path("runs/tiny/overview.png").read_bytes().startswith(b"\x89PNG")
    assert "batch" in Path("runs/tiny/report.html").read_text()
    assert '<a href="tiny/report.html">tiny</a>' in Path("runs/index.html").read_text()


def test_what_is_gone_is_written_again(runs: list[Path]) -> None:
    """Where nothing is left to train only what somebody removed is written; with --no-report nothing is."""
    for path in (Path("runs/tiny/report.html"), Path("runs/index.html")):
        path.unlink()
    before = content(Path("runs"))
    assert "report.html" not in call("train", "tiny.yaml", "--no-report").out
    assert content(Path("runs")) == before
    assert "runs/tiny/report.html\n" in call("train", "tiny.yaml").out
    after = content(Path("runs"))
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"tiny/report.html", "index.html"}


def test_other_settings_are_told_of(runs: list[Path]) -> None:
    """Before runs are added to those of other settings, a line says so; more seeds are no other setting."""
    assert "other settings" not in call("train", "tiny.yaml", "--seeds", "3", "--no-report", "--jobs", "1").err
    ended = call("train", "tiny.yaml", "--set", "training.optimizer.lr=0.02", "--no-report", "--jobs", "1")
    assert ended.err.startswith("runs/tiny holds 6 runs with other settings; ")


def test_a_checkpoint_is_kept_if_asked(runs: list[Path]) -> None:
    """More epochs go on from a finished run that was trained with --keep-checkpoints, and only from such."""
    more = ("--set", "training.epochs=3", "--no-report", "--jobs", "1")
    assert [run["state"] for run in planned_runs(*more)] == ["new"] * 4
    assert call("train", "tiny.yaml", "--fresh", "--keep-checkpoints", "--no-report", "--jobs", "1").code == 0
    assert [run["state"] for run in planned_runs(*more)] == ["extends"] * 4


def planned_runs(*arguments: str) -> list[dict[str, Any]]:
    planned: list[dict[str, Any]] = strict(call("train", "tiny.yaml", "--dry-run", "--json", *arguments).out)["runs"]
    return planned


def test_train_reports_progress_on_stderr(trained: tuple[Path, Ended], runs: list[Path]) -> None:
    """Where stderr is not a terminal it gets one plain line a run, with the loss of its last evaluation.

    Of two runs at a time either may be done first: the lines are counted, their order is free.
    """
    expected = []
    for path in runs:
        run = read_run(path)
        training, validation = (f"{run.metrics[name][-1]:#.3g}" for name in ("train/loss", "val/loss"))
        losses = f"training loss {training}, validation loss {validation}"
        expected.append(f"tiny {NAMES[run.label]} seed {run.seed}: completed, T s, epoch 2, {losses}")
    lines = re.sub(r", [0-9.]+ s,", ", T s,", re.sub(r" \(about .* left\)", "", trained[1].err)).splitlines()
    lines = [line for line in lines if ": completed, " in line]  # a slow machine tells more, meanwhile
    assert [line.split(" ", 1)[0] for line in lines] == [f"[{i}/4]" for i in range(1, 5)]
    assert sorted(line.split(" ", 1)[1] for line in lines) == sorted(expected)


def test_train_leaves_the_contracts_files(runs: list[Path]) -> None:
    """A run folder holds exactly the contract's files; the tables have a row per evaluation."""
    written = {path.name for path in runs} | {"overview.png", "report.html"}
    assert set(os.listdir("runs/tiny")) == written
    for path in runs:
        assert sorted(os.listdir(path)) == FILES
        lines = (path / "metrics.csv").read_text().splitlines()
        assert lines[0] == "epoch,step,train/loss,val/loss,lr"
        assert [line.split(",")[:2] for line in lines[1:]] == [["1", "3"], ["2", "6"]]
        result = strict((path / "result.json").read_text())
        assert (result["status"], result["epochs"], result["steps"]) == ("completed", 2, 6)
        assert {"best", "last", "test"} <= set(result)


def test_train_again_does_nothing(trained: tuple[Path, Ended], runs: list[Path]) -> None:
    """A finished experiment is not trained again: no byte changes, and the same summary is printed."""
    before = content(Path("runs"))
    assert call("train", "tiny.yaml") == Ended(0, trained[1].out, "4 of 4 runs are finished already\n")
    assert content(Path("runs")) == before


def test_more_seeds_train_only_what_is_missing(runs: list[Path]) -> None:
    """--seeds adds runs to those that are there."""
    before = content(Path("runs"))
    ended = call("train", "tiny.yaml", "--no-report", "--seeds", "0-2", "--jobs", "1")
    assert ended.code == 0
    assert ended.err.startswith("4 of 6 runs are finished already\n[1/2] tiny no norm seed 2: completed")
    assert content(Path("runs")).items() >= before.items()


def test_fresh_trains_again(runs: list[Path]) -> None:
    """--fresh trains what is finished once more, to the same numbers, bit for bit."""
    before = content(Path("runs"))
    ended = call("train", "tiny.yaml", "--fresh")
    assert ended.code == 0
    assert len(ended.err.splitlines()) == 4
    after = content(Path("runs"))
    assert after.keys() == before.keys()
    for name, (data, written) in after.items():
        assert written > before[name][1]
        if name.endswith(("metrics.csv", "best.safetensors", "config.yaml", "result.json")):
            assert data == before[name][0], name


def test_dry_run_shows_the_plan() -> None:
    """--dry-run says what would be trained, how large it is and how long it takes, and writes nothing."""
    ended = call("train", "tiny.yaml", "--no-report", "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    header = ["experiment", "variant", "seed", "parameters", "steps", "state"]
    sizes = {"none": "21", "batch": "25"}  # 3·4+4 + 4+1; with γ and β in place of the bias 3·4 + 2·4 + 4+1
    rows = [["tiny", v, seed, sizes[v], "6", "new"] for seed in "01" for v in sizes]
    assert cells(ended.out) == [header, *rows, ["4 runs: 4 to train, 0 finished"]]
    assert not Path("runs").exists()


def test_dry_run_after_training(runs: list[Path]) -> None:
    """The plan knows what is finished and what is not, and touches neither."""
    (runs[3] / "result.json").unlink()
    before = content(Path("runs"))
    lines = cells(call("train", "tiny.yaml", "--no-report", "--dry-run").out)
    assert [line[-1] for line in lines[1:5]] == ["finished", "finished", "finished", "new"]
    assert lines[-1] == ["4 runs: 1 to train, 3 finished"]
    fresh = strict(call("train", "tiny.yaml", "--no-report", "--dry-run", "--fresh", "--json").out)
    assert [run["state"] for run in fresh["runs"]] == ["new"] * 4
    assert content(Path("runs")) == before


def test_train_json() -> None:
    """`train --json` prints one JSON document on stdout and nothing else anywhere."""
    ended = call("train", "tiny.yaml", "--no-report", "--json", "--runs", "elsewhere")
    assert (ended.code, ended.err) == (0, "")
    listed = strict(ended.out)["runs"]
    assert [(run["variant"], run["seed"]) for run in listed] == [("none", 0), ("batch", 0), ("none", 1), ("batch", 1)]
    for run in listed:
        assert run["status"] == run["result"]["status"] == "completed"
        assert strict(Path(run["path"], "result.json").read_text()) == run["result"]
        assert run["path"].startswith("elsewhere/tiny/")


def test_looking_with_json(runs: list[Path]) -> None:
    """--json of dry-run, list and show, and train with nothing to do, print one document and nothing on stderr."""
    documents = []
    commands = (["train", "tiny.yaml"], ["train", "tiny.yaml", "--dry-run"], ["list", "runs"], ["show", str(runs[1])])
    for arguments in commands:
        ended = call(*arguments, "--json")
        assert (ended.code, ended.err) == (0, "")
        documents.append(strict(ended.out))
    trained, planned, listed, shown = documents
    first = {"experiment": "tiny", "variant": "none", "seed": 0, "parameters": 21, "steps": 6, "state": "finished"}
    assert planned["runs"][0] == first | {"path": str(runs[0])}
    assert [run["path"] for run in trained["runs"]] == [str(path) for path in runs]
    assert [run["path"] for run in listed["runs"]] == [str(runs[i]) for i in (0, 2, 1, 3)]
    assert trained["runs"][1].items() <= shown.items()
    assert shown["config"]["model"]["norm"]["kind"] == "batch"
    parameters = read_norm_parameters(runs[1])["hidden.0.norm"]
    assert shown["norms"] == {"hidden.0.norm": {name: values.tolist() for name, values in parameters.items()}}


def test_a_diverging_run() -> None:
    """A run that diverges is a result: exit 0, counted in the table, strict JSON, and the others are trained."""
    ended = call("train", "wild.yaml", "--no-report", "--jobs", "1")
    assert ended.code == 0
    assert re.search(r"^\[2/2\] wild wild seed 0: diverged, [0-9.]+ s, ", ended.err, re.MULTILINE)
    rows = {row[0]: row for row in cells(ended.out)}
    assert rows["wild"] == ["wild", "1", "–", "–", "1 diverged"]
    path = one("wild-s0", "wild")
    result = strict((path / "result.json").read_text())
    assert result["status"] == "diverged"
    assert result["steps"] < 30 * 4
    assert result["last"]["train/loss"] is None
    last = (path / "metrics.csv").read_text().splitlines()[-1]
    assert last.split(",")[2] in ("inf", "nan")
    assert call("train", "wild.yaml", "--no-report").err == "2 of 2 runs are finished already\n"
    for arguments in (["list", "runs"], ["plot", "runs"], ["show", str(path)]):
        looked = call(*arguments)
        assert (looked.code, looked.err) == (0, "")
    assert strict(call("list", "runs", "--json").out)["runs"][1]["status"] == "diverged"


INTERRUPTED = "interrupted; the same command goes on from the last checkpoint\n"


def fail_on(monkeypatch: pytest.MonkeyPatch, variant: str, seed: int, *, after: int = 0) -> None:
    """Let the training of one run raise after some evaluations."""
    from bncompare.execution import inline

    real = inline.train

    def train(run: Any, *arguments: Any) -> Iterator[Any]:
        for i, record in enumerate(real(run, *arguments)):
            if (run.variant.label, run.seed) == (variant, seed) and i == after:
                raise RuntimeError("boom")
            yield record

    monkeypatch.setattr(inline, "train", train)


@pytest.mark.parametrize("after", [0, 1])
def test_a_failing_run(trained: tuple[Path, Ended], monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A run that raises is reported and exit code 1, the others finish; called again, it alone is tried again."""
    with monkeypatch.context() as patch:
        fail_on(patch, "none", 1, after=after)
        ended = call("train", "tiny.yaml", "--no-report", "--jobs", "1")
    assert ended.code == 1
    lines = [line.partition(", ")[0] for line in ended.err.splitlines()]
    assert lines == [
        "[1/4] tiny no norm seed 0: completed",
        "[2/4] tiny BatchNorm seed 0: completed",
        "[3/4] tiny no norm seed 1: FAILED: RuntimeError: boom",
        "[4/4] tiny BatchNorm seed 1: completed",
        "1 of 4 runs failed:",
        "  tiny no norm seed 1: RuntimeError: boom",
    ]
    rows = {row[0]: row for row in cells(ended.out)}
    assert rows["no norm"][-1] == "1 failed"
    failed = strict((one("none-s1") / "result.json").read_text())
    assert (failed["status"], failed["error"]) == ("failed", "RuntimeError: boom")
    assert "Traceback" in failed["traceback"]
    shown = call("show", str(one("none-s1")))
    assert "error: RuntimeError: boom" in shown.out.splitlines()

    before = content(Path("runs"))
    again = call("train", "tiny.yaml", "--no-report")
    assert again.code == 0
    first, second = again.err.splitlines()
    assert first == "3 of 4 runs are finished already"
    assert second.startswith("[1/1] tiny no norm seed 1: completed, ")
    changed = {name for name, file in content(Path("runs")).items() if before.get(name) != file}
    assert {Path(name).parent.name for name in changed} == {one("none-s1").name}
    uninterrupted = trained[0] / one("none-s1") / "metrics.csv"
    assert (one("none-s1") / "metrics.csv").read_bytes() == uninterrupted.read_bytes()


def test_a_failing_run_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json a failure is in the document and in the exit code."""
    fail_on(monkeypatch, "batch", 0)
    ended = call("train", "tiny.yaml", "--no-report", "--json", "--seeds", "1", "--jobs", "1")
    assert ended.code == 1
    assert [run["status"] for run in strict(ended.out)["runs"]] == ["completed", "failed"]
    assert ended.err == (
        "[2/2] tiny BatchNorm seed 0: FAILED: RuntimeError: boom\n"
        "1 of 2 runs failed:\n  tiny BatchNorm seed 0: RuntimeError: boom\n"
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """metrics.csv of the slow config, trained straight through."""
    path = tmp_path_factory.mktemp("slow")
    (path / "slow.yaml").write_text(SLOW)
    with contextlib.chdir(path):
        assert call("train", "slow.yaml", "--no-report").code == 0
        return (one("batch-s0", "slow") / "metrics.csv").read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_interrupted_and_resumed(
    uninterrupted: bytes, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """A signal ends training with 130 or 143; the same command goes on, to the bytes of an unbroken run.

    It keeps the time at which it began, and says when it ended.
    """
    often = "from bncompare import cli; from bncompare.execution import inline; "
    often += "inline.SECONDS_BETWEEN_CHECKPOINTS = 0.1; cli.main()"
    process = subprocess.Popen([sys.executable, "-c", often, "train", "slow.yaml"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(Path("runs").glob("slow/*/checkpoint.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.removeprefix("loading torch…\n").removeprefix("starting to train…\n") == INTERRUPTED
    path = one("batch-s0", "slow")
    assert not (path / "result.json").exists()
    assert not [name for name in os.listdir(path) if name.startswith(".")]
    partial = (path / "metrics.csv").read_bytes()
    assert uninterrupted.startswith(partial)
    assert partial != uninterrupted
    began = strict((path / "environment.json").read_text())
    assert "ended" not in began
    assert cells(call("list", "runs").out)[2][2] == "unfinished"
    assert cells(call("train", "slow.yaml", "--no-report", "--dry-run").out)[1][-1] == "begun"

    from bncompare.execution import inline

    real, checkpoints = inline.train, []

    def train(run: Any, dataset: Any, device: Any, checkpoint: bytes | None, stepped: Any) -> Any:
        checkpoints.append(checkpoint)
        return real(run, dataset, device, checkpoint, stepped)

    monkeypatch.setattr(inline, "train", train)
    ended = call("train", "slow.yaml", "--no-report")
    assert ended.code == 0
    assert checkpoints[0] is not None, "it went on, and did not start over"
    assert (path / "metrics.csv").read_bytes() == uninterrupted
    environment = strict((path / "environment.json").read_text())
    assert environment["started"] == began["started"] <= environment["ended"]


def test_an_interrupted_sweep_says_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130, after the table of the runs that are finished; no claim is judged and no page written."""
    from bncompare.execution import inline

    real = inline.train

    def train(run: Any, *arguments: Any) -> Iterator[Any]:
        if run.seed == 1:
            os.kill(os.getpid(), signal.SIGINT)
        yield from real(run, *arguments)

    monkeypatch.setattr(inline, "train", train)
    ended = call("train", "tiny.yaml", "--jobs", "1")
    assert (ended.code, ended.err.splitlines()[-1] + "\n") == (130, INTERRUPTED)
    rows = cells(ended.out)
    assert [row[:2] for row in rows[2:4]] == [["no norm", "1"], ["BatchNorm", "1"]]
    assert rows[-1] == ["2 runs in runs/tiny"]
    assert not Path("runs/tiny/report.html").exists()


def test_a_damaged_checkpoint_starts_over(trained: tuple[Path, Ended], runs: list[Path]) -> None:
    """An unfinished run whose checkpoint is damaged is named, and trained from its beginning, to the same numbers."""
    (runs[0] / "result.json").unlink()
    checkpoint = runs[0] / "checkpoint.pt"
    checkpoint.write_bytes(b"cut off")
    metrics = (runs[0] / "metrics.csv").read_bytes()
    assert "damaged" in cells(call("train", "tiny.yaml", "--no-report", "--dry-run").out)[1]
    ended = call("train", "tiny.yaml", "--no-report")
    assert ended.code == 0
    assert ended.err.splitlines()[0] == f"warning: {checkpoint}: damaged; the run starts over"
    assert (runs[0] / "metrics.csv").read_bytes() == metrics


def test_runs_folder_that_cannot_be_written() -> None:
    """A file in the way of the runs folder is one line that names it, and exit code 1."""
    Path("taken").write_text("")
    ended = call("train", "tiny.yaml", "--no-report", "--runs", "taken")
    assert (ended.code, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("error: taken")
    assert "cannot be written" in line


@pytest.mark.parametrize("name", ["metrics.csv", "timing.csv", "result.json", "config.yaml"])
@pytest.mark.parametrize("damage", [b"", b"\xff\x00junk", b"[]", None], ids=["empty", "junk", "list", "missing"])
def test_train_over_a_damaged_finished_run(runs: list[Path], name: str, damage: bytes | None) -> None:
    """A damaged file in a finished run is mended, or a message that names its folder; never a traceback."""
    if damage is None:
        (runs[0] / name).unlink()
    else:
        (runs[0] / name).write_bytes(damage)
    ended = call("train", "tiny.yaml", "--no-report")
    assert ended.code in (0, 1, 2)
    assert ended.code == 0 or str(runs[0]) in ended.err


def test_a_terminal_gets_bars(trained: tuple[Path, Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the live display leaves a line a run, and the same files."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes rich take stderr for a terminal
    monkeypatch.setenv("COLUMNS", "160")
    ended = call("train", "tiny.yaml", "--no-report")
    assert ended.code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", ended.err)
    for run in ("no norm seed 0", "BatchNorm seed 0", "no norm seed 1", "BatchNorm seed 1"):
        assert len(re.findall(f"tiny {run}: completed,", plain)) == 1
    metrics = [file for name, file in content(Path("runs")).items() if name.endswith("metrics.csv")]
    assert sorted(data for data, _ in metrics) == sorted(
        data for name, (data, _) in content(trained[0] / "runs").items() if name.endswith("metrics.csv")
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["init", "--schema"], ["norms", "--json"], ["init", "regression"]])
def test_stdout_that_is_full(command: list[str]) -> None:
    """A line, and exit code 1."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "bncompare", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, "error: output: No space left on device\n")


@pytest.mark.parametrize("command", ["init", "train", "plot"])
def test_no_escape_codes_in_errors(command: str) -> None:
    """What a person typed goes to the terminal as text."""
    ended = call(command, "\x1b[31mred")
    assert ended.code == 2
    assert ended.err.startswith("error: \N{REPLACEMENT CHARACTER}[31mred")


def test_no_escape_codes_in_a_pipe(trained: tuple[Path, Ended], runs: list[Path]) -> None:
    """Where nobody looks at a terminal there are no escape codes, on stdout or stderr."""
    everything = [trained[1], call("list", "runs"), call("show", str(runs[1])), call("--help"), call("train")]
    assert not [ended for ended in everything if "\x1b" in ended.out + ended.err]
    ended = spawn("list", "runs", NO_COLOR="1", TERM="xterm-256color")
    assert "\x1b" not in ended.stdout + ended.stderr


def test_no_color_on_a_terminal(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR turns colours off where there is a terminal."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for ended in (call("list", "runs"), call("train", "tiny.yaml", "--no-report", "--seeds", "1", "--fresh")):
        assert not re.search(r"\x1b\[(?:[0-9]+;)*(?:3[0-9]|4[0-9]|9[0-7])[;m]", ended.out + ended.err)


def test_output_that_is_not_utf8(runs: list[Path]) -> None:
    """An output that can't hold γ or ± is no reason to stop."""
    for arguments in (["show", str(runs[1])], ["train", "tiny.yaml"]):
        ended = spawn(*arguments, PYTHONIOENCODING="ascii")
        assert "Traceback" not in ended.stderr
        assert ended.returncode == 0


# ---------------------------------------------------------------- plot


FIGURES = [
    *("overview", "train-loss", "val-loss", "differences-val-loss-best"),
    *("differences-test-loss-best", "epochs-to-val-loss"),
]


def test_plot_draws_what_there_is(runs: list[Path]) -> None:
    """PNGs of each metric and of what the variants differ in, in the experiment's folder, their paths on stdout."""
    ended = call("plot", "runs")
    assert (ended.code, ended.err) == (0, "")
    names = [f"runs/tiny/{name}.png" for name in FIGURES]
    assert ended.out.splitlines() == [name for name in names if name in ended.out], "in this order, and no others"
    assert ended.out.splitlines()[:4] == names[:4]
    for name in ended.out.split():
        assert Path(name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("format", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plot_options(runs: list[Path], format: str, magic: bytes) -> None:
    """-o, --format and --metric decide where, as what and which figures are written; nothing else is."""
    before = content(Path("runs"))
    ended = call("plot", "runs", "-o", "a/b", "--format", format, "--metric", "val/loss", "--metric", "lr")
    assert (ended.code, ended.err) == (0, "")
    names = ended.out.split()
    expected = [f"a/b/tiny-{name}.{format}" for name in ("val-loss", "lr", "differences-val-loss-best")]
    assert names[:3] == expected
    assert "train-loss" not in ended.out
    assert {Path(name).read_bytes()[: len(magic)] for name in names} == {magic}
    assert sorted(os.listdir("a/b")) == sorted(Path(name).name for name in names)
    assert content(Path("runs")) == before


@pytest.mark.parametrize(("x", "values"), [("epoch", [1.0, 2.0]), ("step", [3.0, 6.0])])
def test_plot_x(runs: list[Path], monkeypatch: pytest.MonkeyPatch, x: str, values: list[float]) -> None:
    """--x chooses what the figure's horizontal axis counts; every run is in the figure, in the config's order."""
    from bncompare.figures import catalogue as figures

    real: Callable[..., Any] = figures.experiment_curves
    drawn = []

    def record(runs: list[Any], *metric: Any, **options: Any) -> Any:
        drawn.append((runs, options))
        return real(runs, *metric, **options)

    monkeypatch.setattr(figures, "experiment_curves", record)
    assert call("plot", "runs", "--x", x, "--metric", "val/loss").code == 0
    ((plotted, options),) = drawn
    assert options["x"] == x
    assert [run.metrics[x] for run in plotted] == [values] * 4
    assert [(run.label, run.seed) for run in plotted] == [("none", 0), ("none", 1), ("batch", 0), ("batch", 1)]


def test_plot_of_two_setups_under_one_name(runs: list[Path]) -> None:
    """Of runs of one name with other settings the newest are drawn; with --all, each in a folder of its own."""
    for path in runs[:2]:
        config = path / "config.yaml"
        config.write_text(config.read_text().replace("lr: 0.01", "lr: 0.02", 1))
        (path / "environment.json").write_text('{"started": "2001-01-01T00:00:00+00:00"}')
    newest, earlier = (f"training.optimizer.lr={lr}" for lr in (0.01, 0.02))
    ended = call("plot", "runs", "--metric", "train/loss")
    assert (ended.code, ended.err) == (
        0,
        f"runs/tiny: the figures are of the newest, tiny ({newest}); --all draws 1 more\n",
    )
    assert "runs/tiny/train-loss.png" in ended.out.split()
    ended = call("plot", "runs", "--metric", "train/loss", "--all")
    assert (ended.code, ended.err) == (0, "")
    names = ended.out.split()
    assert {f"runs/tiny/{of}/train-loss.png" for of in (newest, earlier)} <= set(names)
    assert len(set(names)) == len(names)
    assert "-2." not in ended.out


def test_plot_into_a_file(runs: list[Path]) -> None:
    """-o that leads to a file is one line that names it, and exit code 1."""
    Path("taken").write_text("")
    ended = call("plot", "runs", "-o", "taken")
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch("error: taken: .+\n", ended.err)


def test_plot_writes_only_where_it_was_told(runs: list[Path]) -> None:
    """A name in somebody's config.yaml does not lead out of the folder that -o names."""
    for path in runs:
        config = path / "config.yaml"
        config.write_text(config.read_text().replace("name: tiny", "name: ../evil", 1))
    call("plot", "runs", "-o", "figures/here", "--metric", "val/loss")
    assert not [path for path in Path.cwd().rglob("*evil*") if Path.cwd() / "figures" / "here" not in path.parents]


# ---------------------------------------------------------------- export


def test_export_prints_csv(runs: list[Path]) -> None:
    """A row per run, evaluation and metric on stdout; with -o the same bytes in a file whose path is printed."""
    ended = call("export", "runs")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "experiment,variant,seed,status,model.norm,epoch,step,metric,value"
    loss = read_run(runs[0]).metrics["train/loss"][0]
    assert lines[1] == f"tiny,none,0,completed,none,1.0,3,train/loss,{loss!r}"
    assert len(lines) == 1 + 4 * (2 * 3 + len({run.best("step") for run in map(read_run, runs)} | {6.0}))
    assert call("export", "runs", "--to", "csv", "-o", "all.csv") == Ended(0, "all.csv\n", "")
    assert Path("all.csv").read_text() == ended.out


def test_export_to_tensorboard(runs: list[Path]) -> None:
    """A folder of event files for each run; it takes a folder to write to."""
    pytest.importorskip("tensorboard")
    message = "error: --to tensorboard needs a folder: -o DIR\n"
    assert call("export", "runs", "--to", "tensorboard") == Ended(2, "", message)
    ended = call("export", "runs", "--to", "tensorboard", "-o", "tb")
    assert ended == Ended(0, "4 runs in tb; tensorboard --logdir tb\n", "")
    assert sorted(path.name for path in Path("tb/tiny").iterdir()) == sorted(path.name for path in runs)


def test_export_into_a_folder_that_is_not_there(runs: list[Path]) -> None:
    """A file that cannot be written is one line that names it, and exit code 1."""
    ended = call("export", "runs", "-o", "no/all.csv")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "error: no/all.csv: cannot be written: No such file or directory\n"


# ---------------------------------------------------------------- list and show


def test_list_is_a_line_per_run(runs: list[Path]) -> None:
    """`list` shows each run's status, length and metrics, in the order of variant and seed."""
    ended = call("list", "runs")
    assert (ended.code, ended.err) == (0, "")
    place, header, *rows = cells(ended.out)
    assert place == ["runs/tiny"]
    assert header == ["variant", "seed", "status", "epochs", "best loss", "test", "folder"]
    expected = []
    for path in (runs[0], runs[2], runs[1], runs[3]):
        run = read_run(path)
        numbers = [f"{value(run, 'best', name):#.3g}" for name in ("val/loss", "test/loss")]
        expected.append([NAMES[run.label], str(run.seed), "completed", "2", *numbers, path.name])
    assert rows == expected


@pytest.mark.parametrize("command", ["list", "show", "plot", "export"])
def test_a_wrong_path(command: str) -> None:
    """A path with no runs is one line and exit code 2."""
    Path("empty").mkdir()
    Path("runs/tiny").mkdir(parents=True)
    none = "no run folders here or below (a run folder has a config.yaml and metrics.csv)"
    assert call(command, "no") == Ended(2, "", "error: no: no such folder\n")
    assert call(command, "tiny") == Ended(2, "", "error: tiny: no such folder; did you mean runs/tiny?\n")
    for slip in ("tny", "runs/tny"):
        assert call(command, slip) == Ended(2, "", f"error: {slip}: no such folder; did you mean runs/tiny?\n")
    assert call(command, "tiny.yaml") == Ended(2, "", "error: tiny.yaml: is a file, not a run folder\n")
    assert call(command, "empty") == Ended(2, "", f"error: empty: {none}\n")


def test_show_prints_config_metrics_and_norms(runs: list[Path]) -> None:
    """`show` prints the run's settings, its best and last metrics, and γ and β of each norm layer."""
    ended = call("show", str(runs[1]))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{runs[1]}\ntiny: BatchNorm, seed 0, completed\n\ndesign: {{seeds: 0-1}}\ndata: ")
    assert "label:" not in ended.out
    run = read_run(runs[1])
    table = cells(ended.out)
    start = table.index(["metric", "best", "last"])
    names = {"epoch": "epoch", "step": "step", "train/loss": "training loss", "val/loss": "validation loss"}
    names |= {"lr": "learning rate", "test/loss": "test loss"}
    assert run.result
    expected = [[words, *(f"{number(name):.3g}" for number in (run.best, run.last))] for name, words in names.items()]
    assert table[start + 1 : start + 7] == expected
    norms = read_norm_parameters(runs[1])["hidden.0.norm"]
    rows = []
    for quantity, symbol in (("weight", "γ"), ("bias", "β")):
        numbers = norms[quantity]
        statistics = [f"{number:.4f}" for number in (numbers.mean(), numbers.min(), numbers.max())]
        rows.append(["hidden.0.norm", symbol, "4", *statistics, " ".join(f"{number:.3f}" for number in numbers)])
    assert table[-2:] == [[cell.replace("-", "−") if i else cell for i, cell in enumerate(row)] for row in rows]


def test_show_without_norms(runs: list[Path]) -> None:
    """A run without norm layers has no γ and β table."""
    ended = call("show", str(runs[0]))
    assert ended.code == 0
    assert "γ" not in ended.out
    assert strict(call("show", str(runs[0]), "--json").out)["norms"] == {}


def test_one_bad_folder_costs_a_warning(runs: list[Path]) -> None:
    """A damaged folder among others is named on stderr; the rest is listed and plotted, exit code 0."""
    (runs[2] / "metrics.csv").write_text("epoch,step,train/loss,val/loss,lr\n1,3\n")
    warning = f"warning: {runs[2]}: skipped: metrics.csv has rows of different lengths\n"
    ended = call("list", "runs")
    assert (ended.code, ended.err) == (0, warning)
    assert [row[-1] for row in cells(ended.out)[2:]] == [runs[i].name for i in (0, 1, 3)]
    plotted = call("plot", "runs")
    assert (plotted.code, plotted.err) == (0, warning)
    assert plotted.out.startswith("runs/tiny/overview.png\nruns/tiny/train-loss.png\nruns/tiny/val-loss.png\n")
    assert len(strict(call("list", "runs", "--json").out)["runs"]) == 3


def test_only_bad_folders(runs: list[Path]) -> None:
    """Where no folder can be read the command says so and exits with 2."""
    (runs[0] / "metrics.csv").write_text("")
    ended = call("show", str(runs[0]))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1] == f"error: {runs[0]}: none of the run folders can be read"


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_json_is_strict_whatever_was_found(runs: list[Path], number: str) -> None:
    """A result.json with numbers that JSON lacks does not make ours one, nor stop the command."""
    (runs[0] / "result.json").write_text(
        f'{{"status": "completed", "steps": 6, "best": {{"val/loss": {number}}}, "last": {{}}}}'
    )
    for arguments in (["list", "runs"], ["show", str(runs[0])]):
        assert call(*arguments).code == 0
        ended = call(*arguments, "--json")
        assert ended.code == 0
        strict(ended.out)


def test_weights_that_are_not_finite(runs: list[Path]) -> None:
    """NaN among γ and β is shown, and null in JSON."""
    weights = {"hidden.0.norm.weight": np.array([np.nan, 1.0], np.float32)}
    (runs[1] / "best.safetensors").write_bytes(save_tensors(weights))
    assert call("show", str(runs[1])).code == 0
    ended = call("show", str(runs[1]), "--json")
    assert strict(ended.out)["norms"] == {"hidden.0.norm": {"weight": [None, 1.0]}}


@pytest.mark.parametrize("best", ['"text"', "[1, 2]", "3", '{"val/loss": "low"}', '{"val/loss": null}'])
def test_a_result_of_other_types(runs: list[Path], best: str) -> None:
    """A result.json whose `best` is something else costs a warning or a dash, not the command."""
    (runs[0] / "result.json").write_text(f'{{"status": "completed", "steps": 6, "best": {best}}}')
    ended = call("list", "runs")
    assert ended.code == 0
    assert len(cells(ended.out)) - 2 + ended.err.count("warning") == 4
    assert call("show", str(runs[0])).code in (0, 2)


def test_a_reader_that_leaves(runs: list[Path]) -> None:
    """`bncompare list runs | head -1` leaves no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bncompare", "list", "runs"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=30)
    assert err == ""


def test_escape_codes_in_a_config_do_not_reach_the_terminal(runs: list[Path]) -> None:
    """A label in somebody's config.yaml cannot recolour or rename the terminal of who lists it."""
    config = runs[0] / "config.yaml"
    config.write_text(config.read_text().replace("label: none", r'label: "a\e[31mb\e]0;c\a"', 1))
    for ended in (call("list", "runs"), call("show", str(runs[0]))):
        assert "\x1b" not in ended.out + ended.err


def test_plot_of_chosen_runs(runs: list[Path]) -> None:
    """Plotting run folders by name draws them into this folder, not over the figures of the experiment."""
    ended = call("plot", str(runs[0]), str(runs[1]), "--metric", "val/loss")
    assert (ended.code, ended.out.split()[0]) == (0, "tiny-val-loss.png")
    assert not Path("runs/tiny/val-loss.png").exists()


def test_plot_of_one_run(runs: list[Path]) -> None:
    """The figures of a run that is named are in its folder."""
    ended = call("plot", runs[0], "--metric", "val/loss")
    assert (ended.code, ended.out, ended.err) == (0, f"{runs[0]}/val-loss.png\n", "")
    assert (runs[0] / "val-loss.png").exists()


@pytest.mark.parametrize("command", ["plot", "report", "list", "check", "export"])
def test_without_a_path_it_is_runs(runs: list[Path], command: str) -> None:
    """What looks at runs looks at those in `runs`, if nothing else is said."""
    assert call(command) == call(command, "runs")


# ---------------------------------------------------------------- parts of a plan, clusters


def test_select_splits_the_plan() -> None:
    """The parts of a plan are disjoint, together the whole, and stay what they are when some runs are finished."""

    def planned(part: str) -> list[str]:
        ended = call("train", "tiny.yaml", "--no-report", "--dry-run", "--json", "--select", part)
        return [run["path"] for run in strict(ended.out)["runs"]]

    whole = planned("1/1")
    parts = [planned(f"{i}/3") for i in (1, 2, 3)]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert sorted(path for part in parts for path in part) == sorted(whole)
    ended = call("train", "tiny.yaml", "--no-report", "--select", "2/3")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "1 run in runs/tiny")
    assert "claim " not in ended.out
    assert [planned(f"{i}/3") for i in (1, 2, 3)] == parts
    assert [str(path) for path in Path("runs/tiny").iterdir()] == parts[1]


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said, before anything is written; the environment of the process is left as it was."""
    monkeypatch.setitem(sys.modules, "ray", None)
    before = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    ended = call("train", "tiny.yaml", "--no-report", "--executor", "ray")
    message = "error: --executor ray: Ray is not installed; pip install 'bncompare[ray]'\n"
    assert (ended.code, ended.out, ended.err) == (2, "", message)
    assert os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == before


def test_many_runs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many runs only the failures have lines of their own, as they come and again at the end."""
    monkeypatch.setattr(progress, "MAX_RUNS_LISTED", 3)
    fail_on(monkeypatch, "none", 1)
    ended = call("train", "tiny.yaml", "--no-report", "--jobs", "1")
    assert ended.code == 1
    assert ended.err == (
        "[3/4] tiny no norm seed 1: FAILED: RuntimeError: boom\n"
        "1 of 4 runs failed:\n  tiny no norm seed 1: RuntimeError: boom\n"
    )


# ---------------------------------------------------------------- published results

PAPER = """\
# A paper: something was claimed.
name: paper
seeds: 3
data: {name: random_regression, samples: 32, test_samples: 0, features: 3}
model: {name: mlp, hidden: [4]}
training: {epochs: 2, batch_size: 8, device: cpu, optimizer: {name: sgd, lr: 0.1}}
compare: {model.norm: [none, batch]}
claims:
  - statement: Both learn something | or not
    published: "*.5* against .6"
    metric: train/loss
    at: last
    variant: {model.norm: batch}
    at_most: 100
  - statement: BatchNorm is far better
    metric: train/loss
    at: last
    variant: {model.norm: batch}
    versus: {model.norm: none}
    difference_at_most: -100
"""


@pytest.fixture
def presets() -> Path:
    """A folder of shipped configs, one of them of a published result."""
    Path("presets/papers").mkdir(parents=True)
    Path("presets/papers/paper.yaml").write_text(PAPER)
    Path("presets/tiny.yaml").write_text(TINY)
    return Path("presets")


def test_papers(presets: Path) -> None:
    """The configs of published results are trained once; claimed, published and measured stand in one table."""
    ended = call("papers", "--json", presets=presets)
    assert ended.code == 0
    first, second = strict(ended.out)["claims"]
    assert (first["experiment"], first["n"], first["published"]) == ("paper", 3, "*.5* against .6")
    assert (first["verdict"], second["verdict"]) == ("supported", "not supported")
    losses = [run.last("train/loss") for run in read_runs([Path("runs")])[0] if run.variant == "batch"]
    assert first["mean"] == pytest.approx(sum(loss for loss in losses if loss is not None) / 3)

    again = call("papers", "paper", presets=presets)
    assert (again.code, again.err) == (0, "6 of 6 runs are finished already\n")
    header, one, two, count = cells(again.out)
    assert count == ["2 claims judged together, uncorrected for their number"]
    assert header == ["experiment", "claim", "published", "measured (95 % CI)", "verdict"]
    half = (first["high"] - first["low"]) / 2
    mean, low, high = (rounded(first[name], half) for name in ("mean", "low", "high"))
    measured = f"training loss at the last epoch: {mean} ({low} to {high}), n = 3"
    assert one[2:] == ["*.5* against .6", measured, "supported (preliminary: 3 seeds)"]
    assert two[2].startswith("training loss at the last epoch: difference ")

    lines = call("papers", "--markdown", presets=presets).out.splitlines()
    assert lines[:2] == [
        "| experiment | claim | published | measured (95 % CI) | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    assert lines[2].startswith(
        "| paper | Both learn something \\| or not | \\*.5\\* against .6 | training loss at the last epoch: "
    )
    assert lines[3].startswith("|  | BatchNorm is far better |  | training loss at the last epoch: difference ")


def test_papers_quick(presets: Path) -> None:
    """--quick is for the short ones alone, which are shipped."""
    quick = (presets / "papers/paper.yaml").rename(presets / f"papers/{cli.train.QUICK[0]}.yaml")
    (presets / "papers/long.yaml").write_text(PAPER.replace("name: paper", "name: long"))
    claims = strict(call("papers", "--quick", "--json", presets=presets).out)["claims"]
    assert [claim["experiment"] for claim in claims] == ["paper", "paper"]
    assert os.listdir("runs") == ["paper"]
    message = "error: --quick: chooses the configs itself; give it or their names\n"
    assert call("papers", "--quick", quick.stem) == Ended(2, "", message)
    assert {path.stem for path in (CONFIGS / "papers").glob("*.yaml")} >= set(cli.train.QUICK)


def test_papers_counts_what_diverged(presets: Path) -> None:
    """A variant some of whose runs have no value says so in the table."""
    wild = PAPER.replace("lr: 0.1", "lr: 1000000").replace("model.norm: [none, batch]", "model.norm: [batch, none]")
    bad = "variant: {model.norm: none}\n    at_least: 1"
    text = wild.replace("variant: {model.norm: batch}\n    at_most: 100", bad)
    (presets / "papers/paper.yaml").write_text(text)
    (row, *_) = cells(call("papers", presets=presets).out)[1:]
    count = "no norm: 3 of 3 have no value (diverged), which counts for the claim"
    assert row[3:] == [f"no value; {count}", "inconclusive"]


def test_papers_what_is_not_there(presets: Path) -> None:
    """Only configs of published results can be named; one form at a time."""
    for arguments, message in (
        (["tiny"], "error: tiny: no such config of a published result; `bncompare init` lists those there are\n"),
        (["--markdown", "--json"], "error: --markdown and --json: one or the other\n"),
    ):
        assert call("papers", *arguments, presets=presets) == Ended(2, "", message)
