"""Files that are whole or not there, whatever happens meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import DiskError


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there, whatever happens meanwhile."""
    partial = path.with_name(path.name + ".partial")
    with disk_errors(path), partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rename(partial, path)


def rename(partial: Path, path: Path) -> None:
    """Give a file that is whole, and on the disk, its name."""
    with disk_errors(path):
        partial.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def partial_of(path: Path) -> Path:
    """What a file is called until it is whole.

    The name is the writer's own: where a worker was thought dead, two may write one file.
    """
    return path.with_name(f"{path.name}.{os.urandom(4).hex()}.partial")


def put(file: int, content: Any, offset: int) -> None:
    """Write all bytes of a contiguous array, or the like, at an offset of an open file."""
    view = memoryview(content).cast("B")
    while view:  # one call writes at most 2 GiB
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a DiskError that names the path."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path} cannot be written: {error.strerror}.") from error
