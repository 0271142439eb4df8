"""What a person did and can mend: the message says what is wrong, where, and what to do about it."""


class UserError(Exception):
    """One or more problems, a line each; the command ends with exit code 2 and nothing is lost."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageError(UserError):
    """A run folder that cannot be written (disk full, read-only, …); the command ends with exit code 1."""
