import assert from "node:assert/strict";
import { test } from "node:test";

import { COLOURS, limitOf, pixel, rasterise, timeGrid } from "../../site/js/plot/raster.js";
import { scaleOf, tickText, ticks, timeTicks, valueText } from "../../site/js/plot/scale.js";
import {
  distanceLines,
  gatherOf,
  lagColumns,
  largest,
  thinned,
  traceCsv,
} from "../../site/js/plot/traces.js";
import { reversed } from "../../site/js/results/results.js";

const BLANK = pixel(1, 2, 3);
const view = (more) => ({
  from: 0,
  to: 3,
  width: 100,
  height: 100,
  limit: 1,
  blank: BLANK,
  ...more,
});

test("a small matrix is drawn cell by cell, its missing rows blank", () => {
  const values = new Float32Array([1, 0, -1, NaN, NaN, NaN, -2, 2, 0]);
  const { pixels, width, height } = rasterise(values, 3, Int32Array.from([0, 1, -1, 2]), view());
  assert.deepEqual([width, height], [3, 4]);
  const [red, white, blue] = [COLOURS[255], COLOURS[128], COLOURS[0]];
  assert.deepEqual(
    [...pixels],
    [red, white, blue, BLANK, BLANK, BLANK, BLANK, BLANK, BLANK, blue, red, white],
  );
});

test("a pixel is the mean of its cells without missing windows", () => {
  const values = new Float32Array([1, 0, NaN, NaN, 0, 0]);
  const { pixels } = rasterise(
    values,
    2,
    Int32Array.from([0, 1, 2]),
    view({ to: 2, width: 1, height: 1 }),
  );
  assert.equal(pixels[0], COLOURS[Math.round(127.5 + 0.25 * 127.5)]);
});

test("only the wanted lags are drawn", () => {
  const { pixels, width } = rasterise(
    new Float32Array([-9, 1, -9]),
    3,
    Int32Array.from([0]),
    view({ from: 1, to: 2 }),
  );
  assert.deepEqual([width, pixels[0]], [1, COLOURS[255]]);
});

test("colours go from blue over white to red, with symmetric lightness", () => {
  const light = (k) =>
    [0, 8, 16].map((shift) => (COLOURS[k] >> shift) & 255).reduce((a, b) => a + b);
  assert.ok(
    ((COLOURS[0] >> 16) & 255) > (COLOURS[0] & 255) &&
      (COLOURS[255] & 255) > ((COLOURS[255] >> 16) & 255),
  );
  for (let k = 0; k < 127; k++)
    assert.ok(light(k) <= light(k + 1) + 3 && light(255 - k) <= light(254 - k) + 3);
});

test("the limit excludes the largest values, never all", () => {
  const values = Float32Array.from({ length: 1000 }, (_, k) => (k % 2 ? k : -k));
  assert.equal(limitOf(values, 0.99), 990);
  assert.equal(limitOf(values, 1), 999);
  assert.equal(limitOf(new Float32Array([NaN, NaN]), 0.99), 1);
  assert.equal(limitOf(new Float32Array([0, 0, 0, 5]), 0.5), 5);
});

test("windows are placed on an even time grid with gaps", () => {
  assert.deepEqual(timeGrid([900, 0, 450, 2250]), {
    rows: Int32Array.from([1, 2, 0, -1, -1, 3]),
    begin: 0,
    step: 450,
  });
  assert.deepEqual(timeGrid([7]), { rows: Int32Array.from([0]), begin: 7, step: 3600 });
  assert.equal(timeGrid([]).rows.length, 0);
});

test("a scale is invertible, and its ticks are round", () => {
  const scale = scaleOf(-10, 10, 100, 300);
  assert.ok(Math.abs(scale.toValue(scale.toPixel(3.7)) - 3.7) < 1e-12);
  assert.deepEqual(ticks(-10.1, 10.1, 5).values, [-10, -5, 0, 5, 10]);
  assert.deepEqual(ticks(0, 0.1, 4), { values: [0, 0.05, 0.1], step: 0.05, digits: 2 });
  assert.deepEqual([tickText(-5, 0), tickText(0.05, 2), tickText(-0, 0)], ["−5", "0.05", "0"]);
});

test("times are labelled with the day where it begins", () => {
  const day = Date.UTC(2019, 0, 1) / 1000;
  assert.deepEqual(
    timeTicks(day + 1, day + 86400, 4).map(({ text }) => text),
    ["2019-01-01 06:00", "12:00", "18:00", "2019-01-02 00:00"],
  );
  assert.deepEqual(
    timeTicks(day, day + 365 * 86400, 4).map(({ text }) => text),
    ["2019-01", "2019-04", "2019-07", "2019-10", "2020-01"],
  );
  assert.deepEqual(
    timeTicks(day, day + 3650 * 86400, 3).map(({ text }) => text),
    ["2020", "2025"],
  );
});

test("a value is formatted by its size, and a missing one as no data", () => {
  assert.deepEqual([0.12345, -12345.6, 1.2e-9, NaN, 0].map(valueText), [
    "0.1235",
    "−1.235e+4",
    "1.200e−9",
    "no data",
    "0.000",
  ]);
});

test("a virtual source gather reverses traces whose second channel is the source", () => {
  const pairs = [
    ["A", "B", 10],
    ["A", "C", NaN],
    ["B", "C", 5],
  ].map(([first, second, distance]) => ({ first, second, distance, name: `${first}|${second}` }));
  assert.deepEqual(
    gatherOf(pairs, "B").map(({ name, isReversed }) => [name, isReversed]),
    [
      ["C", false],
      ["A", true],
    ],
  );
  assert.deepEqual(
    gatherOf(pairs, "").map(({ name }) => name),
    ["B|C", "A|B", "A|C"],
  );
  assert.deepEqual(reversed(new Float32Array([1, 2, 3])), new Float32Array([3, 2, 1]));
});

test("too many traces are thinned evenly", () => {
  assert.deepEqual(thinned([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 3), [0, 5, 10]);
  assert.deepEqual(thinned([1, 2], 3), [1, 2]);
});

test("lines of distance are means of normalised traces without dead ones", () => {
  const trace = (...values) => new Float32Array(values);
  const traces = [
    { trace: trace(2, 0), distance: 0 },
    { trace: trace(0, 4), distance: 0.1 },
    { trace: trace(0, 0), distance: 5 },
    { trace: trace(NaN, 1), distance: 7 },
    { trace: trace(0, -1), distance: 10 },
  ];
  const { values, rows, low, high, members } = distanceLines(traces, 4);
  assert.deepEqual([low, high, [...rows], members[0]], [0, 10, [3, -1, -1, 0], [0, 1]]);
  assert.deepEqual([...values.subarray(0, 2), ...values.subarray(6)], [1, 1, 0, -1]);
  assert.equal(largest(trace(1, NaN)), 0);
});

test("lags are cut symmetrically, and a CSV has the exact values", () => {
  assert.deepEqual(lagColumns(601, 5, 20), [200, 401]);
  assert.deepEqual(lagColumns(601, 5, 1000), [0, 601]);
  const trace = new Float32Array([0.1, NaN, -3e-9]);
  const [head, ...rows] = traceCsv(trace, 4, "stack")
    .trimEnd()
    .split("\n")
    .map((line) => line.split(","));
  assert.deepEqual(
    [head, rows.map(([lag]) => lag)],
    [
      ["lag", "stack"],
      ["-0.25", "0", "0.25"],
    ],
  );
  assert.deepEqual(
    Float32Array.from(rows, ([, cell]) => (cell ? Number(cell) : NaN)),
    trace,
  );
});
