"""The files of a worker, written at once and without computation."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

CORRELATIONS = b"\x89HDF correlations"


def requested_content(witness: Path) -> bytes:
    """Correlations of as many bytes as the file ``size`` of a test contains."""
    size = witness / "size"
    return CORRELATIONS.ljust(int(size.read_text()) if size.exists() else 0, b"\0")


def work(folder: Path, content: bytes = CORRELATIONS) -> dict:
    """Write the results of a worker; returns the content of outputs.json."""
    result = "CORR/2019-01-01.h5" if (folder / "stations.csv").exists() else "STACK/linear.h5"
    files = {"request.json": b"{}", "summary.csv": b"day,channel\n", result: content}
    for name, body in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(body)
    array = {"name": "corr", "dtype": "<f4", "shape": [1, 1, 1], "offset": 8}
    outputs = {
        "units": {"done": 1, "empty": 0, "failed": []},
        "files": [
            {
                "name": name,
                "size": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "arrays": [array] * name.endswith(".h5"),
            }
            for name, body in files.items()
        ],
        "warnings": [],
        "summary": {"pairs": 1, "windows_kept": 1, "best": []},
    }
    (folder / "outputs.json").write_text(json.dumps(outputs))
    return outputs
