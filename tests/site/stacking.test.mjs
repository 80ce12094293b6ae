import assert from "node:assert/strict";
import { test } from "node:test";

import {
  awsLine,
  bucketOf,
  curlAll,
  curlFile,
  parameters,
  provenance,
} from "../../site/js/tabs/stacking/download_commands.js";
import {
  applies,
  columnsOf,
  defaultsOf,
  problemsOf,
  stackingCsv,
} from "../../site/js/request/stacking_form.js";
import {
  arrayOf,
  decode,
  imagesOf,
  readManifest,
  readRows,
  rowBytes,
  stacksOf,
} from "../../site/js/results/manifest.js";
import { joinRanges, loadRange, loadRanges, loadFile } from "../../site/js/results/byte_ranges.js";
import { daysWithin, openResults } from "../../site/js/results/results.js";
import {
  channelsOf,
  commonIds,
  filterPairs,
  readPairs,
  sortPairs,
} from "../../site/js/results/pair_table.js";
import { crc32, zipOf } from "../../site/js/results/zip.js";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const LIMITS = JSON.parse(
  readFileSync(new URL("../../xcor_daemon/request/limits.json", import.meta.url)),
).stacking;
const KNOWN = { pairs: new Set(["A.B..Z|A.C..Z"]), channels: new Set(["A.B..Z"]) };
const PAIRS =
  "first,second,distance,azimuth,back_azimuth,n_windows,snr,lag,speed\nA,B,10,1,2,46,3.5,-1.5,6.7\nA,C,,,,0,,,\nB,C,5,1,2,46,30,0.5,10\n";

// --- pairs ---

test("a table of pairs is read by its columns; empty values are unknown", () => {
  const pairs = readPairs(PAIRS);
  assert.deepEqual(pairs[0], {
    row: 0,
    name: "A|B",
    first: "A",
    second: "B",
    distance: 10,
    azimuth: 1,
    back_azimuth: 2,
    n_windows: 46,
    snr: 3.5,
    lag: -1.5,
    speed: 6.7,
  });
  assert.ok(Number.isNaN(pairs[1].snr));
  assert.throws(() => readPairs("a,b\n1,2\n"), /no columns/);
  assert.throws(() => readPairs(PAIRS.slice(0, -8)), /truncated in row 3/);
  assert.throws(() => readPairs(""), /no columns/);
});

test("pairs are sorted in both directions, unknown values last", () => {
  const names = (by, isDown) => sortPairs(readPairs(PAIRS), by, isDown).map(({ name }) => name);
  assert.deepEqual(names("snr", true), ["B|C", "A|B", "A|C"]);
  assert.deepEqual(names("snr", false), ["A|B", "B|C", "A|C"]);
  assert.deepEqual(names("distance", false), ["B|C", "A|B", "A|C"]);
  assert.deepEqual(names("first", true), ["B|C", "A|B", "A|C"]);
});

test("pairs are filtered by text, distance and channel", () => {
  const names = (wanted) => filterPairs(readPairs(PAIRS), wanted).map(({ name }) => name);
  assert.deepEqual(names({}), ["A|B", "A|C", "B|C"]);
  assert.deepEqual(names({ text: "c a" }), ["A|C"]);
  assert.deepEqual(names({ minDistance: 6 }), ["A|B"]);
  assert.deepEqual(names({ maxDistance: 6 }), ["B|C"]);
  assert.deepEqual(names({ channel: "B" }), ["A|B", "B|C"]);
  assert.deepEqual(channelsOf(readPairs(PAIRS)), [
    { id: "A", count: 2 },
    { id: "B", count: 2 },
    { id: "C", count: 2 },
  ]);
});

test("common parts of all ids are left out", () => {
  const common = (...ids) => commonIds(ids.slice(1).map((second) => ({ first: ids[0], second })));
  assert.deepEqual(common("NO.A..BHZ", "NO.BB..BHZ"), { start: 3, end: 5, text: "NO.*..BHZ" });
  assert.deepEqual(common("NO.A..BHZ", "TA.B.00.BHZ"), { start: 0, end: 0, text: "" });
  assert.deepEqual(common("NO.A..BHZ", "NO.A..BHN"), { start: 3, end: 0, text: "NO.*.*" });
  assert.deepEqual(common("A", "B"), { start: 0, end: 0, text: "" });
});

// --- the manifest ---

const ARRAY = { name: "stack", dtype: "<f4", shape: [3, 5], offset: 100 };
const manifestOf = (files, more = {}) =>
  readManifest({ schema: 1, id: "41", kind: "xcor", files, ...more });
