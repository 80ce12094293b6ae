"""Time the shipped functions on synthetic noise, beside ObsPy and scipy, on the same windows.

One thread; CPU seconds, medians of several rounds in which every way takes its turn, so that the
machine's mood falls on all alike. Trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from threading import local

if "--scipy" in sys.argv:
    sys.modules["ducc0.fft"] = None  # as if the extra were not installed

import numpy as np
import obspy
import scipy.fft
import scipy.optimize
from benchmark_service import from_seen_to_published
from obspy.core.inventory import Channel as StationChannel
from obspy.core.inventory import Inventory, Network, Station
from obspy.signal.cross_correlation import correlate as obspy_correlate

import xcor_daemon
from xcor_daemon.pipeline.correlation import correlate as engine
from xcor_daemon.pipeline.correlation.correlate import correlate, plan_segments
from xcor_daemon.pipeline.correlation.tiles import tiles_by_block
from xcor_daemon.pipeline.datatypes import NS, PairTable, day_start
from xcor_daemon.pipeline.hdf5 import correlation_file
from xcor_daemon.pipeline.numerics.fft import BACKEND
from xcor_daemon.pipeline.preprocessing import quality
from xcor_daemon.pipeline.preprocessing.band import margin
from xcor_daemon.pipeline.preprocessing.channel import prepare as prepare_channel
from xcor_daemon.pipeline.preprocessing.windows import paired_windows
from xcor_daemon.pipeline.sources import open_source
from xcor_daemon.pipeline.units.day import correlate_day
from xcor_daemon.pipeline.units.plan import DayPlan
from xcor_daemon.pipeline.worker_process import set_up_worker_process
from xcor_daemon.request.parse import XcorParams
from xcor_daemon.request.stations import Channel

set_up_worker_process()  # here, so that processes that this one spawns do it as well

DAY = date(2020, 1, 1)
BASE = XcorParams(fs=10, freqmin=0.1, freqmax=4, cc_step=3600, cc_len=3600, maxlag=100)
ALL_CHECKS = replace(BASE, drop_dead=True, max_flat=60, drop_clipped=True, max_std=10,
                     max_median=10, max_steps=9)  # fmt: skip
SPAN = ((datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)),)


class Table:
    """Rows as they come, on stdout, and all of them for the JSON file."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def add(self, what: str, value: float, unit: str, note: str = "") -> None:
        """A figure."""
        self.rows.append({"what": what, "value": value, "unit": unit, "note": note})
        print(f"{what:<62}{value:>12.4g} {unit:<16}{note}", flush=True)


def seconds(*ways: Callable[[], object], rounds: int = 5) -> list[float]:
    """Median CPU seconds of each way, taken in turn."""
    taken: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way()
    for _ in range(rounds):
        for way, times in zip(ways, taken, strict=True):
            begin = time.process_time()
            way()
            times.append(time.process_time() - begin)
    return [statistics.median(times) for times in taken]


