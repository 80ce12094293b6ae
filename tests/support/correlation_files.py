"""Small correlation files: every pair has a pulse at distance / 2 km/s, in noise."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from xcor_daemon.pipeline.datatypes import PairTable
from xcor_daemon.pipeline.hdf5 import correlation_file
from xcor_daemon.request.parse import XcorParams

PARAMS = XcorParams(4, 0.2, 0.8, 14400, 14400, 20, whiten=False)  # 6 windows a day, 161 lags
LAGS = np.arange(-80, 81) / 4
DAYS = ("2020-01-30", "2020-01-31", "2020-02-02")  # the first of February is missing
STATIONS = ("A", "B", "C")


def pair_table(stations):
    ids = tuple(f"XX.{name}..BHZ" for name in stations)
    first, second = np.triu_indices(len(ids), 1)
    distance = 10.0 * (second - first)
    zero, place = np.zeros(first.size), np.zeros(len(ids))
    return PairTable(ids, first, second, distance, zero, zero, place, place, place)


def write_day(folder: Path, day: str, stations=STATIONS, seed=0, params=PARAMS) -> Path:
    """A day in which every pair has a pulse at its distance / 2 km/s, and noise."""
    pairs = pair_table(stations)
    random = np.random.default_rng([seed, *day.encode()])
    midnight = np.datetime64(day, "s").astype(float)
    starts = midnight + params.cc_step * np.arange(params.n_windows)
    lags = correlation_file.lags(params)
    pulse = np.exp(-((lags - pairs.distance[:, None] / 2) ** 2)) * np.cos(np.pi * lags)
    noise = 0.3 * random.standard_normal((pairs.first.size, starts.size, lags.size))
    corr = (pulse[:, None] + noise).astype(np.float32)
    if len(stations) > 2:
        corr[0, 2] = np.nan
    coverage = np.ones((len(stations), starts.size), np.float32)
    path = folder / f"{day}.h5"
    with correlation_file.create(path, pairs, starts, coverage, params) as file:
        file.write(np.arange(pairs.first.size), 0, corr)
    return path


def windows(days, pair):
    """All windows of a pair, read the plain way."""
    found = []
    for day in days:
        with h5py.File(day) as file:
            names = list(zip(file["first"].asstr()[:], file["second"].asstr()[:], strict=True))
            if pair in names:
                found.append(file["corr"][names.index(pair)])
    return np.concatenate(found)
