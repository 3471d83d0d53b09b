"""Plugins: files of the user's own that enter networks, data sets, attacks, objectives, probes, views or studies.

A plugin is code, and what is loaded is what the user names: a file, or a plugin that an installed package offers in the
entry-point group :data:`GROUP`, by its name there. Nothing else is ever a reason to load one: no run, preset or config
holds a path, and an installed package adds nothing until it is named, so that the same command gives the same figures
whatever else is installed. What a run was made with it remembers by name, version and hash (:class:`Plugin`).
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Protocol

from engine.core.errors import ConfigError, ExplorerError
from engine.core.quoting import LONGEST, plain, quote
from engine.core.registry import Registration, watching

GROUP = "feature_purification.plugins"
UNVERSIONED = "unversioned"
MOST = 16 * 2**20  # bytes of a plugin's file
MODULE = "feature_purification_plugin_"  # before the name of a file's module


class MadeWith(Protocol):
    """What is remembered of a plugin."""

    @property
    def name(self) -> str:
        """The file's name without its folder, or that of the entry point."""

    @property
    def version(self) -> str:
        """Its ``__version__``, else that of the package that it comes with, else :data:`UNVERSIONED`."""

    @property
    def sha256(self) -> str:
        """Of the file; of an installed package, of all its Python files."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that is loaded; see :class:`MadeWith`. ``given`` is what names it on a command line, ``root`` its file,
    or the folder of its package; ``added`` what it registered."""

    name: str
    version: str
    sha256: str
    given: str
    root: Path
    added: list[Registration] = field(default_factory=list, compare=False, repr=False)
    module: str = ""


class PluginError(ConfigError):
    """A plugin cannot be loaded."""


_loaded: dict[str, Plugin] = {}  # by name, in the order in which they were loaded


def loaded() -> tuple[Plugin, ...]:
    """The plugins that are loaded."""
    return tuple(_loaded.values())


def arguments() -> list[str]:
    """The arguments by which another process of this program loads the same plugins."""
    return [word for plugin in loaded() for word in ("--plugin", plugin.given)]


def load(given: str) -> Plugin:
    """Load the file ``given`` (``….py``, or with a folder in it), or the installed plugin of that name; once.

    Raises :class:`PluginError` in one line that names file and line of what went wrong; then nothing of it is left.
    """
    if given.endswith(".py") or os.sep in given or "/" in given:
        return _load_file(given)
    found = [each for each in entry_points(group=GROUP) if each.name == given]
    if not found:
        known = sorted({each.name for each in entry_points(group=GROUP)})
        names = f"that of an installed plugin ({', '.join(known)})" if known else "that of an installed plugin (none)"
        raise PluginError(f"--plugin: got {quote(given)}; allowed: the path of a .py file, or a name: {names}")
    if len({each.value for each in found}) > 1:
        offers = " and ".join(each.value for each in found)
        raise PluginError(f"--plugin: {quote(given)} is offered by several packages: {offers}")
    return _load_installed(found[0])


def load_all(given: Iterable[str]) -> None:
    """Load each of ``given`` in turn."""
    for each in given:
        load(each)


def unload(name: str) -> None:
    """Take back all that the plugin called ``name`` registered."""
    plugin = _loaded.pop(name)
    _take_back(plugin.added)
    sys.modules.pop(plugin.module, None)


def _take_back(added: Iterable[Registration]) -> None:
    for registry, name in added:
        registry.remove(name)


