"""Files that are complete or absent, and errors of the disk; on real small disks."""

from __future__ import annotations

import csv
import errno
import json
import os
import pickle
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_disk import small_disk

from xcor_daemon import atomic_files
from xcor_daemon.atomic_files import Batch, SteadyFile, open_atomic
from xcor_daemon.errors import DiskError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_has_numpy_numbers_and_dates_as_plain_values(tmp_path):
    day = np.datetime64("2020-01-01")
    atomic_files.write_json(tmp_path / "a.json", {"n": np.int32(3), "x": np.float32(0.5), "d": [1]})
    atomic_files.write_json(tmp_path / "b.json", {"day": str(day)}, indent=None)

    assert json.loads((tmp_path / "a.json").read_bytes()) == {"n": 3, "x": 0.5, "d": [1]}
    assert (tmp_path / "b.json").read_text() == '{"day":"2020-01-01"}'


def test_a_table_has_quotes_where_they_are_needed_and_unix_lines(tmp_path):
    atomic_files.write_csv(tmp_path / "a.csv", ["x", "y"], [[1, 'a,"b"'], ["é", 2.5]])

    assert (tmp_path / "a.csv").read_bytes() == 'x,y\n1,"a,""b"""\né,2.5\n'.encode()
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file))[1] == ["1", 'a,"b"']


@pytest.mark.parametrize("shared", [False, True])
def test_a_block_that_fails_leaves_the_earlier_file_and_no_other(tmp_path, shared):
    path = tmp_path / "a.txt"
    path.write_text("earlier")

    def fail() -> None:
        with open_atomic(path, shared=shared) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["a.txt"]


def test_two_writers_of_one_file_do_not_interfere(tmp_path):
    path = tmp_path / "a.txt"
    with open_atomic(path, shared=True) as first, open_atomic(path, shared=True) as second:
        first.write(b"first, which is renamed last")
        second.write(b"second")

    assert path.read_bytes() == b"first, which is renamed last"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_of_a_connection_is_not_a_disk_error(tmp_path):
    with pytest.raises(ConnectionResetError), open_atomic(tmp_path / "a"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    with pytest.raises(OSError, match="of a library") as caught, open_atomic(tmp_path / "a"):
        raise OSError("of a library")
    assert not isinstance(caught.value, DiskError)


def test_a_disk_error_survives_pickling_between_processes():
    error = DiskError("a cannot be written", path=Path("a"), needed=3, free=2)

    again = pickle.loads(pickle.dumps(error))  # noqa: S301  as processes of a pool do

    assert (str(again), again.path, again.needed, again.free) == (str(error), Path("a"), 3, 2)
    assert again.exit_code == 74


def test_the_error_of_a_full_disk_has_the_needed_and_free_bytes(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        (disk.folder / "kept").write_bytes(b"x" * 8192)
        disk.leave(8192)
        with pytest.raises(DiskError) as caught:
            atomic_files.write_bytes(disk.folder / "a", b"x" * 12_500)
        left = names(disk.folder)

    text = "No space left on device; 12.5 kB needed, 8.2 kB free; free some space there."
    assert str(caught.value) == f"{disk.folder}/a cannot be written: {text}"
    assert (caught.value.needed, caught.value.free) == (12_500, 8192)
    assert left == ["kept"]


def test_the_error_of_a_full_disk_has_the_reserved_bytes(tmp_path):
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        atomic_files.require_space(disk.folder, 4_000_000, 4_000_000)
        with pytest.raises(DiskError) as caught:
            atomic_files.require_space(disk.folder / "not/yet", 4_000_000, 5_000_000)
        disk.lock()
        with pytest.raises(DiskError, match="Read-only file system; mount it for writing"):
            atomic_files.require_space(disk.folder, 1)

    text = "4.0 MB needed and 5.0 MB reserved (XCOR_RESERVE), 8.4 MB free; free some space there."
    assert str(caught.value).endswith(text)


def test_the_error_of_a_long_name_has_its_length(tmp_path):
    with pytest.raises(DiskError, match=r"the name has 300 bytes, .*; choose a shorter one"):
        atomic_files.write_text(tmp_path / ("n" * 300), "")


def test_a_missing_folder_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(DiskError, match=r"No such file or directory; create its folder"):
        atomic_files.write_text(tmp_path / "missing/file", "")


def run_as_nobody(code: str, *arguments: str) -> str:
    """The output of code that runs without the rights of root."""
    command = [sys.executable, "-c", code, *arguments]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    return done.stdout


def test_the_error_of_a_denied_folder_has_the_user(tmp_path):
    code = """
import os, pathlib, sys
from xcor_daemon import atomic_files
from xcor_daemon.errors import DiskError
os.setgid(65534); os.setuid(65534)
try:
    atomic_files.write_text(pathlib.Path(sys.argv[1]) / "a", "")
except DiskError as error:
    print(error)
"""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)

    output = run_as_nobody(code, str(tmp_path))

    assert "Permission denied; give user 65534 write access, or choose another folder." in output


def test_a_limit_of_file_sizes_is_an_error_with_a_remedy(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DiskError, match=r"File too large; allow larger files \(ulimit -f\)"):
            atomic_files.write_bytes(tmp_path / "a", b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EDQUOT, "Disk quota exceeded; 2.0 MB needed, "),
        (errno.EIO, "Input/output error; the device or its connection fails: see dmesg"),
        (errno.ESTALE, "Stale file handle; mount the network folder again"),
        (errno.EMFILE, "Too many open files; allow more open files (ulimit -n)"),
    ],
)
def test_errors_that_no_test_can_cause_have_a_remedy(tmp_path, number, cause):
    error = OSError(number, os.strerror(number))

    text = str(atomic_files.explain(tmp_path / "a", error, 2_000_000))

    assert text.startswith(f"{tmp_path}/a cannot be written: {cause}")


