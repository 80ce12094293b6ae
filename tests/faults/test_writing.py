"""Every command that writes, on a disk that is really full or read-only from a chosen file on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hosting import wait_until
from small_disk import Ended, SmallDisk, run_command, small_disk
from synthetic import datasets, network_job

from xcor_daemon.demo.fdsn_server import serve_fdsn
from xcor_daemon.errors import DiskError
from xcor_daemon.pipeline.scheduling.unit_progress import write_progress
from xcor_daemon.pipeline.units import buffer
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.results import FORMATS, open_results
from xcor_daemon.results import export as export_results
from xcor_daemon.service.retry import classify
from xcor_daemon.storage.jobs import create_job
from xcor_daemon.storage.worker_outputs import log_tail
from xcor_daemon.workers.launcher import ENDED
from xcor_daemon.workers.local_launcher import LocalLauncher

pytestmark = pytest.mark.real

STACKING = "type,stack_all,job,interval\nrobust,false,41,1D\n"


@dataclass(frozen=True)
class Inputs:
    """What commands read, on a disk with space."""

    job: Path  # stations.csv and params.csv
    source: str
    results: Path  # of that job
    centre: str  # a data centre with the same waveforms


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Iterator[Inputs]:
    from xcor_daemon.pipeline import plots  # noqa: F401  forked processes then have it
    from xcor_daemon.pipeline.run import correlate_job

    folder = tmp_path_factory.mktemp("inputs")
    job = network_job(folder, stations=3, days=2)
    results = job.copy(folder / "results")
    correlate_job(results.folder, job.source, 1, images=False)
    with open_results(results.folder) as opened:
        for kind in FORMATS:  # forked processes then have xarray and ObsPy too
            export_results(opened, folder / kind, kind)
    with serve_fdsn(folder / "archive") as centre:
        yield Inputs(job.folder, job.source, results.folder, f"fdsn:{centre.url}")


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("disks") / "small") as made:
        yield made


def correlate(*options: str) -> Callable[[Inputs, Path], list[object]]:
    def arguments(inputs: Inputs, folder: Path) -> list[object]:
        shutil.copytree(inputs.job, folder, dirs_exist_ok=True)
        source = inputs.centre if "--centre" in options else inputs.source
        rest = [option for option in options if option != "--centre"]
        return ["correlate", folder, "--source", source, *rest]

    return arguments


def join(inputs: Inputs, folder: Path) -> list[object]:
    shutil.copytree(inputs.job, folder, dirs_exist_ok=True)
    for part in ("CORR", ".units"):
        if not (folder / part).exists():
            shutil.copytree(inputs.results / part, folder / part)
    (folder / "CORR/rows.json").unlink(missing_ok=True)
    return ["correlate", folder, "--source", inputs.source, "--join", "--no-images"]


def stack(inputs: Inputs, folder: Path) -> list[object]:
    folder.mkdir(exist_ok=True)
    (folder / "stacking_params.csv").write_text(STACKING)
    return ["stack", folder, "--corr", inputs.results / "CORR", "--processes", "2"]


def export(kind: str, what: str) -> Callable[[Inputs, Path], list[object]]:
    return lambda inputs, folder: [
        "export", inputs.results, folder / kind, "--format", kind, "--what", what,
    ]  # fmt: skip


def page(inputs: Inputs, folder: Path) -> list[object]:
    return ["page", folder, "--results", "https://bucket.example/xcor"]


def in_blocks() -> None:
    """Days in blocks of two channels, prepared channels on the disk at once."""
    LIMITS["channel_blocks"]["max_channels"] = 2
    buffer.MAX_BYTES_IN_MEMORY = 0


def no_preparation() -> None:
    pass


ONE = ("--processes", "1", "--no-images")
CASES = {
    "correlate": (correlate(*ONE), no_preparation),
    "images": (correlate("--processes", "2"), no_preparation),
    "pool": (correlate("--processes", "2", "--no-images"), no_preparation),
    "blocks": (correlate(*ONE), in_blocks),
    "downloads": (correlate("--centre", *ONE), no_preparation),
    "shard": (correlate("--shard", "1/2", "--processes", "1"), no_preparation),
    "join": (join, no_preparation),
    "stack": (stack, no_preparation),
    **{kind: (export(kind, "corr" if kind == "hdf5" else "linear"), no_preparation)
       for kind in FORMATS},
    "page": (page, no_preparation),
}  # fmt: skip


@pytest.fixture(scope="module")
def references(inputs, disk, tmp_path_factory) -> Callable[[str], tuple[Ended, dict]]:
    """How a case ends, and what it leaves, where there is space."""
    known: dict[str, tuple[Ended, dict]] = {}
    scratch = tmp_path_factory.mktemp("reference")

    def of(case: str) -> tuple[Ended, dict]:
        if case not in known:
            disk.clear()
            make, prepare = CASES[case]
            ended = run_command(make(inputs, disk.folder / "job"), disk, scratch, prepare=prepare)
            assert ended.code == 0, ended.err
            known[case] = ended, contents(disk.folder / "job")
        return known[case]

    return of


def contents(folder: Path) -> dict[str, object]:
    """What is in the results of a job, without what differs from run to run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith((".", "progress")):
            continue
        if path.suffix == ".h5":
            found[name] = datasets(path)
        elif path.suffix == ".npz":
            found[name] = path.stat().st_size
        elif name == "outputs.json":
            outputs = json.loads(path.read_text())
            files = [file["name"] for file in outputs["files"]]
            found[name] = {**outputs, "files": files}
        else:
            found[name] = path.read_bytes()
    return found


