"""The same bytes on every processor of a family, and between families the same numbers to 1e-6.

Children compute the same jobs with the instructions of other processors than this one.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import llvmlite.binding
import numpy as np
import pytest
from paths import SUPPORT
from synthetic import Job, all_datasets, network_job

pytestmark = pytest.mark.timeout(1200)  # kernels are compiled for every processor
HOST = dict(llvmlite.binding.get_host_cpu_features())
SIMD = np.show_config("dicts")["SIMD Extensions"]
# Parts of numpy's names of what goes beyond a family.
BEYOND_AVX2 = ("AVX512", "V4")
BEYOND_SSE = (*BEYOND_AVX2, "AVX", "FMA", "F16C", "V3", "XOP")
JOBS = {
    "job-linear": "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response\n"
    "1,0.05,0.2,1800,3600,200,none\n",
    "job-phase": "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response,method,substack\n"
    "1,0.05,0.2,3600,3600,60,none,phase,86400\n",
    "job-deconvolution": "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response,method,whiten\n"
    "1,0.05,0.2,7200,3600,1200,none,deconvolution,false\n",
}
STACKS = {
    "stack-robust": "type,stack_all,job\nrobust,false,1\n",
    "stack-stretching": "type,stack_all,job,dvv\nlinear,false,1,stretching\n",
    "stack-cross-spectrum": "type,stack_all,job,dvv\nphase-weighted,false,1,cross-spectrum\n",
}


def features(without: tuple[str, ...] = ()) -> str:
    """Those of this processor for the compiler of kernels."""
    some = {name: on and not any(part in name for part in without) for name, on in HOST.items()}
    return ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(some.items()))


def disabled(beyond: tuple[str, ...]) -> str:
    """What numpy is to leave unused."""
    return " ".join(name for name in SIMD.get("found", ()) if any(p in name for p in beyond))


def child(processor: str, blas: str, **environ: str) -> dict[str, str]:
    """Environment of a child that computes as this processor does."""
    return {"NUMBA_CPU_NAME": processor, "OPENBLAS_CORETYPE": blas, **environ}


def families() -> dict[str, list[dict[str, str]]]:
    """Family -> environments of processors of it, of those that this one can do the work of."""
    if platform.machine() == "aarch64":
        own = {"NUMBA_CPU_FEATURES": features()}
        return {
            "arm64": [
                child("neoverse-n1", "NEOVERSEN1", **own),
                child("cortex-a72", "CORTEXA72", **own),
            ]
        }
    sse = {
        "NUMBA_CPU_FEATURES": "+sse2",
        "DUCC0_MAX_PSABI_LEVEL": "1",
        "NPY_DISABLE_CPU_FEATURES": disabled(BEYOND_SSE),
    }
    avx2 = {
        "NUMBA_CPU_FEATURES": features(without=("avx512", "avx10", "evex512")),
        "DUCC0_MAX_PSABI_LEVEL": "3",
        "NPY_DISABLE_CPU_FEATURES": disabled(BEYOND_AVX2),
    }
    found = {"SSE": [child("x86-64", "Nehalem", **sse)]}
    if HOST["avx2"]:
        found["AVX2"] = [child("haswell", "Haswell", **avx2), child("znver3", "Zen", **avx2)]
    if HOST["avx512f"]:
        avx512 = {"NUMBA_CPU_FEATURES": features()}
        found["AVX-512"] = [
            child("skylake-avx512", "SkylakeX", **avx512),
            child("znver4", "Cooperlake", **avx512),
        ]
    return found


def compute(folder: Path, job: Job, environ: dict[str, str]) -> dict[str, object]:
    """Do the jobs in a child; gives which instructions it used."""
    for name, params in JOBS.items():
        shutil.copytree(job.folder, folder / name)
        (folder / name / "params.csv").write_text(params)
    for name, params in STACKS.items():
        (folder / name).mkdir()
        (folder / name / "stacking_params.csv").write_text(params)
    ran = subprocess.run(
        [sys.executable, SUPPORT / "processor_work.py", folder, job.source],
        env={**os.environ, **environ},
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def computed(tmp_path_factory) -> dict[str, list[tuple[Path, dict[str, object]]]]:
    """Family -> folder of jobs and what computed it, for each of its processors."""
    top = tmp_path_factory.mktemp("processors")
    job = network_job(top / "made", stations=3, days=2)
    # All share one cache of kernels, as machines with one home folder do; the first comes again
    # at the end, with what the cache then holds.
    cache = {"NUMBA_CACHE_DIR": str(top / "kernels")}
    asked = [(name, environ) for name, some in families().items() for environ in some]
    done: dict[str, list[tuple[Path, dict[str, object]]]] = {}
    for k, (family, environ) in enumerate([*asked, asked[0]]):
        folder = top / f"{family}-{k}"
        about = compute(folder, job, {**cache, **environ})
        done.setdefault(family, []).append((folder, about))
    return done


def test_children_compute_as_their_processors_do(computed):
    expected = {
        "SSE": (8, "x86-64"),
        "AVX2": (8, "x86-64-v3"),
        "AVX-512": (16, "x86-64-v4"),
        "arm64": (8, None),
    }
    for family, runs in computed.items():
        for _, about in runs:
            assert (about["lane"], about["ducc0"]) == expected[family]
            beyond = {"SSE": BEYOND_SSE, "AVX2": BEYOND_AVX2}.get(family, ())
            assert not [name for name in about["numpy"] if any(part in name for part in beyond)]


def test_files_have_the_same_bytes_on_every_processor_of_a_family(computed):
    for runs in computed.values():
        first = {name: all_datasets(runs[0][0] / name) for name in (*JOBS, *STACKS)}
        assert all(first.values())
        for folder, _ in runs[1:]:
            for name, files in first.items():
                assert all_datasets(folder / name) == files, (folder, name)


def largest_difference(one: Path, two: Path) -> float:
    """Of correlations and stacks in two folders, as a share of the maximum of their data set."""
    shares = []
    for path in [*one.rglob("CORR/*.h5"), *one.rglob("STACK/*.h5")]:
        with h5py.File(path) as first, h5py.File(two / path.relative_to(one)) as second:
            for name in {"corr", "stack", "mean"} & first.keys():
                a, b = first[name][:], second[name][:]
                np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
                shares.append(np.nanmax(np.abs(a - b)) / np.nanmax(np.abs(a)))
    assert len(shares) >= 12
    return max(shares)


def test_families_agree_to_a_millionth_of_the_maximum(computed):
    folders = {family: runs[0][0] for family, runs in computed.items()}
    for one, two in itertools.combinations(folders, 2):
        # Without a fused multiply-add every product is rounded once more.
        most = 5e-6 if "SSE" in (one, two) else 1e-6
        assert largest_difference(folders[one], folders[two]) <= most, (one, two)


COMPILED_FOR_AVX512 = """
import re
import numba, numpy as np
from xcor_daemon.pipeline.correlation import kernel
assert kernel.LANE == 16
spectra = numba.float32[:, :, :, :, ::1]
size = numba.int64
kernel.multiply_tile.compile(
    (spectra, spectra, size, size, size, size, size, numba.int64[::1], numba.complex64[:, ::1])
)
(code,) = kernel.multiply_tile.inspect_asm().values()
sums = set(re.findall(r"vfmadd\\w+\\s+.*%(zmm[0-9]+)$", code, re.M))
print(len(sums))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a compiler for x86-64 only")
def test_products_are_compiled_for_avx512_on_every_processor(tmp_path):
    """Compiled, not run: where there is no AVX-512 this is all that can be tried of it."""
    names = "avx avx2 fma avx512f avx512vl avx512bw avx512dq avx512cd"
    environ = {
        **os.environ,
        "NUMBA_CPU_NAME": "skylake-avx512",
        "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in names.split()),
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    ran = subprocess.run(
        [sys.executable, "-c", COMPILED_FOR_AVX512],
        env=environ,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) >= 12  # sums of three channels by two, real and imaginary
