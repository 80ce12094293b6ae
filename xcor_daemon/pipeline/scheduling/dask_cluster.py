"""Run units on the workers of a Dask scheduler: many machines that see one job folder.

Dask is used for futures alone: no graph, a few units submitted at a time, and no data on the
wire but a unit there and its record back. Units are idempotent and their files whole or absent,
so it does no harm where Dask does one twice.
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
from ..worker_process import most_threads, set_up_worker_process

log = logging.getLogger(__name__)

_AHEAD = 2  # units submitted for every thread of the workers, so that none waits for the next
_COUNTED_EVERY = 5.0  # s between two looks at how many workers there are
_ANSWER = 20.0  # s that a worker may take to hand over the record of a unit
_MARK = ".cluster"
_GONE = ("cancelled", "lost")


# Of a cluster that we start: a unit whose workers die is soon found, and a worker that takes long
# to come back is waited for (after 15 s LocalCluster would give it up, and end without any).
_OURS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.deploy.lost-worker-timeout": "10000s",
}


class Cluster(Generic[Unit, Result]):
    """Does units on a Dask cluster; ours for the time being, or one that is there.

    A unit whose worker dies is done again by Dask, ``distributed.scheduler.allowed-failures``
    times. Whether it or a neighbour was to blame is not known, so it is then done alone; where
    its workers die again it is given up. Where the scheduler is lost, units under way are
    submitted again as soon as one is back at the address.

    Parameters
    ----------
    work : callable
        Of a unit; it is pickled, once for a worker.
    folder : Path
        That all workers must see under this name.
    address : str
        Of a scheduler; empty starts a cluster of processes on this machine.
    processes : int
        Of a cluster on this machine.
    patience : float
        s to wait for a scheduler and for a first worker.

    Raises
    ------
    UnreachableError
        If there is no scheduler, or no worker.
    ConfigError
        If the workers cannot do this: another version, threads, or folder.
    """

    def __init__(
        self,
        work: Callable[[Unit], Result],
        folder: Path,
        address: str = "",
        processes: int = 1,
        patience: float = 300.0,
    ) -> None:
        self._room = _Room(work, folder, secrets.token_hex(4))
        write_text(folder / _MARK, self._room.name)  # before processes start, or they would stay
        self._address, self._patience = address, patience
        self._local: LocalCluster | None = None
        self._settings = ExitStack()  # of Dask in this process, for as long as our cluster is there
        if not address:
            # Nothing of it is reached from elsewhere; each worker has its share of the memory.
            # Also looked at later, while the cluster is there.
            self._settings.enter_context(dask.config.set(_OURS))
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
        self._flying: dict[Future[Any], Unit] = {}
        self._is_alone = False
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._threads, self._counted = 1, 0.0
        self._n_submitted = 0
        self.redone = 0  # units submitted again; those that Dask itself repeats are not known
        self._client = self._connect()
        self._scheduler = self._client.scheduler_info()["id"]

    def _is_lost(self) -> bool:
        """Whether the scheduler that knew our units is no more; another may be at its address."""
        try:
            is_same = self._client.scheduler_info()["id"] == self._scheduler
        except (OSError, TimeoutError, KeyError, ValueError):
            return True
        return self._client.status != "running" or not is_same

    def _connect(self) -> Client:
        end = monotonic() + self._patience
        is_tls = self._address.startswith("tls://")
        security = Security(require_encryption=True) if is_tls else None
        while True:
            try:
                client = Client(self._address, security=security, timeout=10, set_as_default=False)
                break
            except (OSError, TimeoutError) as error:
                if monotonic() > end:
                    need = "does not answer; start it again and run the job again: it goes on"
                    raise UnreachableError(f"Dask scheduler {self._address} {need}.") from error
                sleep(0.5)
        try:
            client.wait_for_workers(1, timeout=max(1.0, end - monotonic()))
            client.register_plugin(self._room)
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
        """Two units for every thread of the workers that there are now."""
        if monotonic() > self._counted + _COUNTED_EVERY:
            self._counted = monotonic()
            with suppress(OSError, TimeoutError):  # `results` sees that the scheduler is lost
                self._threads = max(1, sum(self._client.nthreads().values()))
        return _AHEAD * self._threads

    def submit(self, unit: Unit) -> None:
        """Take a unit; the next question for `results` sends it off, with all that wait."""
        self._waiting.append(unit)

    def _feed(self) -> None:
        if self._is_alone or self._client.status != "running":
            return
        if self._suspects:
            if not self._flying:
                self._is_alone = True
                self._fly([self._suspects.popleft()])
        elif self._waiting:
            self._fly(list(self._waiting))
            self._waiting.clear()

    def _fly(self, units: Sequence[Unit]) -> None:
        """Submit units in one message: the scheduler has as much work with it as with the units."""
        name, n = self._room.name, self._n_submitted
        self._n_submitted += len(units)
        keys = [f"{name}-{number}" for number in range(n, self._n_submitted)]
        futures = self._client.map(partial(_call, name), units, key=keys, pure=False)
        for future, unit in zip(futures, units, strict=True):
            self._flying[future] = unit
            future.add_done_callback(self._ended.put)

    def results(self, seconds: float) -> list[Outcome[Unit, Result]]:
        """What came to its end; none where nothing did for some seconds."""
        if self._client.status not in ("running", "connecting"):
            self._reconnect([])
        self._feed()
        try:
            ended = [self._ended.get(timeout=seconds)]
        except queue.Empty:
            return []
        while not self._ended.empty():
            ended.append(self._ended.get())
        records = self._records([future for future in ended if future in self._flying])
        outcomes, orphans = [], []
        for future in ended:
            unit = self._flying.pop(future, None)
            if unit is None:
                continue  # of a scheduler that was lost
            was_alone, self._is_alone = self._is_alone, False
            if future.status in _GONE:
                orphans.append(unit)
            elif future in records:
                outcomes.append(Outcome(unit, records[future]))
            elif (outcome := self._outcome(unit, future, was_alone)) is not None:
                outcomes.append(outcome)
        if orphans and self._is_lost():
            self._reconnect(orphans)
        else:  # a worker died with their answers
            self.redone += len(orphans)
            self._waiting.extendleft(reversed(orphans))
        return outcomes

    def _records(self, futures: list[Future[Any]]) -> dict[Future[Any], Result]:
        """The records of units that ended well, by one question for all; none where it fails."""
        finished = [future for future in futures if future.status == "finished"]
        ask = partial(self._client.gather, finished, asynchronous=True)
        try:
            records = self._client.sync(ask, callback_timeout=_ANSWER)
        except (TimeoutError, CancelledError, OSError):
            return {}  # each is then asked for by itself
        return dict(zip(finished, records, strict=True))

    def _outcome(
        self, unit: Unit, future: Future[Any], was_alone: bool
    ) -> Outcome[Unit, Result] | None:
        """What became of a unit; None where it is to be done again."""
        if future.status == "finished":
            try:
                return Outcome(unit, future.result(timeout=_ANSWER))
            except (TimeoutError, CancelledError, OSError):
                # The worker died with the answer: Dask would do the unit again under its old
                # name, and now and then it waits for ever.
                self.redone += 1
                self._waiting.appendleft(unit)
                return None
        error = future.exception()
        if not isinstance(error, KilledWorker):
            return Outcome(unit, error=error)
        if was_alone:
            reason = (
                "the workers that did it were killed, the last time with nothing beside it; most "
                "likely for lack of memory"
            )
            return Outcome(unit, error=WorkerKilledError(reason))
        self.redone += 1
        self._suspects.append(unit)
        return None

    def _reconnect(self, orphans: Iterable[Unit]) -> None:
        """The scheduler is gone: submit what was under way to the one that comes after it."""
        orphans = [*orphans, *self._flying.values()]
        self._flying.clear()
        self._is_alone = False
        log.warning(
            "the Dask scheduler %s is lost; %d units will be done again when it is back",
            self._address, len(orphans),
        )  # fmt: skip
        self._client.close(timeout=1)
        self._client = self._connect()
        self._scheduler = self._client.scheduler_info()["id"]
        self._counted = 0.0
        self.redone += len(orphans)
        self._waiting.extendleft(reversed(orphans))

    def cancel(self) -> None:
        """Forget the units that wait; what a worker has begun it may end, which does no harm."""
        self._waiting.clear()
        self._suspects.clear()
        flying, self._flying = list(self._flying), {}
        if self._client.status == "running":
            self._client.cancel(flying)

    def close(self) -> None:
        """Leave the cluster; end it where it is ours."""
        self._client.close(timeout=5)
        if self._local is not None:
            self._local.close(timeout=10)
        self._settings.close()
        remove(self._room.folder / _MARK)


class _Room(WorkerPlugin):
    """What every worker must have, those that join later as well: the work."""

    def __init__(self, work: Callable[[Any], Any], folder: Path, token: str) -> None:
        self.work, self.folder = work, folder
        self.name = f"xcor-{token}"
        self.version = __version__

    def setup(self, worker: Any) -> None:
        """Refuse a worker that would give other results, or give them elsewhere."""
        if self.version != __version__:
            need = f"it has xcor-daemon {__version__}, the job {self.version}; install the same"
            raise ConfigError(f"Dask worker {worker.address}: {need}.")
        set_up_worker_process()
        if most_threads() > 1:
            need = "its libraries may use threads of their own; set OMP_NUM_THREADS=1, "
            need += "MKL_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1, or start it with a nanny"
            raise ConfigError(f"Dask worker {worker.address}: {need}.")
        try:
            is_same = (self.folder / _MARK).read_text() == self.name
        except OSError:
            is_same = False
        if not is_same:
            need = f"it does not see the job folder {self.folder}; mount it there"
            raise ConfigError(f"Dask worker {worker.address}: {need}.")


def _call(name: str, unit: Any) -> Any:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, _Room)
    return plugin.work(unit)
