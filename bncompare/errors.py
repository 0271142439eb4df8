"""What a person did and can mend: the message says what is wrong, where, and what to do about it."""


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
