import copy
import io
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from obspy import Inventory, Trace, UTCDateTime, read_inventory
from obspy.core.inventory import PolynomialResponseStage
from obspy.signal.invsim import cosine_sac_taper
from paths import DATA

from xcor_daemon.pipeline.preprocessing.response import transfer
from xcor_daemon.pipeline.sources.stationxml import curve, metadata_from_inventory, read_stationxml
from xcor_daemon.request.stations import Channel

SPANS = ((datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 1, 4, tzinfo=UTC)),)
WBM = Channel("CI", "WBM", "", "LHZ", SPANS)
THIS = Channel("BK", "THIS", "00", "LHZ", SPANS)
OUTPUT = {"velocity": "VEL", "displacement": "DISP", "acceleration": "ACC"}


@pytest.fixture(scope="module")
def wbm() -> Inventory:
    return read_stationxml((DATA / "ci_bk_2022/CI_WBM.xml").read_bytes())


@pytest.fixture
def lhz(wbm: Inventory):
    """A copy of one channel, to be spoiled."""
    chosen = wbm.select(station="WBM", location="", channel="LHZ", time=UTCDateTime(2022, 1, 2))
    return copy.deepcopy(chosen)


def response_of(inventory):
    return inventory[0][0][0].response


def epoch_of(inventory, response="velocity"):
    (epoch,) = metadata_from_inventory(inventory, [WBM], response).epochs[WBM.id]
    return epoch


@pytest.mark.parametrize("units", OUTPUT)
@pytest.mark.parametrize("code", ["LHZ", "BHZ", "HHZ", "EHZ", "HNZ"])
def test_between_its_points_the_curve_is_evalresp_to_a_millionth(wbm, code, units):
    described = wbm.select(channel=code)[0][0][0]
    nyquist = described.sample_rate / 2

    found = curve(described.response, units, nyquist)

    middle = np.sqrt(found.frequency[1:] * found.frequency[:-1])
    middle = middle[middle < 0.8 * nyquist]
    expected = described.response.get_evalresp_response_for_frequencies(
        middle, output=OUTPUT[units], hide_sensitivity_mismatch_warning=True
    )
    assert np.abs(transfer(found, middle) / expected - 1).max() < 1e-6


def test_evaluating_a_response_loads_neither_matplotlib_nor_scipy():
    code = f"""
import sys
from xcor_daemon.pipeline.sources.stationxml import curve, read_stationxml
inventory = read_stationxml(open({str(DATA / "ci_bk_2022/CI_WBM.xml")!r}, "rb").read())
curve(inventory.select(channel="LHZ")[0][0][0].response, "velocity", 0.5)
print(*(name for name in ("matplotlib", "scipy.signal", "scipy.linalg") if name in sys.modules))
import obspy.signal.filter, scipy.interpolate
from obspy.signal import PPSD
print(obspy.signal.filter.bandpass.__name__, PPSD.__name__, scipy.interpolate.interp1d.__name__)
"""

    said = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=100)

    assert said.splitlines() == ["", "bandpass PPSD interp1d"]


def test_an_uncorrected_delay_keeps_its_phase(lhz):
    response = response_of(lhz)
    for stage in response.response_stages:
        if stage.decimation_delay is not None:
            stage.decimation_delay, stage.decimation_correction = 40.0, 0.0
    frequency = np.linspace(0.01, 0.4, 500)

    found = transfer(curve(response, "velocity", 0.5), frequency)

    expected = response.get_evalresp_response_for_frequencies(frequency, output="VEL")
    assert np.abs(found / expected - 1).max() < 1e-6


def test_dividing_by_the_response_equals_obspys_remove_response(lhz):
    noise = np.random.default_rng(0).standard_normal(1 << 14)
    header = {"network": "CI", "station": "WBM", "channel": "LHZ", "sampling_rate": 1.0}
    trace = Trace(noise.copy(), {**header, "starttime": UTCDateTime(2022, 1, 2)})
    band = (0.005, 0.01, 0.35, 0.4)
    n = 2 * noise.size
    frequency = np.fft.rfftfreq(n, 1.0)

    spectrum = np.fft.rfft(noise, n) * cosine_sac_taper(frequency, flimit=band)
    ours = np.fft.irfft(spectrum / transfer(epoch_of(lhz).response, frequency))[: noise.size]

    trace.remove_response(lhz, "VEL", None, pre_filt=band, zero_mean=False, taper=False)
    assert np.linalg.norm(ours - trace.data) < 0.005 * np.linalg.norm(trace.data)


def test_outside_the_curve_its_end_values_are_held(lhz):
    found = epoch_of(lhz).response

    low, high = transfer(found, np.array([0.0, 1e6]))

    assert abs(low) == pytest.approx(np.exp(found.log_amplitude[0]))
    assert abs(high) == pytest.approx(np.exp(found.log_amplitude[-1]))


def test_only_requested_channels_and_epochs_are_read(wbm):
    broadband = Channel("CI", "WBM", "", "HHZ", SPANS)
    channels = [WBM, broadband, Channel("XX", "NONE", "", "BHZ", SPANS)]

    found = metadata_from_inventory(wbm, channels, "velocity")

    assert sorted(found.epochs) == ["CI.WBM..HHZ", "CI.WBM..LHZ"]
    (epoch,) = found.epochs["CI.WBM..LHZ"]
    assert (epoch.latitude, epoch.longitude) == (35.60839, -117.89049)
    assert epoch.problem == epoch.warning == ""


