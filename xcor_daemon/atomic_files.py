"""Atomic writes of files, the only ones in this package; a failing disk raises a `DiskError`.

A file is written under a temporary name, ``NAME.partial``, flushed to the disk and then renamed. A
`DiskError` gives the path, the bytes needed and free, and the remedy.

Every supervisor imports this module, so rarely used imports are inside the functions.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from .errors import DiskError

_BATCH = 256  # files that are flushed together
_FLUSHES = 8  # threads: a file system writes its journal once for all flushes that wait

_REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "delete files there, or ask for a larger quota",
    errno.EROFS: "mount it for writing, or choose another folder",
    errno.EIO: "the device or its connection fails: see dmesg, and replace it",
    errno.EFBIG: "allow larger files (ulimit -f), or choose another file system",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files (sysctl fs.file-max)",
    errno.ENOENT: "create its folder, or mount its disk",
    errno.ENOTDIR: "remove the file with the name of a folder, or choose another folder",
    errno.EEXIST: "remove the file with the name of a folder, or choose another folder",
    errno.EISDIR: "remove the folder with this name, or choose another name",
    errno.ESTALE: "mount the network folder again",
    errno.ENOTCONN: "mount the network folder again",
}


# --- complete files ---


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file atomically.

    Parameters
    ----------
    path : Path
    content : bytes
    durable : bool
        Flush it to the disk before the rename. Without, a power failure may leave it empty:
        for progress files, and files that a later `sync` covers.

    Raises
    ------
    DiskError
        If it cannot be written; an earlier file of this name is then unchanged.
    """
    with open_atomic(path, needed=len(content), durable=durable) as file:
        file.write(content)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a text as UTF-8; parameters and errors as of `write_bytes`."""
    write_bytes(path, text.encode(), durable=durable)


def write_json(
    path: Path, content: Any, *, indent: int | None = 1, durable: bool = True, shared: bool = False
) -> None:
    """Write JSON, numpy numbers as plain ones and dates as text; compact without ``indent``.

    ``durable`` as of `write_bytes`, ``shared`` as of `open_atomic`.
    """
    separators = (",", ":") if indent is None else None
    text = json.dumps(content, indent=indent, separators=separators, default=_plain)
    encoded = text.encode()
    with open_atomic(path, needed=len(encoded), durable=durable, shared=shared) as file:
        file.write(encoded)


def _plain(value: Any) -> Any:
    """A numpy number as a Python one, a date as text."""
    return value.item() if hasattr(value, "item") else str(value)


def write_csv(
    path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]], *, durable: bool = True
) -> None:
    r"""Write a table, lines ending with ``\n``; ``durable`` and errors as of `write_bytes`."""
    import csv

    with open_atomic(path, durable=durable) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        try:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        finally:
            text.detach()  # otherwise it closes the file when it is collected


# --- files written by the caller ---


@contextmanager
def open_atomic(
    path: Path,
    *,
    needed: int = 0,
    shared: bool = False,
    durable: bool = True,
    steady: bool = False,
) -> Iterator[io.BufferedRandom]:
    """Open a file for writing; it gets its name when the block ends, and is removed on an error.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    needed : int
        Size in bytes, for the message; 0 if unknown.
    shared : bool
        Whether another process may write the same file at the same time, such as a worker that was
        presumed dead: the partial files then have different names, and the last rename wins.
    durable : bool
        As of `write_bytes`.
    steady : bool
        Open a `SteadyFile`, which raises its error when the block ends.

    Raises
    ------
    DiskError
        If it cannot be written.
    """
    with create_partial(path, needed=needed, shared=shared, durable=durable) as partial:
        if not steady:
            with partial.open("w+b") as file:
                yield file
        else:
            with io.BufferedRandom(SteadyFile(partial)) as file:
                yield file


@contextmanager
def create_partial(
    path: Path, *, needed: int = 0, shared: bool = False, durable: bool = True
) -> Iterator[Path]:
    """The temporary name of a file that the block writes; parameters as of `open_atomic`.

    Raises
    ------
    DiskError
        For every OSError of the disk in the block, and if the rename fails.
    """
    partial = partial_of(path, shared=shared)
    with disk_errors(path, needed):
        try:
            yield partial
            if durable:
                _flush(partial)
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):  # the disk may be read-only by now
                partial.unlink(missing_ok=True)
            raise
        if durable:
            _flush(path.parent)


def partial_of(path: Path, *, shared: bool = False) -> Path:
    """The temporary name of a file; ``shared`` as of `open_atomic`."""
    own = f".{os.urandom(4).hex()}" if shared else ""
    return path.with_name(f"{path.name}{own}.partial")


class Batch:
    """Many files flushed together, which takes a tenth of the time of single flushes.

    Use it in a ``with`` block. Files are renamed from time to time and when the block ends without
    an error; each is written atomically. Errors are those of `write_bytes`.
    """

    def __init__(self) -> None:
        self._open: dict[Path, Path] = {}  # name -> temporary name; files that are appended to
        self._written: dict[Path, Path] = {}

    def write_bytes(self, path: Path, content: bytes) -> None:
        """Write a file."""
        partial = self._written[path] = partial_of(path)
        with disk_errors(path, len(content)):
            partial.write_bytes(content)
        if len(self._written) >= _BATCH:
            self._finish(self._written)

    def partial(self, path: Path) -> Path:
        """The temporary name of a file until the block ends.

        An existing file of this name is copied to it.
        """
        if path not in self._open:
            partial = self._open[path] = partial_of(path)
            with disk_errors(path):
                if path.exists():
                    _copy(path, partial)
                else:
                    partial.unlink(missing_ok=True)
        return self._open[path]

    def _finish(self, files: dict[Path, Path]) -> None:
        sync(files.values())
        for path, partial in files.items():
            with disk_errors(path):
                os.replace(partial, path)
        for folder in {path.parent for path in files}:
            with disk_errors(folder):
                _flush(folder)
        files.clear()

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish(self._written)
                self._finish(self._open)
        finally:
            for partial in (*self._written.values(), *self._open.values()):
                with suppress(OSError):  # the disk may be read-only by now
                    partial.unlink(missing_ok=True)


def _copy(path: Path, partial: Path) -> None:
    import shutil

    shutil.copyfile(path, partial)


def sync(paths: Iterable[Path]) -> None:
    """Flush files to the disk, and then their folders.

    Raises
    ------
    DiskError
        If one cannot be flushed.
    """
    from concurrent.futures import ThreadPoolExecutor

    files = list(paths)

    def flush(path: Path) -> None:
        with disk_errors(path):
            _flush(path)

    with ThreadPoolExecutor(_FLUSHES) as pool:
        list(pool.map(flush, files))
        list(pool.map(flush, sorted({path.parent for path in files})))


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SteadyFile(io.RawIOBase):
    """A file for a library that may crash on a failing write, such as HDF5.

    The first error is stored, further writes are dropped, and `close` raises it. When the file
    grows, its blocks are allocated at once, so that later writes there cannot run out of space.

    Parameters
    ----------
    path : Path
    mode : str
        ``w`` for a new file, ``r+`` for an existing one.
    """

    def __init__(self, path: Path, mode: str = "w") -> None:
        flags = os.O_RDWR | (os.O_CREAT | os.O_TRUNC if mode == "w" else 0)
        self._at = 0
        self.error: OSError | None = None
        # Python also calls `close` for a file that could not be opened, when it collects it.
        self._descriptor = -1
        self._descriptor = os.open(path, flags, 0o666)

    def readable(self) -> bool:
        """True: libraries read their own writes."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position (bytes)."""
        ends = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}
        base = ends[whence] if whence in ends else os.fstat(self._descriptor).st_size
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """The position (bytes)."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read up to the end of the file; after an error, fill the rest with zeros."""
        view = memoryview(buffer).cast("B")
        n = os.preadv(self._descriptor, [view], self._at)
        if self.error is not None:  # the library may read a dropped write
            view[n:] = bytes(view.nbytes - n)
            n = view.nbytes
        self._at += n
        return n

    def write(self, content: Any) -> int:
        """Write all of it; return its size after an error too."""
        view = memoryview(content).cast("B")
        self._try(lambda: write_at(self._descriptor, view, self._at))
        self._at += view.nbytes
        return view.nbytes

    def truncate(self, size: int | None = None) -> int:
        """Set the length (bytes)."""
        size = self._at if size is None else size
        self._try(lambda: _set_size(self._descriptor, size))
        return size

    def _try(self, action: Any) -> None:
        if self.error is None:
            try:
                action()
            except OSError as error:
                self.error = error

    def close(self) -> None:
        """Close it.

        Raises
        ------
        OSError
            The first error, once.
        """
        if self.closed:
            return
        super().close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        if self.error is not None:
            raise self.error


