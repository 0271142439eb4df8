"""What of the site lies outside docs/: the README as its first page, its neighbours, and the pictures of .github/."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PAGES["LICENSE"] = "license.md"
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for path in (ROOT / ".github").glob("*.png"):
        files.append(File.generated(config, path.name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Its links, which are those of the repository, as those of the site, where all lies in one folder."""
    home = "" if page.file.src_uri in PAGES.values() else "docs"
    return LINK.sub(lambda match: f"]({place_of(posixpath.normpath(posixpath.join(home, match[1])))}", markdown)


def place_of(path: str) -> str:
    """Where a file of the repository is; what is not on the site stays, and ends a strict build."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/").removeprefix(".github/")
