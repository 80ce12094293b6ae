"""The tab Map: filters, area, stations, table, selection, saved channels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from keyboard import press
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.real


def find(page: Page, url: str, behaviour: str = "array", **filters: str) -> None:
    """Query channels and wait for the result."""
    page.goto(url)
    page.get_by_label("Data centre").select_option(behaviour)
    for label, text in {"Network": "XX", **filters}.items():
        page.locator(".filters").get_by_label(label, exact=False).fill(text)
    page.get_by_role("button", name="Query").click()
    expect(page.locator("#map-status")).to_contain_text("Found")


def saved(page: Page) -> Locator:
    return page.get_by_role("region", name="Saved channels")


def ids(page: Page) -> list[str]:
    """The channels that are listed, in their order."""
    return page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.dataset.id)")


def selected(page: Page) -> list[str]:
    return page.locator("tbody tr.chosen").evaluate_all("rows => rows.map(r => r.dataset.id)")


def map_point(page: Page, fx: float, fy: float) -> tuple[float, float]:
    """A point of the map, as shares of its width and height."""
    box = page.locator(".chart").bounding_box()
    return box["x"] + box["width"] * fx, box["y"] + box["height"] * fy


def draw(page: Page, a: tuple[float, float], b: tuple[float, float]) -> None:
    page.mouse.move(*map_point(page, *a))
    page.mouse.down()
    page.mouse.move(*map_point(page, *b), steps=4)
    page.mouse.up()


def test_first_visit_shows_instructions(page, site, shoot, check_access):
    page.goto(site.url)

    expect(page.get_by_text("Enter a network, a station or an area on the left")).to_be_visible()
    page.get_by_role("button", name="Query").click()
    expect(page.get_by_text("matches the whole world")).to_be_visible()
    expect(page.get_by_label("Network", exact=True).first).to_be_focused()
    check_access(page)
    shoot(page, "map-first")


def test_sample_is_found_in_the_data_centre_of_the_demo(page, demo, shoot, check_access):
    page.goto(demo.page)
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_role("button", name="Query").click()

    expect(page.get_by_text("24 channels of 24 stations in 1 network")).to_be_visible()
    assert len(ids(page)) == 24
    page.get_by_role("checkbox", name="Select NO.NAO00..BHZ").check()
    check_access(page)
    shoot(page, "map-found")


def test_invalid_filter_is_reported_at_its_field(page, site):
    page.goto(site.url)
    page.get_by_label("Network", exact=True).first.fill("T;A")
    page.get_by_label("Start").fill("2006-13-01")

    network = page.get_by_label("Network", exact=True).first
    expect(network).to_have_accessible_description(
        "may contain only letters, digits, * ? , _ and -"
    )
    expect(network).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("is not a date; write YYYY-MM-DD")).to_be_visible()


def test_table_is_sorted_filtered_and_selected(page, site):
    find(page, site.url)
    assert len(ids(page)) == 12
    page.get_by_role("button", name="Rate (Hz)").click()
    expect(page.locator("th[data-column=rate]")).to_have_attribute("aria-sort", "ascending")
    assert ids(page)[0] == "XX.AAA.10.BHZ"

    page.get_by_label("Component").select_option("Z")
    page.get_by_label("State").select_option("closed")
    assert set(ids(page)) == {"XX.CCC.00.BHZ", "XX.CCC.10.BHZ", "XX.CCC.00.HHZ"}
    page.get_by_role("checkbox", name="Select all listed channels").check()
    page.get_by_label("State").select_option("")
    page.get_by_label("Component").select_option("")
    assert len(selected(page)) == 3
    page.get_by_role("button", name="Invert").click()
    assert len(selected(page)) == 9
    page.get_by_role("button", name="None").click()
    assert selected(page) == []

    page.get_by_role("checkbox", name=f"Select {ids(page)[1]}").click()
    page.get_by_role("checkbox", name=f"Select {ids(page)[4]}").click(modifiers=["Shift"])
    assert selected(page) == ids(page)[1:5]


def test_best_channel_of_each_station_is_selected(page, site):
    find(page, site.url)
    page.get_by_text("Best of each station").click()
    page.get_by_label("Channels, best first").fill("BHZ,HHZ")
    page.get_by_label("Locations, best first").fill("10,00")
    page.get_by_role("button", name="Select", exact=True).click()

    assert set(selected(page)) == {"XX.AAA.10.BHZ", "XX.BBB.10.BHZ", "XX.CCC.10.BHZ"}


def test_area_is_drawn_or_typed_and_queried(page, site, data_centres):
    find(page, site.url)
    page.get_by_role("button", name="Draw on the map").click()
    draw(page, (0.3, 0.2), (0.6, 0.7))
    sides = {
        s: float(page.get_by_label(s).input_value()) for s in ("North", "South", "West", "East")
    }
    assert 60 < sides["South"] < sides["North"] < 62
    assert 10 < sides["West"] < sides["East"] < 12

    page.get_by_label("North").fill("61.1")
    page.get_by_label("South").fill("60.9")
    page.get_by_role("button", name="Query").click()
    expect(page.get_by_text("4 channels of 1 station")).to_be_visible()
    assert float(data_centres.queries[-1]["maxlatitude"]) == 61.1
    page.get_by_role("button", name="Remove area").click()
    expect(page.get_by_label("North")).to_have_value("")


def test_area_across_the_dateline_is_queried_in_two_parts(page, site, data_centres, shoot):
    sides = {"North": "20", "South": "0", "West": "170", "East": "-170"}
    find(page, site.url, "dateline", **sides)

    expect(page.get_by_text("2 channels of 2 stations")).to_be_visible()
    spans = {(q["minlongitude"], q["maxlongitude"]) for q in data_centres.queries}
    assert spans == {("170", "180"), ("-180", "-170")}
    shoot(page, "map-dateline")


def test_stations_in_a_box_are_selected(page, site):
    find(page, site.url)
    page.get_by_role("button", name="Draw a box").click()
    draw(page, (0.02, 0.02), (0.98, 0.98))
    assert len(selected(page)) == 12

    page.get_by_role("button", name="None").click()
    page.get_by_role("button", name="In the area").click()
    expect(page.get_by_text("No area is set")).to_be_visible()
    for side, text in {"North": "62", "South": "61.3", "West": "10", "East": "12"}.items():
        page.get_by_label(side).fill(text)
    page.get_by_role("button", name="In the area").click()
    assert {name[:6] for name in selected(page)} == {"XX.CCC"}


def test_drawing_ends_with_escape(page, site):
    page.goto(site.url)
    page.get_by_role("button", name="Draw on the map").click()
    expect(page.get_by_role("button", name="Draw on the map")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("Escape")

    expect(page.get_by_role("button", name="Draw on the map")).to_have_attribute(
        "aria-pressed", "false"
    )


def test_click_on_a_station_opens_its_popup(page, site, shoot, check_access):
    find(page, site.url, Station="BBB", behaviour="fair")
    page.mouse.click(*map_point(page, 0.5, 0.5))  # the only station is in the middle

    popup = page.locator(".leaflet-popup")
    expect(popup.get_by_role("heading", name="XX.BBB")).to_be_visible()
    expect(popup).to_contain_text("62.0000° N, 12.0000° E, 300 m")
    expect(popup).to_contain_text("2005-01-01 to now, 40 Hz STS-2")
    link = popup.get_by_role("link", name="StationXML").get_attribute("href")
    assert link.endswith("/query?network=XX&station=BBB&level=response&format=xml")
    popup.get_by_role("button", name="Select all").click()
    assert selected(page) == ["XX.BBB..BHZ"]
    check_access(page)
    shoot(page, "map-station")


def test_tiles_are_shown_and_replaced_by_land_if_they_fail(visitor, page, site):
    visitor.expected.append("404")
    page.goto(site.url)
    layers = page.get_by_label("Background of the map")
    layers.select_option("Tiles")
    expect(page.locator("img.leaflet-tile-loaded").first).to_be_attached()
    expect(page.locator(".leaflet-control-attribution")).to_contain_text("Land: Natural Earth, us")
    layers.select_option("Lost tiles")

    expect(page.get_by_text("Lost tiles is unavailable")).to_be_visible()
    expect(layers).to_have_value("")


def test_table_and_map_highlight_the_same_station(page, site):
    find(page, site.url, Station="BBB", behaviour="fair")
    page.mouse.move(*map_point(page, 0.5, 0.5))
    expect(page.locator("tr.hovered")).to_have_attribute("data-id", "XX.BBB..BHZ")
    page.mouse.move(*map_point(page, 0.3, 0.3))
    expect(page.locator("tr.hovered")).to_have_count(0)


def test_saved_channels_match_the_file(page, site, tmp_path: Path):
    find(page, site.url, Start="2015-01-01", End="2016-01-01", Channel="BHZ", Location="00")
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Save 3 selected channels").click()
    expect(saved(page)).to_contain_text("3 channels of 3 stations, 365 days")
    with page.expect_download() as download:
        saved(page).get_by_role("button", name="Download stations.csv").click()

    assert download.value.suggested_filename == "stations.csv"
    assert Path(download.value.path()).read_text().splitlines() == [
        "Network,Station,Location,Channel,StartDate,EndDate,"
        "Latitude,Longitude,Elevation,SampleRate,DataCenter",
        "XX,AAA,00,BHZ,2015-01-01T00:00:00,2016-01-01T00:00:00,61,11,300,40,array",
        "XX,BBB,00,BHZ,2015-01-01T00:00:00,2016-01-01T00:00:00,61.2,11.4,300,40,array",
        "XX,CCC,00,BHZ,2015-01-01T00:00:00,2015-06-01T00:00:00,61.4,11.1,300,40,array",
    ]
    page.get_by_role("checkbox", name="Select XX.AAA.00.BHZ").check()
    page.get_by_role("button", name="Replace", exact=True).click()
    expect(saved(page)).to_contain_text("1 channel of 1 station")


def test_span_beyond_the_limit_is_not_saved(page, site):
    find(page, site.url)
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Save 12 selected channels").click()

    expect(saved(page)).to_contain_text("a job has at most 3700. Enter a start and an end")
    expect(page.get_by_label("Start")).to_be_focused()


def test_reload_restores_query_and_selection(page, site):
    find(page, site.url, Start="2015-01-01", End="2016-01-01")
    page.get_by_role("checkbox", name="Select XX.AAA.00.BHZ").check()
    page.get_by_role("button", name="Save 1 selected channel").click()
    page.get_by_role("checkbox", name="Select XX.BBB.00.BHZ").check()
    page.reload()

    expect(page.get_by_text("12 channels of 3 stations")).to_be_visible()
    expect(page.get_by_label("Start")).to_have_value("2015-01-01")
    assert selected(page) == ["XX.BBB.00.BHZ"]
    expect(saved(page)).to_contain_text("1 channel of 1 station")


def test_link_contains_the_filters(visitor, page, site):
    find(page, site.url, Channel="BH?", Start="2015-01-01")
    link = page.url
    page.evaluate("localStorage.clear()")
    other = visitor.open(link)

    expect(other.get_by_label("Channel", exact=True).first).to_have_value("BH?")
    expect(other.get_by_label("Start")).to_have_value("2015-01-01")
    expect(other.get_by_label("Data centre")).to_have_value("array")


def test_list_is_imported_and_its_errors_are_reported(page, site, shoot, check_access):
    page.goto(site.url)
    page.get_by_role("button", name="Paste or upload").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Channels").fill(
        "TA I07A -- BHZ 2006-07-21 2006-07-22\nTA i08 -- BHZ 1 2\n"
    )
    dialog.get_by_role("button", name="Append").click()
    expect(dialog).to_contain_text("the list line 2: Station = i08 is not a station code")
    check_access(page)
    shoot(page, "map-list")

    rows = "TA,I07A,,BHZ,2006-07-21T00:00:00,2006-07-22T00:00:00\n"
    file = {"name": "stations.csv", "mimeType": "text/csv", "buffer": rows.encode("utf-16")}
    dialog.get_by_label("File").set_input_files(file)
    expect(dialog).to_contain_text("stations.csv is UTF-16; save it as UTF-8")
    dialog.get_by_label("File").set_input_files({**file, "buffer": rows.encode()})
    expect(dialog.get_by_label("Channels")).to_have_value(rows)
    dialog.get_by_role("button", name="Append").click()
    expect(dialog).to_be_hidden()
    expect(saved(page)).to_contain_text("1 channel of 1 station, 1 day")


def test_stations_are_exported_as_geojson(page, site):
    find(page, site.url)
    with page.expect_download() as download:
        page.get_by_role("button", name="GeoJSON").click()

    features = json.loads(Path(download.value.path()).read_text())["features"]
    assert [f["properties"]["station"] for f in features] == ["XX.AAA", "XX.BBB", "XX.CCC"]


def test_keyboard_finds_selects_and_saves(page, site):
    page.goto(site.url)
    page.get_by_label("Data centre").focus()
    page.keyboard.type("array")
    press(page, "Tab", until=page.get_by_label("Network", exact=True).first)
    page.keyboard.type("XX")
    press(page, "Tab", until=page.get_by_label("Start"))
    page.keyboard.type("2019-01-01")
    press(page, "Tab", until=page.get_by_label("End"))
    page.keyboard.type("2019-01-02")
    page.keyboard.press("Enter")
    expect(page.get_by_text("8 channels of 2 stations")).to_be_visible()
    press(page, "Tab", until=page.get_by_role("checkbox", name="Select XX.AAA.00.BHN"))
    page.keyboard.press("Space")
    press(page, "Tab", until=page.get_by_role("button", name="Show XX.AAA on the map").first)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="XX.AAA")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Show XX.AAA on the map").first).to_be_focused()
    press(page, "Shift+Tab", until=page.get_by_role("button", name="Save 1 selected channel"))
    page.keyboard.press("Enter")

    expect(saved(page)).to_contain_text("1 channel of 1 station")


@pytest.mark.parametrize(("scheme", "land"), [("light", (246, 244, 239)), ("dark", (35, 44, 51))])
def test_land_has_the_colour_of_the_style_sheet(visitor, page, site, scheme, land):
    """Of `--map-land` in map.css; as text, `light-dark(...)`, a canvas would take none of it."""
    visitor.expected.append("willReadFrequently")  # Chromium's advice to those who look often
    page.emulate_media(color_scheme=scheme)
    page.goto(site.url)

    page.wait_for_function(
        """land => [...document.querySelectorAll(".chart canvas")].some(canvas => {
            const { width, height } = canvas;
            if (!width || !height) return false;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            let n = 0;
            for (let k = 0; k < data.length; k += 4)
                n += land.every((value, i) => data[k + i] === value);
            return n > 10_000;
        })""",
        arg=list(land),
    )


@pytest.mark.parametrize("scheme", ["dark", "print"])
def test_map_in_dark_mode_and_on_paper(page, site, shoot, check_access, scheme):
    find(page, site.url)
    page.get_by_role("checkbox", name="Select all listed channels").check()
    page.emulate_media(**({"media": "print"} if scheme == "print" else {"color_scheme": "dark"}))
    check_access(page)
    shoot(page, f"map-{scheme}")


def test_second_query_keeps_the_selection(page, site):
    find(page, site.url, Station="AAA")
    page.get_by_role("checkbox", name="Select XX.AAA.00.BHZ").check()

    page.locator(".filters").get_by_label("Channel", exact=False).fill("BHZ")
    page.get_by_role("button", name="Query").click()

    expect(page.get_by_text("2 channels of 1 station")).to_be_visible()
    assert selected(page) == ["XX.AAA.00.BHZ"]
