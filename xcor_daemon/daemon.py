"""The host's corridor: every pass looks at S3, the job folders and the workers, and moves each
job as far as it goes without waiting. Recovery after a crash is nothing but the next pass.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from . import faults, jobs, launcher, outputs
from .bucket import Bucket, Waiting
from .config import Config
from .corrs import find_corr
from .errors import ConfigError, Problem, RequestError, UnreachableError, XcorError
from .estimate import estimate
from .jobs import Job
from .launcher import Launcher
from .outputs import BrokenOutputs
from .publish import Publisher, iso
from .request import PARAMS, StackRequest, XcorRequest, read_request
from .verdicts import Ending, classify

log = logging.getLogger(__name__)

_LAST_PASS = 7.0  # s that a pass may go on after SIGTERM
_LONGEST_WAIT = 3600.0  # s between two workers of a job


class Daemon:
    """Moves the jobs of one bucket and one work folder; only within ``with daemon.holding()``.

    Parameters
    ----------
    backoff : float
        Seconds, about, until a failed worker is followed by the next; doubled each time.
    now : callable
        The time (s since 1970).
    """

    def __init__(
        self,
        bucket: Bucket,
        launcher: Launcher,
        config: Config,
        backoff: float = 30.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.bucket, self.launcher, self.config = bucket, launcher, config
        self.publisher = Publisher(bucket, now)
        self.work_dir = config.work_dir.absolute()
        self.backoff, self.now = backoff, now
        self.jobs: dict[str, Job] = {}
        self._finished_elsewhere: set[str] = set()
        self._ignored = 0

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep the work folder to this daemon and load what an earlier one left there."""
        with jobs.hold(self.work_dir):
            for folder in jobs.sweep_unfinished(self.work_dir):
                log.info("job %s: an unfinished staging was removed: %s", folder.name, folder)
            self.jobs = {job.id: job for job in jobs.load_jobs(self.work_dir)}
            yield

    def run_forever(self, stop: threading.Event) -> None:
        """Pass after pass until ``stop`` is set; workers go on without the daemon."""
        ever, trouble = False, ""
        while not stop.is_set():
            try:
                self.tick()
                ever, trouble = True, ""
            except (UnreachableError, ConfigError) as error:
                if isinstance(error, ConfigError) and not ever:
                    raise  # a wrong setting, unless it has worked before
                if str(error) != trouble:
                    log.warning("no pass, next try in %g s: %s", self.config.interval, error)
                trouble = str(error)
            stop.wait(self.config.interval * random.uniform(0.9, 1.1))

    def run_once(self, wait: bool = False, stop: threading.Event | None = None) -> list[Job]:
        """One pass, or passes until nothing is left to do; gives the jobs that ended."""
        stop = stop or threading.Event()
        before = {job.id for job in self.jobs.values() if not job.is_live}
        left = self.tick()
        while wait and left and not stop.wait(min(self.config.interval, 1.0)):
            left = self.tick()
        return [job for job in self.jobs.values() if not job.is_live and job.id not in before]

    def tick(self) -> int:
        """Move every job as far as it goes now; gives how many are not at their end."""
        listing = self.bucket.waiting()
        if listing.ignored != self._ignored:
            self._ignored = listing.ignored
            log.info("%d keys under incoming/ are ignored: no files of a job", listing.ignored)
        for waiting in listing.jobs:
            with _one_job(waiting.id):
                self._admit(waiting)
        for job in self._live():
            with _one_job(job.id):
                self._advance_far(job)
        known = self.jobs.keys() | self._finished_elsewhere
        return len(self._live()) + sum(w.is_complete and w.id not in known for w in listing.jobs)

    def _advance_far(self, job: Job) -> None:
        """Step after step, until one changes nothing."""
        before = None
        while job is not before and job.is_live:
            before = job
            self._advance(job)
            job = self.jobs[job.id]

    def _live(self) -> list[Job]:
        """The jobs that are not at their end, first come first."""
        return sorted((job for job in self.jobs.values() if job.is_live), key=_turn)

    def _change(self, job: Job, **changes: Any) -> Job:
        before = job.verdict or job.state
        self.jobs[job.id] = job = job.changed(**changes)
        if (now := job.verdict or job.state) != before:
            log.info("job %s: %s%s", job.id, now, f": {job.reason}" if job.reason else "")
        return job

    # --- from incoming/ to a folder ---

    def _admit(self, waiting: Waiting) -> None:
        job = self.jobs.get(waiting.id)
        if job is not None:
            if waiting.is_cancelled and job.is_live and not job.verdict:
                self._change(job, verdict=jobs.CANCELLED, reason="cancelled by its user")
            return
        is_ready = waiting.is_complete and waiting.is_quiet
        if not is_ready or waiting.id in self._finished_elsewhere:
            return
        if self._is_finished(waiting.id):
            self._finished_elsewhere.add(waiting.id)
            return
        contents = self.bucket.fetch(waiting)
        if contents is None:
            log.info("job %s: its files changed while they were copied; later again", waiting.id)
            return
        inputs = [
            jobs.Input.of(remote.key, remote.etag, contents[name])
            for name, remote in waiting.files.items()
        ]
        job = jobs.create_job(self.work_dir, waiting.id, contents, inputs, waiting.seen)
        self.jobs[job.id] = job
        log.info("job %s: staged as %s", job.id, job.folder)
        if waiting.is_cancelled:
            self._change(job, verdict=jobs.CANCELLED, reason="cancelled by its user")

    def _is_finished(self, job_id: str) -> bool:
        """Whether a job that this machine does not know came to its end somewhere else."""
        status = self.bucket.read_status(job_id) or {}
        if status.get("state") in jobs.TERMINAL:
            return True
        manifest = self.bucket.read_manifest(job_id)
        if manifest is not None:
            self.publisher.announce(manifest, [])
        return manifest is not None

    # --- from a folder to its end ---

    def _advance(self, job: Job) -> None:
        if job.verdict:
            self._conclude(job)
            return
        worker = self.launcher.inspect(job)
        if worker.state == launcher.NOT_STARTED:
            self._launch(job)
            return
        if job.state == jobs.QUEUED:  # the daemon died between start and record
            job = self._change(job, state=jobs.RUNNING, reason="", **self._start_times(job))
        if worker.state == launcher.RUNNING:
            self._watch(job)
        elif worker.exit_code == 0:
            self._collect(job)
        else:
            tail = outputs.log_tail(job.folder)
            self._follow(job, classify(worker.exit_code, tail, self.config.max_attempts))

    def _launch(self, job: Job) -> None:
        """Start a worker when the request is good, the time has come and a place is free."""
        if not (job.source or job.corr):
            try:
                checked = self._check(job)
            except RequestError as error:
                self._refuse(job, error)
                return
            if checked is None:
                self.publisher.show(job, "fetching the correlations that are to be stacked")
                return
            job = checked
        others = [other for other in self._live() if other.id != job.id]
        if job.not_before > self.now():
            self.publisher.show(job, f"waits until {iso(job.not_before)} to try again")
        elif sum(other.state == jobs.RUNNING for other in others) >= self.config.max_parallel:
            ahead = sum(_turn(other) < _turn(job) for other in others)
            self.publisher.show(job, f"waits for its turn, jobs ahead: {ahead}")
        else:
            self.launcher.start(job)
            job = self._change(job, state=jobs.RUNNING, reason="", **self._start_times(job))
            self.publisher.show(job, "starting")

    def _start_times(self, job: Job) -> dict[str, float]:
        return {"started": job.started or self.now(), "launched": self.now()}

    def _check(self, job: Job) -> Job | None:
        """Settle where a job's data come from; None while correlations are being fetched."""
        request = read_request(job.folder)
        if isinstance(request, StackRequest):
            corr_id = request.params.job
            corr = find_corr(self.bucket, job, corr_id, self.jobs.get(corr_id))
            return None if corr is None else self._change(job, corr=str(corr))
        estimate(request)
        try:
            source = self.config.source_named(request.params.source)
        except ConfigError as error:
            problem = Problem(
                PARAMS, 2, "source", request.params.source, f"cannot be used: {error}"
            )
            raise RequestError([problem]) from error
        return self._change(job, source=source)

    def _watch(self, job: Job) -> None:
        """Show how far a running worker is, and publish what is whole."""
        if self.now() > job.launched + self.config.deadline:
            reason = f"it took longer than {self.config.deadline:g} s, the most allowed here"
            self._change(job, verdict=jobs.FAILED, reason=reason)
            return
        try:
            self.publisher.upload(job, dict.fromkeys(outputs.whole_files(job.folder)))
        except BrokenOutputs as error:
            log.warning("job %s: %s", job.id, error)
        self.publisher.show(job, "running")

    def _collect(self, job: Job) -> None:
        """Publish what a worker made that says that all went well, if that is true."""
        try:
            result = outputs.read_outputs(job.folder)
            self._count_units(job, result["units"])
            expected = {f["name"]: (f["size"], f["sha256"]) for f in result["files"]}
            is_all_there = self.publisher.upload(job, {**expected, jobs.LOG_FILE: None})
        except BrokenOutputs as error:
            reason = f"the worker ended well, but {error}"
            self._follow(job, Ending("broken", reason, "", self.config.max_attempts))
            return
        if not is_all_there:
            self.publisher.show(job, "publishing the results")
            return
        self._finish(job, self.publisher.commit(job, result))

    def _count_units(self, job: Job, units: dict[str, Any]) -> None:
        """Every day that was asked for must have come to some end."""
        request = read_request(job.folder)
        counted = units["done"] + units["empty"] + len(units["failed"])
        if isinstance(request, XcorRequest) and counted != len(request.days):
            raise BrokenOutputs(f"it accounts for {counted} of {len(request.days)} days.")

    def _finish(self, job: Job, standing: dict[str, Any]) -> None:
        """A job that is published, by this attempt or by another one."""
        if standing["attempt"] != job.attempt:
            log.info("job %s: attempt %s was published first", job.id, standing["attempt"])
        self.publisher.announce(standing, outputs.log_tail(job.folder))
        self._change(job, state=jobs.DONE, verdict="", reason="")

    def _follow(self, job: Job, ending: Ending) -> None:
        """Do what follows from a worker that did not end well."""
        if ending.verdict:
            self._change(job, verdict=ending.verdict, reason=ending.reason)
            return
        counted = "killed" if ending.kind == "killed" else "failures"
        count = getattr(job, counted) + 1
        if count >= ending.most:
            reason = f"given up after {count} tries: {ending.reason}"
            self._change(job, **{counted: count}, verdict=jobs.FAILED, reason=reason)
            return
        wait = min(self.backoff * 2 ** (count - 1), _LONGEST_WAIT) * random.uniform(0.5, 1)
        later = {"state": jobs.QUEUED, "not_before": self.now() + wait}
        self._change(job, **{counted: count}, **later, reason=ending.reason)

    def _refuse(self, job: Job, error: RequestError) -> None:
        lines = [str(problem) for problem in error.problems]
        more = f"\nand {len(lines) - 10} more" * (len(lines) > 10)
        reason = "\n".join(line[:500] for line in lines[:10]) + more
        problems = jobs.problems_json(error.problems)
        self._change(job, verdict=jobs.REJECTED, reason=reason, problems=problems)

    def _conclude(self, job: Job) -> None:
        """Stop the worker and publish an end that brings no results."""
        if self.launcher.inspect(job).state == launcher.RUNNING:
            self.launcher.stop(job)
            self.publisher.show(job, "stopping")
            return
        standing = self.bucket.read_manifest(job.id)
        if standing is not None:  # it was published before the verdict fell
            self._finish(job, standing)
            return
        if not (job.folder / jobs.LOG_FILE).exists():
            line = f"job {job.id}: {job.verdict}: {job.reason}\n"
            with jobs.disk_errors(job.folder), faults.step("log.write"):
                jobs.write_atomic(job.folder / jobs.LOG_FILE, line.encode())
        try:
            self.publisher.upload(job, {jobs.LOG_FILE: None})
        except BrokenOutputs as error:
            log.warning("job %s: %s", job.id, error)
        self.publisher.show(replace(job, state=job.verdict), job.verdict)
        self._change(job, state=job.verdict)


def stop_on_signals() -> threading.Event:
    """What SIGTERM and SIGINT set; a pass that goes on too long is then cut off, as by a crash."""
    stop = threading.Event()

    def leave(*_: object) -> None:
        stop.set()
        signal.setitimer(signal.ITIMER_REAL, _LAST_PASS)

    def cut_off(*_: object) -> None:
        log.warning("stopped in the middle of a pass; the next start goes on from there")
        logging.shutdown()
        os._exit(0)

    signal.signal(signal.SIGALRM, cut_off)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    return stop


@contextmanager
def _one_job(job_id: str) -> Iterator[None]:
    """Keep one job's trouble from the others; the next pass tries again."""
    try:
        yield
    except XcorError as error:
        log.warning("job %s: %s", job_id, error)


def _turn(job: Job) -> tuple[float, str]:
    """First come, first served."""
    return job.seen, job.id
