"""Run units on the workers of a Dask scheduler: many machines that mount one job folder.

Only Dask's futures are used: no graph, a few units submitted at a time, and nothing on the wire
but units and their records. Units are idempotent and their files are written atomically, so it
does no harm if Dask runs one twice.
"""

from __future__ import annotations

import logging
import queue
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Generic

import dask
from distributed import Client, Future, LocalCluster, Security, WorkerPlugin, get_worker
from distributed.scheduler import KilledWorker

from ... import __version__
from ...atomic_files import remove, write_text
from ...errors import ConfigError, UnreachableError
from ..executors import Outcome, Result, Unit, WorkerKilledError
from ..worker_process import max_threads, set_up_worker_process

log = logging.getLogger(__name__)

_UNITS_PER_THREAD = 2  # submitted at a time: one runs, one is ready to follow
_COUNT_INTERVAL = 5.0  # s between two counts of the workers' threads
_RECORD_TIMEOUT = 20.0  # s for a worker to send the record of a unit
_MARKER = ".cluster"  # file in the job folder by which a worker checks that it mounts the same one
_GONE = ("cancelled", "lost")

# Settings of a cluster that we start. A unit that kills its workers is detected early, and a slow
# worker is waited for (by default LocalCluster drops it after 15 s, and may end without any).
_LOCAL_SETTINGS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.deploy.lost-worker-timeout": "10000s",
}


