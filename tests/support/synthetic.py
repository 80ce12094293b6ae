"""Jobs on synthetic stations: as many as wanted, in a miniSEED archive, in no time."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import h5py
import numpy as np

PARAMS = "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response\n1,0.05,0.2,1800,3600,60,none\n"
FIRST = date(2020, 1, 1)


@dataclass(frozen=True)
class Job:
    """A folder with its two files, and where its data lie."""

    folder: Path
    source: str

    def copy(self, folder: Path) -> Job:
        """The same request in another folder."""
        folder.mkdir()
        for name in ("stations.csv", "params.csv"):
            shutil.copy(self.folder / name, folder)
        return Job(folder, self.source)


def network_job(
    folder: Path, stations: int, days: int, params: str = PARAMS, components: str = "Z"
) -> Job:
    """A job on noise of 1 Hz; station 2 has lost its second half of every day."""
    from obspy import Stream, Trace, UTCDateTime

    archive, job = folder / "archive", folder / "job"
    archive.mkdir(parents=True)
    job.mkdir()
    rows = ["Network,Station,Location,Channel,StartDate,EndDate,Latitude,Longitude"]
    rng = np.random.default_rng(stations)
    common = rng.standard_normal(86400 * days)
    end = FIRST + timedelta(days=days)
    for k in range(stations):
        for c, component in enumerate(components):
            data = np.roll(common, 3 * k + c) + rng.standard_normal(common.size)
            counts = np.round(1000 * data).astype(np.int32)
            header = {"network": "XX", "station": f"S{k:03}", "channel": f"LH{component}"}
            traces = [
                Trace(
                    counts[86400 * d : 86400 * (d + 1) - 43200 * (k == 2)],
                    {**header, "starttime": UTCDateTime(FIRST.isoformat()) + 86400 * d},
                )
                for d in range(days)
            ]
            path = archive / f"XX.S{k:03}..LH{component}.mseed"
            Stream(traces).write(str(path), format="MSEED", encoding="STEIM2")
            site = f"{k / 10:.3f},{(k % 5) / 10:.3f}"
            rows.append(f"XX,S{k:03},,LH{component},{FIRST},{end},{site}")
    (job / "stations.csv").write_text("\n".join(rows) + "\n")
    (job / "params.csv").write_text(params)
    return Job(job, f"archive:{archive}")


def datasets(path: Path) -> dict[str, object]:
    """Every data set of a file as bytes, texts as they read."""
    with h5py.File(path) as file:
        return {
            name: data.asstr()[:].tolist() if data.dtype == object else bytes(data[:])
            for name, data in file.items()
        }


def all_datasets(folder: Path) -> dict[str, dict[str, object]]:
    """The data sets of every file of correlations and stacks of a job."""
    paths = [*folder.glob("CORR/**/*.h5"), *folder.glob("STACK/*.h5")]
    return {path.relative_to(folder).as_posix(): datasets(path) for path in sorted(paths)}
