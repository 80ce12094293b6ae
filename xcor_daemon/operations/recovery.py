"""The commands `gc` and `rebuild-state`: remove folders of ended jobs, set damaged ones aside."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from ..atomic_files import disk_errors, make_folder
from ..errors import BusyError
from ..storage import disk_space, jobs

log = logging.getLogger(__name__)


def collect_garbage(work_dir: Path, dry_run: bool) -> Iterator[str]:
    """Remove the folders of ended jobs; yields a line with the size of each.

    Raises
    ------
    BusyError
        If a daemon is using the work folder.
    """
    if dry_run:
        yield from _garbage(work_dir, remove=False)
        return
    try:
        with jobs.lock_work_dir(work_dir):
            for folder in jobs.sweep_unfinished(work_dir):
                yield f"{folder} incomplete staging"
            yield from _garbage(work_dir, remove=True)
    except BusyError as error:
        remedy = "it removes folders itself when disk space is short; to remove them now, stop it"
        raise BusyError(f"a daemon is using {work_dir}; {remedy}.") from error


def _garbage(work_dir: Path, remove: bool) -> Iterator[str]:
    for job in disk_space.purgeable(jobs.load_jobs(work_dir)):
        size = disk_space.size_of(job.folder)
        if remove:
            disk_space.remove(job)
        yield f"{job.folder} {job.state} {size:,} bytes"


def rebuild_state(work_dir: Path) -> Iterator[str]:
    """Set aside the folders with a damaged job.json, so that their jobs are staged from S3 again.

    A job that is published in S3 is not run again; any other is.
    """
    with jobs.lock_work_dir(work_dir):
        for folder in jobs.sweep_unfinished(work_dir):
            yield f"job {folder.name}: removed an incomplete staging"
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
