"""Compile every kernel of the pipeline, while the image is built, by running small jobs.

The jobs take samples of all kinds (int32, float32, float64) through every step that is compiled;
drawing their images makes Matplotlib's list of fonts as well. Fails where a kernel was left out.
"""

from __future__ import annotations

import ast
import sys
import tempfile
from pathlib import Path

import numpy as np
from obspy import Stream, Trace, UTCDateTime
from obspy.core.inventory import Channel, Inventory, Network, Site, Station

from xcor_daemon import cli, pipeline  # noqa: F401  cli: so that its bytecode is kept
from xcor_daemon.pipeline.run import correlate_job, stack_job

START = UTCDateTime(2020, 1, 1)
KINDS = {"AAA": np.int32, "BBB": np.float32, "CCC": np.float64}
FS, SECONDS = 20.0, 4 * 3600
PARAMS = (
    "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response,max_flat,drop_clipped,max_std,max_median\n"
    "10,0.1,0.4,600,1200,60,none,60,true,1000,1000\n",
    "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response,circular,substack\n"
    "4,0.1,0.4,600,1200,60,none,true,7200\n",
)
STACKING = "type,phase_smooth,stack_all,job\nphase-weighted,2,true,1\n"


def write_archive(folder: Path) -> str:
    """Four hours of noise at three stations; gives their stations.csv."""
    lines = ["Network,Station,Location,Channel,StartDate,EndDate"]
    stations = []
    for number, (code, kind) in enumerate(KINDS.items()):
        noise = np.random.default_rng(number).normal(0, 1000, round(SECONDS * FS)).astype(kind)
        about = {"network": "XX", "station": code, "channel": "BHZ", "sampling_rate": FS}
        # Half a sample off the grid, so that clocks are corrected as well.
        trace = Trace(noise, {**about, "starttime": START + 0.5 / FS})
        Stream([trace]).write(str(folder / f"{code}.mseed"), format="MSEED")
        place = {"latitude": number / 10, "longitude": 0.0, "elevation": 0.0}
        channel = Channel("BHZ", "", depth=0, sample_rate=FS, **place)
        stations.append(Station(code, channels=[channel], site=Site(code), **place))
        lines.append(f"XX,{code},,BHZ,2020-01-01T00:00:00,2020-01-02T00:00:00")
    inventory = Inventory(networks=[Network("XX", stations=stations)], source="noise")
    inventory.write(str(folder / "station.xml"), format="STATIONXML")
    return "\n".join(lines) + "\n"


def kernels() -> list[str]:
    """Names of all compiled functions of the pipeline, from its source."""
    package = Path(pipeline.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        module = ".".join([pipeline.__name__, *path.relative_to(package).with_suffix("").parts])
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(
                ast.unparse(decorator).startswith("jit(") for decorator in node.decorator_list
            ):
                found.append(f"{module}.{node.name}")
    return found


def is_compiled(name: str) -> bool:
    """Whether the jobs have called a function."""
    module, _, function = name.rpartition(".")
    return module in sys.modules and bool(getattr(sys.modules[module], function).signatures)


def main() -> None:
    """Run the jobs, then look whether anything is left to compile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "archive").mkdir()
        stations = write_archive(folder / "archive")
        for number, params in enumerate(PARAMS):
            job = folder / str(number)
            job.mkdir()
            (job / "stations.csv").write_text(stations)
            (job / "params.csv").write_text(params)
            source = f"archive:{folder / 'archive'}"
            outputs = correlate_job(job, source, processes=1, images=number == 0)
            assert outputs["units"] == {"done": 1, "empty": 0, "failed": []}, outputs
        stack = folder / "stack"
        stack.mkdir()
        (stack / "stacking_params.csv").write_text(STACKING)
        stack_job(stack, folder / "0" / "CORR", processes=1)
    left = [name for name in kernels() if not is_compiled(name)]
    if left:
        sys.exit(f"docker/compile_kernels.py: no row of PARAMS uses {', '.join(left)}")
    print(f"{len(kernels())} kernels are compiled")


if __name__ == "__main__":
    main()