const h5 = (arrays, name = "STACK/linear.h5") => ({
  key: `processed/41/runs/x/${name}`,
  size: 160,
  sha256: "0",
  arrays,
});

test("arrays outside their file are left out", () => {
  const bad = [
    { ...ARRAY, offset: 101 },
    { ...ARRAY, shape: [3, 6] },
    { ...ARRAY, dtype: "<f2" },
    { ...ARRAY, offset: -1 },
    { ...ARRAY, shape: "x" },
    null,
  ];
  assert.equal(stacksOf(manifestOf([h5(bad)])).length, 0);
  const [{ stack, title, table }] = stacksOf(manifestOf([h5([...bad, ARRAY])]));
  assert.deepEqual([title, table, stack.shape], ["linear", undefined, [3, 5]]);
  assert.deepEqual(rowBytes(stack, 1), { start: 120, end: 140 });
});

test("an invalid manifest, or one of another schema, is rejected with a message", () => {
  assert.throws(() => readManifest(null), /lists no files/);
  assert.throws(() => readManifest({ files: {} }), /lists no files/);
  assert.throws(() => readManifest({ schema: 2, files: [] }), /schema 2/);
  assert.deepEqual(manifestOf([null, {}, { key: 7, size: 1 }, { key: "a", size: -1 }]).files, []);
});

test("images have their descriptions", () => {
  const file = (name) => ({ key: `processed/41/runs/x/${name}`, size: 1 });
  const images = imagesOf(
    manifestOf(["PLOT/a.png", "PLOT/a.txt", "PLOT/b.png", "x.png"].map(file)),
  );
  assert.deepEqual(
    images.map((image) => [image.file.name, image.text?.name]),
    [
      ["PLOT/a.png", "PLOT/a.txt"],
      ["PLOT/b.png", undefined],
    ],
  );
});

test("bytes are decoded to numbers", () => {
  const bytes = new Uint8Array(new Float32Array([0, -1.5, NaN, 3e-9]).buffer);
  assert.deepEqual(
    decode(new Uint8Array([9, ...bytes]).subarray(1), "<f4"),
    new Float32Array([0, -1.5, NaN, 3e-9]),
  );
  assert.deepEqual(
    decode(new Uint8Array(new Float64Array([1 / 3]).buffer), "<f8"),
    new Float64Array([1 / 3]),
  );
  assert.deepEqual(decode(new Uint8Array([1, 0, 0, 128]), "<i4"), new Float64Array([-2147483647]));
});

test("rows of the daily files are found by runs", () => {
  const [one, two] = readRows({
    rows: [
      [[0, 6]],
      [
        [0, 1],
        [2, 1],
        [4, 1],
      ],
    ],
    files: [
      { day: "2020-01-30", name: "a", rows: 0, window: [[0, 450, 3]] },
      {
        day: "2020-01-31",
        name: "b",
        rows: 1,
        window: [
          [5, 1, 2],
          [9, 0, 1],
        ],
      },
    ],
  });
  assert.deepEqual([0, 5, 6].map(one.rowOf), [0, 5, -1]);
  assert.deepEqual([0, 1, 2, 3, 4].map(two.rowOf), [0, -1, 1, -1, 2]);
  assert.deepEqual(
    [one.starts(), two.starts()],
    [
      [0, 450, 900],
      [5, 6, 9],
    ],
  );
  for (const bad of [
    null,
    {},
    { rows: [[[0]]], files: [] },
    { rows: [], files: [{ rows: 0, window: [] }] },
  ])
    assert.throws(() => readRows(bad));
});

test("days are loaded up to a limit, at least one", () => {
  const days = [10, 10, 10].map((n) => ({ corr: { shape: [3, n, 5] } }));
  assert.equal(daysWithin(days, 0, 1e9).length, 3);
  assert.equal(daysWithin(days, 0, 400).length, 2);
  assert.equal(daysWithin(days, 2, 1).length, 1);
});

// --- ranges, against a server that can do wrong ---

test("adjacent ranges are one request", () => {
  const joined = joinRanges(
    [
      { start: 50, end: 60 },
      { start: 0, end: 10 },
      { start: 12, end: 20 },
      { start: 5, end: 8 },
    ],
    5,
    1000,
  );
  assert.deepEqual(joined, [
    { start: 0, end: 20, parts: [1, 3, 2] },
    { start: 50, end: 60, parts: [0] },
  ]);
  assert.equal(
    joinRanges(
      [
        { start: 0, end: 10 },
        { start: 10, end: 20 },
      ],
      5,
      15,
    ).length,
    2,
  );
});

