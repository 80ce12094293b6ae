/** Requests for channels to a data centre, with retries where it is busy. */

import { ask, hostOf, HttpError, readBody } from "../../lib/http.js";
import { parseChannels } from "./channels.js";

export const MAX_ROWS = 50_000;
const MAX_BYTES = 16_000_000;
const WAITS = [5, 15, 45]; // s, where a busy service sends no Retry-After
const LONGEST_WAIT = 120; // s

/**
 * Fetch channels from one or more addresses, one after another, since data centres limit concurrent requests.
 *
 * @param {string[]} urls
 * @param {{signal: AbortSignal, onBytes: (n: number) => void, onWait: (seconds: number) => void}} listeners
 *     `onWait`: the service is busy; the next attempt follows after this many seconds
 * @returns {Promise<{channels: Object[], rejected: string[], isCut: boolean}>}  `isCut`: the
 *     response was longer
 * @throws {HttpError} its `body` is the response of the service
 */
export async function fetchChannels(urls, listeners) {
  const all = { channels: [], rejected: [], isCut: false };
  let before = 0;
  for (const url of urls) {
    const { text, isCut } = await fetchText(url, {
      ...listeners,
      onBytes: (n) => listeners.onBytes(before + n),
    });
    before += text.length;
    const { channels, rejected } = read(text, isCut, url);
    const known = new Set(all.channels.map((c) => c.id));
    all.channels.push(...channels.filter((c) => !known.has(c.id)));
    all.rejected.push(...rejected);
    all.isCut ||= isCut;
  }
  return all;
}

async function fetchText(url, { signal, onBytes, onWait }) {
  for (let tries = 0; ; tries++) {
    const answer = await ask(url, { signal });
    if (answer.status === 204 || answer.status === 404) return { text: "", isCut: false };
    const isBusy = answer.status === 429 || answer.status === 503;
    if (isBusy && tries < WAITS.length) {
      const seconds = waitFor(answer.headers.get("Retry-After"), tries);
      onWait(seconds);
      await pause(seconds, signal);
      continue;
    }
    const body = await readBody(answer, { limit: MAX_BYTES, signal, onBytes });
    if (!answer.ok) throw statusError(url, answer.status, body.text);
    if (/^\s*</.test(body.text)) {
      throw new HttpError(
        `${hostOf(url)} returned a web page instead of a list of channels; its address may be wrong, ` +
          "or a proxy requires a login",
      );
    }
    return cutAt(body, MAX_ROWS);
  }
}

function read(text, isCut, url) {
  try {
    return text ? parseChannels(text) : { channels: [], rejected: [] };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new HttpError(
      `the response from ${hostOf(url)} is not a list of channels: ${error.message}`,
      {
        body: text.slice(0, 2000),
      },
    );
  }
}

/** The complete lines of a text, up to a number. */
function cutAt({ text, isCut }, most) {
  let end = 0;
  for (let n = 0; n <= most; n++) {
    const next = text.indexOf("\n", end);
    if (next < 0) return isCut ? { text: text.slice(0, end), isCut } : { text, isCut };
    end = next + 1;
  }
  return { text: text.slice(0, end), isCut: isCut || text.slice(end).trim() !== "" };
}

/** The meaning of a status, and the remedy. */
function statusError(url, status, body) {
  const host = hostOf(url);
  const messages = {
    400: `${host} rejected the query as invalid`,
    401: `${host} requires a login; this page supports open data only`,
    403: `${host} denied access; restricted data cannot be used here`,
    413: `${host} rejected the query as too large: name networks or stations, take fewer channels, or draw a smaller area`,
    414: `${host} rejected the query as too long: name fewer codes, or use wildcards`,
    429: `${host} is still limiting requests: try again in a few minutes, or choose another data centre`,
    503: `${host} is overloaded or down for maintenance: try again in a few minutes, or choose another data centre`,
  };
  const text =
    messages[status] ??
    (status >= 500
      ? `${host} had an internal error (status ${status}): try again, or choose another data centre`
      : `${host} responded with status ${status}`);
  return new HttpError(text, { status, body: /^\s*</.test(body) ? "" : body.slice(0, 2000) });
}

function waitFor(retryAfter, tries) {
  const seconds = Number(retryAfter ?? NaN);
  const until = Number.isFinite(seconds) ? seconds : (Date.parse(retryAfter) - Date.now()) / 1000;
  return Math.min(
    LONGEST_WAIT,
    Math.max(1, Math.ceil(Number.isFinite(until) ? until : WAITS[tries])),
  );
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal.addEventListener("abort", stop, { once: true });
  });
}
