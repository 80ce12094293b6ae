"""Brings one job closer to its end: observe it, decide on the next action, apply that action.

`next_action` is a pure function of one snapshot; `JobReconciler` takes the snapshot and applies the
action. No action waits: whatever takes long continues on the next pass.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..atomic_files import disk_errors, write_text
from ..config import Config
from ..errors import ConfigError, Problem, RequestError, XcorError
from ..request.cost import examine_files
from ..request.job_files import LOG_FILE, SUMMARY_FILE, JobOutputs
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
from .publish import Publisher, iso, queued_stage
from .retry import WorkerEnd, classify
from .stacking_input import find_corr

log = logging.getLogger(__name__)

_MAX_BACKOFF = 3600.0  # s between two workers of a job


@dataclass(frozen=True)
class Observed:
    """A snapshot of all that the next action of a job depends on, besides the job itself.

    A field is read only in the states that need it; elsewhere it has its default.
    """

    worker: WorkerState
    is_lease_held: bool = True  # by this daemon
    manifest: Mapping[str, Any] | None = None  # manifest.json, once the job is published
    n_running: int = 0  # workers of other jobs
    n_ahead: int = 0  # unfinished jobs that were submitted earlier, without those on hold
    disk_usage: float = 0.0  # bytes in the folder of a running worker
    outputs: JobOutputs | BrokenOutputs | None = None  # outputs.json of a worker that exited with 0
    n_days: int | None = None  # of a correlation job whose worker exited with 0
    log_tail: Sequence[str] = ()  # last lines of a worker that failed


@dataclass(frozen=True)
class StopWorker:
    """Stop the worker of a job that is ending; another daemon's job keeps its status."""

    writes_status: bool


@dataclass(frozen=True)
class Relinquish:
    """Leave the job to the daemon that holds its lease now."""


