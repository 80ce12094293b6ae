"""A work folder put right by hand, while no daemon holds it: what ended is removed, what is
damaged is set aside.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from ..atomic_files import disk_errors, make_folder
from ..errors import BusyError
from ..storage import disk_space, jobs

log = logging.getLogger(__name__)


def collect_garbage(work_dir: Path, dry_run: bool) -> Iterator[str]:
    """Remove the folders that nobody needs; gives a line for each, with its size.

    Raises
    ------
    BusyError
        If a daemon works there; it removes them itself where it needs room.
    """
    if dry_run:
        yield from _garbage(work_dir, remove=False)
        return
    try:
        with jobs.lock_work_dir(work_dir):
            for folder in jobs.sweep_unfinished(work_dir):
                yield f"{folder} was never finished"
            yield from _garbage(work_dir, remove=True)
    except BusyError as error:
        need = "it removes them itself where it needs room; or stop it first"
        raise BusyError(f"a daemon works in {work_dir}; {need}.") from error


def _garbage(work_dir: Path, remove: bool) -> Iterator[str]:
    for job in disk_space.purgeable(jobs.load_jobs(work_dir)):
        size = disk_space.size_of(job.folder)
        if remove:
            disk_space.remove(job)
        yield f"{job.folder} {job.state} {size:,} bytes"


def rebuild_state(work_dir: Path) -> Iterator[str]:
    """Set aside the folders whose job.json is damaged; their jobs are taken from S3 again.

    What S3 knows is enough: a job that was published is not done again, any other is.
    """
    with jobs.lock_work_dir(work_dir):
        for folder in jobs.sweep_unfinished(work_dir):
            yield f"job {folder.name}: an unfinished staging was removed"
        for folder in jobs.job_folders(work_dir):
            try:
                job = jobs.Job.load(folder)
            except jobs.DamagedError as error:
                aside = work_dir / ".damaged" / folder.parent.name
                with disk_errors(aside):
                    make_folder(aside)
                    folder.rename(aside / folder.name)
                yield f"job {folder.name}: set aside as {aside / folder.name}: {error}"
            else:
                yield f"job {job.id}: {job.state}"
