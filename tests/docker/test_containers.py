"""Workers as containers of a real engine: isolation, exit and recorded files."""

from __future__ import annotations

import gc
import io
import json
import os
import time

import pytest
from container_kit import a_job, find
from hosting import wait_until

from xcor_daemon.errors import UnreachableError
from xcor_daemon.workers.docker_engine import Engine, EngineError, LaunchError
from xcor_daemon.workers.docker_launcher import DockerLauncher, container_name
from xcor_daemon.workers.launcher import WorkerState

pytestmark = pytest.mark.real

SLEEP = "print('up', flush=True); import time; time.sleep(60)"
IGNORE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def wait_for_end(launcher: DockerLauncher, job) -> WorkerState:
    wait_until(lambda: launcher.inspect(job).state == "ended", 60)
    return launcher.inspect(job)


def log_of(job) -> bytes:
    path = job.folder / "xcor_log.txt"
    return path.read_bytes() if path.exists() else b""


def wait_for_word(engine, job, word: bytes = b"up") -> None:
    wait_until(lambda: word in find(engine, job).logs())


# --- what a worker sees and may do ---

LOOK = """
import json, os, socket, subprocess, sys
def refused(do):
    try:
        do()
        return ""
    except OSError as error:
        return error.strerror
def run_from_tmp():
    open("/tmp/x", "w").write("#!/bin/sh\\n"); os.chmod("/tmp/x", 0o755); os.execv("/tmp/x", ["x"])
status = dict(l.strip().split(":\\t") for l in open("/proc/self/status") if ":\\t" in l)
open("/job/made", "w").write("it")
print(json.dumps({
    "argv": sys.argv[1:], "environ": sorted(os.environ), "uid": os.getuid(), "gid": os.getgid(),
    "groups": os.getgroups(), "status": status, "interfaces": [n for _, n in socket.if_nameindex()],
    "root": refused(lambda: open("/x", "w")),
    "input": bool(os.statvfs("/job/stacking_params.csv").f_flag & os.ST_RDONLY),
    "rename": refused(lambda: os.rename("/job/stacking_params.csv", "/job/y")),
    "device": refused(lambda: os.mknod("/job/device", 0o60666, os.makedev(8, 0))),
    "exec": refused(run_from_tmp), "job": sorted(os.listdir("/job")),
    "first": open("/proc/1/comm").read().strip(),
    "sockets": [p for p in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(p)],
}))
"""


def test_a_worker_is_isolated(containers, job):
    launcher = containers(LOOK)
    launcher.start(job)

    assert wait_for_end(launcher, job).exit_code == 0, log_of(job)

    seen = json.loads(log_of(job))
    user = (10001, 10001) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    assert (seen["uid"], seen["gid"]) == user
    assert 0 not in seen["groups"]
    status = seen["status"]
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert seen["interfaces"] == ["lo"]
    assert seen["root"] == "Read-only file system"
    assert seen["input"]
    assert seen["rename"] == "Device or resource busy"
    assert seen["device"] == "Operation not permitted"
    assert seen["exec"] == "Permission denied"
    assert seen["job"] == ["made", "stacking_params.csv"]  # neither job.json nor the log
    assert seen["argv"] == ["stack", "/job", "--corr", "/corr", "--processes", "1"]
    assert not [name for name in seen["environ"] if name.startswith(("AWS", "DOCKER"))]
    assert seen["first"] in ("docker-init", "tini")
    assert seen["sockets"] == []
    assert (job.results / "made").read_text() == "it"
    assert (job.results / "made").stat().st_uid == user[0]


