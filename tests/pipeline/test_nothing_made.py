"""Jobs with no or few correlations: each ends with the right reason and exit code."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import obspy
import pytest
from centre import STATIONXML, WAVEFORMS, Centre, serving
from paths import DATA

from xcor_daemon.errors import NoResultError, reason_lines
from xcor_daemon.pipeline.datatypes import ChannelDay
from xcor_daemon.pipeline.products.reasons import count_reasons, nothing_made_error
from xcor_daemon.pipeline.run import correlate_job, correlate_shard
from xcor_daemon.report import job_report

HEADER = "Network,Station,Location,Channel,StartDate,EndDate"
PARAMS = "fs,freqmin,freqmax,cc_step,cc_len,maxlag"
N16K, N19K = "TA,N16K,,LHZ", "TA,N19K,,LHZ"
DAYS = "2017-05-01,2017-05-03"
GOOD = "1,0.05,0.1,900,1800,200"
NO_METADATA = "no metadata of the channel at this time, so no response to remove"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Two days of two channels, from 2017-05-01 on, with their StationXML."""
    folder = tmp_path_factory.mktemp("archive")
    for path in (DATA / "ta_2017_05").rglob("*LHZ.D.2017.12[12]"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "station.xml").write_bytes((DATA / "ta_2017_05/station.xml").read_bytes())
    return folder


def job(folder: Path, rows: list[str], params: str = GOOD) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "stations.csv").write_text("\n".join([HEADER, *rows, ""]))
    header = PARAMS + (",max_std" if params.count(",") == 6 else "")
    (folder / "params.csv").write_text(f"{header}\n{params}\n")
    return folder


def run(*words: object, **environ: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "xcor_daemon.cli", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=200, env={**os.environ, **environ}
    )


def copy_of(archive: Path, folder: Path, change=lambda path: None) -> Path:
    """The archive with every waveform file changed."""
    folder.mkdir()
    for path in archive.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
        if path.suffix != ".xml":
            change(folder / path.name)
    return folder


def cut(path: Path) -> None:
    """The first ten minutes of a day."""
    stream = obspy.read(path)
    stream.trim(endtime=stream[0].stats.starttime + 600)
    stream.write(str(path), format="MSEED")


def halve(path: Path) -> None:
    """The first half of a day of one station, the second of the other."""
    stream = obspy.read(path)
    noon = stream[0].stats.starttime + 43200
    is_first = stream[0].stats.station == "N16K"
    stream.trim(*((None, noon - 1) if is_first else (noon, None)))
    stream.write(str(path), format="MSEED")


def garble(path: Path) -> None:
    """Unchanged headers, and samples that cannot be decoded."""
    content = bytearray(path.read_bytes())
    for start in range(0, len(content), 512):
        content[start + 64 : start + 512] = b"\xff" * 448
    path.write_bytes(content)


# What a beginner does wrong: rows, params, how the archive differs, the reason that is given.
MISTAKES = {
    "no StationXML": ([f"{N16K},{DAYS}", f"{N19K},{DAYS}"], GOOD, "no_xml", NO_METADATA),
    "StationXML of other stations": (
        [f"{N16K},{DAYS}", f"{N19K},{DAYS}"], GOOD, "other_xml", NO_METADATA,
    ),
    "network": (
        [f"XX,N16K,,LHZ,{DAYS}", f"XX,N19K,,LHZ,{DAYS}"], GOOD, "",
        "the archive does not have this channel",
    ),
    "location": (
        [f"TA,N16K,00,LHZ,{DAYS}", f"TA,N19K,00,LHZ,{DAYS}"], GOOD, "",
        "the archive does not have this channel",
    ),
    "year": (
        [f"{N16K},2016-05-01,2016-05-03", f"{N19K},2016-05-01,2016-05-03"], GOOD, "",
        "the archive has no samples at this time",
    ),
    "freqmax": (
        [f"{N16K},{DAYS}", f"{N19K},{DAYS}"], "10,0.05,4,900,1800,200", "",
        "freqmax = 4 Hz exceeds the Nyquist frequency (0.5 Hz, recorded at 1 Hz)",
    ),
    "cc_len": (
        [f"{N16K},{DAYS}", f"{N19K},{DAYS}"], GOOD, "short", "no window has enough samples",
    ),
    "never together": (
        [f"{N16K},{DAYS}", f"{N19K},{DAYS}"], GOOD, "apart",
        "no other channel of a pair has a window at the same time",
    ),
    "all windows rejected": (
        [f"{N16K},{DAYS}", f"{N19K},{DAYS}"], GOOD + ",1.5", "",
        "no window passed the quality rules",
    ),
    "broken files": (
        [f"{N16K},{DAYS}", f"{N19K},{DAYS}"], GOOD, "garbled", "no samples can be used",
    ),
}  # fmt: skip


