"""A dataset of somebody else is one class, from its config to its report."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from kit import CONFIGS, ROOT, call, content
from test_readme import blocks

from bncompare.config import load_experiment
from bncompare.datasets import DATASETS, DataSection, Pool
from bncompare.errors import UserError
from bncompare.execution import plan_runs, run_experiment
from bncompare.runs import RunStore
from bncompare.training import Datasets

NUM_READ = []


class Stored(DataSection):
    """Four classes of 2×3×5 bytes, stored."""

    pool_size: ClassVar = 80
    test_size: ClassVar = 20
    input_shape: ClassVar = (2, 3, 5)
    num_outputs: ClassVar = 4
    is_classification: ClassVar = True
    class_names: ClassVar = ["north", "east", "south", "west"]

    name: Literal["stored"]
    """the dataset"""
    brightest: int = 255
    """pixel"""

    def read(self, data_dir: Path | None, *, download: bool) -> Pool:
        NUM_READ.append(self.brightest)
        classes = torch.arange(100) % 4
        images = (classes * self.brightest // 4).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 2, 3, 5)
        return Pool(images[:80], classes[:80], images[80:], classes[80:])

    def scale_and_shift(self, inputs: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.tensor(1 / 64), None


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The registry as it was, afterwards."""
    before = dict(DATASETS)
    yield
    DATASETS.clear()
    DATASETS.update(before)


@pytest.fixture
def spirals() -> str:
    """The dataset of the page on extending, typed as it stands there."""
    (recipe,) = [text for text in blocks("python", ROOT / "docs" / "extending.md") if "DATASETS.add" in text]
    exec(recipe, {})
    return "spirals"


@pytest.fixture
def stored() -> str:
    """A dataset that is read."""
    NUM_READ.clear()
    DATASETS.add(Stored)
    return "stored"


@pytest.mark.parametrize("dataset", ["spirals", "stored"])
def test_one_class_is_enough(
    request: pytest.FixtureRequest, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config is checked, it is trained, looked at, verified; a typing error is found."""
    name = request.getfixturevalue(dataset)
    monkeypatch.chdir(tmp_path)
    section: dict[str, Any] = {"name": name, "validation": 0.25}
    settings = [f"data={section}", "model={name: mlp, hidden: [8]}", "compare.model.norm=[none, batch]"]
    runs = load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="2").runs
    planned = plan_runs(runs, RunStore(Path("runs")))
    for _ in run_experiment(planned, data_dir=None):
        pass
    before = content(Path("runs"))
    assert [item.state for item in plan_runs(runs, RunStore(Path("runs")))] == ["finished"] * 4
    for command in ("report", "mistakes", "list"):
        assert call(command, "runs/smoke").code == 0, command
    assert call("verify", "runs", "--jobs", "1").code == 0
    assert before.items() <= content(Path("runs")).items()
    with pytest.raises(UserError, match=r"data\.nam: unknown key; valid: .*did you mean 'name'"):
        load_experiment(CONFIGS / "smoke.yaml", overrides=[*settings, "data.nam=x"])
    with pytest.raises(ValueError, match=f"there is '{name}' among the datasets already"):
        DATASETS.add(DATASETS[name])


def test_a_cell_of_a_notebook_that_is_run_again() -> None:
    """Its class takes the place of what it was; one of another place does not."""
    for origin, problem in (
        ("cell", None),
        ("cell", None),
        ("elsewhere", "there is 'mine' among"),
    ):
        again = type("Mine", (DataSection,), {"__module__": origin, "__annotations__": {"name": Literal["mine"]}})
        with pytest.raises(ValueError, match=problem) if problem else nullcontext():
            DATASETS.add(again)
        assert (DATASETS["mine"] is again) is (problem is None)
    del DATASETS["mine"]


def test_what_is_stored_is_read_once(stored: str) -> None:
    """Runs share it, however they split it; another option reads anew."""
    datasets = Datasets(None)
    for option in ("train_size: 30", "validation: 20", "brightest: 200"):
        settings = [
            f"data={{name: stored, {option}}}",
            "model={name: mlp, hidden: [8]}",
            "compare.model.norm=[none]",
        ]
        run = load_experiment(CONFIGS / "smoke.yaml", overrides=settings, seeds="1").runs[0]
        assert datasets.of(run).train.batch(torch.arange(3))[0].shape == (3, 2, 3, 5)
    assert NUM_READ == [255, 200]
