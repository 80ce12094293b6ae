"""POST /jobs: check a request, draw the id of its job and write incoming/.

A function behind an HTTP gateway and the demo's page server call `handle` and `handle_cancel`;
the command line calls `submit`. Whatever passes here passes in the worker: the validators are
the same. Nothing else lets the page write.

A request may name its launch, a number that its sender draws once and repeats where no answer
came. The id of the job follows from it, so that a launch that is sent again meets its own job.
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
_AWAY = "the job store is out of reach; try again in a minute."
_TRIES = 5  # ids to draw before it cannot be chance that all are taken


def draw_job_id() -> str:
    """A number that nobody can guess and JavaScript can hold."""
    return str(secrets.randbits(53))


def submit(
    bucket: Bucket, contents: dict[str, bytes], draw_id: Callable[[], str] = draw_job_id
) -> str:
    """Check the files of a job and write them; gives the job's id.

    Raises
    ------
    RequestError
        With every problem of every file; nothing is written.
    UnreachableError
        If S3 does not take them.
    """
    check_files(contents)
    # params.csv last: until it is there, the job is not complete.
    names = sorted(contents, key=lambda name: name in (PARAMS, PARAMS_ALIAS))
    for _ in range(_TRIES):
        job_id = draw_id()
        if all(bucket.put_input(job_id, name, contents[name]) for name in names):
            return job_id
    raise UnreachableError(f"no free job id in {_TRIES} tries; try again.")


def read_contents(folder: Path) -> dict[str, bytes]:
    """The files of a job that lie in a folder; what else lies there is left."""
    names = (STATIONS, PAIRS, PARAMS, PARAMS_ALIAS, STACKING)
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def handle(
    bucket: Bucket, body: bytes, draw_id: Callable[[], str] = draw_job_id
) -> tuple[int, dict[str, Any]]:
    """Answer one POST.

    Parameters
    ----------
    body : bytes
        JSON: {"stations": text, "params": text, maybe "pairs"} or {"stacking_params": text}, and
        maybe "launch": the same files with the same launch are one job, however often they come.

    Returns
    -------
    status, answer : int, dict
        201 with the id; 400, 413 or 503 with an error; 422 with all problems.
    """
    if len(body) > MAX_BODY:
        return 413, {"error": f"a request has at most {MAX_BODY} bytes."}
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
        log.error("a request could not be stored: %s", error)
        return 503, {"error": _AWAY}


def id_of_launch(body: bytes) -> str | None:
    """The id that a request's job has, sent or not; None where it names no launch."""
    try:
        contents, launch = _read(body)
    except ValueError:
        return None
    return _id_of(launch, contents) if launch else None


def cancel(bucket: Bucket, job_id: str) -> bool:
    """Leave the mark that a job is not wanted any more; the daemon stops it at its next pass.

    Who knows the id may do so: nobody can guess it. A job that has ended is left as it is.

    Returns
    -------
    bool
        False where there is no such job.

    Raises
    ------
    UnreachableError
        If S3 does not take it.
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
    """Answer one ``POST /jobs/ID/cancel``: 202, 404 where there is no such job, or 503."""
    try:
        if cancel(bucket, job_id):
            return 202, {"id": job_id}
        return 404, {"error": "there is no such job; look at its id."}
    except (UnreachableError, ConfigError) as error:
        log.error("job %s could not be cancelled: %s", job_id, error)
        return 503, {"error": _AWAY}


def _id_of(launch: str, contents: Mapping[str, bytes]) -> str:
    """As good as drawn: a launch is random. Other files with the same launch are another job."""
    digests = [f"{name} {hashlib.sha256(contents[name]).hexdigest()}" for name in sorted(contents)]
    digest = hashlib.sha256("\n".join([launch, *digests]).encode()).digest()
    return str(int.from_bytes(digest[:8]) >> 11)  # 53 bits


def _read(body: bytes) -> tuple[dict[str, bytes], str | None]:
    """The files of a body by name, and its launch; a ValueError says what is needed instead."""
    need = (
        'send JSON: {"stations": text, "params": text} or {"stacking_params": text}; with it may '
        'come "launch": 32 hexadecimal digits, drawn at random.'
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
        # A lone surrogate is no character; it cannot be written as UTF-8.
        return {_FILES[name]: text.encode() for name, text in fields.items()}, launch
    except (ValueError, RecursionError):
        raise ValueError(need) from None
