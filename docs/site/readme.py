"""The README as PyPI shows it: its pictures and links are absolute, where `project.urls` has the Repository."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


def absolute(text: str, repository: str | None) -> str:
    """A page whose links do not depend on where it is shown; as it is without a repository."""
    if repository is None:
        return text

    def link(match: re.Match[str]) -> str:
        kind = "raw" if match[1] else "blob"
        return f"{match[1]}[{match[2]}]({repository}/{kind}/main/{match[3]})"

    return LINK.sub(link, text)


class Readme(MetadataHookInterface):
    """Asked by hatchling for the metadata of a build."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Enter the README."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, repository)}
