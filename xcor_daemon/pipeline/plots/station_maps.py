"""Map of the stations and of the pairs between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from .captions import counted, first_of, ordinal
from .figure import ACCENT, figure_of, new_figure, save, styled, write_no_data, write_title

_MAX_PATHS = 3000  # lines between stations
_KM_PER_DEGREE = 111.195  # of a great circle on a sphere of 6371 km


def station_map(
    longitude: np.ndarray,
    latitude: np.ndarray,
    names: Sequence[str],
    title: str,
    *,
    path: Path,
    pairs: np.ndarray | None = None,
    svg: bool = False,
) -> list[Path]:
    """Plot the stations, and the pairs between them, in true aspect with a scale bar.

    Up to an extent of 20 km the axes are in metres or kilometres from the centre, beyond it in
    degrees. Names that would overlap are left out, and the title states how many are shown.

    Parameters
    ----------
    longitude, latitude : array, shape (n_stations,)
        Degrees; NaN where unknown. Stations may lie on both sides of the date line.
    names : sequence of str
        Stations or channels; of several at one location, one is plotted.
    title : str
        Title of the map.
    path : Path
        The image without its ending.
    pairs : int array, shape (n_pairs, 2), optional
        Indices of the stations to be connected by lines.
    svg : bool
        Write ``NAME.svg`` too.
    """
    longitude = _unwrapped(np.asarray(longitude, dtype=np.float64))
    latitude = np.asarray(latitude, dtype=np.float64)
    known = np.isfinite(longitude) & np.isfinite(latitude)
    facts = [f"{counted(int(known.sum()), 'station')} on the map."]
    notes = []
    if unknown := [name for name, is_known in zip(names, known, strict=True) if not is_known]:
        notes.append(f"{len(unknown)} without coordinates")
        facts.append(f"Without coordinates: {first_of(unknown)}.")
    with styled():
        figure = new_figure((8, 7.5))
        axes = figure.subplots()
        if not known.any():
            write_no_data(axes)
            write_title(axes, title, "; ".join(notes))
            return save(figure, path, title, facts, svg)
        x, y, per_km = _map_axes(axes, longitude, latitude, known)
        if pairs is not None and len(pairs):
            pairs = np.asarray(pairs)
            facts.append(f"{counted(len(pairs), 'pair')} shown as lines.")
            located = pairs[known[pairs].all(axis=1)]
            if (every := math.ceil(len(located) / _MAX_PATHS)) > 1:
                notes.append(f"every {ordinal(every)} of {len(located):,} pairs")
            ends = np.stack([x[located[:: every or 1]], y[located[:: every or 1]]], axis=-1)
            alpha = min(0.6, max(0.04, 60 / max(len(ends), 1)))
            axes.add_collection(
                LineCollection(list(ends), colors="0.4", linewidths=0.6, alpha=alpha)
            )
        axes.scatter(
            x[known],
            y[known],
            marker="^",
            s=45 if known.sum() < 200 else 12,
            color=ACCENT,
            edgecolor="white",
            linewidth=0.5,
            zorder=3,
        )
        _scale_bar(axes, per_km)
        write_title(axes, title, "; ".join(notes))
        places = {(x[k], y[k]): names[k] for k in np.flatnonzero(known)[::-1]}
        if (labelled := _label(figure, axes, places)) < len(places):
            notes.insert(0, f"{labelled} of {len(places)} names")
            write_title(axes, title, "; ".join(notes))
        facts += [
            f"  {name}: {latitude[k]:.5f} N, {_west(longitude[k]):.5f} E"
            for k, name in enumerate(names)
            if known[k]
        ]
        return save(figure, path, title, facts, svg)


def _unwrapped(longitude: np.ndarray) -> np.ndarray:
    """Longitudes (degrees) that are continuous except across the widest gap between stations."""
    known = np.sort(longitude[np.isfinite(longitude)] % 360)
    if not known.size:
        return longitude
    gaps = np.diff(known, append=known[0] + 360)
    east_of_gap = known[(gaps.argmax() + 1) % known.size]
    turned = (longitude - east_of_gap) % 360 + east_of_gap
    return turned - 360 * (east_of_gap >= 180)


def _west(longitude: float) -> float:
    """A longitude from -180 to 180 degrees."""
    return (longitude + 180) % 360 - 180


def _map_axes(
    axes: Axes, longitude: np.ndarray, latitude: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Set up the axes; gives x and y of the stations, and the length of a km along x."""
    middle = [float(np.mean([v[known].min(), v[known].max()])) for v in (longitude, latitude)]
    narrowing = max(math.cos(math.radians(middle[1])), 0.05)
    east = (longitude - middle[0]) * _KM_PER_DEGREE * narrowing
    north = (latitude - middle[1]) * _KM_PER_DEGREE
    extent = max(np.ptp(east[known]), np.ptp(north[known]))
    if extent < 20:
        unit, factor = ("m", 1000.0) if extent < 2 else ("km", 1.0)
        where = f"of {middle[1]:.4f}° N, {_west(middle[0]):.4f}° E"
        axes.set_xlabel(f"East {where} ({unit})")
        axes.set_ylabel(f"North ({unit})")
        x, y, aspect, per_km = east * factor, north * factor, 1.0, factor
    else:
        axes.set_xlabel("Longitude (degrees east)")
        axes.set_ylabel("Latitude (degrees north)")
        axes.xaxis.set_major_formatter(lambda value, _: f"{_west(value):.6g}")
        x, y, aspect = longitude, latitude, 1 / narrowing
        per_km = 1 / (_KM_PER_DEGREE * narrowing)
    # Half the width and height of the view in km, no narrower than 1 to 2.
    view = np.maximum([np.ptp(east[known]), np.ptp(north[known])], 0.5 * (extent or 0.1)) * 0.58
    for set_limits, v, half in (
        (axes.set_xlim, x, view[0] * per_km),
        (axes.set_ylim, y, view[1] * per_km / aspect),
    ):
        centre = (v[known].min() + v[known].max()) / 2
        set_limits(centre - half, centre + half)
    longest = 6.6 / view.max()  # inches for a km of view
    figure_of(axes).set_size_inches(1.2 + longest * view[0], 1.2 + longest * view[1])
    axes.set_aspect(aspect, adjustable="box")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    return x, y, per_km