def check_failure(ended: Ended, folder: Path, expected: dict, reason: str) -> None:
    """One line, the exit code of a disk, and nothing half written."""
    assert ended.code == DiskError.exit_code, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1] == ended.message
    assert str(folder.parent) in ended.message
    assert reason in ended.message
    for name, content in contents(folder).items():
        if not name.endswith(".partial"):
            assert content == expected[name], name
    assert "outputs.json" not in contents(folder)
    for record in folder.glob(".units/**/*.json"):
        assert json.loads(record.read_text())["key"]


POINTS = {"first": lambda n: 0, "middle": lambda n: n // 2, "last": lambda n: n - 1}


# Rendering takes 2 s, so images are made only in the middle case, where an image fails.
TRIED = [(c, p) for c in CASES for p in POINTS if c != "images" or p == "middle"]


@pytest.mark.parametrize(("case", "point"), TRIED)
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_command_ends_with_74_and_continues_on_a_repaired_disk(
    state, case, point, inputs, disk, references, tmp_path
):
    make, prepare = CASES[case]
    reference, expected = references(case)
    at = POINTS[point](len(reference.opened))
    folder = disk.folder / "job"
    disk.clear()
    arguments = make(inputs, folder)
    action, reason = {
        "full": (disk.fill, "No space left on device"),
        "read-only": (disk.lock, "Read-only file system"),
    }[state]
    ended = run_command(arguments, disk, tmp_path, action, at, prepare)
    check_failure(ended, folder, expected, reason)
    if state == "full":
        assert "0 bytes free" in ended.message
        # All processes of a pool are killed when one of them fails.
        assert case in ("images", "pool", "stack") or not list(folder.rglob("*.partial"))

    disk.mend()
    again = run_command(make(inputs, folder), disk, tmp_path, prepare=prepare)

    assert again.code == 0, again.err
    assert contents(folder) == expected
    assert case == "shard" or not list(folder.rglob("*.partial"))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "xcor_daemon.cli", *map(str, arguments)]


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_dask_worker_reports_an_error_of_its_disk(state, inputs, disk, references, tmp_path):
    """Of a full or read-only disk that only the workers meet: the files of correlations."""
    _, expected = references("pool")
    disk.clear()
    folder = disk.folder / "job"
    arguments = correlate("--executor", "dask", "--processes", "2", "--no-images")(inputs, folder)
    environ = {**os.environ, "XCOR_CACHE": str(tmp_path / "cache")}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments), capture_output=True, text=True, env=environ, check=False
        )

    (folder / "CORR").mkdir()
    if state == "full":
        disk.leave(6 * 4096)  # request.json, the mark of the cluster; not 68 kB of correlations
        first = run()
        reason = "No space left on device"
    else:
        with small_disk(folder / "CORR") as of_results:
            of_results.lock()
            first = run()
        reason = "Read-only file system"
    ended = Ended(first.returncode, first.stdout, first.stderr, [])
    check_failure(ended, folder, expected, reason)
    assert "/job/CORR/2020-01-0" in ended.message

    disk.mend()
    again = run()

    assert again.returncode == 0, again.stderr
    assert contents(folder) == expected