class _NoSpaceError(OSError):
    """ENOSPC, with the bytes needed."""

    def __init__(self, needed: int) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.needed = needed


def _set_size(descriptor: int, size: int) -> None:
    """Set a file's length; allocate its blocks if it grows."""
    import ctypes

    about = os.fstat(descriptor)
    if size > about.st_size:
        disk = os.fstatvfs(descriptor)
        # Checked first: allocating the last blocks would harm other programs that write there.
        if size - 512 * about.st_blocks > disk.f_bavail * disk.f_frsize:
            raise _NoSpaceError(size)
        if _fallocate()(descriptor, 0, 0, size):
            number = ctypes.get_errno()
            # Not every file system can, such as NFS before 4.2; each write then allocates its own.
            if number not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise OSError(number, os.strerror(number))
    os.ftruncate(descriptor, size)


@cache
def _fallocate() -> Any:
    """fallocate(2). `os.posix_fallocate` writes to every block where the file system cannot."""
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).fallocate64
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function


def write_at(descriptor: int, content: Any, offset: int) -> None:
    """Write all bytes of a contiguous array, or the like, at an offset of an open file."""
    view = memoryview(content).cast("B")
    while view:  # one call writes at most 2 GiB
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done


# --- folders and logs ---


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Create a folder and its parents if they are missing; a DiskError if that fails."""
    with disk_errors(path):
        path.mkdir(mode=mode, parents=True, exist_ok=True)


def open_log(path: Path) -> BinaryIO:
    """Open a log file for appending; a DiskError if that fails."""
    with disk_errors(path):
        return path.open("ab")


def remove(path: Path) -> None:
    """Remove a file, if it exists, or a folder with its contents; a DiskError if that fails."""
    with disk_errors(path), suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            import shutil

            shutil.rmtree(path)
        else:
            path.unlink()


# --- errors ---


@contextmanager
def disk_errors(path: Path, needed: int = 0, action: str = "written") -> Iterator[None]:
    """Turn the OSErrors of a disk into a `DiskError` that names the path.

    Errors of connections pass, and errors without a number, which are raised by libraries.
    ``needed`` is as of `open_atomic`; ``action`` is the failing action, such as ``read``.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError):
            raise
        raise explain(path, error, needed, action) from error