def test_files_of_a_batch_appear_together(tmp_path):
    with Batch() as batch:
        for k in range(3):
            batch.write_bytes(tmp_path / f"{k}.txt", b"%d" % k)
        before = names(tmp_path)

    assert before == ["0.txt.partial", "1.txt.partial", "2.txt.partial"]
    assert names(tmp_path) == ["0.txt", "1.txt", "2.txt"]
    assert (tmp_path / "1.txt").read_bytes() == b"1"


def write_all(paths: list[Path]) -> None:
    with Batch() as batch:
        for path in paths:
            batch.write_bytes(path, b"x" * 4096)


def test_a_batch_that_fails_leaves_complete_files_only(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_files, "_BATCH", 2)
    with small_disk(tmp_path / "disk") as disk:
        disk.leave(3 * 4096)
        paths = [disk.folder / f"{k}.txt" for k in range(1, 9)]
        with pytest.raises(DiskError, match=r"4\.txt cannot be written: No space"):
            write_all(paths)

        assert names(disk.folder) == ["1.txt", "2.txt"]


def test_a_file_that_a_batch_adds_to_keeps_what_was_in_it_until_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before ")
    with Batch() as batch:
        for word in ("and ", "after"):
            with batch.partial(path).open("a") as file:
                file.write(word)
        assert path.read_text() == "before "

    assert path.read_text() == "before and after"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("space", range(0, 11 * 4096, 4096))
def test_hdf5_on_a_disk_that_fills_up_is_an_error_not_a_crash(tmp_path, space):
    """Any write may fail; texts are stored in many small blocks that are written last."""
    words = np.array([f"word {k}" for k in range(500)], dtype=object)

    def write(path: Path) -> None:
        with atomic_files.create_partial(path) as partial:
            raw = SteadyFile(partial)
            try:
                with h5py.File(raw, "w") as file:
                    for name in ("first", "second"):
                        file.create_dataset(name, data=words, dtype=h5py.string_dtype())
            finally:
                raw.close()

    with small_disk(tmp_path / "disk") as disk:
        disk.leave(space)
        with pytest.raises(DiskError, match="No space left"):
            write(disk.folder / "a.h5")
        assert names(disk.folder) == []
        disk.mend()
        write(disk.folder / "a.h5")
        with h5py.File(disk.folder / "a.h5") as file:
            assert file["second"].asstr()[:].tolist() == words.tolist()


def test_blocks_are_allocated_before_they_are_written(tmp_path):
    """So that the space cannot be missing at the end of hours of computation."""
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        raw = SteadyFile(disk.folder / "a")
        raw.truncate(5_000_000)
        free = atomic_files.free_bytes(disk.folder)
        raw.close()
        other = SteadyFile(disk.folder / "b")
        other.truncate(5_000_000)
        with pytest.raises(OSError, match="No space left"):
            other.close()
        size = (disk.folder / "b").stat().st_size

    assert free < 8 * 2**20 - 5_000_000 + 4096
    assert size == 0


def test_permissions_are_those_that_the_process_gives_to_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_files.write_text(tmp_path / "a", "")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_file_that_cannot_be_opened_is_closed_without_an_error(tmp_path):
    """Python closes it when it collects it, and since 3.13 prints an error of that."""
    file = SteadyFile.__new__(SteadyFile)
    with pytest.raises(FileNotFoundError):
        file.__init__(tmp_path / "missing/file")

    file.close()

    assert file.closed