def noise(*shape: int) -> np.ndarray:
    """Seeded white noise, float32."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def pair_stage(table: Table, name: str, cc_len: float, maxlag: float, n_channels: int = 36) -> None:
    """Products, transforms and lags of pair-windows, from block spectra; beside the usual ways."""
    n_samples, n_lags, n_windows = round(cc_len * 10), round(maxlag * 10), 3
    windows = noise(n_channels, n_windows, 1, n_samples)
    plan = plan_segments(n_samples, n_lags, circular=False)
    kept = np.ones((n_channels, n_windows), dtype=bool)
    i, j = np.triu_indices(n_channels, 1)
    tiles = tiles_by_block((i, j), n_channels, engine.TILE, n_channels)[0, 0]
    each = [np.array([k]) for k in range(n_windows)]

    def cut(channel: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return windows[channel, indices], windows[channel, indices]

    batch = engine._Batch(cut, kept, each, plan, 1, n_channels, local(), [])
    scratch = local()
    n_full = scipy.fft.next_fast_len(n_samples + n_lags, real=True)
    spectra = scipy.fft.rfft(windows[:, 0, 0], n_full)
    some = range(0, 96, 12)

    def transform() -> None:
        batch._first = -1
        batch.load(0, 0, pool)

    def ours() -> None:
        for tile in tiles:
            engine._correlate_tile(tile, batch.spectra, plan, engine.TILE, scratch)

    def full_length() -> None:
        for p in some:
            product = np.conj(spectra[i[p : p + 12]]) * spectra[j[p : p + 12]]
            circular = scipy.fft.irfft(product, n_full)
            np.concatenate([circular[:, -n_lags:], circular[:, : n_lags + 1]], axis=1)

    def obspys() -> None:
        for p in range(4):
            first, second = windows[i[p], 0, 0], windows[j[p], 0, 0]
            obspy_correlate(second, first, n_lags, demean=False, normalize=None)

    with ThreadPoolExecutor(1) as pool:
        transform()
        times = seconds(transform, ours, full_length, obspys)
    prepared = times[0] / (n_channels * n_windows)
    pair, full, peer = (t / n for t, n in zip(times[1:], (i.size * n_windows, 96, 4), strict=True))
    blocks = f"{plan.n_segments} blocks, transform of {plan.n_fft}"
    table.add(f"{name}: pair-window, {BACKEND}", pair * 1e6, "us", blocks)
    table.add(f"{name}: full-length batched scipy.fft", full * 1e6, "us", f"{full / pair:.1f} x")
    table.add(f"{name}: ObsPy correlate", peer * 1e6, "us", f"{peer / pair:.0f} x")
    table.add(f"{name}: block spectra of a channel-window", prepared * 1e6, "us")


def stacks(table: Table, n_channels: int, n_windows: int = 24) -> None:
    """A day's stack of every pair without forming the windows; and the machine's cgemm."""
    windows = noise(n_channels, 1, 36000)
    kept = np.ones((n_channels, n_windows), dtype=bool)
    i, j = np.triu_indices(n_channels, 1)
    plan = plan_segments(36000, 1000, circular=False, n_summed=n_windows)
    square = noise(768, 768).astype(np.complex64)

    def cut(channel: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        same = np.broadcast_to(windows[channel], (indices.size, 1, 36000))
        return same, same

    def stack(n: int) -> None:
        some = i < n
        some &= j < n
        groups = np.zeros(n_windows, dtype=int)
        correlate(cut, kept[:n], (i[some], j[some]), plan, lambda *_: None, groups=groups)

    stack(n_channels)  # loads the kernels, and touches memory as the first day of a job does
    spent = {"spectra": 0.0, "pairs": 0.0, "products": 0.0}
    pairs, load, multiply = engine._correlate_tile, engine._Batch.load, engine.multiply_tile

    def timed(way: Callable[..., object], key: str) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            begin = time.process_time()
            result = way(*arguments)
            spent[key] += time.process_time() - begin
            return result

        return call

    engine._correlate_tile = timed(pairs, "pairs")
    engine._Batch.load = timed(load, "spectra")
    engine.multiply_tile = timed(multiply, "products")
    operations = 8 * n_windows * plan.n_segments * (plan.n_fft // 2 + 1) * i.size
    rounds = []
    for _ in range(5):
        spent.update(dict.fromkeys(spent, 0.0))
        stack(n_channels)
        (gemm,) = seconds(lambda: square @ square)  # of the same moment
        rounds.append((spent["pairs"] / i.size, operations / spent["products"],
                       8 * 768**3 / gemm, spent["spectra"] / n_channels))  # fmt: skip
    engine._correlate_tile, engine._Batch.load, engine.multiply_tile = pairs, load, multiply
    columns = zip(*rounds, strict=True)
    pair_day, rate, peak, spectra = (statistics.median(column) for column in columns)
    share = statistics.median(rate / peak for _, rate, peak, _ in rounds)
    (peer,) = seconds(
        lambda: obspy_correlate(windows[0, 0], windows[1, 0], 1000, demean=False, normalize=None)
    )
    name = f"stack only, N = {n_channels}"
    table.add(f"{name}: pair-day", pair_day * 1e6, "us",
              f"{n_windows * peer / pair_day:.0f} x ObsPy's windows")  # fmt: skip
    table.add(f"{name}: products of spectra", rate / 1e9, "GFLOP/s",
              f"{100 * share:.0f} % of cgemm's {peak / 1e9:.0f}")  # fmt: skip
    table.add(f"{name}: spectra of a channel-day", spectra * 1e3, "ms")


def archive(folder: Path, n_channels: int, fs: float) -> Path:
    """Day files of Steim2 with two gaps, and StationXML with a response of four stages."""
    folder.mkdir()
    response = obspy.read_inventory().select(station="RJOB", channel="EHZ")[0][-1][0].response
    rng = np.random.default_rng(1)
    start = obspy.UTCDateTime(2020, 1, 1)
    stations = []
    n = round(86400 * fs)
    for k in range(n_channels):
        data = (np.cumsum(rng.integers(-99, 100, n)) % 4000 - 2000).astype(np.int32)
        header = {"network": "XX", "station": f"S{k:03}", "channel": "BHZ",
                  "sampling_rate": fs, "starttime": start}  # fmt: skip
        stream = obspy.Stream([obspy.Trace(data, header)])
        stream.write(str(folder / f"{k}.mseed"), format="MSEED", encoding="STEIM2", reclen=4096)
        channel = StationChannel("BHZ", "", 45, 5 + 0.1 * k, 0, 0, sample_rate=fs,
                                 response=response)  # fmt: skip
        stations.append(Station(f"S{k:03}", 45, 5 + 0.1 * k, 0, channels=[channel]))
    inventory = Inventory([Network("XX", stations)], source="benchmark")
    inventory.write(str(folder / "stations.xml"), format="STATIONXML")
    return folder


def channels_of(n: int) -> list[Channel]:
    """The channels of `archive`."""
    return [Channel("XX", f"S{k:03}", "", "BHZ", SPAN) for k in range(n)]


def channel_day(table: Table, folder: Path, fs: float) -> None:
    """miniSEED to whitened windows, one channel, response removed."""
    source = open_source(f"archive:{archive(folder, 2, fs)}")
    channels = channels_of(2)
    metadata = source.metadata(channels, "velocity")
    midnight = day_start(DAY)
    aside = round(margin(BASE) * NS)
    end = midnight + 86400 * NS
    held: dict[str, list] = {"samples": [], "covered": [], "motion": []}

    def read() -> None:
        held["samples"] = list(source.fetch(channels, midnight - aside, end + aside))

    def prepare() -> None:
        held["covered"] = [
            prepare_channel(
                s, metadata.at(c.id, midnight, end), [(0, BASE.windows.n_day)], DAY, BASE
            )
            for c, s in held["samples"]
        ]

    def motion() -> None:
        held["motion"] = [covered.motion() for covered in held["covered"]]

    def windows() -> None:
        for series in held["motion"]:
            paired_windows(series, np.arange(BASE.n_windows), BASE)

    def checks() -> None:
        """All rules of quality."""
        cases = zip(held["samples"], held["covered"], held["motion"], strict=True)
        for (_, samples), covered, series in cases:
            quality.check_samples(samples, covered.candidates, midnight, ALL_CHECKS)
            quality.check_motion(series, covered.candidates, ALL_CHECKS)

    times = seconds(read, prepare, motion, windows, checks)
    name = f"channel-day, {fs:g} Hz"
    parts = "read {:.0f}, filter {:.0f}, series {:.0f}, windows {:.0f}, checks {:.0f}"
    note = parts.format(*(t / 2 * 1e3 for t in times))
    table.add(f"{name}: miniSEED to windows", sum(times[:4]) / 2 * 1e3, "ms", note)
    table.add(f"{name}: with every rule of quality", sum(times) / 2 * 1e3, "ms")


def day_alone(
    folder: Path, n_channels: int, fs: float, params: XcorParams, cores: Sequence[int]
) -> tuple[float, float, float, str]:
    """CPU and wall seconds and peak memory (GB) of a day, in a process that does nothing else."""
    os.sched_setaffinity(0, cores)
    threads = len(cores)
    spent = wall = 0.0
    what = ""
    for n in (2, n_channels):  # 2 loads the kernels
        source = open_source(f"archive:{folder / f'{fs:g}-{n}'}")
        channels = channels_of(n)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            job = Path(name)
            metadata = source.metadata(channels, params.response)
            plan = DayPlan(job, params, source, metadata, "", threads)
            begin, begin_wall = time.process_time(), time.perf_counter()
            result = correlate_day(plan, DAY, channels)
            spent, wall = time.process_time() - begin, time.perf_counter() - begin_wall
            size = sum(path.stat().st_size for path in job.glob("CORR/**/*.h5"))
            what = f"{result.pairs} pairs, {size / 1e6:.0f} MB"
    return spent, wall, peak_gb(), what


def peak_gb() -> float:
    """The most memory that this process had; getrusage begins with what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def whole_day(
    table: Table, folder: Path, n_channels: int, params: XcorParams, name: str, fs: float = 100.0
) -> float:
    """miniSEED to HDF5, every stage, one thread: CPU seconds."""
    prepare_archives(folder, n_channels, fs)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        one_core = sorted(os.sched_getaffinity(0))[:1]  # not even its own reading beside it
        alone = pool.submit(day_alone, folder, n_channels, fs, params, one_core)
        spent, _, peak, what = alone.result()
    note = f"{what}, peak {peak:.2f} GB"
    table.add(f"day, N = {n_channels} at {fs:g} Hz, {name}", spent, "CPU s", note)
    return spent


