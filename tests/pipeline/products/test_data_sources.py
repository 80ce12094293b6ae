"""The data sources that a job used, as the manifest lists them."""

from __future__ import annotations

from xcor_daemon.pipeline.datatypes import ChannelDay
from xcor_daemon.pipeline.products import data_sources
from xcor_daemon.pipeline.products.data_sources import data_sources_used


def rows(source, channel, days, n_bytes=10):
    return [
        ChannelDay(f"2022-01-{day:02}", channel, "kept", source=source, n_bytes=n_bytes)
        for day in days
    ]


def test_consecutive_days_are_one_span_and_sources_are_listed_separately():
    found = data_sources_used(
        [
            *rows("s3:NCEDC", "BK.A..LHZ", [3, 1, 2, 7]),
            *rows("s3:SCEDC", "CI.B..LHZ", [1, 2], 5),
            *rows("fdsn:SCEDC", "CI.B..LHZ", [3], 7),
            ChannelDay("2022-01-09", "CI.B..LHZ", "nodata", source="s3:SCEDC"),
        ]
    )

    assert found == {
        "fdsn:SCEDC": {
            "bytes": 7,
            "channel_days": 1,
            "channels": {
                "CI.B..LHZ": {"bytes": 7, "days": 1, "spans": [["2022-01-03", "2022-01-03"]]}
            },
        },
        "s3:NCEDC": {
            "bytes": 40,
            "channel_days": 4,
            "channels": {
                "BK.A..LHZ": {
                    "bytes": 40,
                    "days": 4,
                    "spans": [["2022-01-01", "2022-01-03"], ["2022-01-07", "2022-01-07"]],
                }
            },
        },
        "s3:SCEDC": {
            "bytes": 10,
            "channel_days": 2,
            "channels": {
                "CI.B..LHZ": {"bytes": 10, "days": 2, "spans": [["2022-01-01", "2022-01-02"]]}
            },
        },
    }


def test_a_job_with_very_many_gaps_keeps_the_counts_and_one_span(monkeypatch):
    monkeypatch.setattr(data_sources, "_MAX_SPANS", 3)

    found = data_sources_used(rows("a", "BK.A..LHZ", [1, 3, 5, 9]))

    assert found["a"]["channels"]["BK.A..LHZ"] == {
        "bytes": 40,
        "days": 4,
        "spans": [["2022-01-01", "2022-01-09"]],
    }