def test_days_on_dask_end_with_the_disk_that_cannot_store_them(inputs, disk, tmp_path):
    """Workers read what one machine downloads: there a download that is not kept is lost."""
    from xcor_daemon.pipeline.scheduling.prefetch import Downloads
    from xcor_daemon.pipeline.sources import Access, open_sources
    from xcor_daemon.pipeline.units.plan import DayPlan
    from xcor_daemon.request.parse import read_request

    disk.clear()
    request = read_request(inputs.job)
    access = Access(lock_folder=tmp_path, download_folder=disk.folder / ".downloads")
    source = open_sources(inputs.centre, request.channels, {}, access)
    plan = DayPlan(disk.folder, request.params, source, source.metadata((), "none"), "key")
    day = request.days[0]
    disk.fill()
    with (
        Downloads(plan, request, request.days) as downloads,
        pytest.raises(DiskError, match=r"\.downloads.*No space left on device"),
    ):
        wait_until(lambda: downloads.is_ready(day, 10.0))

    disk.mend()
    with Downloads(plan, request, request.days) as downloads:
        wait_until(lambda: downloads.is_ready(day, 10.0))
    kept = {path.stem for path in disk.folder.glob(".downloads/*/*/*.npz")}
    assert kept == {channel.id for channel in request.channels}


@pytest.mark.parametrize("space", range(0, 36 * 4096, 7 * 4096))
def test_with_any_free_space_a_job_succeeds_or_ends_with_74(
    space, inputs, disk, references, tmp_path
):
    """Where the disk is full is not chosen by file here but by bytes."""
    make, prepare = CASES["blocks"]
    _, expected = references("blocks")
    disk.clear()
    folder = disk.folder / "job"
    arguments = make(inputs, folder)
    disk.leave(space)
    ended = run_command(arguments, disk, tmp_path, prepare=prepare)
    check_failure(ended, folder, expected, "No space left on device")

    disk.mend()

    assert run_command(make(inputs, folder), disk, tmp_path, prepare=prepare).code == 0
    assert contents(folder) == expected


def test_a_disk_without_free_inodes_is_reported_as_full(inputs, tmp_path):
    with small_disk(tmp_path / "disk", "size=64m,nr_inodes=12") as disk:
        folder = disk.folder / "job"
        folder.mkdir()
        ended = run_command(correlate(*ONE)(inputs, folder), disk, tmp_path)

    assert ended.code == 74, ended.err
    assert "all 12 files of the file system are in use" in ended.message


@pytest.mark.parametrize("state", ["full", "read-only"])
@pytest.mark.parametrize("name", ["retry", "cancel", "hold", "release"])
def test_an_operator_command_that_cannot_be_posted_ends_with_74(state, name, disk, tmp_path):
    disk.clear()
    {"full": disk.fill, "read-only": disk.lock}[state]()
    arguments = ["--work-dir", disk.folder / "work", name, "41"]
    ended = run_command(arguments, disk, tmp_path)
    assert (ended.code, ended.out) == (74, "")
    assert ended.message

    disk.mend()

    assert run_command(arguments, disk, tmp_path).code == 0
    assert json.loads((disk.folder / "work/.orders/41.json").read_text())["action"] == name
    assert not list(disk.folder.rglob("*.partial"))


@pytest.mark.parametrize("state", ["full", "read-only"])
@pytest.mark.parametrize("name", ["run", "run-once"])
def test_a_daemon_without_a_work_folder_ends_with_74(state, name, disk, tmp_path):
    disk.clear()
    {"full": disk.fill, "read-only": disk.lock}[state]()
    arguments = ["--bucket", "xcor", "--work-dir", disk.folder / "work", name]

    ended = run_command(arguments, disk, tmp_path, XCOR_ENDPOINT_URL="http://127.0.0.1:9")

    assert ended.code == 74, ended.err
    assert ended.message


@pytest.mark.parametrize("name", ["gc", "rebuild-state"])
def test_a_folder_that_cannot_be_removed_ends_with_74(name, disk, tmp_path):
    disk.clear()
    unfinished = disk.folder / "work/20260101_000000/41"
    unfinished.mkdir(parents=True)
    arguments = ["--work-dir", disk.folder / "work", name]
    disk.folder.joinpath("work/.lock").touch()
    disk.lock()
    ended = run_command(arguments, disk, tmp_path)
    assert ended.code == 74, ended.err
    assert "Read-only file system" in ended.message

    disk.mend()

    assert run_command(arguments, disk, tmp_path).code == 0
    assert not unfinished.exists()


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_doctor_names_a_work_folder_that_cannot_be_written(state, disk, tmp_path):
    disk.clear()
    {"full": disk.fill, "read-only": disk.lock}[state]()

    ended = run_command(["--work-dir", disk.folder, "doctor"], disk, tmp_path)

    reason = {"full": "No space left on device", "read-only": "Read-only file system"}[state]
    assert ended.code == 1
    [line] = [line for line in ended.out.splitlines() if "work folder" in line]
    assert line.startswith("fail")
    assert reason in line


