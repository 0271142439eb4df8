"""What a person did and can mend: the message says what is wrong, where, and what to do about it."""

import re
import traceback
from collections.abc import Sequence
from pathlib import Path

MAX_PROBLEMS = 100
MAX_PROBLEM_LENGTH = 500  # characters


class UserError(Exception):
    """One or more problems, a line each; the command ends with exit code 2 and nothing is lost."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageError(UserError):
    """A file that cannot be written or read (disk full, no permission, …); the command ends with exit code 1."""


class PluginWarning(UserWarning):
    """A class of an installed package that is left out as it is broken."""


def raised(error: Exception) -> str:
    """What code of others raised, and where: `ValueError: too small (mine.py:12)`."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not {"pydantic", "torch"} & {*Path(frame.filename).parts}]
    frame = (theirs or frames)[-1]
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"


# What has no ink although Python calls it printable: Unicode's Default_Ignorable_Code_Point, and empty Braille.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def printable(text: str) -> str:
    """A line that shows all it holds: no control characters, none without width, none that turn the direction."""
    seen = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " "))
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in seen)


def problem_lines(problems: Sequence[str]) -> list[str]:
    """Problems as lines to print: at most `MAX_PROBLEMS`, each printable and of at most `MAX_PROBLEM_LENGTH`."""
    lines = [_cut(printable(problem)) for problem in problems[:MAX_PROBLEMS]]
    left_out = len(problems) - len(lines)
    return [*lines, f"… and {left_out} more"] if left_out else lines


def _cut(text: str) -> str:
    """The middle of a long line left out: what is wrong is at its beginning, what would be right often at its end."""
    if len(text) <= MAX_PROBLEM_LENGTH:
        return text
    end = MAX_PROBLEM_LENGTH // 3
    return f"{text[: MAX_PROBLEM_LENGTH - end - 1]}…{text[-end:]}"