def _scale_bar(axes: Axes, per_km: float) -> None:
    """A bar of a round length, below the left end of the map."""
    low, high = axes.get_xlim()
    longest = (high - low) / per_km / 4
    length = max(
        digit * 10.0**power
        for power in (math.floor(math.log10(longest)) + k for k in (-1, 0))
        for digit in (1, 2, 5)
        if digit * 10.0**power <= longest
    )
    bottom, top = axes.get_ylim()
    x, y = low + 0.04 * (high - low), bottom + 0.03 * (top - bottom)
    axes.plot([x, x + length * per_km], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    text = f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.annotate(text, (x, y), (2, 6), textcoords="offset points", size=9, zorder=5, bbox=box)


def _label(figure: Figure, axes: Axes, places: dict[tuple[float, float], str]) -> int:
    """Write the names that do not overlap; gives their number."""
    axes.apply_aspect()
    frame = axes.get_window_extent()
    pixels = {place: tuple(axes.transData.transform(place)) for place in places}
    occupied = [(x - 4, y - 4, x + 4, y + 4) for x, y in pixels.values()]  # the triangles
    labelled = 0
    for place, name in sorted(places.items(), key=lambda item: (item[1], item[0])):
        x, y = pixels[place]
        width, height = 7.6 * len(name), 13.0  # pixels of 8-point letters at 110 dpi
        for left, bottom in (
            (x + 7, y - height / 2),
            (x - 7 - width, y - height / 2),
            (x - width / 2, y + 7),
            (x - width / 2, y - 7 - height),
        ):
            box = (left, bottom, left + width, bottom + height)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1
            inside &= frame.y0 <= box[1] and box[3] <= frame.y1
            if inside and not _hits(box, occupied):
                offset = ((left - x) * 72 / figure.dpi, (bottom + height / 2 - y) * 72 / figure.dpi)
                axes.annotate(
                    name, place, offset, textcoords="offset points", size=8, va="center", zorder=4
                )
                occupied.append(box)
                labelled += 1
                break
    return labelled


def _hits(a: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    return any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in others)
