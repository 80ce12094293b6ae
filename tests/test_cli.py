"""The command line, as text in and text out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from hosting import PARAMS, STACKING, STATIONS, bucket_of_moto, wait_until

from xcor_daemon import __version__
from xcor_daemon.cli import SECTIONS, main
from xcor_daemon.storage.jobs import Input, create_job


@pytest.fixture
def call(tmp_path, monkeypatch) -> Callable[..., Result]:
    """Runs a command with its work folder below tmp_path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object, **environ: str) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments], env=environ)

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    """A good job in a folder."""
    made = tmp_path / "my-job"
    made.mkdir()
    (made / "stations.csv").write_bytes(STATIONS)
    (made / "params.csv").write_bytes(PARAMS)
    return made


# Words that begin no help text: the noun or the verb comes first.
NOT_FIRST = {"That", "What", "Who", "Which", "Of", "Where", "It", "This", "Such"}


def texts_of_help() -> dict[str, str]:
    """Help of every command and option by its name; hidden ones are none of it."""
    found = {"xcor-daemon": main.help}
    for name, command in [("", main), *main.commands.items()]:
        found[name or "xcor-daemon"] = command.help
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                found[f"{name} {option.opts[0]}"] = option.help
    return found


@pytest.mark.parametrize("name", texts_of_help())
def test_every_help_text_is_a_sentence_that_starts_with_a_verb_or_a_noun(name):
    text = texts_of_help()[name] or ""
    first = text.partition(" ")[0]

    assert first[:1].isupper(), text
    assert first not in NOT_FIRST, text
    assert text.partition("\n\n")[0].rstrip().endswith("."), text


def test_help_lists_every_command_once_in_a_section_and_cuts_no_text(call):
    shown = call("--help", COLUMNS="80").stdout.split("\nRun jobs locally:\n")[1].splitlines()
    listed = [line.split()[0] for line in shown if line.startswith("  ")]

    assert listed == [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(main.commands)
    assert [line for line in shown if "..." in line] == []


@pytest.fixture
def s3():
    with bucket_of_moto() as bucket:
        yield bucket.client


def test_validate_summarises_a_valid_job(call, folder):
    result = call("validate", folder)

    assert result.exit_code == 0
    assert result.stdout == f"{folder}: valid; 2 channels, 1 pair, 1 day\n"


def test_validate_names_every_problem_on_stderr_and_exits_with_65(call, folder):
    (folder / "params.csv").write_bytes(PARAMS.replace(b"0.35", b"9"))
    (folder / "stations.csv").write_bytes(STATIONS.replace(b"2019-01-02", b"2018-01-02"))
    result = call("validate", folder)

    assert result.exit_code == 65
    assert result.stdout == ""
    assert "stations.csv line 2: EndDate" in result.stderr
    assert "stations.csv line 3: EndDate" in result.stderr
    assert "params.csv line 2: freqmax" in result.stderr


def test_estimate_prices_a_job_for_people_and_for_programs(call, folder):
    price = json.loads(call("estimate", folder, "--json").stdout)

    # (86400 - 600) / 300 + 1 windows; 4 bytes for each of 2 * 60 * 4 + 1 lags.
    assert price["pair_windows"] == 287
    assert price["bytes_out"] == 287 * 481 * 4
    assert "287" in call("estimate", folder).stdout


def test_a_stacking_job_is_validated_but_has_no_price(call, tmp_path):
    (tmp_path / "stacking_params.csv").write_bytes(STACKING)

    assert "stacks job 41" in call("validate", tmp_path).stdout
    assert call("estimate", tmp_path).exit_code == 65


def test_submit_prints_the_id_of_a_job_that_waits(call, folder, s3):
    result = call("--bucket", "xcor", "submit", folder)

    assert result.exit_code == 0
    job_id = result.stdout.strip()
    listed = s3.list_objects_v2(Bucket="xcor")["Contents"]
    assert {item["Key"] for item in listed} == {
        f"incoming/{job_id}/params.csv",
        f"incoming/{job_id}/stations.csv",
    }


def test_an_option_overrides_the_environment(call, folder, s3):
    assert call("submit", folder, XCOR_BUCKET="elsewhere").exit_code == 78
    assert call("--bucket", "xcor", "submit", folder, XCOR_BUCKET="elsewhere").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["submit", "my-job"], 78, "set XCOR_BUCKET"),
        (["run"], 78, "set XCOR_BUCKET"),
        (["--interval", "-1", "status"], 78, "interval"),
        (["correlate", "my-job", "--source", "ftp:x"], 78, "write archive:PATH, fdsn:NAME-or-URL"),
        (["correlate", "my-job", "--source", "nowhere"], 78, "not configured"),
        (["correlate", "no-such-folder"], 2, "does not exist"),
        (["stack", "my-job"], 2, "--corr"),
        (["no-such-command"], 2, "No such command"),
        (["status", "41"], 1, "not found on this machine or in S3"),
    ],
)
def test_a_mistake_is_explained_in_a_line_and_has_its_exit_code(
    call, folder, arguments, exit_code, message
):
    result = call(*arguments)

    assert result.exit_code == exit_code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_second_daemon_on_a_work_folder_ends_with_75(call, tmp_path, s3):
    from xcor_daemon.storage.jobs import lock_work_dir

    with lock_work_dir(tmp_path / "xcor-work"):
        result = call("--bucket", "xcor", "run-once")

    assert result.exit_code == 75
    assert "another xcor-daemon" in result.stderr


def test_run_once_with_nothing_to_do_is_content(call, s3):
    result = call("--bucket", "xcor", "run-once")

    assert (result.exit_code, result.stdout) == (0, "")


