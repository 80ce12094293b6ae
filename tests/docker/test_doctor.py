"""`xcor-daemon doctor` on the engine, the image and the network of workers."""

from __future__ import annotations

import pytest
from container_kit import ROOT

from xcor_daemon.config import Config
from xcor_daemon.operations.doctor import run_checks

pytestmark = pytest.mark.real


def checked(tmp_path, host: str, image: str) -> dict[str, tuple[str, str]]:
    config = Config(
        work_dir=tmp_path, launcher="docker", image=image, worker_network="xcor-test", reserve=0
    )
    found = run_checks(config, {"DOCKER_HOST": host})
    return {result.name: (result.state, result.text) for result in found}


def test_an_engine_that_isolates_workers_passes(tmp_path, docker_host, engine, base_image):
    found = checked(tmp_path, docker_host, base_image)

    state, text = found["engine"]
    has_restore = engine.info()["LiveRestoreEnabled"]
    assert state == ("ok" if has_restore else "warn"), text
    assert "live-restore" in text
    assert text.startswith("Docker ")
    assert found["image"] == ("ok", f"{base_image} is {engine.images.get(base_image).id}")
    assert found["credentials"] == ("ok", "not reachable from workers on the network xcor-test")
    # Other tests may remove their containers while the list is made.
    left = engine.containers.list(all=True, ignore_removed=True)
    assert not [c for c in left if c.name.startswith("xcor-doctor")]


def test_a_missing_image_fails_with_a_remedy(tmp_path, docker_host):
    found = checked(tmp_path, docker_host, "xcor-no-such:1")

    for name in ("image", "credentials"):
        assert found[name][0] == "fail"
        assert "build it or run `docker pull`" in found[name][1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_is_down_fails_and_other_checks_run(tmp_path):
    found = checked(tmp_path, "tcp://127.0.0.1:9", "xcor-daemon")

    assert found["disk"][0] == "ok"
    for name in ("engine", "image", "credentials"):
        state, text = found[name]
        assert (state, text[:40]) == ("fail", "the container engine does not answer: Er")


def test_the_units_and_the_docs_name_every_setting_of_containers():
    text = (ROOT / "docs/settings.md").read_text()
    for name in ("LAUNCHER", "IMAGE", "WORKER_MEMORY", "WORKER_CPUS", "WORKER_PIDS"):
        assert f"`XCOR_{name}`" in text
    assert "`XCOR_WORKER_NETWORK`" in text
