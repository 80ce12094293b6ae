"""docs/cost.md: its tables are current, and their assumptions hold."""

from __future__ import annotations

import json
import re
import sys
from datetime import date
from pathlib import Path

import pytest
from hosting import FakeLauncher, bucket_of_moto
from template import Template

from xcor_daemon.config import Config
from xcor_daemon.errors import RequestError
from xcor_daemon.request.cost import estimate
from xcor_daemon.service import daemon, heartbeat
from xcor_daemon.service.daemon import Daemon

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts/aws"))
import cost


def test_the_tables_of_the_page_are_up_to_date():
    text = cost.PAGE.read_text()

    assert text == cost.filled(text), "run scripts/aws/cost.py"
    assert set(re.findall(r"<!-- table: (\w+) -->", text)) == cost.tables().keys()


def test_every_price_has_its_source_and_the_page_has_its_date():
    date.fromisoformat(cost.PRICES["date"])

    assert cost.PRICES["date"] in cost.PAGE.read_text()
    for price in cost.PRICES["usd"].values():
        assert price["price"] > 0
        assert price["source"].startswith("https://aws.amazon.com/")


def test_a_decade_of_a_thousand_stations_is_as_counted_by_hand():
    days, jobs = cost.campaign(1000, 3652, cost._DAILY)

    pairs = 1000 * 999 // 2
    assert sum(job.pair_days for job in jobs) == pairs * 3652
    assert sum(job.bytes_out for job in jobs) == pairs * 3652 * 1201 * 4
    assert sum(job.days for job in jobs) == 3652
    with pytest.raises(RequestError):
        estimate(cost.request(1000, days + 1, cost._DAILY))


def test_a_year_of_ten_stations_is_one_job():
    days, jobs = cost.campaign(10, 365, cost._DEFAULTS)

    assert (days, len(jobs)) == (365, 1)
    assert jobs[0].pair_days == 45 * 365


def test_an_idle_month_is_that_of_the_template_and_the_daemon(tmp_path, capfd):
    parameters = Template("xcor.yaml").raw["Parameters"]
    assert parameters["InstanceType"]["Default"] == cost.MACHINE
    assert parameters["DiskGiB"]["Default"] == cost.DISK_GIB
    assert daemon._IDLE == cost._PASS
    assert heartbeat._EVERY == cost._BEAT
    with bucket_of_moto() as bucket:
        config = Config(bucket="xcor", work_dir=tmp_path / "work", log_format="json")
        made = Daemon(bucket, FakeLauncher(), config)
        with made.locked():
            made.run_pass()

    (line,) = [line for line in capfd.readouterr().err.splitlines() if "_aws" in line]
    metrics = json.loads(line)["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    assert len(metrics) <= cost._FIGURES
    assert len(line) <= cost._LINE
