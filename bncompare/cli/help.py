"""What `--help` says beside the options: the commands in groups, examples of each, exit codes."""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

EXIT_CODES: Mapping[str, str] = {
    "0": "done",
    "1": "a run failed, a folder cannot be written, or a run is not reproduced",
    "2": "bad usage, config or data",
    "3": "a claim is not supported",
    "130, 143": "interrupted (SIGINT, SIGTERM); the same command goes on from the last checkpoint",
}

GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "train": {
        "demo": ("bncompare demo", "bncompare report runs/demo"),
        "train": (
            "bncompare train fashion-lenet --smoke",
            "bncompare train my.yaml --set training.optimizer.lr=0.1 --seeds 0-4",
        ),
        "tune": (
            "bncompare tune fashion-lenet --over training.optimizer.lr=log:1e-4:3 --trials 8",
            "bncompare tune my.yaml --dry-run",
        ),
        "papers": ("bncompare papers --quick", "bncompare papers ioffe-2015-fig1 --markdown"),
        "init": ("bncompare init mnist-mlp > my.yaml", "bncompare init mnist-mlp -o my.yaml"),
    },
    "look": {
        "report": ("bncompare report", "bncompare report runs/demo --html report.html"),
        "plot": ("bncompare plot runs/demo", "bncompare plot runs/demo --metric val/loss --format svg"),
        "list": ("bncompare list", "bncompare list runs/demo --json"),
        "show": ("bncompare show runs/demo/batch-s0-*", "bncompare show runs/demo/batch-s0-* --json"),
        "mistakes": ("bncompare mistakes runs/demo", "bncompare mistakes runs/demo --versus batch,layer"),
        "export": ("bncompare export -o runs.csv", "bncompare export runs/demo --to tensorboard -o events"),
    },
    "learn": {
        "norms": ("bncompare norms group", "bncompare norms --new my_norm"),
        "explain": ("bncompare explain batch", "bncompare explain batch --shape 3,4,2,2,3 --momentum 0.3"),
        "graph": ("bncompare graph fashion-lenet", "bncompare graph my.yaml --variant batch -o model.svg"),
    },
    "check": {
        "check": ("bncompare check", "bncompare check runs/demo --strict"),
        "verify": ("bncompare verify runs/demo --sample 2", "bncompare verify runs --jobs 2 --json"),
    },
}
"""the commands by what they are for, each with what one may type"""

EXAMPLES = {name: examples for group in GROUPS.values() for name, examples in group.items()}
ENTIRE = "\b\n"  # before lines that are not to be filled


class Grouped(TyperGroup):
    """The commands, in the order of a first use."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, whose help ends with its examples."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and cmd_name in EXAMPLES:
            command.epilog = "\n".join((f"{ENTIRE}Examples:", *(f"  {line}" for line in EXAMPLES[cmd_name])))
        return command

    def list_commands(self, ctx: Any) -> list[str]:
        """Group by group."""
        return sorted(self.commands, key=list(EXAMPLES).index)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A section for each group."""
        width = max(map(len, self.commands))
        for group, members in GROUPS.items():
            commands = [(name, self.commands[name]) for name in members if name in self.commands]
            with formatter.section(group.capitalize()):
                formatter.write_dl(
                    [(name.ljust(width), command.get_short_help_str(90)) for name, command in commands]
                )

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl(list(EXIT_CODES.items()))
