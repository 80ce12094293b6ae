"""Images are written atomically and reproducibly, with a text file that describes them."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread
from obspy.geodetics import gps2dist_azimuth

from xcor_daemon.pipeline import plots
from xcor_daemon.pipeline.datatypes import ChannelDay
from xcor_daemon.pipeline.plots import captions, correlograms, station_maps

LAGS = np.arange(-200, 201) / 4.0
GREY = 0.8
SPEED = 3.0  # km/s


def section(n_pairs, seed=0, furthest=100.0):
    """Pairs with a pulse that travels at 3 km/s: stacks, distances, names."""
    random = np.random.default_rng(seed)
    distances = np.linspace(5.0, furthest, n_pairs)
    at = LAGS - distances[:, None] / SPEED
    stacks = np.exp(-(at**2)) + 0.01 * random.standard_normal((n_pairs, LAGS.size))
    names = [f"XX.A{k:04d}..BHZ|XX.B{k:04d}..BHZ" for k in range(n_pairs)]
    return stacks.astype(np.float32), distances, names


def draw_section(path, n_pairs=20, **changes):
    stacks, distances, names = section(n_pairs)
    arguments = {"stacks": stacks, "lags": LAGS, "distances": distances, "names": names}
    arguments |= {"title": "Linear stack", "snr": distances, "peak_lags": distances / SPEED}
    return plots.record_section(**(arguments | changes), path=path / "section")


def draw_shot(path, **changes):
    distances = np.array([10.0, 40.0, 70.0])
    stacks = np.exp(-((LAGS - distances[:, None] / SPEED) ** 2)).astype(np.float32)
    names = ["XX.M..BHZ|XX.N..BHZ", "XX.M..BHZ|XX.O..BHZ", "XX.M..BHZ|XX.P..BHZ"]
    arguments = {"stacks": stacks, "lags": LAGS, "distances": distances, "names": names}
    arguments |= {"channel": "XX.M..BHZ", "title": "Virtual shot"}
    return plots.virtual_shot(**(arguments | changes), path=path / "XX.M..BHZ")


def draw_correlogram(path, **changes):
    windows = section(47)[0]
    arguments = {"windows": windows, "lags": LAGS, "times": 1546300800.0 + 1800.0 * np.arange(47)}
    arguments |= {"stack": windows.mean(axis=0), "title": "XX.A..BHZ|XX.B..BHZ"}
    return plots.correlogram(**(arguments | changes), path=path / "XX.A..BHZ_XX.B..BHZ")


def draw_map(path, **changes):
    arguments = {
        "longitude": np.array([10.0, 11.0, 10.5]),
        "latitude": np.array([60.0, 60.5, 61.0]),
    }
    arguments |= {"names": ["AAA", "BBB", "CCC"], "title": "Stations"}
    return plots.station_map(**(arguments | changes), path=path / "stations")


def day(channel, date, kept=47, **changes):
    return ChannelDay(
        day=date, channel=channel, status="kept", windows=47, windows_kept=kept, **changes
    )


def draw_availability(path, rows=None):
    rows = (
        [day("XX.A..BHZ", "2019-01-01"), day("XX.B..BHZ", "2019-01-03", 20)]
        if rows is None
        else rows
    )
    return plots.availability(rows, "Accepted windows", path=path / "availability")


def draw_overview(path, n_pairs=3, days=("2019-01-01", "2019-01-04"), **changes):
    arguments = {"n_windows": np.full((n_pairs, len(days)), 20), "days": days}
    arguments |= {"snr": np.linspace(5, 50, n_pairs), "distances": np.linspace(1, 90, n_pairs)}
    arguments |= {"names": section(n_pairs)[2], "title": "Windows and SNR", "max_windows": 40}
    return plots.overview(**(arguments | changes), path=path / "overview")


def draw_spectrum(path, n_pairs=3, **changes):
    wave = np.cos(2 * np.pi * 0.5 * LAGS) * np.exp(-((LAGS / 20) ** 2))
    arguments = {"stacks": np.tile(wave, (n_pairs, 1)), "lags": LAGS, "band": (0.3, 0.7)}
    arguments |= {"names": section(n_pairs)[2], "title": "Spectra", "single": 0}
    return plots.spectrum(**(arguments | changes), path=path / "spectrum")


def draw_changes(path, n_pairs=3, **changes):
    dvv = np.tile(1e-3 * np.sin(np.arange(10.0)), (n_pairs, 1))
    starts = 1546300800.0 + 86400 * np.arange(10)
    arguments = {"dvv": dvv, "errors": np.full(dvv.shape, 1e-4)}
    arguments |= {"correlations": np.full(dvv.shape, 0.9), "title": "dv/v"}
    arguments |= {"intervals": np.column_stack([starts, starts + 86400])}
    arguments |= {"names": section(n_pairs)[2]}
    return plots.velocity_changes(**(arguments | changes), path=path / "dvv")


ALL = [draw_section, draw_shot, draw_correlogram, draw_map, draw_availability]
ALL += [draw_overview, draw_spectrum, draw_changes]


def text(written):
    return written[-1].read_text("utf-8")


def share_of(written, colour):
    """Share of the image's pixels that have a colour, within a level of 256."""
    pixels = imread(written[0])[..., :3]
    return (np.abs(pixels - colour).max(axis=-1) < 1.5 / 255).mean()