def prepare_archives(folder: Path, n_channels: int, fs: float) -> None:
    """What `day_alone` reads."""
    for n in (2, n_channels):
        if not (folder / f"{fs:g}-{n}").exists():
            archive(folder / f"{fs:g}-{n}", n, fs)


def two_cores(table: Table, folder: Path, n_channels: int) -> None:
    """A day on one core; on two, by two threads; and a day on each, by two processes; in turn."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    prepare_archives(folder, n_channels, 100.0)
    ways = {"one core": [cores[:1]], "two threads": [cores], "two processes": [[k] for k in cores]}
    walls: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, crews in ways.items():
            with ProcessPoolExecutor(len(crews), multiprocessing.get_context("spawn")) as pool:
                days = [pool.submit(day_alone, folder, n_channels, 100.0, BASE, c) for c in crews]
                walls[name].append(max(day.result()[1] for day in days) / len(crews))
    one = statistics.median(walls.pop("one core"))
    for name, taken in walls.items():
        wall = statistics.median(taken)
        table.add(f"day, N = {n_channels} at 100 Hz, {name}", wall, "s wall",
                  f"{one / wall:.2f} x one core")  # fmt: skip


def without_extra(table: Table, folder: Path) -> None:
    """The base case with scipy's transforms, in a process that has no ducc0."""
    found = folder / "scipy.json"
    command = [sys.executable, __file__, "--scipy", "--json", str(found)]
    subprocess.run(command, check=True, capture_output=True)
    for row in json.loads(found.read_text())["rows"]:
        table.add(**row)


