"""Packages of which a small module is needed and that would load a lot beside it.

``obspy.signal`` loads matplotlib and scipy.signal, ``pyproj`` coordinate systems; ObsPy's evalresp
and distances want no more of them than a C library each. ``obspy.clients.fdsn`` loads clients over
requests, and only its list of data centres is wanted. That saves most of a second of processor time
at every start.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from threading import RLock
from types import ModuleType
from typing import Any


class _Postponed(ModuleType):
    """A package that loads when something of itself is used; its modules load without it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked of every module, by the import system
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if "__postponed__" in vars(self) and importlib.util.find_spec(full):
            # One of its modules, which may itself be what is being loaded: not the package.
            return importlib.import_module(full)
        with self.__lock__:  # another thread waits until all is there
            if loader := vars(self).pop("__postponed__", None):
                before = dict(vars(self))
                loader.exec_module(self)
                for known, part in before.items():  # obspy.signal begins with `del filter`
                    vars(self).setdefault(known, part)
        return super().__getattribute__(name)


def postpone(package: str) -> None:
    """Let modules in a package be imported without what the package itself loads."""
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    vars(module).update(__lock__=RLock(), __postponed__=spec.loader)
    module.__class__ = _Postponed
    sys.modules[package] = module
    parent, _, name = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], name, module)
