"""A package for a norm of one's own, which works as it is: `bncompare norms --new NAME`."""

import keyword
import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from bncompare.errors import StorageError, UserError
from bncompare.norms import NORMS

NAME = re.compile("[a-z][a-z0-9]*(_[a-z0-9]+)*")


def write_package(name: str, folder: Path | None) -> Path:
    """Write a package for a kind of norm into a new folder, by default `bncompare-NAME`, and return it.

    Raises UserError if the name can't be that of a kind, or if the folder is there.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > 40:
        raise UserError(f"--new {name}: must be lower-case words of letters and digits, such as my_norm")
    if name in NORMS:
        raise UserError(f"--new {name}: there is a norm of this name ({NORMS[name].__name__})")
    distribution = f"bncompare-{name.replace('_', '-')}"
    module = distribution.replace("-", "_")
    names = {"kind": name, "distribution": distribution, "module": module}
    names["title"] = "".join(word.capitalize() for word in name.split("_"))
    files = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "README.md.j2",
        f"{module}.py": "module.py.j2",
        f"tests/test_{name}.py": "test.py.j2",
    }
    loader = PackageLoader("bncompare.extras", "new_norm")
    templates = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    folder = folder or Path(distribution)
    try:
        folder.mkdir(parents=True)
        (folder / "tests").mkdir()
        for path, template in files.items():
            text = templates.get_template(template).render(names)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise UserError(f"{folder}: is there already; -o names another folder") from None
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}") from None
    return folder
