"""POST /jobs: check a request, draw a job id and write incoming/.

The function behind API Gateway and the demo's page server call `handle` and `handle_cancel`; the
command line calls `submit`. The worker uses the same validators, so an accepted job passes there.
The page has no other way to write.

A request may have a launch, a random number that its sender repeats where no response arrived. The
job id follows from it, so that a repeated request finds its own job.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, RequestError, UnreachableError
from ..request.cost import check_files
from ..request.csv_table import LIMITS
from ..request.job_files import JOB_ID, is_job_id
from ..request.pairs import PAIRS
from ..request.params import PARAMS
from ..request.parse import PARAMS_ALIAS
from ..request.stacking_params import STACKING
from ..request.stations import STATIONS
from ..storage.bucket import Bucket
from ..storage.jobs import TERMINAL, problems_json
from ..storage.listing import CANCEL

log = logging.getLogger(__name__)

MAX_BODY = LIMITS["stations"]["max_bytes"] * 3 // 2  # bytes; quotes and line ends grow in JSON
_FILES = {
    "stations": STATIONS,
    "pairs": PAIRS,
    "params": PARAMS,
    "stacking_params": STACKING,
}
CANCEL_PATH = re.compile(rf"/jobs/({JOB_ID})/cancel")  # of a URL
_LAUNCH = re.compile(r"[0-9a-f]{32}")
_UNREACHABLE = "the job store is unreachable; try again in a minute."
_TRIES = 5  # drawn ids, after which it cannot be chance that all are taken


def draw_job_id() -> str:
    """A random number that cannot be guessed and that JavaScript holds exactly."""
    return str(secrets.randbits(53))


def submit(
    bucket: Bucket, contents: dict[str, bytes], draw_id: Callable[[], str] = draw_job_id
) -> str:
    """Check the files of a job and write them; returns the job id.

    Raises
    ------
    RequestError
        With every problem of every file; nothing is written.
    UnreachableError
        If S3 does not store them.
    """
    check_files(contents)
    # params.csv last: without it, the job is incomplete.
    names = sorted(contents, key=lambda name: name in (PARAMS, PARAMS_ALIAS))
    for _ in range(_TRIES):
        job_id = draw_id()
        if all(bucket.put_input(job_id, name, contents[name]) for name in names):
            return job_id
    raise UnreachableError(f"no free job id in {_TRIES} attempts; try again.")


def read_contents(folder: Path) -> dict[str, bytes]:
    """The request files in a folder; other files are ignored."""
    names = (STATIONS, PAIRS, PARAMS, PARAMS_ALIAS, STACKING)
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def handle(
    bucket: Bucket, body: bytes, draw_id: Callable[[], str] = draw_job_id
) -> tuple[int, dict[str, Any]]:
    """Handle a POST.

    Parameters
    ----------
    body : bytes
        JSON: {"stations": text, "params": text, optionally "pairs"} or {"stacking_params": text},
        and optionally "launch": the same files with the same launch are one job.

    Returns
    -------
    status, answer : int, dict
        201 with the id; 400, 413 or 503 with an error; 422 with all problems.
    """
    if len(body) > MAX_BODY:
        return 413, {"error": f"a request must have at most {MAX_BODY} bytes."}
    try:
        contents, launch = _read(body)
    except ValueError as error:
        return 400, {"error": str(error)}
    try:
        if launch:
            draw_id = functools.partial(_id_of, launch, contents)
        return 201, {"id": submit(bucket, contents, draw_id)}
    except RequestError as error:
        return 422, {"problems": list(problems_json(error.problems))}
    except (UnreachableError, ConfigError) as error:
        log.error("cannot store a request: %s", error)
        return 503, {"error": _UNREACHABLE}


def id_of_launch(body: bytes) -> str | None:
    """The job id of a request, submitted or not; None without a launch."""
    try:
        contents, launch = _read(body)
    except ValueError:
        return None
    return _id_of(launch, contents) if launch else None


def cancel(bucket: Bucket, job_id: str) -> bool:
    """Write the cancel marker of a job; the daemon cancels it on its next pass.

    The id authorises its sender, since it cannot be guessed. An ended job is not changed.

    Returns
    -------
    bool
        False where the job does not exist.

    Raises
    ------
    UnreachableError
        If S3 does not store the marker.
    """
    if not is_job_id(job_id):
        return False
    status = bucket.read_status(job_id)
    if status is None and not bucket.has_inputs(job_id):
        return False
    if status is None or status.get("state") not in TERMINAL:
        bucket.put_input(job_id, CANCEL, b"")
    return True


def handle_cancel(bucket: Bucket, job_id: str) -> tuple[int, dict[str, Any]]:
    """Handle ``POST /jobs/ID/cancel``: 202, 404 for an unknown job, or 503."""
    try:
        if cancel(bucket, job_id):
            return 202, {"id": job_id}
        return 404, {"error": "unknown job; check its id."}
    except (UnreachableError, ConfigError) as error:
        log.error("job %s: cannot be cancelled: %s", job_id, error)
        return 503, {"error": _UNREACHABLE}


def _id_of(launch: str, contents: Mapping[str, bytes]) -> str:
    """The job id of a launch, which is random; other files have another id."""
    digests = [f"{name} {hashlib.sha256(contents[name]).hexdigest()}" for name in sorted(contents)]
    digest = hashlib.sha256("\n".join([launch, *digests]).encode()).digest()
    return str(int.from_bytes(digest[:8]) >> 11)  # 53 bits


def _read(body: bytes) -> tuple[dict[str, bytes], str | None]:
    """The files of a body by name, and its launch; a ValueError with the expected format."""
    need = (
        'send JSON: {"stations": text, "params": text} or {"stacking_params": text}, and '
        'optionally "launch": 32 hexadecimal digits, drawn at random.'
    )
    try:
        fields = json.loads(body)
        launch = fields.pop("launch", None) if isinstance(fields, dict) else None
        if not isinstance(fields, dict) or not fields or not set(fields) <= set(_FILES):
            raise ValueError(need)
        if not all(isinstance(text, str) for text in fields.values()):
            raise ValueError(need)
        if launch is not None and not (isinstance(launch, str) and _LAUNCH.fullmatch(launch)):
            raise ValueError(need)
        # A lone surrogate cannot be encoded as UTF-8.
        return {_FILES[name]: text.encode() for name, text in fields.items()}, launch
    except (ValueError, RecursionError):
        raise ValueError(need) from None
