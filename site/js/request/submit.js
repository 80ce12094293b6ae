/** Sending a job to the submit endpoint, and every answer that it may give. */

import { HttpError, ask, hostOf, readBody } from "../lib/http.js";

const NUMBER = /^[0-9a-f]{32}$/;

/**
 * Send the files of a job.
 *
 * A launch has a number that is kept, over reloads too, until it is answered: the service finds by
 * it a job that it has taken although its answer was lost, and makes no second one.
 *
 * @param {import("../main.js").App} app
 * @param {"xcor"|"stack"} kind
 * @param {Object<string, string>} files  {stations, params} or {stacking_params}
 * @returns {Promise<{id: string}|{problems: Object[]}|{trouble: string}>}  `problems`: as the worker
 *     names them ({file, line, column, value, text}); `trouble`: a sentence says why there is no
 *     such answer, and the same may be sent again
 */
export async function launch({ config, store }, kind, files) {
  const kept = `launch.${kind}`;
  const number = NUMBER.test(store.get(kept)) ? store.get(kept) : draw();
  store.set(kept, number);
  const answer = await send(config.submit, { ...files, launch: number });
  if (!answer.trouble) store.set(kept, undefined);
  return answer;
}

async function send(url, body) {
  const headers = { "Content-Type": "application/json" };
  try {
    const answer = await ask(url, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      silence: 30_000,
    });
    const { text } = await readBody(answer, { limit: 1_000_000 });
    return understood(answer, parse(text), hostOf(url));
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    return { trouble: error.message };
  }
}

function understood(answer, reply, host) {
  if (answer.ok && /^[0-9]{1,16}$/.test(reply?.id ?? "")) return { id: String(reply.id) };
  if (answer.status === 422 && Array.isArray(reply?.problems)) return { problems: reply.problems };
  const said = typeof reply?.error === "string" ? `: ${reply.error}` : "";
  const words = {
    403: "does not accept jobs from this page",
    413: "rejected the job as too large",
    429: "received too many jobs; wait a minute",
    503: "cannot store jobs at the moment",
  };
  const why =
    words[answer.status] ??
    (answer.ok ? "returned no job number" : `responded with status ${answer.status}`);
  return { trouble: `${host} ${why}${said}` };
}

/** 128 random bits; `crypto.randomUUID` is not there where the page comes without TLS. */
function draw() {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a web page, or nothing
  }
}
