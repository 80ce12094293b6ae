"""Results of jobs in Python and in other tools: open them in a folder or in S3, export, compare.

    from xcor_daemon.results import open_results

    results = open_results("s3://bucket/processed/4180812345678901")
    results.stack("linear").stack.sel(...)

This package is for the user's own machine; neither the daemon nor the worker imports it.
"""

from .export import FORMATS, export
from .reader import Results, Selection, open_results
from .seisnoise import read_seisnoise

__all__ = ["FORMATS", "Results", "Selection", "export", "open_results", "read_seisnoise"]
