/** The results of a finished job, loaded in parts from the bucket. */

import { fetchJson, HttpError } from "../lib/http.js";
import { keyUrl } from "./poller.js";
import { arrayOf, decode, fileOf, readManifest, readRows, rowBytes, stacksOf } from "./manifest.js";
import { loadRange, loadRanges, loadFile } from "./byte_ranges.js";
import { readPairs } from "./pair_table.js";

export const MOST_WINDOWS = 48 * 2 ** 20; // bytes of correlations that are loaded at a time
export const MOST_TRACES = 24 * 2 ** 20; // bytes of stacks

/**
 * The results of a job.
 *
 * @param {string} bucket  URL
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<Results>}
 * @throws {Error} if there is no manifest, or none that can be read
 */
export async function openResults(bucket, id, signal) {
  const raw = await fetchJson(keyUrl(bucket, `processed/${id}/manifest.json`), { signal });
  if (raw === null)
    throw new HttpError("it has not finished, or its results have expired", { status: 404 });
  return new Results(bucket, readManifest(raw));
}

export class Results {
  #bucket;
  #tables = new Map();
  #axes = new Map();
  #rows = null;
  #corr = null;

  constructor(bucket, manifest) {
    this.#bucket = bucket;
    this.manifest = manifest;
    this.stacks = stacksOf(manifest);
  }

