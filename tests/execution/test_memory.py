"""Memory: what a run needs is known before it starts, and nothing starts that does not fit."""

from pathlib import Path

import pytest
from kit import CONFIGS

from bncompare.config.expand import load_experiment
from bncompare.config.run import RunConfig
from bncompare.errors import UserError
from bncompare.execution.memory import GB, available_memory, in_gb, needed
from bncompare.execution.places import longest_first, num_at_once
from bncompare.execution.plan import plan_runs
from bncompare.runs.folder import RunStore

CONFIG = CONFIGS / "regression.yaml"
SMALL = ("claims=[]", "compare.model.norm=[none]", "model.hidden=[4]", "training.epochs=1", "training.batch_size=16")
GHOSTS = "{kind: ghost_batch, virtual_batch_size: 2}"
LARGE = f"model.hidden={[65_536] * 40}"


def runs(*overrides: str, seeds: str = "1") -> list[RunConfig]:
    return load_experiment(CONFIG, overrides=[*SMALL, *overrides], seeds=seeds).runs


@pytest.mark.parametrize(
    ("part", "least", "overrides"),
    [
        ("data", 4 * 2_000_000 * 101, ["data.samples=1500000", "data.test_samples=500000", "data.features=100"]),
        ("data", 4 * 5_000_000 * 1000, ["data.samples=1000000", "data.targets=1000"]),
        ("data", 4 * 3 * 50_000 * 10_000, ["data.signal=linear", "data.features=50000", "data.targets=10000"]),
        (
            "data",
            4 * 2 * 100_000 * 50_000,
            ["data.signal=teacher", "data.features=100000", "data.teacher_hidden=50000"],
        ),
        ("data", 4 * 2 * 10_000 * 50_000, ["data.signal=teacher", "data.samples=10", "data.teacher_hidden=50000"]),
        ("data", 70_000 * 784, ["data={name: mnist}"]),
        ("model", 4 * 5 * 20_000**2, ["model.hidden=[20000, 20000]"]),
        ("model", 4 * 8 * 20_000**2, ["model.hidden=[20000, 20000]", "training.optimizer={name: adam, lr: 0.1}"]),
        ("model", 4 * 9 * 20_000**2, ["model.hidden=[20000, 20000]", "diagnostics.gradients=true"]),
        ("model", 4 * 6 * 20_000**2, ["model.hidden=[20000, 20000]", "compare.model.norm=[weight]"]),
        ("batch", 4 * 4 * 60_000 * 4704, ["data={name: mnist}", "model={name: lenet}", "training.batch_size=full"]),
        (
            "batch",
            4 * 2 * 800 * 5 * 1000,
            ["model.hidden=[1000, 1000, 1000, 1000, 1000]", "training.batch_size=full"],
        ),
        (
            "batch",
            14_000 * 2 * 10_000,
            [
                "model.hidden=[4, 4]",
                "data.samples=25001",
                "training.batch_size=full",
                f"compare.model.norm=[{GHOSTS}]",
            ],
        ),
        ("batch", 4 * 2 * 700 * 5000, ["model.hidden=[5000]", "diagnostics={gradients: true, examples: 700}"]),
    ],
)
def test_the_estimate_covers_what_is_allocated(part: str, least: int, overrides: list[str]) -> None:
    """Each large tensor of the data, the model and a batch is counted, and none of it many times over."""
    (run,) = runs("data.validation=0.2", *overrides)
    estimate = needed(run)
    assert least <= getattr(estimate, part) <= 8 * least
    assert estimate.total == estimate.data + estimate.model + estimate.batch


@pytest.mark.parametrize(
    ("overrides", "fragment"),
    [
        (["data.samples=10000000", "data.features=100000"], "(data 4,0"),
        (["data.signal=teacher", "data.teacher_hidden=100000", "data.features=100000"], "(data 9"),
        ([LARGE], "model 1"),
    ],
)
def test_what_does_not_fit_is_not_started(tmp_path: Path, overrides: list[str], fragment: str) -> None:
    """A run that needs more than the machine has is refused with both numbers, whichever part of it is too large."""
    store = RunStore(tmp_path / "runs")
    chosen = runs(*overrides, seeds="3")
    with pytest.raises(UserError) as caught:
        plan_runs(chosen, store)
    (problem,) = caught.value.problems
    assert problem.startswith("regression: none: needs about ")
    assert fragment in problem
    assert problem.endswith(f" of memory; this machine has {in_gb(available_memory())}")
    assert not store.root.exists()
    assert len(plan_runs(chosen, store, elsewhere=True)) == 3


@pytest.mark.parametrize(
    ("asked", "device", "cores", "machine", "expected"),
    [
        (None, "cpu", 8, 100.0, 3),
        (None, "cpu", 2, 100.0, 2),
        (None, "cpu", 8, 2.5, 2),
        (None, "cuda", 8, 100.0, 1),
        (2, "cpu", 1, 0.5, 2),
        (9, "cuda", 1, 100.0, 3),
    ],
)
def test_as_many_runs_at_a_time_as_there_is_room_for(
    asked: int | None, device: str, cores: int, machine: float, expected: int
) -> None:
    """One a core as far as memory (in runs) goes, or one on a GPU; or as asked; never more than there are."""
    three = runs(seeds="3")
    room = int(machine * needed(three[0]).total)
    assert num_at_once(three, asked, device, cores, room) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["training.epochs=20", "training.epochs=1", "training.epochs=30", "training.epochs=9"], [0, 2, 3, 1]),
        (["model.hidden=[4]", "model.hidden=[400]"], [1, 0]),
        (["model.norm=batch", "model.norm=none"], [0, 1]),
        (["model.norm=none", "model.norm=batch"], [0, 1]),  # with γ and β, which are few
    ],
)
def test_long_runs_are_those_of_many_steps_and_parameters(settings: list[str], expected: list[int]) -> None:
    """What takes about as long stays in the order of the plan, in which the pairs of a seed follow each other."""
    chosen = [load_experiment(CONFIG, overrides=[*SMALL, "compare=null", of], seeds="1").runs[0] for of in settings]
    assert longest_first(chosen, range(len(chosen))) == expected


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/\n", {"memory.max": f"{GB}\n"}, GB),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": f"{GB}\n"}, GB),
        ("0::/a/b\n", {"a/b/memory.max": f"{GB}\n", "a/memory.max": f"{2 * GB}\n"}, GB),
        ("0::/a\n", {"b/memory.max": f"{GB}\n"}, None),
        ("4:memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": f"{GB}\n"}, GB),
        ("4:memory:/x\n", {"memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, None),
        ("9:cpu:/x\n", {"cpu/x/memory.max": f"{GB}\n"}, None),
        ("0::/\n", {"memory.max": "damaged\n"}, None),
        ("nonsense\n", {"memory.max": f"{GB}\n"}, None),
        (None, {}, None),
    ],
)
def test_a_container_may_have_less_than_the_machine(
    tmp_path: Path, groups: str | None, limits: dict[str, str], expected: int | None
) -> None:
    """The smallest limit of the control groups counts, of either version; where there is none, the whole machine."""
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, limit in limits.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit)
    whole = available_memory(tmp_path / "nothing")
    assert whole > GB
    assert available_memory(tmp_path) == expected or (expected is None and available_memory(tmp_path) == whole)
