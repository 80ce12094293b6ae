"""The whole system on one machine: S3 server, FDSN server, page, daemon and sample data."""

from __future__ import annotations

from pathlib import Path


def run_demo(once: bool = False, port: int | None = None, folder: Path | None = None) -> None:
    """Start everything, run the sample job, print what came out, serve until Ctrl-C.

    Nothing is left running, however it ends.

    Parameters
    ----------
    once : bool
        Stop after the job instead of serving on.
    port : int
        Of the page; None takes a free one.
    folder : Path
        For logs and results; None makes a new one below the folder for temporary files. It is
        kept, but for the S3 server's own data.

    Raises
    ------
    XcorError
        If a part does not start, or the job does not end well.
    """
    # Imported here: the FDSN server's process imports this package and must start at once.
    from .demo import run

    run(once, port or 0, folder)