@pytest.mark.parametrize("draw", ALL)
def test_image_and_text_keep_a_name_with_dots(draw, tmp_path):
    png, txt = draw(tmp_path)

    assert sorted(tmp_path.iterdir()) == [png, txt]
    assert png.name == txt.name.removesuffix(".txt") + ".png"
    assert png.read_bytes().startswith(b"\x89PNG")
    assert min(imread(png).shape[:2]) > 300
    assert len(text([txt]).splitlines()) >= 3


@pytest.mark.parametrize("draw", ALL)
def test_the_same_arrays_give_the_same_bytes(draw, tmp_path):
    (tmp_path / "again").mkdir()

    first, second = draw(tmp_path), draw(tmp_path / "again")

    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_an_svg_is_written_on_request_and_reproducible(tmp_path):
    contents = []
    for _ in range(2):
        png, svg, txt = draw_section(tmp_path, svg=True)
        contents.append(svg.read_bytes())

    assert (png.suffix, svg.suffix, txt.suffix) == (".png", ".svg", ".txt")
    assert b"<svg" in contents[0]
    assert contents[0] == contents[1]


def test_plotting_uses_no_window_system_and_no_global_figure():
    code = (
        "import sys; import xcor_daemon.pipeline.stack; assert 'matplotlib' not in sys.modules;"
        "import xcor_daemon.pipeline.plots; assert 'matplotlib.pyplot' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_users_matplotlib_style_is_not_used(tmp_path):
    import matplotlib

    (tmp_path / "plain").mkdir()
    plain = draw_section(tmp_path / "plain")[0].read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        styled = draw_section(tmp_path)[0].read_bytes()

    assert styled == plain


# Record sections and virtual shots


def test_the_text_of_a_record_section_names_the_best_pairs_and_their_speed(tmp_path):
    written = draw_section(tmp_path)

    said = text(written)
    assert said.startswith("Linear stack\n20 pairs shown, 5 to 100 km; lags -50 to 50 s.\n")
    assert "Median signal-to-noise ratio 52.5." in said
    assert "3 km/s." in said
    assert "XX.A0019..BHZ|XX.B0019..BHZ: Distance 100 km. Signal-to-noise ratio 100." in said
    assert "lag of +33.333 s, an apparent speed of 3 km/s" in said
    assert said.count("XX.A") == 10


def test_many_pairs_are_an_image_with_a_note_on_its_rows(tmp_path):
    written = draw_section(tmp_path, n_pairs=3000)

    assert "Note: 3,000 pairs, averaged in steps of 0.32 km." in text(written)


def test_the_image_of_many_pairs_shows_the_pulse_at_its_lag(tmp_path):
    written = draw_section(tmp_path, n_pairs=900, speeds=())

    pixels = imread(written[0])[..., :3]
    red = (pixels[..., 0] > 0.35) & (pixels[..., 1] < 0.2) & (pixels[..., 2] < 0.3)
    y, x = np.nonzero(red)
    # A straight line through the red pixels; both axes are linear.
    fit = np.polynomial.Polynomial.fit(y, x, 1)
    assert np.abs(fit(y) - x).max() < 15
    assert x[y.argmin()] > x[y.argmax()] + 100


def test_pairs_without_data_or_coordinates_are_left_out_and_counted(tmp_path):
    stacks, distances, _ = section(20)
    stacks[3, 100] = np.nan
    stacks[4] = 0
    distances[[7, 8, 9]] = np.nan

    said = text(draw_section(tmp_path, stacks=stacks, distances=distances))

    assert "15 pairs shown" in said
    assert "2 pairs without data not shown; 3 pairs without coordinates not shown" in said.replace(
        ".\nNote: ", "; "
    )


@pytest.mark.parametrize("n_pairs", [10, 100])
def test_a_stack_with_a_gap_is_not_plotted(n_pairs, tmp_path):
    stacks = section(n_pairs)[0]
    stacks[5] = np.nan
    spoiled = stacks.copy()
    spoiled[5, 1:] = 1e6
    (tmp_path / "spoiled").mkdir()

    without = draw_section(tmp_path, n_pairs, stacks=stacks)
    written = draw_section(tmp_path / "spoiled", n_pairs, stacks=spoiled)

    assert written[0].read_bytes() == without[0].read_bytes()


@pytest.mark.parametrize("n_pairs", [5, 100])
def test_without_coordinates_pairs_are_plotted_in_their_order(n_pairs, tmp_path):
    written = draw_section(tmp_path, n_pairs=n_pairs, distances=np.full(n_pairs, np.nan))

    assert f"{n_pairs} pairs shown; lags" in text(written)


@pytest.mark.parametrize("n_pairs", [0, 1, 2])
def test_few_pairs_and_no_pairs_are_plotted(n_pairs, tmp_path):
    assert f"{n_pairs} pair" in text(draw_section(tmp_path, n_pairs=n_pairs))


@pytest.mark.parametrize("n_pairs", [3, 70])
def test_pairs_at_one_location_are_plotted(n_pairs, tmp_path):
    written = draw_section(tmp_path, n_pairs=n_pairs, distances=np.zeros(n_pairs))

    assert f"{n_pairs} pairs shown, 0 to 0 m" in text(written)


def test_a_small_array_is_plotted_in_metres(tmp_path):
    said = text(draw_section(tmp_path, n_pairs=5, distances=section(5)[1] / 2000))

    assert "5 pairs shown, 2.5 to 50 m" in said


def test_a_virtual_source_gather_does_not_depend_on_the_order_within_a_pair(tmp_path):
    (tmp_path / "turned").mkdir()
    distances = np.array([10.0, 40.0, 70.0])
    stacks = np.exp(-((LAGS - distances[:, None] / SPEED) ** 2)).astype(np.float32)
    stacks[1] = stacks[1, ::-1]  # O is first: the wave from M to O comes at negative lag
    names = ["XX.M..BHZ|XX.N..BHZ", "XX.O..BHZ|XX.M..BHZ", "XX.M..BHZ|XX.P..BHZ"]
    measured = {"snr": np.full(3, 9.0), "peak_lags": distances / SPEED * [1, -1, 1]}

    as_first = draw_shot(tmp_path, snr=np.full(3, 9.0), peak_lags=distances / SPEED)
    as_second = draw_shot(tmp_path / "turned", stacks=stacks, names=names, **measured)

    assert as_first[0].read_bytes() == as_second[0].read_bytes()
    assert text(as_first) == text(as_second)
    assert "positive lag: the wave travels away from xx.m..bhz" in text(as_first).lower()
    assert "XX.O..BHZ: Distance 40 km. Signal-to-noise ratio 9." in text(as_first)


def test_a_virtual_source_gather_shows_only_pairs_of_its_channel(tmp_path):
    names = ["XX.M..BHZ|XX.N..BHZ", "XX.N..BHZ|XX.O..BHZ", "XX.M..BHZ|XX.M..BHZ"]

    said = text(draw_shot(tmp_path, names=names, distances=np.array([10.0, 20.0, 0.0])))

    assert "2 channels shown, 0 to 10 km" in said


def test_a_virtual_source_gather_of_an_unknown_channel_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"XX\.Q"):
        draw_shot(tmp_path, channel="XX.Q..BHZ")