def peers(table: Table, folder: Path) -> None:
    """NoisePy's and MSNoise's own functions on the base case, where scripts/benchmark has them."""
    environment = Path(__file__).resolve().parent.parent / ".venv-peers"
    if not (environment / "installed").exists():
        return  # scripts/benchmark said why
    python = environment / "bin/python"
    np.save(folder / "windows.npy", noise(4, 8, 36000))
    command = [str(python), str(Path(__file__).with_name("benchmark_peers.py"))]
    done = subprocess.run([*command, str(folder / "windows.npy")], check=True, stdout=-1, text=True)
    ours = next(row["value"] for row in table.rows if "pair-window" in str(row["what"]))
    for name, taken in json.loads(done.stdout).items():
        table.add(f"base: {name}", taken * 1e6, "us", f"{taken * 1e6 / float(str(ours)):.0f} x")


def scaling(table: Table, days: dict[int, float]) -> None:
    """Fit seconds of a day to N channels and N(N-1)/2 pairs of 24 windows."""
    law = np.array([[n, n * (n - 1) / 2] for n in days]) / np.array(list(days.values()))[:, None]
    (channel, pair), _ = scipy.optimize.nnls(law, np.ones(len(days)))  # of the relative errors
    worst = np.abs(law @ [channel, pair] - 1).max()
    table.add("scaling: a channel-day with its 24 windows", channel * 1e3, "ms")
    table.add("scaling: a pair-window", pair / 24 * 1e6, "us", f"fits within {100 * worst:.0f} %")