  /** The URL of a file. */
  url(file) {
    return keyUrl(this.#bucket, file.key);
  }

  /** A small file as text. */
  async text(file, signal) {
    return new TextDecoder().decode(await loadFile(this.url(file), { size: file.size, signal }));
  }

  /** The pairs of a stack file, in the order of its arrays; loaded once. */
  pairs(stack) {
    return this.#once(this.#tables, stack.title, async () => {
      if (!stack.table)
        throw new Error(
          "these results come from an earlier version, which wrote no table of pairs; download the files instead",
        );
      const pairs = readPairs(await this.text(stack.table));
      if (pairs.length !== stack.stack.shape[0])
        throw new Error("the table of pairs does not match the stacks");
      return pairs;
    });
  }

  /** The axes of a stack file: fs (Hz) and, with intervals, their starts (s since 1970). */
  axes(stack) {
    return this.#once(this.#axes, stack.title, async () => {
      const [lag, days] = await Promise.all(
        ["lag", "day"].map((name) => this.#whole(stack.file, name)),
      );
      if (!lag || lag.length < 3) throw new Error(`${stack.file.name} has no lag axis`);
      // Lags are rounded as float64; a rate is not.
      const fs = Number(((lag.length - 1) / (lag.at(-1) - lag[0])).toPrecision(12));
      return { fs, days: days ? Array.from(days) : null };
    });
  }

  async #whole(file, name) {
    const place = arrayOf(file, name);
    if (!place) return null;
    return decode(
      await loadRange(this.url(file), rowBytes(place, 0, place.shape[0]), { size: file.size }),
      place.dtype,
    );
  }

  /** One trace a pair: of the stack, or of the mean of its intervals. */
  traceOf(stack) {
    return stack.stack.shape.length === 2 ? stack.stack : arrayOf(stack.file, "mean");
  }

  /**
   * The traces of some pairs.
   *
   * @param {Object} stack
   * @param {{pair: {row: number}, isReversed?: boolean}[]} wanted
   * @param {AbortSignal} [signal]
   * @returns {Promise<Float32Array[]>}
   */
  async traces(stack, wanted, signal) {
    const place = this.traceOf(stack);
    if (!place) throw new Error(`${stack.file.name} has no trace per pair`);
    const ranges = wanted.map(({ pair }) => rowBytes(place, pair.row));
    const parts = await loadRanges(this.url(stack.file), ranges, { size: stack.file.size, signal });
    return parts.map((bytes, k) => {
      const trace = decode(bytes, place.dtype);
      return wanted[k].isReversed ? reversed(trace) : trace;
    });
  }

  /** The intervals of one pair of a stack file: values (interval, lag) and their starts. */
  async intervals(stack, pair, signal) {
    const { stack: place, file } = stack;
    const [bytes, axes] = await Promise.all([
      loadRange(this.url(file), rowBytes(place, pair.row), { size: file.size, signal }),
      this.axes(stack),
    ]);
    return { values: decode(bytes, place.dtype), columns: place.shape[2], times: axes.days };
  }

  /**
   * The results of the job whose correlations these are: this one, or the one that was stacked.
   */
  correlations(signal) {
    if (this.manifest.kind !== "stack") return Promise.resolve(this);
    const id = String(this.manifest.request.params?.job ?? "");
    this.#corr ??= openResults(this.#bucket, id, signal).catch((error) => {
      this.#corr = null;
      throw new Error(`they belong to job ${id}, and ${error.message}`);
    });
    return this.#corr;
  }

  /** The days that have correlations; see readRows, with the place of the windows in the file. */
  async days() {
    this.#rows ??= this.#readDays().catch((error) => {
      this.#rows = null;
      throw error;
    });
    return this.#rows;
  }

  async #readDays() {
    const file = fileOf(this.manifest, "CORR/rows.json");
    if (!file)
      throw new Error(
        "these results have no list of windows: no day had data, or they come from an earlier version",
      );
    const rows = readRows(JSON.parse(await this.text(file)));
    const named = new Map(this.manifest.files.map((one) => [one.name, one]));
    const files = rows
      .map((row) => ({
        ...row,
        file: named.get(row.name),
        corr: arrayOf(named.get(row.name), "corr"),
      }))
      .filter(({ corr }) => corr);
    const days = new Map(); // a large day lies in several files, each with its own pairs
    for (const part of files) days.set(part.day, [...(days.get(part.day) ?? []), part]);
    return [...days].map(([day, parts]) => ({ day, parts, corr: parts[0].corr }));
  }

  /**
   * The windows of one pair on some days.
   *
   * @param {string} name  FIRST|SECOND
   * @param {Object[]} days  some of `days()`
   * @param {{signal?: AbortSignal, onDay?: (done: number, of: number) => void}} options
   * @returns {Promise<{values: Float32Array, columns: number, times: number[]}>}
   */
  async windows(name, days, { signal, onDay } = {}) {
    const stack = this.stacks.find(({ title }) => title === "linear");
    const pair = stack && (await this.pairs(stack)).find((one) => one.name === name);
    if (!pair) throw new Error(`the correlations do not contain the pair ${name}`);
    const files = days.flatMap(({ parts }) => parts);
    const there = files
      .map((file) => ({ ...file, row: file.rowOf(pair.row) }))
      .filter(({ row }) => row >= 0);
    const columns = stack.stack.shape.at(-1);
    const counts = there.map(({ corr }) => corr.shape[1]);
    const values = new Float32Array(counts.reduce((a, b) => a + b, 0) * columns);
    const places = counts.map((_, k) => counts.slice(0, k).reduce((a, b) => a + b, 0));
    let [next, done] = [0, 0];
    const work = async () => {
      while (next < there.length) {
        const k = next++;
        const { corr, file, row } = there[k];
        const bytes = await loadRange(this.url(file), rowBytes(corr, row), {
          size: file.size,
          signal,
        });
        values.set(decode(bytes, corr.dtype), places[k] * columns);
        onDay?.(++done, there.length);
      }
    };
    await Promise.all(Array.from({ length: Math.min(5, there.length) }, work));
    return { values, columns, times: there.flatMap((day) => day.starts()) };
  }

  #once(map, key, load) {
    if (!map.has(key)) {
      map.set(
        key,
        load().catch((error) => {
          map.delete(key); // the next attempt may succeed
          throw error;
        }),
      );
    }
    return map.get(key);
  }
}

/** Days that fit into a limit of bytes, from a first one on; all where they fit. */
export function daysWithin(days, first, limit = MOST_WINDOWS) {
  let bytes = 0;
  const chosen = [];
  for (const day of days.slice(first)) {
    bytes += 4 * day.corr.shape[1] * day.corr.shape[2];
    if (bytes > limit && chosen.length) break;
    chosen.push(day);
  }
  return chosen;
}

/** A trace the other way round in lag. */
export function reversed(trace) {
  return Float32Array.from(trace).reverse();
}
