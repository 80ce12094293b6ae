import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { boxBetween, contains, readBox, split } from "../../site/js/tabs/map/box.js";
import {
  countsOf,
  isOpen,
  parseChannels,
  stationsOf,
  toGeoJson,
  toChannels,
} from "../../site/js/tabs/map/channels.js";
import { bestOfStations, facetsOf, narrow, sorted } from "../../site/js/tabs/map/facets.js";
import { decode, importList } from "../../site/js/tabs/map/import_channels.js";
import {
  asStationXml,
  onlyMatching,
  patternOf,
  queryUrls,
  readFilters,
} from "../../site/js/tabs/map/query.js";
import { unwrap } from "../../site/js/tabs/map/unwrap.js";
import { appended, summary } from "../../site/js/request/saved_channels.js";
import { formatStations, parseTime } from "../../site/js/request/stations.js";

const LIMITS = JSON.parse(
  readFileSync(new URL("../../xcor_daemon/request/limits.json", import.meta.url), "utf-8"),
);
const HEAD =
  "#Network | Station | Location | Channel | Latitude | Longitude | Elevation | Depth | Azimuth | Dip | Instrument | Scale | ScaleFreq | ScaleUnits | SampleRate | StartTime | EndTime";
const NOW = Date.UTC(2020, 5, 1);
const line = (codes, rest = {}) => {
  const row = {
    place: "10|20|30",
    sensor: "STS-2",
    rate: "40",
    start: "2010-01-01T00:00:00.0000",
    end: "2599-12-31T23:59:59",
    ...rest,
  };
  return `${codes}|${row.place}|0|0|-90|${row.sensor}|1e9|0.1|M/S|${row.rate}|${row.start}|${row.end}`;
};
const read = (...lines) => parseChannels([HEAD, ...lines, ""].join("\n"));

test("a list of channels is read by column names, in any order and case", () => {
  const { channels } = parseChannels(
    "# starttime|ENDTIME|network|station|location|channel|longitude|latitude\n2010-01-01T00:00:00||IU|ANMO|--|BHZ|-106.5|34.9\n",
  );

  assert.equal(channels[0].id, "IU.ANMO..BHZ");
  assert.deepEqual(
    [channels[0].latitude, channels[0].longitude, channels[0].sampleRate],
    [34.9, -106.5, null],
  );
  assert.ok(isOpen(channels[0], NOW));
});

test("epochs are joined to one channel with the values of the last", () => {
  const { channels } = read(
    line("IU|ANMO|00|BHZ", {
      start: "2015-01-01T00:00:00",
      rate: "100",
      sensor: "new",
      place: "11|20|30",
    }),
    line("IU|ANMO|00|BHZ", { end: "2014-12-31T00:00:00", sensor: "old" }),
  );

  assert.equal(channels.length, 1);
  assert.deepEqual(
    channels[0].epochs.map((e) => e.sensor),
    ["old", "new"],
  );
  assert.deepEqual([channels[0].sampleRate, channels[0].latitude], [100, 11]);
  assert.equal(channels[0].epochs[1].end, null);
});

test("a bar in a sensor description moves no column; other errors are reported by line", () => {
  const { channels, rejected } = read(
    line("IU|ANMO|00|BHZ", { sensor: "STS-2 | <b>vault</b>" }),
    "IU|ANMO|00|BHN|34",
    line("IU|ANMO|00|BHE", { start: "yesterday" }),
    line("IU|||BHE"),
    line("IU|COLA|00|BHZ", { place: "||" }),
  );

  assert.equal(channels[0].sensor, "STS-2 | <b>vault</b>");
  assert.equal(channels[0].sampleRate, 40);
  assert.deepEqual(rejected, [
    "line 3 has 5 fields instead of 17",
    "line 4 has an invalid time",
    "line 5 has no valid station code",
  ]);
  assert.equal(channels[1].latitude, null);
  assert.equal(stationsOf(channels).length, 1);
  assert.deepEqual(countsOf(channels), { channels: 2, stations: 2, networks: 1 });
});

