"""Import a submodule without loading its heavy package.

``obspy.signal`` loads matplotlib and scipy.signal, ``pyproj`` loads coordinate systems, but ObsPy's
evalresp and distances need only a C library of each. ``obspy.clients.fdsn`` loads web clients, but
only its list of data centres is needed. Lazy imports save most of a second of processor time at
every start.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from threading import RLock
from types import ModuleType
from typing import Any


class _LazyPackage(ModuleType):
    """A package that is loaded when one of its own names is used; submodules load without it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system reads these of every module
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if "__deferred_loader__" in vars(self) and importlib.util.find_spec(full):
            # A submodule, which may be the one being imported: do not load the package.
            return importlib.import_module(full)
        with self.__lock__:  # other threads wait until the package is loaded
            if loader := vars(self).pop("__deferred_loader__", None):
                before = dict(vars(self))
                loader.exec_module(self)
                for submodule, module in before.items():  # obspy.signal begins with `del filter`
                    vars(self).setdefault(submodule, module)
        return super().__getattribute__(name)


def defer_package(package: str) -> None:
    """Defer loading of a package, so that its submodules can be imported without it."""
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    vars(module).update(__lock__=RLock(), __deferred_loader__=spec.loader)
    module.__class__ = _LazyPackage
    sys.modules[package] = module
    parent, _, name = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], name, module)