def many_channels(n_channels: int) -> None:
    """Correlate synthetic windows of many channels; prints seconds and peak memory as JSON."""
    n_windows = 2
    windows = noise(16, 1, 36000)
    kept = np.ones((n_channels, n_windows), dtype=bool)
    pairs = np.triu_indices(n_channels, 1)
    plan = plan_segments(36000, 1000, circular=False)

    def cut(channel: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        same = np.broadcast_to(windows[channel % 16], (indices.size, 1, 36000))
        return same, same

    found = {}
    for name, groups in (("windows", None), ("stack", np.zeros(n_windows, dtype=int))):
        begin = time.process_time()
        correlate(cut, kept, pairs, plan, lambda *_: None, groups=groups)
        found[name] = time.process_time() - begin
    print(json.dumps({**found, "peak_gb": peak_gb()}))


def memory(table: Table, n_channels: int) -> None:
    """Peak memory of many channels, in a process of its own."""
    command = [sys.executable, __file__, "--channels", str(n_channels)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    pairs = n_channels * (n_channels - 1) // 2
    note = f"{pairs} pairs, 2 windows: {found['windows']:.0f} CPU s, stacked {found['stack']:.0f}"
    table.add(f"peak memory, N = {n_channels} synthetic", found["peak_gb"], "GB", note)


def small_job(table: Table, folder: Path) -> None:
    """The whole command on 8 stations and 2 days at 20 Hz, one process."""
    source = folder / "small"
    source.mkdir()
    rng = np.random.default_rng(2)
    for k in range(8):
        for day in range(2):
            data = rng.integers(-2000, 2000, 86400 * 20).astype(np.int32)
            start = obspy.UTCDateTime(2020, 1, 1 + day)
            header = {"network": "XX", "station": f"S{k:03}", "channel": "BHZ",
                      "sampling_rate": 20.0, "starttime": start}  # fmt: skip
            path = str(source / f"{k}.{day}.mseed")
            obspy.Trace(data, header).write(path, format="MSEED", encoding="STEIM2", reclen=4096)
    job = folder / "small-job"
    job.mkdir()
    rows = [f"XX,S{k:03},,BHZ,2020-01-01,2020-01-03\n" for k in range(8)]
    (job / "stations.csv").write_text("".join(rows))
    (job / "params.csv").write_text(
        "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response\n10,0.1,2,1800,3600,60,none\n"
    )
    whole_command(table, job, source, 1, "8 stations x 2 days, 20 Hz")


def demo_job(table: Table, folder: Path) -> None:
    """The whole command on the demo's four hours of 24 stations, all cores."""
    data = Path(xcor_daemon.__file__).parent / "demo" / "data"
    job = folder / "demo-job"
    shutil.copytree(data / "job", job)
    whole_command(table, job, data / "norsar_2019_001", 0, "the demo's 276 pairs, all cores")


def demo_service(table: Table) -> None:
    """The demo's job through its S3 server, its daemon and its FDSN server."""
    spent = from_seen_to_published()
    note = "taken {taken:.1f}, worker {worker:.1f}, its end {ended:.1f}, published {published:.1f}"
    table.add("service, the demo's 276 pairs, from seen to published", spent["all"], "s wall",
              note.format(**spent))  # fmt: skip


def whole_command(table: Table, job: Path, source: Path, processes: int, name: str) -> None:
    """``xcor-daemon correlate`` from start to exit: with no kernel compiled, then as ever."""
    command = [sys.executable, "-m", "xcor_daemon.cli", "correlate", str(job),
               "--source", f"archive:{source}", "--processes", str(processes)]  # fmt: skip
    environ = {**os.environ, "NUMBA_CACHE_DIR": str(job.with_name(f"{job.name}-kernels"))}
    inputs = set(job.iterdir())
    for extra, words in (([], "with images"), (["--no-images"], "without images")):
        taken = []
        for _ in range(6):
            for path in set(job.iterdir()) - inputs:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begin = time.perf_counter()
            subprocess.run([*command, *extra], check=True, capture_output=True, env=environ)
            wall = time.perf_counter() - begin
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            taken.append((wall, cpu))
        wall, cpu = (statistics.median(column) for column in zip(*taken[1:], strict=True))
        first = "" if extra else f"; first run, compiling kernels: {taken[0][0]:.1f} s"
        table.add(f"command, {name}, {words}", wall, "s wall", f"{cpu:.2f} CPU s{first}")


def help_text(table: Table) -> None:
    """The command with nothing to do."""
    walls = []
    for _ in range(7):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "xcor_daemon.cli", "--help"], check=True,
                       capture_output=True)  # fmt: skip
        walls.append(time.perf_counter() - begin)
    table.add("xcor-daemon --help", statistics.median(walls), "s wall")


