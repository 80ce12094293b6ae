#!/usr/bin/env python3
"""Write the tables of docs/cost.md: the counts of `estimate` times the prices of prices.json.

scripts/aws/cost.py [--check]      with --check nothing is written; 1 where a table is old
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from xcor_daemon.errors import RequestError
from xcor_daemon.request.cost import Estimate, estimate
from xcor_daemon.request.parse import XcorParams, XcorRequest
from xcor_daemon.request.stations import Channel
from xcor_daemon.request.units import DayUnit, Units

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parents[1] / "docs/cost.md"
PRICES: dict[str, Any] = json.loads((FOLDER / "prices.json").read_bytes())
MACHINE, LARGE = "c7a.large", "c7a.4xlarge"
DISK_GIB, HOURS = 100, 730  # of the template; of a month
_START = datetime(2010, 1, 1, tzinfo=UTC)
_DEFAULTS = XcorParams(fs=10, freqmin=0.1, freqmax=0.2, cc_step=450, cc_len=1800, maxlag=60)
_DAILY = XcorParams(
    fs=10, freqmin=0.1, freqmax=0.2, cc_step=450, cc_len=1800, maxlag=60, substack=86400
)
# Requests to S3 and log lines of a service without jobs.
_PASS, _BEAT = 5.0, 30.0  # s between two passes, and two heartbeats with their figures
_OTHERS = 40  # files of a job beside those of its days, and views while it runs, about
_FIGURES, _LINE = 16, 2500  # metrics among a line of figures, and bytes of it


def usd(name: str) -> float:
    """A price, for one of what prices.json counts in."""
    return float(PRICES["usd"][name]["price"])


def core_hour(machine: str = MACHINE) -> float:
    """USD; a vCPU of c7a is a core."""
    return usd(machine) / PRICES["usd"][machine]["vcpus"]


def request(n_stations: int, n_days: int, params: XcorParams) -> XcorRequest:
    """Vertical channels of 40 Hz, all for the same days."""
    span = ((_START, _START + timedelta(days=n_days)),)
    channels = (Channel("XX", f"S{k:04}", "", "BHZ", span, sample_rate=40.0)
                for k in range(n_stations))  # fmt: skip
    return XcorRequest(tuple(channels), params)


def idle() -> list[tuple[str, str, float]]:
    """Cost of a month without a job: item, amount, USD."""
    seconds = HOURS * 3600
    lists, puts = seconds / _PASS, seconds / _BEAT
    logs = puts * _LINE / 1e9
    return [
        (f"machine, {MACHINE}", f"{HOURS} h", HOURS * usd(MACHINE)),
        ("its address", f"{HOURS} h", HOURS * usd("address")),
        ("its disk", f"{DISK_GIB} GB", DISK_GIB * usd("disk")),
        ("listing the bucket", f"{lists:,.0f} LIST", lists / 1000 * usd("put")),
        ("heartbeat", f"{puts:,.0f} PUT", puts / 1000 * usd("put")),
        ("figures and EC2's own", f"{_FIGURES + 7} metrics", (_FIGURES + 7) * usd("metric")),
        ("log", f"{logs:.2f} GB", logs * usd("logs")),
    ]


def largest_job(n_stations: int, most_days: int, params: XcorParams) -> int:
    """Days of the largest job that limits.json allows."""
    low, high = 0, most_days
    while low < high:
        middle = (low + high + 1) // 2
        try:
            estimate(request(n_stations, middle, params))
            low = middle
        except RequestError:
            high = middle - 1
    return low


def campaign(n_stations: int, n_days: int, params: XcorParams) -> tuple[int, list[Estimate]]:
    """Days of a job, and the prices of all jobs that it takes."""
    days = largest_job(n_stations, n_days, params)
    full, rest = divmod(n_days, days)
    prices = [estimate(request(n_stations, days, params))] * full
    return days, prices + ([estimate(request(n_stations, rest, params))] if rest else [])


def campaign_rows(n_stations: int, n_days: int, params: XcorParams) -> list[tuple[str, str, str]]:
    """Item, amount and cost."""
    days, jobs = campaign(n_stations, n_days, params)
    hours = sum(job.core_seconds for job in jobs) / 3600
    out, into = sum(job.bytes_out for job in jobs) / 1e9, sum(job.bytes_in for job in jobs) / 1e9
    pair_days = sum(job.pair_days for job in jobs)
    cores = PRICES["usd"][LARGE]["vcpus"]
    wall = hours / 2 if hours < 100 else hours / cores
    machine = MACHINE if hours < 100 else LARGE
    sample = request(n_stations, days, params)
    units = Units(sample).of(_START.date())
    written = 1 if isinstance(units, DayUnit) else len(units.correlate)
    files = n_days * written + _OTHERS * len(jobs)
    return [
        ("jobs", f"{len(jobs)} of at most {days} days", ""),
        ("pair-days", f"{pair_days:,}", ""),
        ("computing", f"{hours:,.1f} core-hours", money(hours * core_hour())),
        (f"time on {machine}", f"{wall:,.1f} h", ""),
        ("waveforms", f"{into:,.0f} GB", "none: data centres and open data are free"),
        ("results", f"{out:,.2f} GB", f"{money(out * usd('storage'))} a month"),
        ("writing them", f"{files:,} PUT", money(files / 1000 * usd("put"))),
        ("downloading them once", f"{out:,.2f} GB", money(out * usd("download"))),
    ]


def money(amount: float) -> str:
    """USD, to the cent, or less than one."""
    return f"${amount:,.2f}" if amount >= 0.01 else "< $0.01"


def tables() -> dict[str, str]:
    """Every table of the page, by name."""
    month = idle()
    made = {
        "prices": table(
            ("item", "USD", "per", "AWS's page"),
            [(name, f"{p['price']:g}", p["per"], p["source"]) for name, p in PRICES["usd"].items()],
        ),
        "idle": table(
            ("item", "amount", "USD"),
            [(what, how, f"{cost:.2f}") for what, how, cost in month]
            + [("**together**", "", f"**{sum(cost for *_, cost in month):.2f}**")],
        ),
        "machines": table(
            ("machine", "cores", "memory", "a month", "a core-hour"),
            [
                (name, f"{p['vcpus']}", f"{p['gib']} GiB", money(HOURS * p["price"]),
                 money(p["price"] / p["vcpus"]))
                for name, p in PRICES["usd"].items() if "vcpus" in p
            ],
        ),
    }  # fmt: skip
    head = ("item", "amount", "USD")
    made["ten"] = table(head, campaign_rows(10, 365, _DEFAULTS))
    made["thousand"] = table(head, campaign_rows(1000, 3652, _DAILY))
    return made


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(text: str) -> str:
    """The page with its tables as they are now."""
    made = tables()

    def fill(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n\n{made[match[1]]}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    before = PAGE.read_text()
    after = filled(before)
    if parser.parse_args().check:
        sys.exit(before != after)
    PAGE.write_text(after)


if __name__ == "__main__":
    main()
