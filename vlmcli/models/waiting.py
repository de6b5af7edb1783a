"""Modules that wait: their import takes no time, and what stands in them is loaded when it is first used.

A library imports at its top what one in a hundred of its users needs. Between ``import`` and first use a waiting
module is empty; the first name that is asked of it loads it, so that nothing can go missing.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Known = Mapping[str, Any]
"""See ``Finder``."""

_LOCK = threading.RLock()


class Name:
    """A class or function of a waiting module, by its name alone: calling it, or asking it for anything, loads it.

    ``isinstance`` against it is False without loading, for nobody can have made an instance. As a base class it adds
    nothing.
    """

    def __init__(self, module: str, name: str) -> None:
        self._place = (module, name)

    def _value(self) -> Any:
        module, name = self._place
        loaded = importlib.import_module(module)
        wake(loaded)
        return getattr(loaded, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._value()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._value(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._value()[key]

    def __instancecheck__(self, instance: Any) -> bool:
        return not is_waiting(self._place[0]) and isinstance(instance, self._value())

    def __subclasscheck__(self, other: Any) -> bool:
        return not is_waiting(self._place[0]) and issubclass(other, self._value())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return ()

    def __or__(self, other: Any) -> Any:
        return Any

    __ror__ = __or__


class Waiting(ModuleType):
    """A module that has a loader and has not run it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = self.__dict__["_known"]
        if f".{name}" in known:
            return importlib.import_module(f"{self.__name__}.{name}")
        if name in known:
            other = known[name]
            if other is None:
                value = Name(self.__name__, name)
            else:
                value = getattr(importlib.import_module(other), name) if isinstance(other, str) else other
            self.__dict__[name] = value
            return value
        wake(self)
        return getattr(self, name)


def is_waiting(module: str) -> bool:
    """Whether a module has been imported and not loaded; True too for one that has not been imported at all."""
    found = sys.modules.get(module)
    return found is None or type(found) is Waiting


def wake(module: ModuleType) -> None:
    """Load a waiting module in its place, its parents first; what has a hold of it sees it filled.

    A module that does not wait is left alone.
    """
    with _LOCK:
        if type(module) is not Waiting:
            return
        for parent, _ in reversed(list(_parents(module.__name__))):
            if type(above := sys.modules.get(parent)) is Waiting:
                wake(above)
        if type(module) is not Waiting:
            return
        chain = module.__dict__["_chain"]
        names = chain[:]
        chain.clear()
        for name in names:
            wake(importlib.import_module(name))
        if type(module) is not Waiting:
            return
        namespace = module.__dict__
        loader, _ = namespace.pop("_loader"), namespace.pop("_chain")
        for name in namespace.pop("_known"):
            namespace.pop(name, None)
        module.__class__ = ModuleType  # type: ignore[assignment]
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = loader
        loader.exec_module(module)


class Finder:
    """Makes the modules in a table wait: for the front of ``sys.meta_path``.

    Args:
        table: module -> the names that others take from it at import, and only call, or compare classes with: those
            become a ``Name``. Where the value is not None it is a module to take the name from at once, or what stands
            in its place. Any other name that is asked for loads the module. ``.child`` is a module in it that can do
            without it.
        after: module -> what to do with it once it has been loaded.
        chain: modules of the table that can only be loaded in this order, so that one of them loads them all.
    """

    def __init__(
        self,
        table: Mapping[str, Known],
        after: Mapping[str, Callable[[ModuleType], None]] | None = None,
        chain: Sequence[str] = (),
    ) -> None:
        self.table, self.after, self._chain = table, after or {}, list(chain)
        self._members = frozenset(chain)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As importlib asks for it.

        A child of a waiting module loads that first, unless it waits too, or the table says that it need not.
        """
        loader: Any
        if name in self.table or name in self.after:
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                chain = self._chain if name in self._members else []
                loader = spec.loader
                later = name in self.table
                spec.loader = _Later(loader, self.table[name], chain) if later else _Then(loader, self.after[name])  # type: ignore[assignment]
            return spec
        for parent, child in _parents(name):
            if f".{child}" not in self.table.get(parent, {}) and (module := sys.modules.get(parent)) is not None:
                wake(module)
        if name in sys.modules:  # its parent has just loaded it
            there = sys.modules[name]
            loader = _There(there)
            return ModuleSpec(name, loader, is_package=hasattr(there, "__path__"))
        return None


def _parents(name: str) -> Iterator[tuple[str, str]]:
    """``a.b.c`` -> (``a.b``, ``c``), (``a``, ``b``)."""
    while True:
        name, _, child = name.rpartition(".")
        if not name:
            return
        yield name, child


class _Later:
    """Leaves a module empty."""

    def __init__(self, loader: Any, known: Known, chain: list[str]) -> None:
        self._own = {"_loader": loader, "_known": known, "_chain": chain}

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Waiting(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(self._own)


class _Then:
    """Loads a module, and does something with it."""

    def __init__(self, loader: Any, then: Callable[[ModuleType], None]) -> None:
        self._loader, self._then = loader, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._then(module)


class _There:
    """A module that is there already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        pass