def test_status_shows_the_jobs_here_and_in_s3(call, tmp_path, s3):
    inputs = [Input.of("incoming/41/params.csv", '"e"', PARAMS)]
    here = create_job(tmp_path / "xcor-work", "41", {}, inputs, submitted_at=0.0).changed(
        state="running"
    )
    progress = {"stage": "2019-01-01: 276 pairs in 8.1 s", "days": [3, 12]}
    (here.folder / "progress.json").write_text(json.dumps(progress))
    for key in ("incoming/42/stations.csv", "incoming/43/stacking_params.csv"):
        s3.put_object(Bucket="xcor", Key=key, Body=b"x")
    status = json.dumps({"kind": "stack", "state": "rejected", "reason": "no such job\nand more"})
    s3.put_object(Bucket="xcor", Key="processed/43/status.json", Body=status.encode())

    lines = call("--bucket", "xcor", "status").stdout.splitlines()

    assert lines[0].split() == ["id", "kind", "state", "progress", "age", "reason"]
    assert lines[1].startswith("41  xcor   running     3 of 12 days 2019-01-01: 276 pairs in 8.1 s")
    assert lines[2].split()[:2] == ["42", "incomplete"]
    assert lines[3].split()[:3] == ["43", "stack", "rejected"]
    assert lines[3].endswith("no such job")
    rows = json.loads(call("--bucket", "xcor", "status", "--json").stdout)
    assert [row["id"] for row in rows] == ["41", "42", "43"]
    one = json.loads(call("status", "41", "--json").stdout)
    assert (one["days"], one["folder"]) == ([3, 12], str(here.folder.relative_to(tmp_path)))


def test_a_bug_keeps_its_traceback_below_the_versions(folder):
    code = (
        "from xcor_daemon.request import parse; parse.read_files = lambda folder: 1 / 0\n"
        "from xcor_daemon.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "validate", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)

    assert result.returncode == 1
    first, *_, last = result.stderr.splitlines()
    assert first.startswith(f"this is a bug in xcor-daemon {__version__} (Python 3.")
    assert last == "ZeroDivisionError: division by zero"


# --- the worker's commands, on real data ---


@pytest.fixture
def real_folder(folder) -> Path:
    """Three stations of the sample archive, four hours."""
    codes = ("NAO00", "NAO01", "NB200")
    rows = [f"NO,{code},,BHZ,2019-01-01T00:00:00,2019-01-01T04:00:00" for code in codes]
    (folder / "stations.csv").write_text("\n".join([STATIONS.decode().split("\n")[0], *rows]))
    return folder


def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "xcor_daemon.cli", *map(str, arguments)]
    env = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=200)


@pytest.mark.real
def test_correlate_and_stack_work_on_folders_and_log_each_day(real_folder, norsar, tmp_path):
    done = run("correlate", real_folder, "--source", f"archive:{norsar}", "--processes", "1")

    assert done.returncode == 0, done.stderr
    assert "job my-job: 2019-01-01: 3 pairs" in done.stderr
    assert done.stdout.startswith("3 pairs, 138 pair-windows kept, 1 of 1 days with data\n")
    assert (real_folder / "CORR/2019-01-01.h5").exists()
    assert json.loads((real_folder / "outputs.json").read_text())["units"]["done"] == 1

    stack = tmp_path / "my-stack"
    stack.mkdir()
    (stack / "stacking_params.csv").write_bytes(STACKING)
    done = run("stack", stack, "--corr", real_folder / "CORR", "--processes", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((stack / "outputs.json").read_text())


@pytest.mark.real
def test_a_folder_without_a_job_ends_the_worker_with_65(tmp_path, norsar):
    done = run("correlate", tmp_path, "--source", f"archive:{norsar}")

    assert done.returncode == 65
    assert "is not a job folder" in done.stderr


@pytest.mark.real
def test_the_whole_way_from_submit_to_manifest(bucket, real_folder, norsar, tmp_path):
    source = f"archive:{norsar}"
    environ = bucket.environ(tmp_path / "work", source=source, settle="0", processes="1")
    job_id = run("submit", real_folder, **environ).stdout.strip()
    done = run("run-once", "--wait", **environ)

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{job_id} done\n"
    key = f"processed/{job_id}/manifest.json"
    client = bucket.server.client()
    manifest = json.loads(client.get_object(Bucket=bucket.name, Key=key)["Body"].read())
    (corr,) = [file for file in manifest["files"] if file["key"].endswith("-01.h5")]
    assert "corr" in [array["name"] for array in corr["arrays"]]
    assert "done" in run("status", **environ).stdout

    (tmp_path / "stack").mkdir()
    stacking = STACKING.replace(b"41", job_id.encode())
    (tmp_path / "stack/stacking_params.csv").write_bytes(stacking)
    stack_id = run("submit", tmp_path / "stack", **environ).stdout.strip()
    done = run("run-once", "--wait", **environ)
    assert done.stdout == f"{stack_id} done\n", done.stderr


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_with_0_on_sigterm(bucket, tmp_path, number):
    environ = {**os.environ, **bucket.environ(tmp_path, interval="0.1")}
    bucket.server.client().put_object(Bucket=bucket.name, Key="incoming/odd", Body=b"")
    command = [sys.executable, "-m", "xcor_daemon.cli", "run"]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        daemon = subprocess.Popen(command, env=environ, stderr=stderr)
    wait_until(lambda: b"are ignored" in log.read_bytes())  # it has made a pass

    daemon.send_signal(number)

    assert daemon.wait(10) == 0
    assert b"Traceback" not in log.read_bytes()
