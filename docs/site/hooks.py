"""What of the site lies outside docs/: the README as first page, its neighbours, examples, pictures of .github/."""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # tests read what is here without mkdocs
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PAGES |= {"LICENSE": "license.md", "examples/bncompare-power-norm/README.md": "example-norm.md"}
PAGES["examples/bncompare-resnet/README.md"] = "example-model.md"
SOURCES = {page: name for name, page in PAGES.items()}
FILES = [*(ROOT / ".github").glob("*.png"), *(ROOT / "examples").glob("*.ipynb")]
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add them."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for path in FILES:
        files.append(File.generated(config, path.name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Its links, which are those of the repository, as those of the site, where all lies in one folder."""
    return with_links_of_the_site(markdown, posixpath.dirname(SOURCES.get(page.file.src_uri, "docs/")))


def with_links_of_the_site(markdown: str, home: str) -> str:
    """A page that lies in the folder `home` of the repository."""
    return LINK.sub(lambda match: f"]({place_of(posixpath.normpath(posixpath.join(home, match[1])))}", markdown)


def place_of(path: str) -> str:
    """Where a file of the repository is; what is not on the site stays, and ends a strict build."""
    if path in PAGES:
        return PAGES[path]
    return next((file.name for file in FILES if ROOT / path == file), path.removeprefix("docs/"))
