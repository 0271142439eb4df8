"""Classes of others: what installed packages and the files given to --plugin add to those of this package.

A package names its classes as entry points in the groups `bncompare.norms`, `.models`, `.datasets` and `.probes`. Of
a file it is every class that has a name of its own. A config names neither: code runs because somebody installed it,
or named its file. They are looked up when a registry is first read, so that a module of a plugin may be imported
before. No torch.
"""

import hashlib
import linecache
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from bncompare.errors import PluginWarning, UserError
from bncompare.options import Section, tags

FILES = "BNCOMPARE_PLUGINS"
"""the environment variable that holds the files, as PATH holds folders: processes that are started here inherit it"""
GROUPS = ("bncompare.norms", "bncompare.models", "bncompare.datasets", "bncompare.probes")
HASH = "sha256:"


@dataclass(frozen=True)
class Plugin:
    """Where a class of others comes from."""

    name: str
    """of a distribution, or of a file"""
    version: str
    """of a file its hash: `sha256:…`"""

    def __str__(self) -> str:
        """`bncompare-mynorm 1.2.0`, `mynorm.py sha256:5a1dc43c48fa`."""
        return f"{self.name} {_short(self.version)}"


def _short(version: str) -> str:
    return version[: len(HASH) + 12] if version.startswith(HASH) else version


C = TypeVar("C", bound=type[Section])
Names = Callable[[type[Section]], Sequence[str]]
_origins: dict[type[Section], Plugin] = {}
_registries: "list[Registry[Any]]" = []


class Registry(MutableMapping[str, C]):
    """Classes by the names that configs call them by: this package's, and from the first look those of others.

    `group` is the end of an entry point's group, `base` what a class of others is a subclass of, `key` the one that
    holds the names of a class; of probes, whose keys are their names, there is none.
    """

    def __init__(self, group: str, base: type[Section], key: str | None) -> None:
        self.group, self.base, self.key = group, base, key
        self._classes: dict[str, C] = {}
        self._is_complete = False
        _registries.append(self)

    def names(self, new: type[Section]) -> tuple[str, ...]:
        """Of a class; none of one that is there to be inherited from, or that has inherited them."""
        if self.key is None:
            return tuple(new.model_fields)
        return tags(new, self.key) if self.key in new.__annotations__ else ()

    def add(self, new: C) -> None:
        """Make a class known, in place of itself where a cell of a notebook is run again. Raises ValueError if one of
        its names is taken."""
        for name in self.names(new):
            if name in self._classes and not _is_written_anew(new, self._classes[name]):
                raise ValueError(f"there is {name!r} among the {self.group} already: {self._classes[name].__name__}")
            self._classes[name] = new

    def complete(self) -> dict[str, C]:
        """With those of plugins. Raises UserError if a name is taken, or if a file is broken."""
        if not self._is_complete:
            self._is_complete = True  # a plugin may look at it too
            try:
                for plugin, new in _found(self.group, self.base, self.names):
                    for name in self.names(new):
                        if self._classes.setdefault(name, new) is not new:
                            raise UserError(_clash(self.group, name, plugin, self._classes[name]))
            except UserError:
                self._is_complete = False
                raise
        return self._classes

    def __getitem__(self, name: str) -> C:
        return self.complete()[name]

    def __setitem__(self, name: str, new: C) -> None:
        self._classes[name] = new

    def __delitem__(self, name: str) -> None:
        del self.complete()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.complete())

    def __len__(self) -> int:
        return len(self.complete())


def _is_written_anew(new: type[Section], known: type[Section]) -> bool:
    return new is not known and (new.__module__, new.__qualname__) == (known.__module__, known.__qualname__)


def _clash(group: str, name: str, plugin: Plugin, other: type[Section]) -> str:
    owner = _origins.get(other, f"bncompare itself ({other.__name__})")
    return f"plugins: {name!r} among the {group} is of {owner}, and of {plugin}; only one of them may be here"


def _found(group: str, base: type[Section], names: Names) -> Iterator[tuple[Plugin, Any]]:
    """The classes of a group, first those of packages, of which a broken one is a warning.

    Raises UserError for a broken file.
    """
    for entry in _entry_points():
        if entry.group == f"bncompare.{group}":
            plugin = _distribution(entry)
            try:
                new = entry.load()
                problem = _problem(new, base, names)
            except (Exception, SystemExit) as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                warnings.warn(
                    f"plugin {plugin}: {entry.name} = {entry.value}: {problem}; it is left out",
                    PluginWarning,
                    stacklevel=2,
                )
            else:
                _origins[new] = plugin
                yield plugin, new
    for path in files():
        plugin, module = _of_file(path), _module(path)
        for new in classes_of(module):
            if _problem(new, base, names) is None:
                _origins[new] = plugin
                yield plugin, new


def classes_of(module: ModuleType) -> list[type]:
    """Those that a module defines, in their order."""
    return [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]


