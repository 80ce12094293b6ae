"""The cost estimate of a job against counts by hand, and the limits of a job."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcor_daemon.errors import RequestError
from xcor_daemon.request.cost import estimate
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.parse import XcorParams, XcorRequest
from xcor_daemon.request.stations import Channel

PARAMS = XcorParams(fs=10, freqmin=0.1, freqmax=0.2, cc_step=450, cc_len=1800, maxlag=60)
START = datetime(2019, 1, 1, tzinfo=UTC)


def network(n_channels, n_days=1, rate=None):
    """Channels of different stations, all for the same days."""
    span = (START, START + timedelta(days=n_days))
    return tuple(
        Channel("XX", f"S{k:04d}", "", "BHZ", (span,), sample_rate=rate) for k in range(n_channels)
    )


def price(channels, **changes):
    return estimate(XcorRequest(channels, replace(PARAMS, **changes)))


def test_the_estimate_of_a_job_is_as_counted_by_hand():
    got = price(network(10, n_days=3, rate=100.0))

    assert (got.channels, got.days, got.pairs) == (10, 3, 45)
    assert (got.pair_days, got.windows_per_day, got.pair_windows) == (135, 189, 25515)
    assert got.bytes_out == 135 * 189 * 1201 * 4
    # 1.1 to 1.9 bytes a sample in archives of day files.
    samples = 10 * 3 * 86400 * 100
    assert 1.1 * samples < got.bytes_in < 1.9 * samples


def test_days_on_which_channels_are_missing_cost_less():
    a, b, c = network(3, n_days=4)
    c = replace(c, spans=((START, START + timedelta(days=1)),))

    got = price((a, b, c))

    assert (got.pairs, got.days, got.pair_days) == (3, 4, 3 + 1 + 1 + 1)


def test_different_sets_of_channels_with_as_many_pairs_are_different_pairs():
    first, second = network(4)[:2], network(4)[2:]
    later = (START + timedelta(days=1), START + timedelta(days=2))
    second = tuple(replace(c, spans=(later,)) for c in second)

    got = price(first + second)

    assert (got.days, got.pair_days) == (2, 2)
    assert got.pairs >= 2


def test_a_day_with_a_single_channel_costs_nothing_without_autocorrelations():
    a, b = network(2, n_days=2)
    b = replace(b, spans=((START, START + timedelta(days=1)),))

    assert (price((a, b)).days, price((a, b)).pair_days) == (1, 1)
    with_auto = price((a, b), autocorrelations=True)
    assert (with_auto.days, with_auto.pair_days) == (2, 3 + 1)


def test_substacks_make_the_result_smaller_and_not_the_work():
    windows, days = price(network(5)), price(network(5), substack=86400.0)

    assert days.bytes_out * 189 == windows.bytes_out
    assert days.core_seconds == windows.core_seconds


def test_an_unknown_sampling_rate_is_assumed_to_be_broadband():
    assert price(network(2)).bytes_in == price(network(2, rate=40.0)).bytes_in


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("max_pair_days", "pair-days"),
        ("max_bytes_out", "bytes of correlations"),
        ("max_core_seconds", "core-seconds of work"),
    ],
)
def test_a_job_beyond_a_limit_is_rejected_with_value_and_limit(limit, words, monkeypatch):
    got = price(network(20))
    measured = {
        "max_pair_days": got.pair_days,
        "max_bytes_out": got.bytes_out,
        "max_core_seconds": got.core_seconds,
    }[limit]

    monkeypatch.setitem(LIMITS["job"], limit, measured)
    assert price(network(20)) == got
    monkeypatch.setitem(LIMITS["job"], limit, measured - 1)
    text = f"amounts to {measured:,.0f} {words}; at most"
    with pytest.raises(RequestError, match=text) as caught:
        price(network(20))

    assert len(caught.value.problems) == 1


def test_ten_years_of_five_thousand_channels_exceed_all_three_limits():
    with pytest.raises(RequestError) as caught:
        price(network(5000, n_days=3653))

    assert len(caught.value.problems) == 3


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(2, 12),
    n_days=st.integers(1, 5),
    more=st.integers(1, 3),
    auto=st.booleans(),
)
def test_more_channels_or_days_never_cost_less(n, n_days, more, auto):
    small = price(network(n, n_days), autocorrelations=auto)

    for large in (
        price(network(n + more, n_days), autocorrelations=auto),
        price(network(n, n_days + more), autocorrelations=auto),
    ):
        for name in ("pair_days", "pair_windows", "bytes_in", "bytes_out", "core_seconds"):
            assert getattr(large, name) > getattr(small, name)
    assert small.pairs == n * (n - 1) // 2 + n * auto
