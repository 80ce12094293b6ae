"""Commands of an operator: files in WORK/.orders/, which the daemon runs on its next pass."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..atomic_files import disk_errors, make_folder, write_json
from ..errors import XcorError
from ..request.job_files import JOB_ID, is_job_id

ACTIONS = ("cancel", "retry", "hold", "release")
_NAME = re.compile(rf"({JOB_ID})\.json")


@dataclass(frozen=True)
class OperatorCommand:
    """An action on a job."""

    job_id: str
    action: str
    path: Path
    content: bytes  # of the file


def post(work_dir: Path, job_id: str, action: str) -> None:
    """Post a command; it replaces an earlier one for the same job.

    Raises
    ------
    XcorError
        If ``job_id`` is not a job id.
    """
    if not is_job_id(job_id):
        raise XcorError(f"{ascii(job_id)[:40]} is not a job id (1 to 16 digits).")
    path = work_dir / ".orders" / f"{job_id}.json"
    make_folder(path.parent)
    content = {"action": action, "given": time.time()}
    write_json(path, content, indent=None)


def pending(work_dir: Path) -> list[OperatorCommand]:
    """The commands that have not been run; files that cannot be read are ignored."""
    found = []
    try:
        paths = sorted((work_dir / ".orders").iterdir())
    except FileNotFoundError:
        return []
    for path in paths:
        if match := _NAME.fullmatch(path.name):
            try:
                content = path.read_bytes()
                action = json.loads(content)["action"]
            except (ValueError, TypeError, KeyError, FileNotFoundError):
                continue
            if action in ACTIONS:
                found.append(OperatorCommand(match[1], action, path, content))
    return found


def remove(command: OperatorCommand) -> None:
    """Remove a command once its effect is recorded, unless a later one has replaced it."""
    with disk_errors(command.path), suppress(FileNotFoundError):
        if command.path.read_bytes() == command.content:
            command.path.unlink()