@pytest.mark.parametrize("name", ["validate", "estimate"])
def test_commands_that_only_read_work_on_a_read_only_disk(name, inputs, disk, tmp_path):
    disk.clear()
    shutil.copytree(inputs.job, disk.folder / "job")
    disk.lock()

    assert run_command([name, disk.folder / "job"], disk, tmp_path).code == 0


def test_progress_that_cannot_be_written_stops_no_job_and_is_logged_once(disk, caplog):
    caplog.set_level("INFO")
    disk.clear()
    disk.fill()
    for done in (1, 2):
        write_progress(disk.folder / "progress.json", {"done": done})

    assert caplog.text.count("progress cannot be written") == 1
    assert not (disk.folder / "progress.json").exists()
    disk.mend()
    write_progress(disk.folder / "progress.json", {"done": 3})
    assert json.loads((disk.folder / "progress.json").read_text()) == {"done": 3}


def test_output_to_a_full_disk_ends_with_74(inputs, disk):
    disk.clear()
    out = disk.folder / "cost.json"
    with out.open("w") as file:
        disk.fill()
        done = subprocess.run(
            command("estimate", inputs.job, "--json"),
            stdout=file, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert done.returncode == 74
    [line] = done.stderr.splitlines()
    assert "the output of this command cannot be written: No space left on device" in line


def test_a_log_on_the_full_disk_does_not_hide_the_exit_code(inputs, disk):
    """As a worker's: its log lies in the folder of the job. Python itself would end with 120."""
    disk.clear()
    folder = disk.folder / "job"
    arguments = command(*correlate(*ONE)(inputs, folder))
    with (disk.folder / "log.txt").open("w") as log:
        disk.fill()
        failed = subprocess.run(arguments, stdout=log, stderr=log, check=False)
        mute = command("estimate", inputs.job)
        well = subprocess.run(mute, stdout=subprocess.PIPE, stderr=log, check=False)

    assert failed.returncode == 74
    assert well.returncode == 0


def test_a_supervisor_that_cannot_write_its_identity_ends_with_74(disk):
    disk.clear()
    job = create_job(disk.folder, "41", {}, [], 0.0)
    launcher = LocalLauncher(lambda job: ["true"], os.environ)
    disk.fill()
    launcher.start(job)
    wait_until(lambda: launcher.inspect(job).state == ENDED)

    worker = launcher.inspect(job)
    end = classify(worker.exit_code, log_tail(job.folder), 3)

    assert worker.exit_code == 74
    assert (end.kind, end.final_state) == ("disk", "")
    assert end.reason == "the disk of the job's folder is full or not writable"


def test_the_disk_error_of_a_worker_is_the_reason_of_its_end():
    line = "/job/CORR/1.h5 cannot be written: No space left on device; 3 MB needed, 1 MB free"

    end = classify(74, ["day 1", f"error: {line}"], 3)

    assert (end.kind, end.reason) == ("disk", line)


def test_the_demo_reports_the_disk_space_that_it_needs(disk):
    disk.clear()
    done = subprocess.run(
        command("demo", "--once"),
        capture_output=True, text=True, env={**os.environ, "TMPDIR": str(disk.folder)}, check=False,
    )  # fmt: skip

    assert done.returncode == 74, done.stderr
    [line] = done.stderr.splitlines()
    assert f"{disk.folder} cannot be written: 100.0 MB needed and 1.0 GB reserved" in line
    assert not list(disk.folder.iterdir())


def test_the_demo_reports_that_all_temporary_folders_are_read_only():
    root = Path(__file__).parents[2]
    lock = "[ ! -d {0} ] || {{ mount --rbind {0} {0}; mount -o remount,bind,ro {0}; }}"
    locked = "; ".join(lock.format(place) for place in ("/tmp", "/var/tmp", "/usr/tmp"))
    # The last folder that Python tries is the one where it was started.
    call = " ".join(command("demo", "--once"))
    script = f"{locked}; cd /proc; exec {call}"
    environ = {**os.environ, "PYTHONPATH": str(root), "TMPDIR": "/tmp"}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True, text=True, env=environ, check=False,
    )  # fmt: skip

    assert done.returncode == 74, done.stderr
    [line] = done.stderr.splitlines()
    assert "cannot create a temporary folder" in line
    assert "set TMPDIR to a folder on a disk with free space" in line


def test_a_demo_whose_disk_fills_up_ends_with_74(tmp_path):
    with small_disk(tmp_path / "disk", "size=3g") as disk:
        environ = {**os.environ, "TMPDIR": str(disk.folder)}
        arguments = command("demo", "--once")
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environ) as demo:
            wait_until(lambda: list(disk.folder.glob("*/work/*/*/request.json")))
            disk.fill()
            _, err = demo.communicate(timeout=120)

    assert demo.returncode == 74, err
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err