# Correlograms


def test_missing_windows_are_grey(tmp_path):
    whole = draw_correlogram(tmp_path)
    windows = section(47)[0]
    windows[10:34] = np.nan
    before = share_of(whole, GREY)

    gaps = draw_correlogram(tmp_path, windows=windows)

    assert share_of(gaps, GREY) - before > 0.2
    assert "47 windows, 24 of them missing" in text(gaps)
    assert "from 2019-01-01T00:00:00 to 2019-01-01T23:00:00 UTC" in text(gaps)


def test_days_without_windows_are_grey(tmp_path):
    times = 1546300800.0 + 1800.0 * np.arange(47)
    times[24:] += 86400 * 2

    assert share_of(draw_correlogram(tmp_path, times=times), GREY) > 0.2


def test_the_order_of_the_windows_does_not_matter(tmp_path):
    windows = section(47)[0]
    times = 1546300800.0 + 1800.0 * np.arange(47)
    (tmp_path / "turned").mkdir()

    ordered = draw_correlogram(tmp_path)
    turned = draw_correlogram(tmp_path / "turned", windows=windows[::-1], times=times[::-1])

    assert ordered[0].read_bytes() == turned[0].read_bytes()


def test_a_line_of_a_year_of_windows_is_their_mean(tmp_path):
    times = 1546300800.0 + 1800.0 * np.arange(17520)
    windows = np.zeros((17520, LAGS.size), np.float32)

    written = draw_correlogram(tmp_path, windows=windows, times=times)

    assert "Shown: mean of the windows in every 29.2 hours." in text(written)


