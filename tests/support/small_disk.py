"""A small file system that a test fills, or makes read-only, at a file of its choice; for real.

A command runs in a process that is forked from the tests, with all modules loaded. What it opens
to write on the disk is counted by an audit hook (PEP 578), which acts before the system call.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

LARGE = 64_000_000  # bytes of a disk that is large enough
_READ_ONLY, _REMOUNT, _DETACH = 1, 32, 2  # linux/mount.h
_LIBC = ctypes.CDLL(None, use_errno=True)
# Progress files: their number depends on the duration of a job.
_PROGRESS = ("progress", ".progress", ".connections")


def mount(folder: Path, flags: int, options: str) -> None:
    """mount(2) of a tmpfs; OSError where it is refused."""
    if _LIBC.mount(b"none", bytes(folder), b"tmpfs", flags, options.encode()):
        number = ctypes.get_errno()
        kind = BusyDiskError if number == errno.EBUSY else OSError
        raise kind(number, f"tmpfs: {os.strerror(number)}", str(folder))


class BusyDiskError(OSError):
    """A file of the disk is open to be written."""


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs."""

    folder: Path

    def leave(self, n_bytes: int) -> None:
        """Shrink it to the used size and some bytes more; no file is changed."""
        about = os.statvfs(self.folder)
        used = (about.f_blocks - about.f_bfree) * about.f_frsize
        # A size of 0 would mean without a limit; the kernel counts whole pages.
        mount(self.folder, _REMOUNT, f"size={max(used + n_bytes, 4096)}")

    def fill(self) -> None:
        """Leave no byte."""
        ballast = self.folder / ".ballast"
        if not ballast.exists():  # another process of the command may have been here
            ballast.write_bytes(b"x" * 4096)  # or a size of 0 would be asked for
        self.leave(0)

    def lock(self) -> None:
        """Make it read-only."""
        mount(self.folder, _REMOUNT | _READ_ONLY, f"size={LARGE}")

    def mend(self) -> None:
        """Free the space and allow writing again."""
        mount(self.folder, _REMOUNT, f"size={LARGE}")
        (self.folder / ".ballast").unlink(missing_ok=True)

    def clear(self) -> None:
        """Restore it and remove all files."""
        self.mend()
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def small_disk(folder: Path, options: str = f"size={LARGE}") -> Iterator[SmallDisk]:
    """Mount a tmpfs; a test fails where that is not allowed, it is not left out."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        mount(folder, 0, options)
    except OSError as error:
        pytest.fail(f"a small disk cannot be mounted ({error}); run the tests as root")
    try:
        yield SmallDisk(folder)
    finally:
        _LIBC.umount2(bytes(folder), _DETACH)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    opened: list[str]  # files that it began to write on the disk, in order

    @property
    def message(self) -> str:
        """The line of the error."""
        [line] = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line


def run_command(
    arguments: Sequence[object],
    disk: SmallDisk,
    scratch: Path,
    action: Callable[[], None] | None = None,
    at: int = 0,
    prepare: Callable[[], object] = lambda: None,
    **environ: str,
) -> Ended:
    """Run a command of xcor-daemon; at the file number ``at`` that it begins, ``action`` happens.

    Parameters
    ----------
    scratch : Path
        A folder elsewhere, for what the command says.
    prepare : callable
        Called in its process before it starts.
    """
    counter = scratch / "opened"
    counter.write_bytes(b"")
    process = os.fork()
    if not process:
        code = 1
        try:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(scratch / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            code = _run(arguments, disk, counter, action, at, prepare, environ)
        except BaseException:  # noqa: BLE001  as Python itself does at its end
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    out, err = ((scratch / name).read_text() for name in ("out", "err"))
    return Ended(status, out, err, counter.read_text().splitlines())


def _run(
    arguments: Sequence[object],
    disk: SmallDisk,
    counter: Path,
    action: Callable[[], None] | None,
    at: int,
    prepare: Callable[[], object],
    environ: dict[str, str],
) -> int:
    from xcor_daemon.cli import main

    os.environ.update(environ)
    prepare()
    sys.addaudithook(_Hook(disk.folder, counter, action, at))
    try:
        main([str(argument) for argument in arguments], prog_name="xcor-daemon")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


class _Hook:
    """Counts the files that are opened to be written, in every process of the command."""

    def __init__(
        self, folder: Path, counter: Path, action: Callable[[], None] | None, at: int
    ) -> None:
        self._folder, self._counter = str(folder) + "/", counter
        self._action, self._at = action, at
        self._is_busy = False

    def __call__(self, event: str, arguments: tuple) -> None:
        if event != "open" or self._is_busy or not isinstance(arguments[0], str | bytes):
            return
        path, flags = os.fsdecode(arguments[0]), arguments[2] or 0
        is_new = flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE
        if not is_new or not path.startswith(self._folder):
            return
        name = path.removeprefix(self._folder)
        if any(part.startswith(_PROGRESS) for part in name.split("/")):
            return
        self._is_busy = True
        try:
            self._count(name)
        finally:
            self._is_busy = False

    def _count(self, name: str) -> None:
        with self._counter.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number = len(file.readlines())
            file.write(f"{name}\n")
            file.flush()
            if number >= self._at and self._action is not None:
                # A disk does not become read-only while a file on it is open to be written.
                with suppress(BusyDiskError):
                    self._action()
                    self._action = None
