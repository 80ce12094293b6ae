/** status.json and the heartbeat of the service, as text for people. */

import { duration } from "../lib/format.js";

const ENDS = ["done", "failed", "rejected", "cancelled"];
const STALE = 5 * 60_000; // ms; a daemon writes the status of an active job every 30 s

const WORDS = {
  queued: "Queued",
  running: "Running",
  done: "Done",
  failed: "Failed",
  rejected: "Rejected",
  cancelled: "Cancelled",
};

const NOTHING =
  "no correlation was made; the warnings below give the reason for every channel and day";

/** Whether a state is final. */
export function isOver(state) {
  return ENDS.includes(state);
}

/** The name of a state. */
export function stateWord(state) {
  return WORDS[state] ?? "Unknown";
}

/**
 * A status in which every field has the right type, whatever the file contains.
 *
 * @param {*} raw  parsed status.json, or null while there is none
 */
export function readStatus(raw) {
  const given = raw !== null && typeof raw === "object" ? raw : {};
  const text = (value) => (typeof value === "string" ? value : "");
  const count = (value) => (Number.isFinite(value) && value >= 0 ? value : 0);
  const list = (value) => (Array.isArray(value) ? value : []);
  const days = list(given.days);
  return {
    state: text(given.state) in WORDS ? given.state : raw === null ? "queued" : "",
    kind: text(given.kind),
    stage: raw === null ? "submitted; waiting for the service" : text(given.stage),
    ahead: Number.isInteger(given.ahead) && given.ahead >= 0 ? given.ahead : null,
    days: [count(days[0]), count(days[1])],
    pairs: count(given.pairs),
    eta: Number.isFinite(given.eta_s) && given.eta_s > 0 ? given.eta_s : null,
    started: time(given.started),
    updated: time(given.updated),
    reason: text(given.reason) || (isEmpty(given) ? NOTHING : ""),
    warnings: list(given.warnings).filter(
      (warning) => warning !== null && typeof warning === "object",
    ),
    log: list(given.log_tail).filter((line) => typeof line === "string"),
    manifest: text(given.manifest) || null,
    version: text(given.version),
  };
}

/** Whether a job of version 0.1.0 is done without a correlation; later versions report a failure. */
function isEmpty({ state, kind, pairs }) {
  return state === "done" && kind === "xcor" && pairs === 0;
}

/** The finished fraction of a job, 0 to 1; null where unknown. */
export function share({ state, days: [done, all] }) {
  if (state === "done") return 1;
  return all > 0 && state === "running" ? Math.min(1, done / all) : null;
}

/** The sentence beside a progress bar. */
export function progressText(status) {
  const {
    state,
    stage,
    ahead,
    days: [done, all],
    eta,
  } = status;
  if (state === "queued" && ahead !== null) {
    return ahead === 0
      ? "next in the queue"
      : `${ahead} ${ahead === 1 ? "job" : "jobs"} ahead in the queue`;
  }
  if (isOver(state)) return state === "done" && stage !== "finished" ? stage : "";
  const days = all ? `${done} of ${all} ${all === 1 ? "day" : "days"}` : "";
  return [stage, days, eta ? `about ${duration(eta)} remaining` : ""].filter(Boolean).join(" · ");
}

/** A warning in one line: channel, day, text. */
export function warningText(warning) {
  return ["channel", "day", "text"]
    .map((key) => warning[key])
    .filter((part) => typeof part === "string" && part)
    .join(" · ");
}

/**
 * The state of the service, from `_service.json`.
 *
 * @param {*} raw  its content; null where there is none
 * @param {Date} now
 * @returns {{isUp: boolean|null, text: string}}  null: unknown
 */
