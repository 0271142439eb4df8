"""Names of a package that are imported when they are asked for: its face costs nothing until then."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazily(package: str, **modules: str) -> Callable[[str], Any]:
    """A `__getattr__` (PEP 562) for a package: `modules` gives the names that each of its modules has."""
    homes = {name: f"{package}.{module}" for module, names in modules.items() for name in names.split()}

    def attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return attribute
