/** Sending a job to the submit endpoint, and every answer that it may give. */

import { ask, hostOf, readBody } from "../http.js";

/**
 * Send the two files.
 *
 * @param {string} url     of POST /jobs
 * @param {{stations: string, params: string}} files
 * @param {AbortSignal} [signal]
 * @returns {Promise<{id: string}|{problems: Object[]}|{trouble: string}>}  `problems`: as the worker
 *     names them ({file, line, column, value, text}); `trouble`: nothing was taken, a sentence says
 *     why, and the same may be sent again
 * @throws {import("../http.js").HttpError} if there is no answer: nobody knows whether it was taken
 */
export async function launch(url, files, signal) {
  const headers = { "Content-Type": "application/json" };
  const answer = await ask(url, { method: "POST", headers, body: JSON.stringify(files), signal, silence: 30_000 });
  const { text } = await readBody(answer, { limit: 1_000_000 });
  const reply = parse(text);
  if (answer.ok && /^[0-9]{1,16}$/.test(reply?.id ?? "")) return { id: String(reply.id) };
  if (answer.status === 422 && Array.isArray(reply?.problems)) return { problems: reply.problems };
  const said = typeof reply?.error === "string" ? `: ${reply.error}` : "";
  const words = {
    403: "does not take jobs from this page",
    413: "finds the job too large to send",
    429: "has had many jobs in a short time; wait a minute",
    503: "cannot store jobs just now",
  };
  const why = words[answer.status] ?? (answer.ok ? "answered with something that is no job" : `answered with status ${answer.status}`);
  return { trouble: `${hostOf(url)} ${why}${said}` };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a web page, or nothing
  }
}
