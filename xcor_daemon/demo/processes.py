"""Child processes that never outlive this one, however it ends.

Run as a program, this file binds its process to the parent and then executes a command, or runs and
guards it. A ``preexec_fn`` could do the same but is unsafe in a process with threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_GUARD_GRACE = 5.0  # s from SIGTERM to SIGKILL


def start_child(
    command: Sequence[str | Path],
    *,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    with_detached: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process that ends when this one does, also by ``kill -9``.

    It leads its own process group, so that Ctrl-C on a terminal reaches only this process, which
    then stops its children in order. ``with_detached`` also ends processes that the child started
    in other sessions. Call it from a thread that lives as long as this process: the kernel ends
    the child with the thread that started it.
    """
    mode = "guard" if with_detached else "become"
    return subprocess.Popen(
        [*_bound(mode), *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )


def stop_child(process: subprocess.Popen[bytes], grace: float = 0.0) -> None:
    """End a child and the rest of its group: SIGTERM, up to ``grace`` seconds, SIGKILL."""
    if grace and process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _bound(mode: str) -> list[str]:
    return [sys.executable, "-I", "-S", __file__, mode, str(os.getpid())]


# --- the program ---


def _bind(parent: int, dies_by: signal.Signals) -> None:
    """Make the kernel send ``dies_by`` when the parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(dies_by))
    if os.getppid() != parent:  # it ended before prctl was called
        raise SystemExit(1)


def _become(parent: int, command: list[str]) -> None:
    _bind(parent, signal.SIGKILL)
    os.execvp(command[0], command)


def _guard(parent: int, command: list[str]) -> None:
    """Run a command until it ends, SIGTERM arrives or the parent ends; then end all it started."""
    # Descendants whose parents have ended become children of this process.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _leave)
    _bind(parent, signal.SIGTERM)
    child = subprocess.Popen([*_bound("become"), *command])
    try:
        child.wait()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GUARD_GRACE)
        while pids := _descendants(os.getpid()):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.01)
    raise SystemExit(child.returncode if child.returncode is not None else 1)


def _leave(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _descendants(pid: int) -> list[int]:
    """The descendants of ``pid``, zombies included."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                stat = Path("/proc", entry, "stat").read_text()
                # The name, in brackets, may contain anything; the parent is the 4th field.
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found = list(children.get(pid, ()))
    for each in found:
        found.extend(children.get(each, ()))
    return found


if __name__ == "__main__":
    {"become": _become, "guard": _guard}[sys.argv[1]](int(sys.argv[2]), sys.argv[3:])