def altered(kind: str, archive: Path, folder: Path) -> Path:
    if kind == "short":
        return copy_of(archive, folder, cut)
    if kind == "apart":
        return copy_of(archive, folder, halve)
    if kind == "garbled":
        return copy_of(archive, folder, garble)
    copy = copy_of(archive, folder)
    if kind == "no_xml":
        (copy / "station.xml").unlink()
    if kind == "other_xml":
        (copy / "station.xml").write_bytes((DATA / "ci_bk_2022/CI_WBM.xml").read_bytes())
    return copy


@pytest.mark.real
@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_unusable_request_ends_with_its_reason_and_65(mistake, archive, tmp_path):
    rows, params, kind, reason = MISTAKES[mistake]
    source = altered(kind, archive, tmp_path / "archive") if kind else archive
    folder = job(tmp_path / "job", rows, params)

    done = run("correlate", folder, "--source", f"archive:{source}", "--no-images")

    assert (done.returncode, done.stdout) == (65, ""), done.stderr
    said = done.stderr[done.stderr.index("error: ") :].splitlines()
    with (folder / "summary.csv").open() as file:
        n = sum(1 for _ in csv.DictReader(file))
    assert said[0] == f"error: no correlation was made: {reason} ({n} of {n} channel-days)"
    assert said[1] == "channel-days without a correlation:"
    assert said[2].startswith(f"  {n:>6}  {reason} (such as ")
    assert len(said) == 3
    # The folder says the same to programs, and holds nothing that could be taken for a result.
    outputs = json.loads((folder / "outputs.json").read_text())
    assert [(row["reason"], row["channel_days"]) for row in outputs["summary"]["reasons"]] == [
        (reason, n)
    ]
    assert outputs["units"]["done"] == 0
    assert not (folder / "CORR").exists()
    assert not (folder / "STACK").exists()


@pytest.mark.parametrize(
    ("row", "instead"),
    [
        (f"XX,N16K,,LHZ,{DAYS}", "it has TA.N16K..LHZ"),
        (f"TA,N16K,00,LHZ,{DAYS}", "it has TA.N16K..LHZ"),
        (f"TA,NONE,,LHZ,{DAYS}", "it has 2 other channels, such as TA.N16K..LHZ"),
        (f"{N16K},2016-05-01,2016-05-03",
         "its samples are from 2017-05-01T00:00:00 to 2017-05-03T00:00:00"),
    ],
)  # fmt: skip
def test_the_error_names_similar_channels_of_the_archive(row, instead, archive, tmp_path):
    folder = job(tmp_path / "job", [row, row.replace("N16K", "N19K").replace("NONE", "NO2")])

    with pytest.raises(NoResultError) as caught:
        correlate_job(folder, f"archive:{archive}", 1, images=False)

    assert f": {instead})" in str(caught.value)


@pytest.mark.real
@pytest.mark.parametrize(
    ("reply", "code", "reason"),
    [
        (500, 69, "the download failed: "),
        (204, 65, "the data centre has no samples at this time ("),
        (b"<html>We are moving</html>", 69, "the download failed: the reply is not miniSEED"),
    ],
)
def test_a_failing_data_centre_ends_with_69_and_one_without_data_with_65(
    tmp_path, reply, code, reason
):
    rows = ["CI,WBM,,LHZ,2022-01-02,2022-01-03", "CI,WBM,,LHE,2022-01-02,2022-01-03"]
    folder = job(tmp_path / "job", rows)

    def answer(body: str):
        return STATIONXML if "level=" in body else reply

    with serving(Centre([answer])) as centre:
        done = run("correlate", folder, "--source", f"fdsn:{centre.url}", "--no-images")

    assert done.returncode == code, done.stderr
    assert f"error: no correlation was made: {reason}" in done.stderr


@pytest.mark.real
def test_a_job_whose_source_failed_continues_when_the_source_is_back(tmp_path):
    rows = ["CI,WBM,,LHZ,2022-01-02,2022-01-03", "CI,WBM,,LHE,2022-01-02,2022-01-03"]
    folder = job(tmp_path / "job", rows, "1,0.05,0.1,900,1800,200")
    (folder / "params.csv").write_text(f"{PARAMS},autocorrelations\n{GOOD},true\n")
    is_up = []

    def answer(body: str):
        return STATIONXML if "level=" in body else WAVEFORMS if is_up else 503

    with serving(Centre([answer])) as centre:
        first = run("correlate", folder, "--source", f"fdsn:{centre.url}", "--no-images")
        is_up.append(True)
        second = run("correlate", folder, "--source", f"fdsn:{centre.url}", "--no-images")

    assert (first.returncode, second.returncode) == (69, 0), second.stderr
    assert "     1  the data centre has no samples at this time (CI.WBM..LHE" in second.stdout


