"""Limit of connections to a server, at a time and per second, for all processes of a machine."""

from __future__ import annotations

import contextlib
import fcntl
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...atomic_files import disk_errors, make_folder, open_log


@dataclass
class ConnectionLimit:
    """Limit of connections, shared by all processes and jobs with the same folder.

    Locks end with their process. Without a folder the limit holds for this object only. If the
    folder cannot be written `DiskError` is raised, since a data centre may block a user who
    exceeds its limit.
    """

    folder: Path | None
    connections: int  # at a time
    per_second: int  # new ones
    _own: list[float] = field(default_factory=list)  # starts of the latest (s, monotonic clock)

    @contextlib.contextmanager
    def acquire(self) -> Iterator[None]:
        """Wait for a connection and hold it while the block runs."""
        if self.folder is None:
            self._own = self._wait(self._own)
            yield
            return
        make_folder(self.folder)
        with self._connection():
            starts = self.folder / "starts"
            with disk_errors(starts), starts.open("a+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                begun = self._wait([float(word) for word in file.read().split()])
                file.truncate(0)
                file.write(" ".join(map(repr, begun)))
            yield

    def _wait(self, begun: list[float]) -> list[float]:
        """Wait until a new connection is allowed in this second; return the latest starts (s)."""
        if len(begun) >= self.per_second:
            # All processes of a machine share this clock, which restarts with the machine.
            time.sleep(min(max(0.0, begun[-self.per_second] + 1 - time.monotonic()), 1.0))
        return [*begun, time.monotonic()][-self.per_second :]

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        assert self.folder is not None
        while True:
            for number in random.sample(range(self.connections), self.connections):
                with open_log(self.folder / f"{number}.lock") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    yield
                    return
            time.sleep(random.uniform(0.02, 0.1))
