"""The page as files for a bucket."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from click.testing import CliRunner

from xcor_daemon.cli import main
from xcor_daemon.errors import ConfigError
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.web.page import read_services

URLS = ["--results", "https://bucket.example/xcor", "--submit", "https://api.example/jobs"]


def test_the_page_for_a_bucket_has_its_services_and_policy(tmp_path):
    done = CliRunner().invoke(main, ["page", str(tmp_path / "page"), *URLS])

    assert done.exit_code == 0, done.output
    config = json.loads((tmp_path / "page/config.json").read_text())
    assert (config["results"], config["submit"]) == (URLS[1], URLS[3])
    assert config["datacenters"][0]["name"] == "EARTHSCOPE"
    assert json.loads((tmp_path / "page/limits.json").read_text()) == LIMITS
    html = (tmp_path / "page/index.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    policy = unescape(policy)
    assert "default-src 'none'" in policy
    for url in ("https://bucket.example", "https://api.example", "https://service.scedc"):
        assert f" {url}" in policy.split("connect-src")[1]
    assert "https://tile.openstreetmap.org" in policy.split("img-src")[1].split(";")[0]
    assert (tmp_path / "page/js/main.js").is_file()


def test_a_page_is_written_again_but_not_over_another_one(tmp_path):
    def write(*urls):
        return CliRunner().invoke(main, ["page", str(tmp_path / "page"), *urls])

    assert write(*URLS).exit_code == 0
    (tmp_path / "page/config.json").unlink()  # as where it was stopped in the middle
    (tmp_path / "page/index.html.partial").write_text("<!doc")
    assert write(*URLS).exit_code == 0
    assert not list((tmp_path / "page").glob("*.partial"))

    other = write("--results", "https://other.example/xcor")
    (tmp_path / "page/my.txt").write_text("mine")
    foreign = write(*URLS)

    assert (other.exit_code, foreign.exit_code) == (78, 78)
    assert "contains config.json; name a new folder" in other.output
    assert "contains my.txt; name a new folder" in foreign.output
    assert json.loads((tmp_path / "page/config.json").read_text())["results"] == URLS[1]


def test_every_data_centre_of_the_page_is_a_source_of_workers():
    from obspy.clients.fdsn.header import URL_MAPPINGS

    for centre in read_services("", "").datacenters:
        assert centre["url"].startswith("https://")
        assert URL_MAPPINGS[centre["name"]] == centre["url"]


@pytest.mark.parametrize("text", ["{", "[]", '{"centres": []}', '{"datacenters": [{}]}'])
def test_a_file_without_services_is_rejected(tmp_path, text):
    (tmp_path / "services.json").write_text(text)

    with pytest.raises(ConfigError, match="write datacenters"):
        read_services("", "", tmp_path / "services.json")
