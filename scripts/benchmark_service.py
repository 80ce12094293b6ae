"""Time the demo's job from its request in S3 to its manifest, on the demo's own servers."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from xcor_daemon.demo.demo import fetch_json, running, submit_sample
from xcor_daemon.storage.jobs import Job

_POLL = 0.02  # s
_DEADLINE = 300.0  # s


def from_seen_to_published(rounds: int = 5) -> dict[str, float]:
    """Median seconds of the demo's job of 276 pairs, after a first one that warms everything up.

    Returns
    -------
    dict
        ``all``, from the request that is complete in S3 to the manifest that is there; and its
        parts: ``taken`` until the worker is started, ``worker`` until the worker has written its
        last file, ``ended`` until its end is known here, ``published`` until the manifest is there.
    """
    with tempfile.TemporaryDirectory(prefix="xcor-benchmark-") as name:
        folder = Path(name)
        with running(folder) as system:
            taken = [_one(folder, system.page, system.results) for _ in range(rounds + 1)][1:]
    return {part: statistics.median(one[part] for one in taken) for part in taken[0]}


def _one(folder: Path, page: str, results: str) -> dict[str, float]:
    job_id = submit_sample(page)
    sent = time.time()
    while fetch_json(f"{results}/processed/{job_id}/manifest.json") is None:
        if time.time() > sent + _DEADLINE:
            raise TimeoutError(f"job {job_id} is not published after {_DEADLINE:g} s")
        time.sleep(_POLL)
    published = time.time()
    [path] = folder.glob(f"work/*/{job_id}")
    launched = Job.load(path).launched
    written, ended = ((path / name).stat().st_mtime for name in ("outputs.json", "worker.json"))
    return {
        "all": published - sent,
        "taken": launched - sent,
        "worker": written - launched,
        "ended": ended - written,
        "published": published - ended,
    }
