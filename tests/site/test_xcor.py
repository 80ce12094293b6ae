"""The tab XCor: parameters, estimate, launch, and failures of the service."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from keyboard import press
from playwright.sync_api import Locator, Page, Route, expect

from xcor_daemon.errors import Problem
from xcor_daemon.request.cost import estimate
from xcor_daemon.request.parse import parse_request
from xcor_daemon.storage.jobs import problems_json

pytestmark = pytest.mark.real

HEAD = "Network,Station,Location,Channel,StartDate,EndDate,SampleRate\n"
TWO = f"{HEAD}XX,A,,BHZ,2019-01-01,2019-01-03,40\nXX,B,,BHZ,2019-01-01,2019-01-02,20\n"


def start(page: Page, url: str, stations: str = TWO, params: str = "") -> None:
    """Open the tab with these channels saved."""
    stored = json.dumps(json.dumps(stations))
    page.add_init_script(f"localStorage['xcor.stations'] ??= {stored}")
    page.goto(f"{url}/#xcor{params}")
    expect(page.get_by_role("heading", name="Parameters")).to_be_visible()


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#xcor-{name}")


def launch(page: Page) -> None:
    page.get_by_role("button", name="Save and Launch").click()
    page.get_by_role("dialog").get_by_role("button", name="Launch").click()


def test_defaults_units_and_help(page, site, shoot, check_access):
    page.goto(f"{site.url}/#xcor")

    for name, value in {
        "fs": "10",
        "freqmin": "0.1",
        "freqmax": "0.2",
        "cc_step": "450",
        "cc_len": "1800",
        "maxlag": "60",
    }.items():
        expect(field(page, name)).to_have_value(value)
    expect(field(page, "fs")).to_have_accessible_name("fs (Hz)")
    expect(field(page, "maxlag")).to_have_accessible_description("Maximum lag, shorter than cc_len")
    expect(page.get_by_text("Save channels in the Map tab")).to_be_visible()
    expect(page.get_by_role("button", name="Save and Launch")).to_be_disabled()
    shoot(page, "xcor-empty")


def test_values_are_checked_while_typed(page, site, shoot, check_access):
    start(page, site.url)
    field(page, "freqmax").fill("6")
    expect(field(page, "freqmax")).to_have_accessible_description(
        "Upper corner frequency of the band, at most fs/2 6 Hz exceeds the Nyquist frequency "
        "(5 Hz at fs = 10 Hz); lower freqmax or raise fs"
    )
    expect(page.get_by_role("button", name="Save and Launch")).to_be_disabled()
    shoot(page, "xcor-wrong")

    field(page, "freqmin").fill("9")
    expect(field(page, "freqmax")).to_have_accessible_description(
        "Upper corner frequency of the band, at most fs/2 6 Hz must be higher than freqmin (9 Hz); "
        "6 Hz exceeds the Nyquist frequency (5 Hz at fs = 10 Hz); lower freqmax or raise fs"
    )

    field(page, "freqmin").fill("0.1")
    field(page, "fs").fill("30")
    field(page, "freqmax").fill("11")
    expect(
        page.get_by_text("exceeds the sampling rate of XX.B..BHZ (at least 20 Hz)")
    ).to_be_visible()
    expect(page.get_by_text("11 Hz leaves no pair: it exceeds the highest")).to_be_visible()
    expect(page.get_by_role("button", name="Save and Launch")).to_be_disabled()
    expect(page.get_by_text("Sampling rates differ: 20, 40 Hz")).to_be_visible()
    expect(page.get_by_text("On 1 day there is only one channel")).to_be_visible()
    check_access(page)


def test_channel_with_a_low_sampling_rate_is_left_out_with_advice(page, site):
    start(page, site.url, f"{TWO}XX,C,,BHZ,2019-01-01,2019-01-02,40\n", "?fs=30&freqmax=11")

    expect(page.get_by_text("exceeds the Nyquist frequency of XX.B..BHZ")).to_be_visible()
    expect(page.get_by_role("button", name="Save and Launch")).to_be_enabled()


def test_estimate_needs_only_the_values_it_depends_on(page, site):
    start(page, site.url, params="?freqmin=x")

    expect(field(page, "freqmin")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".estimate dd").first).to_have_text("1")
    expect(page.get_by_text("Fix the parameters marked in red to launch the job.")).to_be_visible()
    field(page, "cc_len").fill("y")
    expect(page.locator(".estimate dd")).to_have_count(0)
    expect(page.get_by_text("in red to see the estimate.")).to_be_visible()


def test_estimate_matches_the_command_line(page, site, tmp_path: Path):
    start(page, site.url, params="?fs=20&maxlag=120")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download xcor_params.csv").click()
    params = Path(download.value.path()).read_bytes()
    cost = estimate(parse_request({"stations.csv": TWO.encode(), "params.csv": params}))

    assert download.value.suggested_filename == "xcor_params.csv"
    assert params == b"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n20,0.1,0.2,450,1800,120\n"
    shown = page.locator(".estimate dd").all_inner_texts()
    assert shown[:4] == [f"{n:,}" for n in (cost.pairs, cost.days, 189, cost.pair_windows)]
    assert shown[4] == f"{cost.bytes_in / 1e6:.2f} MB"
    assert shown[5] == f"{cost.bytes_out / 1e6:.2f} MB"


def test_job_too_large_or_without_pairs_is_reported_before_submission(page, site):
    many = "".join(f"XX,S{k:04},,BHZ,2010-01-01,2019-12-31,40\n" for k in range(300))
    start(page, site.url, HEAD + many)

    expect(page.get_by_text("are allowed in one job: choose fewer channels").first).to_be_visible()
    expect(page.get_by_role("button", name="Save and Launch")).to_be_disabled()


def test_optional_parameters_are_shown_when_they_apply(page, site, shoot, check_access):
    start(page, site.url)
    expect(field(page, "method")).to_be_hidden()
    page.get_by_text("More parameters").click()
    expect(field(page, "clip_factor")).to_be_hidden()
    field(page, "time_norm").select_option("clip")
    expect(field(page, "clip_factor")).to_be_visible()
    field(page, "clip_factor").fill("2.5")
    field(page, "whiten").uncheck()
    field(page, "method").select_option("coherence")
    expect(page.get_by_text("4 changed")).to_be_visible()
    check_access(page)
    shoot(page, "xcor-more")

    page.reload()
    expect(page.get_by_text("4 changed")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download xcor_params.csv").click()
    head, row = Path(download.value.path()).read_text().splitlines()
    assert dict(zip(head.split(",")[6:], row.split(",")[6:], strict=True)) == {
        "time_norm": "clip",
        "clip_factor": "2.5",
        "whiten": "false",
        "method": "coherence",
    }
    page.get_by_role("button", name="Defaults").click()
    expect(page.get_by_text("4 changed")).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("4 changed")).to_be_visible()


def test_every_parameter_has_a_field(page, site):
    start(page, site.url)
    limits = json.loads((Path(__file__).parents[2] / "xcor_daemon/request/limits.json").read_text())

    names = page.locator("#panel-xcor .field [name]").evaluate_all("all => all.map(e => e.name)")
    assert sorted(names) == sorted(limits["params"])


def test_job_is_launched_after_confirmation(page, site, shoot, check_access):
    start(page, site.url)
    page.get_by_role("button", name="Save and Launch").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 channels, 0.1 to 0.2 Hz")
    check_access(page)
    shoot(page, "xcor-launch")
    dialog.get_by_role("button", name="Cancel").click()
    assert site.sent == []
    launch(page)

    page.wait_for_url("**/#jobs?id=41")
    (sent,) = site.sent
    assert len(sent.pop("launch")) == 32
    assert sent == {
        "stations": TWO,
        "params": "fs,freqmin,freqmax,cc_step,cc_len,maxlag\n10,0.1,0.2,450,1800,60\n",
    }


def test_keyboard_sets_parameters_and_launches(page, site):
    start(page, site.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press(page, "Tab", until=field(page, "fs"))
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("20")
    press(page, "Tab", until=field(page, "maxlag"))
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("90")
    press(page, "Tab", until=page.locator("summary", has_text="More parameters"))
    page.keyboard.press("Enter")
    press(page, "Tab", until=field(page, "time_norm"))
    page.keyboard.type("onebit")
    press(page, "Tab", until=field(page, "whiten"))
    page.keyboard.press("Space")
    press(page, "Tab", until=page.get_by_role("button", name="Save and Launch"))

    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Launch", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Save and Launch")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Launch", exact=True)).to_be_focused()
    page.keyboard.press("Enter")

    page.wait_for_url("**/#jobs?id=41")
    head, row = site.sent[0]["params"].splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=True)) == {
        "fs": "20", "freqmin": "0.1", "freqmax": "0.2", "cc_step": "450", "cc_len": "1800",
        "maxlag": "90", "time_norm": "onebit", "whiten": "false",
    }  # fmt: skip


def test_rejected_values_are_shown_at_their_fields(visitor, page, site, shoot):
    visitor.expected.append("422")
    problems = [
        Problem("params.csv", 2, "source", "", "is needed here"),
        Problem("params.csv", 2, "maxlag", "60", "s is more than this service keeps"),
        Problem("stations.csv", 3, "Station", "B", "is closed to the public"),
    ]
    site.answers = [(422, {"problems": list(problems_json(problems))})]
    start(page, site.url)
    launch(page)

    expect(field(page, "maxlag")).to_have_accessible_description(
        "Maximum lag, shorter than cc_len maxlag = 60 s is more than this service keeps"
    )
    expect(field(page, "source")).to_be_focused()
    expect(page.get_by_text("stations.csv line 3: Station = B is closed to")).to_be_visible()
    shoot(page, "xcor-refused")


def test_failed_submission_keeps_input_and_is_retried(visitor, page, site):
    visitor.expected.append("Failed to load")
    troubles = [
        (
            503,
            {"error": "the job store is unreachable"},
            "cannot store jobs at the moment: the job",
        ),
        (429, {}, "received too many jobs"),
        (500, {}, "responded with status 500"),
        (201, {"hello": 1}, "returned no job number"),
    ]
    site.answers = [*((status, reply) for status, reply, _ in troubles), (201, {"id": "42"})]
    start(page, site.url)
    launch(page)
    for _, _, words in troubles:
        expect(page.get_by_text(words)).to_be_visible()
        expect(page.get_by_text("Nothing is lost")).to_be_visible()
        page.get_by_role("button", name="Try again").click()

    page.wait_for_url("**/#jobs?id=42")
    assert len(site.sent) == 5
    assert all(sent == site.sent[0] for sent in site.sent)


def test_launch_with_a_lost_answer_creates_one_job(visitor, page, demo, store):
    visitor.expected.append("Failed to load")  # the answer, and what the service has not seen yet
    start(page, demo.page)
    before = store.sent()
    page.route(f"{demo.page}/jobs", lose_answer, times=1)
    launch(page)
    expect(page.get_by_text("Retrying is safe: it cannot create a second job")).to_be_visible()
    (job,) = store.sent() - before

    page.reload()
    launch(page)

    page.wait_for_url(f"**/#jobs?id={job}")
    assert store.sent() - before == {job}
    page.get_by_role("tab", name="XCor").click()
    launch(page)
    page.wait_for_url(re.compile(rf"#jobs\?id=(?!{job}$)\d+$"))
    assert len(store.sent() - before) == 2


def lose_answer(route: Route) -> None:
    """The service gets what was sent, and its answer never comes."""
    route.fetch()
    route.abort()


def test_job_without_network_survives_a_reload(visitor, page, site, shoot):
    visitor.expected.append("ERR_INTERNET_DISCONNECTED")
    start(page, site.url)
    field(page, "maxlag").fill("90")
    visitor.context.set_offline(True)
    launch(page)
    expect(page.get_by_text("cannot be reached from this page")).to_be_visible()
    shoot(page, "xcor-offline")

    visitor.context.set_offline(False)
    page.reload()
    expect(field(page, "maxlag")).to_have_value("90")
    launch(page)
    page.wait_for_url("**/#jobs?id=41")


def test_page_without_an_endpoint_offers_the_files(page, plain):
    start(page, plain)

    expect(page.get_by_text("This page is not connected to a service")).to_be_visible()
    expect(page.get_by_role("button", name="Save and Launch")).to_have_count(0)
    for name in ("xcor_params.csv", "stations.csv"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download {name}").click()
        assert download.value.suggested_filename == name


def test_link_contains_the_parameters(page, site):
    start(page, site.url, params="?freqmin=0.05&whiten=false&nonsense=1")

    expect(field(page, "freqmin")).to_have_value("0.05")
    expect(field(page, "whiten")).not_to_be_checked()
    field(page, "cc_len").fill("3600")
    page.wait_for_url("**/#xcor?freqmin=0.05&cc_len=3600&whiten=false")


@pytest.mark.parametrize("scheme", ["dark", "print"])
def test_form_in_dark_mode_and_on_paper(page, site, shoot, check_access, scheme):
    page.emulate_media(**({"media": "print"} if scheme == "print" else {"color_scheme": "dark"}))
    start(page, site.url)
    check_access(page)
    shoot(page, f"xcor-{scheme}")
