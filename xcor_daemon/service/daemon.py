"""The main loop: each pass lists the bucket, admits jobs and reconciles each one without waiting.

Recovery after a crash needs no code of its own: it is the next pass.
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
from ..storage.listing import Listing, WaitingJob
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

_BUSY, _IDLE = 1.0, 5.0  # s between two passes, unless XCOR_INTERVAL is set
_MAX_LAUNCH_FAILURES = 3  # in a row; after them no more jobs are admitted
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0  # s after a failure; doubled each time


class Daemon:
    """Processes the jobs of one bucket in one work folder; usable only in ``with daemon.locked()``.

    Parameters
    ----------
    backoff : float
        Mean time (s) before a failed worker is followed by the next; doubled each time.
    now : callable
        The time (s since 1970).
    notifier : Notifier, optional
        The service manager to notify of every pass.
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
        # By job id: number of failures in a row, and no retry before (s, monotonic).
        self._failures: dict[str, tuple[int, float]] = {}
        self._ignored = 0  # keys under incoming/, as logged last

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the work folder and load the jobs that an earlier daemon left there."""
        with jobs.lock_work_dir(self.work_dir):
            for folder in jobs.sweep_unfinished(self.work_dir):
                log.info("job %s: removed an unfinished staging: %s", folder.name, folder)
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
        """The jobs of this machine, by id."""
        return self.registry.jobs

    def run_forever(self, stop: threading.Event) -> None:
        """Run passes until ``stop`` is set; workers continue without the daemon."""
        has_succeeded, last_error, failed = False, "", 0
        while not stop.is_set():
            try:
                unfinished = self.run_pass()
                self.notifier.pass_completed(f"unfinished jobs: {unfinished}")
                # Without a set interval, jitter keeps several daemons from polling in step.
                wait = self.config.interval or _jittered(_BUSY if unfinished else _IDLE)
                has_succeeded, last_error, failed = True, "", 0
            except (UnreachableError, ConfigError) as error:
                if isinstance(error, ConfigError) and not has_succeeded:
                    raise  # a wrong setting, unless a pass has succeeded before
                wait = min((self.config.interval or _BUSY) * 2**failed, _LONGEST_BACKOFF)
                failed += wait < _LONGEST_BACKOFF
                wait = _jittered(wait)
                if str(error) != last_error:
                    log.warning("pass failed, retrying in about %.2g s: %s", wait, error)
                last_error = str(error)
                self.notifier.pass_failed(last_error)
            stop.wait(wait)
        self.notifier.stopping()

    def run_once(self, wait: bool = False, stop: threading.Event | None = None) -> list[Job]:
        """Run one pass, or passes until all jobs have ended; returns the jobs that ended."""
        stop = stop or threading.Event()
        before = {job.id for job in self.jobs.values() if not job.is_live}
        unfinished = self.run_pass()
        while wait and unfinished and not stop.wait(min(self.config.interval or _BUSY, _BUSY)):
            unfinished = self.run_pass()
        return [job for job in self.jobs.values() if not job.is_live and job.id not in before]

    def run_pass(self) -> int:
        """Admit jobs and reconcile each one; returns the number of unfinished jobs."""
        began = time.monotonic()
        listing = self.bucket.waiting(self.registry.ended)
        self._log_ignored_keys(listing)
        queue = self._queue(listing)
        self._run_operator_commands(queue)
        # An admitted job is bound to this daemon, so none is admitted while no worker starts.
        is_failing = self.reconciler.launch_failures >= _MAX_LAUNCH_FAILURES
        self.admission.is_paused = is_failing and bool(self.registry.live())
        self.admission.admit(queue, self._isolated)
        for job in self.registry.live():
            if not self._is_backing_off(job.id):
                with self._isolated(job.id):
                    self.reconciler.reconcile(job)
        waiting = self._still_waiting(queue)
        seconds = time.monotonic() - began
        with _not_fatal("heartbeat"):
            if self.heartbeat.write_if_due(self.registry, len(waiting), seconds):
                self._write_metrics(waiting, seconds)
        with _not_fatal("repair of status views"):
            self.view_repair.repair_next_view(self.registry.ended)
        return self._count_unfinished(listing, waiting)

    def _count_unfinished(self, listing: Listing, waiting: list[WaitingJob]) -> int:
        """Number of jobs that a later pass of this daemon may bring forward."""
        live, has = self.registry.live(), self.registry.has
        n_live = sum(not job.is_held for job in live)
        n_waiting = sum(not self.leases.is_held_by_other(job.id) for job in waiting)
        unsettled = [job for job in listing.jobs if job.is_complete and not job.is_settled]
        return n_live + n_waiting + sum(not has(job.id) for job in unsettled)

    def _queue(self, listing: Listing) -> list[WaitingJob]:
        """The jobs that may be admitted; jobs of this machine are cancelled as their users ask."""
        queue = []
        for waiting in listing.jobs:
            if not self.registry.has(waiting.id):
                is_ready = waiting.is_complete and waiting.is_settled
                if is_ready and not self._is_backing_off(waiting.id):
                    queue.append(waiting)
            elif waiting.is_cancelled:
                with self._isolated(waiting.id):
                    self._cancel(self.jobs[waiting.id], "cancelled by its user")
        return queue

    def _still_waiting(self, queue: list[WaitingJob]) -> list[WaitingJob]:
        ended, has = self.registry.ended, self.registry.has
        return [job for job in queue if job.id not in ended and not has(job.id)]

    def _write_metrics(self, waiting: list[WaitingJob], seconds: float) -> None:
        """Write the metrics for Prometheus and CloudWatch."""
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
            log.info("%d keys under incoming/ are ignored: not files of a job", self._ignored)

    def _cancel(self, job: Job, reason: str) -> None:
        if job.is_live and not job.final_state:
            self.registry.change(job, final_state=jobs.CANCELLED, reason=reason)

    # --- operator commands ---

    def _run_operator_commands(self, queue: list[WaitingJob]) -> None:
        waiting = {job.id for job in queue}
        for command in operator_commands.pending(self.work_dir):
            with self._isolated(command.job_id):
                if command.job_id in self.registry.jobs:
                    self._run_command(self.jobs[command.job_id], command)
                elif command.action == "retry":
                    self.admission.retried.add(command.job_id)
                    self.registry.ended.discard(command.job_id)
                elif command.action == "hold" and command.job_id in waiting:
                    self.admission.held.add(command.job_id)
                elif command.action == "release" and command.job_id in waiting:
                    self.admission.held.discard(command.job_id)
                else:
                    log.warning(
                        "job %s: cannot %s a job that is not on this machine",
                        command.job_id,
                        command.action,
                    )
                operator_commands.remove(command)

    def _run_command(self, job: Job, command: OperatorCommand) -> None:
        if command.action == "cancel":
            self._cancel(job, "cancelled by the operator of the service")
        elif command.action in ("hold", "release"):
            self.registry.change(job, is_held=command.action == "hold")
        elif job.state in (jobs.DONE, jobs.RELINQUISHED):
            log.warning("%s: cannot retry a job that is %s; submit it again", job, job.state)
        elif job.is_live and job.final_state:
            log.warning("%s: cannot retry yet: the job is about to be %s", job, job.final_state)
        else:
            self._retry(job)

    def _retry(self, job: Job) -> None:
        """Start a job again in its folder, or end its back-off."""
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

    # --- failures of one job ---

    @contextmanager
    def _isolated(self, job_id: str) -> Iterator[None]:
        """Log an error of one job, so that the others continue; a later pass retries."""
        try:
            yield
            self._failures.pop(job_id, None)
        except XcorError as error:
            log.warning("%s: %s", self.jobs.get(job_id, f"job {job_id}"), error)
            count = self._failures.get(job_id, (0, 0.0))[0]
            delay = min(_FIRST_BACKOFF * 2 ** (count - 1), _LONGEST_BACKOFF) if count else 0.0
            self._failures[job_id] = (count + 1, time.monotonic() + delay)
        self.notifier.step_completed()

    def _is_backing_off(self, job_id: str) -> bool:
        """Whether a job failed repeatedly, so that this pass must not spend time on it."""
        failure = self._failures.get(job_id)
        return failure is not None and time.monotonic() < failure[1]


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)


@contextmanager
def _not_fatal(step: str) -> Iterator[None]:
    """Enclose a step whose failure must not end a pass."""
    try:
        yield
    except XcorError as error:
        log.warning("%s: %s", step, error)
