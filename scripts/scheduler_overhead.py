"""What the scheduling of units costs: 100,000 units that sleep, on 64 workers that are none.

    .venv/bin/python scripts/scheduler_overhead.py [--units N] [--seconds S] [--workers W]

Units sleep instead of computing, S s on average, spread as 0.5 to 1.5 times that. The scheduler,
the client (`DaskExecutor`, as in a job) and the workers, 32 to a process, are processes of their
own, so the time of the processor that each needs for a unit is told apart: submitting it, giving
it to a worker, doing nothing, bringing its record back. The tail is the time from the first worker
without a unit to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import dask
import psutil
from distributed import Scheduler, Worker

from xcor_daemon.pipeline.scheduling.dask_cluster import DaskExecutor
from xcor_daemon.pipeline.worker_process import set_up_worker_process

set_up_worker_process()  # here, so that processes that this one spawns do it as well

_TOGETHER = 32  # workers in a process
_WATCHED = 5.0  # s in which is seen what all need that have nothing to do
# Dozens of workers in one process would spend its time on watching themselves.
_WORKERS = {
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.monitor-interval": "10s",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "2s",
}
_SPAWN = multiprocessing.get_context("spawn")


def nap(unit: tuple[int, float]) -> dict[str, float]:
    """A unit: sleeps, and says when it ended."""
    time.sleep(unit[1])
    return {"end": time.monotonic()}


async def _until(pipe: Connection) -> None:
    while not pipe.poll():  # True also where the other end is closed
        await asyncio.sleep(0.2)


async def schedule(pipe: Connection) -> None:
    """A scheduler; tells its address, and ends when the pipe is closed."""
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        pipe.send(scheduler.address)
        await _until(pipe)


async def work(pipe: Connection, address: str, workers: int) -> None:
    """Workers of a scheduler; say when they are there, and end when the pipe is closed."""
    with dask.config.set(_WORKERS):
        made = [Worker(address, nthreads=1, dashboard=False) for _ in range(workers)]
        await asyncio.gather(*made)
        pipe.send("there")
        await _until(pipe)
        await asyncio.gather(*(worker.close() for worker in made))


def _run(main: Callable, *arguments: object) -> None:
    logging.getLogger("distributed").setLevel(logging.WARNING)
    asyncio.run(main(*arguments))


def _start(stack: ExitStack, main: Callable, *arguments: object) -> tuple[int, object]:
    """A process, ended with the stack; its number and its first word."""
    ours, its = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_run, args=(main, its, *arguments))
    process.start()
    its.close()
    stack.callback(process.join)
    stack.callback(ours.close)
    return process.pid, ours.recv()


def _spent(who: Mapping[str, list[int]]) -> dict[str, float]:
    """Time of the processor (s) that processes have taken."""
    times = {name: [psutil.Process(pid).cpu_times() for pid in pids] for name, pids in who.items()}
    return {name: sum(t.user + t.system for t in some) for name, some in times.items()}


def do(cluster: DaskExecutor, lengths: list[float]) -> list[float]:
    """Do units as a job does: as many under way as there are slots; gives when each ended."""
    waiting, under_way, ends = iter(enumerate(lengths)), 0, []
    while len(ends) < len(lengths):
        while under_way < cluster.slots and (unit := next(waiting, None)) is not None:
            cluster.submit(unit)
            under_way += 1
        for outcome in cluster.results(1.0):
            under_way -= 1
            assert outcome.result is not None, outcome.error
            ends.append(outcome.result["end"])
    return sorted(ends)


def main() -> None:
    """Run the units and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--workers", type=int, default=64)
    given = parser.parse_args()
    n, rng = given.units, random.Random(0)
    lengths = [given.seconds * rng.uniform(0.5, 1.5) for _ in range(n)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scheduler, address = _start(stack, schedule)
        hosts = [min(_TOGETHER, given.workers - k) for k in range(0, given.workers, _TOGETHER)]
        workers = [_start(stack, work, address, size)[0] for size in hosts]
        who = {"scheduler": [scheduler], "client": [os.getpid()], "workers": workers}
        cluster = DaskExecutor(nap, Path(folder), str(address))
        stack.callback(cluster.close)
        before = _spent(who)
        time.sleep(_WATCHED)
        idle = {name: (spent - before[name]) / _WATCHED for name, spent in _spent(who).items()}
        before, began = _spent(who), time.monotonic()
        ends = do(cluster, lengths)
        wall = time.monotonic() - began
        took = {name: spent - before[name] for name, spent in _spent(who).items()}
    ideal = sum(lengths) / given.workers
    # The first worker without work is the one that ended its last unit first.
    tail = ends[-1] - ends[-min(given.workers, n)]
    print(f"{n:,} units of {given.seconds:g} s on {given.workers} workers, load {os.getloadavg()}")
    for name, spent in took.items():
        print(f"CPU of {name}: {1e3 * spent / n:.2f} ms a unit; idle {1e3 * idle[name]:.0f} ms a s")
    ours = took["scheduler"] + took["client"]
    print(f"scheduler and client together {1e3 * ours / n:.2f} ms a unit")
    beyond = 1e3 * (wall - ideal) / n
    print(f"wall {wall:.1f} s; {ideal:.1f} s without overhead, {beyond:.2f} ms a unit beyond")
    print(f"tail {tail:.2f} s, {100 * tail / wall:.2f} % of the run; {cluster.redone} done again")


if __name__ == "__main__":
    main()