def test_two_epochs_stand_in_order_and_apart(lhz):
    later = copy.deepcopy(lhz)
    lhz[0][0][0].start_date = UTCDateTime(2021, 1, 1)
    lhz[0][0][0].end_date = None
    later[0][0][0].start_date = UTCDateTime(2022, 1, 2, 12)

    first, second = metadata_from_inventory([later, lhz], [WBM], "velocity").epochs[WBM.id]

    assert first.end == second.start == UTCDateTime(2022, 1, 2, 12).ns
    assert first.response is second.response  # evaluated once


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda c: setattr(c, "response", None), "no response in the StationXML"),
        (lambda c: setattr(c.response, "response_stages", []), "no response stages"),
        (lambda c: setattr(c.response.response_stages[0], "input_units", "A"), "'A', not of"),
        (lambda c: c.response.response_stages.append(_polynomial()), "polynomial"),
        (lambda c: setattr(c.response.response_stages[-1], "output_units", "V"), "ends in volts"),
        (lambda c: setattr(c.response.response_stages[0], "zeros", [0j] * 90), "not finite"),
        (lambda c: c.response.response_stages.insert(0, c.response.response_stages[0]), "1, 1, 2"),
        (lambda c: c.response.response_stages.pop(1), "stages 1, 3, 4"),
    ],
)
def test_an_unusable_response_has_a_reason(lhz, spoil, problem):
    spoil(lhz[0][0][0])

    epoch = epoch_of(lhz)

    assert epoch.response is None
    assert problem in epoch.problem


@pytest.mark.parametrize(
    ("name", "channel_id", "problem"),
    [
        ("polynomial_Setra_270.xml", "XX.ABCD.10.BDO", "is a polynomial"),
        ("stationxml_IU.ANTO.30.LDO.xml", "IU.ANTO.30.LDO", "is a polynomial"),
        ("F1_423_small.xml", "QI.TPASS.00.BDF", "are 'PA', not of ground motion"),
        ("only_soh.xml", "TA.034A..ACE", "no response in the StationXML"),
        ("only_soh.xml", "TA.034A.EP.QEP", "are 'COUNTS', not of ground motion"),
        ("stationxml_with_availability.xml", "IU.ANMO.00.BH1", "but no response stages"),
    ],
)
def test_real_metadata_without_ground_motion_have_a_reason(name, channel_id, problem):
    inventory = read_stationxml((DATA / "stationxml" / name).read_bytes())
    always = ((datetime(1980, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)),)
    channel = Channel(*channel_id.split("."), always)

    (epoch,) = metadata_from_inventory(inventory, [channel], "velocity").epochs[channel_id]

    assert epoch.response is None
    assert problem in epoch.problem


@pytest.mark.parametrize(
    "name",
    [
        "channel_without_coordinates.xml",
        "empty_channel.xml",
        "no_default_namespace.xml",
        "version20.xml",
    ],
)
def test_metadata_without_a_complete_channel_are_read_and_empty(name):
    inventory = read_stationxml((DATA / "stationxml" / name).read_bytes())

    assert metadata_from_inventory(inventory, [WBM], "velocity").epochs == {}


def _polynomial():
    return PolynomialResponseStage(9, 1.0, 1.0, "V", "COUNTS", 0.0, 1.0, 0.0, 1.0, 0.1, [0.0, 1.0])


def test_without_response_removal_none_is_missed(lhz):
    lhz[0][0][0].response = None

    assert epoch_of(lhz, "none").problem == ""


def test_missing_coordinates_are_not_a_number(lhz):
    channel, station = lhz[0][0][0], lhz[0][0]
    for thing in (channel, station):
        thing._latitude = thing._longitude = thing._elevation = None

    epoch = epoch_of(lhz)

    assert np.isnan([epoch.latitude, epoch.longitude, epoch.elevation]).all()


def test_a_reported_sensitivity_that_the_stages_do_not_give_is_a_warning(lhz):
    response_of(lhz).instrument_sensitivity.value *= 1.2

    epoch = epoch_of(lhz)

    assert epoch.response is not None
    assert "-17%" in epoch.warning


def test_a_sensitivity_above_the_nyquist_frequency_is_compared_with_the_gains():
    # The sensitivity of BK.THIS is given at 1 Hz, beyond the band of its 1 Hz channel.
    inventory = read_stationxml((DATA / "ci_bk_2022/BK_THIS.xml").read_bytes())

    (epoch,) = metadata_from_inventory(inventory, [THIS], "velocity").epochs[THIS.id]

    assert epoch.warning == ""


def test_a_flat_response_gives_back_ground_motion():
    inventory = read_stationxml((DATA / "ta_2017_05/station.xml").read_bytes())
    response = response_of(inventory)

    found = transfer(curve(response, "velocity", 0.5), np.array([0.01, 0.1, 0.3]))

    np.testing.assert_allclose(found, 1e10, rtol=1e-6)  # 1e-10 m/s a count


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><FDSNStationXML>&a;</FDSNStationXML>',
        b"\xef\xbb\xbf <?xml version='1.0' encoding='utf-8'?><!DOCTYPE x []><FDSNStationXML/>",
        *(
            f'<?xml version="1.0" encoding="{name}"?><!DOCTYPE x []><FDSNStationXML/>'.encode(name)
            for name in ("UTF-16", "utf-16-le", "UTF-32", "cp037", "UTF-7", "unicode_escape")
        ),
        b"<html><body>Service unavailable</body></html>",
        b"",
        b"<FDSNStationXML",
    ],
)
def test_xml_other_than_plain_stationxml_is_rejected(content):
    with pytest.raises(ValueError, match=r"document type|not valid StationXML|not XML"):
        read_stationxml(content)


def test_stationxml_written_by_obspy_is_read_back(lhz):
    written = io.BytesIO()
    lhz.write(written, format="STATIONXML")

    assert read_stationxml(written.getvalue())[0][0].code == "WBM"
    assert read_inventory(io.BytesIO(written.getvalue()), format="STATIONXML")[0].code == "CI"
