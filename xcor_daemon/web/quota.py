"""How many jobs a day the submit function takes, from one network and from all.

Every job that was sent leaves an empty object quota/YYYY-MM-DD/NETWORK/ID, which a lifecycle rule
of the bucket expires. Two requests at the same moment may both take the last place.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ..storage.bucket import PAGE, Bucket


@dataclass(frozen=True)
class Quota:
    """The places of a day (UTC).

    Parameters
    ----------
    of_one, of_all : int
        Jobs a day from one network, and from all together; less than a page of a listing.
    now : callable
        The time (s since 1970).
    """

    bucket: Bucket
    of_one: int
    of_all: int
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if not 0 < self.of_one <= self.of_all < PAGE:
            need = f"0 < of_one <= of_all < {PAGE}"
            raise ValueError(f"quota of {self.of_one} and {self.of_all} jobs a day; need {need}.")

    def is_left(self, source: str, job_id: str | None = None) -> bool:
        """Whether a network may send a job today, one that has its place already among them.

        Parameters
        ----------
        source : str
            The sender's IP address, as the gateway saw it.
        job_id : str, optional
            Of the job, where that is known before it is sent.
        """
        taken = self.bucket.names(self._day())
        if job_id is not None and any(name.endswith(f"/{job_id}") for name in taken):
            return True
        mine = sum(name.startswith(self._prefix(source)) for name in taken)
        return mine < self.of_one and len(taken) < self.of_all

    def take(self, source: str, job_id: str) -> None:
        """Count a job that was sent."""
        self.bucket.put_if(f"{self._prefix(source)}{job_id}", b"", None)

    def _day(self) -> str:
        return f"quota/{datetime.fromtimestamp(self.now(), UTC).date()}/"

    def _prefix(self, source: str) -> str:
        # No address is kept: its network's digest, with the day in it, lives for two days.
        digest = hashlib.sha256(f"{self._day()} {_network(source)}".encode()).hexdigest()
        return f"{self._day()}{digest[:16]}/"


def _network(source: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address, all of which one customer has."""
    address = ipaddress.ip_address(source)
    bits = 32 if address.version == 4 else 64
    return str(ipaddress.ip_network((address, bits), strict=False))
