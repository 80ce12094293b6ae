"""The documented commands of arrays of jobs, as SLURM and AWS Batch run them: all at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from synthetic import all_datasets, network_job

from xcor_daemon.pipeline.run import correlate_job

pytestmark = pytest.mark.real

DOC = (ROOT / "docs/scale.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)
# What SLURM makes of a script and of --wrap: tasks side by side, then what depends on them.
SBATCH = """#!/bin/bash
set -e
for last; do :; done
case "$*" in
*--wrap*)
    [[ "$*" == *--dependency=afterok:7\\ * ]]
    exec bash -c "$last" ;;
*)
    range=$(grep -oP '^#SBATCH --array=\\K.*' "$last")
    for task in $(seq ${range/-/ }); do
        SLURM_ARRAY_TASK_ID=$task bash "$last" >&2 &
        tasks+=($!)
    done
    for task in "${tasks[@]}"; do wait $task; done
    echo 7 ;;
esac
"""


def block(kind, word):
    (found,) = [body for name, body in BLOCKS if name == kind and word in body]
    return found


@pytest.fixture(scope="module")
def unsharded(tmp_path_factory):
    job = network_job(tmp_path_factory.mktemp("unsharded"), stations=4, days=2)
    correlate_job(job.folder, job.source, 1, images=False)
    return job, all_datasets(job.folder)


@pytest.fixture
def here(tmp_path, unsharded):
    """A copy of the job, and the words of the documentation with its places and two days."""
    job = unsharded[0].copy(tmp_path / "my-job")

    def read(text):
        text = text.replace("/shared/my-job", str(job.folder)).replace("/100", "/2")
        text = text.replace("0-99", "0-1").replace("--processes 8", "--processes 1")
        return re.sub(r"(archive:/shared/sds|s3:SCEDC)", job.source, text)

    return job.folder, read


@pytest.fixture
def environ(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sbatch").write_text(SBATCH)
    (tmp_path / "bin/sbatch").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path}


def test_the_documented_slurm_array_gives_the_bytes_of_the_job(tmp_path, unsharded, here, environ):
    folder, read = here
    (tmp_path / "shard.sh").write_text(read(block("bash", "#SBATCH")))
    typed = re.findall(r"^\$ (.*)", read(block("console", "sbatch")), re.MULTILINE)

    subprocess.run(["bash", "-ec", "\n".join(typed)], cwd=tmp_path, env=environ, check=True)

    assert all_datasets(folder) == unsharded[1]


def test_the_documented_batch_array_gives_the_bytes_of_the_job(unsharded, here, environ):
    folder, read = here
    command = json.loads(read(block("json", "AWS_BATCH")))["command"]

    array = [
        subprocess.Popen(command, env={**environ, "AWS_BATCH_JOB_ARRAY_INDEX": str(index)})
        for index in range(2)
    ]
    assert [task.wait() for task in array] == [0, 0]
    join = [re.sub(r"--shard \S+", "--join", word) for word in command]
    subprocess.run(join, env=environ, check=True)

    assert all_datasets(folder) == unsharded[1]