class DaskExecutor(Generic[Unit, Result]):
    """Runs units on a Dask cluster: a running one, or a temporary one on this machine.

    If a worker dies, Dask repeats its unit ``distributed.scheduler.allowed-failures`` times. The
    cause may also be another unit on the same machine, so the unit is then run alone; if its
    worker dies again, it fails. If the scheduler is lost, the running units are submitted again
    when one answers at the same address.

    Parameters
    ----------
    work : callable
        Runs a unit; pickled once per worker.
    folder : Path
        The job folder, which all workers must mount under this name.
    address : str
        Of a scheduler; empty starts a cluster of processes on this machine.
    processes : int
        Number of processes of a cluster on this machine.
    timeout : float
        Seconds to wait for a scheduler and for a first worker.

    Raises
    ------
    UnreachableError
        If the scheduler does not answer, or has no worker.
    ConfigError
        If the workers have another version, use several threads, or do not mount the folder.
    """

    def __init__(
        self,
        work: Callable[[Unit], Result],
        folder: Path,
        address: str = "",
        processes: int = 1,
        timeout: float = 300.0,
    ) -> None:
        self._setup = _WorkerSetup(work, folder, secrets.token_hex(4))
        # Before processes start: an error here must not leave them behind.
        write_text(folder / _MARKER, self._setup.name)
        self._address, self._timeout = address, timeout
        self._local: LocalCluster | None = None
        self._settings = ExitStack()  # of Dask in this process, while our cluster exists
        if not address:
            # Dask reads these settings also later, while the cluster runs. The cluster listens on
            # the loopback address only, and each worker gets an equal share of the memory.
            self._settings.enter_context(dask.config.set(_LOCAL_SETTINGS))
            self._local = LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
            self._address = self._local.scheduler_address
        self._waiting: deque[Unit] = deque()
        self._suspects: deque[Unit] = deque()
        self._running: dict[Future[Any], Unit] = {}
        self._is_alone = False
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._threads, self._counted_at = 1, 0.0
        self._n_submitted = 0
        self.redone = 0  # units submitted again, without those that Dask itself repeats
        self._client = self._connect()
        self._scheduler = self._client.scheduler_info()["id"]

    def _is_lost(self) -> bool:
        """Whether the scheduler that had our units is gone; another may answer at its address."""
        try:
            is_same = self._client.scheduler_info()["id"] == self._scheduler
        except (OSError, TimeoutError, KeyError, ValueError):
            return True
        return self._client.status != "running" or not is_same

    def _connect(self) -> Client:
        end = monotonic() + self._timeout
        is_tls = self._address.startswith("tls://")
        security = Security(require_encryption=True) if is_tls else None
        while True:
            try:
                client = Client(self._address, security=security, timeout=10, set_as_default=False)
                break
            except (OSError, TimeoutError) as error:
                if monotonic() > end:
                    need = "does not answer; start it again, then run the job again to continue it"
                    raise UnreachableError(f"Dask scheduler {self._address} {need}.") from error
                sleep(0.5)
        try:
            client.wait_for_workers(1, timeout=max(1.0, end - monotonic()))
            client.register_plugin(self._setup)
        except TimeoutError as error:
            client.close()
            need = "has no workers; start some with `dask worker`"
            raise UnreachableError(f"Dask scheduler {self._address} {need}.") from error
        except BaseException:
            client.close()
            raise
        return client

    @property
    def slots(self) -> int:
        """Two units for every thread of the current workers."""
        if monotonic() > self._counted_at + _COUNT_INTERVAL:
            self._counted_at = monotonic()
            with suppress(OSError, TimeoutError):  # `results` detects a lost scheduler
                self._threads = max(1, sum(self._client.nthreads().values()))
        return _UNITS_PER_THREAD * self._threads

    def submit(self, unit: Unit) -> None:
        """Queue a unit; the next call of `results` submits the queue."""
        self._waiting.append(unit)

    def _dispatch(self) -> None:
        if self._is_alone or self._client.status != "running":
            return
        if self._suspects:
            if not self._running:
                self._is_alone = True
                self._submit([self._suspects.popleft()])
        elif self._waiting:
            self._submit(list(self._waiting))
            self._waiting.clear()

    def _submit(self, units: Sequence[Unit]) -> None:
        """Submit units in one message, since a message costs the scheduler as much as a unit."""
        name, n = self._setup.name, self._n_submitted
        self._n_submitted += len(units)
        keys = [f"{name}-{number}" for number in range(n, self._n_submitted)]
        futures = self._client.map(partial(_call, name), units, key=keys, pure=False)
        for future, unit in zip(futures, units, strict=True):
            self._running[future] = unit
            future.add_done_callback(self._ended.put)

    def results(self, timeout: float) -> list[Outcome[Unit, Result]]:
        """The units that ended; empty if none does within ``timeout`` s."""
        if self._client.status not in ("running", "connecting"):
            self._reconnect([])
        self._dispatch()
        try:
            ended = [self._ended.get(timeout=timeout)]
        except queue.Empty:
            return []
        while not self._ended.empty():
            ended.append(self._ended.get())
        records = self._records([future for future in ended if future in self._running])
        outcomes, orphans = [], []
        for future in ended:
            unit = self._running.pop(future, None)
            if unit is None:
                continue  # of a lost scheduler
            was_alone, self._is_alone = self._is_alone, False
            if future.status in _GONE:
                orphans.append(unit)
            elif future in records:
                outcomes.append(Outcome(unit, records[future]))
            elif (outcome := self._outcome(unit, future, was_alone)) is not None:
                outcomes.append(outcome)
        if orphans and self._is_lost():
            self._reconnect(orphans)
        else:  # a worker died before it could send their records
            self.redone += len(orphans)
            self._waiting.extendleft(reversed(orphans))
        return outcomes

    def _records(self, futures: list[Future[Any]]) -> dict[Future[Any], Result]:
        """The records of units that succeeded, by one request; empty if it fails."""
        finished = [future for future in futures if future.status == "finished"]
        gather = partial(self._client.gather, finished, asynchronous=True)
        try:
            records = self._client.sync(gather, callback_timeout=_RECORD_TIMEOUT)
        except (TimeoutError, CancelledError, OSError):
            return {}  # `_outcome` then asks for each
        return dict(zip(finished, records, strict=True))

    def _outcome(
        self, unit: Unit, future: Future[Any], was_alone: bool
    ) -> Outcome[Unit, Result] | None:
        """The outcome of a unit; None if it is run again."""
        if future.status == "finished":
            try:
                return Outcome(unit, future.result(timeout=_RECORD_TIMEOUT))
            except (TimeoutError, CancelledError, OSError):
                # The worker died before it could send the record. Dask would repeat the unit
                # under its old key, and now and then waits forever.
                self.redone += 1
                self._waiting.appendleft(unit)
                return None
        error = future.exception()
        if not isinstance(error, KilledWorker):
            return Outcome(unit, error=error)
        if was_alone:
            reason = (
                "its workers were killed, the last time with no other unit running; most likely "
                "for lack of memory"
            )
            return Outcome(unit, error=WorkerKilledError(reason))
        self.redone += 1
        self._suspects.append(unit)
        return None

    def _reconnect(self, orphans: Iterable[Unit]) -> None:
        """Connect to the next scheduler and submit the units that the lost one had."""
        orphans = [*orphans, *self._running.values()]
        self._running.clear()
        self._is_alone = False
        log.warning(
            "connection to the Dask scheduler %s lost; %d units will be run again when it is back",
            self._address, len(orphans),
        )  # fmt: skip
        self._client.close(timeout=1)
        self._client = self._connect()
        self._scheduler = self._client.scheduler_info()["id"]
        self._counted_at = 0.0
        self.redone += len(orphans)
        self._waiting.extendleft(reversed(orphans))

    def cancel(self) -> None:
        """Drop the queue; a worker may complete its unit, which does no harm."""
        self._waiting.clear()
        self._suspects.clear()
        running, self._running = list(self._running), {}
        if self._client.status == "running":
            self._client.cancel(running)

    def close(self) -> None:
        """Disconnect from the cluster; stop it if it is ours."""
        self._client.close(timeout=5)
        if self._local is not None:
            self._local.close(timeout=10)
        self._settings.close()
        remove(self._setup.folder / _MARKER)


class _WorkerSetup(WorkerPlugin):
    """Plugin that checks a worker and gives it the work; also for workers that join later."""

    def __init__(self, work: Callable[[Any], Any], folder: Path, token: str) -> None:
        self.work, self.folder = work, folder
        self.name = f"xcor-{token}"
        self.version = __version__

    def setup(self, worker: Any) -> None:
        """Reject a worker that would give other results or write them elsewhere."""
        if self.version != __version__:
            versions = f"it has xcor-daemon {__version__}, the job {self.version}"
            need = f"{versions}; install the same version"
            raise ConfigError(f"Dask worker {worker.address}: {need}.")
        set_up_worker_process()
        if max_threads() > 1:
            need = "its libraries may use more than one thread; set OMP_NUM_THREADS=1, "
            need += "MKL_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1, or start it with a nanny"
            raise ConfigError(f"Dask worker {worker.address}: {need}.")
        try:
            is_same = (self.folder / _MARKER).read_text() == self.name
        except OSError:
            is_same = False
        if not is_same:
            need = f"it does not mount the job folder; mount it as {self.folder}"
            raise ConfigError(f"Dask worker {worker.address}: {need}.")


def _call(name: str, unit: Any) -> Any:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, _WorkerSetup)
    return plugin.work(unit)
