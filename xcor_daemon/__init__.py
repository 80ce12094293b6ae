"""Ambient-noise cross-correlation of every station pair, from a page to Green's functions.

The names below load their modules when they are first used, so that ``import xcor_daemon`` alone
loads nothing else.

    import xcor_daemon as xc

    corr = xc.cross_correlate(xc.whiten(first, (0.1, 1), fs), xc.whiten(second, (0.1, 1), fs), 500)
    trace = xc.stack.linear(corr)
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, whose module this one need not load
if TYPE_CHECKING:
    from .pipeline import plots as plots
    from .pipeline import stack as stack
    from .pipeline.correlation.cross_correlation import cross_correlate as cross_correlate
    from .pipeline.measure import dvv as dvv
    from .pipeline.preprocessing.spectral_normalisation import whiten as whiten
    from .pipeline.preprocessing.taper import detrend as detrend
    from .pipeline.preprocessing.taper import taper as taper
    from .pipeline.preprocessing.time_normalisation import clamp as clamp
    from .pipeline.preprocessing.time_normalisation import clip as clip
    from .pipeline.preprocessing.time_normalisation import mute as mute
    from .pipeline.preprocessing.time_normalisation import one_bit as one_bit
    from .pipeline.preprocessing.time_normalisation import (
        running_absolute_mean as running_absolute_mean,
    )
    from .pipeline.preprocessing.windows import cut_windows as cut_windows
    from .pipeline.run import correlate_job as correlate_job
    from .pipeline.run import stack_job as stack_job
    from .request.parse import read_request as read_request
    from .results import open_results as open_results
    from .results import read_seisnoise as read_seisnoise

# Name -> the module that it comes from, or that it is.
_FUNCTIONS = {
    "clamp": "pipeline.preprocessing.time_normalisation",
    "clip": "pipeline.preprocessing.time_normalisation",
    "correlate_job": "pipeline.run",
    "cross_correlate": "pipeline.correlation.cross_correlation",
    "cut_windows": "pipeline.preprocessing.windows",
    "detrend": "pipeline.preprocessing.taper",
    "mute": "pipeline.preprocessing.time_normalisation",
    "one_bit": "pipeline.preprocessing.time_normalisation",
    "open_results": "results",
    "read_request": "request.parse",
    "read_seisnoise": "results",
    "running_absolute_mean": "pipeline.preprocessing.time_normalisation",
    "stack_job": "pipeline.run",
    "taper": "pipeline.preprocessing.taper",
    "whiten": "pipeline.preprocessing.spectral_normalisation",
}
_MODULES = {"dvv": "pipeline.measure.dvv", "plots": "pipeline.plots", "stack": "pipeline.stack"}


def __getattr__(name: str) -> object:
    """A public name, from the module where it lives (PEP 562)."""
    from importlib import import_module

    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name in _FUNCTIONS:
        return getattr(import_module(f".{_FUNCTIONS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names and those that are loaded."""
    return sorted({*globals(), *_FUNCTIONS, *_MODULES})