def test_the_engine_gets_every_limit(containers, engine, job):
    launcher = containers(SLEEP, worker_pids=99)
    launcher.start(job)

    about = find(engine, job).attrs
    host = about["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 2**28
    assert host["NanoCpus"] == 10**9
    assert host["PidsLimit"] == 99
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert (host["NetworkMode"], host["IpcMode"], host["PidMode"]) == ("none", "private", "")
    assert not host["Privileged"]
    assert not host["AutoRemove"]
    assert not host["Devices"]
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert host["LogConfig"]["Config"] == {"max-size": "5m", "max-file": "2"}
    assert host["Tmpfs"]["/tmp"].startswith("rw,noexec,nosuid,nodev,size=")
    labels = about["Config"]["Labels"]
    assert labels["org.xcor-daemon.job"] == "41"
    assert labels["org.xcor-daemon.attempt"] == job.attempt
    assert labels["org.xcor-daemon.run"] == "0"


# --- how it ends ---


def test_exit_code_output_and_image_of_a_worker_are_recorded_and_its_container_removed(
    containers, engine, job
):
    launcher = containers("import sys; print('out'); sys.exit('err')")
    launcher.start(job)
    image = engine.images.get(launcher.config.image).id

    assert wait_for_end(launcher, job) == WorkerState("ended", 1, False, image)
    assert sorted(log_of(job).splitlines()) == [b"err", b"out"]
    assert find(engine, job) is None
    assert launcher.inspect(job) == WorkerState("ended", 1, False, image)


def test_a_job_without_a_worker_is_not_started(containers, job):
    assert containers("").inspect(job).state == "not-started"


def test_the_next_run_has_another_worker_and_appends_to_the_log(containers, job):
    launcher = containers("import sys; sys.exit('failed')")
    launcher.start(job)
    wait_for_end(launcher, job)

    again = job.changed(failures=1)
    assert launcher.inspect(again).state == "not-started"
    launcher.start(again)

    assert wait_for_end(launcher, again).exit_code == 1
    assert log_of(job) == b"failed\n" * 2


def test_a_worker_without_enough_memory_is_out_of_memory(containers, job):
    launcher = containers("x = bytearray(600_000_000)")
    launcher.start(job)

    worker = wait_for_end(launcher, job)

    assert worker.exit_code == 137
    assert worker.is_out_of_memory


def test_a_child_process_out_of_memory_is_reported_although_the_worker_succeeds(containers, job):
    child = "import os\nif os.fork() == 0:\n    x = bytearray(600_000_000)\n    os._exit(0)\n"
    launcher = containers(child + "print(os.wait()[1])")
    launcher.start(job)

    worker = wait_for_end(launcher, job)

    assert log_of(job) == b"9\n"
    assert worker.exit_code == 0
    assert worker.is_out_of_memory


def test_a_worker_that_starts_too_many_processes_ends_by_itself(containers, job):
    code = "import os, time\nfor _ in range(100):\n    os.fork() or time.sleep(60)\n"
    launcher = containers(code, worker_pids=16)
    launcher.start(job)

    worker = wait_for_end(launcher, job)

    assert worker.exit_code == 1
    assert b"BlockingIOError: [Errno 11] Resource temporarily unavailable" in log_of(job)


def test_a_worker_that_crashes_has_the_exit_code_of_a_shell(containers, job):
    launcher = containers("import os; os.kill(os.getpid(), 11)")
    launcher.start(job)

    assert wait_for_end(launcher, job).exit_code == 139


def test_a_worker_that_is_killed_from_outside_has_no_exit_code(containers, engine, job):
    launcher = containers(SLEEP)
    launcher.start(job)
    wait_for_word(engine, job)

    find(engine, job).kill()

    assert wait_for_end(launcher, job).exit_code is None
    assert log_of(job) == b"up\n"


def test_a_removed_container_counts_as_killed_from_outside(containers, engine, job):
    launcher = containers(SLEEP)
    launcher.start(job)
    find(engine, job).remove(force=True)

    assert launcher.inspect(job) == WorkerState("ended", None)


def test_a_worker_gets_sigterm_first(containers, engine, job):
    code = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    launcher = containers(code + SLEEP)
    launcher.start(job)
    wait_for_word(engine, job)

    launcher.stop(job)

    assert wait_for_end(launcher, job).exit_code == 7


def test_a_worker_that_ignores_sigterm_is_killed_after_the_grace_period(containers, engine, job):
    launcher = containers(IGNORE + SLEEP)
    launcher.grace = 0.5
    launcher.start(job)
    wait_for_word(engine, job)
    began = time.monotonic()

    launcher.stop(job)
    assert launcher.inspect(job).state == "running"

    def is_over() -> bool:
        launcher.stop(job)
        return launcher.inspect(job).state == "ended"

    wait_until(is_over)
    assert launcher.inspect(job).exit_code is None
    assert time.monotonic() - began >= 0.5


# --- its log ---


def test_the_end_of_an_endless_line_in_the_log_is_kept(containers, job):
    code = "import sys\nfor _ in range(50):\n    sys.stdout.write('x' * 1_000_000)\nprint('end')"
    launcher = containers(code)
    launcher.start(job)

    assert wait_for_end(launcher, job).exit_code == 0
    said = log_of(job)
    assert 1_000_000 < len(said) <= 10_000_000
    assert said.endswith(b"xxxend\n")


def test_the_text_in_a_binary_log_is_kept(containers, job):
    launcher = containers("import os; os.write(1, bytes(range(256)) + b'\\n')")
    launcher.start(job)

    wait_for_end(launcher, job)

    # The engine stores logs as JSON.
    assert log_of(job) == bytes(range(128)) + "\ufffd".encode() * 128 + b"\n"


def test_the_log_is_copied_while_the_worker_runs(containers, engine, job):
    launcher = containers(SLEEP)
    launcher.start(job)
    wait_for_word(engine, job)

    assert launcher.inspect(job).state == "running"
    assert log_of(job) == b"up\n"


# --- its name ---


def test_a_second_start_starts_no_second_worker_and_another_daemon_finds_the_first(
    containers, engine, job
):
    launcher = containers(SLEEP)
    launcher.start(job)
    first = find(engine, job).id
    launcher.start(job)
    successor = containers(image=launcher.config.image)

    successor.start(job)

    assert successor.inspect(job).state == "running"
    assert find(engine, job).id == first
    successor.stop(job)
    assert wait_for_end(successor, job).exit_code is None


def test_another_container_of_the_same_name_is_reported_and_not_touched(containers, engine, job):
    launcher = containers(SLEEP)
    stranger = engine.containers.create(launcher.config.image, name=container_name(job))

    for ask in (launcher.start, launcher.inspect, launcher.stop):
        with pytest.raises(
            LaunchError, match=f"{container_name(job)} does not belong to this job; remove"
        ):
            ask(job)
    stranger.remove()

    launcher.start(job)
    assert launcher.inspect(job).state == "running"


def test_a_container_that_was_never_started_is_created_again(containers, engine, job, monkeypatch):
    launcher = containers(SLEEP)

    def die(*_: object) -> None:
        raise EngineError("the machine went down")

    with monkeypatch.context() as patch:
        patch.setattr(launcher.engine, "start", die)
        with pytest.raises(EngineError):
            launcher.start(job)
    left = find(engine, job).id
    assert launcher.inspect(job).state == "not-started"

    launcher.start(job)

    assert launcher.inspect(job).state == "running"
    assert find(engine, job).id != left


@pytest.mark.parametrize("step", ["log", "remove"])
def test_a_daemon_that_dies_during_cleanup_loses_and_duplicates_nothing(
    containers, engine, job, monkeypatch, step
):
    launcher = containers("print('said')")
    launcher.start(job)
    wait_until(lambda: find(engine, job).status == "exited")

    def die(*_: object) -> None:
        raise EngineError("the daemon was killed here")

    with monkeypatch.context() as patch:
        patch.setattr(launcher.engine, step, die)
        with pytest.raises(EngineError):
            launcher.inspect(job)
    assert find(engine, job) is not None

    assert launcher.inspect(job).exit_code == 0
    assert find(engine, job) is None
    assert log_of(job) == b"said\n"


def test_containers_of_removed_folders_are_removed(containers, engine, job, tmp_path):
    launcher = containers(SLEEP)
    lost = a_job(tmp_path / "work", "42")
    launcher.start(lost)
    (lost.folder / "job.json").unlink()

    launcher.start(job)

    assert find(engine, lost) is None
    assert launcher.inspect(job).state == "running"


# --- the engine's own trouble ---


def test_a_missing_image_is_named(containers, job):
    launcher = containers(image="xcor-no-such-image:1")

    with pytest.raises(LaunchError, match=r"xcor-no-such-image:1.*build it or run `docker pull`"):
        launcher.start(job)
    assert launcher.inspect(job).state == "not-started"


def test_a_missing_program_in_the_image_is_logged(containers, engine, job, base_image):
    text = f'FROM {base_image}\nENTRYPOINT ["nothing"]\n'.encode()
    engine.images.build(fileobj=io.BytesIO(text), tag="xcor-test:nothing")
    launcher = containers(image="xcor-test:nothing")
    launcher.start(job)

    assert wait_for_end(launcher, job).exit_code == 127
    assert b"exec nothing failed: No such file or directory" in log_of(job)


# docker-py leaves a socket to the garbage collector when it finds no engine.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:9"])
def test_an_engine_that_does_not_answer_is_unreachable_and_queried_again(
    containers, docker_host, job, host
):
    launcher = containers(SLEEP)
    launcher.engine = Engine({"DOCKER_HOST": host})

    for ask in (launcher.start, launcher.inspect, launcher.stop):
        with pytest.raises(UnreachableError, match="the container engine does not answer"):
            ask(job)
    gc.collect()
    launcher.engine.environ = {"DOCKER_HOST": docker_host}

    launcher.start(job)
    assert launcher.inspect(job).state == "running"