def test_lines_of_time_contain_their_windows():
    windows = np.arange(6.0)[:, None] * np.ones((1, 3))
    windows[4] = np.nan
    times = np.array([0.0, 450.0, 900.0, 1350.0, 2250.0, 2700.0])

    rows, begin, length, step = correlograms._time_rows(windows, times)

    assert (begin, length, step) == (0.0, 450.0, 450.0)
    assert np.array_equal(rows[:, 0], [0, 1, 2, 3, np.nan, np.nan, 5], equal_nan=True)


@pytest.mark.parametrize("n_windows", [0, 1, 2])
def test_few_windows_and_no_windows_are_plotted(n_windows, tmp_path):
    written = draw_correlogram(
        tmp_path,
        windows=section(2)[0][:n_windows],
        times=np.arange(n_windows) * 60.0,
        stack=np.full(LAGS.size, np.nan) if not n_windows else section(1)[0][0],
    )

    assert f"{n_windows} window" in text(written)


def test_the_text_of_a_correlogram_gives_the_speed(tmp_path):
    said = text(draw_correlogram(tmp_path, distance=30.0, snr=12.34, peak_lag=-10.0))

    assert "Distance 30 km.\nSignal-to-noise ratio 12.3.\n" in said
    assert "Largest value at a lag of -10.000 s, an apparent speed of 3 km/s." in said


# Maps