def _problem(new: object, base: type[Section], names: Names) -> str | None:
    """Why something is no class of a group."""
    if not isinstance(new, type):
        return "is no class"
    if not issubclass(new, base):
        return f"is no subclass of {base.__module__.rpartition('.')[0]}.{base.__name__}"
    return None if names(new) else "has no name of its own, such as `kind: Literal[…]`"


# ---------------------------------------------------------------- what is here


@cache
def _entry_points() -> list[EntryPoint]:
    """Those of all groups, found in one look at every distribution: `entry_points` takes one a group."""
    found: dict[str, list[EntryPoint]] = {}
    for distribution in distributions():
        if ours := [entry for entry in distribution.entry_points if entry.group in GROUPS]:
            found.setdefault(distribution.name, ours)  # of two copies the first on the path is imported
    return [entry for ours in found.values() for entry in ours]


def _distribution(entry: EntryPoint) -> Plugin:
    assert entry.dist is not None
    return Plugin(entry.dist.name, entry.dist.version)


def here() -> dict[str, str]:
    """Every plugin that is installed here or named, broken or not, with its version."""
    plugins = [*map(_distribution, _entry_points()), *map(_of_file, files())]
    return {plugin.name: plugin.version for plugin in plugins}


def used(sections: Iterable[Section]) -> dict[str, str]:
    """The plugins that sections, and the sections in them, are of, with their versions."""
    for registry in _registries:
        registry.complete()  # as nothing else may have read it in a process that was sent the classes
    plugins = {_origins[found] for found in _classes(list(sections)) if found in _origins}
    return {plugin.name: plugin.version for plugin in sorted(plugins, key=str)}


def _classes(value: Any) -> Iterator[type[Section]]:
    """Those of sections, and of all sections in them."""
    if isinstance(value, Section):
        yield type(value)
        value = [inner for _, inner in value]
    if isinstance(value, list):
        for inner in value:
            yield from _classes(inner)


def origin(section: type[Section]) -> Plugin | None:
    """The plugin that a class is of."""
    return _origins.get(section)


def lacking(recorded: Mapping[str, str]) -> list[str]:
    """What is to be done about the plugins of a run, recorded with their versions, before it can be trained here.

    Another version of a package is none of it: its digest and environment.json tell them apart.
    """
    found, problems = here(), []
    for name, version in recorded.items():
        ours, is_file = found.get(name), version.startswith(HASH)
        if ours is None and is_file:
            problems.append(f"needs --plugin {name}, the file whose hash is {version}")
        elif ours is None:
            problems.append(f"needs the plugin {name} {version}, a package that is not installed here")
        elif ours != version and (is_file or ours.startswith(HASH)):
            problems.append(
                f"--plugin {name}: is another file than that of the run: {_short(ours)}, not {_short(version)}"
            )
    return problems


# ---------------------------------------------------------------- files


def files() -> list[Path]:
    """The files that were named."""
    return [Path(name) for name in os.environ.get(FILES, "").split(os.pathsep) if name]


def use(paths: Sequence[Path]) -> None:
    """Name files, for this process and those that it starts, before a config is read. Raises UserError."""
    named = files()
    for path in paths:
        full = path.resolve()
        if not full.is_file():
            raise UserError(f"--plugin {path}: no such file")
        if os.pathsep in str(full):
            raise UserError(f"--plugin {path}: no {os.pathsep!r} may be in its path")
        _source(full)
        for other in named:
            if _module_name(other) == _module_name(full) and other != full:
                raise UserError(f"--plugin {path}: {other} has the same name")
        named = list(dict.fromkeys([*named, full]))
    os.environ[FILES] = os.pathsep.join(map(str, named))


def sources() -> dict[str, bytes]:
    """The content of each file, for a machine that does not have them."""
    return {path.name: _source(path) for path in files()}


def receive(sources: Mapping[str, bytes]) -> None:
    """Name files that come from another machine, in place of those named here."""
    folder = Path(tempfile.mkdtemp(prefix="bncompare-plugins-"))
    for name, source in sources.items():
        (folder / name).write_bytes(source)
    os.environ[FILES] = os.pathsep.join(str(folder / name) for name in sources)


@cache
def _source(path: Path) -> bytes:
    """What is in a file when it is first asked for: its hash is that of the code that runs."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"--plugin {path}: {error.strerror}") from None


def _of_file(path: Path) -> Plugin:
    return Plugin(path.name, HASH + hashlib.sha256(_source(path)).hexdigest())


def _module_name(path: Path) -> str:
    """`my-norm.py` and `my_norm.py` have the same."""
    return "bncompare_plugin_" + re.sub(r"\W", "_", path.stem)


def _module(path: Path) -> ModuleType:
    """A file as a module, which other processes find by its name when they have loaded it too. Raises UserError."""
    source, name = _source(path), _module_name(path)
    if name in sys.modules:  # perhaps not whole yet, and looking at a registry
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    linecache.cache[str(path)] = (len(source), None, source.decode(errors="replace").splitlines(True), str(path))
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = lines[-1] if lines else getattr(error, "lineno", None) or 1
        what = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"{path}:{line}: {type(error).__name__}: {what}") from None
    return module