def test_a_finished_job_prints_its_reasons_briefly(archive, tmp_path):
    rows = [f"{N16K},{DAYS}", f"{N19K},{DAYS}", f"TA,X99X,,LHZ,{DAYS}"]
    folder = job(tmp_path / "job", rows)

    outputs = correlate_job(folder, f"archive:{archive}", 1, images=False)

    lines = job_report(outputs, folder)
    assert lines[0] == "1 pairs, 190 pair-windows kept, 2 of 2 days with data"
    assert lines[1:3] == [
        "channel-days without a correlation:",
        "       2  the archive does not have this channel "
        "(such as TA.X99X..LHZ on 2017-05-01: it has 2 other channels, such as TA.N16K..LHZ)",
    ]


@pytest.mark.parametrize("end", ["2017-05-01T23:59:59", "2017-05-01T23:59:59.99", "2017-05-02"])
@pytest.mark.parametrize(("cc_len", "n_windows"), [(86400, 1), (1800, 48), (900, 96), (7200, 12)])
def test_a_day_that_ends_at_23_59_59_has_all_its_windows(end, cc_len, n_windows, archive, tmp_path):
    rows = [f"{N16K},2017-05-01,{end}", f"{N19K},2017-05-01,{end}"]
    folder = job(tmp_path / "job", rows, f"1,0.05,0.1,{cc_len},{cc_len},200")

    outputs = correlate_job(folder, f"archive:{archive}", 1, images=False)

    assert outputs["summary"]["windows_kept"] == n_windows
    assert outputs["summary"]["reasons"] == []


def test_outputs_of_0_1_0_which_have_no_reasons_are_reported_as_before(tmp_path):
    units = {"done": 1, "empty": 0, "failed": []}
    summary = {"pairs": 0, "windows_kept": 0, "best": []}

    lines = job_report({"units": units, "summary": summary, "files": []}, tmp_path)

    assert lines[0] == "0 pairs, 0 pair-windows kept, 1 of 1 days with data"
    assert "without" not in "".join(lines)


def test_shards_without_data_succeed_and_the_combined_job_prints_the_reasons(
    archive, tmp_path, caplog
):
    rows = [f"{N16K},2016-05-01,2016-05-03", f"{N19K},2016-05-01,2016-05-03"]
    folder = job(tmp_path / "job", rows)

    for shard in (0, 1):
        assert correlate_shard(folder, f"archive:{archive}", (shard, 2), 1) == []
    done = run("correlate", folder, "--source", f"archive:{archive}", "--join", "--no-images")

    assert "shard 1 of 2:        2  the archive has no samples at this time" in caplog.text
    assert done.returncode == 65
    assert "the archive has no samples at this time (4 of 4 channel-days)" in done.stderr


@pytest.mark.real
def test_a_shard_whose_source_fails_ends_with_69(tmp_path):
    rows = ["CI,WBM,,LHZ,2022-01-02,2022-01-03", "CI,WBM,,LHE,2022-01-02,2022-01-03"]
    folder = job(tmp_path / "job", rows)

    with serving(Centre([lambda body: STATIONXML if "level=" in body else 503])) as centre:
        done = run("correlate", folder, "--source", f"fdsn:{centre.url}", "--shard", "0/1")

    assert done.returncode == 69
    assert "error: no correlation was made: the download failed" in done.stderr


@pytest.mark.real
def test_a_stack_that_selects_no_window_ends_with_65_and_leaves_no_file(archive, tmp_path):
    folder = job(tmp_path / "job", [f"{N16K},{DAYS}", f"{N19K},{DAYS}"])
    correlate_job(folder, f"archive:{archive}", 1, images=False)
    stack = tmp_path / "stack"
    stack.mkdir()
    header = "type,phase_smooth,stack_all,job,threshold"
    (stack / "stacking_params.csv").write_text(f"{header}\nselective,,true,1,0.999\n")

    done = run("stack", stack, "--corr", folder)  # the folder of the job serves as well

    assert done.returncode == 65
    assert done.stderr.splitlines()[-1] == (
        "error: no stack was made: no window passes the selection; lower threshold in "
        "stacking_params.csv (1 pairs, 190 pair-windows, 2 days)"
    )
    assert not list(stack.glob("STACK/*.h5"))
    assert not (stack / "outputs.json").exists()


