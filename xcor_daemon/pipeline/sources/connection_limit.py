"""Connections to one server at one time and new ones in a second, for a whole machine."""

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
    """Shared by all that name one folder, whatever process or job they are.

    Locks end with their process, however it ends. Without a folder one object counts itself. What
    cannot be counted is a `DiskError`: a data centre would shut out who asks too often.
    """

    folder: Path | None
    connections: int
    per_second: int
    _own: list[float] = field(default_factory=list)  # when the latest were begun

    @contextlib.contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold one connection."""
        if self.folder is None:
            self._own = self._in_turn(self._own)
            yield
            return
        make_folder(self.folder)
        with self._connection():
            starts = self.folder / "starts"
            with disk_errors(starts), starts.open("a+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                begun = self._in_turn([float(word) for word in file.read().split()])
                file.truncate(0)
                file.write(" ".join(map(repr, begun)))
            yield

    def _in_turn(self, begun: list[float]) -> list[float]:
        """Wait until one more may begin in this second; the latest beginnings."""
        if len(begun) >= self.per_second:
            # All processes of a machine have this clock; after a restart of it, nothing waits.
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
