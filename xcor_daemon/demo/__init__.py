"""The whole system on one machine: S3 server, FDSN server, page, daemon and sample data."""

from __future__ import annotations

from pathlib import Path


def run_demo(once: bool = False, port: int | None = None, folder: Path | None = None) -> None:
    """Start all servers, run the sample job, print its results, and serve until Ctrl-C.

    No process is left running, however it ends.

    Parameters
    ----------
    once : bool
        Stop after the job.
    port : int
        Of the page; None: any free port.
    folder : Path
        For logs and results; None creates one in the folder for temporary files. It is kept,
        except for the data of the S3 server.

    Raises
    ------
    XcorError
        If a server does not start, or the job fails.
    """
    # Imported here: the process of the FDSN server imports this package and must start fast.
    from .demo import run

    run(once, port or 0, folder)
