/** The windows of a day, and those inside the requested times, as in the worker (windows.py). */

import { roundEven } from "../lib/python_numbers.js";
import { DAY } from "./stations.js";

const SECONDS_PER_DAY = 86_400;
const SAMPLE_TOLERANCE = 1e-6; // samples; rounding of times, which have microseconds

/** The values of params.csv that windows depend on. */
export const WINDOW_VALUES = ["fs", "cc_step", "cc_len", "substack", "min_coverage"];

/**
 * The windows that a day is cut into, counted from midnight. Windows of a whole request are
 * numbered: day since 1970 times `nWindows` plus the window of the day.
 */
export class WindowGrid {
  /** @param {{fs: number, cc_step: number, cc_len: number, substack: number, min_coverage: number}} p */
  constructor({ fs, cc_step, cc_len, substack, min_coverage }) {
    Object.assign(this, { fs, ccStep: cc_step, ccLen: cc_len, substack });
    this.nDay = Math.ceil(SECONDS_PER_DAY * fs - SAMPLE_TOLERANCE);
    this.nSamples = roundEven(cc_len * fs);
    this.nStep = roundEven(cc_step * fs);
    this.nWindows = Math.floor((SECONDS_PER_DAY - cc_len) / cc_step + 1e-9) + 1;
    this.nKept = this.interval(this.nWindows - 1) + 1;
    this.least = Math.max(1, Math.ceil((min_coverage - 1e-6) * this.nSamples));
  }

  /** Number of the output window (window or substack) that a window of the day falls in. */
  interval(window) {
    return this.substack ? Math.floor((window * this.ccStep) / this.substack + 1e-9) : window;
  }

  /** Output windows that some windows of a day become; `ranges` [first, end) in order and apart. */
  nRows(ranges) {
    let [n, last] = [0, -1];
    for (const [first, end] of ranges) {
      const [a, b] = [this.interval(first), this.interval(end - 1)];
      n += b - Math.max(a, last + 1) + 1;
      last = b;
    }
    return n;
  }

  /** The samples [first, end) of a day (since 1970) that lie in spans (ms): start <= time < end. */
  samples(day, spans) {
    const place = (time) => {
      const micros = Math.round((time - day * DAY) * 1000);
      return Math.ceil((micros * this.fs) / 1e6 - SAMPLE_TOLERANCE);
    };
    return spans
      .map(([start, end]) => [Math.max(place(start), 0), Math.min(place(end), this.nDay)])
      .filter(([first, end]) => first < end);
  }

  /** The windows [first, end) of a day that have at least `least` samples in ranges of samples. */
  inside(ranges) {
    const [size, step, most] = [this.nSamples, this.nStep, this.nWindows];
    if (ranges.length === 1) {
      // Nearly always: from the first that ends late enough to the last.
      const [[a, b]] = ranges;
      const first = Math.max(0, Math.ceil((a + this.least - size) / step));
      const end = Math.min(most, Math.floor((b - this.least) / step) + 1);
      return b - a >= this.least && first < end ? [[first, end]] : [];
    }
    const starts = new Set([0, most]);
    for (const edge of ranges.flat()) {
      for (const at of [edge - size, edge])
        starts.add(Math.min(Math.max(Math.ceil(at / step), 0), most));
    }
    const count = (window) => {
      const a = window * step;
      return ranges.reduce(
        (sum, [first, end]) => sum + Math.max(0, Math.min(a + size, end) - Math.max(a, first)),
        0,
      );
    };
    const pieces = [...starts].sort((a, b) => a - b);
    return merged(
      pieces
        .slice(0, -1)
        .flatMap((first, k) =>
          this.#solved(first, pieces[k + 1], count(first), count(pieces[k + 1] - 1)),
        ),
    );
  }

  /** Which of the windows first ... end - 1 have enough samples, whose counts lie on a line. */
  #solved(first, end, nFirst, nLast) {
    const [isFirst, isLast] = [nFirst >= this.least, nLast >= this.least];
    if (isFirst && isLast) return [[first, end]];
    if (!isFirst && !isLast) return [];
    const slope = Math.round((nLast - nFirst) / (end - 1 - first));
    if (isLast) return [[first + Math.ceil((this.least - nFirst) / slope), end]];
    return [[first, first + Math.floor((nFirst - this.least) / -slope) + 1]];
  }

  /** The windows of all days that lie inside spans (ms; in order and apart), numbered. */
  runs(spans) {
    const n = this.nWindows;
    const edges = new Map();
    const found = [];
    for (const [start, end] of spans) {
      const first = Math.floor(start / DAY);
      const last = Math.max(first, Math.ceil(Math.round(end * 1000) / 1000 / DAY) - 1);
      for (const day of new Set([first, last])) {
        if (!edges.has(day)) edges.set(day, []);
        edges.get(day).push([start, end]);
      }
      if (last - first > 1) found.push([(first + 1) * n, last * n]);
    }
    for (const [day, some] of edges) {
      for (const [first, end] of this.inside(this.samples(day, some)))
        found.push([day * n + first, day * n + end]);
    }
    return merged(found.sort((a, b) => a[0] - b[0]));
  }
}

/** Ranges [first, end) in order, joined where they touch. */
export function merged(ranges) {
  const joined = [];
  for (const [first, end] of ranges) {
    const last = joined.at(-1);
    if (last && first <= last[1]) last[1] = Math.max(end, last[1]);
    else joined.push([first, end]);
  }
  return joined;
}