@dataclass(frozen=True)
class AdoptManifest:
    """Finish a job that is published already."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class PublishEnd:
    """Publish a final state without results."""


@dataclass(frozen=True)
class CheckRequest:
    """Check the request and find its source of data, or reject the job."""


@dataclass(frozen=True)
class Wait:
    """Start no worker yet."""

    stage: str  # for the user
    ahead: int | None = None


@dataclass(frozen=True)
class StartWorker:
    """Start a worker."""


@dataclass(frozen=True)
class RecordStart:
    """Record a worker that an earlier daemon started but did not record."""


@dataclass(frozen=True)
class PublishProgress:
    """Upload the complete files of a running worker and write the status."""


@dataclass(frozen=True)
class PublishResults:
    """Upload all files and commit the manifest."""

    outputs: JobOutputs
    image: str | None


@dataclass(frozen=True)
class Retry:
    """Start another worker after a back-off."""

    counter: str  # attribute of the job
    count: int
    end: WorkerEnd


@dataclass(frozen=True)
class SetFinalState:
    """Decide on the final state of a job."""

    state: str
    reason: str
    counts: Mapping[str, int] = field(default_factory=dict)  # attributes of the job
    end: WorkerEnd | None = None


Action = (
    StopWorker
    | Relinquish
    | AdoptManifest
    | PublishEnd
    | CheckRequest
    | Wait
    | StartWorker
    | RecordStart
    | PublishProgress
    | PublishResults
    | Retry
    | SetFinalState
)


def next_action(job: Job, observed: Observed, config: Config, now: float) -> Action:
    """Decide on the next action of an unfinished job.

    Parameters
    ----------
    now : float
        The time (s since 1970).
    """
    worker = observed.worker
    if job.final_state or not observed.is_lease_held:
        if worker.state == launcher.RUNNING:
            return StopWorker(writes_status=observed.is_lease_held)
        if observed.manifest is not None:
            return AdoptManifest(observed.manifest)
        return PublishEnd() if observed.is_lease_held else Relinquish()
    if worker.state == launcher.NOT_STARTED:
        return _before_start(job, observed, config, now)
    if job.state == jobs.QUEUED:
        return RecordStart()
    if worker.state == launcher.RUNNING:
        return _while_running(job, observed, config, now)
    if worker.exit_code != 0:
        return after_failure(job, _worker_end(observed, config))
    return _after_success(job, observed, config)


def _before_start(job: Job, observed: Observed, config: Config, now: float) -> Action:
    if not (job.source or job.corr):
        return CheckRequest()
    if job.is_held:
        return Wait("held by the operator of the service")
    if job.not_before > now:
        return Wait(f"waiting until {iso(job.not_before)} to retry")
    if observed.n_running >= config.max_parallel:
        return Wait(queued_stage(observed.n_ahead), observed.n_ahead)
    return StartWorker()


def _while_running(job: Job, observed: Observed, config: Config, now: float) -> Action:
    if now > job.launched + config.deadline:
        reason = f"the worker ran longer than {config.deadline:g} s, the limit of this service; "
        reason += "request fewer days or channels"
        return SetFinalState(jobs.FAILED, reason)
    if observed.disk_usage > (most := most_bytes(job)):
        reason = f"the job's files exceed {most:.2g} bytes, the limit for its estimated size; "
        reason += "request fewer days or channels"
        return SetFinalState(jobs.FAILED, reason)
    return PublishProgress()


def _after_success(job: Job, observed: Observed, config: Config) -> Action:
    """A worker that exited with 0: check its outputs."""
    outputs, most = observed.outputs, most_bytes(job)
    if not isinstance(outputs, JobOutputs):
        return after_failure(job, broken_outputs(outputs, config))
    if observed.n_days is not None and outputs.days.total != observed.n_days:
        error = f"outputs.json accounts for {outputs.days.total} of {observed.n_days} days."
        return after_failure(job, broken_outputs(error, config))
    if observed.worker.is_out_of_memory and outputs.days.failed:
        return after_failure(job, _worker_end(observed, config))
    if (size := sum(file.size for file in outputs.files)) > most:
        error = f"its results take {size:.2g} bytes, more than the limit of {most:.2g}."
        return after_failure(job, broken_outputs(error, config))
    return PublishResults(outputs, observed.worker.image)


def after_failure(job: Job, end: WorkerEnd) -> Action:
    """Retry a job whose worker failed, or decide on its final state."""
    if end.final_state:
        return SetFinalState(end.final_state, end.reason, end=end)
    counter = {"killed": "killed", "memory": "out_of_memory"}.get(end.kind, "failures")
    count = getattr(job, counter) + 1
    if count >= end.max_attempts:
        reason = f"failed after {count} attempts: {end.reason}"
        return SetFinalState(jobs.FAILED, reason, {counter: count}, end)
    return Retry(counter, count, end)


def _worker_end(observed: Observed, config: Config) -> WorkerEnd:
    worker = observed.worker
    return classify(
        worker.exit_code, observed.log_tail, config.max_attempts, worker.is_out_of_memory
    )


def broken_outputs(error: object, config: Config) -> WorkerEnd:
    """The end of a worker that exited with 0, but whose outputs are not usable."""
    return WorkerEnd(
        "broken", f"the worker exited with status 0, but {error}", "", config.max_attempts
    )


@dataclass
class JobReconciler:
    """Observes one job at a time and applies its next actions.

    Parameters
    ----------
    backoff : float
        Mean time (s) before a failed worker is followed by the next; doubled each time.
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
    launch_failures: int = 0  # times in a row that no worker could be started or inspected

    def reconcile(self, job: Job) -> None:
        """Apply one action after the other, until one leaves the job as it was."""
        before = None
        while job is not before and job.is_live:
            before = job
            observed = self._observe(job)
            self.apply(job, next_action(job, observed, self.config, self.now()))
            job = self.registry.jobs[job.id]
        if not job.is_live:
            self.publisher.drop(job.id)
            self.leases.release(job.id)

    # --- observe ---

    def _observe(self, job: Job) -> Observed:
        """Take the snapshot from which `next_action` decides."""
        is_lease_held = self.leases.renew(job.id)
        if job.final_state or not is_lease_held:
            worker = self.launcher.inspect(job)
            is_running = worker.state == launcher.RUNNING
            manifest = None if is_running else self.bucket.read_manifest(job.id)
            return Observed(worker, is_lease_held, manifest)
        worker = self._inspect_worker(job)
        if worker.state == launcher.NOT_STARTED:
            n_running = self.registry.running(but=job.id)
            return Observed(worker, n_running=n_running, n_ahead=self._count_ahead(job))
        if worker.state == launcher.RUNNING:
            usage = worker_outputs.size_of(job.results, most_bytes(job))
            return Observed(worker, disk_usage=usage)
        tail = worker_outputs.log_tail(job.folder)
        if worker.exit_code != 0:
            return Observed(worker, log_tail=tail)
        try:
            outputs = worker_outputs.read_outputs(job.results)
        except BrokenOutputs as error:
            return Observed(worker, outputs=error, log_tail=tail)
        return Observed(worker, outputs=outputs, n_days=_count_days(job), log_tail=tail)

    def _inspect_worker(self, job: Job) -> WorkerState:
        try:
            worker = self.launcher.inspect(job)
        except XcorError:
            self.launch_failures += 1
            raise
        if worker.state == launcher.RUNNING:
            self.launch_failures = 0
        return worker

    def _count_ahead(self, job: Job) -> int:
        others = [other for other in self.registry.live() if not other.is_held]
        key = (job.submitted_at, job.id)
        return sum((other.submitted_at, other.id) < key for other in others)

    # --- act ---

    def apply(self, job: Job, action: Action) -> None:
        """Carry out an action; the change of the job, if any, is recorded last."""
        match action:
            case StopWorker():
                self.launcher.stop(job)
                if action.writes_status:
                    self.publisher.write_status(job, "stopping")
            case Relinquish():
                log.info("%s: taken over by another daemon", job)
                self.registry.change(job, state=jobs.RELINQUISHED)
            case AdoptManifest():
                self._finish(job, action.manifest)
            case PublishEnd():
                self._publish_end(job)
            case CheckRequest():
                self._check_request(job)
            case Wait():
                self.publisher.write_status(job, action.stage, action.ahead)
            case StartWorker():
                self._start_worker(job)
            case RecordStart():
                self._record_start(job)
            case PublishProgress():
                self._publish_progress(job)
            case PublishResults():
                self._publish_results(job, action)
            case Retry():
                self._retry(job, action)
            case SetFinalState():
                self._set_final_state(job, action)

    def _check_request(self, job: Job) -> None:
        try:
            changes = self._data_source(job)
        except RequestError as error:
            self._reject(job, error)
            return
        if changes is None:
            self.publisher.write_status(job, "fetching the correlations to be stacked")
            return
        self.registry.change(job, **changes)

    def _data_source(self, job: Job) -> dict[str, str] | None:
        """Where a job's data come from; None while the correlations to be stacked are fetched.

        Raises
        ------
        RequestError
            With every problem of the request.
        """
        draft, found = examine_files(read_files(job.folder))
        if found is None and not draft.problems:
            request = draft.request()
            assert isinstance(request, StackRequest)
            corr_id = request.params.job
            corr = find_corr(self.bucket, job, corr_id, self.registry.jobs.get(corr_id))
            return None if corr is None else {"corr": str(corr)}
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
        return changes

    def _reject(self, job: Job, error: RequestError) -> None:
        lines = [str(problem) for problem in error.problems]
        more = f"\nand {len(lines) - 10} more" * (len(lines) > 10)
        reason = "\n".join(line[:500] for line in lines[:10]) + more
        problems = jobs.problems_json(error.problems)
        self.registry.change(job, final_state=jobs.REJECTED, reason=reason, problems=problems)

    def _start_worker(self, job: Job) -> None:
        try:
            self.launcher.start(job)
        except XcorError:
            self.launch_failures += 1
            self.publisher.write_status(job, "waiting: no worker could be started; will retry")
            raise
        self.launch_failures = 0
        self.publisher.write_status(self._record_start(job), "starting")

    def _record_start(self, job: Job) -> Job:
        times = {"started": job.started or self.now(), "launched": self.now()}
        return self.registry.change(job, state=jobs.RUNNING, reason="", **times)

    def _publish_progress(self, job: Job) -> None:
        try:
            self.publisher.upload(job, dict.fromkeys(worker_outputs.complete_files(job.results)))
        except BrokenOutputs as error:
            log.warning("%s: %s", job, error)
        self.publisher.write_status(job, "running")

    def _publish_results(self, job: Job, action: PublishResults) -> None:
        expected = {f.name: (f.size, f.sha256) for f in action.outputs.files}
        try:
            is_complete = self.publisher.upload(job, {**expected, LOG_FILE: None})
        except BrokenOutputs as error:
            self.apply(job, after_failure(job, broken_outputs(error, self.config)))
            return
        if not is_complete:
            self.publisher.write_status(job, "publishing the results")
            return
        self._finish(job, self.publisher.commit(job, action.outputs, action.image))

    def _finish(self, job: Job, manifest: Mapping[str, Any]) -> None:
        """Close a job that is published, by this attempt or by another one."""
        if manifest["attempt"] != job.attempt:
            log.info("%s: attempt %s was published first", job, manifest["attempt"])
        else:
            self.registry.worker_ends["ok"] += 1
            self.registry.days_published += manifest["units"]["done"]
        self.publisher.write_final_views(manifest, worker_outputs.log_tail(job.folder))
        self.registry.change(job, state=jobs.DONE, final_state="", reason="")

    def _retry(self, job: Job, action: Retry) -> None:
        self.registry.worker_ends[action.end.kind] += 1
        # Jitter keeps jobs that failed together from retrying together.
        delay = min(self.backoff * 2 ** (action.count - 1), _MAX_BACKOFF) * random.uniform(0.5, 1)
        changes = {action.counter: action.count, "not_before": self.now() + delay}
        self.registry.change(job, state=jobs.QUEUED, reason=action.end.reason, **changes)

    def _set_final_state(self, job: Job, action: SetFinalState) -> None:
        if action.end is not None:
            self.registry.worker_ends[action.end.kind] += 1
        self.registry.change(job, **action.counts, final_state=action.state, reason=action.reason)

    def _publish_end(self, job: Job) -> None:
        if not (job.folder / LOG_FILE).exists():
            line = f"job {job.id}: {job.final_state}: {job.reason}\n"
            with disk_errors(job.folder), fault_injection.fault_point("log.write"):
                write_text(job.folder / LOG_FILE, line)
        names = [LOG_FILE]
        if (job.results / SUMMARY_FILE).exists():  # has the reasons why there are no results
            names.append(SUMMARY_FILE)
        try:
            self.publisher.upload(job, dict.fromkeys(names))
        except BrokenOutputs as error:
            log.warning("%s: %s", job, error)
        self.publisher.write_status(replace(job, state=job.final_state), job.final_state)
        self.registry.change(job, state=job.final_state)


def _count_days(job: Job) -> int | None:
    request = read_request(job.folder)
    return len(request.days) if isinstance(request, XcorRequest) else None
