"""The pairs of a day, by the rule of request.pair_counts, with their distances and azimuths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...request.pairs import Pairs, indices
from ...request.params import XcorParams
from ...request.stations import Channel
from ..datatypes import Epoch, PairTable
from ..lazy_imports import defer_package

defer_package("pyproj")

from pyproj.geod import Geod  # noqa: E402  its package takes six times as long to load

_WGS84 = Geod(ellps="WGS84")


def pair_table(
    channels: Sequence[Channel],
    epochs: Sequence[Epoch | None],
    params: XcorParams,
    named: Pairs = (),
) -> PairTable:
    """List the pairs of a job for one day, by first, then second channel.

    Parameters
    ----------
    channels : sequence of Channel
        In the order of their ids.
    epochs : sequence of Epoch or None
        Metadata of each channel. Without coordinates there, those of stations.csv are used;
        without either the distance is NaN, and ``max_distance`` does not apply.
    params : XcorParams
        ``max_distance`` (km), ``components``, ``same_station``, ``autocorrelations``.
    named : tuple of (str, str), optional
        The rows of pairs.csv; by default all pairs.

    Returns
    -------
    pairs : PairTable
        Distances (km) and azimuths (degrees clockwise from north) on the WGS84 ellipsoid.
    """
    coordinates = np.array(
        [_coordinates(c, e) for c, e in zip(channels, epochs, strict=True)], dtype=float
    ).reshape(-1, 3)
    if named:
        found = sorted(indices(named, channels, params))
        first, second = np.array(found, dtype=int).reshape(-1, 2).T
    else:
        first, second = _selected(channels, params)
    latitude, longitude, elevation = coordinates.T
    azimuth, back_azimuth, metres = _WGS84.inv(
        longitude[first], latitude[first], longitude[second], latitude[second]
    )
    distance = np.asarray(metres) / 1000
    near = np.ones(first.size, dtype=bool)
    if params.max_distance is not None:
        near = ~(distance > params.max_distance)
    return PairTable(
        channels=tuple(c.id for c in channels),
        first=first[near],
        second=second[near],
        distance=distance[near],
        azimuth=np.asarray(azimuth)[near] % 360,
        back_azimuth=np.asarray(back_azimuth)[near] % 360,
        latitude=latitude,
        longitude=longitude,
        elevation=elevation,
    )


def _coordinates(channel: Channel, epoch: Epoch | None) -> tuple[float, float, float]:
    if epoch is not None and np.isfinite(epoch.latitude) and np.isfinite(epoch.longitude):
        return epoch.latitude, epoch.longitude, epoch.elevation
    given = (channel.latitude, channel.longitude, channel.elevation)
    latitude, longitude, elevation = (np.nan if value is None else value for value in given)
    return latitude, longitude, elevation


def _selected(channels: Sequence[Channel], params: XcorParams) -> tuple[np.ndarray, np.ndarray]:
    """First and second channels of the pairs that the parameters select: int (n_pairs,) each.

    The rule of `request.pair_counts.PairChoice.selects`, for all pairs at once.
    """
    first, second = np.triu_indices(len(channels))
    station = np.array([f"{c.network}.{c.station}" for c in channels])
    component = np.array([c.channel[-1] for c in channels])
    itself = first == second
    want = np.where(
        itself,
        params.autocorrelations,
        params.same_station | (station[first] != station[second]),
    ).astype(bool)
    if params.components and len(channels):
        fits = np.zeros(first.size, dtype=bool)
        for one, other in map(tuple, params.components):
            fits |= ((one == "?") | (component[first] == one)) & (
                (other == "?") | (component[second] == other)
            )
        want &= fits
    return first[want], second[want]
