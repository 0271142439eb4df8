"""What a person did and can mend: the message says what is wrong, where, and what to do about it."""

from collections.abc import Sequence

MAX_PROBLEMS = 100
MAX_PROBLEM_LENGTH = 300  # characters


class UserError(Exception):
    """One or more problems, a line each; the command ends with exit code 2 and nothing is lost."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageError(UserError):
    """A file that cannot be written or read (disk full, no permission, …); the command ends with exit code 1."""


def printable(text: str) -> str:
    """A line that does nothing to a terminal or a page: no control characters, none that turn the direction."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


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
