"""Our listing against the real `aws s3 sync`, by which the original copied incoming/.

Both must give the same tree, but for these differences, which are deliberate:

1. an object that was replaced by one of the same size is fetched (the command leaves the old
   copy, since it compares sizes and looks for newer local files);
2. an object that was deleted is gone (the command keeps its copy);
3. keys that are no file of a job are counted and never written (the command writes them).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from xcor_daemon.storage.bucket import Bucket

pytestmark = pytest.mark.real

NAMES = ("stations.csv", "params.csv", "xcor_params.csv", "stacking_params.csv")
ODD = ("-rf/params.csv", "$(id)/params.csv", "12 3/params.csv", "77/more/params.csv")
ODD += ("77/params.csv.bak", "77/PARAMS.CSV", "readme.txt", ".hidden/stations.csv", "ü/params.csv")


def put(store: Bucket, key: str, content: bytes) -> None:
    store.client.put_object(Bucket=store.name, Key=f"incoming/{key}", Body=content)


def sync(bucket, folder: Path) -> dict[str, bytes]:
    """Run the command; returns the tree."""
    aws = Path(sys.executable).with_name("aws")
    server = bucket.server
    command = [str(aws), "s3", "sync", f"s3://{bucket.name}/incoming", str(folder)]
    environ = {**os.environ, **server.environ, "AWS_PAGER": "", "HOME": str(folder.parent)}
    done = subprocess.run(
        [*command, "--endpoint-url", server.endpoint, "--no-progress"],
        env={**environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def ours(store: Bucket) -> dict[str, bytes]:
    """The files that the daemon would copy."""
    return {
        f"{job.id}/{name}": content
        for job in store.waiting().jobs
        for name, content in store.fetch(job).items()
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_files_are_copied_as_by_the_original_command(bucket, tmp_path, seed):
    chance = random.Random(seed)
    store = Bucket(bucket.server.client(), bucket.name, settle=0)
    sent = {}
    for job_id in {str(chance.randrange(10**16)) for _ in range(12)}:
        for name in chance.sample(NAMES, chance.randint(1, 4)):
            sent[f"{job_id}/{name}"] = chance.randbytes(chance.randint(1, 3000))
    odd = chance.sample(ODD, 5)
    for key, content in {**sent, **dict.fromkeys(odd, b"odd")}.items():
        put(store, key, content)

    theirs = sync(bucket, tmp_path / "copy")

    assert {key: theirs[key] for key in theirs.keys() - set(odd)} == ours(store) == sent
    assert theirs.keys() >= set(odd)
    assert len(store.waiting().ignored_keys) == len(odd)

    same_size, other_size, deleted = chance.sample(sorted(sent), 3)
    put(store, same_size, bytes(len(sent[same_size])))
    put(store, other_size, sent[other_size] + b"more")
    store.client.delete_object(Bucket=store.name, Key=f"incoming/{deleted}")
    now = sync(bucket, tmp_path / "copy")
    mine = ours(store)

    changed = {key for key in now.keys() | mine.keys() if now.get(key) != mine.get(key)}
    assert changed - set(odd) == {same_size, deleted}
    assert mine[same_size] == bytes(len(sent[same_size]))
    assert deleted not in mine
