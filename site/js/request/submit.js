/** Submitting a job, and the answers that the service may give. */

import { HttpError, ask, hostOf, readBody } from "../lib/http.js";
import { isJobId } from "../lib/job_id.js";

const NUMBER = /^[0-9a-f]{32}$/;

/**
 * Send the files of a job.
 *
 * A launch has a number that is stored, over reloads too, until it is answered: if the answer was
 * lost, the service finds the job by this number and creates no second one.
 *
 * @param {import("../main.js").App} app
 * @param {"xcor"|"stack"} kind
 * @param {Object<string, string>} files  {stations, params} or {stacking_params}
 * @returns {Promise<{id: string}|{problems: Object[]}|{trouble: string}>}  `problems`: those of
 *     the worker ({file, line, column, value, text}); `trouble`: why there is neither; the same
 *     may be submitted again
 */
export async function submitJob({ config, store }, kind, files) {
  const key = `launch.${kind}`;
  const number = NUMBER.test(store.get(key)) ? store.get(key) : randomNumber();
  store.set(key, number);
  const answer = await send(config.submit, { ...files, launch: number });
  if (!answer.trouble) store.set(key, undefined);
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
    return parseAnswer(answer, parse(text), hostOf(url));
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    return { trouble: error.message };
  }
}

function parseAnswer(answer, reply, host) {
  if (answer.ok && isJobId(reply?.id ?? "")) return { id: String(reply.id) };
  if (answer.status === 422 && Array.isArray(reply?.problems)) return { problems: reply.problems };
  const detail = typeof reply?.error === "string" ? `: ${reply.error}` : "";
  const messages = {
    403: "does not accept jobs from this page",
    413: "rejected the job as too large",
    429: "received too many jobs; wait a minute",
    503: "cannot store jobs at the moment",
  };
  const why =
    messages[answer.status] ??
    (answer.ok ? "returned no job number" : `responded with status ${answer.status}`);
  return { trouble: `${host} ${why}${detail}` };
}

/** 128 random bits; `crypto.randomUUID` needs a page with TLS. */
function randomNumber() {
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