def test_stacking_a_folder_without_correlations_names_it(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "stacking_params.csv").write_text(
        "type,phase_smooth,stack_all,job\nlinear,,true,1\n"
    )

    done = run("stack", tmp_path, "--corr", tmp_path / "empty")

    assert done.returncode == 65
    assert f"no DAY.h5 in {tmp_path / 'empty'}" in done.stderr


# --- the table ---


def row(channel: str, status: str, reason: str, source: str = "archive:a", **more) -> ChannelDay:
    return ChannelDay(str(date(2019, 1, 1)), channel, status, source, reason=reason, **more)


def test_reasons_are_counted_without_the_details_of_a_channel():
    rows = [
        row("A", "refused", "dead channel; its median RMS is 1e-12 m/s"),
        row("B", "nodata", "the archive does not have this channel; it has C."),
        row("C", "kept", "3 records could not be decoded"),
        row("D", "refused", "dead channel; its median RMS is 2e-12 m/s"),
        row(
            "E",
            "empty",
            "2 overlaps disagree; no window passed the quality rules",
            dropped="max_std=3",
        ),
    ]

    reasons = count_reasons([(rows, True)])

    assert [(r["channel_days"], r["reason"], r["channel"], r["detail"]) for r in reasons] == [
        (2, "dead channel", "A", "its median RMS is 1e-12 m/s"),
        (1, "the archive does not have this channel", "B", "it has C"),
        (1, "no window passed the quality rules", "E", "2 overlaps disagree; dropped by max_std=3"),
    ]
    assert reason_lines(reasons)[1:3] == [
        "       2  dead channel (such as A on 2019-01-01: its median RMS is 1e-12 m/s)",
        "       1  the archive does not have this channel (B on 2019-01-01: it has C)",
    ]


def test_a_table_of_many_reasons_is_limited():
    rows = [row(f"C{k:02}", "failed", f"the download failed: {k}.") for k in range(30)]

    lines = reason_lines(count_reasons([(rows, False)]))

    assert len(lines) == 10
    assert lines[-1] == "      22  for 22 other reasons; see summary.csv"


@pytest.mark.parametrize(
    ("source", "status", "reason", "code"),
    [
        ("fdsn:http://x", "failed", "the download failed: 500.", 69),
        ("s3:SCEDC", "failed", "the download failed: 503.", 69),
        ("", "failed", "its block could not be prepared; MemoryError", 69),
        ("archive:a", "failed", "a file of the archive cannot be read; x: Stale file handle.", 69),
        ("archive:a", "failed", "no samples can be used; 3 records could not be decoded.", 65),
        ("fdsn:http://x", "nodata", "the data centre has no samples at this time.", 65),
        ("fdsn:http://x", "refused", NO_METADATA, 65),
    ],
)
def test_only_a_failed_source_justifies_another_attempt(source, status, reason, code):
    others = [row("B", "nodata", "none"), row("C", "empty", "no window passed the quality rules")]
    error = nothing_made_error([([row("A", status, reason, source), *others], False)])
    assert error.exit_code == code


@pytest.mark.real
def test_as_a_service_a_job_without_metadata_fails_once_with_its_table(bucket, archive, tmp_path):
    folder = job(tmp_path / "job", [f"{N16K},{DAYS}", f"{N19K},{DAYS}"])
    source = altered("no_xml", archive, tmp_path / "archive")
    settings = {"source": f"archive:{source}", "settle": "0", "processes": "1"}
    environ = bucket.environ(tmp_path / "work", **settings)
    job_id = run("submit", folder, **environ).stdout.strip()

    done = run("run-once", "--wait", **environ)

    def read(key: str) -> str:
        found = bucket.server.client().get_object(
            Bucket=bucket.name, Key=f"processed/{job_id}/{key}"
        )
        return found["Body"].read().decode()

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: 1 of 1 jobs failed; see `xcor-daemon logs ID`."
    status = json.loads(read("status.json"))
    assert (status["state"], status["manifest"]) == ("failed", None)
    reason = f"no correlation was made: {NO_METADATA} (4 of 4 channel-days)"
    assert status["reason"].splitlines()[:2] == [reason, "channel-days without a correlation:"]
    assert [warning["code"] for warning in status["warnings"]] == ["refused"] * 4
    (summary,) = [key for key in read("files.txt").splitlines() if key.endswith("/summary.csv")]
    rows = list(csv.DictReader(read(summary.partition(f"{job_id}/")[2]).splitlines()))
    assert [row["status"] for row in rows] == ["refused"] * 4
    assert reason in run("status", job_id, **environ).stdout