def explain(path: Path, error: OSError, needed: int = 0, action: str = "written") -> DiskError:
    """The `DiskError` for an OSError: value, limit, remedy."""
    needed = getattr(error, "needed", needed)
    number = error.errno or 0
    free = free_bytes(path)
    facts = [os.strerror(number) if number else str(error)]
    remedy = _REMEDIES.get(number, "check the disk")
    if number in (errno.ENOSPC, errno.EDQUOT):
        facts.append(_space_text(path, needed, free))
    elif number in (errno.EACCES, errno.EPERM):
        remedy = f"give user {os.geteuid()} write access, or choose another folder"
    elif number == errno.ENAMETOOLONG:
        facts.append(f"the name has {len(os.fsencode(path.name))} bytes, the path {_length(path)}")
        remedy = "choose a shorter one"
    text = f"{path} cannot be {action}: {'; '.join(facts)}; {remedy}."
    return DiskError(text, path=path, needed=needed, free=free)


def require_space(path: Path, needed: int, reserve: int = 0) -> None:
    """Check the free space before a long task begins.

    Parameters
    ----------
    path : Path
        A path on the disk.
    needed, reserve : int
        Bytes to be written, and bytes that must stay free in addition.

    Raises
    ------
    DiskError
        If there is less space, or the disk is read-only.
    """
    with disk_errors(path):
        if os.statvfs(_existing(path)).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    free = free_bytes(path)
    if free is not None and free < needed + reserve:
        beside = f" and {size_text(reserve)} reserved (XCOR_RESERVE)" if reserve else ""
        figures = f"{size_text(needed)} needed{beside}, {size_text(free)} free"
        text = f"{path} cannot be written: {figures}; {_REMEDIES[errno.ENOSPC]}."
        raise DiskError(text, path=path, needed=needed, free=free)


def free_bytes(path: Path) -> int | None:
    """Free bytes on the disk of a path that may not exist yet; None if unknown."""
    try:
        disk = os.statvfs(_existing(path))
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize


def _existing(path: Path) -> Path:
    """A path, or its nearest existing parent."""
    path = path.absolute()
    for one in (path, *path.parents):
        with suppress(OSError):
            if one.exists():
                return one
    return Path("/")


def _space_text(path: Path, needed: int, free: int | None) -> str:
    with suppress(OSError):
        disk = os.statvfs(_existing(path))
        if disk.f_files and not disk.f_favail:
            return f"1 more file needed, all {disk.f_files} files of the file system are in use"
    known = "free space unknown" if free is None else f"{size_text(free)} free"
    return f"{size_text(needed)} needed, {known}" if needed else known


def _length(path: Path) -> int:
    return len(os.fsencode(path.absolute()))


def size_text(n_bytes: float) -> str:
    """A size with its unit: ``812 bytes``, ``12.3 MB``."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes:.0f} bytes"
