"""The host's corridor: every pass looks at S3, the job folders and the workers, and moves each
job as far as it goes without waiting. Recovery after a crash is nothing but the next pass.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import Config
from ..errors import ConfigError, UnreachableError, XcorError
from ..storage import jobs, operator_commands
from ..storage.bucket import Bucket
from ..storage.disk_space import Disk
from ..storage.jobs import Job
from ..storage.leases import Leases
from ..storage.listing import Listing, Waiting
from ..storage.operator_commands import OperatorCommand
from ..storage.registry import JobRegistry
from ..workers.launcher import Launcher
from .admission import Admission
from .heartbeat import Heartbeat
from .metrics import Metrics
from .publish import Publisher
from .reconcile import JobReconciler
from .repair_views import ViewRepair
from .systemd import Notifier

log = logging.getLogger(__name__)

_BUSY, _IDLE = 1.0, 5.0  # s between two passes where the settings leave it open
_MAX_LAUNCH_FAILURES = 3  # in a row; after them no more jobs are admitted
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0  # s after S3 failed; doubled each time


class Daemon:
    """Moves the jobs of one bucket and one work folder; only within ``with daemon.locked()``.

    Parameters
    ----------
    backoff : float
        Seconds, about, until a failed worker is followed by the next; doubled each time.
    now : callable
        The time (s since 1970).
    notifier : Notifier, optional
        Whom to tell of every pass; without one, nobody.
    """

    def __init__(
        self,
        bucket: Bucket,
        launcher: Launcher,
        config: Config,
        backoff: float = 30.0,
        now: Callable[[], float] = time.time,
        notifier: Notifier | None = None,
    ) -> None:
        self.bucket, self.launcher, self.config = bucket, launcher, config
        self.notifier = notifier or Notifier({})
        self.work_dir = config.work_dir.absolute()
        self.backoff, self.now = backoff, now
        self._failures: dict[str, tuple[int, float]] = {}  # times S3 failed a job, rest until
        self._ignored = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the work folder to this daemon and load what an earlier one left there."""
        with jobs.lock_work_dir(self.work_dir):
            for folder in jobs.sweep_unfinished(self.work_dir):
                log.info("job %s: an unfinished staging was removed: %s", folder.name, folder)
            self._build_components()
            self.registry.load()
            yield

    def _build_components(self) -> None:
        config, bucket, now = self.config, self.bucket, self.now
        self.registry = registry = JobRegistry(self.work_dir)
        self.publisher = publisher = Publisher(bucket, now)
        self.leases = leases = Leases(bucket, jobs.owner_name(self.work_dir), config.lease)
        disk = Disk(self.work_dir, config.reserve, config.quota)
        self.admission = Admission(bucket, config, registry, publisher, leases, disk, now)
        self.reconciler = JobReconciler(
            bucket, self.launcher, config, registry, publisher, leases, self.backoff, now
        )
        self.heartbeat = Heartbeat(bucket, config, now)
        self.view_repair = ViewRepair(bucket, publisher, now)

    @property
    def jobs(self) -> dict[str, Job]:
        """The jobs that this machine knows."""
        return self.registry.jobs

    def run_forever(self, stop: threading.Event) -> None:
        """Pass after pass until ``stop`` is set; workers go on without the daemon."""
        ever, trouble, failed = False, "", 0
        while not stop.is_set():
            try:
                left = self.run_pass()
                self.notifier.pass_completed(f"jobs to do: {left}")
                # What an operator has set is kept to; else several daemons spread themselves.
                wait = self.config.interval or _jittered(_BUSY if left else _IDLE)
                ever, trouble, failed = True, "", 0
            except (UnreachableError, ConfigError) as error:
                if isinstance(error, ConfigError) and not ever:
                    raise  # a wrong setting, unless it has worked before
                wait = min((self.config.interval or _BUSY) * 2**failed, _LONGEST_BACKOFF)
                failed += wait < _LONGEST_BACKOFF
                wait = _jittered(wait)
                if str(error) != trouble:
                    log.warning("no pass, next try in about %g s: %s", wait, error)
                trouble = str(error)
                self.notifier.pass_failed(trouble)
            stop.wait(wait)
        self.notifier.stopping()

    def run_once(self, wait: bool = False, stop: threading.Event | None = None) -> list[Job]:
        """One pass, or passes until nothing is left to do; gives the jobs that ended."""
        stop = stop or threading.Event()
        before = {job.id for job in self.jobs.values() if not job.is_live}
        left = self.run_pass()
        while wait and left and not stop.wait(min(self.config.interval or _BUSY, _BUSY)):
            left = self.run_pass()
        return [job for job in self.jobs.values() if not job.is_live and job.id not in before]

    def run_pass(self) -> int:
        """Move every job as far as it goes now; gives how many are not at their end."""
        began = time.monotonic()
        listing = self.bucket.waiting(self.registry.ended)
        self._log_ignored_keys(listing)
        queue = self._queue(listing)
        self._run_operator_commands(queue)
        # An admitted job is bound to this daemon, so none is admitted while no worker starts.
        is_failing = self.reconciler.launch_failures >= _MAX_LAUNCH_FAILURES
        self.admission.is_paused = is_failing and bool(self.registry.live())
        self.admission.admit(queue, self._one_job)
        for job in self.registry.live():
            if not self._is_backing_off(job.id):
                with self._one_job(job.id):
                    self.reconciler.reconcile(job)
        waiting = self._still_waiting(queue)
        seconds = time.monotonic() - began
        with _not_fatal("heartbeat"):
            if self.heartbeat.write_if_due(self.registry, len(waiting), seconds):
                self._write_metrics(waiting, seconds)
        with _not_fatal("audit"):
            self.view_repair.repair_next_view(self.registry.ended)
        held = sum(job.is_held for job in self.registry.live())
        others = sum(self.leases.is_held_by_other(job.id) for job in waiting)
        unsettled = sum(
            not w.is_settled and w.is_complete and not self.registry.has(w.id) for w in listing.jobs
        )
        return len(self.registry.live()) - held + len(waiting) - others + unsettled

    def _queue(self, listing: Listing) -> list[Waiting]:
        """Who may be taken; a job that is here already is cancelled where its user wants it."""
        queue = []
        for waiting in listing.jobs:
            if not self.registry.has(waiting.id):
                is_ready = waiting.is_complete and waiting.is_settled
                if is_ready and not self._is_backing_off(waiting.id):
                    queue.append(waiting)
            elif waiting.is_cancelled:
                with self._one_job(waiting.id):
                    self._cancel(self.jobs[waiting.id], "cancelled by its user")
        return queue

    def _still_waiting(self, queue: list[Waiting]) -> list[Waiting]:
        ended, has = self.registry.ended, self.registry.has
        return [job for job in queue if job.id not in ended and not has(job.id)]

    def _write_metrics(self, waiting: list[Waiting], seconds: float) -> None:
        """Give the figures to those who watch the service."""
        ready = [job.submitted_at for job in waiting]
        ready += [job.submitted_at for job in self.registry.live() if job.state == jobs.QUEUED]
        states = {**dict.fromkeys((*jobs.TERMINAL, jobs.RUNNING), 0), **self.registry.counts()}
        states["waiting"] = len(waiting)
        metrics = Metrics(
            {
                "xcor_jobs": states,
                "xcor_oldest_ready_seconds": self.now() - min(ready, default=self.now()),
                "xcor_pass_seconds": seconds,
                "xcor_last_success_timestamp_seconds": self.now(),
                "xcor_s3_errors_total": dict(self.bucket.errors),
                "xcor_worker_end_total": dict(self.registry.worker_ends),
                "xcor_disk_free_bytes": float(self.admission.disk.free()),
                "xcor_lease_lost_total": self.leases.lost,
                "xcor_units_done_total": self.registry.days_published,
            }
        )
        if self.config.metrics_file:
            metrics.write(Path(self.config.metrics_file))
        if self.config.log_format == "json":
            print(metrics.emf(self.now()), file=sys.stderr)

    def _log_ignored_keys(self, listing: Listing) -> None:
        if len(listing.ignored_keys) != self._ignored:
            self._ignored = len(listing.ignored_keys)
            log.info(
                "%d keys under incoming/ are ignored: no files of a job", len(listing.ignored_keys)
            )

    def _cancel(self, job: Job, reason: str) -> None:
        if job.is_live and not job.final_state:
            self.registry.change(job, final_state=jobs.CANCELLED, reason=reason)

    # --- what operators ask ---

    def _run_operator_commands(self, queue: list[Waiting]) -> None:
        waiting = {job.id for job in queue}
        for command in operator_commands.pending(self.work_dir):
            with self._one_job(command.job_id):
                if command.job_id in self.registry.jobs:
                    self._run_command(self.jobs[command.job_id], command)
                elif command.action == "retry":
                    self.admission.again.add(command.job_id)
                    self.registry.ended.discard(command.job_id)
                elif command.action == "hold" and command.job_id in waiting:
                    self.admission.held.add(command.job_id)
                elif command.action == "release" and command.job_id in waiting:
                    self.admission.held.discard(command.job_id)
                else:
                    log.warning("job %s: no such job here to %s", command.job_id, command.action)
                operator_commands.remove(command)

    def _run_command(self, job: Job, command: OperatorCommand) -> None:
        if command.action == "cancel":
            self._cancel(job, "cancelled by the operator of the service")
        elif command.action in ("hold", "release"):
            self.registry.change(job, is_held=command.action == "hold")
        elif job.state in (jobs.DONE, jobs.RELINQUISHED):
            log.warning("%s: is %s; send it again to have it done again", job, job.state)
        elif job.is_live and job.final_state:
            log.warning("%s: is about to be %s; retry it then", job, job.final_state)
        else:
            self._retry(job)

    def _retry(self, job: Job) -> None:
        """Begin a job anew in its folder, or cut short its wait for another try."""
        if job.is_live:
            self.registry.change(job, not_before=0.0)
            return
        fresh: dict[str, Any] = {
            "state": jobs.QUEUED,
            "final_state": "",
            "reason": "",
            "problems": (),
        }
        fresh |= {
            "source": "",
            "failures": 0,
            "killed": 0,
            "out_of_memory": 0,
            "previous_runs": job.run,
        }
        fresh |= {"not_before": 0.0, "is_held": False}
        self.publisher.drop(job.id)
        self.registry.change(job, **fresh)

    # --- one job's trouble ---

    @contextmanager
    def _one_job(self, job_id: str) -> Iterator[None]:
        """Keep one job's trouble from the others; a later pass tries again."""
        try:
            yield
            self._failures.pop(job_id, None)
        except XcorError as error:
            log.warning("%s: %s", self.jobs.get(job_id, f"job {job_id}"), error)
            times = self._failures.get(job_id, (0, 0.0))[0]
            rest = min(_FIRST_BACKOFF * 2 ** (times - 1), _LONGEST_BACKOFF) if times else 0.0
            self._failures[job_id] = (times + 1, time.monotonic() + rest)
        self.notifier.step_completed()

    def _is_backing_off(self, job_id: str) -> bool:
        """Whether a job failed again and again and must not hold up every pass."""
        trouble = self._failures.get(job_id)
        return trouble is not None and time.monotonic() < trouble[1]


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)


@contextmanager
def _not_fatal(what: str) -> Iterator[None]:
    """Do what a pass can do without."""
    try:
        yield
    except XcorError as error:
        log.warning("%s: %s", what, error)
