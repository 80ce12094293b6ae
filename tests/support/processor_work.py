"""A child of test_processors: small jobs, and which instructions computed them, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from xcor_daemon.pipeline.worker_process import set_up_worker_process


def main(folder: Path, source: str) -> None:
    """Run the jobs of a folder; those of stacking read the correlations of job-linear."""
    set_up_worker_process()
    import numpy as np
    from ducc0.misc import cpu_info
    from threadpoolctl import threadpool_info

    from xcor_daemon.pipeline.correlation.kernel import LANE
    from xcor_daemon.pipeline.run import correlate_job, stack_job

    for job in sorted(folder.glob("job-*")):
        correlate_job(job, source, 1, images=False)
    for job in sorted(folder.glob("stack-*")):
        stack_job(job, folder / "job-linear" / "CORR", 1)
    used = {
        "lane": LANE,
        "ducc0": cpu_info().get("active_profile"),
        "numpy": np.show_config("dicts")["SIMD Extensions"].get("found", []),
        "blas": sorted({library.get("architecture", "") for library in threadpool_info()}),
    }
    print(json.dumps(used))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
