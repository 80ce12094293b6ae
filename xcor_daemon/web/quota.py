"""The number of jobs per day that the submit function accepts, from one network and from all.

Each submitted job leaves an empty object quota/YYYY-MM-DD/NETWORK/ID, which a lifecycle rule of the
bucket expires. Two simultaneous requests may both get the last place.
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
    """The jobs of a day (UTC).

    Parameters
    ----------
    of_one, of_all : int
        Jobs per day from one network, and from all; less than a page of a listing.
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
            raise ValueError(
                f"quota of {self.of_one} and {self.of_all} jobs per day; required: {need}."
            )

    def is_left(self, source: str, job_id: str | None = None) -> bool:
        """Whether a network may submit a job today, or has submitted this one already.

        Parameters
        ----------
        source : str
            The IP address of the sender, as reported by the gateway.
        job_id : str, optional
            Id of the job, where it is known in advance.
        """
        taken = self.bucket.names(self._day())
        if job_id is not None and any(name.endswith(f"/{job_id}") for name in taken):
            return True
        mine = sum(name.startswith(self._prefix(source)) for name in taken)
        return mine < self.of_one and len(taken) < self.of_all

    def count(self, source: str, job_id: str) -> None:
        """Count a submitted job."""
        self.bucket.put_if(f"{self._prefix(source)}{job_id}", b"", None)

    def _day(self) -> str:
        return f"quota/{datetime.fromtimestamp(self.now(), UTC).date()}/"

    def _prefix(self, source: str) -> str:
        # No address is stored, only a digest of network and day, which expires after two days.
        digest = hashlib.sha256(f"{self._day()} {_network(source)}".encode()).hexdigest()
        return f"{self._day()}{digest[:16]}/"


def _network(source: str) -> str:
    """An IPv4 address, or the /64 network of an IPv6 address, which belongs to one customer."""
    address = ipaddress.ip_address(source)
    bits = 32 if address.version == 4 else 64
    return str(ipaddress.ip_network((address, bits), strict=False))