const CONTENT = Uint8Array.from({ length: 5000 }, (_, k) => k % 251);
let served = 0;

/** Run a body against a server that answers ranges in the way of the path's first word. */
async function withServer(body) {
  const server = createServer((request, answer) => {
    const way = request.url.slice(1);
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
    const [start, end] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, CONTENT.length];
    const said = {
      "Content-Range": `bytes ${start}-${end - 1}/${CONTENT.length}`,
      "Content-Length": end - start,
    };
    answer.on("error", () => {});
    if (way === "good")
      answer.writeHead(range ? 206 : 200, range ? said : {}).end(CONTENT.subarray(start, end));
    else if (way === "ignores") answer.writeHead(200).end(CONTENT);
    else if (way === "half")
      answer.writeHead(206, said).write(CONTENT.subarray(start, start + 2), () => answer.destroy());
    else if (way === "short")
      answer
        .writeHead(206, { "Content-Range": said["Content-Range"] })
        .end(CONTENT.subarray(start, start + 2));
    else if (way === "other")
      answer
        .writeHead(206, { ...said, "Content-Range": `bytes ${start + 1}-${end}/5000` })
        .end(CONTENT.subarray(start + 1, end + 1));
    else if (way === "hides")
      answer.writeHead(206, { "Content-Length": end - start }).end(CONTENT.subarray(start, end));
    else if (way === "endless") {
      answer.writeHead(200);
      const more = () =>
        !answer.destroyed &&
        ((served += 65536), answer.write(Buffer.alloc(65536), () => setImmediate(more)));
      more();
    } else answer.writeHead(Number(way)).end("<html>no</html>");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body((way) => `http://127.0.0.1:${server.address().port}/${way}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("parts are returned in the requested order", () =>
  withServer(async (url) => {
    const ranges = [
      { start: 4000, end: 4004 },
      { start: 3, end: 5 },
      { start: 3, end: 3 },
    ];
    const parts = await loadRanges(url("good"), ranges, { size: 5000 });
    assert.deepEqual(
      parts.map((part) => [...part]),
      [[...CONTENT.subarray(4000, 4004)], [3, 4], []],
    );
    assert.deepEqual(
      [...(await loadRange(url("hides"), { start: 7, end: 9 }, { size: 5000 }))],
      [7, 8],
    );
  }));

test("from a server without ranges, only small files are loaded", () =>
  withServer(async (url) => {
    assert.deepEqual(
      [...(await loadRange(url("ignores"), { start: 7, end: 9 }, { size: 5000 }))],
      [7, 8],
    );
    served = 0;
    await assert.rejects(
      loadRange(url("endless"), { start: 7, end: 9 }, { size: 10 ** 12 }),
      /does not support HTTP range requests/,
    );
    await assert.rejects(
      loadFile(url("endless"), { size: 1000 }),
      /more bytes than the manifest states/,
    );
    assert.ok(served < 20e6, `${served} bytes were sent`);
  }));

test("each failure of a range request has its own message", () =>
  withServer(async (url) => {
    const range = { start: 10, end: 90 };
    const expected = {
      half: /was cut off after 2 of 80 bytes/,
      short: /was cut off after 2 of 80 bytes/,
      other: /different byte range/,
      416: /shorter than the manifest states/,
      403: /no longer exists/,
      404: /no longer exists/,
      503: /limiting requests/,
      500: /status 500/,
    };
    for (const [way, words] of Object.entries(expected)) {
      await assert.rejects(loadRange(url(way), range, { size: 5000 }), words, way);
    }
    const stop = AbortSignal.abort(new Error("not wanted"));
    await assert.rejects(loadRange(url("good"), range, { size: 5000, signal: stop }), /not wanted/);
  }));

// --- the request ---

test("the page has every column of a stacking request", () => {
  const columns = columnsOf(LIMITS);
  assert.deepEqual([...columns, "job"].sort(), Object.keys(LIMITS).sort());
});

test("the CSV contains values that apply and differ from their default", () => {
  const values = {
    ...defaultsOf(LIMITS),
    type: "robust",
    phase_smooth: "2",
    stack_all: "true",
    interval: "7D",
    bootstrap: "10",
  };
  assert.equal(
    stackingCsv(values, LIMITS, "41"),
    "type,phase_smooth,stack_all,job\nrobust,,true,41\n",
  );
  const moving = {
    ...defaultsOf(LIMITS),
    type: "phase-weighted",
    phase_smooth: " 2 ",
    interval: "30D",
    moving: "1D",
    dvv: "stretching",
    dvv_max: "0.01",
  };
  assert.equal(
    stackingCsv(moving, LIMITS, "41"),
    "type,phase_smooth,stack_all,job,interval,moving,dvv,dvv_max\nphase-weighted,2,false,41,30D,1D,stretching,0.01\n",
  );
});

test("columns apply only with certain values of others", () => {
  assert.ok(
    applies("phase_smooth", { type: "phase-weighted" }) &&
      !applies("phase_smooth", { type: "linear" }),
  );
  assert.ok(
    !applies("dvv_max", { stack_all: "true", dvv: "stretching" }) &&
      applies("dvv_max", { stack_all: "false", dvv: "stretching" }),
  );
  assert.ok(!applies("bootstrap", { type: "robust" }));
});

test("errors are reported by field", () => {
  const bad = {
    type: "phase-weighted",
    phase_smooth: "-1",
    power: "x",
    interval: "7d",
    moving: "0D",
    bootstrap: "1",
    dvv: "stretching",
    dvv_min_lag: "20",
    dvv_max_lag: "10",
    dvv_max: "0",
    pairs: "A.B..Z|A.C..Z;X|Y",
    shots: "<b>",
    stack_all: "false",
  };
  const found = problemsOf(bad, LIMITS, KNOWN);
  assert.deepEqual(Object.keys(found).sort(), [
    "bootstrap",
    "dvv_max",
    "dvv_max_lag",
    "interval",
    "moving",
    "pairs",
    "phase_smooth",
    "power",
    "shots",
  ]);
  assert.match(found.pairs, /"X\|Y" is not in this job/);
  assert.deepEqual(problemsOf(defaultsOf(LIMITS), LIMITS, KNOWN), {});
});

// --- lines for a terminal, provenance ---

test("commands have bucket and endpoint, and quoted arguments", () => {
  assert.deepEqual(bucketOf("http://127.0.0.1:8333/xcor"), {
    bucket: "xcor",
    endpoint: "http://127.0.0.1:8333",
  });
  assert.deepEqual(bucketOf("https://esip.s3.us-west-2.amazonaws.com"), {
    bucket: "esip",
    endpoint: "",
  });
  assert.deepEqual(
    [bucketOf("https://xcor.example.org"), awsLine("https://xcor.example.org", "processed/41/")],
    [null, ""],
  );
  assert.deepEqual(bucketOf("https://s3.amazonaws.com/esip"), { bucket: "esip", endpoint: "" });
  assert.equal(
    awsLine("https://esip.s3.amazonaws.com", "processed/41/a.h5"),
    "aws s3 cp s3://esip/processed/41/a.h5 . --no-sign-request",
  );
  assert.equal(
    awsLine("http://h:1/b", "processed/41/"),
    "aws s3 sync s3://b/processed/41/ 41 --endpoint-url http://h:1",
  );
  assert.equal(curlFile("http://h/a b';rm"), "curl -fSLO --retry 3 'http://h/a b'\\'';rm'");
  assert.match(
    curlAll("http://h/b", "41"),
    /^curl -fsS http:\/\/h\/b\/processed\/41\/files.txt \| grep \/ \| while read -r k; do f="\$\{k#processed\/\}"/,
  );
});

test("provenance has software, request and inputs", () => {
  const manifest = manifestOf([], {
    version: "1.0",
    attempt: "20200615_102819-3f9a1c",
    units: { done: 2, empty: 1, failed: [{}] },
    request: {
      channels: [{ data_center: "SCEDC" }, { data_center: "" }],
      params: { fs: 4, components: ["ZZ", "NN"], clamp: null, source: "" },
    },
  });
  const said = Object.fromEntries(provenance(manifest));
  assert.equal(said.Days, "2 with data, 1 without, 1 failed");
  assert.equal(said["Data centres"], "SCEDC, default of the service");
  assert.deepEqual(parameters(manifest.request), [
    ["fs", "4"],
    ["components", "ZZ;NN"],
  ]);
  assert.equal(arrayOf(undefined, "stack"), undefined);
});

test("a ZIP has standard checksums and the offset of its directory", async () => {
  const bytes = (text) => new TextEncoder().encode(text);
  assert.equal(crc32(bytes("123456789")), 0xcbf43926); // the check value of CRC-32
  const zip = new DataView(
    await zipOf(
      [
        { name: "a/é", bytes: bytes("x") },
        { name: "b", bytes: bytes("") },
      ],
      new Date("2021-02-03T04:05:06Z"),
    ).arrayBuffer(),
  );
  const end = zip.byteLength - 22;
  assert.deepEqual([zip.getUint32(end, true), zip.getUint16(end + 10, true)], [0x06054b50, 2]);
  assert.equal(zip.getUint32(zip.getUint32(end + 16, true), true), 0x02014b50);
});

// --- results, from a bucket of a few bytes ---

/** A bucket with these objects, which answers ranges as S3 does. */
async function withBucket(objects, body) {
  const server = createServer((request, answer) => {
    const content = objects[request.url];
    if (content === undefined) return answer.writeHead(403).end();
    const bytes = typeof content === "string" ? Buffer.from(content) : Buffer.from(content.buffer);
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
    if (!range) return answer.writeHead(200).end(bytes);
    const [start, end] = [Number(range[1]), Number(range[2]) + 1];
    answer
      .writeHead(206, { "Content-Range": `bytes ${start}-${end - 1}/${bytes.length}` })
      .end(bytes.subarray(start, end));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Two days of three pairs with two lags; the second day lies in two files and lacks a pair. */
function twoDays() {
  const files = {
    "STACK/linear.csv": "first,second\nA,B\nA,C\nB,C\n",
    "STACK/linear.h5": new Float32Array([1, 2, 3, 4, 5, 6]),
    "CORR/rows.json": JSON.stringify({
      pairs: "STACK/linear.csv",
      rows: [[[0, 3]], [[0, 1]], [[2, 1]]],
      files: [
        { day: "2020-01-01", name: "CORR/2020-01-01.h5", rows: 0, window: [[0, 9, 2]] },
        { day: "2020-01-02", name: "CORR/2020-01-02/I000-J000.h5", rows: 1, window: [[100, 0, 1]] },
        { day: "2020-01-02", name: "CORR/2020-01-02/I000-J001.h5", rows: 2, window: [[100, 0, 1]] },
      ],
    }),
    "CORR/2020-01-01.h5": new Float32Array([0, 0, 0, 0, 10, 11, 12, 13, 20, 21, 22, 23]),
    "CORR/2020-01-02/I000-J000.h5": new Float32Array([30, 31]),
    "CORR/2020-01-02/I000-J001.h5": new Float32Array([40, 41]),
  };
  const shapes = {
    "STACK/linear.h5": ["stack", 3, 2],
    "CORR/2020-01-01.h5": ["corr", 3, 2, 2],
    "CORR/2020-01-02/I000-J000.h5": ["corr", 1, 1, 2],
    "CORR/2020-01-02/I000-J001.h5": ["corr", 1, 1, 2],
  };
  const listed = Object.entries(files).map(([name, content]) => ({
    key: `processed/41/runs/x/${name}`,
    size: content.byteLength ?? content.length,
    arrays: shapes[name]
      ? [{ name: shapes[name][0], dtype: "<f4", offset: 0, shape: shapes[name].slice(1) }]
      : [],
  }));
  const objects = Object.fromEntries(
    Object.entries(files).map(([name, content]) => [`/processed/41/runs/x/${name}`, content]),
  );
  return {
    ...objects,
    "/processed/41/manifest.json": JSON.stringify({
      schema: 1,
      id: "41",
      kind: "xcor",
      files: listed,
    }),
  };
}

test("windows of a pair are read from all files of all days", () =>
  withBucket(twoDays(), async (url) => {
    const results = await openResults(url, "41");
    const days = await results.days();
    assert.deepEqual(
      days.map(({ day, parts }) => [day, parts.length]),
      [
        ["2020-01-01", 1],
        ["2020-01-02", 2],
      ],
    );
    const read = async (name) => {
      const { values, columns, times } = await results.windows(name, days);
      return [[...values], columns, times];
    };
    assert.deepEqual(await read("B|C"), [[20, 21, 22, 23, 40, 41], 2, [0, 9, 100]]);
    assert.deepEqual(await read("A|B"), [[0, 0, 0, 0, 30, 31], 2, [0, 9, 100]]);
    assert.deepEqual(await read("A|C"), [[10, 11, 12, 13], 2, [0, 9]]);
    await assert.rejects(read("A|D"), /the pair A\|D/);
  }));

test("traces are read as they are or reversed; a job without results has none", () =>
  withBucket(twoDays(), async (url) => {
    const results = await openResults(url, "41");
    const [stack] = results.stacks;
    const [ab, , bc] = await results.pairs(stack);
    const traces = await results.traces(stack, [{ pair: bc, isReversed: true }, { pair: ab }]);
    assert.deepEqual(
      traces.map((trace) => [...trace]),
      [
        [6, 5],
        [1, 2],
      ],
    );
    await assert.rejects(openResults(url, "42"), /has not finished/);
  }));
