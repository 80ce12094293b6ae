"""What the scheduling of units costs: 100,000 units that sleep, on 64 workers that are none.

    .venv/bin/python scripts/scheduler_overhead.py [--units N] [--seconds S] [--workers W]

The workers are threads of one process that sleep instead of computing, so what is measured is
what `Cluster` and the Dask scheduler need for a unit: submitting it, giving it to a worker, and
bringing its record back. Units take S s on average, spread as 0.5 to 1.5 times that. The tail is
the time from the first worker without a unit to the end.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import xcor_daemon.pipeline  # isort: skip  # pins the threads of libraries before Dask loads numpy
import dask
from distributed import LocalCluster

from xcor_daemon.pipeline.cluster import Cluster


def nap(unit: tuple[int, float]) -> dict[str, float]:
    """A unit: sleeps, and says when it began and ended."""
    begin = time.monotonic()
    time.sleep(unit[1])
    return {"begin": begin, "end": time.monotonic()}


def main() -> None:
    """Run the units and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--workers", type=int, default=64)
    given = parser.parse_args()
    rng = random.Random(0)
    lengths = [given.seconds * rng.uniform(0.5, 1.5) for _ in range(given.units)]
    assert xcor_daemon.pipeline.THREADS_ARE_PINNED
    # 64 workers in one process would spend its time on watching themselves.
    dask.config.set({
        "distributed.worker.memory.terminate": False,
        "distributed.worker.memory.monitor-interval": "10s",
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.interval": "10s",
        "distributed.scheduler.work-stealing": True,
    })  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=given.workers,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            protocol="tcp",
            silence_logs=50,
            host="127.0.0.1",
        ) as local,
    ):
        cluster = Cluster(nap, Path(folder), local.scheduler_address)
        # As the units of a job: as many under way as there are slots, no more.
        waiting, under_way, ends = iter(enumerate(lengths)), 0, []
        began, cpu = time.monotonic(), time.process_time()
        while len(ends) < given.units:
            while under_way < cluster.slots:
                unit = next(waiting, None)
                if unit is None:
                    break
                cluster.submit(unit)
                under_way += 1
            for outcome in cluster.results(1.0):
                under_way -= 1
                assert outcome.result is not None, outcome.error
                ends.append(outcome.result["end"])
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
        last = sorted(ends)
        # The first worker without work is the one that ended its last unit first.
        tail = last[-1] - last[-given.workers]
        cluster.close()
    ideal = sum(lengths) / given.workers
    print(f"{given.units:,} units of {given.seconds:g} s on {given.workers} workers")
    print(f"wall {wall:.1f} s; without any overhead {ideal:.1f} s")
    print(f"CPU of scheduler, client and workers together {1e3 * cpu / given.units:.2f} ms a unit")
    print(f"wall beyond the ideal {1e3 * (wall - ideal) / given.units:.2f} ms a unit")
    print(f"tail {tail:.2f} s, {100 * tail / wall:.2f} % of the run")


if __name__ == "__main__":
    main()
