"""Reads the files of a worker without trusting it: bounded, checked, never through links."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

from ..errors import XcorError
from ..request.job_files import (
    LOG_FILE,
    OUTPUTS_FILE,
    PROGRESS_FILE,
    RESULT_FOLDERS,
    JobOutputs,
    JobProgress,
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
# A sparse file costs its writer nothing, but the daemon would read and upload all of it.
_LARGE, _MOST_HOLES = 1_000_000_000, 100  # bytes; ratio of size and bytes on the disk
_MAX_JSON = 64_000_000  # bytes


class BrokenOutputs(XcorError):
    """The files of a worker are missing or not as described in outputs.json."""


def open_output(folder: Path, name: str) -> BufferedReader:
    """Open a file that a worker wrote.

    Raises
    ------
    BrokenOutputs
        If it is missing, not a regular file, or reached through a link.
    """
    *parents, last = name.split("/")
    if not all(_NAME.fullmatch(part) for part in (*parents, last)):
        raise BrokenOutputs(f"{ascii(name)[:80]} is not a valid name of a result file.")
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for parent in parents:
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        # O_NONBLOCK: opening a pipe must not block.
        descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        raise BrokenOutputs(f"{name} cannot be opened as a file: {error.strerror}.") from error
    finally:
        os.close(directory)
    about = os.fstat(descriptor)
    # A hard link may name a file outside the folder.
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        os.close(descriptor)
        raise BrokenOutputs(f"{name} is not a regular file, or has hard links.")
    if about.st_size > _LARGE and about.st_blocks * 512 < about.st_size // _MOST_HOLES:
        os.close(descriptor)
        raise BrokenOutputs(
            f"{name} is sparse: {about.st_size} bytes, of which almost none are on the disk."
        )
    return os.fdopen(descriptor, "rb")


def sha256_of(file: BufferedReader) -> str:
    """SHA-256 of a whole file (hexadecimal); the position is then at its start."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


def complete_files(folder: Path) -> list[str]:
    """Names of the result files that are complete while the worker is running."""
    tops = [folder / name for name in RESULT_FOLDERS if not (folder / name).is_symlink()]
    paths = [Path(d, file) for top in tops for d, _, files in os.walk(top) for file in files]
    return sorted(
        path.relative_to(folder).as_posix()
        for path in paths
        if _NAME.fullmatch(path.name) and path.suffix != ".partial" and _is_regular(path)
    )


def read_progress(folder: Path) -> JobProgress:
    """The content of progress.json; without the file, or with one that is not JSON, empty."""
    return JobProgress.from_json(_read_json(folder, PROGRESS_FILE))


def size_of(folder: Path, most: float) -> int:
    """Bytes of the files in a folder, holes included; stops counting beyond ``most``."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:  # renamed meanwhile
                continue
        if total > most:
            break
    return total


def read_outputs(folder: Path) -> JobOutputs:
    """The content of outputs.json, checked.

    Raises
    ------
    BrokenOutputs
        If the file is missing, is not JSON or has another shape.
    """
    content = _read_json(folder, OUTPUTS_FILE)
    if content is None:
        raise BrokenOutputs(f"{OUTPUTS_FILE} is missing, or is not JSON.")
    try:
        return JobOutputs.from_json(content)
    except ValueError as error:
        raise BrokenOutputs(f"{OUTPUTS_FILE} {error}.") from error


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _read_json(folder: Path, name: str) -> Any:
    """JSON written by a worker; None if the file is missing or not JSON."""
    try:
        with open_output(folder, name) as file:
            return json.loads(file.read(_MAX_JSON))
    except (BrokenOutputs, ValueError, RecursionError):
        return None


def log_tail(folder: Path, most: int = 50) -> list[str]:
    """The last lines of the worker's log, without line ends."""
    try:
        with open_output(folder, LOG_FILE) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 64_000))
            text = file.read().decode("utf-8", "replace")
    except BrokenOutputs:
        return []
    return [line[:500] for line in text.splitlines()][-most:]
