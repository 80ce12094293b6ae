"""Settings of a process: no import changes them, and worker processes have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT, SUPPORT

NEED = ROOT / "scripts/need"
LIBRARIES = (
    "boto3, click, docker, h5py, h5netcdf, matplotlib.pyplot, numba, numpy, obspy, "
    "obspy.clients.fdsn, obspy.signal, pyproj, scipy.fft, scipy.linalg, scipy.signal, xarray, "
    "dask, distributed"
)
THREADS = {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}


def in_a_new_process(code: str, **environ: str) -> dict[str, object]:
    """The JSON that a program prints last; it can import the modules of tests/support."""
    environ = {**os.environ, "PYTHONPATH": str(SUPPORT), **environ}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("libraries", [LIBRARIES, "sys"], ids=["libraries first", "alone"])
def test_imports_do_not_change_settings_of_the_process(libraries):
    """A notebook keeps its number of threads, and no attribute of a library is changed."""
    code = f"""
import importlib, json, pkgutil, sys
import {libraries}
import threadpoolctl
from process_state import differences, process_state
threadpoolctl.threadpool_limits(3)
before = process_state()
import xcor_daemon
names = [one.name for one in pkgutil.walk_packages(xcor_daemon.__path__, "xcor_daemon.")]
for name in names:
    importlib.import_module(name)
found = differences(before, process_state())
if {libraries!r} == "sys":  # libraries that came with the imports have settings of their own
    found = {{name: found[name] for name in found if name in ("environment", "malloc", "locale",
             "signals", "garbage collector", "limits", "umask", "log handlers", "start method")}}
print(json.dumps({{"modules": len(names), "found": found}}, default=str))
"""
    said = in_a_new_process(code)

    assert said["modules"] > 100
    assert said["found"] == {}


def test_a_snapshot_contains_the_settings_of_a_worker_process():
    """Without it the test above could not fail."""
    code = """
import json, numpy
import threadpoolctl
from process_state import differences, process_state
from xcor_daemon.pipeline.worker_process import freeze_imports, set_up_worker_process
threadpoolctl.threadpool_limits(3)
freeze_imports()  # not in a process that is not set up
before = process_state()
set_up_worker_process()
freeze_imports()
print(json.dumps(sorted(differences(before, process_state()))))
"""
    found = in_a_new_process(code, OMP_NUM_THREADS="", OPENBLAS_NUM_THREADS="", MKL_NUM_THREADS="")

    assert found == ["environment", "garbage collector", "malloc", "threads of libraries"]


STATE = (
    "{'threads': max(n for _, n in process_state.threads_of_libraries()),"
    " 'mapped': process_state.maps_large_arrays(),"
    " 'variables': [os.environ[n] for n in sorted(os.environ) if n.endswith('_NUM_THREADS')]}"
)
PINNED = {"threads": 1, "mapped": False, "variables": ["1", "1", "1"]}


def test_a_child_of_a_pool_has_one_thread_and_its_parent_keeps_its_own():
    code = f"""
import json, os, numpy
import process_state
from xcor_daemon.pipeline.executors import ProcessPool
pool = ProcessPool(lambda unit: {STATE}, 1)
pool.submit("unit")
outcome = pool.results(60)[0]
pool.close()
assert outcome.error is None, outcome.error
print(json.dumps([outcome.result, {STATE}]))
"""
    child, parent = in_a_new_process(code, **THREADS)

    assert child == PINNED
    assert parent["mapped"]
    assert parent["variables"] == ["3", "3", "3"]


@pytest.mark.parametrize("words", [["correlate"], ["stack", "--corr", "."]], ids=lambda w: w[0])
def test_the_commands_of_a_worker_set_their_process_to_one_thread(tmp_path, words):
    """They end with the error of an invalid job folder; their settings remain."""
    code = f"""
import json, os
from xcor_daemon.cli import main
words = {words!r} + [{str(tmp_path)!r}]
try:
    main(words, standalone_mode=False)
except BaseException as error:
    assert getattr(error, "exit_code", getattr(error, "code", 0)), error
import numpy, process_state
print(json.dumps({STATE}))
"""
    assert in_a_new_process(code, **THREADS) == PINNED


def test_a_job_in_a_users_process_has_one_thread_and_restores_the_settings(tmp_path):
    """`correlate_job` with one process computes in the calling process."""
    code = f"""
import json, sys
from pathlib import Path
import threadpoolctl
import numpy, scipy.linalg
from process_state import differences, process_state, threads_of_libraries
from synthetic import network_job
from xcor_daemon.pipeline.correlation import correlate
from xcor_daemon.pipeline.run import correlate_job
from xcor_daemon.pipeline import plots
threadpoolctl.threadpool_limits(3)
job = network_job(Path({str(tmp_path)!r}), stations=2, days=1)
seen = []
load = correlate._Batch.load
def look(*arguments):
    seen.append(max(n for _, n in threads_of_libraries()))
    return load(*arguments)
correlate._Batch.load = look
before = process_state()
correlate_job(job.folder, job.source, 1)
print(json.dumps({{"within": sorted(set(seen)), "after": differences(before, process_state())}},
      default=str))
"""
    said = in_a_new_process(code)

    assert said == {"within": [1], "after": {}}


def test_a_dask_worker_with_openmp_threads_is_rejected(tmp_path):
    """A library loaded with three threads uses them in every new thread."""
    subprocess.run([NEED, "libgomp.so.1:libgomp1"], check=True)
    code = f"""
import json
from pathlib import Path
from types import SimpleNamespace
import numba.np.ufunc.omppool  # brings OpenMP
from xcor_daemon.errors import ConfigError
from xcor_daemon.pipeline.scheduling.dask_cluster import _WorkerSetup
try:
    _WorkerSetup(None, Path({str(tmp_path)!r}), "token").setup(SimpleNamespace(address="tcp://worker"))
except ConfigError as error:
    print(json.dumps(str(error)))
"""
    reason = in_a_new_process(code, **THREADS)
    assert "tcp://worker: its libraries may use more than one thread; set OMP_NUM_TH" in reason

    reason = in_a_new_process(code, **dict.fromkeys(THREADS, "1"))
    assert f"does not mount the job folder; mount it as {tmp_path}" in reason  # the next check


def test_an_import_that_fails_leaves_the_garbage_collector_on():
    code = """
import gc, json
from xcor_daemon.cli import _imports_without_gc
frozen = gc.get_freeze_count()  # not 0 at the start on Python 3.12
try:
    with _imports_without_gc():
        was = gc.isenabled()
        raise ImportError("h5py")
except ImportError:
    pass
print(json.dumps([was, gc.isenabled(), gc.get_freeze_count() - frozen]))
"""
    assert in_a_new_process(code) == [False, True, 0]