export function serviceText(raw, now) {
  const updated = time(raw?.updated);
  if (!updated) return { isUp: null, text: "The service has not reported its state yet." };
  // `next` is the latest time of the next heartbeat, set by the service itself.
  const due = time(raw.next) ?? new Date(updated.getTime() + 60_000);
  if (now > new Date(due.getTime() + 60_000)) {
    return {
      isUp: false,
      text: `The service has not responded since ${since(updated, now)}; jobs wait until it is back.`,
    };
  }
  const [queued, running] = [raw.queued, raw.running].map((n) => (Number.isInteger(n) ? n : 0));
  const jobs = (n) => `${n} ${n === 1 ? "job" : "jobs"}`;
  const busy = [running && `${jobs(running)} running`, queued && `${jobs(queued)} waiting`]
    .filter(Boolean)
    .join(", ");
  return {
    isUp: true,
    text: `The service is up${busy ? `: ${busy}.` : " and idle."}`,
  };
}

/**
 * The message about an active job without a recent status; "" where there is none.
 *
 * @param {{isUp: boolean|null}} service
 */
export function silenceText(status, service, now) {
  if (isOver(status.state) || !status.updated || now - status.updated < STALE) return "";
  const age = `No status update for this job since ${since(status.updated, now)}`;
  if (service.isUp === false)
    return `${age}; the service is not responding either. The job continues when the service is back.`;
  if (service.isUp)
    return `${age}, although the service is up; it may be waiting for storage. Contact the operator if this persists.`;
  return `${age}.`;
}

/** "3 min ago", or the time where it is longer than a day. */
export function ago(then, now) {
  const seconds = Math.max(0, (now - then) / 1000);
  if (seconds < 10) return "just now";
  if (seconds < 86400) return `${duration(seconds)} ago`;
  return `${then.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** "14:05 UTC, 3 h ago", with the date where it is another day's. */
function since(then, now) {
  const [day, clock] = then.toISOString().split("T");
  const isToday = now.toISOString().startsWith(day);
  return `${isToday ? "" : `${day} `}${clock.slice(0, 5)} UTC${now - then < 86_400_000 ? `, ${ago(then, now)}` : ""}`;
}

/**
 * Advice on a job that did not end well.
 *
 * @param {string} state
 * @param {string} reason  from the service
 */
export function advice(state, reason) {
  if (state === "cancelled") return "No results were published. Submit the job again to run it.";
  if (state === "rejected") {
    return /of disk|pair-days|bytes|core/.test(reason)
      ? "Reduce the request: fewer channels or days, a shorter maxlag, a lower fs, or substack=86400. Then submit it again."
      : "Correct the errors above and submit the job again; nothing was computed.";
  }
  if (state !== "failed") return "";
  for (const [sign, text] of ADVICE) if (sign.test(reason)) return text;
  return "See the end of the log below. If it does not help, send the job number to the operator of the service.";
}

const ADVICE = [
  [
    /^no (correlation|stack)s? (was|were) (made|computed)/,
    "Change the channels, times or parameters named in the reasons and submit the job again. The warnings below list every channel and day.",
  ],
  [
    /memory/i,
    "The job exceeded its memory limit: use fewer channels, a lower fs or a smaller max_distance.",
  ],
  [
    /longer than/i,
    "Split it into jobs with fewer days or channels; each is stacked in the same way.",
  ],
  [/disk|space/i, "The service ran out of disk space. Try again later, or reduce the request."],
  [
    /no day|no data|nodata/i,
    "The data centre has no data for these channels and days. Check the availability in the log, or try other dates.",
  ],
  [
    /reach|answer|respond|timed? ?out|refused|connection/i,
    "The data centre did not respond. Try again later, or choose another one.",
  ],
  [
    /kill/i,
    "The worker was killed several times. Try again; contact the operator if it happens again.",
  ],
];

/**
 * Milliseconds until the next request for the status of a job.
 *
 * @param {number} unchanged  requests in a row without a change
 * @param {number} failed     requests in a row that failed
 * @param {number} [random]   0 to 1, so that many pages do not send requests at once
 */
export function pollDelay(unchanged, failed, random = Math.random()) {
  const base = failed ? 4000 * 2 ** Math.min(failed - 1, 4) : 1500 * 1.4 ** Math.min(unchanged, 9);
  return Math.min(base, failed ? 60_000 : 30_000) * (0.85 + 0.3 * random);
}

function time(text) {
  const ms = typeof text === "string" ? Date.parse(text) : NaN;
  return Number.isNaN(ms) ? null : new Date(ms);
}
