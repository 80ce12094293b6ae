/** Parts of files by HTTP Range, checked: never more than requested is downloaded. */

import { ask, HttpError, hostOf } from "../lib/http.js";

const AT_ONCE = 5; // requests; browsers hold six connections to a host
const JOINED_GAP = 64 * 1024; // bytes between two ranges that are cheaper to load than to ask twice
const LARGEST = 4 * 2 ** 20; // bytes of a joined range
const WHOLE = 2 * 2 ** 20; // bytes up to which a file is loaded in full from a server without ranges
const SILENCE = 120_000; // ms for one part, also over a slow line

/**
 * Join ranges that lie close to each other.
 *
 * @param {{start: number, end: number}[]} ranges  end: exclusive; in any order
 * @returns {{start: number, end: number, parts: number[]}[]}  `parts`: indices of the ranges in it
 */
export function joinRanges(ranges, gap = JOINED_GAP, largest = LARGEST) {
  const order = ranges.map((_, k) => k).sort((a, b) => ranges[a].start - ranges[b].start);
  const joined = [];
  for (const k of order) {
    const { start, end } = ranges[k];
    const last = joined.at(-1);
    if (last && start <= last.end + gap && Math.max(end, last.end) - last.start <= largest) {
      last.end = Math.max(last.end, end);
      last.parts.push(k);
    } else joined.push({ start, end, parts: [k] });
  }
  return joined;
}

/**
 * Load parts of a file.
 *
 * @param {string} url
 * @param {{start: number, end: number}[]} ranges  end: exclusive
 * @param {{size: number, signal?: AbortSignal, onPart?: (k: number, bytes: Uint8Array) => void}} options
 *     `size`: bytes of the file; `onPart`: called with each part as it arrives, in any order
 * @returns {Promise<Uint8Array[]>}  in the order of `ranges`
 * @throws {HttpError} for every failure; partial results are never returned
 */
export async function loadRanges(url, ranges, { size, signal, onPart }) {
  const parts = new Array(ranges.length);
  const todo = joinRanges(ranges);
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  async function work() {
    for (let next = todo.shift(); next; next = todo.shift()) {
      const bytes = await loadRange(url, next, { size, signal: either });
      for (const k of next.parts) {
        parts[k] = bytes.subarray(ranges[k].start - next.start, ranges[k].end - next.start);
        onPart?.(k, parts[k]);
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, todo.length) }, work));
  } catch (error) {
    stop.abort(error); // the other requests are not needed any more
    throw error;
  }
  return parts;
}

/** Load one part of a file; see loadRanges. */
export async function loadRange(url, { start, end }, { size, signal }) {
  if (end === start) return new Uint8Array(0);
  // A range is one of the headers that need no leave beforehand (Fetch standard, simple range).
  const answer = await ask(url, {
    headers: { Range: `bytes=${start}-${end - 1}` },
    silence: SILENCE,
    signal,
  });
  if (answer.status === 200 && size <= WHOLE) {
    const bytes = await bytesOf(answer, size, url, signal);
    return bytes.subarray(start, end);
  }
  if (answer.status !== 206) {
    await answer.body?.cancel(); // stops the download of a large file
    throw new HttpError(statusMessage(answer.status, url), { status: answer.status });
  }
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(answer.headers.get("Content-Range") ?? "");
  if (range && (Number(range[1]) !== start || Number(range[2]) !== end - 1)) {
    await answer.body?.cancel();
    throw new HttpError(`${hostOf(url)} returned a different byte range than requested`, {
      status: 206,
    });
  }
  return bytesOf(answer, end - start, url, signal);
}

/** Load a small file. */
export async function loadFile(url, { size, signal }) {
  const answer = await ask(url, { silence: SILENCE, signal });
  if (!answer.ok) {
    await answer.body?.cancel();
    throw new HttpError(statusMessage(answer.status, url), { status: answer.status });
  }
  return bytesOf(answer, size, url, signal);
}

/** The body of a response, which must have `length` bytes; never more are read. */
async function bytesOf(answer, length, url, signal) {
  const bytes = new Uint8Array(length);
  const reader = answer.body.getReader();
  let at = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > length)
        throw new HttpError(
          `${hostOf(url)} returned more bytes than the manifest states; the file is not the published one`,
        );
      bytes.set(value, at);
      at += value.length;
    }
  } catch (error) {
    reader.cancel().catch(() => {}); // it may be over already
    if (signal?.aborted) throw signal.reason;
    if (error instanceof HttpError) throw error;
    throw new HttpError(
      `the response from ${hostOf(url)} was cut off after ${at} of ${length} bytes; try again`,
    );
  }
  if (at < length)
    throw new HttpError(
      `the response from ${hostOf(url)} was cut off after ${at} of ${length} bytes; try again`,
    );
  return bytes;
}

function statusMessage(status, url) {
  const host = hostOf(url);
  if (status === 200)
    return `${host} does not support HTTP range requests, and the file is too large to load in full; download it`;
  if (status === 416)
    return `the file on ${host} is shorter than the manifest states; it is not the published one`;
  if (status === 403 || status === 404)
    return "the file no longer exists: results are kept for a limited time";
  if (status === 429 || status === 503)
    return `${host} is limiting requests (status ${status}); try again in a minute`;
  return `${host} responded with status ${status}`;
}