test("a text that is not a list of channels is rejected", () => {
  assert.throws(() => parseChannels("<html>hello</html>"), SyntaxError);
  assert.throws(
    () => parseChannels("#Network|Station|Latitude\nIU|ANMO|1"),
    /lacks the columns location, channel/,
  );
});

test("fifty thousand rows are read quickly", () => {
  const lines = Array.from({ length: 50_000 }, (_, k) =>
    line(`XX|S${k % 9999}|${String(k % 7).padStart(2, "0")}|BHZ`),
  );

  assert.ok(read(...lines).channels.length > 9000);
});

test("errors of filters are reported by field", () => {
  const { errors } = readFilters({
    network: "T;A",
    start: "2006-13-01",
    end: "soon",
    north: "95",
    west: "x",
  });

  assert.deepEqual(Object.keys(errors).sort(), [
    "east",
    "end",
    "network",
    "north",
    "south",
    "start",
    "west",
  ]);
  assert.match(readFilters({}).errors.network, /name a network, a station or an area/);
  assert.match(
    readFilters({ network: "TA", start: "2007", end: "2006-01" }).errors.end,
    /must be later/,
  );
  assert.equal(
    readFilters({ network: "TA", start: "2006-07-21T10:30" }).query.start,
    Date.UTC(2006, 6, 21, 10, 30),
  );
});

test("a query has all filters, and two addresses across the dateline", () => {
  const { query } = readFilters({
    network: "ta, us",
    station: "*",
    location: "--",
    channel: "BH?",
    start: "2006-07-21",
    north: "60",
    south: "50",
    west: "170",
    east: "-160",
  });
  const urls = queryUrls("http://h", query).map((url) =>
    Object.fromEntries(new URL(url).searchParams),
  );

  assert.equal(urls.length, 2);
  assert.deepEqual(
    urls.map((u) => [u.minlongitude, u.maxlongitude]),
    [
      ["170", "180"],
      ["-180", "-160"],
    ],
  );
  assert.equal(urls[0].network, "TA,US");
  assert.equal(urls[0].station, undefined);
  assert.equal(urls[0].location, "--");
  assert.equal(urls[0].starttime, "2006-07-21T00:00:00");
  assert.equal(urls[0].nodata, "404");
  const xml = new URL(asStationXml(queryUrls("http://h", query)[1])).searchParams;
  assert.deepEqual(
    [xml.get("level"), xml.get("format"), xml.get("network")],
    ["response", "xml", "TA,US"],
  );
});

test("channels outside the query are left out", () => {
  const { channels } = read(
    line("TA|I07A||BHZ", { place: "44|-120|0" }),
    line("TA|I07A||LHZ", { place: "44|-120|0" }),
    line("TA|J07A||BHZ", { place: "44|120|0" }),
    line("TA|K07A||BHZ", { place: "44|-120|0", end: "2010-06-01T00:00:00" }),
  );
  const { query } = readFilters({
    network: "TA",
    channel: "BH?",
    start: "2011-01-01",
    north: "50",
    south: "40",
    west: "170",
    east: "-100",
  });

  assert.deepEqual(
    onlyMatching(channels, query).map((c) => c.id),
    ["TA.I07A..BHZ"],
  );
});

test("wildcards match any characters, one character and a blank code", () => {
  assert.ok(patternOf("*I*").test("XIX"));
  assert.ok(!patternOf("BH?,HH?").test("BHZZ"));
  assert.ok(patternOf("--,00").test(""));
  assert.ok(!patternOf("A.C").test("ABC"));
});

