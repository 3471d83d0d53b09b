"""torch, imported when something of it is first used: for modules that also say things which need none of it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch as torch
else:

    class _LazyModule(ModuleType):
        """Stands for a module; it keeps what it was once asked for, so that later uses cost nothing."""

        def __getattr__(self, name: str) -> Any:
            found = getattr(import_module(self.__name__), name)
            setattr(self, name, found)
            return found

    torch = _LazyModule("torch")

__all__ = ["torch"]
