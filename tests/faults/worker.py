"""A worker for the tests of faults: argv is a job folder and a folder for witnesses.

It holds one of as many slots as may run, and the job's own lock, and says so where it cannot.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from working import requested_content, work


def take(path: Path) -> bool:
    """Lock a file for as long as this process lives."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(folder: Path, witness: Path) -> None:
    print("up", flush=True)
    (witness / "environ").write_text("\n".join(f"{k}={v}" for k, v in os.environ.items()))
    if not take(folder / "alive.lock"):
        (witness / f"violation-{os.getpid()}").write_text(f"two workers in {folder}")
    slots = sorted(witness.glob("slot*"))
    if slots and not any(take(slot) for slot in slots):
        (witness / f"violation-{os.getpid()}").write_text("more workers than max_parallel")
    while (witness / "wait").exists():
        time.sleep(0.01)
    if (witness / "fail").exists():
        sys.exit(int((witness / "fail").read_text()))
    work(folder, requested_content(witness))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
