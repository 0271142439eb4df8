"""What training leaves behind: the answer on stdout, and a picture, a page and an index in the folder of runs."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bncompare import api
from bncompare.cli.options import count
from bncompare.cli.streams import say
from bncompare.errors import printable

if TYPE_CHECKING:
    from bncompare.execution import Planned


def print_answers(
    planned: "Sequence[Planned]",
    *,
    judge_claims: bool,
    with_report: bool,
    outcomes: Mapping[Path, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Of each experiment the answer, where it is, and what to type next; with a report, that is written first.

    `outcomes` says of a folder what was decided after how many seeds.
    """
    from bncompare import report

    for trained in api.trained(planned):
        for chapter in trained.chapters:
            report.print_answer(report.answer_of(chapter), judge_claims=judge_claims)
        for line in outcomes.get(trained.folder, ()):
            print(printable(line))
        place = printable(str(trained.folder))
        print(f"{count(len(trained.runs), 'run')} in {place}")
        if with_report:
            sys.stdout.flush()  # what there is to say, before the pictures are drawn
            for path in trained.write():
                print(printable(str(path)))
            print(f"next: bncompare report {place}")
    if with_report:
        api.write_indexes(planned)


def tell_other_settings(planned: "Sequence[Planned]") -> None:
    """A line for each experiment whose folder holds runs with other settings, before some are added."""
    from bncompare import config, runs

    for folder, members in api.by_folder(planned).items():
        if not folder.is_dir() or all(item.is_done for item in members):
            continue
        ours = {item.folder.path.name for item in members}
        others = [path for path in folder.iterdir() if path.name not in ours and (path / "config.yaml").is_file()]
        wanted = {_settings(item.run.decisive) for item in members}
        loaded, _ = runs.read_runs(others)
        differing = [run for run in loaded if _settings(config.decisive(run.config)) not in wanted]
        if differing:
            say(f"{folder} holds {count(len(differing), 'run')} with other settings; they stay, and are told apart")


def _settings(decisive: dict[str, object]) -> str:
    """All but the seed."""
    return repr(sorted((key, value) for key, value in decisive.items() if key != "seeds"))
