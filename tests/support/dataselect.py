"""A data centre of which no line is ours: EarthScope's portable-fdsnws-dataselect, on loopback."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hosting import free_port

from xcor_daemon.demo.processes import start_child, stop_child

_BIN = Path(sys.executable).parent


@contextmanager
def serve_dataselect(files: Iterable[Path], folder: Path, limit: int = 0) -> Iterator[str]:
    """Portable-fdsnws-dataselect over some files; a reply has at most ``limit`` bytes (0: any)."""
    folder.mkdir()
    database = folder / "index.sqlite"
    subprocess.run([_BIN / "mseedindex", "-sqlite", database, *sorted(files)], check=True)
    with sqlite3.connect(database) as index:
        # Server 2.0.2 takes the flag `latest=>1` of this column for a byte offset and loses the
        # end of every segment; without it, it reads whole segments.
        index.execute("UPDATE tsindex SET timeindex=NULL")
    index.close()
    port = free_port()
    config = folder / "server.ini"
    config.write_text(
        f"[index_db]\npath = {database}\ntable = tsindex\nsummary_table = tsindex_summary\n"
        f"[server]\ninterface = 127.0.0.1\nport = {port}\nrequest_limit = {limit}\n"
        f"maxsectiondays = 10\n[logging]\npath = {folder}/log\nlevel = INFO\n"
    )
    program = _BIN / "portable-fdsnws-dataselect"
    with (folder / "output").open("wb") as log:
        subprocess.run([program, "-i", config], check=True, stdout=log, stderr=log)
        process = start_child([program, config], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/fdsnws/dataselect/1/version", process)
        yield url
    finally:
        stop_child(process)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