def writing(table: Table, folder: Path) -> None:
    """A correlation file against a plain file of the same bytes, both to disk."""
    n_pairs, n_windows = 1830, 24
    params = BASE
    part = noise(61, n_windows, 2 * params.n_lags + 1)
    i, j = np.triu_indices(60)
    flat, ids = np.zeros(n_pairs), tuple(f"XX.S{k:03}..BHZ" for k in range(60))
    pairs = PairTable(ids, i, j, flat, flat, flat, flat[:60], flat[:60], flat[:60])

    def ours() -> float:
        begin = time.perf_counter()
        starts, covered = np.arange(24.0), np.ones((60, 24), dtype=np.float32)
        with correlation_file.create(folder / "w.h5", pairs, starts, covered, params) as file:
            for a in range(0, n_pairs, 61):
                rows = np.arange(a, min(a + 61, n_pairs))
                file.write(rows, 0, part[: rows.size])
        return time.perf_counter() - begin

    def plain() -> float:
        begin = time.perf_counter()
        with (folder / "w.raw").open("wb", buffering=0) as file:
            for a in range(0, n_pairs, 61):
                file.write(memoryview(part[: min(61, n_pairs - a)]).cast("B"))
            os.fsync(file.fileno())
        return time.perf_counter() - begin

    # The quickest of each: memory that the system has yet to find costs more than the disk.
    times = [(ours(), plain()) for _ in range(9)]
    mine, raw = (min(column) for column in zip(*times, strict=True))
    size = n_pairs * n_windows * (2 * params.n_lags + 1) * 4
    table.add("HDF5 file of 352 MB, synced", size / mine / 1e6, "MB/s",
              f"{100 * raw / mine:.0f} % of a plain file's {size / raw / 1e6:.0f}")  # fmt: skip
    (folder / "w.h5").unlink()
    (folder / "w.raw").unlink()


def main() -> None:
    """Run the parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the pair stage and the stacks")
    parser.add_argument("--channels", type=int, help="only correlate so many synthetic channels")
    parser.add_argument("--scipy", action="store_true", help="only the base case, without ducc0")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    if arguments.channels:
        many_channels(arguments.channels)
        return
    table = Table()
    features = platform.processor() or platform.machine()
    print(f"{features}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"numpy {np.__version__}, {BACKEND}; one thread, medians of CPU time\n")  # fmt: skip
    pair_stage(table, "base (cc_len 3600, maxlag 100)", 3600, 100)
    if not arguments.scipy:
        pair_stage(table, "maxlag 300", 3600, 300)
        pair_stage(table, "small windows (cc_len 1800, maxlag 60)", 1800, 60)
        stacks(table, 60)
    if not (arguments.quick or arguments.scipy):
        stacks(table, 200)
        memory(table, 1000)
        with tempfile.TemporaryDirectory(prefix="xcor-benchmark-") as name:
            folder = Path(name)
            without_extra(table, folder)
            channel_day(table, folder / "100", 100.0)
            channel_day(table, folder / "40", 40.0)
            help_text(table)
            small_job(table, folder)
            demo_job(table, folder)
            demo_service(table)
            writing(table, folder)
            peers(table, folder)
            days = {n: whole_day(table, folder, n, BASE, "24 windows") for n in (15, 30, 60)}
            scaling(table, days)
            two_cores(table, folder, 30)
            whole_day(table, folder, 60, replace(BASE, substack=86400.0), "stack only")
            dense = replace(BASE, freqmax=0.2, cc_len=1800, cc_step=450, maxlag=60)
            whole_day(table, folder, 60, dense, "the original's defaults")
            whole_day(table, folder, 200, BASE, "24 windows", fs=20.0)
    if arguments.json:
        arguments.json.write_text(json.dumps({"backend": BACKEND, "rows": table.rows}, indent=1))


if __name__ == "__main__":
    main()