def test_a_map_lists_the_stations_and_those_without_coordinates(tmp_path):
    said = text(
        draw_map(
            tmp_path, longitude=np.array([10.0, np.nan, 10.5]), pairs=np.array([[0, 1], [0, 2]])
        )
    )

    assert "2 stations on the map." in said
    assert "Without coordinates: BBB." in said
    assert "2 pairs shown as lines." in said
    assert "  AAA: 60.00000 N, 10.00000 E" in said


@pytest.mark.parametrize(
    ("longitude", "width"),
    [
        ([178.0, -179.0, 175.0], 6.0),
        ([-1.0, 1.0, 359.5], 2.0),
        ([10.0, 350.0, 20.0], 30.0),
        ([-120.0, -70.0, np.nan], 50.0),
    ],
)
def test_longitudes_are_unwrapped_at_the_widest_gap(longitude, width):
    cut = station_maps._unwrapped(np.array(longitude))

    assert np.nanmax(cut) - np.nanmin(cut) == pytest.approx(width)
    np.testing.assert_allclose(cut % 360, np.array(longitude) % 360)


def test_a_degree_of_longitude_has_its_true_length():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    longitude, latitude = np.array([10.0, 11.0]), np.array([60.0, 60.5])

    _, _, per_km = station_maps._map_axes(axes, longitude, latitude, np.ones(2, dtype=bool))

    metres = gps2dist_azimuth(60.25, 10.0, 60.25, 11.0)[0]
    assert per_km == pytest.approx(1000 / metres, rel=0.005)
    assert axes.get_aspect() == pytest.approx(1 / np.cos(np.radians(60.25)), rel=1e-6)


@pytest.mark.parametrize("n_stations", [0, 1])
def test_a_map_of_one_station_and_of_no_station_is_plotted(n_stations, tmp_path):
    one = {"longitude": np.array([170.0]), "latitude": np.array([-41.0]), "names": ["AAA"]}
    arguments = {key: value[:n_stations] for key, value in one.items()}

    assert f"{n_stations} station" in text(draw_map(tmp_path, **arguments))


def test_pairs_of_stations_without_coordinates_have_no_line(tmp_path):
    nowhere = np.full(3, np.nan)

    said = text(draw_map(tmp_path, longitude=nowhere, latitude=nowhere, pairs=np.array([[0, 1]])))

    assert "0 stations on the map.\nWithout coordinates: AAA, BBB, CCC." in said


def test_stations_at_one_location_and_at_a_pole_are_plotted(tmp_path):
    for latitude in (60.0, 90.0):
        draw_map(tmp_path, longitude=np.full(3, 10.0), latitude=np.full(3, latitude))

    draw_map(
        tmp_path, longitude=np.array([0.0, 120.0, 240.0]), latitude=np.array([89.0, 90.0, 90.0])
    )


def test_a_crowded_map_states_the_number_of_names(tmp_path, monkeypatch):
    titles = []
    write = station_maps.write_title
    monkeypatch.setattr(
        station_maps, "write_title", lambda *said: titles.append(said[-1]) or write(*said)
    )
    random = np.random.default_rng(0)

    draw_map(
        tmp_path,
        longitude=random.uniform(-120, -70, 1500),
        latitude=random.uniform(30, 48, 1500),
        names=[f"S{k:04d}" for k in range(1500)],
        pairs=random.integers(0, 1500, (9001, 2)),
    )

    assert titles[-1].endswith("of 1500 names; every 4th of 9,001 pairs")
    assert int(titles[-1].split()[0]) < 300


# Availability


def test_a_day_without_requested_windows_is_grey_and_an_empty_day_is_not(tmp_path):
    asked = [day("XX.A..BHZ", f"2019-01-0{k}", 0, reason="no samples") for k in (1, 2, 3)]

    all_asked = draw_availability(tmp_path, asked)
    assert share_of(all_asked, GREY) < 0.01
    one_missing = draw_availability(tmp_path, [asked[0], asked[2]])

    assert share_of(one_missing, GREY) > 0.15
    assert "0 of 94 requested windows were accepted." in text(one_missing)
    assert "XX.A..BHZ 2019-01-03: kept, no samples" in text(one_missing)