def _load_file(given: str) -> Plugin:
    try:
        path = Path(given).expanduser().absolute()
        if not path.is_file():  # a pipe or a device would be read for ever
            raise PluginError(f"--plugin: {plain(given)} {'is no file' if path.exists() else 'does not exist'}")
        data = path.read_bytes() if path.stat().st_size <= MOST else b""
    except (OSError, RuntimeError, ValueError) as error:
        raise PluginError(
            f"--plugin: {plain(given)} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if not data:
        raise PluginError(f"--plugin: {plain(given)}: allowed: 1 to {MOST} bytes of Python")
    digest = hashlib.sha256(data).hexdigest()
    if (known := _loaded.get(path.name)) is not None:
        if (known.root, known.sha256) == (path, digest):
            return known
        raise PluginError(f"--plugin: {path} and {known.root} have one name; allowed: one plugin called {path.name}")
    module = ModuleType(MODULE + path.stem)
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # what is declared in it is looked up there
    plugin = Plugin(path.name, UNVERSIONED, digest, str(path), path, module=module.__name__)
    try:
        with _entering(plugin):
            exec(compile(data, str(path), "exec", dont_inherit=True), module.__dict__)  # what was hashed is what runs
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return _keep(plugin, getattr(module, "__version__", None))


def _load_installed(offer: EntryPoint) -> Plugin:
    if offer.name in _loaded:
        return _loaded[offer.name]
    top = offer.module.partition(".")[0]
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        raise PluginError(f"--plugin: {plain(offer.name)}: its module {plain(offer.module)} is not installed")
    origin = Path(spec.origin)
    root = origin.parent if spec.submodule_search_locations else origin
    plugin = Plugin(offer.name, UNVERSIONED, _digest(root), offer.name, root, module=offer.module)
    before = set(sys.modules)
    try:
        with _entering(plugin):
            offer.load()
    except BaseException:
        for name in set(sys.modules) - before:
            if name == top or name.startswith(f"{top}."):
                del sys.modules[name]
        raise
    said = getattr(sys.modules[offer.module], "__version__", None) or getattr(sys.modules[top], "__version__", None)
    try:
        packaged = offer.dist.version if offer.dist is not None else None
    except PackageNotFoundError:
        packaged = None
    return _keep(plugin, said or packaged)


def _digest(root: Path) -> str:
    if root.is_file():
        return hashlib.sha256(root.read_bytes()).hexdigest()
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(f"{path.relative_to(root).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


@contextmanager
def _entering(plugin: Plugin) -> Iterator[None]:
    """Inside, what the plugin registers is its own; if it fails, all of that is taken back."""
    try:
        with watching(lambda file: _is_of(plugin, file), plugin.added):
            yield
    except (Exception, SystemExit) as error:
        _take_back(plugin.added)
        file, line = _place(plugin, error) or (str(plugin.root), 0)
        place = f"{file}, line {line}" if line else file
        raise PluginError(f"--plugin: {place}: {_words(error)}") from error
    except BaseException:
        _take_back(plugin.added)
        raise


def _keep(plugin: Plugin, version: object) -> Plugin:
    said = plain(version.strip()) if isinstance(version, str) else ""
    kept = Plugin(
        plugin.name, said or UNVERSIONED, plugin.sha256, plugin.given, plugin.root, plugin.added, plugin.module
    )
    _loaded[kept.name] = kept
    return kept


# --- what a run was made with


def missing(made_with: Iterable[MadeWith]) -> tuple[MadeWith, ...]:
    """Those that are not loaded, whatever their hash."""
    return tuple(each for each in made_with if each.name not in _loaded)


def all_of(*made_with: Iterable[MadeWith]) -> list[dict[str, str]]:
    """As JSON, each plugin once: one of the same name and another hash is another one."""
    found = {(e.name, e.sha256): e for each in made_with for e in each}
    return [{"name": e.name, "version": e.version, "sha256": e.sha256} for e in found.values()]


def needs(where: Path | str, lacking: Sequence[MadeWith]) -> str:
    """That the run ``where`` cannot be read without the plugins ``lacking``, and how they are loaded."""
    one = "plugin" if len(lacking) == 1 else "plugins"
    options = " ".join(f"--plugin {'FILE' if each.name.endswith('.py') else plain(each.name)}" for each in lacking)
    return f"{where}: this run needs the {one} {' and '.join(map(_named, lacking))}: {options}"


def remarks(where: Path | str, made_with: Iterable[MadeWith]) -> list[str]:
    """A line for each plugin of the run ``where``, which can be read, that is not loaded or is another one now."""
    lines, all_made = [], list(made_with)
    for each in all_made:
        now = _loaded.get(each.name)
        if now is None:
            lines.append(f"{where} was made with the plugin {_named(each)}, which is not loaded")
        elif now.sha256 not in [other.sha256 for other in all_made if other.name == each.name]:
            lines.append(f"{where} was made with the plugin {_named(each)}; loaded is {_named(now)}")
    return list(dict.fromkeys(lines))


def _named(plugin: MadeWith) -> str:
    version = "" if plugin.version == UNVERSIONED else f" {plain(plugin.version)}"
    return f"{plain(plugin.name)}{version} (sha256 {plugin.sha256[:12]}…)"


# --- whose fault an exception is


def blame(error: BaseException) -> str:
    """Plugin, file and line in which ``error`` was raised, or called what raised it; empty if no plugin was in it."""
    for plugin in loaded():
        if place := _place(plugin, error):
            file, line = place
            return f"plugin {file}, line {line}"
    return ""


def named(text: str, error: BaseException) -> str:
    """``text`` about ``error`` with the plugin that is to blame, if one is."""
    return f"{text} ({where})" if (where := blame(error)) else text


def brief(error: BaseException) -> str:
    """Kind and first line of ``error``, and the plugin that is to blame, if one is."""
    line = (str(error).strip().splitlines() or [""])[0]
    return named(f"{type(error).__name__}: {line}" if line else type(error).__name__, error)


def fault(error: Exception, more: str = "") -> ExplorerError | None:
    """``error`` as one for the user, if it is a plugin's, with ``more`` behind it; None for any other."""
    where = blame(error)
    return ExplorerError(f"{where}: {_words(error)}{more}") if where else None


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())[: 4 * LONGEST]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(plugin: Plugin, error: BaseException) -> tuple[str, int] | None:
    """File and line of the innermost frame of ``plugin`` that the error came through, or of its wrong syntax."""
    if isinstance(error, SyntaxError) and error.filename is not None and _is_of(plugin, error.filename):
        return error.filename, error.lineno or 0
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if _is_of(plugin, frame.f_code.co_filename):
            found = frame.f_code.co_filename, line
    return found


def _is_of(plugin: Plugin, file: str) -> bool:
    path = Path(file)
    return path == plugin.root or plugin.root in path.parents
