"""Seeds that were added when others could have been looked at."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kit import TINY, loaded_run

from bncompare.config.expand import load_experiment
from bncompare.runs.documents import read_config
from bncompare.runs.experiments import experiments
from bncompare.runs.folder import RunFolder, RunStore
from bncompare.runs.looks import absences, additions, follows_looks
from bncompare.runs.read import LoadedRun

FIRST, SECOND, THIRD = {"seeds": "0-1"}, {"seeds": "0-3"}, {"seeds": "4-5"}
UNTIL = {"until": "decided", "at_least": 2, "at_most": 40, "at_a_time": 1}


def at(folder: Path, design: Any, seed: int, began: int, ended: int | None, variant: str = "none") -> LoadedRun:
    """A run of a design, with when it began and ended, in hours; one that does not say so took a second."""
    path = folder / f"{variant}-{seed}"
    path.mkdir()
    times = {"started": began} | ({} if ended is None else {"ended": ended})
    text = {key: f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00+00:00" for key, hour in times.items()}
    (path / "environment.json").write_text(json.dumps(text))
    run = loaded_run(variant, seed, design=design)
    return dataclasses.replace(run, path=path)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([(FIRST, 0, 0, 1), (FIRST, 1, 1, 2)], []),
        ([(FIRST, 0, 0, 1), (FIRST, 1, 30, 31)], []),  # asked for together, trained another day
        (
            [(FIRST, 0, 0, 1), (FIRST, 1, 1, 2), (SECOND, 2, 5, 6), (SECOND, 3, 6, 7)],
            ["seeds 2-3 were added after 0-1 had been reported"],
        ),
        ([(SECOND, 3, 2, 3), (FIRST, 0, 0, 1), (FIRST, 1, 1, 2)], ["seed 3 was added after 0-1 had been reported"]),
        ([(FIRST, 0, 0, 4), (FIRST, 1, 4, 9), (SECOND, 2, 5, 6), (SECOND, 3, 12, 13)], []),  # two machines at a time
        (
            [(FIRST, 0, 0, None), (FIRST, 1, 1, None), (SECOND, 2, 5, 6)],
            ["seed 2 was added after 0-1 had been reported"],
        ),
        ([(None, 0, 0, 1), (SECOND, 2, 5, 6)], ["seed 2 was added after 0 had been reported"]),  # of an older version
        (
            [(FIRST, 0, 0, 1), (SECOND, 2, 2, 3), (THIRD, 4, 3, 4), (THIRD, 5, 4, 5)],
            ["seed 2 was added after 0 had been reported", "seeds 4-5 were added after 0, 2 had been reported"],
        ),
        ([(UNTIL, 0, 0, 1), (UNTIL, 1, 1, 2), (UNTIL, 2, 30, 31)], []),
    ],
)
def test_seeds_added_after_others_had_ended(
    runs: Sequence[tuple[Any, int, int, int | None]], said: list[str], tmp_path: Path
) -> None:
    """They were asked for by another call, which began when all runs of the earlier ones had ended.

    What was decided by looks is judged as such, whether by hand or by the rule of `until`.
    """
    there = [at(tmp_path, *run) for run in runs]
    assert list(map(str, additions(there))) == said
    assert follows_looks(there) == (bool(said) or runs[0][0] is UNTIL)
    (found,) = experiments(there)
    assert (list(map(str, found.additions)), found.is_sequential) == (said, follows_looks(there))


def test_another_variant_adds_no_seed(tmp_path: Path) -> None:
    """A norm that is added later is trained with the seeds that there are."""
    there = [at(tmp_path, FIRST, 0, 0, 1), at(tmp_path, SECOND, 0, 5, 6, "batch")]
    assert additions(there) == []


def test_another_variant_hides_no_added_seed(tmp_path: Path) -> None:
    """One that is added with the first design, after seeds were added to that, does not make these asked for
    together with the first."""
    there = [at(tmp_path, FIRST, 0, 0, 1), at(tmp_path, SECOND, 2, 5, 6), at(tmp_path, FIRST, 0, 9, 10, "batch")]
    assert list(map(str, additions(there))) == ["seed 2 was added after 0 had been reported"]


@pytest.mark.parametrize(
    ("runs", "absent"),
    [
        ([(FIRST, 0, 0, 1), (FIRST, 1, 1, 2)], []),
        ([(SECOND, 0, 0, 1), (SECOND, 2, 1, 2)], [1, 3]),
        ([(SECOND, 0, 0, 1), (FIRST, 1, 1, 2), (SECOND, 2, 1, 2), (SECOND, 3, 1, 2)], []),
        ([(UNTIL, 0, 0, 1), (UNTIL, 1, 1, 2)], []),
        ([(None, 0, 0, 1), ({"seeds": "all"}, 1, 1, 2), ("0-3", 2, 2, 3)], []),  # of other versions
    ],
)
def test_seeds_that_were_asked_for_and_left_out(runs: Any, absent: list[int], tmp_path: Path) -> None:
    """Whoever asks for forty and stops where it looks good has looked as well."""
    there = [at(tmp_path, *run) for run in runs]
    assert [seed for absence in absences(there) for seed in absence.seeds] == absent
    notes = [note for found in experiments(there) for note in found.notes if "asked for" in note]
    assert [note.partition(" have no run; ")[0] for note in notes] == [
        "seeds 1, 3 were asked for as well and"
    ] * bool(absent)


def test_the_seeds_that_choose_are_not_asked_for_where_others_judge(tmp_path: Path) -> None:
    """Nor are they missed among these."""
    run = at(tmp_path, SECOND, 2, 0, 1)
    run.config["tuning_seeds"] = [0, 1]
    assert [absence.seeds for absence in absences([run])] == [[3]]


def folder_of(root: Path, claims: str) -> RunFolder:
    (root / "tiny.yaml").write_text(f"{TINY}claims: [{claims}]\n")
    return RunStore(root / "runs").run(load_experiment(root / "tiny.yaml", seeds="2").runs[0])


def test_a_run_that_goes_on_keeps_what_was_claimed(tmp_path: Path) -> None:
    """What the config says when a run is resumed was written when half of it could be seen; one that starts over is
    seen by nobody."""
    claim = "{statement: s, metric: val/loss, variant: {model.norm: batch}, at_most: %s}"
    run = folder_of(tmp_path, claim % 2)
    run.begin({})
    run.append(1.0, 3, {"train/loss": 0.5, "val/loss": 0.5, "lr": 0.1}, 0.5, 100.0)
    run.save(b"snapshot")
    for fresh, bound in ((False, 2), (True, 1)):
        again = folder_of(tmp_path, claim % 1)
        if fresh:
            again.clear()
        else:
            assert again.resume() is not None
        again.begin({})
        assert [held["at_most"] for held in read_config(run.path)["claims"]] == [bound]