def test_the_order_of_the_rows_does_not_matter(tmp_path):
    rows = [day(f"XX.{c}..BHZ", f"2019-01-{d:02d}", d) for c in "ABC" for d in range(1, 20)]
    (tmp_path / "turned").mkdir()

    ordered, turned = (
        draw_availability(tmp_path, rows),
        draw_availability(tmp_path / "turned", rows[::-1]),
    )

    assert ordered[0].read_bytes() == turned[0].read_bytes()
    assert text(ordered) == text(turned)


def test_availability_without_rows_is_plotted(tmp_path):
    assert "0 channels on 0 days." in text(draw_availability(tmp_path, []))


@pytest.mark.parametrize(
    ("n", "word"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (21, "21st"),
        (1013, "1,013th"),
    ],
)
def test_ordinals_have_english_endings(n, word):
    assert captions.ordinal(n) == word


# Overview, spectrum, changes


def test_an_overview_names_the_pairs_with_the_fewest_windows_and_shows_days_without_any(tmp_path):
    n_windows = np.array([[40, 40], [0, 3], [40, 20]])

    written = draw_overview(tmp_path, n_windows=n_windows)

    assert "up to 40 windows a day; 59.6 % of all windows have data." in text(written)
    fewest = text(written).split("fewest windows:\n")[1].splitlines()[0]
    assert fewest == "  XX.A0001..BHZ|XX.B0001..BHZ: 3 windows"
    assert share_of(written, GREY) > 0.05  # the two days between


def test_an_overview_of_many_pairs_states_which_are_shown(tmp_path):
    written = draw_overview(tmp_path, n_pairs=901)

    assert "Note: left: every 4th of 901 pairs." in text(written)
    assert "901 pairs, 2 days" in text(written)


@pytest.mark.parametrize("n_pairs", [0, 1])
def test_few_pairs_and_no_pairs_have_an_overview_and_a_spectrum(n_pairs, tmp_path):
    draw_overview(tmp_path, n_pairs)
    draw_spectrum(tmp_path, n_pairs, single=0 if n_pairs else None)


def test_pairs_without_distance_or_ratio_have_an_overview(tmp_path):
    unknown = np.full(3, np.nan)

    draw_overview(tmp_path, distances=unknown)
    draw_overview(tmp_path, distances=unknown, snr=unknown)


def test_a_spectrum_states_its_peak_frequency(tmp_path):
    written = draw_spectrum(tmp_path)

    said = text(written).split("The median is largest at ")[1]
    assert float(said.split()[0]) == pytest.approx(0.5, abs=0.01)


def test_a_spectrum_leaves_out_pairs_without_a_stack(tmp_path):
    stacks = np.ones((3, LAGS.size))
    stacks[0, 3] = np.nan
    stacks[1] = 0

    assert "1 pair with a stack" in text(draw_spectrum(tmp_path, stacks=stacks))


def test_dvv_is_listed_with_sign_and_error(tmp_path):
    dvv = np.array([[0.0012, np.nan, -0.0005]])

    written = draw_changes(
        tmp_path,
        1,
        dvv=dvv,
        errors=np.full((1, 3), 2e-4),
        correlations=np.array([[0.9, np.nan, 0.4]]),
        intervals=1546300800.0 + np.array([[0, 86400], [86400, 172800], [172800, 259200]]),
    )

    assert "2 of 3 values of dv/v are known" in text(written)
    assert "from 2019-01-01T00:00:00: +0.1200 % (error 0.02 %)" in text(written)
    assert "from 2019-01-03T00:00:00: -0.0500 % (error 0.02 %)" in text(written)


def test_dvv_without_known_values_is_plotted(tmp_path):
    nothing = np.full((2, 10), np.nan)

    written = draw_changes(tmp_path, 2, dvv=nothing, errors=nothing, correlations=nothing)

    assert "0 of 20 values of dv/v are known" in text(written)
