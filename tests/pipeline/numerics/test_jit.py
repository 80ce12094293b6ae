"""Kernels are compiled once; later processes take them from the disk without the compiler."""

import json
import os
import subprocess
import sys

PROGRAM = """
import json, sys
import numpy as np
import kernels

answer = kernels.doubled(np.arange(3.0)).tolist()
hits = sum(kernels.doubled.stats.cache_hits.values())
print(json.dumps([answer, hits, "numba.np.arraymath" in sys.modules]))
"""
KERNELS = """
import numpy as np
from xcor_daemon.pipeline.numerics.jit import jit

@jit()
def doubled(values):
    out = np.empty_like(values)  # an array that the kernel itself makes
    for k in range(values.size):
        out[k] = 2 * values[k]
    return out
"""


def test_a_kernel_is_compiled_once_and_found_again_without_the_compiler(tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS)
    ours = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    environ = {**os.environ, **ours}

    def run():
        done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True,
                              text=True, env=environ)  # fmt: skip
        return json.loads(done.stdout)

    assert run() == [[0, 2, 4], 0, True]
    assert run() == [[0, 2, 4], 1, False]
