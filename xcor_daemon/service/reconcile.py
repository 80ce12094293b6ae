"""The course of one job, from its folder to its end: step after step, none of which waits."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..atomic_files import disk_errors, write_text
from ..config import Config
from ..errors import ConfigError, Problem, RequestError, XcorError
from ..request.cost import examine_files
from ..request.job_files import LOG_FILE, SUMMARY_FILE, DayCounts
from ..request.params import PARAMS
from ..request.parse import StackRequest, XcorRequest, read_files, read_request
from ..storage import fault_injection, jobs, worker_outputs
from ..storage.bucket import Bucket
from ..storage.disk_space import most_bytes
from ..storage.jobs import Job
from ..storage.leases import Leases
from ..storage.registry import JobRegistry
from ..storage.worker_outputs import BrokenOutputs
from ..workers import launcher
from ..workers.launcher import Launcher, WorkerState
from ..workers.placement import choose_executor
from .publish import Publisher, iso
from .retry import WorkerEnd, classify
from .stacking_input import find_corr

log = logging.getLogger(__name__)

_LONGEST_WAIT = 3600.0  # s between two workers of a job


@dataclass
class JobReconciler:
    """Moves one job at a time.

    Parameters
    ----------
    backoff : float
        Seconds, about, until a failed worker is followed by the next; doubled each time.
    now : callable
        The time (s since 1970).
    """

    bucket: Bucket
    launcher: Launcher
    config: Config
    registry: JobRegistry
    publisher: Publisher
    leases: Leases
    backoff: float
    now: Callable[[], float]
    launch_failures: int = 0  # times in a row that no worker could be started or looked at

    def reconcile(self, job: Job) -> None:
        """Step after step, until one changes nothing."""
        before = None
        while job is not before and job.is_live:
            before = job
            self._advance(job)
            job = self.registry.jobs[job.id]
        if not job.is_live:
            self.publisher.drop(job.id)
            self.leases.release(job.id)

    def _advance(self, job: Job) -> None:
        if not self.leases.renew(job.id):
            self._leave(job)
            return
        if job.final_state:
            self._conclude(job)
            return
        worker = self._inspect(job)
        if worker.state == launcher.NOT_STARTED:
            self._launch(job)
            return
        if job.state == jobs.QUEUED:  # the daemon died between start and record
            job = self.registry.change(job, state=jobs.RUNNING, reason="", **self._start_times(job))
        if worker.state == launcher.RUNNING:
            self._watch(job)
        elif worker.exit_code == 0:
            self._collect(job, worker)
        else:
            self._follow(job, self._classify(job, worker))

    def _inspect(self, job: Job) -> WorkerState:
        try:
            worker = self.launcher.inspect(job)
        except XcorError:
            self.launch_failures += 1
            raise
        if worker.state == launcher.RUNNING:
            self.launch_failures = 0
        return worker

    def _classify(self, job: Job, worker: WorkerState) -> WorkerEnd:
        tail = worker_outputs.log_tail(job.folder)
        return classify(worker.exit_code, tail, self.config.max_attempts, worker.is_out_of_memory)

    def _leave(self, job: Job) -> None:
        """Give up a job that another daemon has taken over; what it showed meanwhile is undone."""
        if self.launcher.inspect(job).state == launcher.RUNNING:
            self.launcher.stop(job)
            return
        standing = self.bucket.read_manifest(job.id)
        if standing is not None:
            self._finish(job, standing)
            return
        log.info("%s: another daemon has taken it over", job)
        self.registry.change(job, state=jobs.RELINQUISHED)

    def _launch(self, job: Job) -> None:
        """Start a worker when the request is good, the time has come and a place is free."""
        if not (job.source or job.corr):
            try:
                checked = self._check(job)
            except RequestError as error:
                self._refuse(job, error)
                return
            if checked is None:
                self.publisher.write_status(job, "fetching the correlations that are to be stacked")
                return
            job = checked
        live = self.registry.live()
        others = [other for other in live if other.id != job.id and not other.is_held]
        if job.is_held:
            self.publisher.write_status(job, "held by the operator of the service")
        elif job.not_before > self.now():
            self.publisher.write_status(job, f"waits until {iso(job.not_before)} to try again")
        elif self.registry.running(but=job.id) >= self.config.max_parallel:
            ahead = sum(
                (other.submitted_at, other.id) < (job.submitted_at, job.id) for other in others
            )
            self.publisher.write_status(job, f"waits for its turn, jobs ahead: {ahead}", ahead)
        else:
            self._start(job)
            job = self.registry.change(job, state=jobs.RUNNING, reason="", **self._start_times(job))
            self.publisher.write_status(job, "starting")

    def _start(self, job: Job) -> None:
        try:
            self.launcher.start(job)
        except XcorError:
            self.launch_failures += 1
            self.publisher.write_status(
                job, "waits: no worker can be started now; the service looks again"
            )
            raise
        self.launch_failures = 0

    def _start_times(self, job: Job) -> dict[str, float]:
        return {"started": job.started or self.now(), "launched": self.now()}

    def _check(self, job: Job) -> Job | None:
        """Settle where a job's data come from; None while correlations are being fetched."""
        draft, found = examine_files(read_files(job.folder))
        if found is None and not draft.problems:
            request = draft.request()
            assert isinstance(request, StackRequest)
            corr_id = request.params.job
            corr = find_corr(self.bucket, job, corr_id, self.registry.jobs.get(corr_id))
            return None if corr is None else self.registry.change(job, corr=str(corr))
        problems, changes = list(draft.problems), {}
        try:
            name = draft.values.get("source", "")
            changes["source"] = self.config.source_named(name)
        except ConfigError as error:
            problems.append(Problem(PARAMS, 2, "source", name, f"cannot be used: {error}"))
        if found is not None and not draft.problems:
            request = draft.request()
            assert isinstance(request, XcorRequest)
            try:
                changes["executor"] = choose_executor(request, found, self.config)
            except RequestError as error:
                problems += error.problems
        if problems:
            raise RequestError(problems)
        return self.registry.change(job, **changes)

    def _watch(self, job: Job) -> None:
        """Show how far a running worker is, and publish what is whole."""
        if self.now() > job.launched + self.config.deadline:
            reason = f"it took longer than {self.config.deadline:g} s, the most allowed here"
            self.registry.change(job, final_state=jobs.FAILED, reason=reason)
            return
        most = most_bytes(job)
        if worker_outputs.size_of(job.results, most) > most:
            reason = f"its files took more than {most:.2g} bytes, far more than was estimated"
            self.registry.change(job, final_state=jobs.FAILED, reason=reason)
            return
        try:
            self.publisher.upload(job, dict.fromkeys(worker_outputs.complete_files(job.results)))
        except BrokenOutputs as error:
            log.warning("%s: %s", job, error)
        self.publisher.write_status(job, "running")

    def _collect(self, job: Job, worker: WorkerState) -> None:
        """Publish what a worker made that says that all went well, if that is true."""
        try:
            outputs = worker_outputs.read_outputs(job.results)
            self._count_days(job, outputs.days)
            if worker.is_out_of_memory and outputs.days.failed:
                self._follow(job, self._classify(job, worker))
                return
            most = most_bytes(job)
            if (size := sum(file.size for file in outputs.files)) > most:
                raise BrokenOutputs(f"its results take {size:.2g} bytes; at most {most:.2g}.")
            expected = {f.name: (f.size, f.sha256) for f in outputs.files}
            is_all_there = self.publisher.upload(job, {**expected, LOG_FILE: None})
        except BrokenOutputs as error:
            reason = f"the worker ended well, but {error}"
            self._follow(job, WorkerEnd("broken", reason, "", self.config.max_attempts))
            return
        if not is_all_there:
            self.publisher.write_status(job, "publishing the results")
            return
        self._finish(job, self.publisher.commit(job, outputs, worker.image))

    def _count_days(self, job: Job, days: DayCounts) -> None:
        """The worker must account for every day of the request."""
        request = read_request(job.folder)
        if isinstance(request, XcorRequest) and days.total != len(request.days):
            raise BrokenOutputs(f"it accounts for {days.total} of {len(request.days)} days.")

    def _finish(self, job: Job, standing: dict[str, Any]) -> None:
        """A job that is published, by this attempt or by another one."""
        if standing["attempt"] != job.attempt:
            log.info("%s: the attempt %s was published first", job, standing["attempt"])
        else:
            self.registry.worker_ends["ok"] += 1
            self.registry.days_published += standing["units"]["done"]
        self.publisher.write_final_views(standing, worker_outputs.log_tail(job.folder))
        self.registry.change(job, state=jobs.DONE, final_state="", reason="")

    def _follow(self, job: Job, end: WorkerEnd) -> None:
        """Do what follows from a worker that did not end well."""
        self.registry.worker_ends[end.kind] += 1
        if end.final_state:
            self.registry.change(job, final_state=end.final_state, reason=end.reason)
            return
        counted = {"killed": "killed", "memory": "out_of_memory"}.get(end.kind, "failures")
        count = getattr(job, counted) + 1
        if count >= end.most:
            reason = f"given up after {count} tries: {end.reason}"
            self.registry.change(job, **{counted: count}, final_state=jobs.FAILED, reason=reason)
            return
        wait = min(self.backoff * 2 ** (count - 1), _LONGEST_WAIT) * random.uniform(0.5, 1)
        later = {"state": jobs.QUEUED, "not_before": self.now() + wait}
        self.registry.change(job, **{counted: count}, **later, reason=end.reason)

    def _refuse(self, job: Job, error: RequestError) -> None:
        lines = [str(problem) for problem in error.problems]
        more = f"\nand {len(lines) - 10} more" * (len(lines) > 10)
        reason = "\n".join(line[:500] for line in lines[:10]) + more
        problems = jobs.problems_json(error.problems)
        self.registry.change(job, final_state=jobs.REJECTED, reason=reason, problems=problems)

    def _conclude(self, job: Job) -> None:
        """Stop the worker and publish an end that brings no results."""
        if self.launcher.inspect(job).state == launcher.RUNNING:
            self.launcher.stop(job)
            self.publisher.write_status(job, "stopping")
            return
        standing = self.bucket.read_manifest(job.id)
        if standing is not None:  # it was published before the final_state fell
            self._finish(job, standing)
            return
        if not (job.folder / LOG_FILE).exists():
            line = f"job {job.id}: {job.final_state}: {job.reason}\n"
            with disk_errors(job.folder), fault_injection.fault_point("log.write"):
                write_text(job.folder / LOG_FILE, line)
        names = [LOG_FILE]
        if (job.results / SUMMARY_FILE).exists():  # says why there are no results
            names.append(SUMMARY_FILE)
        try:
            self.publisher.upload(job, dict.fromkeys(names))
        except BrokenOutputs as error:
            log.warning("%s: %s", job, error)
        self.publisher.write_status(replace(job, state=job.final_state), job.final_state)
        self.registry.change(job, state=job.final_state)