test("a box is four numbers, and may cross the dateline", () => {
  assert.deepEqual(readBox({}), { box: null, errors: {} });
  const { box } = readBox({ north: "10", south: "-10", west: "170", east: "-170" });
  assert.ok(contains(box, 0, 180) && contains(box, 0, -175) && contains(box, 0, 185));
  assert.ok(!contains(box, 0, 0) && !contains(box, 11, 180) && !contains(box, null, null));
  assert.deepEqual(
    split(box).map(({ west, east }) => [west, east]),
    [
      [170, 180],
      [-180, -170],
    ],
  );
  assert.match(
    readBox({ north: "1", south: "2", west: "0", east: "0" }).errors.south,
    /south of the north/,
  );
});

test("a box drawn on a repeated map is the box on the globe", () => {
  const drawn = boxBetween({ lat: 60, lng: 190.00004 }, { lat: 95, lng: 170 });

  assert.deepEqual(drawn, { north: 90, south: 60, west: 170, east: -170 });
  assert.deepEqual(boxBetween({ lat: 0, lng: -200 }, { lat: 1, lng: 300 }), {
    north: 1,
    south: 0,
    west: -180,
    east: 180,
  });
});

test("facets count the channels that they would leave, and combine", () => {
  const { channels } = read(
    line("TA|A||BHZ"),
    line("TA|A||BHN"),
    line("US|B|00|BHZ", { rate: "20", end: "2011-01-01T00:00:00" }),
    line("US|B|00|LHZ", { rate: "" }),
  );
  const facets = facetsOf(channels, { network: "US" }, NOW);

  assert.deepEqual(facets.network, [
    ["TA", 2],
    ["US", 2],
  ]);
  assert.deepEqual(facets.band, [
    ["BH", 1],
    ["LH", 1],
  ]);
  assert.deepEqual(facets.state, [
    ["closed", 1],
    ["recording", 1],
  ]);
  assert.deepEqual(facets.rate, [
    ["20 Hz", 1],
    ["unknown", 1],
  ]);
  assert.deepEqual(
    narrow(channels, { network: "TA", component: "N" }, NOW).map((c) => c.id),
    ["TA.A..BHN"],
  );
});

test("channels are sorted by any column, unknown values last", () => {
  const { channels } = read(
    line("TA|A||BHZ", { rate: "100" }),
    line("TA|B||BHZ", { rate: "" }),
    line("TA|C||BHZ", { rate: "9" }),
  );

  assert.deepEqual(
    sorted(channels, "rate", false).map((c) => c.station),
    ["C", "A", "B"],
  );
  assert.deepEqual(
    sorted(channels, "rate", true).map((c) => c.station),
    ["A", "C", "B"],
  );
});

test("a station gives its best channels: by code first, by location second", () => {
  const { channels } = read(
    ...["HHZ", "HHN", "BHZ"].flatMap((code) => [line(`TA|A|10|${code}`), line(`TA|A||${code}`)]),
    line("TA|B|20|BHZ"),
    line("TA|B|10|BHZ"),
    line("TA|C||EHZ"),
  );
  const ids = (codes, locations) =>
    bestOfStations(channels, codes, locations)
      .map((c) => c.id)
      .sort();

  assert.deepEqual(ids("hhz,BHZ", "00,--"), ["TA.A..HHZ", "TA.B.10.BHZ"]);
  assert.deepEqual(ids("HH?,EHZ", "10"), ["TA.A.10.HHN", "TA.A.10.HHZ", "TA.C..EHZ"]);
});

test("saved channels have an end, and one row for adjacent epochs", () => {
  const { channels } = read(
    line("TA|A||BHZ", { start: "2010-01-01T00:00:00", end: "2012-01-01T00:00:00" }),
    line("TA|A||BHZ", { start: "2012-01-01T00:00:00" }),
    line("TA|B||BHZ", { end: "2010-06-01T00:00:00" }),
  );
  const window = { start: parseTime("2011-01-01"), end: null };
  const saved = toChannels(channels, window, NOW, "EARTHSCOPE");

  assert.deepEqual(formatStations(saved).split("\n").slice(1, -1), [
    "TA,A,,BHZ,2011-01-01T00:00:00,2020-06-01T00:00:00,10,20,30,40,EARTHSCOPE",
  ]);
  assert.equal(Math.round(summary(saved).longest), 3439);
});

