"""The report of a published job, as the demo prints it."""

from __future__ import annotations

from pathlib import Path

import pytest

from xcor_daemon.report import published_job_report

PREFIX = "processed/7/runs/20190101_000000-abcdef/"
BEST = {"pair": "NO.A..BHZ|NO.B..BHZ", "distance_km": 12.34, "snr": 5.6, "lag_s": -4.0}
MANIFEST = {
    "id": "7",
    "attempt": "20190101_000000-abcdef",
    "request": {"channels": [{}, {}]},
    "summary": {"pairs": 1, "windows_kept": 46, "best": [{**BEST, "speed_km_s": 3.085}]},
    "units": {"done": 1, "empty": 0, "failed": [{"day": "2019-01-02", "reason": "lost"}]},
    "files": [
        {"key": PREFIX + "CORR/2019-01-01.h5", "size": 30_579_016},
        {"key": PREFIX + "PLOT/station_map.png", "size": 999},
    ],
}


def report_of(**changes) -> str:
    results = "http://127.0.0.1:1/xcor"
    return "\n".join(published_job_report({**MANIFEST, **changes}, Path("/work/7"), results))


def test_a_report_counts_pairs_windows_and_days():
    assert "2 channels, 1 pairs, 46 pair-windows kept, 1 of 2 days with data" in report_of()


def test_a_pair_shows_distance_snr_lag_and_apparent_speed():
    line = next(line for line in report_of().splitlines() if "NO.A" in line)

    assert " ".join(line.split()) == "NO.A..BHZ - NO.B..BHZ 12.3 km 5.6 -4.00 s 3.08 km/s"


def test_unknown_values_of_a_pair_are_dashes():
    unknown = {**BEST, "distance_km": None, "snr": None, "speed_km_s": None}
    text = report_of(summary={"pairs": 1, "windows_kept": 0, "best": [unknown]})

    line = next(line for line in text.splitlines() if "NO.A" in line)
    assert " ".join(line.split()) == "NO.A..BHZ - NO.B..BHZ - - -4.00 s -"


@pytest.mark.parametrize("speed", [0.0, 0.0049, None])
def test_channels_at_one_location_have_a_dash_for_a_speed(speed):
    at_one_location = {**BEST, "distance_km": 0.0, "speed_km_s": speed}  # 0.0: by version 0.1.0
    text = report_of(summary={"pairs": 1, "windows_kept": 0, "best": [at_one_location]})

    line = next(line for line in text.splitlines() if "NO.A" in line)
    assert " ".join(line.split()) == "NO.A..BHZ - NO.B..BHZ 0.0 km 5.6 -4.00 s -"


def test_the_reasons_for_missing_correlations_are_listed():
    reason = {"reason": "no samples", "channel_days": 3, "channel": "X", "day": "2019-01-01"}
    reasons = [{**reason, "detail": ""}]
    text = report_of(summary={**MANIFEST["summary"], "reasons": reasons})

    assert "       3  no samples (such as X on 2019-01-01)" in text


def test_files_and_images_are_listed_with_their_locations():
    text = report_of()

    assert "   30.6 MB  CORR/2019-01-01.h5" in text
    assert "     999 B  PLOT/station_map.png" in text
    assert f"http://127.0.0.1:1/xcor/{PREFIX}" in text
    assert "/work/7/PLOT/station_map.png" in text