test("appending keeps the saved channels", () => {
  const { channels } = read(line("TA|A||BHZ"), line("TA|B||BHZ"));
  const day = (n) => ({ start: Date.UTC(2019, 0, n), end: Date.UTC(2019, 0, n + 1) });
  const saved = appended(
    toChannels(channels.slice(0, 1), day(1), NOW, "X"),
    toChannels(channels, day(3), NOW, "Y"),
  );

  assert.deepEqual(
    saved.map((c) => [c.id, c.spans.length]),
    [
      ["TA.A..BHZ", 2],
      ["TA.B..BHZ", 1],
    ],
  );
  assert.equal(summary(saved).days, 2);
});

test("lists are imported in three formats", () => {
  const one = "TA,I07A,,BHZ,2006-07-21T00:00:00,2006-07-22T00:00:00\n";
  const three = [
    `Network,Station,Location,Channel,StartDate,EndDate\n${one}`,
    "level=channel\nTA I07A -- BHZ 2006-07-21T00:00:00 2006-07-22T00:00:00\n",
    ".NAME Somebody\n.END\n\nI07A TA 2006 7 21 0 0 0.0 2006 07 22 00 00 00.0 1 BHZ --\n",
  ];
  for (const text of three) {
    const { channels, problems } = importList(text, LIMITS);
    assert.deepEqual(problems, []);
    assert.equal(formatStations(channels).split("\n")[1], one.trim() + ",,,,,");
  }
});

test("errors of a list have the line numbers of its text", () => {
  const { problems } = importList("# nothing\nTA I07A -- BHZ 2006-07-21 2006-07-22\n", LIMITS);
  assert.deepEqual([problems[0].line, problems[0].need.startsWith("is neither")], [1, true]);
  const later = importList(
    "\nTA I07A -- BHZ 2006-07-21 2006-07-22\nTA i07a -- BHZ 2006-07-21 2006-07-22\n",
    LIMITS,
  );
  assert.deepEqual([later.problems[0].line, later.problems[0].column], [3, "Station"]);
  assert.match(importList("", LIMITS).problems[0].need, /empty/);
  assert.throws(() => decode(new Uint8Array([0xff, 0xfe, 65, 0])), /UTF-16/);
  assert.throws(() => decode(new Uint8Array([0xff, 0x41])), /not UTF-8/);
});

test("stations are exported as GeoJSON", () => {
  const { features } = JSON.parse(toGeoJson(read(line("TA|A||BHZ"), line("TA|A||BHN")).channels));

  assert.deepEqual(features[0].geometry.coordinates, [20, 10]);
  assert.deepEqual(features[0].properties.channels, ["TA.A..BHN", "TA.A..BHZ"]);
});

test("land that crosses the dateline is drawn in one piece, and Antarctica down to its pole", () => {
  const island = {
    type: "Polygon",
    coordinates: [
      [
        [178, 0],
        [-179, 0],
        [-179, 1],
        [178, 1],
        [178, 0],
      ],
    ],
  };
  assert.deepEqual(
    unwrap(island).coordinates[0].map(([lng]) => lng),
    [178, 181, 181, 178, 178],
  );
  const continent = {
    type: "LineString",
    coordinates: [
      [-170, 65],
      [179, 65],
      [90, 60],
      [10, 60],
    ],
  };
  assert.deepEqual(
    unwrap(continent).coordinates.map(([lng]) => lng),
    [190, 179, 90, 10],
  );
  const cap = {
    type: "MultiPolygon",
    coordinates: [
      [
        [
          [-170, -70],
          [-60, -70],
          [60, -70],
          [170, -70],
          [-170, -70],
        ],
      ],
    ],
  };
  assert.deepEqual(unwrap(cap).coordinates[0][0].slice(-4), [
    [190, -70],
    [190, -90],
    [-170, -90],
    [-170, -70],
  ]);
});
